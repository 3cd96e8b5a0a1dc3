//! Stage `bind`: what comes from the environment becomes what each consumer understands.
//!
//! A document says `${env:NAME}`, a bundle says which Secret holds it, a connection says what must be reachable. From these
//! come the collector's `env`, its mounted files, the client's nested variables and the egress rules, with no code per backend.

use std::net::IpAddr;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::bundle::{Bundle, Bundles, secret_name};
use crate::finding::{Collect, did_you_mean};
use crate::merge::Merged;
use crate::options::Options;
use crate::reference::{self, Part};
use crate::render::{Fragment, PLATFORM_MOUNT, Rendered, mount_path};
use crate::select::{Kind, Plan};
use crate::{cidr, embedded, pointer};

/// A key in a Secret, and who reads it.
#[derive(Clone, Debug)]
pub struct SecretUse {
    /// Variable, or path of a mounted file.
    pub what: String,
    /// Name of the Secret.
    pub name: String,
    /// Key in the Secret.
    pub key: String,
    /// `collector`, `workload` or `chart`.
    pub used_by: Vec<&'static str>,
}

/// What one consumer's containers get.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// Kubernetes `env` entries.
    pub env: Vec<Value>,
    /// Kubernetes `volumes`.
    pub volumes: Vec<Value>,
    /// Kubernetes `volumeMounts`.
    pub mounts: Vec<Value>,
    /// Egress rules of a Kubernetes NetworkPolicy.
    pub egress: Vec<Value>,
}

/// Everything that was bound.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The collector's config as the collector reads it; nothing without telemetry.
    pub collector_config: Option<Value>,
    /// What the collector's container gets.
    pub collector: Binding,
    /// The OpenLineage config with references in place; nothing without lineage.
    pub openlineage: Option<Value>,
    /// The same as the client's file holds it: no reference is left.
    pub client: Option<Value>,
    /// What the emitting jobs get.
    pub workload: Binding,
    /// Who else may come in at the pods of the release: `podSelector`, `ports`, the peers `from`, and whether it is a page
    /// for people.
    pub ingress: Vec<Value>,
    /// The Secrets that must exist.
    pub secrets: Vec<SecretUse>,
    /// The lineage namespace and how it came to be.
    pub namespace: Option<Value>,
    /// The variables that tell a job its environment and namespace.
    pub environment: Map<String, Value>,
    /// What a user should know.
    pub warnings: Vec<String>,
}

