//! Stage `write`: the documents as text, to stdout or into a directory, all files or none. The only writer.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::bind::Bound;
use crate::bundle::{Bundles, FLOE_API};
use crate::finding::backticked;
use crate::options::Options;
use crate::select::Plan;
use crate::values::Values;
use crate::yaml;

/// The names of all files that a run may write, in the order of their output.
pub const FILES: [&str; 5] = [COLLECTOR, VALUES, OPENLINEAGE, WORKLOAD, ARTIFACTS];

const COLLECTOR: &str = "collector.yaml";
const VALUES: &str = "values.yaml";
const OPENLINEAGE: &str = "openlineage.yml";
const WORKLOAD: &str = "workload.env.yaml";
const ARTIFACTS: &str = "artifacts.json";

/// The first line of a YAML file begins with this, which tells our files from others.
const MARK: &str = "# floe-render ";

/// A file, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Name of the file.
    pub name: &'static str,
    /// Its text.
    pub text: String,
}

/// The tool and its version, as the files name it.
fn tool() -> String {
    format!("floe-render {}", env!("CARGO_PKG_VERSION"))
}

/// What the floe compiler and CI read.
#[must_use]
pub fn artifacts(bundles: &Bundles, options: &Options, plan: &Plan, bound: &Bound, values: &Values) -> Value {
    let secrets: Map<String, Value> = bound
        .secrets
        .iter()
        .map(|one| (one.what.clone(), json!({"name": one.name, "key": one.key, "used_by": one.used_by})))
        .collect();
    let list: Vec<Value> = bundles
        .backends
        .iter()
        .zip(&options.backends)
        .map(|(backend, resolved)| {
            json!({
                "kind": backend.selection.kind.name(),
                "name": backend.selection.bundle,
                "id": backend.selection.id,
                "version": backend.bundle.meta.version.to_string(),
                "digest": backend.bundle.digest,
                "passthrough": resolved.passthrough,
            })
        })
        .collect();
    let mut artifacts = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            artifacts.insert(key.to_owned(), value);
        }
    };
    put("otlp_collector_config", bound.collector_config.clone());
    put("openlineage_config", bound.openlineage.as_ref().and_then(|config| config.get("transport").cloned()));
    put("openlineage_client_config", bound.client.clone());
    put("workload_env", Some(Value::Array(bound.workload.env.clone())));
    put("namespace_strategy", bound.namespace.clone());
    put("helm_values", Some(values.bundles.clone()));
    put("environment_variables", Some(Value::Object(bound.environment.clone())));
    put("secrets", Some(Value::Object(secrets)));
    put("bundles", Some(Value::Array(list)));
    put("environment", Some(plan.environment.clone().into()));
    put("profile", Some(plan.profile.clone().into()));
    put("floe_api_version", Some(FLOE_API.to_string().into()));
    put("generated_by", Some(tool().into()));
    Value::Object(artifacts)
}

/// The documents as text. A document that the selection has no use for is left out.
pub fn documents(bundles: &Bundles, bound: &Bound, values: &Values, artifacts: &Value) -> Result<Vec<Document>> {
    let selected: Vec<String> =
        bundles.backends.iter().map(|one| format!("{} {}", one.label(), one.bundle.meta.version)).collect();
    let header = format!("{MARK}{}: {}\n", env!("CARGO_PKG_VERSION"), selected.join(", "));
    let yaml = |value: &Value| -> Result<String> { Ok(header.clone() + &yaml::write(value)?) };
    let mut documents = Vec::new();
    let mut put = |name, text| documents.push(Document { name, text });
    if let Some(config) = &bound.collector_config {
        put(COLLECTOR, yaml(config)?);
    }
    put(VALUES, yaml(&values.all.value)?);
    if let Some(config) = &bound.client {
        put(OPENLINEAGE, yaml(config)?);
    }
    put(WORKLOAD, yaml(&Value::Array(bound.workload.env.clone()))?);
    put(ARTIFACTS, serde_json::to_string_pretty(artifacts)? + "\n");
    Ok(documents)
}

/// Prints documents as `helm template` does, or the one that was asked for, ready to pipe. A closed pipe ends quietly.
pub fn print(documents: &[Document], only: Option<&str>, out: &mut impl Write) -> Result<()> {
    let mut text = String::new();
    match only {
        Some(name) => match documents.iter().find(|one| one.name == name) {
            Some(document) => text.push_str(&document.text),
            None => bail!(
                "--show-only {name}: this selection has no {name}; it has {}",
                backticked(documents.iter().map(|one| one.name))
            ),
        },
        None => {
            for document in documents {
                text.extend(["---\n# Source: ", document.name, "\n", &document.text]);
            }
        }
    }
    print_text(&text, out)
}

/// Prints text. A closed pipe ends quietly.
pub fn print_text(text: &str, out: &mut impl Write) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("stdout cannot be written"),
    }
}

/// Writes documents into a directory: every file is staged before the first is renamed, and a file of ours that this
/// selection no longer has is removed.
pub fn write(documents: &[Document], dir: &Path) -> Result<()> {
    let shown = dir.display();
    fs::create_dir_all(dir).with_context(|| format!("--output-dir {shown}: cannot be created"))?;
    let mut staged = Staged(Vec::new());
    for document in documents {
        let target = dir.join(document.name);
        if target.is_dir() {
            bail!("{}: is a directory; move it out of the way", target.display());
        }
        let path = dir.join(format!(".{}.{}.new", document.name, std::process::id()));
        staged.0.push((path.clone(), target));
        fs::write(&path, &document.text).with_context(|| format!("--output-dir {shown}: cannot be written"))?;
    }
    for (path, target) in std::mem::take(&mut staged.0) {
        fs::rename(&path, &target).with_context(|| format!("{}: cannot be replaced", target.display()))?;
    }
    for name in FILES.iter().filter(|name| !documents.iter().any(|one| one.name == **name)) {
        let path = dir.join(name);
        if fs::read_to_string(&path).is_ok_and(|text| text.starts_with(MARK)) {
            fs::remove_file(&path)
                .with_context(|| format!("{}: is of an earlier selection and cannot be removed", path.display()))?;
        }
    }
    Ok(())
}

/// Files that were written and not yet renamed; dropped, they are removed.
struct Staged(Vec<(PathBuf, PathBuf)>);

impl Drop for Staged {
    fn drop(&mut self) {
        for (path, _) in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
