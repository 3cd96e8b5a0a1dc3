//! The keywords of JSON Schema: the validator ignores any other, so that a misspelled rule would never fail.

use serde_json::Value;

use crate::finding::{Collect, did_you_mean};
use crate::{pointer, schema};

/// The dialect that every schema is read in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The keywords whose value is a schema, …
const OF_SCHEMA: [&str; 10] = [
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// … a list of schemas, …
const OF_SCHEMAS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// … a mapping to schemas, …
const OF_NAMED_SCHEMAS: [&str; 4] = ["$defs", "dependentSchemas", "patternProperties", "properties"];
/// … or something else.
const PLAIN: [&str; 31] = [
    "$comment",
    "$id",
    "$ref",
    "$schema",
    "const",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "title",
    "type",
    "uniqueItems",
    "x-message",
];

/// Reports keywords that are none of JSON Schema, nor of `ours`; one of ours that ends with a dash begins several.
pub fn check(schema: &Value, ours: &[&str], file: &str, found: &mut Collect) {
    below(schema, ours, "", file, found);
}

/// Whether a key is a keyword of ours; one that ends with a dash begins several.
fn is(own: &str, key: &str) -> bool {
    own == key || own.ends_with('-') && key.starts_with(own)
}

#[cold]
#[inline(never)]
fn below(schema: &Value, ours: &[&str], at: &str, file: &str, found: &mut Collect) {
    // What is no schema at all is told when it does not compile.
    for (key, value) in schema.as_object().into_iter().flatten() {
        let here = pointer::join(at, key);
        let key = key.as_str();
        if OF_SCHEMA.contains(&key) {
            below(value, ours, &here, file, found);
        } else if OF_SCHEMAS.contains(&key) {
            for (index, below) in value.as_array().into_iter().flatten().enumerate() {
                self::below(below, ours, &pointer::join(&here, &index.to_string()), file, found);
            }
        } else if OF_NAMED_SCHEMAS.contains(&key) {
            for (name, below) in value.as_object().into_iter().flatten() {
                self::below(below, ours, &pointer::join(&here, name), file, found);
            }
        } else if !PLAIN.contains(&key) && !ours.iter().any(|own| is(own, key)) {
            let all = || [&OF_SCHEMA[..], &OF_SCHEMAS, &OF_NAMED_SCHEMAS, &PLAIN, ours].concat();
            found.push(format!(
                "{file}: `{here}`: JSON Schema 2020-12 has no keyword `{key}`, and the rule would never fail{}",
                did_you_mean(key, all())
            ));
        }
        if key == "x-message" && !value.is_string() {
            found.push(format!("{file}: `{here}`: the message is a text for people, not `{value}`"));
        }
        if key == "$schema" && value.as_str().map(|text| text.trim_end_matches('#')) != Some(DIALECT) {
            found.push(format!("{file}: `{here}`: it is read in the dialect {DIALECT}; write that, or leave it out"));
        }
    }
}

/// Reports names under `properties` and `required` that the options which another schema describes do not have.
pub fn check_names(rule: &Value, options: &Value, at: &str, file: &str, found: &mut Collect) {
    names(rule, options, options, at, file, found);
}

#[cold]
#[inline(never)]
fn names(rule: &Value, root: &Value, options: &Value, at: &str, file: &str, found: &mut Collect) {
    let known = options.get("properties").and_then(Value::as_object);
    // What takes any key has no wrong one.
    let known = known.filter(|_| options.get("additionalProperties") == Some(&Value::Bool(false)));
    let mut unknown = |at: &str, name: &str| {
        if let Some(known) = known.filter(|known| !known.contains_key(name)) {
            let meant = did_you_mean(name, known.keys().map(String::as_str));
            found.push(format!("{file}: `{at}`: the rule is over options, and there is no option `{name}`{meant}"));
        }
    };
    let properties = rule.get("properties").and_then(Value::as_object);
    for name in properties.into_iter().flat_map(serde_json::Map::keys) {
        unknown(&format!("{at}/properties/{name}"), name);
    }
    for name in rule.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        unknown(&format!("{at}/required"), name);
    }
    for (name, rule) in properties.into_iter().flatten() {
        if let Some(below) = schema::child(root, options, name) {
            names(rule, root, below, &format!("{at}/properties/{name}"), file, found);
        }
    }
    for key in ["if", "then", "else", "not"] {
        if let Some(rule) = rule.get(key) {
            names(rule, root, options, &format!("{at}/{key}"), file, found);
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (index, rule) in rule.get(key).and_then(Value::as_array).into_iter().flatten().enumerate() {
            names(rule, root, options, &format!("{at}/{key}/{index}"), file, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::schema::Schema;

    /// A keyword that is missing here could not be used; one that is no keyword would let a misspelled rule pass.
    #[test]
    fn the_keywords_are_those_that_the_validator_knows() {
        let of_schema = OF_SCHEMA.iter().map(|key| (*key, serde_json::json!({})));
        let of_schemas = OF_SCHEMAS.iter().map(|key| (*key, serde_json::json!([{}])));
        let named = OF_NAMED_SCHEMAS.iter().map(|key| (*key, serde_json::json!({"a": {}})));
        for (key, value) in of_schema.chain(of_schemas).chain(named) {
            let mut wrong = value.clone();
            match &mut wrong {
                Value::Array(items) => items[0] = 1.into(),
                Value::Object(map) if map.is_empty() => wrong = 1.into(),
                other => other["a"] = 1.into(),
            }
            let compiles = |value: Value| Schema::compile(Cow::Owned(serde_json::json!({ key: value })), "a").is_ok();
            assert!(compiles(value), "{key}");
            assert!(!compiles(wrong), "{key} is no keyword that holds schemas");
        }
    }
}
