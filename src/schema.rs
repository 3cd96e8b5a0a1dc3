//! JSON Schemas: the only module that knows the validator.
//!
//! A schema that does not compile is an error. What a schema finds wrong becomes a message for people: the key that was
//! meant, the type that was given, or the `x-message` that the schema's author wrote.

use std::borrow::Cow;
use std::fmt;

use anyhow::{Result, anyhow};
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::finding::{backticked, did_you_mean};
use crate::{pointer, reference};

/// One thing that is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer to the value, or to the key that should not be there.
    pub pointer: String,
    /// What is wrong with it, to be read after the pointer.
    pub message: String,
}

/// A compiled schema.
#[derive(Debug)]
pub struct Schema<'a> {
    validator: Validator,
    text: Cow<'a, Value>,
}

impl<'a> Schema<'a> {
    /// Compiles a schema; `name` is the file it is from.
    pub fn compile(text: Cow<'a, Value>, name: &str) -> Result<Self> {
        let validator = jsonschema::draft202012::options()
            .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(1 << 20))
            .build(&text)
            .map_err(|error| anyhow!("{name}: the schema does not compile: at `{}`: {error}", error.instance_path()))?;
        Ok(Schema { validator, text })
    }

    /// The schema itself.
    #[must_use]
    pub fn text(&self) -> &Value {
        &self.text
    }

    /// Everything that is wrong with `value`, in the order of the document.
    #[must_use]
    pub fn problems(&self, value: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        for error in self.validator.iter_errors(value) {
            self.explain(&error, &mut problems);
        }
        let mut seen = Vec::<Problem>::new();
        problems.retain(|problem| {
            let new = !seen.contains(problem);
            if new {
                seen.push(problem.clone());
            }
            new
        });
        problems
    }

    fn explain(&self, error: &ValidationError<'_>, problems: &mut Vec<Problem>) {
        // What a reference will hold is known in the cluster only.
        if matches!(error.instance().as_ref(), Value::String(text) if reference::is_late(text)) {
            return;
        }
        let at = error.instance_path().as_str().to_owned();
        let schemas = self.ancestors(error.schema_path().as_str());
        let mut push = |pointer: String, message: String| problems.push(Problem { pointer, message });
        // The nearest message that the schema's author wrote for this case; unknown keys explain themselves.
        let written = schemas.iter().rev().find_map(|schema| schema.get("x-message")?.as_str());
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let properties = schemas.last().and_then(|schema| schema.get("properties")?.as_object());
                let known: Vec<&str> = properties.into_iter().flat_map(|map| map.keys().map(String::as_str)).collect();
                for key in unexpected {
                    let hint = match did_you_mean(key, known.iter().copied()) {
                        meant if !meant.is_empty() => meant,
                        _ if known.is_empty() => "; there are none here".to_owned(),
                        _ if known.len() <= 12 => format!("; known: {}", backticked(known.iter().copied())),
                        _ => String::new(),
                    };
                    push(pointer::join(&at, key), format!("unknown key{hint}"));
                }
            }
            _ if written.is_some() => push(at, written.unwrap_or_default().to_owned()),
            ValidationErrorKind::Required { property } => {
                push(at, format!("`{}` is missing", property.as_str().unwrap_or_default()));
            }
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                // The alternative that fits the value's type is the one that was meant.
                let meant = context
                    .iter()
                    .filter(|errors| {
                        !errors.iter().any(|inner| {
                            inner.instance_path() == error.instance_path()
                                && matches!(inner.kind(), ValidationErrorKind::Type { .. })
                        })
                    })
                    .min_by_key(|errors| errors.len());
                match meant {
                    Some(errors) => errors.iter().for_each(|inner| self.explain(inner, problems)),
                    None => {
                        let types: Vec<String> = context
                            .iter()
                            .flatten()
                            .filter_map(|inner| match inner.kind() {
                                ValidationErrorKind::Type { kind } => Some(types(kind)),
                                _ => None,
                            })
                            .collect();
                        push(at, format!("must be {}, not {}", types.join(" or "), describe(error.instance())));
                    }
                }
            }
            ValidationErrorKind::PropertyNames { error: inner } => {
                let key = inner.instance().as_str().unwrap_or_default();
                push(pointer::join(&at, key), format!("`{key}` cannot be a name here: {}", reason(inner)));
            }
            _ => push(at, reason(error)),
        }
    }

    /// The schema objects on the way to a keyword, outermost first, `$ref` followed.
    fn ancestors(&self, path: &str) -> Vec<&Value> {
        let mut found = vec![self.text.as_ref()];
        let mut schema = self.text.as_ref();
        for token in pointer::tokens(path) {
            let next = match schema {
                Value::Object(map) => map.get(&token),
                Value::Array(items) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            schema = match next.as_str().filter(|_| token == "$ref") {
                Some(target) => match self.text.pointer(target.trim_start_matches('#')) {
                    Some(target) => target,
                    None => break,
                },
                None => next,
            };
            if schema.is_object() {
                found.push(schema);
            }
        }
        // The last object may be a keyword's own map, such as `properties`; the schema that holds the keyword is wanted.
        found
    }
}

