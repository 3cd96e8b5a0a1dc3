//! Stage `merge`: layers become one document, with the origin of every leaf; then the user's patches.
//!
//! How a list merges and in which order things stand is said by the document's schema (`x-merge`, `x-order`).

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::bundle::Bundles;
use crate::finding::Collect;
use crate::given::Given;
use crate::json::Json;
use crate::render::{Fragment, Rendered};
use crate::select::{Kind, Plan};
use crate::yaml::{Data, Node};
use crate::{embedded, pointer};

/// A document made of layers.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The document.
    pub value: Value,
    layers: Vec<Fragment>,
    /// What the user's patches touched, with the patch.
    patched: Vec<(String, String)>,
    /// What yielded to a bundle: pointer, index of the layer that won.
    yielded: Vec<(String, usize)>,
}

impl Merged {
    /// The layers, in the order of merging.
    #[must_use]
    pub fn layers(&self) -> &[Fragment] {
        &self.layers
    }

    /// Whether a patch of the user's touched the document.
    #[must_use]
    pub fn is_patched(&self) -> bool {
        !self.patched.is_empty()
    }

    /// What the layers' templates tell the user.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.layers.iter().flat_map(|layer| &layer.warnings)
    }

    /// Where the value at a pointer is from: the layer, the template and the rendered line, or the patch.
    #[must_use]
    pub fn origin(&self, at: &str) -> Option<String> {
        let under = |touched: &str| pointer::is_within(at, touched);
        if let Some((_, patch)) = self.patched.iter().rev().find(|(touched, _)| under(touched)) {
            return Some(patch.clone());
        }
        if let Some((_, layer)) = self.yielded.iter().find(|(touched, _)| under(touched)) {
            let layer = self.layers.get(*layer)?;
            return Some(layer.place(layer.doc.nearest(at)));
        }
        // A layer that knows the whole path; a list item is found by its value, since lists are merged.
        let whole = pointer::tokens(at).count();
        let known = self.layers.iter().find_map(|layer| {
            let (depth, node) = self.locate(&layer.doc, at);
            (depth == whole && whole > 0).then(|| layer.place(node))
        });
        // Else a patch below it made it.
        let below = |touched: &str| touched.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
        known.or_else(|| self.patched.iter().rev().find(|(touched, _)| below(touched)).map(|(_, patch)| patch.clone()))
    }

    /// The layers that give the value at a pointer, or a part of it, in the order of merging, each with its node.
    #[must_use]
    pub fn passed(&self, at: &str) -> Vec<(&Fragment, &Node)> {
        let whole = pointer::tokens(at).count();
        let located = self.layers.iter().map(|layer| (layer, self.locate(&layer.doc, at)));
        located.filter(|(_, (depth, _))| *depth == whole).map(|(layer, (_, node))| (layer, node)).collect()
    }

    /// The layer whose value stands where the platform's yielded.
    #[must_use]
    pub fn yielded_to(&self, at: &str) -> Option<&Fragment> {
        let (_, layer) = self.yielded.iter().find(|(touched, _)| pointer::is_within(at, touched))?;
        self.layers.get(*layer)
    }

    /// The patches that touched the value at a pointer, what holds it, or what it holds.
    pub fn patches(&self, at: &str) -> impl Iterator<Item = &str> {
        let near = move |touched: &str| pointer::is_within(at, touched) || pointer::is_within(touched, at);
        self.patched.iter().filter(move |(touched, _)| near(touched)).map(|(_, patch)| patch.as_str())
    }

    /// How deep a layer's document knows the path, and the node there.
    fn locate<'a>(&self, doc: &'a Node, at: &str) -> (usize, &'a Node) {
        let mut node = doc;
        let mut depth = 0;
        let mut merged = &self.value;
        for token in pointer::tokens(at) {
            let below = match merged {
                Value::Array(items) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => merged.get(&token),
            };
            let next = match &node.data {
                Data::Map(_) => node.get(&token),
                Data::List(items) => below.and_then(|below| items.iter().find(|item| item.to_value() == *below)),
                // What a template value holds stands where the template value does.
                Data::Scalar(value) => below.filter(|_| value.is_object() || value.is_array()).map(|_| node),
            };
            let Some(next) = next else { break };
            node = next;
            depth += 1;
            merged = below.unwrap_or(&Value::Null);
        }
        (depth, node)
    }
}

