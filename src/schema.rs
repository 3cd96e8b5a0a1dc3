//! JSON Schemas: the only module that knows the validator.
//!
//! A schema that does not compile is an error. What a schema finds wrong becomes a message for people: the key that was
//! meant, the type that was given, or the `x-message` that the schema's author wrote.

use std::borrow::Cow;

use anyhow::{Result, anyhow};
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value};

use crate::finding::{backticked, did_you_mean, short};
use crate::json::Json;
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
    late: Late,
    /// Whether the author's message stands for unknown keys too.
    policy: bool,
}

/// Where a reference `${env:NAME}` may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// Nowhere: the value is read before deployment.
    Never,
    /// Where the schema allows a string, whatever the string must look like.
    Strings,
    /// For any scalar, since the consumer expands it before it looks at types.
    Scalars,
}

impl<'a> Schema<'a> {
    /// Compiles a schema; `name` is the file it is from.
    pub fn compile(text: Cow<'a, Value>, name: &str) -> Result<Self> {
        let validator = jsonschema::draft202012::options()
            .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(1 << 20))
            .build(&text)
            .map_err(|error| anyhow!("{name}: the schema does not compile: at `{}`: {error}", error.instance_path()))?;
        Ok(Schema { validator, text, late: Late::Scalars, policy: false })
    }

    /// The same schema with another opinion of references.
    #[must_use]
    pub fn with_late(self, late: Late) -> Self {
        Schema { late, ..self }
    }

    /// The same schema as a policy, which judges what is written: a reference is the text that it is, and a key that the
    /// policy does not know is forbidden rather than misspelled, so the author's message is told.
    #[must_use]
    pub fn as_policy(self) -> Self {
        Schema { late: Late::Never, policy: true, ..self }
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
        let late = matches!(error.instance().as_ref(), Value::String(text) if reference::is_late(text));
        // Where nothing may stand, neither may a reference.
        if late && !matches!(error.kind(), ValidationErrorKind::FalseSchema) {
            let number = matches!(error.kind(), ValidationErrorKind::Type { .. });
            match self.late {
                Late::Scalars if !Self::never_scalar(error) => return,
                Late::Strings if !number => return,
                _ => {}
            }
        }
        let at = error.instance_path().as_str().to_owned();
        let schemas = self.ancestors(error.schema_path().as_str(), &at);
        let mut push = |pointer: String, message: String| problems.push(Problem { pointer, message });
        // The nearest message that the schema's author wrote for this case; unknown keys explain themselves.
        let written = schemas.iter().rev().find_map(|schema| schema.get("x-message")?.as_str());
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected }
                if self.policy && written.is_some() =>
            {
                for key in unexpected {
                    push(pointer::join(&at, key), written.unwrap_or_default().to_owned());
                }
            }
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
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
            ValidationErrorKind::PropertyNames { error: inner } => {
                let key = inner.instance().as_str().unwrap_or_default();
                let text = || format!("`{key}` cannot be a name here: {}", reason(inner));
                push(pointer::join(&at, key), written.map_or_else(text, str::to_owned));
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
                if let Some(errors) = meant {
                    for inner in errors {
                        self.explain(inner, problems);
                    }
                    return;
                }
                let types: Vec<String> = context
                    .iter()
                    .flatten()
                    .filter_map(|inner| match inner.kind() {
                        ValidationErrorKind::Type { kind } => Some(types(kind)),
                        _ => None,
                    })
                    .collect();
                let mut types = types;
                types.dedup();
                push(at, format!("must be {}, not {}", types.join(" or "), describe(error.instance())));
            }
            _ => push(at, reason(error)),
        }
    }

    /// Whether text that holds a reference stands where only a mapping or a list can. A reference alone may become one.
    fn never_scalar(error: &ValidationError<'_>) -> bool {
        let Value::String(text) = error.instance().as_ref() else { return false };
        let collections = |kind: &str| matches!(kind, "object" | "array");
        let wanted = match error.kind() {
            ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => collections(kind.as_str()),
            ValidationErrorKind::Type { kind: TypeKind::Multiple(kinds) } => {
                kinds.iter().all(|kind| collections(kind.as_str()))
            }
            _ => false,
        };
        wanted && !matches!(reference::parts(text).as_deref(), Ok([reference::Part::Variable(_)]))
    }

    /// The schema objects on the way to a keyword, outermost first, `$ref` followed. Below a reference inside a schema with
    /// an identifier of its own, the path begins at that schema.
    fn ancestors(&self, path: &str, instance: &str) -> Vec<&Value> {
        let mut schema = self.text.as_ref();
        if pointer::tokens(path).next().is_some_and(|token| schema.get(token).is_none()) {
            schema = self.resource(instance);
        }
        let mut found = vec![schema];
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

    /// The innermost schema with an identifier of its own on the way to a value, or the whole.
    fn resource(&self, instance: &str) -> &Value {
        let (mut schema, mut resource) = (self.text.as_ref(), self.text.as_ref());
        for token in pointer::tokens(instance) {
            let Some(below) = child(resource, schema, &token) else { break };
            schema = below;
            if schema.get("$id").is_some() {
                resource = schema;
            }
        }
        resource
    }
}

