//! Files that are read up to a limit, whatever they are: a pipe has no size that could be asked for.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The bytes of a file; one with more than `limit` is an error. `shown` is what messages call it.
pub(crate) fn read(path: &Path, limit: usize, shown: &str) -> Result<Vec<u8>> {
    let cannot = || format!("{shown}: cannot be read");
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(cannot)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() > limit {
        bail!("{shown}: the file has more than {limit} bytes, the limit; split it");
    }
    Ok(bytes)
}

/// The same as text.
pub(crate) fn text(path: &Path, limit: usize, shown: &str) -> Result<String> {
    String::from_utf8(read(path, limit, shown)?)
        .map_err(|error| anyhow::anyhow!("{shown}: not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}