/// Merges layers, the first of which is the platform's: what stands under `defaults` in it yields to one bundle.
pub fn merge(layers: Vec<Fragment>, schema: &'static Json, defaults: &[String], document: &str) -> Result<Merged> {
    let mut merge =
        Merge { schema, defaults, document, layers: &layers, yielded: Vec::new(), found: Collect::default() };
    let mut value = Value::Object(Map::new());
    for (index, layer) in layers.iter().enumerate() {
        merge.node(&mut value, &layer.doc, Some(schema), "", index);
    }
    let Merge { yielded, found, .. } = merge;
    found.finish(())?;
    order(&mut value, schema, Some(schema));
    Ok(Merged { value, layers, patched: Vec::new(), yielded })
}

/// The pipelines of the backends that the platform completes: `<signal>` and `<signal>/full`, in the order of the signals.
#[must_use]
pub fn pipelines(rendered: &[Rendered]) -> Vec<String> {
    let has = |name: &str| {
        let docs = rendered.iter().filter_map(|one| one.collector.as_ref());
        docs.filter_map(|one| one.doc.get("service")?.get("pipelines")).any(|pipelines| pipelines.get(name).is_some())
    };
    let names =
        ["", "/full"].iter().flat_map(|suffix| ["traces", "metrics", "logs"].map(|signal| format!("{signal}{suffix}")));
    names.filter(|name| has(name)).collect()
}

/// The exporters of the backends with the settings that their types have, so that the platform can add what all of one
/// kind take.
pub fn exporters(rendered: &[Rendered], bundles: &Bundles) -> Result<Value> {
    let mut exporters = Vec::new();
    for doc in rendered.iter().filter_map(|one| one.collector.as_ref()).map(|one| &one.doc) {
        for (id, _) in doc.get("exporters").map(Node::entries).unwrap_or_default() {
            let kind = id.name.split('/').next().unwrap_or_default();
            exporters.push(json!({"id": id.name, "accepts": bundles.settings("exporters", kind)?}));
        }
    }
    Ok(Value::Array(exporters))
}

/// What nobody should believe to arrive: the signals that no selected backend takes.
#[must_use]
pub fn unreceived(bundles: &Bundles, pipelines: &[String]) -> Vec<String> {
    let taken = |signal: &str| pipelines.iter().any(|pipeline| pipeline.split('/').next() == Some(signal));
    let lost: Vec<&str> = ["traces", "metrics", "logs"].into_iter().filter(|signal| !taken(signal)).collect();
    if lost.is_empty() || !bundles.has(Kind::Telemetry) {
        return Vec::new();
    }
    vec![format!("no selected backend takes {}; jobs are told not to send them", lost.join(" and "))]
}

/// The collector config: the platform's layer under the backends' fragments, then the user's patch.
pub fn collector(platform: Option<Fragment>, rendered: &[Rendered], bundles: &Bundles, plan: &Plan) -> Result<Merged> {
    let schema = embedded::tree("collector")?;
    let fragments = rendered.iter().filter_map(|one| one.collector.clone());
    let layers: Vec<Fragment> = platform.into_iter().chain(fragments).collect();
    let mut merged = merge(layers, schema, &bundles.platform.meta.defaults.collector, "collector.yaml")?;
    owners(&merged)?;
    patch(&mut merged, &plan.patches, "collector", schema)?;
    Ok(merged)
}

/// Two backends may not define one component: maps merge deeply, and the sum would be neither's.
fn owners(merged: &Merged) -> Result<()> {
    let mut found = Collect::default();
    for (index, layer) in merged.layers.iter().enumerate().skip(1) {
        for section in ["receivers", "processors", "exporters", "extensions", "connectors"] {
            for (id, node) in layer.doc.get(section).map(Node::entries).unwrap_or_default() {
                let twin = merged.layers[1..index]
                    .iter()
                    .find_map(|other| other.doc.get(section)?.get(&id.name).map(|node| other.place(node)));
                if let Some(twin) = twin {
                    found.push(format!(
                        "collector.yaml: `{section}.{}` is defined by {twin} and by {}; name it with `component(…)`, which gives \
                         every selection its own ID",
                        id.name,
                        layer.place(node)
                    ));
                }
            }
        }
    }
    found.finish(())
}

