//! Stage `select`: which bundles, which environment, which options. Reads the manifests; knows no bundle.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use semver::VersionReq;
use serde_json::{Map, Value};

use crate::cli::Request;
use crate::finding::{Collect, backticked, did_you_mean, nearest};
use crate::given::{Given, Origin};
use crate::schema::Late;
use crate::set::{Assignment, Flag};
use crate::target::Target;
use crate::yaml::{self, Doubt, Key, Node};
use crate::{embedded, file, pointer, reference, set};

/// The two kinds of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Where traces, metrics and logs go, by way of the collector.
    Telemetry,
    /// Where lineage events go, straight from the jobs.
    Lineage,
}

impl Kind {
    /// Both kinds, in the order of their output.
    pub const ALL: [Kind; 2] = [Kind::Telemetry, Kind::Lineage];

    /// The name of the kind: a flag, a folder of bundles.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Telemetry => "telemetry",
            Kind::Lineage => "lineage",
        }
    }

    /// The key of the kind under a manifest's `plugins`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Kind::Telemetry => "telemetry_backend",
            Kind::Lineage => "lineage_backend",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One backend that a user selected.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Telemetry or lineage.
    pub kind: Kind,
    /// The bundle's name.
    pub bundle: String,
    /// What this selection is called, unique within its kind: its `name`, else the bundle's.
    pub id: String,
    /// The version that the bundle must have.
    pub version: Option<VersionReq>,
    /// The options that were given.
    pub options: Given,
    /// The connection Secret: its name, and other keys for some variables.
    pub secret: SecretRef,
    /// Where the selection was made.
    pub place: String,
}

/// The Secret that holds a selection's variables.
#[derive(Clone, Debug)]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: String,
    /// Keys that differ from the bundle's, by variable.
    pub keys: Map<String, Value>,
    /// Both as they were given.
    pub given: Given,
}

/// A variable of the user's own, for patches and options.
#[derive(Clone, Debug)]
pub struct UserVariable {
    /// Name of the variable.
    pub variable: String,
    /// Secret that holds it.
    pub name: String,
    /// Key in that Secret.
    pub key: String,
}

/// What to render.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The backends, telemetry first, each kind in the order given.
    pub selections: Vec<Selection>,
    /// Name of the environment.
    pub environment: String,
    /// `development` or `production`.
    pub profile: String,
    /// The collector version to write for.
    pub target: Target,
    /// Kubernetes namespace of the release.
    pub namespace: Option<String>,
    /// Where the jobs run, `{}` or `{"namespaces": […]}`.
    pub workloads: Value,
    /// The lineage namespace that overrides the bundles' strategies.
    pub lineage_namespace: Option<String>,
    /// Options of the platform layer.
    pub collector: Given,
    /// Patches, by output.
    pub patches: Given,
    /// Variables that the user declares.
    pub variables: Vec<UserVariable>,
    /// What a user should know.
    pub warnings: Vec<String>,
}

/// Environments whose profile is `development`; every other name gets `production`.
const DEVELOPMENT: [&str; 5] = ["dev", "development", "local", "test", "demo"];
/// The deprecated key under a manifest's `plugins`.
pub(crate) const LEGACY: &str = "observability";