/// Binds the collector's config and the lineage transports.
///
/// `files` are those that the platform layer's fragment of the collector asks for, `jobs` is its list of variables for emitting
/// jobs.
pub fn bind(
    bundles: &Bundles,
    rendered: &[Rendered],
    options: &Options,
    plan: &Plan,
    [collector, openlineage]: [Option<&Merged>; 2],
    files: &[String],
    jobs: Option<&Fragment>,
) -> Result<Bound> {
    let mut found = Collect::default();
    let mut warnings = Vec::new();
    let mut declared = Declared::of(bundles, options, plan)?;

    let mut for_collector = Binding::default();
    if let Some(merged) = collector {
        for name in declared.used(&merged.value, &|at| merged.origin(at), "collector.yaml", "collector", &mut found) {
            for_collector.env.extend(declared.env_entry(&name));
        }
    }
    let mut for_workload = Binding::default();
    let (namespace, environment) =
        found.ok(lineage_namespace(bundles, options, plan, &mut warnings)).flatten().unwrap_or_default();
    let entries = jobs.map_or(Value::Null, |fragment| fragment.doc.to_value());
    for name in declared.used(&entries, &|_| None, "workload.env.yaml", "workload", &mut found) {
        for_workload.env.extend(declared.env_entry(&name));
    }
    for_workload.env.extend(
        entries
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| reference::map_strings(entry, &mut |text| reference::for_kubernetes(text))),
    );
    for (name, value) in &environment {
        if !for_workload.env.iter().any(|entry| entry.get("name").and_then(Value::as_str) == Some(name)) {
            let text = reference::for_kubernetes(value.as_str().unwrap_or_default());
            for_workload.env.push(json!({"name": name, "value": text}));
        }
    }
    let mut client = None;
    if let Some(merged) = openlineage {
        let used = declared.used(&merged.value, &|at| merged.origin(at), "openlineage.yml", "workload", &mut found);
        if found.is_empty() {
            for_workload.env.extend(used.iter().filter_map(|name| declared.env_entry(name)));
            let mut nested = Vec::new();
            client = found.ok(lower(&merged.value, &mut nested));
            for_workload.env.append(&mut nested);
        }
    }

    let asked = [files, jobs.map_or(&[], |fragment| &fragment.asked.files)];
    mounts(bundles, rendered, options, asked, [&mut for_collector, &mut for_workload], &mut declared, &mut found);
    let connections: Vec<&Fragment> = rendered.iter().filter_map(|one| one.connections.as_ref()).collect();
    for fragment in &connections {
        let origin = |at: &str| Some(fragment.place(fragment.doc.nearest(at)));
        declared.names(&fragment.doc.to_value(), &origin, &fragment.file, &mut found);
    }
    for (backend, one) in bundles.backends.iter().zip(rendered) {
        let Some(fragment) = &one.values else { continue };
        // Anywhere else a reference would stay text: `validate` says so, once patches are in.
        for at in backend.bundle.expanding() {
            let values = fragment.doc.to_value();
            let Some(value) = values.pointer(&at) else { continue };
            let origin = |below: &str| Some(fragment.place(fragment.doc.nearest(&(at.clone() + below))));
            for name in declared.names(value, &origin, "values.yaml", &mut found) {
                declared.mark(&name, "chart");
            }
        }
    }
    let mut ingress = Vec::new();
    if let Some(rules) = found.ok(network(&connections)) {
        for_collector.egress = rules.collector;
        for_workload.egress = rules.workload;
        ingress = rules.ingress;
    }
    let name = |entry: &Value| entry.get("name").and_then(Value::as_str).map(str::to_owned);
    for (index, entry) in for_workload.env.iter().enumerate() {
        if for_workload.env[..index].iter().any(|other| name(other) == name(entry)) {
            let name = name(entry).unwrap_or_default();
            found.push(format!("workload.env.yaml: the variable `{name}` is set twice; rename one in its bundle"));
        }
    }
    found.finish(Bound {
        collector_config: collector
            .map(|merged| reference::map_strings(&merged.value, &mut |text| reference::for_collector(text))),
        collector: for_collector,
        openlineage: openlineage.map(|merged| merged.value.clone()),
        client,
        workload: for_workload,
        ingress,
        secrets: declared.secrets.into_iter().filter(|one| !one.used_by.is_empty()).collect(),
        namespace,
        environment,
        warnings,
    })
}

/// Every variable that may be referred to, with the Secret that holds it.
#[derive(Default)]
struct Declared {
    secrets: Vec<SecretUse>,
}

impl Declared {
    fn of(bundles: &Bundles, options: &Options, plan: &Plan) -> Result<Self> {
        let mut declared = Declared::default();
        let mut found = Collect::default();
        for (name, variable) in bundles.platform.meta.variables.iter() {
            if let Some(secret) = secret_name(variable.secret.as_deref(), &options.platform.all, "") {
                declared.add(name, &secret, &variable.key, "render.collector", &mut found);
            }
        }
        for (backend, resolved) in bundles.backends.iter().zip(&options.backends) {
            for (name, variable) in backend.bundle.meta.variables.iter() {
                let key = backend.secret_key(name, variable).to_owned();
                let connection = &backend.selection.secret.name;
                if let Some(secret) = secret_name(variable.secret.as_deref(), &resolved.all, connection) {
                    declared.add(&backend.variable(name), &secret, &key, &backend.label(), &mut found);
                }
            }
        }
        for one in &plan.variables {
            declared.add(&one.variable, &one.name, &one.key, "render.variables", &mut found);
        }
        found.finish(declared)
    }

