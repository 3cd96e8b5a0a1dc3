//! `${env:NAME}` in a string: a value that is bound late, in the cluster.

use anyhow::{Result, bail};
use serde_json::Value;

/// What a string consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Literal text.
    Text(&'a str),
    /// The variable of a reference `${env:NAME}`.
    Variable(&'a str),
}

const OPEN: &str = "${env:";

/// Whether a string may hold a reference.
#[must_use]
pub fn is_late(text: &str) -> bool {
    text.contains(OPEN)
}

/// The parts of a string, in order. A reference with a default or a name that no shell would take is an error.
pub fn parts(text: &str) -> Result<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        let after = &rest[at + OPEN.len()..];
        let Some((name, tail)) = after.split_once('}') else {
            bail!("`{text}` opens a reference with `{OPEN}` and does not close it; write `${{env:NAME}}`");
        };
        if !is_name(name) {
            bail!(
                "`{OPEN}{name}}}` is no reference: a name has A-Z, 0-9 and _, and takes no default, \
                 because Kubernetes expands none; write `${{env:NAME}}`"
            );
        }
        if at > 0 {
            parts.push(Part::Text(&rest[..at]));
        }
        parts.push(Part::Variable(name));
        rest = tail;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// Whether `name` can name an environment variable here.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Calls `visit` with the pointer and the text of every string below `value` that holds a reference, keys included.
pub fn late_strings(value: &Value, pointer: &str, visit: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) if is_late(text) => visit(pointer, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                late_strings(item, &crate::pointer::join(pointer, &index.to_string()), visit);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                let below = crate::pointer::join(pointer, key);
                if is_late(key) {
                    visit(&below, key);
                }
                late_strings(item, &below, visit);
            }
        }
        _ => {}
    }
}

/// The value with every string, keys included, replaced by what `change` makes of it.
pub fn map_strings(value: &Value, change: &mut dyn FnMut(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => Value::Array(items.iter().map(|item| map_strings(item, change)).collect()),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, item)| (change(key), map_strings(item, change))).collect())
        }
        other => other.clone(),
    }
}

/// The text as the collector reads it: a literal `$` is written `$$`, references stay (collector 0.158, confmap expansion).
#[must_use]
pub fn for_collector(text: &str) -> String {
    if !text.contains('$') {
        return text.to_owned();
    }
    lowered(text, |literal| literal.replace('$', "$$"), |name| format!("${{env:{name}}}"))
}

/// The text as Kubernetes reads it in `env[].value`: references become `$(NAME)`, a literal `$` is written `$$`, since
/// Kubernetes makes one `$` of every two, wherever they stand (Kubernetes 1.34, package `expansion`).
#[must_use]
pub fn for_kubernetes(text: &str) -> String {
    lowered(text, |literal| literal.replace('$', "$$"), |name| format!("$({name})"))
}

/// The text with its literal parts and its references written anew. Malformed references count as literals: `bind`
/// has refused them before.
fn lowered(text: &str, literal: impl Fn(&str) -> String, variable: impl Fn(&str) -> String) -> String {
    match parts(text) {
        Ok(parts) => parts
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => literal(text),
                Part::Variable(name) => variable(name),
            })
            .collect(),
        Err(_) => literal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_literal_dollars_for_each_consumer() {
        assert_eq!(for_collector("a$b $(X) ${env:K}$${x}"), "a$$b $$(X) ${env:K}$$$${x}");
        assert_eq!(for_kubernetes("a$b $(X) $$ https://${env:K}"), "a$$b $$(X) $$$$ https://$(K)");
    }

    #[test]
    fn refuses_references_that_kubernetes_cannot_expand() {
        for text in ["${env:X:-default}", "${env:x}", "${env:}", "a ${env:X"] {
            assert!(parts(text).is_err(), "{text}");
        }
    }
}
