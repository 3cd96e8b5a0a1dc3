//! Stage `validate`: four questions about the final documents, each answered completely before failing. Does every
//! component match its schema, does every reference resolve, does the profile's policy hold, and does a literal stand
//! where a secret belongs?

mod insecure;
mod policy;
mod secrets;
mod target;
mod values;

use std::borrow::Cow;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::bundle::Bundles;
use crate::charts::Dependency;
use crate::finding::{Collect, backticked, did_you_mean};
use crate::json::Json;
use crate::merge::Merged;
use crate::options::Options;
use crate::policy::Policy;
use crate::render::Rendered;
use crate::schema::{self, Schema};
use crate::select::Plan;
use crate::target::SECTIONS;
use crate::{embedded, plain, pointer, reference};
use secrets::Secrets;

/// What is wrong with an ID that is none.
const NOT_AN_ID: &str = "an ID is `type` or `type/name`, where a name has no blanks and none of $ + < = > ^ ` | ~";

/// A document with the way to tell where its values are from.
struct Document<'a> {
    name: &'a str,
    merged: &'a Merged,
}

impl Document<'_> {
    /// `name: `path`: what is wrong (where it is from)`.
    fn message(&self, at: &str, text: &str) -> String {
        self.message_from(at, text, self.merged.origin(at))
    }

    /// The same without the line that the value stands on, which may hold a secret.
    fn discreet(&self, at: &str, text: &str) -> String {
        let origin = self.merged.origin(at);
        self.message_from(at, text, origin.map(|origin| origin.split(": `").next().unwrap_or_default().to_owned()))
    }

    fn message_from(&self, at: &str, text: &str, origin: Option<String>) -> String {
        let origin = origin.map_or_else(String::new, |origin| format!(" ({origin})"));
        if at.is_empty() {
            return format!("{}: {text}{origin}", self.name);
        }
        format!("{}: `{}`: {text}{origin}", self.name, pointer::dotted(at))
    }
}

/// The documents as they will be written.
#[derive(Debug)]
pub struct Finals<'a> {
    /// `collector.yaml`, where telemetry is selected.
    pub collector: Option<&'a Merged>,
    /// `openlineage.yml`, where lineage is selected.
    pub openlineage: Option<&'a Merged>,
    /// `values.yaml`.
    pub values: &'a Merged,
}

/// What was checked.
#[derive(Debug)]
pub struct Checked {
    /// What a user should know.
    pub warnings: Vec<String>,
    /// What was asked about the documents, but for what is plainly right.
    pub schema: Option<Schema<'static>>,
}

/// Validates the final documents.
pub fn validate(
    bundles: &Bundles,
    charts: &[Dependency],
    rendered: &[Rendered],
    options: &Options,
    plan: &Plan,
    finals: &Finals<'_>,
    policies: &[Policy],
) -> Result<Checked> {
    let &Finals { collector, openlineage, values } = finals;
    let mut found = Collect::default();
    let mut warnings = Vec::new();
    let documents: Vec<Document<'_>> =
        [("collector.yaml", collector), ("openlineage.yml", openlineage), ("values.yaml", Some(values))]
            .into_iter()
            .filter_map(|(name, merged)| Some(Document { name, merged: merged? }))
            .collect();
    // Suggestions need the names of all keys, which only a second look at documents that are wrong has to know.
    let asked = policy::Subject { bundles, options, plan, collector, openlineage, values };
    let mut first = Collect::default();
    let secrets = Secrets::new(bundles, rendered);
    let schema = schemas(&documents, bundles, charts, &secrets, false, &mut first, &mut warnings)?;
    if !first.is_empty() {
        schemas(&documents, bundles, charts, &secrets, true, &mut found, &mut warnings)?;
    }
    for document in &documents {
        secrets.replaced(document, &mut found);
    }
    secrets.in_connections(&mut found);
    checked_exporters(rendered, &mut found);
    for document in documents.iter().filter(|document| document.name == "values.yaml") {
        values::references(document, bundles, options, &mut found);
        secrets.variables(document, &mut found);
    }
    if let Some(collector) = documents.iter().find(|document| document.name == "collector.yaml") {
        references(collector, &mut found)?;
        target::check(collector, bundles, plan.target, &|at| asked.given(collector.merged, at), &mut found)?;
        supported_signals(bundles, rendered, &mut found);
    }
    // A policy speaks of documents that are right otherwise.
    if found.is_empty() {
        asked.check(policies, &mut found, &mut warnings)?;
    }
    found.finish(Checked { warnings, schema })
}