    fn add(&mut self, variable: &str, name: &str, key: &str, label: &str, found: &mut Collect) {
        match self.secrets.iter().find(|one| one.what == variable) {
            Some(other) if other.name != name || other.key != key => found.push(format!(
                "{label}: the variable `{variable}` would come from key `{key}` of Secret `{name}` and from key `{}` of Secret `{}`; \
                 give one selection a `name`, or both the same `connection_secret_ref`",
                other.key, other.name
            )),
            Some(_) => {}
            None => self.secrets.push(SecretUse {
                what: variable.to_owned(),
                name: name.to_owned(),
                key: key.to_owned(),
                used_by: Vec::new(),
            }),
        }
    }

    fn mark(&mut self, variable: &str, user: &'static str) {
        if let Some(one) = self.secrets.iter_mut().find(|one| one.what == variable)
            && !one.used_by.contains(&user)
        {
            one.used_by.push(user);
        }
    }

    /// The variables that a document refers to, in the order of their first use, and marked as used.
    fn used(
        &mut self,
        value: &Value,
        origin: &dyn Fn(&str) -> Option<String>,
        document: &str,
        user: &'static str,
        found: &mut Collect,
    ) -> Vec<String> {
        let names = self.names(value, origin, document, found);
        for name in &names {
            self.mark(name, user);
        }
        names
    }

    /// The variables that a document refers to, in the order of their first use; one that nobody declares is a finding.
    fn names(
        &self,
        value: &Value,
        origin: &dyn Fn(&str) -> Option<String>,
        document: &str,
        found: &mut Collect,
    ) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        reference::late_strings(value, "", &mut |at, text| {
            let place = || {
                let origin = origin(at).map_or_else(String::new, |origin| format!(" ({origin})"));
                format!("{document}: `{}`{origin}", pointer::dotted(at))
            };
            match reference::parts(text) {
                Err(error) => found.push(format!("{}: {error}", place())),
                Ok(parts) => {
                    for part in parts {
                        let Part::Variable(name) = part else { continue };
                        if !self.secrets.iter().any(|one| one.what == name) {
                            let meant = did_you_mean(name, self.secrets.iter().map(|one| one.what.as_str()));
                            found.push(format!(
                                "{}: nobody declares the variable `{name}`{meant}; declare it in the bundle's `variables`, \
                                 or in `render.variables`",
                                place()
                            ));
                        } else if !names.iter().any(|known| known == name) {
                            names.push(name.to_owned());
                        }
                    }
                }
            }
        });
        names
    }

    /// The `env` entry that gives a container a variable.
    fn env_entry(&self, variable: &str) -> Option<Value> {
        let one = self.secrets.iter().find(|one| one.what == variable)?;
        Some(json!({"name": one.what, "valueFrom": {"secretKeyRef": {"name": one.name, "key": one.key}}}))
    }
}

