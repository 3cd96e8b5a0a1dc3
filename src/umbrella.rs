//! The umbrella chart as a folder of its own: what `--chart` writes around the values. Its templates are those of
//! `charts/floe-observability`; its dependencies are what the selected bundles declare, and nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Stages;
use crate::charts::{Dependency, UMBRELLA};
use crate::embedded;
use crate::finding::{Collect, backticked};
use crate::pointer;
use crate::write::{self, Document};
use crate::yaml;

/// The umbrella chart of one selection.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    header: String,
    namespace: Option<&'a str>,
    values: &'a Value,
    declared: &'a [Dependency],
}

impl<'a> Chart<'a> {
    /// The chart for the values of a run.
    #[must_use]
    pub fn new(stages: &'a Stages) -> Self {
        Chart {
            header: write::header(&stages.bundles),
            namespace: stages.plan.namespace.as_deref(),
            values: &stages.values.all.value,
            declared: &stages.charts,
        }
    }

    /// Those of the declared charts that the values ask for.
    fn dependencies(&self) -> impl Iterator<Item = &Dependency> {
        self.declared.iter().filter(|one| {
            let values = self.values.get(&one.key);
            values.is_some_and(|values| values.get("enabled") != Some(&Value::Bool(false)))
        })
    }

    /// The documents of a run with those of the chart. Its values hold the umbrella's own defaults too.
    pub fn documents(&self, documents: &[Document]) -> Result<Vec<Document>> {
        let manifest = own("Chart.yaml")?;
        let of_ours = manifest.get("dependencies").and_then(Value::as_array).into_iter().flatten();
        let of_ours: Vec<&str> =
            of_ours.filter_map(|one| one.get("alias").or_else(|| one.get("name"))?.as_str()).collect();
        let mut found = Collect::default();
        for key in of_ours.iter().filter(|key| self.values.get(**key).is_some()) {
            if !self.declared.iter().any(|one| one.key == **key) {
                found.push(format!(
                    "values.yaml: `{key}`: values for a chart that no selected bundle declares, so that this umbrella \
                     would not have it; select its backend, or take them out of `render.patches.values`"
                ));
            }
        }
        found.finish(())?;

        let mut all = documents.to_vec();
        let values = self.complete_values(&of_ours)?;
        for document in all.iter_mut().filter(|document| document.name == write::VALUES) {
            document.text = format!("{}{}", self.header, yaml::write(&values)?);
        }
        for (path, bytes) in embedded::below(UMBRELLA) {
            let name = &path[UMBRELLA.len()..];
            let text = match name {
                "values.yaml" => continue,
                "Chart.yaml" => self.header.clone() + &yaml::write(&self.manifest(manifest.clone()))?,
                "values.schema.json" => {
                    serde_json::to_string_pretty(&self.schema(json_of(bytes, path)?, &of_ours))? + "\n"
                }
                "README.md" => self.readme(text_of(bytes, path)?, &of_ours),
                _ => text_of(bytes, path)?.to_owned(),
            };
            all.push(Document { name, text });
        }
        for folder in self.dependencies().filter_map(Dependency::ours) {
            for (path, bytes) in embedded::below(&folder) {
                all.push(Document { name: path, text: text_of(bytes, path)?.to_owned() });
            }
        }
        Ok(all)
    }

    fn manifest(&self, mut manifest: Value) -> Value {
        let dependencies: Vec<Value> = self.dependencies().map(Dependency::entry).collect();
        if let Value::Object(manifest) = &mut manifest {
            manifest.shift_remove("dependencies");
            if !dependencies.is_empty() {
                manifest.insert("dependencies".to_owned(), Value::Array(dependencies));
            }
        }
        manifest
    }

    /// The rendered values, and below them what the umbrella's templates read and the rendering does not set.
    fn complete_values(&self, of_ours: &[&str]) -> Result<Value> {
        let mut values = self.values.clone();
        let mut defaults = own("values.yaml")?;
        if let Value::Object(defaults) = &mut defaults {
            defaults.retain(|key, _| !of_ours.contains(&key.as_str()));
        }
        complete(&mut values, defaults);
        Ok(values)
    }

