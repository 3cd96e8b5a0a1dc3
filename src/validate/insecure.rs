//! Values that the schemas mark as `x-insecure`: what turns TLS, or the verification of certificates, off.

use anyhow::Result;
use serde_json::{Map, Value};

use crate::bundle::Bundles;
use crate::reference::{self, Part};
use crate::schema::{self, Problem};
use crate::target::SECTIONS;
use crate::{embedded, pointer};

/// The mark of a value.
const MARK: &str = "x-insecure";

/// What of the collector config is insecure.
pub(super) fn collector(config: &Value, bundles: &Bundles) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let frame = embedded::relevant("collector", &[config], false)?;
    below(&frame, config, "", &mut problems);
    for section in SECTIONS {
        for (id, body) in config.get(section).and_then(Value::as_object).into_iter().flatten() {
            let kind = id.split('/').next().unwrap_or(id);
            if let Some(schema) = super::component_schema(section, kind, body, bundles, false)? {
                below(&schema, body, &pointer::join(&format!("/{section}"), id), &mut problems);
            }
        }
    }
    Ok(problems)
}

/// What of the OpenLineage config is insecure.
pub(super) fn openlineage(config: &Value) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    below(&embedded::schema_text("openlineage")?, config, "", &mut problems);
    Ok(problems)
}

fn below(schema: &Value, value: &Value, at: &str, problems: &mut Vec<Problem>) {
    schema::annotated(schema, value, &mut |schema, value, inner| {
        let mut tell = |pointer: String, message: String| {
            if !problems.iter().any(|problem| problem.pointer == pointer) {
                problems.push(Problem { pointer, message });
            }
        };
        if let Some(message) = marks(schema).iter().find_map(|mark| insecure(mark, value)) {
            tell(format!("{at}{inner}"), message);
        }
        let (Some(properties), Value::Object(map)) = (schema.get("properties"), value) else { return };
        for (key, schema) in properties.as_object().into_iter().flat_map(Map::iter) {
            if !map.contains_key(key) && marks(schema).contains(&Value::Null) {
                tell(format!("{at}{inner}"), format!("without `{key}` data would travel without TLS; set it"));
            }
        }
    });
}

fn marks(schema: &Value) -> &[Value] {
    schema.get(MARK).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What to tell of a value that a mark speaks of. Text is compared without its case; a `*` at the end of a mark stands for
/// anything. What switches TLS must be known before deployment.
fn insecure(mark: &Value, value: &Value) -> Option<String> {
    match (mark, value) {
        (Value::String(mark), Value::String(text)) if mark.ends_with('*') => {
            let prefix = mark.trim_end_matches('*');
            let begins = text.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
            begins.then(|| "data would travel without TLS; write an https address".to_owned())
        }
        (Value::String(mark), _) if mark.ends_with('*') => None,
        (_, Value::String(text)) if matches!(reference::parts(text).as_deref(), Ok([Part::Variable(_)])) => Some(
            "TLS and its verification would depend on a variable in the cluster; write the value itself".to_owned(),
        ),
        (Value::String(mark), Value::String(text)) if mark.eq_ignore_ascii_case(text.trim()) => Some(off(value)),
        _ => (mark == value && !value.is_null()).then(|| off(value)),
    }
}

fn off(value: &Value) -> String {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("`{value}` turns TLS, or the verification of certificates, off; leave both on")
}