/// The lineage namespace on which all lineage backends agree, and the variables that carry it.
#[allow(clippy::type_complexity)] // A pair that is taken apart where it is returned.
fn lineage_namespace(
    bundles: &Bundles,
    options: &Options,
    plan: &Plan,
    warnings: &mut Vec<String>,
) -> Result<Option<(Option<Value>, Map<String, Value>)>> {
    let lineage: Vec<_> =
        bundles.backends.iter().zip(&options.backends).filter(|(one, _)| one.selection.kind == Kind::Lineage).collect();
    let mut environment = Map::new();
    for (backend, _) in &lineage {
        let strategy = backend.bundle.meta.namespace.as_ref();
        if let Some(name) = strategy.and_then(|strategy| strategy.environment_var.clone()) {
            environment.insert(name, Value::String(plan.environment.clone()));
        }
    }
    if lineage.is_empty() {
        return Ok(Some((None, environment)));
    }
    let mut chosen: Vec<(String, String, Value)> = Vec::new();
    for (backend, resolved) in &lineage {
        let label = backend.label();
        let Some(strategy) = &backend.bundle.meta.namespace else {
            if plan.lineage_namespace.is_none() {
                bail!("{}: a lineage bundle needs a `namespace` in its bundle.yaml", backend.bundle.folder);
            }
            continue;
        };
        let by_option = strategy
            .option
            .as_deref()
            .and_then(|option| resolved.all.pointer(&pointer::of_option(option))?.as_str().map(str::to_owned));
        let by_template = || strategy.template.as_ref().map(|text| text.replace("{environment}", &plan.environment));
        let Some(namespace) = plan.lineage_namespace.clone().or(by_option.clone()).or_else(by_template) else {
            let option = strategy.option.as_ref().map_or_else(String::new, |option| format!("`lineage.{option}` or "));
            bail!(
                "{label}: nothing says which lineage namespace its events carry; set {option}`render.lineage_namespace`"
            );
        };
        if strategy.strategy == "backend_managed" && by_option.is_none() && plan.lineage_namespace.is_none() {
            let option =
                strategy.option.as_ref().map_or_else(String::new, |option| format!("--set lineage.{option}=… or "));
            let about = strategy.description.as_deref().unwrap_or("The backend decides which namespaces it takes.");
            warnings.push(format!(
                "{label}: the lineage namespace is `{namespace}`. {about} Set it with {option}`render.lineage_namespace`"
            ));
        }
        let mut shown = Map::new();
        if plan.lineage_namespace.is_some() {
            shown.insert("strategy".into(), "custom".into());
        } else {
            shown.insert("strategy".into(), strategy.strategy.clone().into());
            for (key, value) in [
                ("template", &strategy.template),
                ("environment_var", &strategy.environment_var),
                ("description", &strategy.description),
            ] {
                if let Some(value) = value {
                    shown.insert(key.into(), value.clone().into());
                }
            }
        }
        shown.insert("namespace".into(), namespace.clone().into());
        chosen.push((label, namespace, Value::Object(shown)));
    }
    let all = chosen.iter().map(|(_, namespace, _)| namespace).chain(&plan.lineage_namespace);
    if let Some(late) = all.into_iter().find(|namespace| reference::is_late(namespace)) {
        bail!(
            "the lineage namespace `{late}` cannot be bound in the cluster: floe's compiler needs it too; write it out"
        );
    }
    let Some((first, namespace, shown)) = chosen.first().cloned() else {
        let namespace = plan.lineage_namespace.clone().unwrap_or_default();
        environment.insert("OPENLINEAGE_NAMESPACE".into(), namespace.clone().into());
        return Ok(Some((Some(json!({"strategy": "custom", "namespace": namespace})), environment)));
    };
    if let Some((other, theirs, _)) = chosen.iter().find(|(_, other, _)| *other != namespace) {
        bail!(
            "the lineage namespaces differ: {first} says `{namespace}`, {other} says `{theirs}`; a job has one namespace: \
             set `render.lineage_namespace`"
        );
    }
    environment.insert("OPENLINEAGE_NAMESPACE".into(), namespace.into());
    Ok(Some((Some(shown), environment)))
}

/// Takes every leaf that holds a reference out of the client's file and makes it a nested variable of the client.
///
/// openlineage-python 1.54.0 reads `OPENLINEAGE__A__B` as `{a: {b: …}}`: it lowercases the name, parses the value as JSON
/// where it can, merges maps deeply, and the file wins.
fn lower(config: &Value, env: &mut Vec<Value>) -> Result<Value> {
    let mut file = config.clone();
    let mut leaves = Vec::new();
    late_leaves(config, "", &mut leaves);
    let owners = leaves.iter().map(|leaf| owner(leaf)).collect::<Result<Vec<_>>>()?;
    let mut done: Vec<&String> = Vec::new();
    for leaf in &leaves {
        // The outermost owner on the way to a leaf carries it, since a parent's variable overwrites its children's.
        let Some(owner) = owners.iter().filter(|owner| pointer::is_within(leaf, owner)).min_by_key(|owner| owner.len())
        else {
            continue;
        };
        if done.contains(&owner) {
            continue;
        }
        let name = format!("OPENLINEAGE__{}", pointer::tokens(owner).collect::<Vec<_>>().join("__").to_uppercase());
        let below: Vec<&String> = leaves.iter().filter(|other| pointer::is_within(other, owner)).collect();
        let text = if below == [owner] {
            match config.pointer(owner) {
                Some(Value::String(text)) => scalar_text(text)?,
                Some(value) => json_text(value)?,
                None => continue,
            }
        } else {
            // A variable of a parent overwrites those of its children, so it carries all that is late below it.
            let mut late = Value::Object(Map::new());
            for leaf in below {
                if let Some(value) = config.pointer(leaf) {
                    put(&mut late, &leaf[owner.len()..], value.clone());
                }
            }
            json_text(&late)?
        };
        env.push(json!({"name": name, "value": text}));
        done.push(owner);
    }
    for leaf in &leaves {
        take(&mut file, leaf);
    }
    Ok(file)
}

