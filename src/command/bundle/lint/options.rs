//! The options of a bundle: that each is described, can be tried, is strict, and is used.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::files::PROFILES;
use super::{Linted, patterns};
use crate::command::sample::candidates;
use crate::finding::{Collect, did_you_mean};
use crate::schema::Schema;
use crate::uses::all_options;
use crate::{embedded, pointer};

const FILE: &str = "options.schema.json";

pub(super) fn check(subject: &Linted<'_>, found: &mut Collect) {
    let path = format!("{}/{FILE}", subject.bundle.folder);
    if subject.schema.is_object()
        && let Err(error) = Schema::compile(Cow::Borrowed(&subject.schema), &path)
    {
        found.push(error.to_string());
        return;
    }
    if subject.schema.is_object() {
        strict(subject, &subject.schema, "", found);
    }
    walk(&subject.schema, &mut |key, value| {
        let text = value.as_str().unwrap_or_default();
        if key == "pattern"
            && let Some(reason) = patterns::expensive(text)
        {
            let written = Value::from(text).to_string();
            found.push(format!("{}: the pattern `{text}` {reason}", subject.place(FILE, &written)));
        }
        if let Some(profile) = key.strip_prefix("x-default-").filter(|profile| !PROFILES.contains(profile)) {
            let meant = did_you_mean(profile, PROFILES);
            found.push(format!("{}: `{key}`: there is no profile `{profile}`{meant}", subject.place(FILE, key)));
        }
    });
    let used: Vec<String> = subject.templates.iter().flat_map(|(_, source)| all_options(source)).collect();
    for option in &subject.options {
        let last = option.name.rsplit('.').next().unwrap_or_default();
        let place = subject.place(FILE, &format!("\"{last}\""));
        if option.description.is_empty() && !is_described_above(subject, &option.name) {
            found.push(format!("{place}: option `{}` has no `description`; say what it is for", option.name));
        }
        if option.default.is_none() && candidates(option).is_empty() {
            found.push(format!(
                "{place}: option `{}` has neither a default nor `examples`; give one, so that readers and this check can try it",
                option.name
            ));
        }
        if !is_used(subject, &used, &option.name, option.passthrough) {
            found.push(format!(
                "{place}: nothing uses the option `{}`: no template, no variable, no policy; use it, leave it out, or mark it \
                 `x-passthrough` if only floe's runtime knows it",
                option.name
            ));
        }
    }
    walk_defaults(subject, &subject.schema, found);
    references(subject, found);
}

/// Every default fits the schema that it stands in.
fn walk_defaults(subject: &Linted<'_>, schema: &Value, found: &mut Collect) {
    for (name, own) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let below = crate::schema::resolve(&subject.schema, own);
        walk_defaults(subject, below, found);
        let Value::Object(alone) = below else { continue };
        let mut alone = alone.clone();
        alone.insert("$defs".to_owned(), subject.schema.get("$defs").cloned().unwrap_or_else(|| json!({})));
        let Ok(compiled) = Schema::compile(Cow::Owned(Value::Object(alone)), FILE) else { continue };
        let defaults = own.as_object().into_iter().flatten();
        for (key, default) in defaults.filter(|(key, _)| *key == "default" || key.starts_with("x-default-")) {
            for problem in compiled.problems(default) {
                let place = subject.place(FILE, &format!("\"{name}\""));
                found.push(format!(
                    "{place}: the {key} of option `{name}` is refused by its own schema: {}",
                    problem.message
                ));
            }
        }
    }
}

/// Whether the mapping that holds an option is described.
fn is_described_above(subject: &Linted<'_>, name: &str) -> bool {
    let Some((holder, _)) = name.rsplit_once('.') else { return false };
    let holder = crate::schema::subschema(&subject.schema, &pointer::of_option(holder));
    holder.is_some_and(|holder| holder.get("description").is_some())
}

/// Whether a template, `bundle.yaml` or a policy reads an option, or what holds it.
fn is_used(subject: &Linted<'_>, used: &[String], name: &str, passthrough: bool) -> bool {
    let within = |other: &String| {
        other == name || name.starts_with(&format!("{other}.")) || other.starts_with(&format!("{name}."))
    };
    let meta = &subject.bundle.meta;
    let in_meta = meta
        .variables
        .iter()
        .any(|(_, one)| [&one.option, &one.secret].iter().any(|option| option.as_deref() == Some(name)))
        || meta.files.iter().any(|(_, one)| one.secret.as_deref() == Some(name))
        || meta.namespace.as_ref().is_some_and(|one| one.option.as_deref() == Some(name));
    let key = name.rsplit('.').next().unwrap_or_default();
    // `options[signal]` names an option by a word that stands elsewhere in the template.
    let by_word = subject.templates.iter().any(|(_, source)| source.contains("options[") && source.contains(key));
    let in_policies = PROFILES.iter().any(|profile| {
        let own = subject.bundle.json(&format!("policy/{profile}.json")).ok().flatten();
        let engine = embedded::schema_text(&format!("policy/{profile}")).ok();
        own.iter().chain(&engine).any(|policy| names_key(policy, key))
    });
    passthrough || by_word || in_meta || used.iter().any(within) || in_policies
}

/// Whether a schema speaks of a property.
fn names_key(schema: &Value, key: &str) -> bool {
    let mut named = false;
    walk(schema, &mut |word, value| {
        named |= word == "properties" && value.get(key).is_some();
    });
    named
}

/// Every mapping of options refuses keys that it does not know: a misspelled option must not pass in silence.
fn strict(subject: &Linted<'_>, schema: &Value, at: &str, found: &mut Collect) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    if schema.get("additionalProperties").is_none() && schema.get("unevaluatedProperties").is_none() {
        let what = if at.is_empty() { "the options take".to_owned() } else { format!("option `{at}` takes") };
        let last = at.rsplit('.').next().unwrap_or_default();
        let place =
            subject.place(FILE, &if at.is_empty() { "\"properties\"".to_owned() } else { format!("\"{last}\"") });
        found.push(format!("{place}: {what} any key; add `\"additionalProperties\": false`"));
    }
    for (name, below) in properties {
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        strict(subject, crate::schema::resolve(&subject.schema, below), &at, found);
    }
}

/// The options that `bundle.yaml` names.
fn references(subject: &Linted<'_>, found: &mut Collect) {
    let meta = &subject.bundle.meta;
    let variables =
        meta.variables.iter().map(|(name, one)| (format!("variables.{name}.option"), name, one.option.as_deref()));
    let secrets =
        meta.variables.iter().map(|(name, one)| (format!("variables.{name}.secret"), name, one.secret.as_deref()));
    let files = meta.files.iter().map(|(name, one)| (format!("files.{name}.secret"), name, one.secret.as_deref()));
    let namespace =
        meta.namespace.iter().map(|one| ("namespace.option".to_owned(), "namespace", one.option.as_deref()));
    for (key, near, option) in variables.chain(secrets).chain(files).chain(namespace) {
        let Some(option) = option else { continue };
        if !subject.options.iter().any(|one| one.name == option) {
            let meant = did_you_mean(option, subject.options.iter().map(|one| one.name.as_str()));
            found
                .push(format!("{}: `{key}`: there is no option `{option}`{meant}", subject.place("bundle.yaml", near)));
        }
    }
}

/// Calls `visit` with every keyword and its value, in any depth.
fn walk(schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                visit(key, value);
                walk(value, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => {}
    }
}
