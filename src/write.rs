//! Stage `write`: the documents as text, to stdout or into a directory, all files or none. The only writer.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::bind::Bound;
use crate::bundle::{Bundles, FLOE_API};
use crate::finding::{Collect, backticked};
use crate::options::Options;
use crate::select::Plan;
use crate::values::Values;
use crate::yaml;

/// The names of all files that a run may write, in the order of their output.
pub const FILES: [&str; 5] = [COLLECTOR, VALUES, OPENLINEAGE, WORKLOAD, ARTIFACTS];

/// The values of the umbrella chart.
pub const VALUES: &str = "values.yaml";
const COLLECTOR: &str = "collector.yaml";
const OPENLINEAGE: &str = "openlineage.yml";
const WORKLOAD: &str = "workload.env.yaml";
const ARTIFACTS: &str = "artifacts.json";

/// The first line of a YAML file begins with this, which tells our files from others.
const MARK: &str = "# floe-render ";

/// The file that lists which further files in a directory are ours, one in each line.
const LIST: &str = ".floe-render";
/// The file that tells a chart of ours from others.
const CHART: &str = "Chart.yaml";

/// A file, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Name of the file, below a directory with slashes between.
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
    put("collector_version", (!plan.target.is_newest()).then(|| plan.target.version.into()));
    put("profile", Some(plan.profile.clone().into()));
    put("floe_api_version", Some(FLOE_API.to_string().into()));
    put("generated_by", Some(tool().into()));
    Value::Object(artifacts)
}

/// The comment that YAML files begin with: the tool, and the bundles with their versions.
#[must_use]
pub fn header(bundles: &Bundles) -> String {
    let selected: Vec<String> =
        bundles.backends.iter().map(|one| format!("{} {}", one.label(), one.bundle.meta.version)).collect();
    format!("{MARK}{}: {}\n", env!("CARGO_PKG_VERSION"), selected.join(", "))
}