/// Reads the manifests and flags of a request.
pub fn select(request: &Request) -> Result<Plan> {
    let mut layers = Layers {
        // A merge patch removes with null.
        render: Given::with_nulls_below("/patches"),
        telemetry: Vec::new(),
        lineage: Vec::new(),
        legacy: None,
    };
    let mut found = Collect::default();
    for path in &request.manifests {
        if let Some(manifest) = found.ok(read_manifest(path)) {
            layers.add(&manifest);
        }
    }
    let assignments = found.ok(assignments(request)).unwrap_or_default();
    let mut layers = found.finish(layers)?;
    let mut found = Collect::default();

    let mut render = std::mem::take(&mut layers.render);
    for assignment in assignments.iter().filter(|one| one.pointer.starts_with("/render/")) {
        apply(&mut render, "/render", assignment);
    }
    for (flag, key, value) in [
        ("--environment", "/environment", &request.environment),
        ("--profile", "/profile", &request.profile),
        ("--collector-version", "/collector_version", &request.collector_version),
        ("--namespace", "/namespace", &request.namespace),
    ] {
        if let Some(value) = value {
            render.set(key, Value::String(value.clone()), Origin { place: flag.to_owned(), text: None });
        }
    }
    render.drop_nulls();
    found.ok(check_render(&mut render));

    let mut warnings = Vec::new();
    layers.legacy(&mut warnings)?;
    let mut selections = Vec::new();
    for kind in Kind::ALL {
        let flags = if kind == Kind::Telemetry { &request.telemetry } else { &request.lineage };
        let given = std::mem::take(layers.backends(kind));
        found.ok(found_all(kind, with_flags(kind, given, flags), &mut selections));
    }
    if selections.is_empty() && found.is_empty() {
        bail!(nothing_selected(request));
    }
    if found.is_empty() {
        found.ok(set_options(&assignments, &mut selections));
    }
    found.finish(())?;

    let environment = render.text("/environment").unwrap_or("development").to_owned();
    let profile = match render.text("/profile") {
        Some(profile) => profile.to_owned(),
        None if DEVELOPMENT.contains(&environment.as_str()) => "development".to_owned(),
        None => "production".to_owned(),
    };
    let target = match render.text("/collector_version") {
        None => Target::newest()?,
        Some(text) => Target::named(text).with_context(|| {
            let place = render.origin("/collector_version").map_or("render", |origin| &origin.place);
            format!("{place}: `render.collector_version`")
        })?,
    };
    Ok(Plan {
        target,
        selections,
        profile,
        environment,
        namespace: render.text("/namespace").map(str::to_owned),
        workloads: render.get("/workloads").cloned().unwrap_or_else(|| Value::Object(Map::new())),
        lineage_namespace: render.text("/lineage_namespace").map(str::to_owned),
        collector: render.part("/collector"),
        patches: render.part("/patches"),
        variables: user_variables(&render),
        warnings,
    })
}

fn nothing_selected(request: &Request) -> String {
    let source = match request.manifests.first() {
        Some(path) => format!("{}: no backend is selected", path.display()),
        None => "no backend is selected".to_owned(),
    };
    format!(
        "{source}: set `plugins.{}` or `plugins.{}` in a manifest, or start with the reference pair: \
         floe-render {}",
        Kind::Telemetry.key(),
        Kind::Lineage.key(),
        reference_pair()
    )
}