/// The reason a value fails one keyword.
fn reason(error: &ValidationError<'_>) -> String {
    let given = describe(error.instance());
    match error.kind() {
        ValidationErrorKind::Type { kind } => format!("must be {}, not {given}", types(kind)),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&Value> = options.as_array().into_iter().flatten().collect();
            let words: Vec<String> = options.iter().map(|option| plain(option)).collect();
            let meant = error.instance().as_str().map_or_else(String::new, |word| did_you_mean(word, words.iter().map(String::as_str)));
            format!("must be one of {}, not {given}{meant}", backticked(words.iter().map(String::as_str)))
        }
        ValidationErrorKind::Constant { expected_value } => format!("must be `{}`, not {given}", plain(expected_value)),
        ValidationErrorKind::Pattern { pattern } => format!("{given} does not match `{pattern}`"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}, not {given}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}, not {given}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be more than {limit}, not {given}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}, not {given}"),
        ValidationErrorKind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        ValidationErrorKind::MinItems { limit: 1 } => "must not be empty".to_owned(),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::UniqueItems => "must not hold the same item twice".to_owned(),
        ValidationErrorKind::FalseSchema => "is not allowed here".to_owned(),
        ValidationErrorKind::MinProperties { limit: 1 } => "must not be empty".to_owned(),
        _ => error.to_string(),
    }
}

fn types(kind: &TypeKind) -> String {
    let name = |kind: &str| match kind {
        "object" => "a mapping".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        other => format!("a {other}"),
    };
    match kind {
        TypeKind::Single(kind) => name(kind.as_str()),
        TypeKind::Multiple(kinds) => {
            let names: Vec<String> = kinds.iter().map(|kind| name(kind.as_str())).collect();
            names.join(" or ")
        }
    }
}

/// A value as a message names it; long ones are cut.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => format!("the boolean `{value}`"),
        Value::Number(_) => format!("the number `{value}`"),
        Value::String(text) => {
            let shown: String = text.chars().take(60).collect();
            format!("`{}{}`", shown.escape_debug(), if shown.len() < text.len() { "…" } else { "" })
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The part of a schema that matters to some values. The subschema of a property that none of them has could never be
/// asked, so it becomes `true` and is not even parsed; references are followed and written out. For a schema that is known
/// to compile: what is left out is not checked.
pub fn relevant(bytes: &[u8], values: &[&Value]) -> serde_json::Result<Value> {
    let root: &RawValue = serde_json::from_slice(bytes)?;
    let parts: Shallow<'_> = serde_json::from_str(root.get())?;
    let definitions = parts.get("$defs").map_or(Ok(Shallow::default()), |raw| serde_json::from_str(raw.get()))?;
    let mut pruning = Pruning { definitions, copied: Vec::new() };
    let mut schema = pruning.schema(root, values, 0)?;
    // What was copied as it stands may refer to definitions.
    let mut kept = Map::new();
    while let Some(text) = pruning.copied.pop() {
        for (at, mark) in text.match_indices(DEFINITION) {
            let name = text[at + mark.len()..].split('"').next().unwrap_or_default();
            if let Some(raw) = pruning.definitions.get(name).filter(|_| !kept.contains_key(name)) {
                kept.insert(name.to_owned(), serde_json::from_str(raw.get())?);
                pruning.copied.push(raw.get());
            }
        }
    }
    if let Value::Object(map) = &mut schema {
        map.insert("$defs".to_owned(), Value::Object(kept));
    }
    Ok(schema)
}

/// How a reference to a local definition begins.
const DEFINITION: &str = "#/$defs/";

struct Pruning<'a> {
    definitions: Shallow<'a>,
    copied: Vec<&'a str>,
}