/// The OpenLineage config with references in place: the one transport, or a `composite` of several; then the user's patch.
pub fn openlineage(rendered: &[Rendered], bundles: &Bundles, plan: &Plan) -> Result<Option<Merged>> {
    let backends = bundles.backends.iter().zip(rendered);
    let mut transports: Vec<(String, Fragment)> = backends
        .filter_map(|(backend, one)| Some((backend.selection.id.replace('-', "_"), one.openlineage.clone()?)))
        .collect();
    let several = transports.len() > 1;
    let value = match transports.as_slice() {
        [] => return refuse_patch(&plan.patches, "openlineage", "lineage").map(|()| None),
        [(_, one)] => json!({"transport": one.doc.to_value()}),
        all => {
            // A map can be completed by the client's variables, a list cannot; and one backend that is down must not
            // keep the events from the others (openlineage-python 1.54.0, composite transport).
            let map: Map<String, Value> = all.iter().map(|(name, one)| (name.clone(), one.doc.to_value())).collect();
            json!({"transport": {"type": "composite", "continue_on_failure": true, "transports": map}})
        }
    };
    for (name, fragment) in &mut transports {
        let mut path = vec!["transport"];
        if several {
            path.extend(["transports", name.as_str()]);
        }
        fragment.doc = path.iter().rev().fold(fragment.doc.clone(), |doc, key| {
            let key = crate::yaml::Key::new(doc.at, (*key).to_owned());
            doc.clone().with_entry((key, doc))
        });
    }
    let layers = transports.into_iter().map(|(_, fragment)| fragment).collect();
    let mut merged = Merged { value, layers, patched: Vec::new(), yielded: Vec::new() };
    let schema = embedded::tree("openlineage")?;
    patch(&mut merged, &plan.patches, "openlineage", schema)?;
    Ok(Some(merged))
}

struct Merge<'a> {
    schema: &'static Json,
    defaults: &'a [String],
    document: &'a str,
    layers: &'a [Fragment],
    yielded: Vec<(String, usize)>,
    found: Collect,
}

impl Merge<'_> {
    fn node(&mut self, into: &mut Value, node: &Node, schema: Option<&'static Json>, at: &str, layer: usize) {
        let value = match &node.data {
            Data::Map(entries) => {
                if let Value::Object(map) = into {
                    for (key, below) in entries {
                        let at = pointer::join(at, &key.name);
                        let schema = schema.and_then(|schema| schema.child(self.schema, &key.name));
                        match map.get_mut(&key.name) {
                            Some(value) => self.node(value, below, schema, &at, layer),
                            None => {
                                map.insert(key.name.clone(), below.to_value());
                            }
                        }
                    }
                    return;
                }
                node.to_value()
            }
            Data::List(items) => {
                let union = schema.and_then(|schema| schema.get("x-merge")?.as_str()) == Some("union");
                if let (Value::Array(list), true) = (&mut *into, union) {
                    for item in items.iter().map(Node::to_value) {
                        if !list.contains(&item) {
                            list.push(item);
                        }
                    }
                    return;
                }
                node.to_value()
            }
            // A template value may be a whole mapping: it merges like one that is written out.
            Data::Scalar(Value::Object(map)) if into.is_object() => {
                for (key, value) in map {
                    let entry = (crate::yaml::Key::new(node.at, key.clone()), node.with(value.clone()));
                    self.node(into, &node.with_entry(entry), schema, at, layer);
                }
                return;
            }
            Data::Scalar(value) => value.clone(),
        };
        if *into == value {
            return;
        }
        let winner = self.yielded.iter().find(|(pointer, _)| pointer == at).map(|(_, layer)| *layer);
        let default = self.defaults.iter().any(|default| pointer::is_within(at, default));
        if default && winner.is_none() && layer > 0 && self.is_platform_only(at, layer) {
            *into = value;
            self.yielded.push((at.to_owned(), layer));
            return;
        }
        let other = winner.unwrap_or_else(|| self.first_with(at, layer));
        let (ours, theirs) = (&self.layers[other], &self.layers[layer]);
        self.found.push(format!(
            "{}: `{}` gets two values, {into} from {} and {value} from {}; leave one out, or patch the result",
            self.document,
            pointer::dotted(at),
            ours.place(ours.doc.nearest(at)),
            theirs.place(node),
        ));
    }

    /// Whether no bundle before this layer has set the value.
    fn is_platform_only(&self, at: &str, layer: usize) -> bool {
        self.first_with(at, layer) == 0 && !(1..layer).any(|index| has(&self.layers[index].doc, at))
    }

    fn first_with(&self, at: &str, layer: usize) -> usize {
        (0..layer).find(|index| has(&self.layers[*index].doc, at)).unwrap_or_default()
    }
}

fn has(doc: &Node, at: &str) -> bool {
    doc.to_value().pointer(at).is_some()
}

/// Puts keys and component lists into the order that the schema names; what it does not name keeps its order, where
/// `*` stands or at the end.
pub fn order(value: &mut Value, root: &'static Json, schema: Option<&'static Json>) {
    let Some(schema) = schema else { return };
    let ranks = schema.get("x-order").map_or(&[][..], Json::items);
    let rank = |name: &str| {
        let of = |wanted: &str| ranks.iter().position(|rank| rank.as_str() == Some(wanted));
        of(name).or_else(|| of("*")).unwrap_or(ranks.len())
    };
    match value {
        Value::Object(map) => {
            if !ranks.is_empty() {
                let mut entries: Vec<_> = std::mem::take(map).into_iter().collect();
                entries.sort_by_key(|(key, _)| rank(key));
                *map = entries.into_iter().collect();
            }
            for (key, item) in map {
                order(item, root, schema.child(root, key));
            }
        }
        Value::Array(items) if !ranks.is_empty() => {
            // Components are ordered by type: what stands before the slash of an ID.
            items.sort_by_key(|item| {
                let id = item.as_str().unwrap_or_default();
                rank(id.split('/').next().unwrap_or(id))
            });
        }
        _ => {}
    }
}

