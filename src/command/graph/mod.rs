//! `graph`: what flows where, from the jobs through the collector to the backends, lineage beside it.

mod svg;
mod text;

use std::io::Write;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use crate::cli::Request;
use crate::merge::Merged;
use crate::select::Kind;
use crate::{Stages, pointer, write};

/// Draws what flows where: jobs, receivers, pipelines, exporters, backends, and lineage beside them
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  floe-render graph -f manifest.yaml > graph.mmd\n  \
        floe-render graph -f manifest.yaml --format svg > graph.svg")]
pub struct Graph {
    #[command(flatten)]
    request: Request,

    /// The language of the drawing
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For Markdown.
    #[default]
    Mermaid,
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
}

impl Graph {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let drawing = Drawing::of(&crate::run(&self.request)?.stages);
        let text = match self.format {
            Format::Mermaid => text::mermaid(&drawing),
            Format::Dot => text::dot(&drawing),
            Format::Svg => svg::svg(&drawing),
        };
        write::print_text(&text, out)?;
        Ok(0)
    }
}

/// What a node stands for, which decides its place and colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The jobs that emit.
    Jobs,
    /// A part of the collector.
    Collector,
    /// A transport of the OpenLineage client.
    Transport,
    /// A backend for telemetry.
    Telemetry,
    /// A backend for lineage.
    Lineage,
}

/// A node: its lines, the first of which is its name.
struct Node {
    what: What,
    lines: Vec<String>,
}

/// Nodes, and edges between them by index.
#[derive(Default)]
struct Drawing {
    nodes: Vec<Node>,
    edges: Vec<(usize, usize)>,
}

impl Drawing {
    fn of(stages: &Stages) -> Self {
        let mut drawing = Drawing::default();
        let jobs = drawing.node(What::Jobs, vec!["jobs".to_owned()]);
        if let Some(collector) = &stages.collector {
            drawing.collector(stages, collector, jobs);
        }
        if let Some(openlineage) = &stages.openlineage {
            drawing.lineage(stages, &openlineage.value, jobs);
        }
        drawing
    }

    fn node(&mut self, what: What, lines: Vec<String>) -> usize {
        let twin = self.nodes.iter().position(|node| node.what == what && node.lines == lines);
        twin.unwrap_or_else(|| {
            self.nodes.push(Node { what, lines });
            self.nodes.len() - 1
        })
    }

    fn edge(&mut self, from: usize, to: usize) {
        if !self.edges.contains(&(from, to)) {
            self.edges.push((from, to));
        }
    }

    fn collector(&mut self, stages: &Stages, merged: &Merged, jobs: usize) {
        let config = &merged.value;
        let pipelines = config.pointer("/service/pipelines").and_then(Value::as_object).cloned().unwrap_or_default();
        let list = |body: &Value, section: &str| -> Vec<String> {
            let items = body.get(section).and_then(Value::as_array);
            items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let is = |section: &str, id: &str| {
            config.get(section).and_then(Value::as_object).is_some_and(|map| map.contains_key(id))
        };
        let inner: Vec<(&str, &str)> = between(merged).collect();
        for (name, body) in &pipelines {
            let mut lines = vec![name.clone()];
            lines.extend(list(body, "processors"));
            let pipeline = self.node(What::Collector, lines);
            for id in list(body, "receivers") {
                let receiver = self.node(What::Collector, vec![id.clone()]);
                if is("receivers", &id) && !inner.iter().any(|(_, inner)| *inner == id) {
                    self.edge(jobs, receiver);
                }
                self.edge(receiver, pipeline);
            }
            for id in list(body, "exporters") {
                let exporter = self.node(What::Collector, vec![id.clone()]);
                self.edge(pipeline, exporter);
                if let Some((_, receiver)) = inner.iter().find(|(inner, _)| *inner == id) {
                    let receiver = self.node(What::Collector, vec![(*receiver).to_owned()]);
                    self.edge(exporter, receiver);
                } else if is("exporters", &id) {
                    let backend = self.backend(stages, Kind::Telemetry, &owner(stages, merged, &id));
                    self.edge(exporter, backend);
                }
            }
        }
    }

    fn lineage(&mut self, stages: &Stages, config: &Value, jobs: usize) {
        let of_kind = stages.bundles.backends.iter().filter(|backend| backend.selection.kind == Kind::Lineage);
        let transport = config.get("transport").cloned().unwrap_or_default();
        let transports = transport.get("transports").and_then(Value::as_object).cloned();
        let several = transports.is_some();
        let transports = transports.unwrap_or_else(|| Map::from_iter([(String::new(), transport)]));
        for (name, body) in transports {
            let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
            let mine = of_kind.clone().find(|one| !several || one.selection.id.replace('-', "_") == name);
            let label = mine.map_or_else(|| name.clone(), crate::bundle::Backend::label);
            let first = if several { format!("OpenLineage {name}") } else { "OpenLineage".to_owned() };
            let transport = self.node(What::Transport, vec![first, kind.to_owned()]);
            self.edge(jobs, transport);
            let backend = self.backend(stages, Kind::Lineage, &label);
            self.edge(transport, backend);
        }
    }

    /// The node of a backend, with the addresses that its consumer reaches.
    fn backend(&mut self, stages: &Stages, kind: Kind, label: &str) -> usize {
        let mut lines = vec![label.to_owned()];
        let mine = stages.bundles.backends.iter().zip(&stages.rendered).filter(|(backend, _)| backend.label() == label);
        for connection in mine.filter_map(|(_, rendered)| rendered.connections.as_ref()) {
            let value = connection.doc.to_value();
            let used = value.as_array().into_iter().flatten().filter(|one| one.get("from").is_some());
            lines.extend(used.filter_map(|one| one.get("url")?.as_str()).map(str::to_owned));
        }
        lines.dedup();
        self.node(if kind == Kind::Telemetry { What::Telemetry } else { What::Lineage }, lines)
    }
}

/// The platform's exporters by which the collector's replicas send to each other, and the receivers where that arrives.
fn between(merged: &Merged) -> impl Iterator<Item = (&str, &str)> {
    let all = |section: &str| merged.value.get(section).and_then(Value::as_object).into_iter().flatten();
    all("exporters").filter_map(move |(exporter, body)| {
        let passed = merged.passed(&pointer::join("/exporters", exporter));
        passed.first().filter(|(fragment, _)| fragment.label == "platform")?;
        let port = format!(":{}", body.pointer("/resolver/dns/port")?.as_str()?);
        let takes = |protocol: &Value| protocol.get("endpoint")?.as_str().map(|endpoint| endpoint.ends_with(&port));
        let (receiver, _) = all("receivers").find(|(_, body)| {
            let protocols = body.get("protocols").and_then(Value::as_object);
            protocols.is_some_and(|protocols| protocols.values().any(|protocol| takes(protocol) == Some(true)))
        })?;
        Some((exporter.as_str(), receiver.as_str()))
    })
}

/// The selection that an exporter is of.
fn owner(stages: &Stages, merged: &Merged, id: &str) -> String {
    let passed = merged.passed(&pointer::join("/exporters", id));
    let labels: Vec<&str> = passed.iter().map(|(fragment, _)| fragment.label.as_str()).collect();
    let known =
        stages.bundles.backends.iter().map(crate::bundle::Backend::label).find(|label| labels.contains(&&**label));
    known.unwrap_or_else(|| "a patch".to_owned())
}