impl<'a> Pruning<'a> {
    fn schema(&mut self, raw: &'a RawValue, values: &[&Value], depth: usize) -> serde_json::Result<Value> {
        if !raw.get().starts_with('{') || depth > 64 {
            return self.copy(raw);
        }
        let parts: Shallow<'a> = serde_json::from_str(raw.get())?;
        let ascending = parts.get("x-ascending").map_or("", RawValue::get);
        let mut schema = Map::new();
        for (key, below) in &parts.0 {
            let value = match key.as_str() {
                "$defs" | "$schema" | "$comment" | "title" | "description" | "examples" => continue,
                "$ref" => {
                    let target: &str = serde_json::from_str(below.get())?;
                    if let Some(definition) = target.strip_prefix(DEFINITION).and_then(|name| self.definitions.get(name)) {
                        match self.schema(definition, values, depth + 1)? {
                            Value::Object(map) => schema.extend(map),
                            other => return Ok(other),
                        }
                        continue;
                    }
                    self.copy(below)?
                }
                "properties" => {
                    let mut properties = Map::new();
                    for (key, below) in serde_json::from_str::<Shallow<'a>>(below.get())?.0 {
                        let inner: Vec<&Value> = values.iter().filter_map(|value| value.get(&*key)).collect();
                        let pruned = if inner.is_empty() && !ascending.contains(&format!("\"{key}\"")) {
                            Value::Bool(true)
                        } else {
                            self.schema(below, &inner, depth + 1)?
                        };
                        properties.insert(key, pruned);
                    }
                    Value::Object(properties)
                }
                "additionalProperties" | "items" => {
                    let inner: Vec<&Value> = values
                        .iter()
                        .flat_map(|value| {
                            let items = value.as_array().into_iter().flatten();
                            items.chain(value.as_object().into_iter().flat_map(Map::values))
                        })
                        .collect();
                    self.schema(below, &inner, depth + 1)?
                }
                "if" | "then" | "else" | "not" => self.schema(below, values, depth + 1)?,
                "allOf" | "anyOf" | "oneOf" => {
                    let list: Vec<&'a RawValue> = serde_json::from_str(below.get())?;
                    let list = list.into_iter().map(|below| self.schema(below, values, depth + 1));
                    Value::Array(list.collect::<serde_json::Result<_>>()?)
                }
                _ => self.copy(below)?,
            };
            schema.insert(key.clone(), value);
        }
        Ok(Value::Object(schema))
    }

    fn copy(&mut self, raw: &'a RawValue) -> serde_json::Result<Value> {
        self.copied.push(raw.get());
        serde_json::from_str(raw.get())
    }
}

/// An object whose values are not parsed yet.
#[derive(Default)]
struct Shallow<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Shallow<'a> {
    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, raw)| *raw)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Shallow<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries).map(Shallow)
    }
}

/// The subschema that describes the value at `pointer`, by `properties`, `additionalProperties`, `items` and local `$ref`.
#[must_use]
pub fn subschema<'a>(schema: &'a Value, pointer: &str) -> Option<&'a Value> {
    let root = schema;
    let mut schema = follow(root, schema)?;
    for token in pointer::tokens(pointer) {
        schema = follow(root, child(root, schema, &token)?)?;
    }
    Some(schema)
}