/// Checks every document by its schema, and in the collector's every component's body by the schema of its type. All are
/// parts of one schema, since compiling one large schema costs less than compiling twenty small ones. What is plainly right is
/// left out, unless a second look asks for `names`, those of all keys.
fn schemas(
    documents: &[Document<'_>],
    bundles: &Bundles,
    charts: &[Dependency],
    secrets: &Secrets<'_>,
    names: bool,
    found: &mut Collect,
    warnings: &mut Vec<String>,
) -> Result<Option<Schema<'static>>> {
    let mut properties = Map::new();
    let mut subject = Map::new();
    for document in documents {
        let whole = &document.merged.value;
        // Of the values, only what may be asked is a subject.
        let (schema, part) = match document.name {
            "collector.yaml" => (collector_schema(document, bundles, names, found, warnings)?, None),
            "openlineage.yml" => {
                let tree = embedded::tree("openlineage")?;
                if !names && plain::is_right(tree, whole) {
                    continue;
                }
                (schema::relevant(tree, &[whole], names), None)
            }
            _ => {
                let (schema, part) = values::schema(document, bundles, charts, names, found, warnings)?;
                (schema, Some(part))
            }
        };
        if schema.as_object().is_some_and(Map::is_empty) {
            continue;
        }
        let value = part.unwrap_or_else(|| whole.clone());
        annotations(document, &schema, &value, secrets, found);
        properties.insert(document.name.to_owned(), schema);
        subject.insert(document.name.to_owned(), value);
    }
    if properties.is_empty() {
        return Ok(None);
    }
    let schema = Schema::compile(Cow::Owned(json!({"properties": properties})), "the schema of the documents")?;
    for problem in schema.problems(&Value::Object(subject)) {
        let name = pointer::tokens(&problem.pointer).next().unwrap_or_default();
        if let Some(document) = documents.iter().find(|document| document.name == name) {
            found.push(document.message(&problem.pointer[name.len() + 1..], &problem.message));
        }
    }
    Ok(Some(schema))
}

