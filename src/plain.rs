//! What is plainly right by a built-in schema, and needs no validator to see.
//!
//! Building a validator costs more than the rest of a run, and nearly all that a run writes fits its schema plainly: known keys,
//! the right types, allowed words. This module only ever says "plainly right"; about everything else, and for every
//! message, [`crate::schema`] asks the validator.

use std::cell::Cell;

use serde_json::Value;

use crate::json::Json;
use crate::reference;
use crate::schema::{Bound, DEFINITION, MAX_SCHEMA_DEPTH, descending};

/// Whether a value is plainly right by a schema, its annotations included. References are taken for strings of any form.
pub(crate) fn is_right(root: &'static Json, value: &Value) -> bool {
    let look = Look { root, asked: Cell::new(false) };
    look.schema(root, value, 0) == Some(true) && !look.asked.get()
}

/// One look at one value.
struct Look {
    root: &'static Json,
    /// Whether an annotation asks something that this module does not answer.
    asked: Cell<bool>,
}

impl Look {
    /// Whether the value fits; `None` where that is not plain.
    fn schema(&self, schema: &'static Json, value: &Value, depth: usize) -> Option<bool> {
        let entries = match schema {
            Json::Map(entries) => *entries,
            Json::Bool(verdict) => return Some(*verdict),
            _ => return None,
        };
        if depth > MAX_SCHEMA_DEPTH {
            return None;
        }
        // No early end: an annotation further on may ask something.
        entries
            .iter()
            .map(|(keyword, wanted)| self.keyword(schema, keyword, wanted, value, depth + 1))
            .fold(Some(true), and)
    }