/// Pointers to the leaves that hold a reference; a list with one inside is a leaf, since a variable cannot set an item.
fn late_leaves(value: &Value, at: &str, leaves: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, item) in map {
            late_leaves(item, &pointer::join(at, key), leaves);
        }
        return;
    }
    let mut late = false;
    reference::late_strings(value, "", &mut |_, _| late = true);
    if late {
        leaves.push(at.to_owned());
    }
}

/// The deepest part of a path that a variable's name can spell: lowercase snake case all the way.
fn owner(leaf: &str) -> Result<String> {
    let mut owner = String::new();
    for token in pointer::tokens(leaf) {
        let snake = token.starts_with(|c: char| c.is_ascii_lowercase())
            && !token.ends_with('_')
            && !token.contains("__")
            && token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !snake {
            break;
        }
        owner = pointer::join(&owner, &token);
    }
    if owner.is_empty() {
        bail!(
            "openlineage.yml: `{}` holds a reference, and no variable of the OpenLineage client can spell its path; \
             write the value itself, or a key in lowercase snake case",
            pointer::dotted(leaf)
        );
    }
    Ok(owner)
}

/// A string with references as the client reads it. It is written as a JSON string unless its literal beginning already
/// tells the client that it is not JSON.
fn scalar_text(text: &str) -> Result<String> {
    let plain = match reference::parts(text)?.first() {
        // No JSON value begins with a letter other than these.
        Some(Part::Text(text)) => text.starts_with(|c: char| c.is_ascii_alphabetic() && !"tfnNI".contains(c)),
        _ => false,
    };
    if plain { Ok(reference::for_kubernetes(text)) } else { json_text(&Value::String(text.to_owned())) }
}

/// JSON text with references expanded by Kubernetes.
fn json_text(value: &Value) -> Result<String> {
    Ok(reference::for_kubernetes(&serde_json::to_string(value)?))
}

fn put(into: &mut Value, at: &str, value: Value) {
    let mut place = into;
    for token in pointer::tokens(at) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(map) = place else { return };
        place = map.entry(token).or_insert(Value::Null);
    }
    *place = value;
}

fn take(from: &mut Value, at: &str) {
    let Some((parent, _)) = at.rsplit_once('/') else { return };
    let key = pointer::tokens(at).last().unwrap_or_default();
    if let Some(Value::Object(map)) = from.pointer_mut(parent) {
        map.shift_remove(&key);
    }
}

/// Mounts the files that the platform layer (`asked`, by the collector and by workloads) and the backends ask for, and marks the
/// Secrets that only charts read.
fn mounts(
    bundles: &Bundles,
    rendered: &[Rendered],
    options: &Options,
    asked: [&[String]; 2],
    [collector, workload]: [&mut Binding; 2],
    declared: &mut Declared,
    found: &mut Collect,
) {
    let volume = Volume {
        bundle: &bundles.platform,
        label: "render.collector",
        connection: "",
        name: "floe".to_owned(),
        path: PLATFORM_MOUNT.to_owned(),
    };
    let all = &options.platform.all;
    found.ok(volume.mount(asked[0], all, collector, declared, "collector"));
    found.ok(volume.mount(asked[1], all, workload, declared, "workload"));
    for ((backend, rendered), resolved) in bundles.backends.iter().zip(rendered).zip(&options.backends) {
        let id = &backend.selection.id;
        let volume = Volume {
            bundle: &backend.bundle,
            label: &backend.label(),
            connection: &backend.selection.secret.name,
            name: format!("floe-{id}"),
            path: mount_path(id),
        };
        let (binding, user) = match backend.selection.kind {
            Kind::Telemetry => (&mut *collector, "collector"),
            Kind::Lineage => (&mut *workload, "workload"),
        };
        found.ok(volume.mount(&rendered.files, &resolved.all, binding, declared, user));
        for name in &rendered.values_asked.secrets {
            declared.mark(&backend.variable(name), "chart");
        }
    }
}

