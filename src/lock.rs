//! `bundles.lock`: which third-party bundles a platform trusts, by digest. A run verifies it and never writes it.
//!
//! The lock is the file that `--lock` names, else `bundles.lock` beside the first manifest, else in the working directory, if
//! it is there: a lock can only refuse, so that one which lies about is better used than not. Bundles that are built in
//! need none: the program is their lock.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::bundle::Backend;
use crate::cli::Request;
use crate::finding::Collect;
use crate::{file, yaml};

/// The file's name where no flag gives another.
pub const FILE: &str = "bundles.lock";

/// Checks the selected third-party bundles against the lock, if there is one.
pub fn verify(backends: &[Backend], request: &Request) -> Result<()> {
    let mut foreign = backends.iter().filter(|backend| !backend.bundle.is_built_in()).peekable();
    if foreign.peek().is_none() && request.lock.is_none() {
        return Ok(());
    }
    let Some(path) = path(request) else { return Ok(()) };
    let file = path.display().to_string();
    if !path.exists() {
        bail!("{file}: there is no such lock; `floe-render bundle lock` writes one");
    }
    let text = file::text(&path, yaml::MAX_BYTES, &file)?;
    let root = yaml::read(&text, &file)?;
    let mut found = Collect::default();
    for backend in foreign {
        let (kind, name) = (backend.selection.kind, &backend.selection.bundle);
        let label = format!("{kind}/{name}");
        let digest = &backend.bundle.digest;
        let again = "if you trust it, lock it again: floe-render bundle lock --bundles DIR";
        let Some(node) = root.get(&label) else {
            found.push(format!("{file}: {label} is not locked ({} is {digest}); {again}", backend.bundle.folder));
            continue;
        };
        if node.get("digest").and_then(yaml::Node::as_str) != Some(digest) {
            found.push(format!(
                "{file}:{}:{}: {} is not the {label} that was locked: its digest is {digest}; {again}",
                node.at.line, node.at.column, backend.bundle.folder
            ));
        }
    }
    found.finish(())
}

/// The lock that a run verifies, if there is one: the one that is given, else the one beside the first manifest or in the working
/// directory.
#[must_use]
pub fn path(request: &Request) -> Option<PathBuf> {
    let beside = || request.manifests.first()?.parent().map(|folder| folder.join(FILE));
    let there = || beside().into_iter().chain([PathBuf::from(FILE)]).find(|path| path.is_file());
    request.lock.clone().or_else(there)
}

/// The text of a lock, from bundles by label with version and digest.
pub fn text(bundles: &[(String, String, String)]) -> Result<String> {
    let entries: Map<String, Value> = bundles
        .iter()
        .map(|(label, version, digest)| (label.clone(), json!({"version": version, "digest": digest})))
        .collect();
    let head = "# The bundles that a run may read from --bundles. Written by `floe-render bundle lock`.\n";
    Ok(head.to_owned() + &yaml::write(&Value::Object(entries))?)
}