/// The documents as text. A document that the selection has no use for is left out.
pub fn documents(
    bundles: &Bundles,
    plan: &Plan,
    bound: &Bound,
    values: &Values,
    artifacts: &Value,
) -> Result<Vec<Document>> {
    let header = header(bundles);
    let yaml = |value: &Value| -> Result<String> { Ok(header.clone() + &yaml::write(value)?) };
    let mut documents = Vec::new();
    let mut put = |name, text| documents.push(Document { name, text });
    if let Some(config) = &bound.collector_config {
        let target = plan.target;
        let note = if target.is_newest() { String::new() } else { format!("; for collector {}", target.version) };
        put(COLLECTOR, header.trim_end().to_owned() + &note + "\n" + &yaml::write(config)?);
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

/// Writes documents into a directory: every file is staged before the first is renamed, and files of ours that this
/// selection no longer has are removed. Nothing outside the directory is touched, nor a file in it that is not ours.
pub fn write(documents: &[Document], dir: &Path) -> Result<()> {
    let shown = dir.display();
    let earlier = listed(dir);
    refuse_foreign(documents, dir, &earlier)?;
    let mut staged = Staged::default();
    staged.create_dir(dir).with_context(|| format!("--output-dir {shown}: cannot be created"))?;
    let further: Vec<&str> = documents.iter().map(|one| one.name).filter(|name| !FILES.contains(name)).collect();
    let list = further
        .iter()
        .fold(format!("{MARK}{}: files of the chart\n", env!("CARGO_PKG_VERSION")), |list, name| list + name + "\n");
    let texts = documents.iter().map(|one| (one.name, one.text.as_str()));
    for (name, text) in texts.chain((!further.is_empty()).then_some((LIST, list.as_str()))) {
        let target = dir.join(name);
        if target.is_dir() {
            bail!("{}: is a directory; move it out of the way", target.display());
        }
        let (parent, file) = (target.parent().unwrap_or(dir), name.rsplit('/').next().unwrap_or(name));
        let path = parent.join(format!(".{file}.{}.new", std::process::id()));
        staged.create_dir(parent).with_context(|| format!("{}: cannot be created", parent.display()))?;
        staged.files.push((path.clone(), target));
        fs::write(&path, text).with_context(|| format!("--output-dir {shown}: cannot be written"))?;
    }
    staged.rename()?;
    for name in stale_of(documents, dir, &earlier) {
        remove(dir, &name)?;
    }
    Ok(())
}

/// The files of ours in a directory that this selection does not have.
#[must_use]
pub fn stale(documents: &[Document], dir: &Path) -> Vec<String> {
    stale_of(documents, dir, &listed(dir))
}

/// The same, given what an earlier run listed.
fn stale_of(documents: &[Document], dir: &Path, earlier: &[String]) -> Vec<String> {
    let wanted = |name: &str| documents.iter().any(|one| one.name == name);
    let marked = |name: &str| fs::read_to_string(dir.join(name)).is_ok_and(|text| text.starts_with(MARK));
    let gone = FILES.into_iter().filter(|name| !wanted(name) && marked(name)).map(str::to_owned);
    let further = documents.iter().any(|one| !FILES.contains(&one.name));
    let list = (!further && !earlier.is_empty()).then(|| LIST.to_owned());
    gone.chain(earlier.iter().filter(|name| !wanted(name)).cloned()).chain(list).collect()
}

/// The files that an earlier run listed as its own. A name that leads out of the directory is none.
fn listed(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join(LIST)).unwrap_or_default();
    let mut lines = text.lines();
    if !lines.next().is_some_and(|line| line.starts_with(MARK)) {
        return Vec::new();
    }
    let inside = |name: &&str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    lines.filter(inside).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Files of a chart are written over files of a chart of ours only, and through no link.
fn refuse_foreign(documents: &[Document], dir: &Path, earlier: &[String]) -> Result<()> {
    let ours = fs::read_to_string(dir.join(CHART)).is_ok_and(|text| text.starts_with(MARK));
    let mut found = Collect::default();
    for document in documents.iter().filter(|one| !FILES.contains(&one.name)) {
        if let Some(link) = link_on_the_way(dir, document.name) {
            found.push(format!("{}: a link, behind which no file is written; put a folder there", link.display()));
            continue;
        }
        let path = dir.join(document.name);
        let known = ours || earlier.iter().any(|name| name == document.name);
        if !known && fs::read(&path).is_ok_and(|there| there != document.text.as_bytes()) {
            found.push(format!(
                "{}: exists and is not of floe-render; give `--chart` a directory of its own, or move the file",
                path.display()
            ));
        }
    }
    found.finish(())
}

/// The first link among the folders between a directory and a file below it.
fn link_on_the_way(dir: &Path, name: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = Path::new(name).ancestors().skip(1).map(|folder| dir.join(folder)).collect();
    folders.pop();
    folders.into_iter().rev().find(|folder| folder.is_symlink())
}

/// Removes a file of an earlier selection, and the folders that it leaves empty.
fn remove(dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(name);
    if link_on_the_way(dir, name).is_some() || fs::symlink_metadata(&path).is_err() {
        return Ok(());
    }
    fs::remove_file(&path)
        .with_context(|| format!("{}: is of an earlier selection and cannot be removed", path.display()))?;
    for folder in Path::new(name).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
        if fs::remove_dir(dir.join(folder)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Files that were written and not yet renamed, and folders made for them; dropped before the renaming, they are removed.
#[derive(Default)]
struct Staged {
    files: Vec<(PathBuf, PathBuf)>,
    folders: Vec<PathBuf>,
}

impl Staged {
    fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|folder| !folder.exists()).collect();
        self.folders.extend(missing.into_iter().rev().map(Path::to_path_buf));
        fs::create_dir_all(dir)
    }

    fn rename(mut self) -> Result<()> {
        self.folders.clear();
        for (path, target) in std::mem::take(&mut self.files) {
            fs::rename(&path, &target).with_context(|| format!("{}: cannot be replaced", target.display()))?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (path, _) in &self.files {
            let _ = fs::remove_file(path);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}
