//! The collector version that the output is for. Inputs, schemas and messages speak of the newest; what an older one calls
//! otherwise, or does not have, stands in a table beside the schemas, and is put in once everything is validated.

use anyhow::{Result, bail};
use semver::Version;
use serde_json::{Map, Value};

use crate::finding::backticked;
use crate::json::Json;
use crate::{embedded, pointer};

/// The sections of a collector config that hold components.
pub const SECTIONS: [&str; 5] = ["receivers", "processors", "exporters", "extensions", "connectors"];

/// The table's key for what is in no component.
const FRAME: &str = "config";

/// A collector version that can be written for.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The version in full, as images are tagged.
    pub version: &'static str,
    /// What the version calls otherwise or does not have.
    table: &'static Json,
    newest: bool,
}

impl Target {
    /// The newest version, for which bundles and schemas are written.
    pub fn newest() -> Result<Self> {
        match all()?.first() {
            Some((version, table)) => Ok(Target { version, table, newest: true }),
            None => bail!("schemas/collector/targets.json: there is no version in it"),
        }
    }

    /// The version that a user named, `0.120` or `0.120.0`.
    pub fn named(text: &str) -> Result<Self> {
        let full = if text.matches('.').count() == 1 { format!("{text}.0") } else { text.to_owned() };
        let versions = all()?;
        let found = versions.iter().position(|(version, _)| *version == full);
        let Some((index, (version, table))) = found.and_then(|index| Some((index, versions.get(index)?))) else {
            let known = versions.iter().map(|(version, _)| version.trim_end_matches(".0"));
            bail!("`{text}` is no collector version that can be written for; it is one of {}", backticked(known));
        };
        Ok(Target { version, table, newest: index == 0 })
    }

    /// Whether this is the newest version.
    #[must_use]
    pub fn is_newest(self) -> bool {
        self.newest
    }

    /// Whether something that is there since a version is missing in this one.
    #[must_use]
    pub fn lacks(self, since: &str) -> bool {
        let version = |text: &str| Version::parse(text).ok();
        version(since).zip(version(self.version)).is_some_and(|(since, ours)| since > ours)
    }

    /// What to tell about something that the version does not have.
    #[must_use]
    pub fn refusal(self, since: Option<&str>) -> String {
        let when = since.map_or_else(String::new, |since| format!("; it came with {since}"));
        format!("collector {} does not have this{when}; leave it out, or write for a newer collector", self.version)
    }

    /// Why the version cannot do what a config says, by pointer.
    pub fn missing(self, config: &Value, report: &mut impl FnMut(&str, String)) {
        for section in SECTIONS {
            for (id, body) in components(config, section) {
                let at = pointer::join(&format!("/{section}"), id);
                let Some(entry) = self.entry(section, kind(id)) else { continue };
                match entry.get("was").and_then(Json::as_str).map(|was| renamed(id, was)) {
                    Some(old) if components(config, section).any(|(other, _)| *other == old) => {
                        let ours = self.version;
                        report(&at, format!("collector {ours} calls it `{old}`, and another has that ID; rename one"));
                    }
                    None if entry.get("since").is_some() => report(&at, self.refusal(since(entry))),
                    _ => {}
                }
                self.missing_below(entry, body, &at, report);
            }
        }
        if let Some(entry) = self.table.get(FRAME) {
            self.missing_below(entry, config, "", report);
        }
    }

    fn missing_below(self, entry: &'static Json, body: &Value, at: &str, report: &mut impl FnMut(&str, String)) {
        let rules = |key: &str| entry.get(key).map_or(&[][..], Json::entries);
        for (pattern, rule) in rules("keys").iter().filter(|(_, rule)| rule.get("was").is_none()) {
            matches(body, pattern, &mut |below| report(&format!("{at}{below}"), self.refusal(since(rule))));
        }
        for (pattern, values) in rules("values") {
            matches(body, pattern, &mut |below| {
                let value = body.pointer(below).and_then(Value::as_str);
                if let Some(rule) = value.and_then(|value| values.get(value)) {
                    report(&format!("{at}{below}"), self.refusal(since(rule)));
                }
            });
        }
    }

