//! Values that a user gave, layer over layer, with the place that each came from.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::pointer;
use crate::yaml::{Data, Node};

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `file:line:column`, or the flag.
    pub place: String,
    /// The text of a `--set`, whose type the schema decides.
    pub text: Option<String>,
}

/// A value with the origin of every node in it.
#[derive(Clone, Debug, Default)]
pub struct Given {
    value: Value,
    origins: BTreeMap<String, Origin>,
    /// Below this pointer a null is a value; elsewhere it takes back what an earlier layer gave.
    nulls_below: Option<&'static str>,
}

impl Given {
    /// The value of a manifest's node; `file` names the manifest.
    #[must_use]
    pub fn from_node(node: &Node, file: &str) -> Self {
        let mut given = Given { value: node.to_value(), ..Given::default() };
        note(node, file, "", &mut given.origins);
        given
    }

    /// Nothing yet, where nulls below a pointer will be values.
    #[must_use]
    pub fn with_nulls_below(pointer: &'static str) -> Self {
        Given { nulls_below: Some(pointer), ..Given::default() }
    }

    fn keeps_null(&self, at: &str) -> bool {
        self.nulls_below.is_some_and(|below| at.strip_prefix(below).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Takes out every null that is no value.
    pub fn drop_nulls(&mut self) {
        let mut value = std::mem::take(&mut self.value);
        self.drop_nulls_of(&mut value, "");
        self.value = value;
    }

    fn drop_nulls_of(&self, value: &mut Value, at: &str) {
        if let Value::Object(map) = value {
            map.retain(|key, item| !item.is_null() || self.keeps_null(&pointer::join(at, key)));
            map.iter_mut().for_each(|(key, item)| self.drop_nulls_of(item, &pointer::join(at, key)));
        }
    }

    /// The value itself; null when nothing was given.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value at a pointer.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    /// The text at a pointer.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.get(pointer)?.as_str()
    }

    /// The part at a pointer, with its origins.
    #[must_use]
    pub fn part(&self, pointer: &str) -> Given {
        let Some(value) = self.get(pointer) else { return Given::default() };
        let origins = self
            .origins
            .iter()
            .filter_map(|(at, origin)| Some((at.strip_prefix(pointer)?.to_owned(), origin.clone())))
            .filter(|(at, _)| at.is_empty() || at.starts_with('/'))
            .collect();
        Given { value: value.clone(), origins, nulls_below: None }
    }

    /// The origin of the value at a pointer, or of what holds it.
    #[must_use]
    pub fn origin(&self, pointer: &str) -> Option<&Origin> {
        let mut pointer = pointer;
        loop {
            if let Some(origin) = self.origins.get(pointer) {
                return Some(origin);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    /// Every origin that carries the text of a `--set`, with its pointer.
    pub fn set_texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.origins.iter().filter_map(|(at, origin)| Some((at.as_str(), origin.text.as_deref()?)))
    }

    /// Lays another value over this one: maps deeply, everything else replaced, null removes.
    pub fn layer(&mut self, over: &Given) {
        self.layer_at("", &over.value, "", over);
    }

    fn layer_at(&mut self, at: &str, value: &Value, over_at: &str, over: &Given) {
        match value {
            Value::Null if !self.keeps_null(at) => {
                self.forget(at);
                remove(&mut self.value, at);
            }
            Value::Object(map) if self.get(at).is_some_and(Value::is_object) => {
                for (key, item) in map {
                    self.layer_at(&pointer::join(at, key), item, &pointer::join(over_at, key), over);
                }
            }
            _ => {
                self.forget(at);
                set(&mut self.value, at, &[], value.clone());
                for (below, origin) in &over.origins {
                    if let Some(rest) =
                        below.strip_prefix(over_at).filter(|rest| rest.is_empty() || rest.starts_with('/'))
                    {
                        self.origins.insert(format!("{at}{rest}"), origin.clone());
                    }
                }
            }
        }
    }

    /// Sets one value, making the maps on the way; null removes it.
    pub fn set(&mut self, at: &str, value: Value, origin: Origin) {
        self.set_in_lists(at, &[], value, origin);
    }

    /// Sets one value, making the maps and, at the pointers `lists`, the lists on the way; null removes it.
    pub fn set_in_lists(&mut self, at: &str, lists: &[&str], value: Value, origin: Origin) {
        self.forget(at);
        if value.is_null() && !self.keeps_null(at) {
            remove(&mut self.value, at);
        } else {
            set(&mut self.value, at, lists, value);
            self.origins.insert(at.to_owned(), origin);
        }
    }

    fn forget(&mut self, at: &str) {
        self.origins.retain(|below, _| !pointer::is_within(below, at));
    }
}

fn note(node: &Node, file: &str, at: &str, origins: &mut BTreeMap<String, Origin>) {
    let place = format!("{file}:{}:{}", node.at.line, node.at.column);
    origins.insert(at.to_owned(), Origin { place, text: None });
    match &node.data {
        Data::Scalar(_) => {}
        Data::List(items) => {
            for (index, item) in items.iter().enumerate() {
                note(item, file, &pointer::join(at, &index.to_string()), origins);
            }
        }
        Data::Map(entries) => {
            for (key, item) in entries {
                note(item, file, &pointer::join(at, &key.name), origins);
            }
        }
    }
}

/// Sets the value at a pointer, making what is missing: a list where `lists` says so, else a map.
fn set(root: &mut Value, at: &str, lists: &[&str], value: Value) {
    let mut place = root;
    let mut here = String::new();
    for token in pointer::tokens(at) {
        if lists.contains(&here.as_str()) && !place.is_array() {
            *place = Value::Array(Vec::new());
        }
        here = pointer::join(&here, &token);
        place = match place {
            Value::Array(items) => {
                let index: usize = token.parse().unwrap_or_default();
                if items.len() <= index {
                    items.resize(index + 1, Value::Null);
                }
                &mut items[index]
            }
            Value::Object(map) => map.entry(token).or_insert(Value::Null),
            other => {
                *other = Value::Object(Map::new());
                match other {
                    Value::Object(map) => map.entry(token).or_insert(Value::Null),
                    _ => return,
                }
            }
        };
    }
    *place = value;
}

fn remove(root: &mut Value, at: &str) {
    let Some((parent, _)) = at.rsplit_once('/') else {
        *root = Value::Null;
        return;
    };
    let key = pointer::tokens(at).last().unwrap_or_default();
    if let Some(Value::Object(map)) = root.pointer_mut(parent) {
        map.shift_remove(&key);
    }
}
