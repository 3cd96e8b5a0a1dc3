//! The files of `templates/`, `charts/` and `schemas/` as they were when the program was built.

use std::borrow::Cow;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::json::Json;
use crate::plain;
use crate::schema::{self, Problem, Schema};

use generated::{DIGESTS, FILES, SCHEMAS};

#[allow(clippy::unreadable_literal, reason = "numbers stand as the schemas write them")]
mod generated {
    use crate::json::Json;

    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// The bytes of one file below `templates/` or `charts/`, by its path in the repository.
#[must_use]
pub fn file(path: &str) -> Option<&'static [u8]> {
    FILES.binary_search_by(|(name, _)| (*name).cmp(path)).ok().map(|at| FILES[at].1)
}

/// The digest of a bundle, by its folder: SHA-256 over the names and contents of its files.
#[must_use]
pub fn digest(folder: &str) -> Option<&'static str> {
    DIGESTS.binary_search_by(|(name, _)| (*name).cmp(folder)).ok().map(|at| DIGESTS[at].1)
}

/// All files below a folder in `templates/` or `charts/`, which ends with a slash, by their path in the repository, sorted.
pub fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let start = FILES.partition_point(|(name, _)| *name < folder);
    FILES[start..].iter().copied().take_while(move |(name, _)| name.starts_with(folder))
}

/// The schema of a built-in bundle's options, by the bundle's folder.
#[must_use]
pub fn options_tree(folder: &str) -> Option<&'static Json> {
    let path = format!("{folder}/options.schema.json");
    SCHEMAS.binary_search_by(|(name, _)| (*name).cmp(&path)).ok().map(|at| &SCHEMAS[at].1)
}

/// The schema of the values of a chart of ours, by the chart's folder, which ends with a slash.
#[must_use]
pub fn values_tree(folder: &str) -> Option<&'static Json> {
    let path = format!("{folder}values.schema.json");
    SCHEMAS.binary_search_by(|(name, _)| (*name).cmp(&path)).ok().map(|at| &SCHEMAS[at].1)
}

/// A JSON file of ours, by its path below `schemas/` without `.schema.json` or `.json`.
#[must_use]
pub fn schema_tree(name: &str) -> Option<&'static Json> {
    [".schema.json", ".json"].iter().find_map(|ending| {
        let path = format!("schemas/{name}{ending}");
        let at = SCHEMAS.binary_search_by(|(name, _)| (*name).cmp(&path)).ok()?;
        Some(&SCHEMAS[at].1)
    })
}

/// The schema of a component's body, by section and type.
#[must_use]
pub fn component(section: &str, kind: &str) -> Option<&'static Json> {
    schema_tree(&format!("collector/{section}/{kind}"))
}

/// The names of our JSON files in a folder below `schemas/`.
pub fn schemas_below(folder: &str) -> impl Iterator<Item = &'static str> + use<> {
    let prefix = format!("schemas/{folder}/");
    SCHEMAS.iter().filter_map(move |(name, _)| name.strip_prefix(&prefix)?.strip_suffix(".json"))
}

/// A JSON file of ours, which must be there.
pub fn tree(name: &str) -> Result<&'static Json> {
    match schema_tree(name) {
        Some(tree) => Ok(tree),
        None => bail!("schemas/{name}: the program was built without this schema"),
    }
}

/// The text of a JSON Schema of ours.
pub fn schema_text(name: &str) -> Result<Value> {
    tree(name).map(Json::to_value)
}

/// The part of a JSON Schema of ours that matters to some values; see [`schema::relevant`].
pub fn relevant(name: &str, values: &[&Value], names: bool) -> Result<Value> {
    Ok(schema::relevant(tree(name)?, values, names))
}

/// A JSON Schema of ours, compiled as far as it matters to some values.
pub fn schema(name: &str, values: &[&Value]) -> Result<Schema<'static>> {
    Schema::compile(Cow::Owned(relevant(name, values, true)?), &format!("schemas/{name}.schema.json"))
}

/// What a JSON Schema of ours finds wrong with each of some values, which may hold references.
pub fn problems(name: &str, values: &[&Value]) -> Result<Vec<Vec<Problem>>> {
    let root = tree(name)?;
    if values.iter().all(|value| plain::is_right(root, value)) {
        return Ok(vec![Vec::new(); values.len()]);
    }
    let schema = schema(name, values)?;
    Ok(values.iter().map(|value| schema.problems(value)).collect())
}

/// A JSON Schema of ours, compiled whole, for any number of values.
pub fn full_schema(name: &str) -> Result<Schema<'static>> {
    Schema::compile(Cow::Owned(schema_text(name)?), &format!("schemas/{name}.schema.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks every default below a schema by the schema that it stands in.
    fn check_defaults(path: &str, root: &Value, schema: &Value, seen: &mut usize) {
        if let Value::Object(map) = schema {
            for (key, default) in map.iter().filter(|(key, _)| *key == "default" || key.starts_with("x-default-")) {
                let mut alone = schema.clone();
                alone["$defs"] = root.get("$defs").cloned().unwrap_or_else(|| serde_json::json!({}));
                let problems = Schema::compile(Cow::Owned(alone), path).unwrap().problems(default);
                assert!(problems.is_empty(), "{path}: {key} {default}: {problems:?}");
                *seen += 1;
            }
        }
        let below: Vec<&Value> = match schema {
            Value::Object(map) => map.iter().filter(|(key, _)| *key != "default").map(|(_, value)| value).collect(),
            Value::Array(items) => items.iter().collect(),
            _ => return,
        };
        for below in below {
            check_defaults(path, root, below, seen);
        }
    }

    #[test]
    fn every_default_fits_its_own_schema() {
        let mut seen = 0;
        for (path, tree) in SCHEMAS.iter().filter(|(_, tree)| tree.get("$schema").is_some()) {
            let schema = tree.to_value();
            check_defaults(path, &schema, &schema, &mut seen);
        }
        assert!(seen > 50, "only {seen} defaults are built in");
    }

    #[test]
    fn every_schema_compiles_in_full() {
        let mut seen = 0;
        for (path, tree) in SCHEMAS {
            if tree.get("$schema").is_some() {
                Schema::compile(Cow::Owned(tree.to_value()), path).unwrap();
                seen += 1;
            }
        }
        for (path, bytes) in
            FILES.iter().filter(|(path, _)| path.ends_with(".schema.json") || path.contains("/policy/"))
        {
            let text = serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
            Schema::compile(Cow::Owned(text), path).unwrap();
        }
        assert!(seen > 30, "only {seen} schemas are built in");
    }
}