/// The reason a value fails one keyword.
fn reason(error: &ValidationError<'_>) -> String {
    let given = describe(error.instance());
    match error.kind() {
        ValidationErrorKind::Type { kind } => {
            let string = if error.instance().is_string() { "the string " } else { "" };
            format!("must be {}, not {string}{given}", types(kind))
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&Value> = options.as_array().into_iter().flatten().collect();
            let words: Vec<String> = options.iter().map(|option| plain(option)).collect();
            let meant = error
                .instance()
                .as_str()
                .map_or_else(String::new, |word| did_you_mean(word, words.iter().map(String::as_str)));
            format!("must be one of {}, not {given}{meant}", backticked(words.iter().map(String::as_str)))
        }
        ValidationErrorKind::Constant { expected_value } => format!("must be `{}`, not {given}", plain(expected_value)),
        ValidationErrorKind::Pattern { pattern } if pattern.contains("(ns|us|") => {
            format!("must be a duration such as 5s or 1h30m, not {given}")
        }
        ValidationErrorKind::Pattern { pattern } => format!("{given} does not match `{pattern}`"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}, not {given}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}, not {given}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be more than {limit}, not {given}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}, not {given}"),
        ValidationErrorKind::MinLength { limit: 1 }
        | ValidationErrorKind::MinItems { limit: 1 }
        | ValidationErrorKind::MinProperties { limit: 1 } => "must not be empty".to_owned(),
        ValidationErrorKind::MaxProperties { limit: 1 } => "must have one key, not several".to_owned(),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::UniqueItems => "must not hold the same item twice".to_owned(),
        ValidationErrorKind::FalseSchema => "is not allowed here".to_owned(),
        _ => error.to_string(),
    }
}

