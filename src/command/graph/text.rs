//! The drawing as text for others to draw: Mermaid and DOT.

use std::fmt::Write as _;

use super::{Drawing, What};

/// What the part of the drawing is called that is the collector.
pub(super) const COLLECTOR: &str = "OpenTelemetry Collector";

pub(super) fn mermaid(drawing: &Drawing) -> String {
    let label = |lines: &[String]| {
        let text = lines.join("<br/>");
        text.replace('#', "#35;").replace('"', "#quot;").replace("${", "#36;{")
    };
    let mut text = String::from("flowchart LR\n");
    let nodes = |inside: bool, indent: &str, text: &mut String| {
        for (index, node) in
            drawing.nodes.iter().enumerate().filter(|(_, node)| (node.what == What::Collector) == inside)
        {
            let _ = writeln!(text, "{indent}n{index}[\"{}\"]", label(&node.lines));
        }
    };
    nodes(false, "  ", &mut text);
    if drawing.nodes.iter().any(|node| node.what == What::Collector) {
        let _ = writeln!(text, "  subgraph collector [\"{COLLECTOR}\"]");
        nodes(true, "    ", &mut text);
        text.push_str("  end\n");
    }
    for (from, to) in &drawing.edges {
        let _ = writeln!(text, "  n{from} --> n{to}");
    }
    text
}

pub(super) fn dot(drawing: &Drawing) -> String {
    let label = |lines: &[String]| lines.join("\n").replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut text = String::from("digraph floe {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (index, node) in drawing.nodes.iter().enumerate().filter(|(_, node)| node.what != What::Collector) {
        let _ = writeln!(text, "  n{index} [label=\"{}\"];", label(&node.lines));
    }
    if drawing.nodes.iter().any(|node| node.what == What::Collector) {
        let _ = writeln!(text, "  subgraph cluster_collector {{\n    label=\"{COLLECTOR}\";");
        for (index, node) in drawing.nodes.iter().enumerate().filter(|(_, node)| node.what == What::Collector) {
            let _ = writeln!(text, "    n{index} [label=\"{}\"];", label(&node.lines));
        }
        text.push_str("  }\n");
    }
    for (from, to) in &drawing.edges {
        let _ = writeln!(text, "  n{from} -> n{to};");
    }
    text + "}\n"
}
