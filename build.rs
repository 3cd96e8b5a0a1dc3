//! Embeds `templates/`, `charts/` and `schemas/`, so that the engine names no file: the bundles' and the charts' files as
//! bytes, in one sorted table, and the schemas, those of the bundles' options and of the charts' values too, as static
//! trees, so that no run spends time on parsing them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[path = "src/digest.rs"]
mod digest;

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut code = String::from("pub(crate) static FILES: &[(&str, &[u8])] = &[\n");
    let mut embedded = files(&root, "templates");
    embedded.extend(files(&root, "charts").into_iter().filter(|(name, _)| is_of_chart(name)));
    embedded.sort();
    for (name, path) in embedded {
        writeln!(code, "    ({name:?}, include_bytes!({:?})),", path.display().to_string()).expect("strings take all");
    }
    code.push_str("];\npub(crate) static DIGESTS: &[(&str, &str)] = &[\n");
    for (folder, digest) in digests(&files(&root, "templates")) {
        writeln!(code, "    ({folder:?}, {digest:?}),").expect("strings take all");
    }
    code.push_str("];\npub(crate) static SCHEMAS: &[(&str, Json)] = &[\n");
    let options = files(&root, "templates").into_iter().filter(|(name, _)| name.ends_with("/options.schema.json"));
    let values = files(&root, "charts").into_iter().filter(|(name, _)| is_schema_of_values(name));
    let mut schemas: Vec<_> = files(&root, "schemas").into_iter().chain(options).chain(values).collect();
    schemas.sort();
    for (name, path) in schemas {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        if is_schema_of_values(&name) {
            value = modern(value);
            require_nothing(&mut value);
        }
        write!(code, "    ({name:?}, ").expect("strings take all");
        tree(&value, &mut code);
        code.push_str("),\n");
    }
    code.push_str("];\n");
    fs::write(out.join("embedded.rs"), code).expect("OUT_DIR can be written");
}

/// The digest of every bundle, by its folder, sorted.
fn digests(files: &[(String, PathBuf)]) -> BTreeMap<&str, String> {
    let folders = files.iter().filter_map(|(name, _)| name.strip_suffix("/bundle.yaml"));
    folders
        .map(|folder| {
            let inside = |name: &str| name.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
            let files: BTreeMap<String, Vec<u8>> = files
                .iter()
                .filter_map(|(name, path)| {
                    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}"));
                    Some((inside(name)?, bytes))
                })
                .collect();
            (folder, digest::digest(files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))))
        })
        .collect()
}

/// The files below a folder with their paths in the repository, sorted by these.
fn files(root: &Path, folder: &str) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    collect(&root.join(folder), folder, &mut files);
    files.sort();
    files
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        let name = format!("{name}/{}", path.file_name().expect("entries have names").to_string_lossy());
        if path.is_dir() {
            collect(&path, &name, files);
        } else {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push((name, path));
        }
    }
}

/// Whether a file below `charts/` belongs to a chart: what `helm dependency update` brought does not, nor does what only
/// this repository needs.
fn is_of_chart(name: &str) -> bool {
    let inside: Vec<&str> = name.split('/').skip(2).collect();
    inside[0] != "charts" && !matches!(inside[..], ["Chart.lock" | ".gitignore"])
}

/// Whether a file is the schema of the values of a chart of ours.
fn is_schema_of_values(name: &str) -> bool {
    matches!(name.split('/').collect::<Vec<_>>()[..], ["charts", _, "values.schema.json"])
}

/// A schema of draft 7, which Helm 3 reads, as the engine reads schemas.
fn modern(schema: Value) -> Value {
    match schema {
        Value::Object(map) => {
            let entries = map.into_iter().map(|(key, value)| match (key.as_str(), &value) {
                ("$schema", _) => (key, "https://json-schema.org/draft/2020-12/schema".into()),
                ("definitions", _) => ("$defs".to_owned(), modern(value)),
                ("$ref", Value::String(target)) => (key, target.replace("#/definitions/", "#/$defs/").into()),
                _ => (key, modern(value)),
            });
            Value::Object(entries.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(modern).collect()),
        other => other,
    }
}

/// What a mapping of values lacks, the chart's defaults fill.
fn require_nothing(schema: &mut Value) {
    if let Value::Object(map) = schema {
        map.shift_remove("required");
        if let Some(Value::Object(properties)) = map.get_mut("properties") {
            properties.values_mut().for_each(require_nothing);
        }
    }
}

/// The Rust expression of a JSON value.
fn tree(value: &Value, code: &mut String) {
    match value {
        Value::Null => code.push_str("Json::Null"),
        Value::Bool(value) => write!(code, "Json::Bool({value})").expect("strings take all"),
        Value::Number(number) => {
            let tree = match number.as_i64() {
                Some(whole) => format!("Json::Whole({whole})"),
                None => format!("Json::Float({:?})", number.as_f64().expect("a finite number")),
            };
            code.push_str(&tree);
        }
        Value::String(text) => write!(code, "Json::Text({text:?})").expect("strings take all"),
        Value::Array(items) => {
            code.push_str("Json::List(&[");
            for item in items {
                tree(item, code);
                code.push(',');
            }
            code.push_str("])");
        }
        Value::Object(map) => {
            code.push_str("Json::Map(&[");
            for (key, item) in map {
                write!(code, "({key:?},").expect("strings take all");
                tree(item, code);
                code.push_str("),");
            }
            code.push_str("])");
        }
    }
}