fn types(kind: &TypeKind) -> String {
    let name = |kind: &str| match kind {
        "object" => "a mapping".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "null" => "null".to_owned(),
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
        Value::String(text) => format!("`{}`", short(text).escape_debug()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The part of a schema that matters to some values. The subschema of a property that none of them has could never be
/// asked, so it becomes `true`; references to definitions are followed and written out. For a schema that is known to
/// compile: what is left out is not checked. `names` keeps the names of unused properties, for suggestions, and the
/// patterns of late values; without them the schema tells whether something is wrong, not what.
#[must_use]
pub fn relevant(root: &'static Json, values: &[&Value], names: bool) -> Value {
    Pruning { definitions: root.get("$defs"), names }.schema(root, values, 0)
}

struct Pruning {
    definitions: Option<&'static Json>,
    names: bool,
}

/// How a reference to a local definition begins.
pub(crate) const DEFINITION: &str = "#/$defs/";

/// How deep a schema may be, references followed; no document that we read is.
pub(crate) const MAX_SCHEMA_DEPTH: usize = 256;

impl Pruning {
    fn schema(&self, schema: &'static Json, values: &[&Value], depth: usize) -> Value {
        let Json::Map(entries) = schema else { return schema.to_value() };
        // A default fits its own schema, as a test makes sure.
        let default = |value: &&Value| schema.get("default").is_some_and(|default| default.is(value));
        let marked = ["x-secret", "x-insecure"].iter().any(|mark| schema.get(mark).is_some());
        if !marked && !values.is_empty() && values.iter().all(default) {
            return Value::Bool(true);
        }
        let late = |value: &&Value| value.as_str().is_some_and(reference::is_late);
        if depth > MAX_SCHEMA_DEPTH {
            return Value::Bool(false);
        }
        let below = |schema: &'static Json, values: &[&Value]| self.schema(schema, values, depth + 1);
        let children = || -> Vec<&Value> {
            let items = values.iter().filter_map(|value| value.as_array()).flatten();
            items.chain(values.iter().filter_map(|value| value.as_object()).flat_map(Map::values)).collect()
        };
        let ordered: Vec<&str> = schema
            .get("x-ascending")
            .into_iter()
            .flat_map(Json::items)
            .flat_map(|pair| ["lower", "upper"].into_iter().filter_map(|side| pair.get(side)?.as_str()))
            .collect();
        let mut pruned = Map::new();
        for (key, schema) in *entries {
            let value = match *key {
                "$defs" | "$schema" | "$comment" | "title" | "description" | "examples" => continue,
                // What a reference will hold is known in the cluster only.
                "pattern" if !self.names && !values.is_empty() && values.iter().all(late) => continue,
                "$ref" => {
                    let target = schema.as_str().and_then(|target| target.strip_prefix(DEFINITION));
                    match target.and_then(|name| self.definitions?.get(name)).map(|target| below(target, values)) {
                        Some(Value::Object(map)) => {
                            pruned.extend(map);
                            continue;
                        }
                        Some(other) => return other,
                        None => schema.to_value(),
                    }
                }
                "properties" => Value::Object(
                    schema
                        .entries()
                        .iter()
                        .filter_map(|(key, schema)| {
                            let inner: Vec<&Value> = values.iter().filter_map(|value| value.get(*key)).collect();
                            if inner.is_empty() && !ordered.contains(key) {
                                return self.names.then(|| ((*key).to_owned(), Value::Bool(true)));
                            }
                            Some(((*key).to_owned(), below(schema, &inner)))
                        })
                        .collect(),
                ),
                "patternProperties" | "dependentSchemas" => {
                    let inner = if *key == "dependentSchemas" { values.to_vec() } else { children() };
                    Value::Object(
                        schema
                            .entries()
                            .iter()
                            .map(|(key, schema)| ((*key).to_owned(), below(schema, &inner)))
                            .collect(),
                    )
                }
                "additionalProperties" | "items" | "contains" => below(schema, &children()),
                // Names are strings: no property of theirs could be asked.
                "propertyNames" => below(schema, &[]),
                "if" | "then" | "else" | "not" => below(schema, values),
                "allOf" | "anyOf" | "oneOf" => {
                    Value::Array(schema.items().iter().map(|schema| below(schema, values)).collect())
                }
                _ => schema.to_value(),
            };
            pruned.insert((*key).to_owned(), value);
        }
        Value::Object(pruned)
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

/// A schema that keeps its own references when it becomes a part of another: it gets an identifier of its own.
#[must_use]
pub fn standalone(schema: &Value, id: &str) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(map) = &mut schema {
        map.entry("$id").or_insert_with(|| Value::String(id.replace([' ', '(', ')'], "")));
    }
    schema
}

/// A subschema with its local `$ref` followed.
#[must_use]
pub fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    follow(root, schema).unwrap_or(schema)
}

/// Calls `visit` with every value below `value`, its pointer, and each subschema that describes it, alternatives included.
pub fn annotated<'a>(root: &'a Value, value: &Value, visit: &mut dyn FnMut(&'a Value, &Value, &str)) {
    annotated_below(root, root, value, &mut String::new(), visit);
}

/// Whether anything below a schema is annotated; most of a document is not, and need not be walked.
fn is_annotated(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, below)| {
            matches!(key.as_str(), "x-secret" | "x-reference" | "x-ascending" | "x-insecure" | "x-since" | "$ref")
                || is_annotated(below)
        }),
        Value::Array(items) => items.iter().any(is_annotated),
        _ => false,
    }
}