/// The volume with the files of one backend, or of the platform layer.
struct Volume<'a> {
    bundle: &'a Bundle,
    /// Whose it is, for messages.
    label: &'a str,
    /// The Secret of files whose Secret no option names.
    connection: &'a str,
    name: String,
    path: String,
}

impl Volume<'_> {
    /// Mounts the files that templates asked for.
    fn mount(
        &self,
        asked: &[String],
        options: &Value,
        binding: &mut Binding,
        declared: &mut Declared,
        user: &'static str,
    ) -> Result<()> {
        let mut sources: Vec<(String, Vec<Value>)> = Vec::new();
        for (index, name) in asked.iter().enumerate() {
            let Some(file) = self.bundle.meta.files.get(name).filter(|_| !asked[..index].contains(name)) else {
                continue;
            };
            let Some(secret) = secret_name(file.secret.as_deref(), options, self.connection) else {
                bail!(
                    "{}: option `{}` names the Secret that holds `{}` ({}), and is not set",
                    self.label,
                    file.secret.as_deref().unwrap_or_default(),
                    file.key,
                    file.about
                );
            };
            let what = format!("{}/{}", self.path, file.path());
            match declared.secrets.iter_mut().find(|one| one.what == what && one.name == secret) {
                Some(one) => one.used_by.push(user),
                None => declared.secrets.push(SecretUse {
                    what,
                    name: secret.clone(),
                    key: file.key.clone(),
                    used_by: vec![user],
                }),
            }
            let item = json!({"key": file.key, "path": file.path()});
            match sources.iter_mut().find(|(name, _)| *name == secret) {
                Some((_, items)) => items.push(item),
                None => sources.push((secret, vec![item])),
            }
        }
        let source = match sources.as_slice() {
            [] => return Ok(()),
            [(secret, items)] => json!({"name": self.name, "secret": {"secretName": secret, "items": items}}),
            several => {
                let sources: Vec<Value> =
                    several.iter().map(|(secret, items)| json!({"secret": {"name": secret, "items": items}})).collect();
                json!({"name": self.name, "projected": {"sources": sources}})
            }
        };
        binding.volumes.push(source);
        binding.mounts.push(json!({"name": self.name, "mountPath": self.path, "readOnly": true}));
        Ok(())
    }
}

/// What network policies allow, from the connections that the bundles declare.
#[derive(Default)]
struct Network {
    /// Egress rules of the collector.
    collector: Vec<Value>,
    /// Egress rules of the workloads.
    workload: Vec<Value>,
    /// Who else may come in at pods of the release.
    ingress: Vec<Value>,
}

fn network(connections: &[&Fragment]) -> Result<Network> {
    let mut found = Collect::default();
    // A template whose every connection is left out renders nothing.
    let given: Vec<(&Fragment, Value)> = connections
        .iter()
        .map(|fragment| (*fragment, fragment.doc.to_value()))
        .filter(|(_, value)| !value.as_object().is_some_and(Map::is_empty))
        .collect();
    let values: Vec<&Value> = given.iter().map(|(_, value)| value).collect();
    let problems = embedded::problems("connections", &values)?;
    let mut rules = Network::default();
    for ((fragment, value), problems) in given.iter().zip(problems) {
        for problem in problems {
            let place = fragment.place(fragment.doc.nearest(&problem.pointer));
            found.push(format!("{place}: `{}`: {}", pointer::dotted(&problem.pointer), problem.message));
        }
        for one in value.as_array().into_iter().flatten() {
            let consumer = one.get("from").and_then(Value::as_str);
            let page = one.get("page") == Some(&Value::Bool(true));
            let admitted = one.get("admit").and_then(Value::as_array).filter(|peers| !peers.is_empty());
            if consumer.is_none() && !page && admitted.is_none() {
                continue;
            }
            let url = one.get("url").and_then(Value::as_str).unwrap_or_default();
            let Some(port) = port(url) else {
                found.push(format!(
                    "{}: the port of `{url}` cannot be known before deployment, and the network policy needs it; write it out",
                    fragment.label
                ));
                continue;
            };
            let ports = json!([{"port": port, "protocol": "TCP"}]);
            let egress = match consumer {
                Some("collector") => Some(&mut rules.collector),
                Some("workload") => Some(&mut rules.workload),
                _ => None,
            };
            if let Some(egress) = egress {
                for rule in egress_rules(url, one.get("pods"), &ports) {
                    if !egress.contains(&rule) {
                        egress.push(rule);
                    }
                }
            }
            if let Some(labels) = one.get("pods").filter(|_| page || admitted.is_some()) {
                let mut rule = Map::new();
                rule.insert("podSelector".into(), json!({"matchLabels": labels}));
                rule.insert("ports".into(), ports);
                if let Some(peers) = admitted {
                    rule.insert("from".into(), peers.iter().map(peer).collect());
                }
                if page {
                    rule.insert("userInterface".into(), true.into());
                }
                let rule = Value::Object(rule);
                if !rules.ingress.contains(&rule) {
                    rules.ingress.push(rule);
                }
            }
        }
    }
    found.finish(rules)
}

