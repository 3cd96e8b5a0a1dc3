//! Bundles as one file: a plain tar archive, whose bytes are the same whoever packs the same files.
//!
//! Not compressed: bundles are small, a compressor's next version would change the digest, and nothing can swell when it is read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use crate::bundle::{Files, Limits};
use crate::select::Kind;
use crate::{digest, file};

/// The largest archive that is read.
pub const MAX_BYTES: usize = 32 << 20;

/// The bundles in an archive. A link, a path that leads out of its folder, or a bundle over the limits is an error.
pub fn read(path: &Path) -> Result<BTreeMap<(Kind, String), Files>> {
    let shown = path.display().to_string();
    let flag = "--bundles ";
    files(flag, &shown, &load(flag, path)?)
}

/// The bytes of an archive; one over the limit is an error. `flag` is the option that names it, and begins each message.
pub fn load(flag: &str, path: &Path) -> Result<Vec<u8>> {
    file::read(path, MAX_BYTES, &format!("{flag}{}", path.display()))
}

/// The bundles in the bytes of an archive, which messages call `shown`.
pub fn files(flag: &str, shown: &str, bytes: &[u8]) -> Result<BTreeMap<(Kind, String), Files>> {
    let not_one = |_| anyhow!("{flag}{shown}: not a tar archive; `floe-render bundle pack` makes one");
    if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        bail!("{flag}{shown}: the archive is compressed; unpack it to a plain .tar");
    }
    let mut bundles: BTreeMap<(Kind, String), (Files, Limits)> = BTreeMap::new();
    for entry in Archive::new(bytes).entries().map_err(not_one)? {
        let mut entry = entry.map_err(not_one)?;
        let path = entry.path().map_err(not_one)?.into_owned();
        let name = format!("{shown}/{}", path.display());
        match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular => {}
            _ => bail!("{name}: an archive of bundles holds plain files only, no links"),
        }
        let parts: Option<Vec<&str>> = path
            .components()
            .map(|part| match part {
                Component::Normal(part) => part.to_str(),
                _ => None,
            })
            .collect();
        let Some([kind, bundle, file @ ..]) = parts.as_deref().filter(|parts| parts.len() > 2) else {
            bail!("{name}: a file of an archive is called telemetry/<name>/… or lineage/<name>/…, without `..`");
        };
        let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == *kind) else {
            bail!("{name}: a file of an archive is called telemetry/<name>/… or lineage/<name>/…, without `..`");
        };
        let (files, limits) = bundles.entry((kind, (*bundle).to_owned())).or_default();
        limits.take(file.len() - 1, entry.size(), &name)?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(not_one)?;
        if files.insert(file.join("/"), Cow::Owned(content)).is_some() {
            bail!("{name}: the archive holds this file twice");
        }
    }
    Ok(bundles.into_iter().map(|(name, (files, _))| (name, files)).collect())
}

/// The archive of one bundle: its files in the order of their names, with no owner and no time.
pub fn write<'a>(kind: Kind, name: &str, files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for (file, bytes) in files {
        let path = format!("{kind}/{name}/{file}");
        let mut header = Header::new_ustar();
        header.set_path(&path).with_context(|| format!("{path}: the name does not fit into an archive"))?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        archive.append(&header, bytes)?;
    }
    Ok(archive.into_inner()?)
}

/// The digest of an archive's bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    digest::hex(&Sha256::digest(bytes))
}
