//! The values: the umbrella's own keys by its schema, and what stands below a chart's key by the keys that this chart
//! reads. Helm hands a key that a chart does not read on without a word.

use std::borrow::Cow;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::Document;
use crate::bundle::Bundles;
use crate::charts::{Dependency, UMBRELLA};
use crate::finding::{Collect, backticked, did_you_mean};
use crate::json::Json;
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
            let keys = umbrella.iter().map(|(name, _)| *name).chain(charts.iter().map(|chart| chart.key.as_str()));
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