    fn keyword(
        &self,
        schema: &'static Json,
        keyword: &str,
        wanted: &'static Json,
        value: &Value,
        depth: usize,
    ) -> Option<bool> {
        let below = |schema: &'static Json, value: &Value| self.schema(schema, value, depth);
        let all = |schemas: &'static Json| schemas.items().iter().map(|schema| below(schema, value));
        let limit = |given: usize, fits: fn(&i64, &i64) -> bool| match wanted {
            Json::Whole(limit) => Some(fits(&i64::try_from(given).ok()?, limit)),
            _ => None,
        };
        let number = |given: &serde_json::Number, fits: fn(&f64, &f64) -> bool| {
            let exact = |number: &f64| number.abs() < 9e15;
            let limit = wanted.to_value().as_f64().filter(exact)?;
            given.as_f64().filter(exact).map(|given| fits(&given, &limit))
        };
        match (keyword, value) {
            ("$ref", _) => below(self.root.get("$defs")?.get(wanted.as_str()?.strip_prefix(DEFINITION)?)?, value),
            ("type", _) => {
                let fits = match wanted {
                    Json::List(names) => names.iter().any(|name| is_of_type(value, name)),
                    name => is_of_type(value, name),
                };
                // A reference may become a number, and `1.0` is an integer to some.
                let doubtful = is_late(value) || matches!(value, Value::Number(number) if !number.is_i64());
                (fits || !doubtful).then_some(fits)
            }
            ("enum", _) => wanted.items().iter().map(|one| is(one, value)).fold(Some(false), or),
            ("const", _) => is(wanted, value),
            ("minimum", Value::Number(given)) => number(given, f64::ge),
            ("maximum", Value::Number(given)) => number(given, f64::le),
            ("exclusiveMinimum", Value::Number(given)) => number(given, f64::gt),
            ("exclusiveMaximum", Value::Number(given)) => number(given, f64::lt),
            ("pattern" | "minLength" | "maxLength", late) if is_late(late) => Some(true),
            ("pattern", Value::String(text)) => matches(wanted.as_str()?, text),
            ("minLength", Value::String(text)) => limit(text.chars().count(), i64::ge),
            ("maxLength", Value::String(text)) => limit(text.chars().count(), i64::le),
            ("minItems", Value::Array(items)) => limit(items.len(), i64::ge),
            ("maxItems", Value::Array(items)) => limit(items.len(), i64::le),
            ("uniqueItems", Value::Array(items)) => {
                let unique = items.iter().enumerate().all(|(index, item)| !items[..index].contains(item));
                (unique && items.iter().all(Value::is_string)).then_some(true)
            }
            ("items", Value::Array(items)) => items.iter().map(|item| below(wanted, item)).fold(Some(true), and),
            ("required", Value::Object(map)) => {
                Some(wanted.items().iter().all(|name| name.as_str().is_some_and(|name| map.contains_key(name))))
            }
            ("minProperties", Value::Object(map)) => limit(map.len(), i64::ge),
            ("maxProperties", Value::Object(map)) => limit(map.len(), i64::le),
            ("properties", Value::Object(map)) => {
                let known = wanted.entries().iter().filter_map(|(key, schema)| Some(below(schema, map.get(*key)?)));
                known.fold(Some(true), and)
            }
            ("additionalProperties", Value::Object(map)) => {
                let named = |key: &str| schema.get("properties").is_some_and(|names| names.get(key).is_some());
                let others = map.iter().filter(|(key, _)| !named(key));
                let verdict = others.map(|(_, item)| below(wanted, item)).fold(Some(true), and);
                if schema.get("patternProperties").is_some() { None } else { verdict }
            }
            ("propertyNames", Value::Object(map)) => {
                map.keys().map(|key| below(wanted, &Value::String(key.clone()))).fold(Some(true), and)
            }
            ("allOf", _) => all(wanted).fold(Some(true), and),
            ("anyOf", _) => all(wanted).fold(Some(false), or),
            ("oneOf", _) => {
                let verdicts: Option<Vec<bool>> = all(wanted).collect();
                verdicts.map(|verdicts| verdicts.into_iter().filter(|verdict| *verdict).count() == 1)
            }
            ("not", _) => self.unasked(|| below(wanted, value)).map(|verdict| !verdict),
            ("if", _) => {
                let branch = |name: &str| schema.get(name).map_or(Some(true), |schema| below(schema, value));
                let (then, otherwise) = (branch("then"), branch("else"));
                match self.unasked(|| below(wanted, value)) {
                    Some(true) => then,
                    Some(false) => otherwise,
                    None => (then == Some(true) && otherwise == Some(true)).then_some(true),
                }
            }
            ("then" | "else", _) => Some(true),
            ("x-ascending", _) => {
                let bound = |name: &str| {
                    let own = schema.get("properties")?.get(name)?;
                    let there = own.resolved(self.root)?;
                    let default = own.get("default").or_else(|| there.get("default")).map(Json::to_value);
                    let types = there.get("type").map_or(&[][..], Json::items);
                    Some(Bound { default, duration: types.iter().any(|one| one.as_str() == Some("string")) })
                };
                let wrong = wanted.items().iter().any(|pair| descending(&pair.to_value(), value, bound).is_some());
                self.ask(wrong)
            }
            ("x-secret", Value::String(text)) => self.ask(!text.is_empty() && !is_late(value)),
            ("x-reference", Value::String(_)) => self.ask(!is_late(value)),
            ("x-unchecked", _) => None,
            _ if keyword.starts_with("x-") || ANNOTATIONS.contains(&keyword) => Some(true),
            // What one type must be says nothing of another.
            ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", value) if !value.is_number() => {
                Some(true)
            }
            ("pattern" | "minLength" | "maxLength", value) if !value.is_string() => Some(true),
            ("minItems" | "maxItems" | "uniqueItems" | "items", value) if !value.is_array() => Some(true),
            ("required" | "minProperties" | "maxProperties" | "properties", value) if !value.is_object() => Some(true),
            ("additionalProperties" | "propertyNames", value) if !value.is_object() => Some(true),
            _ => None,
        }
    }

    /// Notes that an annotation wants an answer; it says nothing of validity.
    #[allow(clippy::unnecessary_wraps, reason = "it stands among verdicts")]
    fn ask(&self, question: bool) -> Option<bool> {
        self.asked.set(self.asked.get() || question);
        Some(true)
    }

    /// A verdict by a schema whose annotations do not count, since the value is only compared with it.
    fn unasked(&self, verdict: impl FnOnce() -> Option<bool>) -> Option<bool> {
        let asked = self.asked.get();
        let verdict = verdict();
        self.asked.set(asked);
        verdict
    }
}

/// Keywords that a value cannot break.
const ANNOTATIONS: [&str; 9] =
    ["$schema", "$comment", "$defs", "title", "description", "examples", "default", "deprecated", "format"];

fn is_late(value: &Value) -> bool {
    value.as_str().is_some_and(reference::is_late)
}

fn is_of_type(value: &Value, name: &Json) -> bool {
    match (name.as_str(), value) {
        (Some("integer"), Value::Number(number)) => number.is_i64(),
        (Some("object"), Value::Object(_))
        | (Some("array"), Value::Array(_))
        | (Some("string"), Value::String(_))
        | (Some("boolean"), Value::Bool(_))
        | (Some("number"), Value::Number(_))
        | (Some("null"), Value::Null) => true,
        _ => false,
    }
}