    /// Puts the version's own names into a config.
    pub fn lower(self, config: Option<&mut Value>) {
        let Some(config) = config.filter(|_| !self.newest) else { return };
        let name = |section: &str, id: &str| match self
            .entry(section, kind(id))
            .and_then(|entry| entry.get("was")?.as_str())
        {
            Some(was) => renamed(id, was),
            None => id.to_owned(),
        };
        let connectors: Vec<String> = components(config, "connectors").map(|(id, _)| id.clone()).collect();
        for section in SECTIONS {
            let Some(Value::Object(all)) = config.get_mut(section) else { continue };
            for (id, mut body) in std::mem::take(all) {
                if let Some(entry) = self.entry(section, kind(&id)) {
                    lower_below(entry, &mut body);
                }
                all.insert(name(section, &id), body);
            }
        }
        let references = |list: Option<&mut Value>, section: &str| {
            for item in list.and_then(Value::as_array_mut).into_iter().flatten() {
                let Some(id) = item.as_str() else { continue };
                let of = if section != "processors" && connectors.iter().any(|one| one == id) {
                    "connectors"
                } else {
                    section
                };
                *item = name(of, id).into();
            }
        };
        let Some(service) = config.get_mut("service") else { return };
        references(service.get_mut("extensions"), "extensions");
        for (_, pipeline) in service.get_mut("pipelines").and_then(Value::as_object_mut).into_iter().flatten() {
            for section in ["receivers", "processors", "exporters"] {
                references(pipeline.get_mut(section), section);
            }
        }
    }

    fn entry(self, section: &str, kind: &str) -> Option<&'static Json> {
        self.table.get(section)?.get(kind)
    }
}

/// The versions, newest first, each with its table.
fn all() -> Result<&'static [(&'static str, Json)]> {
    embedded::tree("collector/targets")?.get("versions").map_or_else(
        || bail!("schemas/collector/targets.json: `versions` is missing"),
        |versions| Ok(versions.entries()),
    )
}

/// The version since which something is there: the rule itself, or its `since`.
fn since(rule: &'static Json) -> Option<&'static str> {
    rule.as_str().or_else(|| rule.get("since")?.as_str())
}

fn components<'a>(config: &'a Value, section: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    config.get(section).and_then(Value::as_object).into_iter().flatten()
}

fn kind(id: &str) -> &str {
    id.split('/').next().unwrap_or(id)
}

/// An ID with another type.
fn renamed(id: &str, kind: &str) -> String {
    id.split_once('/').map_or_else(|| kind.to_owned(), |(_, name)| format!("{kind}/{name}"))
}

/// Renames the keys in a component's body.
fn lower_below(entry: &'static Json, body: &mut Value) {
    for (pattern, rule) in entry.get("keys").map_or(&[][..], Json::entries) {
        let Some(was) = rule.get("was").and_then(Json::as_str) else { continue };
        let mut places = Vec::new();
        matches(body, pattern, &mut |at| places.push(at.to_owned()));
        for at in places {
            let Some((parent, _)) = at.rsplit_once('/') else { continue };
            let Some(Value::Object(map)) = body.pointer_mut(parent) else { continue };
            let old = pointer::tokens(&at).last().unwrap_or_default();
            let entries = std::mem::take(map).into_iter();
            *map = entries
                .map(|(key, value)| if key == old { (was.to_owned(), value) } else { (key, value) })
                .collect::<Map<_, _>>();
        }
    }
}

