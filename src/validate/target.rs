//! Whether the target version has what the config needs.

use anyhow::Result;
use serde_json::{Map, Value};

use super::{Document, component_schema};
use crate::bundle::Bundles;
use crate::finding::Collect;
use crate::target::{SECTIONS, Target};
use crate::{embedded, pointer, schema};

/// Reports what the target does not have: by our table, and by the `x-since` of schemas that bundles bring.
pub(super) fn check(
    document: &Document<'_>,
    bundles: &Bundles,
    target: Target,
    given: &dyn Fn(&str) -> String,
    found: &mut Collect,
) -> Result<()> {
    if target.is_newest() {
        return Ok(());
    }
    let config = &document.merged.value;
    target.missing(config, &mut |at, text| found.push(document.message(at, &(text + &given(at)))));
    for section in SECTIONS {
        for (id, body) in config.get(section).and_then(Value::as_object).into_iter().flat_map(Map::iter) {
            let kind = id.split('/').next().unwrap_or(id);
            if embedded::schema_tree(&format!("collector/{section}/{kind}")).is_some() {
                continue;
            }
            let Some(schema) = component_schema(section, kind, body, bundles, true)? else { continue };
            let component = pointer::join(&format!("/{section}"), id);
            schema::annotated(&schema, body, &mut |schema, _, at| {
                let since = schema.get("x-since").and_then(Value::as_str).filter(|since| target.lacks(since));
                if let Some(since) = since {
                    found.push(document.message(&(component.clone() + at), &target.refusal(Some(since))));
                }
            });
        }
    }
    Ok(())
}