/// The egress rules to one address: to pods of the release, to an address, or to what only deployment knows.
fn egress_rules(url: &str, pods: Option<&Value>, ports: &Value) -> Vec<Value> {
    let to = |peer: Value| json!({"to": [peer], "ports": ports});
    if let Some(labels) = pods {
        return vec![to(json!({"podSelector": {"matchLabels": labels}}))];
    }
    if let Some(address) = address(url) {
        return vec![to(json!({"ipBlock": {"cidr": cidr::single(address)}}))];
    }
    let mut rules = vec![json!({"ports": ports})];
    // Some network plugins match pods by selectors only, others a Service without pods by address only.
    rules.extend(pods_of_service(url).map(to));
    rules
}

/// The pods that a URL reaches whose host is the name of a Service, as a peer: all of its namespace.
fn pods_of_service(url: &str) -> Option<Value> {
    let host = host(url)?;
    if reference::is_late(url) || host.is_empty() {
        return None;
    }
    let labels: Vec<&str> = host.split('.').collect();
    match labels.iter().rposition(|label| *label == "svc") {
        _ if labels.len() == 1 => Some(json!({"podSelector": {}})),
        Some(at) if at >= 2 => Some(namespace(labels[at - 1])),
        _ => None,
    }
}

fn namespace(name: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}})
}

/// A peer as a bundle writes it, `{namespace: NAME}` or `{cidr: CIDR}`, as a NetworkPolicy has it.
fn peer(given: &Value) -> Value {
    match given.get("namespace").and_then(Value::as_str) {
        Some(name) => namespace(name),
        None => json!({"ipBlock": {"cidr": given.get("cidr")}}),
    }
}

/// The address of a URL whose host is one, such as a metadata server.
fn address(url: &str) -> Option<IpAddr> {
    host(url)?.parse().ok()
}

/// The host of a URL.
fn host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?']).next()?;
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    }
}

