//! The values: the umbrella's own keys by its schema, and what stands below a chart's key by the keys that this chart
//! reads. Helm hands a key that a chart does not read on without a word.

use std::borrow::Cow;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::Document;
use crate::bundle::{Backend, Bundles};
use crate::charts::{Dependency, UMBRELLA};
use crate::finding::{Collect, backticked, did_you_mean};
use crate::json::Json;
use crate::options::Options;
use crate::reference::{self, Part};
use crate::schema::{self, Schema};
use crate::{embedded, plain, pointer};

/// The part of the values that schemas can judge, and the schema for it.
pub(super) fn schema(
    document: &Document<'_>,
    bundles: &Bundles,
    charts: &[Dependency],
    names: bool,
    found: &mut Collect,
    warnings: &mut Vec<String>,
) -> Result<(Value, Value)> {
    let tree = embedded::values_tree(UMBRELLA).context("the program was built without the umbrella's schema")?;
    let umbrella = tree.get("properties").map_or(&[][..], Json::entries);
    let (mut ours, mut subject, mut properties) = (Map::new(), Map::new(), Map::new());
    for (key, value) in document.merged.value.as_object().into_iter().flatten() {
        let chart = charts.iter().find(|chart| chart.key == *key);
        let not_selected = || embedded::schemas_below("charts").find(|name| is_of(name, key));
        let known = if chart.is_some() { None } else { not_selected() };
        if chart.is_none() && known.is_none() {
            if umbrella.iter().any(|(name, _)| name == key) {
                ours.insert(key.clone(), value.clone());
                continue;
            }
            let known = |key: &str| umbrella.iter().any(|(name, _)| *name == key);
            let more = charts.iter().map(|chart| chart.key.as_str()).filter(|key| !known(key));
            let keys = umbrella.iter().map(|(name, _)| *name).chain(more);
            let hint = match did_you_mean(key, keys.clone()) {
                meant if meant.is_empty() => format!("; known: {}", backticked(keys)),
                meant => meant,
            };
            found.push(document.message(&pointer::join("", key), &format!("unknown key{hint}")));
            continue;
        }
        if !value.is_object() {
            let text = format!("the values of a chart are a mapping, not `{value}`");
            found.push(document.message(&pointer::join("", key), &text));
            continue;
        }
        let value = given(value);
        let tree = match chart {
            Some(chart) => chart.schema(),
            None => known.and_then(|name| embedded::schema_tree(&format!("charts/{name}"))),
        };
        let schema = match (tree, chart) {
            (Some(tree), _) if !names && plain::is_right(tree, &value) => continue,
            (Some(tree), _) => schema::relevant(tree, &[&value], names),
            (None, Some(chart)) => {
                let Some(schema) = brought(bundles, chart)? else {
                    let warning = unchecked(chart);
                    if !warnings.contains(&warning) {
                        warnings.push(warning);
                    }
                    continue;
                };
                schema
            }
            (None, None) => continue,
        };
        properties.insert(key.clone(), schema);
        subject.insert(key.clone(), value);
    }
    let ours = Value::Object(ours);
    if !names && plain::is_right(tree, &ours) {
        return Ok((judged(properties), Value::Object(subject)));
    }
    if let Value::Object(mut own) = schema::relevant(tree, &[&ours], names) {
        // The other keys were looked at above.
        own.shift_remove("additionalProperties");
        if let Some(Value::Object(own)) = own.get_mut("properties") {
            properties.extend(std::mem::take(own).into_iter().filter(|(key, _)| ours.get(key).is_some()));
        }
    }
    if let Value::Object(ours) = ours {
        subject.extend(ours);
    }
    Ok((judged(properties), Value::Object(subject)))
}

/// The schema of a mapping's keys; without keys it asks nothing.
fn judged(properties: Map<String, Value>) -> Value {
    if properties.is_empty() { json!({}) } else { json!({"properties": properties}) }
}

/// Whether the schema `<chart>-<version>` is of a chart that stands under its own name.
fn is_of(name: &str, key: &str) -> bool {
    name.strip_prefix(key)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|rest| rest.starts_with(char::is_numeric))
}

