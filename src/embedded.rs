//! The files of `templates/` and `schemas/` as they were when the program was built.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::schema::{self, Schema};

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

/// The bytes of a JSON Schema of ours, by its path below `schemas/` without `.schema.json` or `.json`, and that path.
fn schema_bytes(name: &str) -> Option<(String, &'static [u8])> {
    [".schema.json", ".json"].iter().find_map(|ending| {
        let path = format!("schemas/{name}{ending}");
        let bytes = file(&path)?;
        Some((path, bytes))
    })
}

/// Whether there is a JSON Schema of ours of that name.
#[must_use]
pub fn has_schema(name: &str) -> bool {
    schema_bytes(name).is_some()
}

/// The text of a JSON Schema of ours.
pub fn schema_text(name: &str) -> Result<Value> {
    let Some((path, bytes)) = schema_bytes(name) else { bail!("schemas/{name}: the program was built without this schema") };
    serde_json::from_slice(bytes).with_context(|| path)
}

/// A JSON Schema of ours, compiled as far as it matters to some values.
pub fn schema(name: &str, values: &[&Value]) -> Result<Schema<'static>> {
    let Some((path, bytes)) = schema_bytes(name) else { bail!("schemas/{name}: the program was built without this schema") };
    let text = schema::relevant(bytes, values).with_context(|| path.clone())?;
    Schema::compile(Cow::Owned(text), &path)
}

/// A JSON Schema of ours, compiled whole, for any number of values.
pub fn full_schema(name: &str) -> Result<Schema<'static>> {
    Schema::compile(Cow::Owned(schema_text(name)?), &format!("schemas/{name}.schema.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_compiles_in_full() {
        let mut seen = 0;
        for (path, bytes) in FILES.iter().filter(|(path, _)| path.ends_with(".json")) {
            let text: Value = serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
            if text.get("$schema").is_some() {
                Schema::compile(Cow::Owned(text), path).unwrap();
                seen += 1;
            }
        }
        assert!(seen > 30, "only {seen} schemas are built in");
    }
}