fn annotated_below<'a>(
    root: &'a Value,
    schema: &'a Value,
    value: &Value,
    at: &mut String,
    visit: &mut dyn FnMut(&'a Value, &Value, &str),
) {
    let schema = resolve(root, schema);
    if !is_annotated(schema) {
        return;
    }
    visit(schema, value, at);
    let lists = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    for alternative in lists.chain(schema.get("then")) {
        annotated_below(root, alternative, value, at, visit);
    }
    let end = at.len();
    let mut below = |token: &str, item: &Value, at: &mut String| {
        if let Some(schema) = child(root, schema, token) {
            pointer::push(at, token);
            annotated_below(root, schema, item, at, visit);
            at.truncate(end);
        }
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, item)| below(key, item, at)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| below(&index.to_string(), item, at));
        }
        _ => {}
    }
}

/// What a schema says of one of the values that `x-ascending` compares.
pub struct Bound {
    /// The value where none is given.
    pub default: Option<Value>,
    /// Whether it is a duration: text, or an integer that counts nanoseconds.
    pub duration: bool,
}

/// Why the two values that a pair of `x-ascending` names are in the wrong order, if they are.
#[must_use]
pub fn descending(pair: &Value, value: &Value, bound: impl Fn(&str) -> Option<Bound>) -> Option<String> {
    let flag = |key: &str| pair.get(key).and_then(Value::as_bool).unwrap_or_default();
    let side = |key: &str| -> Option<(String, f64)> {
        let name = pair.get(key)?.as_str()?;
        let bound = bound(name).unwrap_or(Bound { default: None, duration: false });
        let number = match value.get(name).or(bound.default.as_ref()) {
            None => 0.0,
            Some(Value::String(text)) => seconds(text)?,
            Some(other) if bound.duration => other.as_f64()? * 1e-9,
            Some(other) => other.as_f64()?,
        };
        Some((name.to_owned(), number))
    };
    let ((lower, low), (upper, high)) = (side("lower")?, side("upper")?);
    let unlimited = flag("zero_is_unlimited") && high == 0.0;
    let wrong = if flag("strict") { low >= high } else { low > high };
    let relation = if flag("strict") { "less than" } else { "at most" };
    (wrong && !unlimited)
        .then(|| format!("`{lower}` must be {relation} `{upper}`: they are {low} and {high}, defaults counted"))
}

/// A duration of Go (`1h30m`, `1.5s`) in seconds.
fn seconds(text: &str) -> Option<f64> {
    let mut total = 0.0;
    let mut rest = text.trim_start_matches(['-', '+']);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        let tail = &rest[end..];
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let factor = match &tail[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ns" => 1e-9,
            "" if number == 0.0 => 0.0,
            _ => return None,
        };
        total += number * factor;
        rest = &tail[unit..];
    }
    Some(if text.starts_with('-') { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::leaked;
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
        let root: &'static Json = Box::leak(Box::new(leaked(&schema)));
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
            let part = Schema::compile(Cow::Owned(relevant(root, &[&value], true)), "part").unwrap();
            assert_eq!(part.problems(&value), whole.problems(&value), "{value}");
            let bare = Schema::compile(Cow::Owned(relevant(root, &[&value], false)), "bare").unwrap();
            assert_eq!(bare.problems(&value).len(), whole.problems(&value).len(), "{value}");
        }
    }

    #[test]
    fn a_schema_that_does_not_compile_is_an_error() {
        for schema in [
            json!({"type": "strin"}),
            json!({"pattern": "("}),
            json!({"$ref": "#/$defs/gone"}),
            json!({"required": "a"}),
        ] {
            let error = Schema::compile(Cow::Owned(schema), "a.json").unwrap_err().to_string();
            assert!(error.starts_with("a.json: the schema does not compile"), "{error}");
        }
    }
}