/// Values without what never reaches a chart's schema: the umbrella's own switch, and nulls, by which Helm takes a
/// default away.
fn given(value: &Value) -> Value {
    let mut value = without_nulls(value);
    if let Value::Object(map) = &mut value
        && map.get("enabled").is_some_and(Value::is_boolean)
    {
        map.shift_remove("enabled");
    }
    value
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(entries.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

/// The schema that a bundle brings for its chart.
fn brought(bundles: &Bundles, chart: &Dependency) -> Result<Option<Value>> {
    let file = format!("schemas/charts/{}.json", chart.name);
    for backend in bundles.backends.iter().filter(|one| one.bundle.value_keys().any(|key| key == chart.key)) {
        if let Some(text) = backend.bundle.json(&file)? {
            // Compiled here to name the file when it does not; its references would not hold inside the whole.
            Schema::compile(Cow::Borrowed(&text), &format!("{}/{file}", backend.bundle.folder))?;
            return Ok(Some(schema::standalone(&text, &format!("floe:{}/charts/{}", backend.label(), chart.name))));
        }
    }
    Ok(None)
}

fn unchecked(chart: &Dependency) -> String {
    format!(
        "values.yaml: `{}` is not checked: there is no schema of the chart {} {}; the bundle may bring one as \
         schemas/charts/{}.json",
        chart.key, chart.name, chart.version, chart.name
    )
}

/// Reports references that nothing expands: Helm does not, and of what it makes only the places that a bundle names as
/// `expands` are read by a program that does, with the variables of its container.
pub(super) fn references(document: &Document<'_>, bundles: &Bundles, options: &Options, found: &mut Collect) {
    let values = &document.merged.value;
    let config = bundles.platform.meta.collector_config.as_deref().and_then(|at| values.pointer(at));
    if !has_reference(values, config) {
        return;
    }
    let expanding: Vec<String> = bundles.backends.iter().flat_map(|backend| backend.bundle.expanding()).collect();
    reference::late_strings(values, "", &mut |at, text| {
        if bundles.platform.meta.collector_config.as_deref().is_some_and(|config| pointer::is_within(at, config))
            || is_in_an_object(values, at)
        {
            return;
        }
        let chart = pointer::tokens(at).next().unwrap_or_default();
        let expands = expanding.iter().any(|place| pointer::is_within(at, place));
        let parts = reference::parts(text);
        if let Err(error) = &parts {
            return found.push(document.message(at, &error.to_string()));
        }
        for name in parts.into_iter().flatten() {
            let Part::Variable(name) = name else { continue };
            if !expands {
                let by = given_by(bundles, options, name).map_or_else(String::new, |by| format!(" ({by})"));
                let instead = instead(bundles, name);
                let text =
                    format!("a chart expands no reference, and `${{env:{name}}}`{by} would stay text; {instead}");
                found.push(document.message(at, &text));
            } else if !gives_variable(values.get(&chart).unwrap_or(&Value::Null), name) {
                let text = format!(
                    "no container of the chart gets the variable `{name}`; add it to the chart's variables, with a `secretKeyRef`"
                );
                found.push(document.message(at, &text));
            }
        }
    });
}

/// Whether any string below a value holds a reference; one part of it is not looked at.
fn has_reference(value: &Value, but: Option<&Value>) -> bool {
    match value {
        _ if but.is_some_and(|but| std::ptr::eq(but, value)) => false,
        Value::String(text) => reference::is_late(text),
        Value::Array(items) => items.iter().any(|item| has_reference(item, but)),
        Value::Object(map) => map.iter().any(|(key, item)| reference::is_late(key) || has_reference(item, but)),
        _ => false,
    }
}

/// Whether a value is a part of a Kubernetes object that the values write out, whose reader is not the chart's.
fn is_in_an_object(values: &Value, at: &str) -> bool {
    let ends = at.char_indices().filter(|(_, c)| *c == '/').map(|(end, _)| &at[..end]);
    ends.filter_map(|above| values.pointer(above))
        .any(|one| one.get("apiVersion").is_some() && one.get("kind").is_some())
}

/// Whether a container that these values describe gets a variable.
fn gives_variable(values: &Value, name: &str) -> bool {
    match values {
        Value::Array(items) => items.iter().any(|item| gives_variable(item, name)),
        Value::Object(map) => {
            let named = map.get("name").and_then(Value::as_str) == Some(name);
            named && (map.contains_key("value") || map.contains_key("valueFrom"))
                || map.values().any(|value| gives_variable(value, name))
        }
        _ => false,
    }
}

/// The option that a user gave a reference, and where.
#[cold]
#[inline(never)]
fn given_by(bundles: &Bundles, options: &Options, name: &str) -> Option<String> {
    let reference = format!("${{env:{name}}}");
    let all = bundles.backends.iter().map(Backend::label).zip(&options.backends);
    all.chain([("render.collector".to_owned(), &options.platform)]).find_map(|(label, resolved)| {
        let mut by = None;
        reference::late_strings(resolved.given.value(), "", &mut |at, text| {
            if text.contains(&reference)
                && let Some(origin) = resolved.given.origin(at)
            {
                by = Some(format!("{}: option `{}` of {label}", origin.place, pointer::dotted(at)));
            }
        });
        by
    })
}

/// What to write in place of a reference.
#[cold]
#[inline(never)]
fn instead(bundles: &Bundles, name: &str) -> String {
    let declared = bundles.backends.iter().find_map(|backend| {
        let mut variables = backend.bundle.meta.variables.iter();
        let (own, variable) = variables.find(|(own, _)| backend.variable(own) == name)?;
        Some(match &variable.option {
            Some(option) => format!("set the option `{}.{option}`", backend.selection.kind),
            None => format!("name its Secret where the chart takes one; templates see it as `secrets.{own}`"),
        })
    });
    declared.unwrap_or_else(|| "write the value itself, or name its Secret where the chart takes one".to_owned())
}