/// The schema of the collector config with the schema of every component in its place.
fn collector_schema(
    document: &Document<'_>,
    bundles: &Bundles,
    names: bool,
    found: &mut Collect,
    warnings: &mut Vec<String>,
) -> Result<Value> {
    let value = &document.merged.value;
    let frame = embedded::tree("collector")?;
    let right = |tree: &'static Json, value: &Value| !names && plain::is_right(tree, value);
    let mut whole =
        if right(frame, value) { Map::new() } else { mapping(Some(schema::relevant(frame, &[value], names))) };
    let mut sections = mapping(whole.remove("properties"));
    for section in SECTIONS {
        let Some(bodies) = value.get(section).and_then(Value::as_object) else { continue };
        let mut components = Map::new();
        for (id, body) in bodies {
            let kind = id.split('/').next().unwrap_or(id);
            let at = pointer::join(&format!("/{section}"), id);
            if is_component_type(kind) && !is_component_id(id) {
                found.push(document.message(&at, NOT_AN_ID));
            }
            if embedded::component(section, kind).is_some_and(|tree| !body.is_null() && right(tree, body)) {
                continue;
            }
            let Some(mut schema) = component_schema(section, kind, body, bundles, names)? else {
                found.push(document.message(&at, &unknown_component(section, kind)));
                continue;
            };
            if let Some(reason) = schema.get("x-unchecked").and_then(Value::as_str) {
                let warning = format!("collector.yaml: `{section}.{id}` is not checked: {reason}");
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            if body.is_null() {
                schema = json!({"not": {"type": "null"}, "x-message": "has no body; write `{}` for the defaults"});
            }
            components.insert(id.clone(), schema);
        }
        let mut schema = mapping(sections.remove(section));
        if !components.is_empty() {
            schema.insert("properties".to_owned(), Value::Object(components));
        }
        if !schema.is_empty() {
            sections.insert(section.to_owned(), Value::Object(schema));
        }
    }
    if !sections.is_empty() {
        whole.insert("properties".to_owned(), Value::Object(sections));
    }
    Ok(Value::Object(whole))
}

/// The mapping that a part of a schema is.
fn mapping(schema: Option<Value>) -> Map<String, Value> {
    match schema {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// The schema of a component type: ours, or one that a selected bundle brings.
fn component_schema(section: &str, kind: &str, body: &Value, bundles: &Bundles, names: bool) -> Result<Option<Value>> {
    if !is_component_type(kind) {
        return Ok(None);
    }
    if let Some(tree) = embedded::component(section, kind) {
        return Ok(Some(schema::relevant(tree, &[body], names)));
    }
    for backend in &bundles.backends {
        let file = format!("schemas/{section}/{kind}.json");
        if let Some(text) = backend.bundle.json(&file)? {
            // Compiled here to name the file when it does not; its references would not hold inside the whole.
            Schema::compile(Cow::Borrowed(&text), &format!("{}/{file}", backend.bundle.folder))?;
            return Ok(Some(schema::standalone(&text, &format!("floe:{}/{section}/{kind}", backend.label()))));
        }
    }
    Ok(None)
}

fn is_component_type(kind: &str) -> bool {
    kind.starts_with(|c: char| c.is_ascii_alphabetic()) && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether an ID is `type` or `type/name`, as the collector reads it (component.ID of 0.158.0): a name has no symbols, and
/// at most 1024 characters.
fn is_component_id(id: &str) -> bool {
    let (kind, name) = id.split_once('/').map_or((id, None), |(kind, name)| (kind, Some(name)));
    let fits = |b: u8| b.is_ascii_graphic() && !b"$+<=>^`|~".contains(&b);
    is_component_type(kind) && name.is_none_or(|name| (1..=1024).contains(&name.len()) && name.bytes().all(fits))
}

fn unknown_component(section: &str, kind: &str) -> String {
    let one = section.trim_end_matches('s');
    let known = embedded::schemas_below(&format!("collector/{section}"));
    let gone = embedded::schema_tree("collector/gone").and_then(|gone| gone.get(section)?.get(kind)?.as_str());
    if !is_component_type(kind) {
        return format!("`{kind}` is no type of a component: types have letters, digits and underscores");
    }
    match gone {
        Some(reason) => format!("the {one} `{kind}` is not in the collector: {reason}"),
        None => format!(
            "there is no schema for the {one} `{kind}`{}; a bundle may bring one as schemas/{section}/{kind}.json",
            did_you_mean(kind, known)
        ),
    }
}

/// Checks what a document's schema says beyond JSON Schema: where secrets and references belong, and which of two
/// numbers may not be the greater.
fn annotations(document: &Document<'_>, schema: &Value, value: &Value, secrets: &Secrets<'_>, found: &mut Collect) {
    let listed = document.merged.value.pointer("/service/extensions").and_then(Value::as_array);
    schema::annotated(schema, value, &mut |schema, value, at| {
        let late = matches!(value, Value::String(text) if reference::is_late(text) || text.is_empty());
        if let (Some(mark), Value::String(_), false) = (schema.get("x-secret"), value, late) {
            let key = pointer::tokens(at).last().unwrap_or_default();
            if mark == &Value::Bool(true) || secrets.is_named_by(&key) {
                found.push(secrets.message(document, at));
            }
        }
        if let (Some(_), Value::String(id), false) = (schema.get("x-reference"), value, late)
            && !listed.is_some_and(|listed| listed.iter().any(|one| one == id.as_str()))
        {
            let known = listed.into_iter().flatten().filter_map(Value::as_str);
            let meant = did_you_mean(id, known);
            found.push(
                document.message(at, &format!("the extension `{id}` is not listed in `service.extensions`{meant}")),
            );
        }
        for pair in schema.get("x-ascending").and_then(Value::as_array).into_iter().flatten() {
            if let Some(text) = schema::descending(pair, value, |name| {
                let schema = schema.get("properties")?.get(name)?;
                let types = schema.get("type").and_then(Value::as_array);
                let duration = types.is_some_and(|types| types.iter().any(|one| one == "string"));
                Some(schema::Bound { default: schema.get("default").cloned(), duration })
            }) {
                found.push(document.message(at, &text));
            }
        }
    });
}

/// Checks that everything that is named is defined, and everything that is defined is named.
fn references(document: &Document<'_>, found: &mut Collect) -> Result<()> {
    let config = &document.merged.value;
    let ids = |section: &str| -> Vec<&str> {
        config.get(section).and_then(Value::as_object).into_iter().flat_map(Map::keys).map(String::as_str).collect()
    };
    let signals = embedded::tree("collector/signals")?;
    let connectors = ids("connectors");
    let mut used: Vec<(&str, String)> = Vec::new();
    // Per connector: the signals of the pipelines that feed it, and of those that it feeds.
    let mut sides: Map<String, Value> = Map::new();
    let pipelines = config.pointer("/service/pipelines").and_then(Value::as_object);
    for (pipeline, body) in pipelines.into_iter().flatten() {
        let signal = pipeline.split('/').next().unwrap_or(pipeline);
        if !pipeline.ends_with('/') && is_component_type(signal) && !is_component_id(pipeline) {
            found.push(document.message(&pointer::join("/service/pipelines", pipeline), NOT_AN_ID));
        }
        for section in ["receivers", "processors", "exporters"] {
            let at = format!("{}/{section}", pointer::join("/service/pipelines", pipeline));
            let list = body.get(section).and_then(Value::as_array).cloned().unwrap_or_default();
            if list.is_empty() && section != "processors" {
                let at = pointer::join("/service/pipelines", pipeline);
                found.push(
                    document.message(&at, &format!("the pipeline has no {section}; nothing would pass through it")),
                );
            }
            for (index, id) in list.iter().enumerate() {
                let Some(id) = id.as_str() else { continue };
                let here = pointer::join(&at, &index.to_string());
                let defined = ids(section);
                if defined.contains(&id) {
                    used.push((section, id.to_owned()));
                    supports(document, signals, section, id, signal, &here, found);
                } else if section != "processors" && connectors.contains(&id) {
                    used.push((if section == "receivers" { "feeds" } else { "fed" }, id.to_owned()));
                    let side = sides.entry(id.to_owned()).or_insert_with(|| json!({"receivers": [], "exporters": []}));
                    if let Some(list) = side.get_mut(section).and_then(Value::as_array_mut) {
                        list.push(json!([signal, here]));
                    }
                } else {
                    let meant = did_you_mean(id, defined.iter().chain(&connectors).copied());
                    let one = section.trim_end_matches('s');
                    found.push(
                        document.message(&here, &format!("the {one} `{id}` is not defined under `{section}`{meant}")),
                    );
                }
            }
        }
    }
    let listed = config.pointer("/service/extensions").and_then(Value::as_array).cloned().unwrap_or_default();
    for (index, id) in listed.iter().filter_map(Value::as_str).enumerate() {
        let at = format!("/service/extensions/{index}");
        if ids("extensions").contains(&id) {
            used.push(("extensions", id.to_owned()));
        } else {
            let meant = did_you_mean(id, ids("extensions"));
            found
                .push(document.message(&at, &format!("the extension `{id}` is not defined under `extensions`{meant}")));
        }
    }
    let is_used = |section: &str, id: &str| used.iter().any(|(in_section, name)| *in_section == section && name == id);
    for section in ["receivers", "processors", "exporters", "extensions"] {
        for id in ids(section).into_iter().filter(|id| !is_used(section, id)) {
            let place = if section == "extensions" { "`service.extensions`" } else { "any pipeline" };
            let at = pointer::join(&format!("/{section}"), id);
            found.push(
                document.message(
                    &at,
                    &format!("nothing uses it: it is not listed in {place}; list it there or leave it out"),
                ),
            );
        }
    }
    for id in connectors {
        let at = pointer::join("/connectors", id);
        for (side, text) in [("fed", "no pipeline exports to it"), ("feeds", "no pipeline receives from it")] {
            if !is_used(side, id) {
                found.push(document.message(&at, &format!("a connector joins two pipelines, and {text}")));
            }
        }
        connects(document, signals, id, sides.get(id), found);
    }
    circles(document, signals, &sides, found);
    Ok(())
}

/// Reports a connector through which a pipeline would be fed what it exports.
fn circles(document: &Document<'_>, signals: &'static Json, sides: &Map<String, Value>, found: &mut Collect) {
    let pipeline_of = |at: &str| pointer::tokens(at).nth(2).unwrap_or_default();
    // (pipeline that exports, pipeline that receives, connector, where it is exported to)
    let mut joints: Vec<(String, String, &str, &str)> = Vec::new();
    for (id, side) in sides {
        let kind = id.split('/').next().unwrap_or(id);
        let table = signals.get("connectors").and_then(|table| table.get(kind));
        let entries = |name: &str| side.get(name).and_then(Value::as_array).into_iter().flatten();
        for fed in entries("exporters") {
            let (from, at) = (fed[0].as_str().unwrap_or_default(), fed[1].as_str().unwrap_or_default());
            for feeds in entries("receivers") {
                let to = feeds[0].as_str().unwrap_or_default();
                let joined = table.is_none_or(|table| {
                    table.get(from).is_some_and(|list| list.items().iter().any(|one| one.as_str() == Some(to)))
                });
                if joined {
                    let receiving = pipeline_of(feeds[1].as_str().unwrap_or_default());
                    joints.push((pipeline_of(at), receiving, id, at));
                }
            }
        }
    }
    for (start, next, id, at) in &joints {
        let mut reached = vec![next];
        let mut index = 0;
        while let Some(here) = reached.get(index).copied() {
            for (from, to, ..) in &joints {
                if from == here && !reached.contains(&to) {
                    reached.push(to);
                }
            }
            index += 1;
        }
        if reached.contains(&start) {
            let text = format!(
                "the connector `{id}` leads back to the pipeline `{start}`, which would be fed what it exports"
            );
            found.push(document.message(at, &text));
        }
    }
}

/// Reports a component in the pipeline of a signal that it does not take.
fn supports(
    document: &Document<'_>,
    signals: &'static Json,
    section: &str,
    id: &str,
    signal: &str,
    at: &str,
    found: &mut Collect,
) {
    let kind = id.split('/').next().unwrap_or(id);
    let Some(takes) = signals.get(section).and_then(|table| table.get(kind)).map(Json::items) else { return };
    if !takes.iter().any(|one| one.as_str() == Some(signal)) {
        let takes = backticked(takes.iter().filter_map(Json::as_str));
        let one = section.trim_end_matches('s');
        found.push(document.message(at, &format!("the {one} `{id}` takes {takes}, not `{signal}`")));
    }
}

/// Reports a connector between signals that it does not connect.
fn connects(document: &Document<'_>, signals: &'static Json, id: &str, sides: Option<&Value>, found: &mut Collect) {
    let kind = id.split('/').next().unwrap_or(id);
    let (Some(table), Some(sides)) = (signals.get("connectors").and_then(|table| table.get(kind)), sides) else {
        return;
    };
    let entries = |side: &str| sides.get(side).and_then(Value::as_array).cloned().unwrap_or_default();
    for fed in entries("exporters") {
        let (from, at) = (fed[0].as_str().unwrap_or_default(), fed[1].as_str().unwrap_or_default());
        let to: Vec<&str> = table.get(from).map_or(&[][..], Json::items).iter().filter_map(Json::as_str).collect();
        if to.is_empty() {
            let known = backticked(table.entries().iter().map(|(name, _)| *name));
            found.push(document.message(at, &format!("the connector `{id}` takes {known}, not `{from}`")));
        } else if !entries("receivers").iter().any(|feeds| to.contains(&feeds[0].as_str().unwrap_or_default())) {
            let to = backticked(to);
            found.push(document.message(
                at,
                &format!("the connector `{id}` turns `{from}` into {to}, and no such pipeline receives from it"),
            ));
        }
    }
    for feeds in entries("receivers") {
        let (to, at) = (feeds[0].as_str().unwrap_or_default(), feeds[1].as_str().unwrap_or_default());
        let from = entries("exporters").iter().any(|fed| {
            let from = fed[0].as_str().unwrap_or_default();
            table.get(from).is_some_and(|list| list.items().iter().any(|one| one.as_str() == Some(to)))
        });
        if !from && !entries("exporters").is_empty() {
            found.push(document.message(at, &format!("the connector `{id}` makes no `{to}` of what it is fed")));
        }
    }
}

/// A bundle's pipelines are of the signals that it says it takes.
fn supported_signals(bundles: &Bundles, rendered: &[Rendered], found: &mut Collect) {
    for (backend, one) in bundles.backends.iter().zip(rendered) {
        let Some(fragment) = &one.collector else { continue };
        let pipelines = fragment.doc.get("service").and_then(|service| service.get("pipelines"));
        for (name, node) in pipelines.map(crate::yaml::Node::entries).unwrap_or_default() {
            let signal = name.name.split('/').next().unwrap_or_default();
            if !backend.bundle.meta.signals.iter().any(|known| known == signal) {
                found.push(format!(
                    "{}: a pipeline for `{signal}`, which {}/bundle.yaml does not list under `signals`",
                    fragment.place(node),
                    backend.bundle.folder
                ));
            }
        }
    }
}

/// A check names an exporter that the bundle itself writes; only a patch may take it away.
fn checked_exporters(rendered: &[Rendered], found: &mut Collect) {
    for one in rendered {
        let Some(connections) = &one.connections else { continue };
        for node in connections.doc.items() {
            let Some(exporter) = node.get("check").and_then(|check| check.get("exporter")) else { continue };
            let written = one.collector.as_ref().and_then(|fragment| fragment.doc.get("exporters"));
            let ids =
                || written.map(crate::yaml::Node::entries).unwrap_or_default().iter().map(|(id, _)| id.name.as_str());
            if let Some(id) = exporter.as_str().filter(|id| !ids().any(|known| known == *id)) {
                found.push(format!(
                    "{}: the check names the exporter `{id}`, which the bundle's collector.yaml.j2 does not have{}",
                    connections.place(exporter),
                    did_you_mean(id, ids())
                ));
            }
        }
    }
}
