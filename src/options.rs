//! Stage `options`: defaults, then what the user gave, checked by the bundle's schema and by its policy for the profile.

use std::borrow::Cow;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::bundle::{Backend, Bundle, Bundles};
use crate::finding::{Collect, backticked, did_you_mean};
use crate::given::{Given, Origin};
use crate::schema::{self, Late, Schema, child, subschema};
use crate::select::Plan;
use crate::{embedded, plain, pointer, set};

/// The options of one bundle, ready for its templates.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Every option of the schema, unset ones null.
    pub all: Value,
    /// The options that have a value, as schemas check them.
    pub set: Value,
    /// Options that only floe's own runtime knows.
    pub passthrough: Value,
    /// What the user gave, with origins.
    pub given: Given,
}

/// The options of everything that is rendered.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the platform layer.
    pub platform: Resolved,
    /// Of each backend, in the plan's order.
    pub backends: Vec<Resolved>,
}

/// Resolves the options of the platform layer and of every backend.
pub fn resolve(bundles: &Bundles, plan: &Plan) -> Result<Options> {
    let mut found = Collect::default();
    let platform =
        found.ok(one(&bundles.platform, plan.collector.clone(), &plan.profile, "render.collector", "render.collector"));
    let mut backends = Vec::new();
    for backend in &bundles.backends {
        let selection = &backend.selection;
        let flag = selection.kind.name();
        let resolved = one(&backend.bundle, selection.options.clone(), &plan.profile, &backend.label(), flag);
        backends.extend(found.ok(resolved));
        secret_keys(backend, &mut found);
    }
    let Some(platform) = platform else {
        found.finish(())?;
        anyhow::bail!("the options of the platform layer cannot be resolved");
    };
    found.finish(Options { platform, backends })
}

/// Reports keys of the connection Secret that are given for variables which the bundle does not have.
fn secret_keys(backend: &Backend, found: &mut Collect) {
    let variables = &backend.bundle.meta.variables;
    let secret = &backend.selection.secret;
    for name in secret.keys.keys().filter(|name| variables.get(name).is_none()) {
        let names = || variables.iter().map(|(name, _)| name);
        let known = match did_you_mean(name, names()) {
            meant if !meant.is_empty() => meant,
            _ if names().next().is_none() => "; it has none".to_owned(),
            _ => format!("; it has {}", backticked(names())),
        };
        let at = pointer::join("/keys", name);
        let place = secret.given.origin(&at).map_or(backend.selection.place.as_str(), |origin| &origin.place);
        found.push(format!(
            "{place}: `connection_secret_ref.keys.{name}`: {} has no such variable{known}",
            backend.label()
        ));
    }
}

/// `label` names the bundle in messages, `prefix` is what stands before an option on the command line.
fn one(bundle: &Bundle, mut given: Given, profile: &str, label: &str, prefix: &str) -> Result<Resolved> {
    let name = "options.schema.json";
    let built_in = bundle.is_built_in().then(|| embedded::options_tree(&bundle.folder)).flatten();
    let text = match built_in {
        Some(tree) => tree.to_value(),
        None => bundle.json(name)?.unwrap_or_else(|| json!({"type": "object", "additionalProperties": false})),
    };
    type_set_values(&mut given, &text);
    if given.value().is_null() {
        given = Given::default();
    }

    let mut all = Map::new();
    fill(&text, &text, given.value(), profile, &mut all);
    let set = without_nulls(&Value::Object(all.clone()));

    // Where nobody gave anything there are the defaults of a built-in bundle, and a test has checked those.
    let right = |tree| !given.value().is_object() || plain::is_right(tree, &set);
    if !built_in.is_some_and(right) {
        let relevant = match built_in {
            Some(tree) => Cow::Owned(schema::relevant(tree, &[&set], true)),
            None => Cow::Borrowed(&text),
        };
        let schema = Schema::compile(relevant, &format!("{}/{name}", bundle.folder))?.with_late(Late::Strings);
        let mut found = Collect::default();
        for problem in schema.problems(&set) {
            found.push(message(&given, &set, &problem.pointer, &problem.message, label, prefix));
        }
        found.finish(())?;
    }
    let mut found = Collect::default();
    if let Some(policy) = bundle.schema(&format!("policy/{profile}.json"))? {
        for problem in policy.problems(&set) {
            let text = format!("{} (policy of the {profile} profile)", problem.message);
            found.push(message(&given, &set, &problem.pointer, &text, label, prefix));
        }
    }
    let mut passthrough = Map::new();
    if let Some(properties) = text.get("properties").and_then(Value::as_object) {
        for (key, schema) in properties {
            if schema.get("x-passthrough") == Some(&Value::Bool(true))
                && let Some(value) = all.shift_remove(key).filter(|value| !value.is_null())
            {
                passthrough.insert(key.clone(), value);
            }
        }
    }
    found.finish(Resolved { all: Value::Object(all), set, passthrough: Value::Object(passthrough), given })
}