/// Refuses a patch of a document that this selection does not have.
pub fn refuse_patch(patches: &Given, name: &str, kind: &str) -> Result<()> {
    let at = format!("/{name}");
    if patches.get(&at).is_none_or(Value::is_null) {
        return Ok(());
    }
    let place = patches.origin(&at).map_or_else(String::new, |origin| format!("{}: ", origin.place));
    anyhow::bail!(
        "{place}render.patches.{name}: there is nothing to patch, since no {kind} backend is selected; leave it out"
    )
}

/// Applies the user's patch to a document; `name` is the patch's key under `render.patches`.
pub fn patch(merged: &mut Merged, patches: &Given, name: &str, schema: &'static Json) -> Result<()> {
    let at = format!("/{name}");
    let Some(patch) = patches.get(&at).filter(|patch| !patch.is_null()) else { return Ok(()) };
    let given = patches.part(&at);
    let place = |pointer: &str| {
        given.origin(pointer).map_or_else(|| "render.patches".to_owned(), |origin| origin.place.clone())
    };
    let before = merged.value.clone();
    if let Some(operations) = patch.as_array() {
        for (index, operation) in operations.iter().enumerate() {
            let here = format!("{}: render.patches.{name}[{index}]", place(&format!("/{index}")));
            let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
            let result = serde_json::from_value::<json_patch::PatchOperation>(operation.clone())
                .map_err(anyhow::Error::from)
                .and_then(|one| Ok(json_patch::patch(&mut merged.value, &[one])?));
            if let Err(error) = result {
                let missing = missing_part(&merged.value, path);
                anyhow::bail!("{here}: `{}` of `{path}` does not apply: {}{missing}", op(operation), reason(&error));
            }
            merged.patched.push((path.trim_end_matches("/-").to_owned(), here));
        }
    } else {
        json_patch::merge(&mut merged.value, patch);
        leaves(patch, Some(&before), "", &mut |pointer| {
            merged.patched.push((pointer.to_owned(), format!("{}: render.patches.{name}", place(pointer))));
        });
    }
    keep_order(&before, &mut merged.value);
    order(&mut merged.value, schema, Some(schema));
    Ok(())
}

fn op(operation: &Value) -> &str {
    operation.get("op").and_then(Value::as_str).unwrap_or_default()
}

/// The library's reason without the path, which our message names.
fn reason(error: &anyhow::Error) -> String {
    match error.downcast_ref::<json_patch::PatchError>() {
        Some(error) => error.kind.to_string(),
        None => error.to_string(),
    }
}

/// Which part of a path is there, when the rest is not.
pub(crate) fn missing_part(document: &Value, path: &str) -> String {
    let mut known = String::new();
    for token in pointer::tokens(path) {
        let next = pointer::join(&known, &token);
        if document.pointer(&next).is_none() {
            let keys = document.pointer(&known).and_then(Value::as_object);
            let meant =
                crate::finding::did_you_mean(&token, keys.into_iter().flat_map(|map| map.keys().map(String::as_str)));
            let shown = if known.is_empty() { "/" } else { &known };
            return format!(" (`{shown}` is there, `{token}` is not{meant})");
        }
        known = next;
    }
    String::new()
}

/// What a merge patch sets: its leaves, and its mappings that take the place of something else.
fn leaves(value: &Value, before: Option<&Value>, at: &str, visit: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            if before.is_some_and(|before| !before.is_object()) {
                visit(at);
            }
            for (key, item) in map {
                leaves(item, before.and_then(|before| before.get(key)), &pointer::join(at, key), visit);
            }
        }
        _ => visit(at),
    }
}

/// Restores the order of keys that a patch left in place: the library's removal moves the last key into the gap.
fn keep_order(before: &Value, after: &mut Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let mut entries = Vec::with_capacity(after.len());
            for (key, old) in before {
                if let Some(mut value) = after.shift_remove(key) {
                    keep_order(old, &mut value);
                    entries.push((key.clone(), value));
                }
            }
            entries.extend(std::mem::take(after));
            *after = entries.into_iter().collect();
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            before.iter().zip(after).for_each(|(old, new)| keep_order(old, new));
        }
        _ => {}
    }
}