/// Whether a value is the one that is wanted. What a reference holds is not known, and numbers have several forms.
fn is(wanted: &'static Json, value: &Value) -> Option<bool> {
    match (wanted.is(value), value) {
        (true, _) => Some(true),
        (false, Value::String(_)) if is_late(value) => None,
        (false, Value::String(_) | Value::Bool(_) | Value::Null) => Some(false),
        _ => None,
    }
}

/// Whether a text matches a pattern of a form that takes no engine: a literal start, a run of characters of a class or
/// two, and a duration.
fn matches(pattern: &str, text: &str) -> Option<bool> {
    if pattern == "[1-9]" {
        return Some(text.bytes().any(|byte| matches!(byte, b'1'..=b'9')));
    }
    let Some(whole) = pattern.strip_prefix('^')?.strip_suffix('$') else {
        let literal = pattern.strip_prefix('^')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b':' | b'_' | b'-');
        return literal.bytes().all(plain).then(|| text.starts_with(literal));
    };
    if ["[+]?(0|(([0-9]+", "[+-]?(0|(([0-9]+"].iter().any(|start| whole.starts_with(start)) && whole.contains("(ns|us|")
    {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        return (unit.len() < text.len() && ["ms", "s", "m", "h"].contains(&unit)).then_some(true);
    }
    let (first, rest) = class(whole)?;
    let (start, end) = (text.bytes().next(), text.bytes().last());
    match rest {
        "+" => Some(start.is_some() && text.bytes().all(&first)),
        "*" => Some(text.bytes().all(&first)),
        "" => Some(text.len() == 1 && start.is_some_and(&first)),
        // `[a][b]*` and `[a]([b]*[c])?`
        _ => {
            let (group, optional) = match rest.strip_prefix('(') {
                Some(group) => (group.strip_suffix(")?")?, true),
                None => (rest, false),
            };
            let (middle, rest) = class(group)?;
            let (last, rest) = match rest.strip_prefix('*')? {
                "" if !optional => return Some(start.is_some_and(first) && text.bytes().skip(1).all(middle)),
                rest if optional => class(rest)?,
                _ => return None,
            };
            let inner = text.as_bytes().get(1..text.len().max(2) - 1).unwrap_or_default();
            let fits = start.is_some_and(first) && inner.iter().copied().all(middle);
            rest.is_empty().then(|| fits && (text.len() == 1 || end.is_some_and(last)))
        }
    }
}

/// The class `[…]` that a pattern begins with, and the rest: ASCII characters and ranges, nothing escaped, nothing negated.
fn class(pattern: &str) -> Option<(impl Fn(u8) -> bool + '_, &str)> {
    let (class, rest) = pattern.strip_prefix('[')?.split_once(']')?;
    let class = class.as_bytes();
    let unusual = |byte: &u8| !byte.is_ascii() || matches!(byte, b'^' | b'\\' | b'[' | b'&' | b'~');
    if class.is_empty() || class.iter().any(unusual) {
        return None;
    }
    let is_in = move |byte: u8| {
        let mut at = 0;
        while let Some(low) = class.get(at) {
            let range = class.get(at + 2).filter(|_| class[at + 1] == b'-');
            if (*low..=*range.unwrap_or(low)).contains(&byte) {
                return true;
            }
            at += if range.is_some() { 3 } else { 1 };
        }
        false
    };
    Some((is_in, rest))
}

