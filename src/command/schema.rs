//! `schema`: the JSON Schema of a file that people write, for their editors.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::bundle::Library;
use crate::finding::{backticked, did_you_mean};
use crate::select::Kind;
use crate::{embedded, write};

/// The schemas by the name that a user gives.
const NAMES: [&str; 4] = ["manifest", "bundle", "connections", "artifacts"];
/// The schema of a bundle's options.
const OPTIONS: &str = "options.schema.json";

/// Prints a JSON Schema (2020-12): of the manifest, of a bundle's files, or of a bundle's options
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  floe-render schema manifest > manifest.schema.json\n  floe-render schema KIND/NAME"
)]
pub struct Schema {
    /// manifest (with the names and options of all bundles), bundle, connections, artifacts, or a bundle as telemetry/NAME or lineage/NAME, for its options
    name: String,

    /// Folder of further bundles; may be given several times
    #[arg(long, value_name = "DIR")]
    bundles: Vec<PathBuf>,
}

impl Schema {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let schema = match self.name.split_once('/') {
            _ if self.name == NAMES[0] => manifest(&Library::open(&self.bundles)?)?,
            _ if NAMES.contains(&self.name.as_str()) => embedded::schema_text(&self.name)?,
            Some((kind, name)) if Kind::ALL.iter().any(|one| one.name() == kind) => {
                options(&Library::open(&self.bundles)?, kind, name)?
            }
            _ => bail!(
                "there is no schema `{}`{} (known: {}, and telemetry/NAME or lineage/NAME for a bundle's options)",
                self.name,
                did_you_mean(&self.name, NAMES.into_iter()),
                backticked(NAMES.into_iter())
            ),
        };
        write::print_text(&(serde_json::to_string_pretty(&schema)? + "\n"), out)?;
        Ok(0)
    }
}

/// The schema of a manifest with the names of the bundles that there are, and their options.
fn manifest(library: &Library) -> Result<Value> {
    let mut schema = embedded::schema_text(NAMES[0])?;
    let mut add = |place: &str, definition: Value| schema["$defs"][place] = definition;
    for kind in Kind::ALL {
        let names = library.names(kind);
        let words = serde_json::to_string(&names)?;
        let mut selection =
            format!(r##"{{"$ref": "#/$defs/selection"}}, {{"properties": {{"type": {{"enum": {words}}}}}}}"##);
        for name in &names {
            let place = format!("{kind}-{name}");
            let _ = write!(
                selection,
                r##", {{"if": {{"required": ["type"], "properties": {{"type": {{"const": "{name}"}}}}}},
                  "then": {{"properties": {{"config": {{"anyOf": [{{"$ref": "#/$defs/{place}"}}, {{"type": "null"}}]}}}}}}}}"##
            );
            let options = library.get(kind, name)?.json(OPTIONS)?;
            add(&place, one_manifest(options, &place));
        }
        let one = format!("{kind}-selection");
        add(
            &one,
            text(&format!(
                r#"{{"anyOf": [{{"enum": {words}, "description": "Name of a bundle."}}, {{"allOf": [{selection}]}}]}}"#
            ))?,
        );
        let one = format!(r##"{{"$ref": "#/$defs/{one}"}}"##);
        add(
            kind.name(),
            text(&format!(
                r#"{{"anyOf": [{one}, {{"type": "array", "minItems": 1, "items": {one}}}, {{"type": "null"}}]}}"#
            ))?,
        );
    }
    let platform = embedded::options_tree("templates/platform").map(crate::json::Json::to_value);
    add("platform", one_manifest(platform, "platform"));
    for kind in Kind::ALL {
        schema["properties"]["plugins"]["properties"][kind.key()]["$ref"] = format!("#/$defs/{kind}").into();
    }
    let collector = &mut schema["$defs"]["render"]["properties"]["collector"];
    collector["anyOf"] = text(r##"[{"$ref": "#/$defs/platform"}, {"type": "null"}]"##)?;
    Ok(schema)
}

fn text(json: &str) -> Result<Value> {
    Ok(serde_json::from_str(json)?)
}

/// The schema of options as one manifest holds them, as the definition of this name.
fn one_manifest(options: Option<Value>, place: &str) -> Value {
    let mut options = options.unwrap_or_else(|| json!({"type": "object", "additionalProperties": false}));
    one_layer(&mut options, place);
    options
}

/// Leaves of a schema of options what holds for one manifest, to which defaults, other layers and flags are not added yet: the
/// keys and their values, not how they go together. References are made to lead into the definition of that name.
fn one_layer(schema: &mut Value, place: &str) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") {
                for key in ["required", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "minProperties"] {
                    map.shift_remove(key);
                }
            }
            map.shift_remove("$schema");
            for (_, option) in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
                or_null(option);
            }
            for (key, below) in map {
                match below.as_str().and_then(|target| target.strip_prefix("#/")) {
                    Some(target) if key == "$ref" => *below = format!("#/$defs/{place}/{target}").into(),
                    _ => one_layer(below, place),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| one_layer(item, place)),
        _ => {}
    }
}