/// The subschema of one key or index of the value that `schema` describes.
#[must_use]
pub fn child<'a>(root: &'a Value, schema: &'a Value, token: &str) -> Option<&'a Value> {
    let schema = follow(root, schema)?;
    schema
        .get("properties")
        .and_then(|properties| properties.get(token))
        .or_else(|| schema.get("additionalProperties").filter(|below| below.is_object()))
        .or_else(|| schema.get("items").filter(|below| below.is_object()))
        .and_then(|below| follow(root, below))
}

fn follow<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let mut schema = schema;
    for _ in 0..8 {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(target) => schema = root.pointer(target.strip_prefix('#')?)?,
            None => return Some(schema),
        }
    }
    None
}

/// A subschema with its local `$ref` followed.
#[must_use]
pub fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    follow(root, schema).unwrap_or(schema)
}

/// Calls `visit` with every value below `value` and each subschema that describes it, alternatives included.
pub fn annotated<'a>(
    root: &'a Value,
    value: &Value,
    at: &str,
    visit: &mut impl FnMut(&'a Value, &Value, &str),
) {
    annotated_below(root, root, value, at, visit);
}

fn annotated_below<'a>(
    root: &'a Value,
    schema: &'a Value,
    value: &Value,
    at: &str,
    visit: &mut impl FnMut(&'a Value, &Value, &str),
) {
    let schema = resolve(root, schema);
    visit(schema, value, at);
    let lists = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    for alternative in lists.chain(schema.get("then")) {
        annotated_below(root, alternative, value, at, visit);
    }
    match value {
        Value::Object(map) => {
            for (key, item) in map {
                if let Some(below) = child(root, schema, key) {
                    annotated_below(root, below, item, &pointer::join(at, key), visit);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(below) = child(root, schema, &index.to_string()) {
                    annotated_below(root, below, item, &pointer::join(at, &index.to_string()), visit);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is left of a schema must judge the values that it was made for as the whole schema does.
    #[test]
    fn the_relevant_part_of_a_schema_judges_as_the_whole() {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["a"],
            "properties": {
                "a": {"$ref": "#/$defs/a"},
                "b": {"type": "string", "pattern": "^x"},
                "map": {"type": "object", "additionalProperties": {"$ref": "#/$defs/a"}},
                "list": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "string"}]}},
                "tree": {"$ref": "#/$defs/tree"}
            },
            "allOf": [{"if": {"required": ["b"]}, "then": {"properties": {"a": {"required": ["n"]}}}}],
            "$defs": {
                "a": {"type": "object", "additionalProperties": false, "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}},
                "tree": {"type": "object", "additionalProperties": false, "properties": {"below": {"$ref": "#/$defs/tree"}, "leaf": {"type": "integer"}}}
            }
        });
        let bytes = serde_json::to_vec(&schema).unwrap();
        let whole = Schema::compile(Cow::Borrowed(&schema), "whole").unwrap();
        for value in [
            json!({"a": {"n": 1}}),
            json!({"a": {"n": "1"}, "c": 1}),
            json!({"a": {}, "b": "y"}),
            json!({"b": "x"}),
            json!({"a": {}, "map": {"k": {"n": 1.5}, "l": {"z": 1}}}),
            json!({"a": {}, "list": [{"n": 1}, "s", 3, {"m": 1}]}),
            json!({"a": {}, "tree": {"below": {"below": {"leaf": "x", "lef": 1}}}}),
            json!([1]),
        ] {
            let part = relevant(&bytes, &[&value]).unwrap();
            let part = Schema::compile(Cow::Owned(part), "part").unwrap();
            assert_eq!(part.problems(&value), whole.problems(&value), "{value}");
        }
    }

    #[test]
    fn a_schema_that_does_not_compile_is_an_error() {
        for schema in [json!({"type": "strin"}), json!({"pattern": "("}), json!({"$ref": "#/$defs/gone"}), json!({"required": "a"})] {
            let error = Schema::compile(Cow::Owned(schema), "a.json").unwrap_err().to_string();
            assert!(error.starts_with("a.json: the schema does not compile"), "{error}");
        }
    }
}