/// Calls `visit` with every place below `value` that a pattern names: a pointer in which `*` is any key or index.
fn matches(value: &Value, pattern: &str, visit: &mut impl FnMut(&str)) {
    fn below(value: &Value, tokens: &[String], at: &str, visit: &mut impl FnMut(&str)) {
        let Some((token, rest)) = tokens.split_first() else { return visit(at) };
        match value {
            Value::Object(map) if token == "*" => {
                map.iter().for_each(|(key, value)| below(value, rest, &pointer::join(at, key), visit));
            }
            Value::Array(items) if token == "*" => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, value)| below(value, rest, &pointer::join(at, &index.to_string()), visit));
            }
            Value::Object(map) => {
                if let Some(value) = map.get(token) {
                    below(value, rest, &pointer::join(at, token), visit);
                }
            }
            _ => {}
        }
    }
    let tokens: Vec<String> = pointer::tokens(pattern).collect();
    below(value, &tokens, "", visit);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn old() -> Target {
        Target::named("0.120").unwrap()
    }

    #[test]
    fn a_version_is_named_with_or_without_its_patch() {
        assert_eq!(old().version, "0.120.0");
        assert_eq!(Target::named("0.120.0").unwrap().version, "0.120.0");
        assert!(Target::named("0.158").unwrap().is_newest());
        for text in ["0.12", "0.120.1", "v0.120", "", "0.158.0.0"] {
            assert!(Target::named(text).is_err(), "{text}");
        }
    }

    /// A new component would else be written for a collector that nobody asked about it.
    #[test]
    fn every_component_with_a_schema_has_its_place_in_every_table() {
        let in_bundles = embedded::below("templates/").filter_map(|(path, _)| {
            let (section, file) = path.split_once("/schemas/")?.1.split_once('/')?;
            let name = file.strip_suffix(".json")?;
            SECTIONS.contains(&section).then(|| (section.to_owned(), name.to_owned()))
        });
        let ours = SECTIONS.into_iter().flat_map(|section| {
            let names = embedded::schemas_below(&format!("collector/{section}"));
            names.map(move |name| (section.to_owned(), name.to_owned()))
        });
        let components: Vec<(String, String)> = ours.chain(in_bundles).collect();
        assert!(components.len() > 30, "only {} components", components.len());
        for (version, table) in &all().unwrap()[1..] {
            for (section, name) in &components {
                let known = table.get(section).and_then(|names| names.get(name)).is_some();
                assert!(
                    known,
                    "targets.json: {version}: {section}.{name} is missing; `{{}}` says that nothing differs"
                );
            }
        }
    }

    /// A component's body may name an extension, and those names are not replaced.
    #[test]
    fn no_extension_is_renamed() {
        for (version, table) in all().unwrap() {
            for (name, entry) in table.get("extensions").map_or(&[][..], Json::entries) {
                assert!(entry.get("was").is_none(), "{version}: {name}");
            }
        }
    }

    #[test]
    fn lowers_ids_references_and_keys() {
        let mut config = json!({
            "receivers": {"otlp": {}},
            "processors": {
                "k8s_attributes": {"passthrough": true},
                "resource_detection/a": {"detectors": ["env"]}
            },
            "exporters": {
                "otlp_grpc/x": {"endpoint": "otlp_grpc/x", "sending_queue": {"block_on_overflow": true, "queue_size": 9}},
                "otlp_http": {}
            },
            "extensions": {"health_check": {}},
            "connectors": {"span_metrics/y": {}},
            "service": {
                "extensions": ["health_check"],
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "processors": ["k8s_attributes", "resource_detection/a"], "exporters": ["otlp_grpc/x", "span_metrics/y"]},
                    "metrics": {"receivers": ["span_metrics/y"], "exporters": ["otlp_http"]}
                }
            }
        });
        old().missing(&config, &mut |at, text| panic!("{at}: {text}"));
        old().lower(Some(&mut config));
        assert_eq!(
            config,
            json!({
                "receivers": {"otlp": {}},
                "processors": {
                    "k8sattributes": {"passthrough": true},
                    "resourcedetection/a": {"detectors": ["env"]}
                },
                "exporters": {
                    "otlp/x": {"endpoint": "otlp_grpc/x", "sending_queue": {"blocking": true, "queue_size": 9}},
                    "otlphttp": {}
                },
                "extensions": {"health_check": {}},
                "connectors": {"spanmetrics/y": {}},
                "service": {
                    "extensions": ["health_check"],
                    "pipelines": {
                        "traces": {"receivers": ["otlp"], "processors": ["k8sattributes", "resourcedetection/a"], "exporters": ["otlp/x", "spanmetrics/y"]},
                        "metrics": {"receivers": ["spanmetrics/y"], "exporters": ["otlphttp"]}
                    }
                }
            })
        );
    }

    #[test]
    fn the_newest_version_changes_nothing_and_lacks_nothing() {
        let config = json!({"exporters": {"otlp_grpc": {"sending_queue": {"batch": {}}}, "faro": {}}});
        let mut lowered = config.clone();
        let newest = Target::newest().unwrap();
        newest.missing(&config, &mut |at, text| panic!("{at}: {text}"));
        newest.lower(Some(&mut lowered));
        assert_eq!(lowered, config);
    }

    #[test]
    fn reports_components_keys_and_values_that_came_later() {
        let config = json!({
            "exporters": {
                "faro/a": {"sending_queue": {}},
                "otlp_grpc/b": {"sending_queue": {"batch": {"min_size": 1}}},
                "otlp_http/c": {"compression": "x-snappy-framed"},
                "otlphttp/c": {}
            },
            "processors": {"tail_sampling": {"policies": [{"type": "always_sample"}, {"type": "not"}]}},
            "service": {"telemetry": {"metrics": {"views": []}}}
        });
        let mut found = Vec::new();
        old().missing(&config, &mut |at, text| found.push(format!("{at}: {text}")));
        let lacks = "collector 0.120.0 does not have this";
        let step = "leave it out, or write for a newer collector";
        assert_eq!(
            found,
            [
                format!("/processors/tail_sampling/policies/1/type: {lacks}; {step}"),
                format!("/exporters/faro~1a: {lacks}; it came with 0.127.0; {step}"),
                format!("/exporters/otlp_grpc~1b/sending_queue/batch: {lacks}; it came with 0.123.0; {step}"),
                "/exporters/otlp_http~1c: collector 0.120.0 calls it `otlphttp/c`, and another has that ID; rename one"
                    .to_owned(),
                format!("/exporters/otlp_http~1c/compression: {lacks}; it came with 0.126.0; {step}"),
                format!("/service/telemetry/metrics/views: {lacks}; it came with 0.123.0; {step}"),
            ]
        );
    }
}