/// The place an option was given, or the bundle when nobody gave it, and what is wrong.
pub(crate) fn message(given: &Given, set: &Value, at: &str, text: &str, label: &str, prefix: &str) -> String {
    let option = pointer::dotted(at);
    let place = given.origin(at).map(|origin| origin.place.as_str()).filter(|place| !place.is_empty());
    let subject = if option.is_empty() { "the options".to_owned() } else { format!("option `{option}`") };
    match place {
        Some(place) => format!("{place}: {subject} of {label}: {text}"),
        None if option.is_empty() => format!("{label}: {text}"),
        None if set.pointer(at).is_some_and(Value::is_object) => format!("{label}: {subject}: {text}"),
        None => format!("{label}: {subject}: {text} (set it with --set {prefix}.{option}=…)"),
    }
}

/// Gives the values of `--set` the type that the schema asks for.
fn type_set_values(given: &mut Given, schema: &Value) {
    let texts: Vec<(String, String)> = given.set_texts().map(|(at, text)| (at.to_owned(), text.to_owned())).collect();
    for (at, text) in texts {
        if let Some(value) = subschema(schema, &at).and_then(|below| set::typed_by_schema(&text, below)) {
            let origin = given.origin(&at).cloned().unwrap_or(Origin { place: String::new(), text: None });
            given.set(&at, value, origin);
        }
    }
}

/// Fills `into` with every property of the schema: what was given, else the profile's default, else the default, else null.
fn fill(root: &Value, schema: &Value, given: &Value, profile: &str, into: &mut Map<String, Value>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (key, own) in properties.into_iter().flatten() {
        let Some(below) = child(root, schema, key) else { continue };
        let value = given.get(key).filter(|value| !value.is_null());
        let filled = if below.get("properties").is_some() && value.is_none_or(Value::is_object) {
            let mut map = Map::new();
            fill(root, below, value.unwrap_or(&Value::Null), profile, &mut map);
            Value::Object(map)
        } else {
            // What stands beside a reference is more particular than what it refers to.
            let find = |keyword: &str| own.get(keyword).or_else(|| below.get(keyword));
            let default = find(&format!("x-default-{profile}")).or_else(|| find("default"));
            value.or(default).cloned().unwrap_or(Value::Null)
        };
        into.insert(key.clone(), filled);
    }
    // What the schema does not know is kept, so that the schema can say so.
    for (key, value) in given.as_object().into_iter().flatten() {
        if !into.contains_key(key) {
            into.insert(key.clone(), value.clone());
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, item)| !item.is_null())
                .map(|(key, item)| (key.clone(), without_nulls(item)))
                .collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_every_built_in_bundle_fit_its_schema() {
        let folders = embedded::below("templates/").filter_map(|(path, _)| path.strip_suffix("/options.schema.json"));
        let mut seen = 0;
        for folder in folders {
            let text = embedded::options_tree(folder).unwrap().to_value();
            let schema = Schema::compile(Cow::Borrowed(&text), folder).unwrap();
            for profile in ["development", "production"] {
                let mut all = Map::new();
                fill(&text, &text, &Value::Null, profile, &mut all);
                let problems = schema.problems(&without_nulls(&Value::Object(all)));
                assert!(problems.is_empty(), "{folder}, {profile}: {problems:?}");
            }
            seen += 1;
        }
        assert!(seen >= 19, "only {seen} bundles have options");
    }
}
