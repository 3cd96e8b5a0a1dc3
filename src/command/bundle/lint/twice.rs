//! A bundle that brings a chart, selected twice: one that the umbrella deploys, and one that runs elsewhere.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::Linted;
use crate::cli::Request;
use crate::command::sample::{Sample, Subject};
use crate::finding::Collect;
use crate::pointer;

/// A sample, and whether anything is deployed with it.
pub(super) type Tried = (Sample, bool);

/// Renders the first sample, which has the fewest options, together with each that deploys something where it does not, or
/// the other way round.
pub(super) fn check(linted: &Linted<'_>, subject: &Subject<'_>, tried: &[Tried], found: &mut Collect) {
    let Some(((base, base_deploys), others)) = tried.split_first() else { return };
    for (other, _) in others.iter().filter(|(_, deploys)| deploys != base_deploys) {
        let (deployed, elsewhere) = if *base_deploys { (base, other) } else { (other, base) };
        if let Err(error) = together(linted, subject, deployed, elsewhere) {
            found.push(format!(
                "{}/values.yaml.j2: the bundle cannot be selected twice, once deployed ({}) and once not ({}); where nothing is \
                 deployed write nothing under the chart's key: {error:#}",
                linted.bundle.folder,
                deployed.describe(),
                elsewhere.describe()
            ));
            return;
        }
    }
}

fn together(linted: &Linted<'_>, subject: &Subject<'_>, one: &Sample, other: &Sample) -> Result<()> {
    let first = json!({"type": linted.name, "config": config(one)});
    let second = json!({"type": linted.name, "name": "elsewhere", "config": config(other)});
    let mut plugins = Map::new();
    plugins.insert(linted.kind.key().to_owned(), json!([first, second]));
    let dir = tempfile::tempdir().context("no temporary folder")?;
    let path = dir.path().join("manifest.yaml");
    fs::write(&path, json!({"plugins": plugins}).to_string()).context("the temporary folder")?;
    let request = Request { manifests: vec![path], profile: Some("development".to_owned()), ..Request::default() };
    crate::run_with(subject.library, &request).map(drop)
}

/// Options by their dotted names, as a manifest has them.
fn config(sample: &Sample) -> Value {
    let mut config = Value::Object(Map::new());
    for (name, value) in &sample.0 {
        let mut at = &mut config;
        let path = pointer::of_option(name);
        for key in pointer::tokens(&path) {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[key.as_str()];
        }
        *at = value.clone();
    }
    config
}