/// The flags of the pair that the seeds name as the way to start; the pair is data beside the bundles.
fn reference_pair() -> String {
    let pairs = legacy_pairs().unwrap_or_default();
    let Some((_, pair)) = pairs.iter().find(|(_, pair)| pair.get("reference") == Some(&Value::Bool(true))) else {
        return "--telemetry NAME --lineage NAME".to_owned();
    };
    Kind::ALL
        .iter()
        .filter_map(|kind| Some(format!("--{kind} {}", pair.get(kind.name())?.as_str()?)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The pairs that the legacy key stood for.
fn legacy_pairs() -> Result<Map<String, Value>> {
    let path = "templates/observability.json";
    let bytes = embedded::file(path).with_context(|| format!("{path}: not built in"))?;
    Ok(serde_json::from_slice(bytes)?)
}

/// The telemetry and the lineage backend that a name stood for under the legacy key.
pub(crate) fn legacy_pair(name: &str, place: &str) -> Result<(String, String)> {
    let pairs = legacy_pairs()?;
    let Some(pair) = pairs.get(name) else {
        let known = backticked(pairs.keys().map(String::as_str));
        let meant = did_you_mean(name, pairs.keys().map(String::as_str));
        bail!("{place}: `plugins.{LEGACY}: {name}` stood for no pair of backends{meant} It is one of {known}");
    };
    let [telemetry, lineage] =
        Kind::ALL.map(|kind| pair.get(kind.name()).and_then(Value::as_str).unwrap_or_default().to_owned());
    Ok((telemetry, lineage))
}

/// A manifest's sections that are ours.
struct Manifest {
    file: String,
    root: Node,
}

fn read_manifest(path: &Path) -> Result<Manifest> {
    let file = path.display().to_string();
    let text = file::text(path, yaml::MAX_BYTES, &file)?;
    let root = yaml::read(&text, &file)?;
    let mut found = Collect::default();
    if root.entries().is_empty() && root.to_value() != Value::Object(Map::new()) {
        bail!("{file}:{}:{}: a manifest is a mapping", root.at.line, root.at.column);
    }
    misspelled(&root, &["plugins", "render"], &file, "", &mut found);
    let plugins = root.get("plugins");
    if let Some(plugins) = plugins {
        misspelled(plugins, &[Kind::Telemetry.key(), Kind::Lineage.key(), LEGACY], &file, "plugins.", &mut found);
    }
    let ours = Kind::ALL.map(Kind::key).into_iter().chain([LEGACY]).filter_map(|key| plugins?.get(key));
    let mut clear = true;
    for node in ours.chain(root.get("render")) {
        node.doubts(&mut |at, doubt| {
            clear = false;
            found.push(format!("{file}:{}:{}: {}", at.line, at.column, explain(doubt)));
        });
    }
    // What is in doubt would only be told a second time by the schema.
    if clear {
        let mut given = Given::with_nulls_below("/render/patches");
        given.layer(&Given::from_node(&root, &file));
        given.drop_nulls();
        let value = given.value();
        for problem in embedded::schema("manifest", &[value])?.with_late(Late::Never).problems(value) {
            let (key, node) = (pointer::dotted(&problem.pointer), root.nearest(&problem.pointer));
            let at = key_position(&root, &problem.pointer).unwrap_or(node.at);
            let key = if key.is_empty() { "the manifest".to_owned() } else { format!("`{key}`") };
            found.push(format!("{file}:{}:{}: {key}: {}", at.line, at.column, problem.message));
        }
    }
    found.finish(Manifest { file, root })
}

/// The position of the key that a pointer ends in.
fn key_position(root: &Node, at: &str) -> Option<yaml::Position> {
    let (parent, _) = at.rsplit_once('/')?;
    let key = pointer::tokens(at).last()?;
    root.nearest(parent).entries().iter().find(|(name, _)| name.name == key).map(|(name, _)| name.at)
}

/// What to tell about a scalar that readers disagree about.
#[must_use]
pub fn explain(doubt: &Doubt) -> String {
    match doubt {
        Doubt::Scalar { text, yaml_1_1, yaml_1_2 } => format!(
            "`{text}` is {yaml_1_1} to YAML 1.1 readers and {yaml_1_2} to YAML 1.2 readers; \
             write \"{text}\" for the string, or the value you mean in full"
        ),
        Doubt::Tag(tag) => format!("the tag `{tag}` is read by some tools and dropped by others; leave it out"),
    }
}

/// Reports keys that are nearly ours: a manifest is shared, so any other key is somebody else's.
fn misspelled(node: &Node, ours: &[&str], file: &str, under: &str, found: &mut Collect) {
    for (Key { at, name, .. }, _) in node.entries() {
        if ours.contains(&name.as_str()) {
            continue;
        }
        let folded = name.replace('-', "_");
        let close = nearest(&folded, ours.iter().copied()).filter(|candidate| {
            strsim::damerau_levenshtein(&folded, candidate) <= 2
                || (candidate.contains('_') && candidate.starts_with(&folded))
        });
        if let Some(candidate) = close {
            found.push(format!(
                "{file}:{}:{}: `{under}{name}` is no key of ours; did you mean `{under}{candidate}`?",
                at.line, at.column
            ));
        }
    }
}

/// The manifests laid over each other, our sections only.
struct Layers {
    render: Given,
    telemetry: Vec<Given>,
    lineage: Vec<Given>,
    legacy: Option<(String, Given)>,
}

impl Layers {
    fn backends(&mut self, kind: Kind) -> &mut Vec<Given> {
        match kind {
            Kind::Telemetry => &mut self.telemetry,
            Kind::Lineage => &mut self.lineage,
        }
    }

    fn add(&mut self, Manifest { file, root }: &Manifest) {
        if let Some(node) = root.get("render") {
            self.render.layer(&Given::from_node(node, file));
        }
        let Some(plugins) = root.get("plugins") else { return };
        for kind in Kind::ALL {
            let Some(node) = plugins.get(kind.key()) else { continue };
            let over = Given::from_node(node, file);
            let list = self.backends(kind);
            match over.value() {
                Value::Null => list.clear(),
                Value::Array(items) => {
                    *list = (0..items.len()).map(|index| normal(over.part(&format!("/{index}")))).collect();
                }
                _ => {
                    let over = normal(over);
                    match list.as_mut_slice() {
                        // Another type is another backend: what was configured before was not meant for it.
                        [one] if over.text("/type").is_none_or(|name| one.text("/type") == Some(name)) => {
                            one.layer(&over);
                        }
                        _ => *list = vec![over],
                    }
                }
            }
        }
        if let Some(node) = plugins.get(LEGACY) {
            let place = format!("{file}:{}:{}", node.at.line, node.at.column);
            self.legacy = (!node.is_null()).then(|| (place, normal(Given::from_node(node, file))));
        }
    }

    /// Turns the legacy key into the two selections that it stood for.
    fn legacy(&mut self, warnings: &mut Vec<String>) -> Result<()> {
        let Some((place, given)) = self.legacy.take() else { return Ok(()) };
        if !self.telemetry.is_empty() || !self.lineage.is_empty() {
            bail!(
                "{place}: `plugins.{LEGACY}` is the deprecated form of `plugins.{}` and `plugins.{}`, and both forms are set; \
                 remove `plugins.{LEGACY}`",
                Kind::Telemetry.key(),
                Kind::Lineage.key()
            );
        }
        let (telemetry, lineage) = legacy_pair(given.text("/type").unwrap_or_default(), &place)?;
        let mut lines = String::new();
        for (kind, name) in Kind::ALL.into_iter().zip([telemetry, lineage]) {
            lines.extend(["\n    ", kind.key(), ": ", &name]);
            let mut one = Given::default();
            one.set("/type", Value::String(name), Origin { place: place.clone(), text: None });
            self.backends(kind).push(one);
        }
        warnings.push(format!(
            "{place}: `plugins.{LEGACY}` is deprecated and goes in 3.0.0; write instead\n  plugins:{lines}"
        ));
        Ok(())
    }
}

/// A selection in its long form: a bare name is `{type: name}`.
fn normal(given: Given) -> Given {
    let Some(name) = given.value().as_str().map(str::to_owned) else { return given };
    let mut long = Given::default();
    if let Some(origin) = given.origin("") {
        long.set("/type", Value::String(name), origin.clone());
    }
    long
}

/// The manifest's selections of a kind, or those that the flags name, which keep what the manifest says of them.
fn with_flags(kind: Kind, given: Vec<Given>, flags: &[String]) -> Vec<Given> {
    if flags.is_empty() {
        return given;
    }
    let mut chosen = Vec::new();
    for flag in flags {
        let id = |one: &Given| one.text("/name").or(one.text("/type")) == Some(flag);
        let mut kept: Vec<Given> = given.iter().filter(|one| id(one)).cloned().collect();
        if kept.is_empty() {
            kept = given.iter().filter(|one| one.text("/type") == Some(flag)).cloned().collect();
        }
        if kept.is_empty() {
            let mut one = Given::default();
            one.set("/type", Value::String(flag.clone()), Origin { place: format!("--{kind} {flag}"), text: None });
            kept.push(one);
        }
        chosen.append(&mut kept);
    }
    chosen
}

/// Turns the selections of one kind into their typed form and checks their ids.
fn found_all(kind: Kind, given: Vec<Given>, selections: &mut Vec<Selection>) -> Result<()> {
    let mut found = Collect::default();
    let first = selections.len();
    for mut one in given {
        one.drop_nulls();
        let place = one.origin("/type").or(one.origin("")).map_or_else(String::new, |origin| origin.place.clone());
        let Some(bundle) = one.text("/type").map(str::to_owned) else {
            found
                .push(format!("{place}: the selection under `plugins.{}` has no `type`; name the backend", kind.key()));
            continue;
        };
        let id = one.text("/name").unwrap_or(&bundle).to_owned();
        if !is_id(&bundle) || !is_id(&id) {
            let wrong = if is_id(&bundle) { &id } else { &bundle };
            found.push(format!(
                "{place}: `{wrong}` cannot name a backend: use a-z, 0-9 and single dashes, at most 40 characters"
            ));
            continue;
        }
        if let Some(other) = selections[first..].iter().find(|other| other.id == id) {
            found.push(format!(
                "{place}: two {kind} backends are called `{id}` (the other: {}); give one a `name` of its own",
                other.place
            ));
            continue;
        }
        let version = match one.text("/version") {
            None => None,
            Some(text) => match VersionReq::parse(text) {
                Ok(version) => Some(version),
                Err(error) => {
                    let place = one.origin("/version").map_or(place.as_str(), |origin| &origin.place);
                    found.push(format!(
                        "{place}: `version: {text}` is no version requirement ({error}); write for example `^0.1`"
                    ));
                    continue;
                }
            },
        };
        let secret = one.get("/connection_secret_ref");
        let secret = SecretRef {
            name: secret
                .and_then(|secret| secret.as_str().or_else(|| secret.get("name")?.as_str()))
                .map_or_else(|| format!("floe-{id}"), str::to_owned),
            keys: secret.and_then(|secret| secret.get("keys")?.as_object()).cloned().unwrap_or_default(),
            given: secret.map_or_else(Given::default, |_| one.part("/connection_secret_ref")),
        };
        selections.push(Selection { kind, bundle, id, version, options: one.part("/config"), secret, place });
    }
    found.finish(())
}

/// Whether a name can be part of component IDs, variable names and paths.
#[must_use]
pub fn is_id(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn assignments(request: &Request) -> Result<Vec<Assignment>> {
    let mut found = Collect::default();
    let mut assignments = Vec::new();
    for (flag, texts) in
        [(Flag::SetJson, &request.set_json), (Flag::Set, &request.set), (Flag::SetString, &request.set_string)]
    {
        for text in texts {
            for one in found.ok(set::parse(flag, text)).into_iter().flatten() {
                let root = pointer::tokens(&one.pointer).next().unwrap_or_default();
                let ours = matches!(root.as_str(), "telemetry" | "lineage" | "render");
                if ours && one.pointer.len() == root.len() + 1 {
                    let hint = if root == "render" { "" } else { "; to select a backend, write --" };
                    let flag = if root == "render" { "" } else { root.as_str() };
                    found.push(format!("{}: name what to set after a dot, as in `{root}.key`{hint}{flag}", one.place));
                } else if ours {
                    assignments.push(one);
                } else {
                    found.push(format!(
                        "{}: begin with `telemetry.`, `lineage.` or `render.`{}",
                        one.place,
                        did_you_mean(&root, ["telemetry", "lineage", "render"])
                    ));
                }
            }
        }
    }
    found.finish(assignments)
}

fn apply(given: &mut Given, prefix: &str, one: &Assignment) {
    let at = &one.pointer[prefix.len()..];
    let lists: Vec<&str> = one.lists.iter().filter_map(|list| list.strip_prefix(prefix)).collect();
    given.set_in_lists(at, &lists, one.value.clone(), Origin { place: one.place.clone(), text: one.text.clone() });
}

/// Gives each `--set telemetry.…` and `--set lineage.…` to the selection that it means.
fn set_options(assignments: &[Assignment], selections: &mut [Selection]) -> Result<()> {
    let mut found = Collect::default();
    for one in assignments.iter().filter(|one| !one.pointer.starts_with("/render/")) {
        let mut tokens = pointer::tokens(&one.pointer);
        let kind = tokens.next().unwrap_or_default();
        let second = tokens.next().unwrap_or_default();
        let named = tokens.next().is_some();
        let of_kind: Vec<usize> =
            (0..selections.len()).filter(|index| selections[*index].kind.name() == kind).collect();
        let by_id = of_kind.iter().copied().find(|index| named && selections[*index].id == second);
        match (by_id, of_kind.as_slice()) {
            (Some(index), _) => {
                let prefix = pointer::join(&format!("/{kind}"), &second);
                apply(&mut selections[index].options, &prefix, one);
            }
            (None, [index]) => apply(&mut selections[*index].options, &format!("/{kind}"), one),
            (None, []) => found.push(format!("{}: no {kind} backend is selected", one.place)),
            (None, _) => {
                let ids = of_kind.iter().map(|index| selections[*index].id.as_str());
                found.push(format!(
                    "{}: several {kind} backends are selected; write `{kind}.<id>.…` with one of {}",
                    one.place,
                    backticked(ids)
                ));
            }
        }
    }
    found.finish(())
}

/// Checks `render` once all layers and flags are in.
fn check_render(render: &mut Given) -> Result<()> {
    let mut schema = embedded::schema_text("manifest")?;
    let texts: Vec<(String, String)> = render.set_texts().map(|(at, text)| (at.to_owned(), text.to_owned())).collect();
    for (at, text) in texts {
        let below = crate::schema::subschema(&schema, &format!("/render{at}"));
        if let Some(value) = below.and_then(|below| set::typed_by_schema(&text, below)) {
            let origin = render.origin(&at).cloned().unwrap_or(Origin { place: String::new(), text: None });
            render.set(&at, value, origin);
        }
    }
    if render.value().is_null() {
        return Ok(());
    }
    schema = Value::Object(Map::from_iter([
        ("$ref".to_owned(), Value::String("#/$defs/render".to_owned())),
        ("$defs".to_owned(), schema.get_mut("$defs").map(Value::take).unwrap_or_default()),
    ]));
    let schema = crate::schema::Schema::compile(std::borrow::Cow::Owned(schema), "schemas/manifest.schema.json")?
        .with_late(Late::Never);
    let mut found = Collect::default();
    for problem in schema.problems(render.value()) {
        let place = render.origin(&problem.pointer).map_or("render", |origin| &origin.place);
        found.push(format!("{place}: `render.{}`: {}", pointer::dotted(&problem.pointer), problem.message));
    }
    let namespaces = render.get("/workloads/namespaces").and_then(Value::as_array);
    if namespaces.is_some_and(|all| !all.is_empty()) && render.text("/namespace").is_none() {
        let place = render.origin("/workloads/namespaces").map_or("render", |origin| &origin.place);
        found.push(format!(
            "{place}: `render.workloads.namespaces`: jobs in other namespaces reach addresses only that hold the \
             release's: set `render.namespace`, or -n"
        ));
    }
    found.finish(())
}

fn user_variables(render: &Given) -> Vec<UserVariable> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let variables = render.get("/variables").and_then(Value::as_object);
    variables
        .into_iter()
        .flatten()
        .filter(|(variable, _)| reference::is_name(variable))
        .map(|(variable, value)| UserVariable {
            variable: variable.clone(),
            name: text(value, "name"),
            key: text(value, "key"),
        })
        .collect()
}
