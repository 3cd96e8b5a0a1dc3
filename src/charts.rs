//! Which charts the values are for: what the platform and the selected bundles declare.

use anyhow::Result;
use serde_json::{Map, Value};

use crate::bundle::Bundles;
use crate::embedded;
use crate::finding::Collect;
use crate::json::Json;

/// The umbrella chart in this repository.
pub const UMBRELLA: &str = "charts/floe-observability/";
/// How the repository of a chart beside the umbrella begins.
const BESIDE: &str = "file://../";

/// A chart that the umbrella depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The key in the values under which the chart's own stand.
    pub key: String,
    /// Name of the chart.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// Where it is.
    pub repository: String,
}

impl Dependency {
    /// The folder of the chart in this repository, if it is one of ours.
    #[must_use]
    pub fn ours(&self) -> Option<String> {
        let folder = format!("charts/{}/", self.repository.strip_prefix(BESIDE)?);
        let is_ours = embedded::below(&folder).next().is_some();
        is_ours.then_some(folder)
    }

    /// The schema of its values, if it is built in.
    #[must_use]
    pub fn schema(&self) -> Option<&'static Json> {
        match self.ours() {
            Some(folder) => embedded::values_tree(&folder),
            None => embedded::schema_tree(&format!("charts/{}-{}", self.name, self.version)),
        }
    }

    /// The entry in the umbrella's `Chart.yaml`.
    #[must_use]
    pub fn entry(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |key: &str, value: &str| entry.insert(key.to_owned(), value.into());
        put("name", &self.name);
        if self.key != self.name {
            put("alias", &self.key);
        }
        put("version", &self.version);
        // A chart that stands in the umbrella's own `charts/` has no repository.
        if self.ours().is_none() {
            put("repository", &self.repository);
        }
        put("condition", &format!("{}.enabled", self.key));
        Value::Object(entry)
    }
}

/// The charts that the platform and the selected bundles declare. Two that want one key for different charts are an error.
pub fn declared(bundles: &Bundles) -> Result<Vec<Dependency>> {
    let mut found = Collect::default();
    let mut all: Vec<(Dependency, String)> = Vec::new();
    let platform = (&bundles.platform, "the platform".to_owned());
    for (bundle, label) in
        std::iter::once(platform).chain(bundles.backends.iter().map(|one| (&one.bundle, one.label())))
    {
        for (name, chart) in bundle.meta.charts.iter() {
            let key = chart.alias.as_deref().unwrap_or(name).to_owned();
            if bundles.platform.meta.umbrella.contains(&key) {
                found.push(format!(
                    "{}/bundle.yaml: `charts.{name}`: `{key}` is a key of the umbrella chart; give the chart an `alias`",
                    bundle.folder
                ));
            }
            let one = Dependency {
                key,
                name: name.to_owned(),
                version: chart.version.clone(),
                repository: chart.repository.clone(),
            };
            match all.iter().find(|(other, _)| other.key == one.key) {
                Some((other, _)) if *other == one => {}
                Some((other, theirs)) => found.push(format!(
                    "{label}: its values stand under `{}` for the chart {} {} of {}, and {theirs} has {} {} of {} there; \
                     give one an `alias`",
                    one.key, one.name, one.version, one.repository, other.name, other.version, other.repository
                )),
                None => all.push((one, label.clone())),
            }
        }
    }
    found.finish(all.into_iter().map(|(one, _)| one).collect())
}
