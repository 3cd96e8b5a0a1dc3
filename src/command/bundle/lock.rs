//! `bundle lock`: writes down which third-party bundles are trusted.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bundle::Library;
use crate::{describe, lock, write};

/// Writes the digests of further bundles to a lock, which runs verify that find it
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  floe-render bundle lock --bundles ours\n\n\
        A run of bundles from --bundles verifies the file that --lock names, else bundles.lock beside its first \
        manifest, else in the working directory; without any of them it verifies nothing.")]
pub(super) struct Lock {
    /// Folder or archive of bundles; may be given several times
    #[arg(long, value_name = "DIR", required = true)]
    bundles: Vec<PathBuf>,

    /// The lock
    #[arg(long, value_name = "FILE", default_value = lock::FILE)]
    lock: PathBuf,
}

impl Lock {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let all = describe::all(&Library::open(&self.bundles)?)?;
        let locked: Vec<(String, String, String)> = all
            .iter()
            .filter(|(_, _, bundle)| !bundle.is_built_in())
            .map(|(kind, name, bundle)| {
                (format!("{kind}/{name}"), bundle.meta.version.to_string(), bundle.digest.clone())
            })
            .collect();
        if locked.is_empty() {
            bail!("--bundles: there is no bundle to lock");
        }
        let shown = self.lock.display();
        fs::write(&self.lock, lock::text(&locked)?).with_context(|| format!("{shown}: cannot be written"))?;
        let labels: Vec<String> = locked.iter().map(|(label, version, _)| format!("{label} {version}")).collect();
        write::print_text(&format!("{shown}: {}\n", labels.join(", ")), out)?;
        Ok(0)
    }
}
