//! Whether a literal stands where a secret belongs: by the schemas, by the name of a header, or because a template refers to a
//! secret there.

use std::cell::OnceCell;

use serde_json::Value;

use super::Document;
use crate::bundle::Bundles;
use crate::finding::Collect;
use crate::pointer;
use crate::reference::{self, Part};
use crate::render::{Fragment, Rendered};

/// Words in the name of a header that carries a credential, …
const WORDS: [&str; 13] = [
    "authorization",
    "token",
    "secret",
    "password",
    "api-key",
    "apikey",
    "api_key",
    "x-key",
    "access-key",
    "cookie",
    "credential",
    "license",
    "licence",
];
/// … and a part between dashes that is one.
const PART: &str = "auth";

/// What the bundles say of secrets. What costs something is only asked of documents with a literal in doubt, or a patch.
pub(super) struct Secrets<'a> {
    bundles: &'a Bundles,
    rendered: &'a [Rendered],
    headers: OnceCell<Vec<String>>,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(bundles: &'a Bundles, rendered: &'a [Rendered]) -> Self {
        Secrets { bundles, rendered, headers: OnceCell::new() }
    }

    /// Whether a header of this name carries a credential: its name says so, or a bundle does.
    pub(super) fn is_named_by(&self, header: &str) -> bool {
        let header = header.to_lowercase();
        WORDS.iter().any(|word| header.contains(word))
            || header.split(['-', '_']).any(|part| part == PART)
            || self.headers.get_or_init(|| self.headers()).contains(&header)
    }

    /// The headers that bundles declare for their secrets, and those in which their templates refer to one.
    #[cold]
    #[inline(never)]
    fn headers(&self) -> Vec<String> {
        let metas = self.bundles.backends.iter().map(|one| &one.bundle.meta);
        let declared = metas.flat_map(|meta| meta.variables.iter()).flat_map(|(_, variable)| &variable.headers);
        let mut headers: Vec<String> = declared.map(|header| header.to_lowercase()).collect();
        let fragments = self.rendered.iter().flat_map(|one| [&one.collector, &one.openlineage, &one.connections]);
        for fragment in fragments.flatten() {
            reference::late_strings(&fragment.doc.to_value(), "", &mut |at, text| {
                let mut tokens: Vec<String> = pointer::tokens(at).collect();
                let (header, above) = (tokens.pop(), tokens.pop());
                if above.is_some_and(|above| above.ends_with("headers")) && self.secret_of(text).is_some() {
                    headers.extend(header.map(|header| header.to_lowercase()));
                }
            });
        }
        headers
    }

    /// The secret variable that a text refers to.
    #[cold]
    #[inline(never)]
    fn secret_of(&self, text: &str) -> Option<String> {
        let is_secret = |name: &str| {
            let of_platform = self.bundles.platform.meta.variables.get(name).is_some();
            of_platform
                || self.bundles.backends.iter().any(|backend| {
                    let mut all = backend.bundle.meta.variables.iter();
                    all.any(|(own, variable)| variable.option.is_none() && backend.variable(own) == name)
                })
        };
        reference::parts(text).ok()?.into_iter().find_map(|part| match part {
            Part::Variable(name) if is_secret(name) => Some(name.to_owned()),
            _ => None,
        })
    }

    /// Reports literals in place of the references that templates wrote: by a patch, since nothing else replaces what a
    /// template wrote.
    pub(super) fn replaced(&self, document: &Document<'_>, found: &mut Collect) {
        if !document.merged.is_patched() {
            return;
        }
        for layer in document.merged.layers() {
            reference::late_strings(&layer.doc.to_value(), "", &mut |at, text| {
                let literal = match document.merged.value.pointer(at) {
                    Some(Value::String(text)) => !text.is_empty() && !reference::is_late(text),
                    Some(Value::Number(_)) => true,
                    _ => false,
                };
                if literal && self.secret_of(text).is_some() {
                    found.push(self.message(document, at));
                }
            });
        }
    }

    /// Reports literals for variables of containers that a Secret gives: by a patch of the values.
    pub(super) fn variables(&self, document: &Document<'_>, found: &mut Collect) {
        if !document.merged.is_patched() {
            return;
        }
        let mut bound = Vec::new();
        for layer in document.merged.layers() {
            containers(&layer.doc.to_value(), "", &mut |_, name, entry| {
                if entry.pointer("/valueFrom/secretKeyRef").is_some() {
                    bound.push(name.to_owned());
                }
            });
        }
        containers(&document.merged.value, "", &mut |at, name, entry| {
            let literal = match entry.get("value") {
                // Kubernetes expands `$(NAME)`; Helm expands what stands in braces.
                Some(Value::String(text)) => !text.is_empty() && !text.contains("$(") && !text.contains("{{"),
                Some(Value::Number(_)) => true,
                _ => false,
            };
            let secret =
                || bound.iter().any(|one| one == name) || self.secret_of(&format!("${{env:{name}}}")).is_some();
            if literal && secret() {
                let text = format!(
                    "a secret stands here as a literal, and `{name}` is bound to one; leave the `secretKeyRef` in its place"
                );
                found.push(document.discreet(&pointer::join(at, "value"), &text));
            }
        });
    }

    /// What to tell of a literal: which variable belongs there, where a template says so.
    #[cold]
    #[inline(never)]
    pub(super) fn message(&self, document: &Document<'_>, at: &str) -> String {
        let of = |layer: &Fragment| self.secret_of(layer.doc.to_value().pointer(at)?.as_str()?);
        let text = match document.merged.layers().iter().find_map(of) {
            Some(name) => format!(
                "a secret stands here as a literal, in place of `${{env:{name}}}`; leave the reference, whose Secret \
                 `connection_secret_ref` names, or refer to a variable of `render.variables`"
            ),
            None => "a secret stands here as a literal; write a reference `${env:NAME}`, so that it stays in a Kubernetes Secret"
                .to_owned(),
        };
        document.discreet(at, &text)
    }

    /// Reports literals among the headers and passwords of connections, which nothing else checks.
    pub(super) fn in_connections(&self, found: &mut Collect) {
        for fragment in self.rendered.iter().filter_map(|one| one.connections.as_ref()) {
            for (index, one) in fragment.doc.items().iter().enumerate() {
                let Some(check) = one.get("check") else { continue };
                let secret =
                    |name: &str, parent: &str| parent == "basic" && name == "password" || self.is_named_by(name);
                for parent in ["headers", "basic"] {
                    for (key, node) in check.get(parent).map(crate::yaml::Node::entries).unwrap_or_default() {
                        let literal = node.as_str().is_some_and(|text| !text.is_empty() && !reference::is_late(text));
                        if literal && secret(&key.name, parent) {
                            let place = fragment.place(node);
                            found.push(format!(
                                "{}: `{index}.check.{parent}.{}`: a secret stands here as a literal; write a reference \
                                 `${{env:NAME}}` to a variable of bundle.yaml",
                                place.split(": `").next().unwrap_or_default(),
                                key.name
                            ));
                        }
                    }
                }
            }
        }
    }
}

/// Calls `visit` with every variable of a container below some values: its pointer, its name, and the entry.
#[cold]
#[inline(never)]
fn containers(value: &Value, at: &str, visit: &mut dyn FnMut(&str, &str, &Value)) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("name").and_then(Value::as_str)
                && (map.contains_key("value") || map.contains_key("valueFrom"))
            {
                visit(at, name, value);
            }
            map.iter().for_each(|(key, item)| containers(item, &pointer::join(at, key), visit));
        }
        Value::Array(items) => {
            let all = items.iter().enumerate();
            all.for_each(|(index, item)| containers(item, &pointer::join(at, &index.to_string()), visit));
        }
        _ => {}
    }
}
