//! The files of `templates/` and `schemas/` as they were when the program was built.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::schema::Schema;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The bytes of one file, by its path in the repository.
#[must_use]
pub fn file(path: &str) -> Option<&'static [u8]> {
    FILES.binary_search_by(|(name, _)| (*name).cmp(path)).ok().map(|at| FILES[at].1)
}

/// All files below a folder, by their path in the repository, sorted.
pub fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let start = FILES.partition_point(|(name, _)| *name < folder);
    FILES[start..]
        .iter()
        .copied()
        .take_while(move |(name, _)| name.starts_with(folder))
}

/// The text of a JSON Schema of ours, by its path below `schemas/` without `.schema.json` or `.json`.
pub fn schema_text(name: &str) -> Result<Value> {
    let path = format!("schemas/{name}.schema.json");
    let Some(bytes) = file(&path).or_else(|| file(&format!("schemas/{name}.json"))) else {
        bail!("{path}: the program was built without this schema");
    };
    serde_json::from_slice(bytes).with_context(|| path)
}

/// A JSON Schema of ours, compiled.
pub fn schema(name: &str) -> Result<Schema<'static>> {
    Schema::compile(Cow::Owned(schema_text(name)?), &format!("schemas/{name}.schema.json"))
}