/// Lets an option be null, which takes back what an earlier layer gave.
fn or_null(option: &mut Value) {
    match option.get_mut("type") {
        Some(Value::Array(types)) if !types.contains(&json!("null")) => types.push("null".into()),
        Some(one @ Value::String(_)) => *one = json!([one, "null"]),
        _ => {}
    }
    if let Some(words) =
        option.get_mut("enum").and_then(Value::as_array_mut).filter(|words| !words.contains(&Value::Null))
    {
        words.push(Value::Null);
    }
}

/// The schema of the options of a bundle.
fn options(library: &Library, kind: &str, name: &str) -> Result<Value> {
    let kind = if kind == Kind::Telemetry.name() { Kind::Telemetry } else { Kind::Lineage };
    let bundle = library.get(kind, name)?;
    match bundle.json(OPTIONS)? {
        Some(schema) => Ok(schema),
        None => bail!("{kind}/{name} has no options"),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    /// An option named as a keyword would be lost, and an example that is no option's would pass unseen.
    #[test]
    fn the_manifest_knows_every_option_of_every_bundle() {
        let library = Library::open(&["docs/examples/bundles".into()]).unwrap();
        let text = manifest(&library).unwrap();
        let schema = crate::schema::Schema::compile(Cow::Borrowed(&text), "manifest").unwrap();
        let problems = |kind: Kind, one: Value| schema.problems(&json!({"plugins": {kind.key(): one}}));
        let mut seen = 0;
        for kind in Kind::ALL {
            for name in library.names(kind) {
                assert!(problems(kind, json!(name)).is_empty(), "{name}");
                let wrong = json!({"type": name, "config": {"no_such_option": 1}});
                assert!(!problems(kind, wrong).is_empty(), "{name}");
                let options = library.get(kind, &name).unwrap().json(OPTIONS).unwrap().unwrap_or_default();
                for (option, below) in options["properties"].as_object().into_iter().flatten() {
                    let below = crate::schema::resolve(&options, below);
                    let values = below["examples"].as_array().cloned().unwrap_or_default();
                    for value in values.into_iter().chain(below.get("default").cloned()) {
                        let one = json!({"type": name, "config": {option: value}});
                        assert_eq!(problems(kind, one.clone()), [], "{one}");
                        assert_eq!(problems(kind, json!([one])), []);
                        seen += 1;
                    }
                }
            }
            assert!(!problems(kind, json!("no-such-bundle")).is_empty());
        }
        assert!(seen > 60, "only {seen}");
        assert_eq!(problems(Kind::Telemetry, json!({"type": "axiom", "config": {"logs": false}})), []);
        let render = |collector: Value| schema.problems(&json!({"render": {"collector": collector}}));
        assert_eq!(render(json!({"replicas": 3, "tail_sampling": null})), []);
        assert_eq!(render(json!({"replica": 3})).len(), 1);
    }
}
