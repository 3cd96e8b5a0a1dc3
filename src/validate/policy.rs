//! The policies: the profile's own, then an organisation's, each over everything that was rendered.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Document, insecure};
use crate::bundle::{Backend, Bundles, OVER_DOCUMENTS};
use crate::finding::Collect;
use crate::merge::Merged;
use crate::options::{self, Options, Resolved};
use crate::policy::Policy;
use crate::schema::Problem;
use crate::select::{Kind, Plan};
use crate::{embedded, pointer};

/// The option by which a lineage bundle lets its user permit plain HTTP in production, as the profile's policy has it.
const PERMITS_HTTP: &str = "allow_insecure_http";

/// What was rendered, as the policies are asked about it.
pub(super) struct Subject<'a> {
    pub(super) bundles: &'a Bundles,
    pub(super) options: &'a Options,
    pub(super) plan: &'a Plan,
    pub(super) collector: Option<&'a Merged>,
    pub(super) openlineage: Option<&'a Merged>,
    pub(super) values: &'a Merged,
}

impl Subject<'_> {
    /// Asks the profile's policy, then those of the organisation.
    pub(super) fn check(&self, policies: &[Policy], found: &mut Collect, warnings: &mut Vec<String>) -> Result<()> {
        let profile = &self.plan.profile;
        let name = format!("policy/{profile}");
        // The profile of development demands nothing of its own.
        let strict = embedded::tree(&name)?.get("properties").is_some();
        // What a bundle writes itself needs no judge while it is developed; what a patch makes of it does.
        let judged = strict || !self.plan.patches.value().is_null();
        if !judged && policies.is_empty() {
            return Ok(());
        }
        let source = format!("policy of the {profile} profile");
        let lineage = self.lineage();
        let subject = || {
            let collector = self.collector.map_or_else(|| Value::Object(Map::new()), |merged| merged.value.clone());
            json!({"collector": collector, "lineage": lineage})
        };
        if strict {
            let mut told = Vec::new();
            for mut problem in embedded::problems(&name, &[&subject()])?.into_iter().flatten() {
                told.push(problem.pointer.clone());
                if let Some(id) = problem.pointer.strip_prefix("/lineage/").filter(|id| !id.contains('/')) {
                    problem.message += &self.way_to_https(id);
                }
                found.push(self.message(&problem, &source));
            }
            self.insecure(&told, &source, found)?;
        }
        if judged {
            self.own(&lineage, &source, found)?;
        }
        self.plain_http(&lineage, found, warnings);
        if policies.is_empty() {
            return Ok(());
        }
        let mut subject = subject();
        self.complete(&mut subject);
        for policy in policies {
            for problem in policy.schema.problems(&subject) {
                found.push(self.message(&problem, &format!("policy {}", policy.file)));
            }
        }
        Ok(())
    }

    /// Reports what the schemas mark as insecure, but for what was told.
    fn insecure(&self, told: &[String], source: &str, found: &mut Collect) -> Result<()> {
        if let Some(merged) = self.collector {
            for problem in insecure::collector(&merged.value, self.bundles)? {
                let pointer = format!("/collector{}", problem.pointer);
                if !told.contains(&pointer) {
                    found.push(self.message(&Problem { pointer, ..problem }, source));
                }
            }
        }
        if let Some(merged) = self.openlineage {
            for Problem { pointer, message } in insecure::openlineage(&merged.value)? {
                let text = format!("{message} ({source}){}", self.given(merged, &pointer) + &patched(merged, &pointer));
                found.push(Document { name: "openlineage.yml", merged }.message(&pointer, &text));
            }
        }
        Ok(())
    }

    /// Asks the policies of the platform layer and of the bundles over what was rendered of them, patched.
    fn own(&self, lineage: &Map<String, Value>, source: &str, found: &mut Collect) -> Result<()> {
        let backends = self.bundles.backends.iter().map(|one| (Some(&one.selection), &one.bundle));
        let bundles = std::iter::once((None, &self.bundles.platform)).chain(backends);
        let options = std::iter::once(&self.options.platform).chain(&self.options.backends);
        let sources = [("all", "policy of every profile"), (self.plan.profile.as_str(), source)];
        let asked = bundles.zip(options).flat_map(|one| sources.map(|source| (one, source)));
        for (((selection, bundle), resolved), (name, source)) in asked {
            let Some(policy) = bundle.schema(&format!("policy/{name}{OVER_DOCUMENTS}"))? else { continue };
            let keys = bundle.value_keys().chain(bundle.meta.umbrella.iter().map(String::as_str));
            let values = keys.filter_map(|key| Some((key.to_owned(), self.values.value.get(key)?.clone())));
            let mut subject = json!({"options": resolved.set, "values": values.collect::<Map<_, _>>()});
            let id = selection.filter(|one| one.kind == Kind::Lineage).map(|one| &one.id);
            if let Some(transport) = id.and_then(|id| lineage.get(id)?.get("transport")) {
                subject["transport"] = transport.clone();
            }
            for mut problem in policy.as_policy().problems(&subject) {
                if !problem.pointer.starts_with("/values") {
                    let part = selection.map_or_else(
                        || "/platform".to_owned(),
                        |one| pointer::join(&format!("/{}", one.kind.name()), &one.id),
                    );
                    // The options of the platform layer are a part of their own.
                    let below = if selection.is_none() { "/options" } else { "" };
                    problem.pointer = part + problem.pointer.strip_prefix(below).unwrap_or(&problem.pointer);
                }
                found.push(self.message(&problem, source));
            }
        }
        Ok(())
    }

    /// What to do about lineage over plain HTTP, by the options that the bundle has.
    #[cold]
    #[inline(never)]
    fn way_to_https(&self, id: &str) -> String {
        let backends = self.bundles.backends.iter().zip(&self.options.backends);
        let mut lineage = backends.filter(|(backend, _)| backend.selection.kind == Kind::Lineage);
        let Some((backend, resolved)) = lineage.find(|(backend, _)| backend.selection.id == id) else {
            return "; write an https address".to_owned();
        };
        let mut plain = Vec::new();
        strings(&resolved.set, "", &mut |at, text| {
            if text.starts_with("http:") {
                plain.push(pointer::dotted(at));
            }
        });
        let has = |option: &str| resolved.all.get(option).is_some();
        if plain.is_empty() && has("url") {
            plain.push("url".to_owned());
        }
        let https = plain.first().map(|option| format!("set `{option}` to an https address"));
        match (https, has(PERMITS_HTTP)) {
            (Some(https), true) => format!("; {https}, or `{PERMITS_HTTP}: true`"),
            (Some(https), false) => format!("; {https}"),
            (None, true) => format!("; set `{PERMITS_HTTP}: true` to permit it"),
            (None, false) => format!(
                "; the bundle has no option for it: its author can give {}/openlineage.yaml.j2 an https address, or \
                 options.schema.json the boolean option `{PERMITS_HTTP}`, which permits it",
                backend.bundle.folder
            ),
        }
    }

    /// Each lineage backend's transport and options, by id.
    fn lineage(&self) -> Map<String, Value> {
        let transport = self.openlineage.and_then(|merged| merged.value.get("transport"));
        let transports = transport.and_then(|transport| transport.get("transports")?.as_object());
        let mut lineage = Map::new();
        for (id, resolved) in self.of_kind(Kind::Lineage) {
            let one = match transports {
                Some(transports) => transports.get(&transport_name(id)),
                None => transport,
            };
            if let Some(one) = one {
                lineage.insert(id.to_owned(), json!({"transport": one, "options": resolved.set}));
            }
        }
        // What a patch added belongs to no backend, and no option permits anything for it.
        for (name, one) in transports.into_iter().flatten() {
            if !lineage.keys().any(|id| transport_name(id) == *name) {
                lineage.insert(name.clone(), json!({"transport": one, "options": {}}));
            }
        }
        lineage
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&str, &Resolved)> {
        let all = self.bundles.backends.iter().zip(&self.options.backends);
        all.filter(move |(backend, _)| backend.selection.kind == kind)
            .map(|(backend, resolved)| (backend.selection.id.as_str(), resolved))
    }

    /// Adds what only an organisation's policies judge.
    fn complete(&self, subject: &mut Value) {
        let mut telemetry = Map::new();
        for (id, resolved) in self.of_kind(Kind::Telemetry) {
            telemetry.insert(id.to_owned(), json!({"options": resolved.set}));
        }
        subject["telemetry"] = Value::Object(telemetry);
        for kind in Kind::ALL {
            for (id, one) in subject[kind.name()].as_object_mut().into_iter().flatten() {
                let mut backends = self.bundles.backends.iter();
                let backend = backends.find(|one| one.selection.kind == kind && one.selection.id == *id);
                one["bundle"] = backend.map_or(Value::Null, |one| one.selection.bundle.clone().into());
                if let Some(backend) = backend {
                    one["version"] = backend.bundle.meta.version.to_string().into();
                    one["hosting"] = backend.bundle.meta.hosting.clone().into();
                    one["built_in"] = backend.bundle.is_built_in().into();
                    one["secret"] = backend.selection.secret.name.clone().into();
                }
            }
        }
        subject["platform"] = self.options.platform.set.clone();
        subject["values"] = self.values.value.clone();
        subject["environment"] = self.plan.environment.clone().into();
        subject["profile"] = self.plan.profile.clone().into();
        if let Some(namespace) = &self.plan.namespace {
            subject["namespace"] = namespace.clone().into();
        }
    }

    /// The problem as a person finds it: the document and its origin, or the option and the place it was given.
    fn message(&self, problem: &Problem, policy: &str) -> String {
        let at = problem.pointer.as_str();
        let text = format!("{} ({policy})", problem.message);
        let mut tokens = pointer::tokens(at);
        let part = tokens.next().unwrap_or_default();
        let below = at.get(part.len() + 1..).unwrap_or_default();
        match part.as_str() {
            "collector" => match self.collector {
                Some(merged) => {
                    Document { name: "collector.yaml", merged }.message(below, &(text + &self.given(merged, below)))
                }
                None => format!("collector.yaml: {text}"),
            },
            "values" => {
                let text = text + &self.given(self.values, below) + &patched(self.values, below);
                Document { name: "values.yaml", merged: self.values }.message(below, &text)
            }
            "platform" => {
                let Resolved { given, set, .. } = &self.options.platform;
                options::message(given, set, below, &text, "render.collector", "render.collector")
            }
            "telemetry" | "lineage" => {
                let id = tokens.next().unwrap_or_default();
                let below = at.get(pointer::join(&format!("/{part}"), &id).len()..).unwrap_or_default();
                if id.is_empty() {
                    return format!("the {part} backends: {text}");
                }
                self.backend_message(&part, &id, below, &text)
                    .unwrap_or_else(|| self.transport_message(&id, below, &text))
            }
            "" => format!("the selection: {text}"),
            _ => format!("`render.{part}`: {text}"),
        }
    }

    /// The options that a user gave and that the template's line depends on.
    #[cold]
    #[inline(never)]
    pub(super) fn given(&self, merged: &Merged, at: &str) -> String {
        if merged.patches(at).next().is_some() {
            return String::new();
        }
        let backends = self.bundles.backends.iter().map(Backend::label).zip(&self.options.backends);
        let all: Vec<_> = backends.chain([("platform".to_owned(), &self.options.platform)]).collect();
        let mut given = Vec::new();
        for (fragment, node) in merged.passed(at) {
            let Some((_, resolved)) = all.iter().find(|(label, _)| *label == fragment.label) else { continue };
            for option in fragment.options(node) {
                let at = pointer::of_option(&option);
                let origin = resolved.given.get(&at).and_then(|_| resolved.given.origin(&at));
                given.extend(origin.map(|origin| format!("; option `{option}` is given by {}", origin.place)));
            }
        }
        given.concat()
    }

    /// What is wrong with a selection or its options.
    fn backend_message(&self, kind: &str, id: &str, below: &str, text: &str) -> Option<String> {
        let mut all = self.bundles.backends.iter().zip(&self.options.backends);
        let (backend, resolved) = all.find(|(one, _)| one.selection.kind.name() == kind && one.selection.id == id)?;
        if let Some(option) = below.strip_prefix("/options") {
            return Some(options::message(&resolved.given, &resolved.set, option, text, &backend.label(), kind));
        }
        if pointer::is_within(below, "/transport") {
            return None;
        }
        let what = pointer::dotted(below);
        let what = if what.is_empty() { what } else { format!("`{what}`: ") };
        let (place, label) = (&backend.selection.place, backend.label());
        // A flag names the backend too.
        let named = place.strip_prefix("--").is_some_and(|flag| flag.replacen(' ', "/", 1) == label);
        Some(if named { format!("{place}: {what}{text}") } else { format!("{place}: {label}: {what}{text}") })
    }

    /// What is wrong with a transport, where `openlineage.yml` holds it; nothing else is known of one that a patch added.
    fn transport_message(&self, id: &str, below: &str, text: &str) -> String {
        let Some(merged) = self.openlineage else { return format!("openlineage.yml: {text}") };
        let several = format!("/transport/transports/{}", transport_name(id));
        let at = if merged.value.pointer(&several).is_some() { several } else { "/transport".to_owned() };
        let below = below.strip_prefix("/transport").unwrap_or_default();
        Document { name: "openlineage.yml", merged }.message(&(at + below), text)
    }

    fn plain_http(&self, lineage: &Map<String, Value>, found: &Collect, warnings: &mut Vec<String>) {
        if self.plan.profile != "production" {
            return;
        }
        for (id, one) in lineage {
            let insecure =
                one.pointer("/transport/url").and_then(Value::as_str).is_some_and(|url| url.starts_with("http:"));
            if insecure && found.is_empty() {
                warnings
                    .push(format!("lineage/{id}: lineage events travel over plain HTTP, as `{PERMITS_HTTP}` permits"));
            }
        }
    }
}

/// The patch that touched something below what a template wrote.
#[cold]
#[inline(never)]
fn patched(merged: &Merged, at: &str) -> String {
    let origin = merged.origin(at);
    let last = merged.patches(at).last().filter(|patch| origin.as_deref() != Some(patch));
    last.map_or_else(String::new, |patch| format!("; {patch} changes it"))
}

/// Calls `visit` with every string below a value and its pointer.
fn strings(value: &Value, at: &str, visit: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(at, text),
        Value::Object(map) => map.iter().for_each(|(key, item)| strings(item, &pointer::join(at, key), visit)),
        _ => {}
    }
}

/// The name of a backend's transport in a `composite` one.
fn transport_name(id: &str) -> String {
    id.replace('-', "_")
}