fn and(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    and(one.map(|one| !one), other.map(|other| !other)).map(|neither| !neither)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;
    use crate::schema::Schema;

    /// Every value of a small world against schemas with every keyword that is known here, and some that are not.
    #[test]
    fn what_is_plainly_right_is_right() {
        let leaves = [
            json!(null),
            json!(true),
            json!(-1),
            json!(0),
            json!(2),
            json!(1.5),
            json!(1e3),
            json!(""),
            json!("ä"),
            json!("long"),
            json!("${env:X}"),
        ];
        let mut values = leaves.to_vec();
        values.extend([json!([]), json!({})]);
        for leaf in &leaves {
            values.extend([
                json!([leaf]),
                json!([leaf, "long"]),
                json!({"a": leaf}),
                json!({"b": leaf, "c": {"a": leaf}}),
            ]);
            values.extend([json!({"a": leaf, "b": [leaf, leaf]}), json!({"x": leaf}), json!({"a": {"a": leaf}})]);
        }
        let leaf = [
            json!({"type": "string"}),
            json!({"type": ["integer", "null"]}),
            json!({"type": "number", "minimum": 0, "maximum": 2}),
            json!({"exclusiveMinimum": 0}),
            json!({"exclusiveMaximum": 2}),
            json!({"multipleOf": 2}),
            json!({"enum": ["long", 2, null]}),
            json!({"const": "long"}),
            json!({"minLength": 1, "maxLength": 2}),
            json!({"minLength": 2}),
            json!({"pattern": "^l"}),
            json!({"minItems": 1, "maxItems": 1}),
            json!({"uniqueItems": true}),
            json!({"minProperties": 1, "maxProperties": 1}),
            json!({"required": ["a"]}),
            json!({"type": "string", "default": "long", "x-message": "no"}),
            json!(false),
            json!({}),
        ];
        let mut schemas = leaf.to_vec();
        for one in &leaf {
            schemas.extend([
                json!({"properties": {"a": one}, "additionalProperties": false}),
                json!({"properties": {"a": {}, "b": one}, "additionalProperties": one}),
                json!({"properties": {"a": one, "c": {"$ref": "#/$defs/it"}}, "$defs": {"it": {"properties": {"a": one}}}}),
                json!({"patternProperties": {"^a": one}, "additionalProperties": false}),
                json!({"propertyNames": one}),
                json!({"items": one}),
                json!({"contains": one}),
                json!({"not": one}),
                json!({"if": one, "then": {"type": "object"}, "else": {"type": ["string", "array"]}}),
                json!({"if": {"required": ["a"]}, "then": {"properties": {"a": one}}}),
                json!({"allOf": [one, {"type": "object"}]}),
                json!({"anyOf": [one, {"required": ["b"]}]}),
                json!({"oneOf": [one, {"type": "string"}, {"minItems": 1, "type": "array"}]}),
                json!({"dependentSchemas": {"a": {"properties": {"b": one}}}}),
                json!({"dependentRequired": {"a": ["b"]}, "properties": {"b": one}}),
            ]);
        }
        let (mut plain, mut right, mut wrong) = (0, 0, 0);
        for schema in &schemas {
            let root: &'static Json = Box::leak(Box::new(crate::json::leaked(schema)));
            let whole = Schema::compile(Cow::Borrowed(schema), "whole").unwrap();
            for value in &values {
                let verdict = whole.problems(value).is_empty();
                let plainly = is_right(root, value);
                assert!(verdict || !plainly, "{schema} of {value}");
                plain += usize::from(plainly);
                right += usize::from(verdict);
                wrong += usize::from(!verdict);
            }
        }
        assert!(
            wrong > 5000 && plain * 2 > right,
            "{plain} of {right} values that are right are plainly so; {wrong} are wrong"
        );
    }

    #[test]
    fn patterns_of_simple_forms_match_as_the_engine_does() {
        let patterns = [
            "^[A-Za-z_][A-Za-z0-9_]*$",
            "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            "^[-._a-zA-Z0-9]+$",
            "^[0-9]*$",
            "^[a-c]$",
            "^[a-z]([b-]*[0-9])?$",
            "^https://",
            "^/",
            "[1-9]",
            "^[+]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
            "^[+-]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
            "^[^a]*$",
            "^[a-z]+-[a-z]+$",
            "^(/|$)",
            "a",
        ];
        let texts = [
            "",
            "a",
            "ab",
            "a-b",
            "a-",
            "-a",
            "A1_",
            "1a",
            "a.b",
            "a..",
            "_",
            "ä",
            "aä",
            "b--9",
            "b9",
            "9",
            "0",
            "10s",
            "1h30m",
            "5ms",
            "s",
            "+1s",
            "-1s",
            "1.5s",
            "https://x",
            "http://x",
            "/x",
            "a\n",
            "\n",
            "a b",
            "a^",
            "a]",
            "abc-d",
        ];
        let mut answered = 0;
        for pattern in patterns {
            let schema = json!({"pattern": pattern});
            let engine = Schema::compile(Cow::Borrowed(&schema), "pattern").unwrap();
            for text in texts {
                let Some(verdict) = matches(pattern, text) else { continue };
                assert_eq!(verdict, engine.problems(&json!(text)).is_empty(), "{pattern} of {text:?}");
                answered += 1;
            }
        }
        assert!(answered > 280, "only {answered} answers");
    }
}