/// The port of a URL, or the one that its scheme implies.
fn port(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let after = authority.rsplit(']').next()?;
    // A reference holds a colon of its own.
    let plain = after.rsplit('}').next()?;
    match plain.rsplit_once(':') {
        Some((_, port)) => port.parse().ok(),
        None if authority.starts_with("${env:")
            && authority.ends_with('}')
            && scheme != "https"
            && scheme != "http" =>
        {
            None
        }
        None => match scheme {
            "https" | "grpcs" => Some(443),
            "http" => Some(80),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(config: &Value) -> (Value, Vec<(String, String)>) {
        let mut env = Vec::new();
        let file = lower(config, &mut env).unwrap();
        let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap().to_owned();
        (file, env.iter().map(|entry| (text(entry, "name"), text(entry, "value"))).collect())
    }

    #[test]
    fn lowers_late_leaves_to_the_clients_nested_variables() {
        let (file, env) = lowered(&json!({"transport": {
            "type": "http", "url": "https://${env:HOST}", "auth": {"type": "api_key", "api_key": "${env:KEY}"}, "endpoint": "a$(b"
        }}));
        assert_eq!(file, json!({"transport": {"type": "http", "auth": {"type": "api_key"}, "endpoint": "a$(b"}}));
        assert_eq!(
            env,
            [
                ("OPENLINEAGE__TRANSPORT__URL".into(), "https://$(HOST)".into()),
                ("OPENLINEAGE__TRANSPORT__AUTH__API_KEY".into(), "\"$(KEY)\"".into()),
            ]
        );
    }

    #[test]
    fn carries_paths_that_no_variable_spells_in_their_parents_json() {
        let (file, env) = lowered(&json!({"transport": {"type": "composite", "transports": {
            "a": {"type": "x", "domainId": "${env:D}", "region": "${env:R}"},
            "c": {"auth": {"api_key": "${env:K}"}, "domainId": "${env:D}"},
            "b": {"type": "http", "custom_headers": {"X-Key": "k ${env:K} $(z) \"q\""}, "servers": ["${env:S}", 1]},
        }}}));
        assert_eq!(file.pointer("/transport/transports/a"), Some(&json!({"type": "x"})));
        assert_eq!(
            env,
            [
                ("OPENLINEAGE__TRANSPORT__TRANSPORTS__A".into(), r#"{"domainId":"$(D)","region":"$(R)"}"#.into()),
                (
                    "OPENLINEAGE__TRANSPORT__TRANSPORTS__C".into(),
                    r#"{"auth":{"api_key":"$(K)"},"domainId":"$(D)"}"#.into()
                ),
                (
                    "OPENLINEAGE__TRANSPORT__TRANSPORTS__B__CUSTOM_HEADERS".into(),
                    r#"{"X-Key":"k $(K) $$(z) \"q\""}"#.into()
                ),
                ("OPENLINEAGE__TRANSPORT__TRANSPORTS__B__SERVERS".into(), r#"["$(S)",1]"#.into()),
            ]
        );
    }

    #[test]
    fn quotes_what_the_client_could_take_for_json() {
        for (text, expected) in [
            ("${env:A}", "\"$(A)\""),
            ("1${env:A}", "\"1$(A)\""),
            ("true${env:A}", "\"true$(A)\""),
            ("Bearer ${env:A}", "Bearer $(A)"),
        ] {
            assert_eq!(scalar_text(text).unwrap(), expected);
        }
    }

    #[test]
    fn refuses_a_path_that_no_variable_can_spell() {
        assert!(lower(&json!({"Facets": "${env:A}"}), &mut Vec::new()).is_err());
    }

    #[test]
    fn knows_the_address_of_a_url_that_has_one() {
        assert_eq!(address("http://169.254.169.254:80/x").map(|ip| ip.to_string()), Some("169.254.169.254".into()));
        assert_eq!(address("grpc://[fd00::1]:4317").map(|ip| ip.to_string()), Some("fd00::1".into()));
        assert_eq!(address("https://example.com"), None);
    }

    #[test]
    fn knows_the_namespace_of_a_service() {
        for (url, expected) in [
            ("grpc://gateway.floe.svc:4317", Some(namespace("floe"))),
            ("http://gateway.floe.svc.cluster.local", Some(namespace("floe"))),
            ("tcp://kafka-0.kafka.data.svc:9093", Some(namespace("data"))),
            ("grpc://gateway:4317", Some(json!({"podSelector": {}}))),
            ("https://svc.example.com", None),
            ("https://floe.svc.example.com", None),
            ("https://gateway.floe.svc.example.com", Some(namespace("floe"))),
            ("https://otlp.example.com", None),
            ("https://${env:HOST}", None),
        ] {
            assert_eq!(pods_of_service(url), expected, "{url}");
        }
    }

    #[test]
    fn knows_the_port_of_a_url() {
        for (url, expected) in [
            ("https://a", Some(443)),
            ("http://a/b", Some(80)),
            ("https://${env:HOST}", Some(443)),
            ("https://${env:HOST}:8443/x", Some(8443)),
            ("grpc://backend.floe.svc:4317", Some(4317)),
            ("grpc://[::1]:4317", Some(4317)),
            ("grpc://${env:ENDPOINT}", None),
            ("tcp://a", None),
        ] {
            assert_eq!(port(url), expected, "{url}");
        }
    }
}
