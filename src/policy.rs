//! An organisation's policies: JSON Schemas with messages for people, from the folders of `--policy`. The only reader of
//! these; `validate` asks them.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value};

use crate::finding::{Collect, backticked, did_you_mean};
use crate::schema::Schema;
use crate::{embedded, file, json, keywords, yaml};

/// The parts of what a policy judges.
pub const SUBJECT: [&str; 8] =
    ["collector", "environment", "lineage", "namespace", "platform", "profile", "telemetry", "values"];

/// The files that a folder of policies may hold; the first is for every profile.
const FILES: [&str; 3] = ["all.json", "development.json", "production.json"];
/// A file for people, which is left alone.
const README: &str = "README.md";

/// A policy that holds for this run.
#[derive(Debug)]
pub struct Policy {
    /// The file, as messages name it.
    pub file: String,
    /// What it demands.
    pub schema: Schema<'static>,
}

/// Reads the policies in the folders. Those of another profile must be right too, and are then left out.
pub fn read(dirs: &[PathBuf], profile: &str) -> Result<Vec<Policy>> {
    let mut policies = Vec::new();
    let mut found = Collect::default();
    for dir in dirs {
        let names = match names(dir) {
            Ok(names) => names,
            Err(error) => {
                found.push(format!("--policy {}: {error:#}", dir.display()));
                continue;
            }
        };
        for name in names {
            let path = dir.join(&name);
            if !FILES.contains(&name.as_str()) {
                found.push(format!(
                    "{}: no policy is called so{}; a folder of policies holds {}",
                    path.display(),
                    did_you_mean(&name, FILES),
                    backticked(FILES)
                ));
                continue;
            }
            let Some(policy) = found.ok(one(&path)) else { continue };
            if name == FILES[0] || name.strip_suffix(".json") == Some(profile) {
                policies.push(policy);
            }
        }
    }
    found.finish(policies)
}

/// The names of the files in a folder, those for people and hidden ones left out, sorted.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = fs::read_dir(dir).map_err(|error| anyhow!("cannot be read: {error}; give a folder of policies"))?;
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // A mounted ConfigMap holds hidden folders of its own.
        if name != README && !name.starts_with('.') {
            names.push(name);
        }
    }
    if names.is_empty() {
        bail!("there is no policy in it; put rules into one of {}", backticked(FILES));
    }
    names.sort();
    Ok(names)
}

fn one(path: &Path) -> Result<Policy> {
    let file = path.display().to_string();
    if !path.is_file() {
        bail!("{file}: is no plain file; put the policy itself there");
    }
    let bytes = file::read(path, yaml::MAX_BYTES, &file)?;
    let text = json::read(&bytes).map_err(|error| {
        anyhow!("{file}:{}:{}: {}; a policy is a JSON Schema", error.line(), error.column(), json::reason(&error))
    })?;
    let mut found = Collect::default();
    if depth(&text) > yaml::MAX_DEPTH {
        bail!("{file}: nested deeper than {} levels; use `$defs`", yaml::MAX_DEPTH);
    }
    keywords::check(&text, &[], &file, &mut found);
    subject(&text, &file, &mut found);
    let platform = "/properties/platform";
    if let (Some(rule), Some(options)) = (text.pointer(platform), embedded::options_tree("templates/platform")) {
        keywords::check_names(rule, &options.to_value(), platform, &file, &mut found);
    }
    found.finish(())?;
    let schema = Schema::compile(Cow::Owned(text), &file)?.as_policy();
    Ok(Policy { file, schema })
}

fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    1 + below.unwrap_or_default()
}

/// Reports rules over parts that nothing has.
fn subject(schema: &Value, file: &str, found: &mut Collect) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for key in properties.into_iter().flat_map(Map::keys).filter(|key| !SUBJECT.contains(&key.as_str())) {
        found.push(format!(
            "{file}: `/properties/{key}`: a policy judges {}; there is no `{key}`{}",
            backticked(SUBJECT),
            did_you_mean(key, SUBJECT)
        ));
    }
}