    /// The umbrella's schema, in which each declared chart's key is there, and no other chart's.
    fn schema(&self, mut schema: Value, of_ours: &[&str]) -> Value {
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties
                .retain(|key, _| !of_ours.contains(&key.as_str()) || self.declared.iter().any(|one| one.key == *key));
            for one in self.declared {
                properties.entry(one.key.clone()).or_insert_with(|| json!({"type": "object"}));
            }
        }
        schema
    }

    /// What a reader of the folder needs: how to install it, what it depends on, and the umbrella's own sections.
    fn readme(&self, of_umbrella: &str, of_ours: &[&str]) -> String {
        let by = self.header.trim_start_matches("# ").trim_end();
        let mut text = format!("# floe-observability\n\nWritten by {by}. Render it again instead of editing it.\n\n");
        if self.dependencies().any(|one| one.ours().is_none()) {
            text.push_str("    helm dependency update .\n");
        }
        let namespace = self.namespace.unwrap_or("NAMESPACE");
        text.extend(["    helm upgrade --install obs . --namespace ", namespace, " --create-namespace\n\n"]);
        let rows: Vec<String> =
            self.dependencies().map(|one| format!("| {} | `{}` | {} |\n", one.name, one.key, one.version)).collect();
        if rows.is_empty() {
            text.push_str("It depends on no other chart: the backends are services elsewhere.\n\n");
        } else {
            text.extend(["| dependency | key | version |\n|---|---|---|\n", &rows.concat(), "\n"]);
        }
        let rest = of_umbrella.find("## ").map_or("", |start| &of_umbrella[start..]);
        let foreign = |line: &&str| {
            let is_row = |key: &&&str| line.starts_with(&format!("| `{key}` |"));
            of_ours.iter().find(is_row).is_some_and(|key| !self.dependencies().any(|one| one.key == **key))
        };
        text.extend(rest.split_inclusive('\n').filter(|line| !foreign(line)));
        text
    }

    /// What a user should know of the folder that was written: Helm installs every chart that stands in `charts/`, of
    /// whatever selection, and drops nulls of a chart's own values.
    #[must_use]
    pub fn warnings(&self, dir: &Path) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut nulls = Vec::new();
        for one in self.declared {
            if let Some(values) = self.values.get(&one.key) {
                find_nulls(values, &mut pointer::join("", &one.key), &mut nulls);
            }
        }
        if !nulls.is_empty() {
            warnings.push(format!(
                "values.yaml: null at {}: Helm passes no null of a chart's own values on to its dependencies; install \
                 with `-f {}`",
                backticked(nulls.iter().map(String::as_str)),
                dir.join(write::VALUES).display()
            ));
        }
        let mut names: Vec<String> = fs::read_dir(dir.join("charts"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        for name in names {
            let wanted = self.dependencies().any(|one| match one.ours() {
                Some(folder) => folder == format!("charts/{name}/"),
                None => name == format!("{}-{}.tgz", one.name, one.version) || name == one.name,
            });
            if !wanted && !name.starts_with('.') {
                warnings.push(format!(
                    "{}: no selected bundle declares it, and Helm installs whatever stands there: `helm dependency \
                     update {}` removes archives of an earlier selection; else delete it",
                    dir.join("charts").join(&name).display(),
                    dir.display()
                ));
            }
        }
        warnings
    }
}

/// What a user should know whose values go to the umbrella in this repository as it stands: which of the charts that a
/// bundle brings it lacks.
pub fn lacking(stages: &Stages) -> Result<Vec<String>> {
    // The built-in bundles' charts are in it: a test compares them.
    if stages.bundles.backends.iter().all(|one| one.bundle.is_built_in() || one.bundle.meta.charts.0.is_empty()) {
        return Ok(Vec::new());
    }
    let manifest = own("Chart.yaml")?;
    let there: Vec<&Value> = manifest.get("dependencies").and_then(Value::as_array).into_iter().flatten().collect();
    let chart = Chart::new(stages);
    let lacks = chart.dependencies().filter(|one| {
        let entry = one.entry();
        !there.iter().any(|other| ["name", "alias", "version"].iter().all(|key| other.get(key) == entry.get(*key)))
    });
    let warnings = lacks.map(|one| {
        format!(
            "values.yaml: `{}`: {} does not have the chart {} {}; `--chart -o DIR` writes an umbrella that has it",
            one.key,
            UMBRELLA.trim_end_matches('/'),
            one.name,
            one.version
        )
    });
    Ok(warnings.collect())
}

fn find_nulls(value: &Value, at: &mut String, nulls: &mut Vec<String>) {
    match value {
        Value::Null => nulls.push(pointer::dotted(at)),
        Value::Object(map) => {
            let end = at.len();
            for (key, below) in map {
                pointer::push(at, key);
                find_nulls(below, at, nulls);
                at.truncate(end);
            }
        }
        _ => {}
    }
}

/// Adds to a mapping what it lacks, at every level.
fn complete(value: &mut Value, defaults: Value) {
    let (Value::Object(map), Value::Object(defaults)) = (value, defaults) else { return };
    for (key, default) in defaults {
        match map.get_mut(&key) {
            Some(value) => complete(value, default),
            None => {
                map.insert(key, default);
            }
        }
    }
}

/// A YAML file of the umbrella in this repository.
fn own(name: &str) -> Result<Value> {
    let path = format!("{UMBRELLA}{name}");
    let bytes = embedded::file(&path).with_context(|| format!("{path}: the program was built without this file"))?;
    Ok(yaml::read(text_of(bytes, &path)?, &path)?.into_value())
}

fn json_of(bytes: &[u8], path: &str) -> Result<Value> {
    serde_json::from_slice(bytes).with_context(|| path.to_owned())
}

fn text_of<'a>(bytes: &'a [u8], path: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).with_context(|| format!("{path}: not UTF-8"))
}
