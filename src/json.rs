//! JSON: the schemas that are built in as static data, which no run has to parse, and files that are read.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads JSON text. A key that is there twice is an error: the library would keep the last, and drop a rule in silence.
pub fn read(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(text).map(|Strict(value)| value)
}

/// What is wrong with a text, without the place, which messages put first.
#[must_use]
pub fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = access.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key `{key}` is there twice")));
            }
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

/// A JSON value in the program's read-only data.
#[derive(Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number without a fraction.
    Whole(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(&'static str),
    /// An array.
    List(&'static [Json]),
    /// An object, in the order of its file.
    Map(&'static [(&'static str, Json)]),
}

impl Json {
    /// The value of a key, in an object.
    #[must_use]
    pub fn get(&'static self, key: &str) -> Option<&'static Json> {
        self.entries().iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The entries of an object; none for any other value.
    #[must_use]
    pub fn entries(&'static self) -> &'static [(&'static str, Json)] {
        match self {
            Json::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of an array; none for any other value.
    #[must_use]
    pub fn items(&'static self) -> &'static [Json] {
        match self {
            Json::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&'static str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// In a JSON Schema: the subschema of one key or index of the value that this one describes, references followed.
    #[must_use]
    pub fn child(&'static self, root: &'static Json, token: &str) -> Option<&'static Json> {
        let schema = self.resolved(root)?;
        let object = |key| schema.get(key).filter(|below| matches!(below, Json::Map(_)));
        let below = object("properties").and_then(|properties| properties.get(token));
        below.or_else(|| object("additionalProperties")).or_else(|| object("items"))?.resolved(root)
    }

    /// In a JSON Schema: the definition that a local `$ref` names, or the schema itself.
    #[must_use]
    pub fn resolved(&'static self, root: &'static Json) -> Option<&'static Json> {
        match self.get("$ref").and_then(Json::as_str) {
            Some(target) => root.get("$defs")?.get(target.strip_prefix("#/$defs/")?),
            None => Some(self),
        }
    }

    /// Whether this is the same as a value.
    #[must_use]
    pub fn is(&'static self, value: &Value) -> bool {
        match (self, value) {
            (Json::Null, Value::Null) => true,
            (Json::Bool(ours), Value::Bool(theirs)) => ours == theirs,
            (Json::Text(ours), Value::String(theirs)) => ours == theirs,
            (Json::Whole(ours), Value::Number(theirs)) => theirs.as_i64() == Some(*ours),
            (Json::Float(ours), Value::Number(theirs)) => theirs.is_f64() && theirs.as_f64() == Some(*ours),
            (Json::List(ours), Value::Array(theirs)) => {
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| ours.is(theirs))
            }
            (Json::Map(ours), Value::Object(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter().all(|(key, ours)| theirs.get(*key).is_some_and(|it| ours.is(it)))
            }
            _ => false,
        }
    }

    /// The same as a value of its own.
    #[must_use]
    pub fn to_value(&'static self) -> Value {
        match self {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Whole(number) => Value::from(*number),
            Json::Float(number) => Value::from(*number),
            Json::Text(text) => Value::from(*text),
            Json::List(items) => Value::Array(items.iter().map(Json::to_value).collect()),
            Json::Map(entries) => {
                Value::Object(entries.iter().map(|(key, value)| ((*key).to_owned(), value.to_value())).collect())
            }
        }
    }
}

/// A value as static data; a test may leak it.
#[cfg(test)]
pub(crate) fn leaked(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => number.as_i64().map_or_else(|| Json::Float(number.as_f64().unwrap()), Json::Whole),
        Value::String(text) => Json::Text(text.clone().leak()),
        Value::Array(items) => Json::List(items.iter().map(leaked).collect::<Vec<_>>().leak()),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| (&*key.clone().leak(), leaked(value)));
            Json::Map(entries.collect::<Vec<_>>().leak())
        }
    }
}
