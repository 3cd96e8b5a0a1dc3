//! The values of `--set`, `--set-string` and `--set-json`, in Helm's syntax.
//!
//! `a.b=c,d=e`; `\` takes the next character as it is; `a={x,y}` is a list; `a[0]=x` is one item of a list. Where a schema
//! says what an option is, the schema decides the type of a `--set`; elsewhere whole numbers, `true`, `false` and `null`
//! are what they look like, as in Helm.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::finding::short;
use crate::{pointer, yaml};

/// One assignment of a flag.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The path, as a JSON pointer.
    pub pointer: String,
    /// Pointers to what the path treats as lists (`a[0]`).
    pub lists: Vec<String>,
    /// The value.
    pub value: Value,
    /// The text as it was given, where the schema decides the type.
    pub text: Option<String>,
    /// The flag and the path, for messages.
    pub place: String,
}

/// The flag that an assignment is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `--set`.
    Set,
    /// `--set-string`.
    SetString,
    /// `--set-json`.
    SetJson,
}

impl Flag {
    fn name(self) -> &'static str {
        match self {
            Flag::Set => "--set",
            Flag::SetString => "--set-string",
            Flag::SetJson => "--set-json",
        }
    }
}

/// The assignments of one flag's text.
pub fn parse(flag: Flag, text: &str) -> Result<Vec<Assignment>> {
    let mut assignments = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (path, value) = split(rest, '=');
        let Some(value) = value else {
            bail!("{} {}: there is no `=` in `{}`; write KEY=VALUE", flag.name(), short(text), short(path));
        };
        let (pointer, lists) = path_pointer(path).with_context(|| format!("{} {}", flag.name(), short(path)))?;
        let place = format!("{} {path}", flag.name());
        if flag == Flag::SetJson {
            let value =
                serde_json::from_str(value).with_context(|| format!("{place}: `{}` is not JSON", short(value)))?;
            assignments.push(Assignment { pointer, lists, value, text: None, place });
            break;
        }
        let (value, text, tail) = value_of(flag, value).with_context(|| place.clone())?;
        assignments.push(Assignment { pointer, lists, value, text, place });
        rest = tail;
    }
    if assignments.is_empty() {
        bail!("{}: nothing is set; write KEY=VALUE", flag.name());
    }
    Ok(assignments)
}

/// One value, its text where the schema decides the type, and what follows the next comma.
fn value_of(flag: Flag, text: &str) -> Result<(Value, Option<String>, &str)> {
    if let Some(list) = text.strip_prefix('{') {
        let (items, tail) = split(list, '}');
        let Some(tail) = tail else { bail!("the list `{{{}` is not closed by `}}`", short(list)) };
        let mut values = Vec::new();
        let mut rest = (!items.is_empty()).then_some(items);
        while let Some(items) = rest {
            let (item, next) = split(items, ',');
            values.push(typed(flag, unescape(item)).0);
            rest = next;
        }
        return Ok((Value::Array(values), None, tail.strip_prefix(',').unwrap_or(tail)));
    }
    let (value, tail) = split(text, ',');
    let (value, text) = typed(flag, unescape(value));
    Ok((value, text, tail.unwrap_or_default()))
}

/// Helm's typing of a bare value.
fn typed(flag: Flag, text: String) -> (Value, Option<String>) {
    if flag == Flag::SetString {
        return (Value::String(text), None);
    }
    let value = match text.as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => return (Value::Null, None),
        digits if digits == "0" || !digits.starts_with(['0', '+']) && !digits.starts_with("-0") => {
            digits.parse::<i64>().map_or_else(|_| Value::String(text.clone()), Value::from)
        }
        _ => Value::String(text.clone()),
    };
    (value, Some(text))
}

/// The text as a value of the type that a schema asks for, if it can be one.
#[must_use]
pub fn typed_by_schema(text: &str, schema: &Value) -> Option<Value> {
    match schema.get("type")?.as_str()? {
        "string" => Some(Value::String(text.to_owned())),
        "boolean" => text.parse::<bool>().ok().map(Value::Bool),
        "integer" => text.parse::<i64>().ok().map(Value::from),
        "number" => text
            .parse::<i64>()
            .map(Value::from)
            .ok()
            .or_else(|| text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number)),
        _ => None,
    }
}

/// The text before the first `end` that no backslash escapes, and the text after it.
fn split(text: &str, end: char) -> (&str, Option<&str>) {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == end {
            return (&text[..at], Some(&text[at + c.len_utf8()..]));
        }
    }
    (text, None)
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    plain
}

/// The pointer of a path, and the pointers on the way to what it treats as lists.
fn path_pointer(path: &str) -> Result<(String, Vec<String>)> {
    let mut at = String::new();
    let mut lists = Vec::new();
    let mut rest = Some(path);
    while let Some(text) = rest {
        if pointer::tokens(&at).count() == yaml::MAX_DEPTH {
            bail!("the path is deeper than {} levels", yaml::MAX_DEPTH);
        }
        let (segment, next) = split(text, '.');
        rest = next;
        let (name, mut indices) = split(segment, '[');
        if name.is_empty() {
            bail!("`{}` is not a path: a key is empty", short(path));
        }
        at = pointer::join(&at, &unescape(name));
        while let Some(text) = indices {
            let Some((index, tail)) = text.split_once(']') else {
                bail!("`{}` is not a path: `[` is not closed", short(path))
            };
            let index: usize = index
                .parse()
                .ok()
                .filter(|index| *index < 1000)
                .with_context(|| format!("`{path}` is not a path: `{index}` is not an index between 0 and 999"))?;
            lists.push(at.clone());
            at = pointer::join(&at, &index.to_string());
            indices = tail.strip_prefix('[');
        }
    }
    Ok((at, lists))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(flag: Flag, text: &str) -> Vec<(String, Value)> {
        parse(flag, text).unwrap().into_iter().map(|one| (one.pointer, one.value)).collect()
    }

    #[test]
    fn reads_helms_syntax() {
        assert_eq!(
            values(Flag::Set, r"a.b=c\,d,e=1,f={x,2},g[1].h=true,i\.j=0777,k="),
            [
                ("/a/b".into(), json!("c,d")),
                ("/e".into(), json!(1)),
                ("/f".into(), json!(["x", 2])),
                ("/g/1/h".into(), json!(true)),
                ("/i.j".into(), json!("0777")),
                ("/k".into(), json!("")),
            ]
        );
        assert_eq!(values(Flag::SetString, "a=1"), [("/a".into(), json!("1"))]);
        assert_eq!(values(Flag::SetJson, r#"a={"b":[1,2]}"#), [("/a".into(), json!({"b": [1, 2]}))]);
    }

    #[test]
    fn refuses_what_is_no_assignment() {
        for text in ["", "a", "a[=1", "a[x]=1", ".a=1", "a={b"] {
            assert!(parse(Flag::Set, text).is_err(), "{text}");
        }
        assert!(parse(Flag::SetJson, "a={").is_err());
    }
}
