//! The drawing as a picture: nodes in layers by the longest way to them, lineage in a band of its own below.

use std::fmt::Write as _;

use super::text::COLLECTOR;
use super::{Drawing, What};
use crate::command::xml::escaped;

/// Pixels of a character, about, and of a line.
const CHARACTER: usize = 8;
const LINE: usize = 17;
/// Around a node's text, between nodes, between layers, around the picture.
const PADDING: usize = 12;
const GAP: usize = 20;
const LAYER_GAP: usize = 56;
const MARGIN: usize = 24;
/// Room for the collector's title.
const TITLE: usize = 26;

/// Where a node is drawn.
#[derive(Clone, Copy, Default)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Place {
    fn middle(self) -> usize {
        self.y + self.height / 2
    }
}

pub(super) fn svg(drawing: &Drawing) -> String {
    let (places, ways) = layout(drawing);
    let right = places.iter().map(|place| place.x + place.width).max().unwrap_or_default();
    let bottom = places.iter().map(|place| place.y + place.height).max().unwrap_or_default();
    let (width, height) = (right + MARGIN, bottom + MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path d=\"M0,0 L8,4 L0,8 z\" fill=\"#555\"/></marker></defs>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    frame(drawing, &places, &mut text);
    for way in &ways {
        let start = places[way[0]];
        let (mut x1, mut y1) = (start.x + start.width, start.middle());
        let _ = write!(text, "<path d=\"M{x1},{y1}");
        for point in &way[1..] {
            let (x2, y2) = (places[*point].x, places[*point].middle());
            let middle = usize::midpoint(x1, x2);
            let _ = write!(text, " C{middle},{y1} {middle},{y2} {x2},{y2}");
            (x1, y1) = (x2 + places[*point].width, y2);
            if x1 > x2 && Some(point) != way.last() {
                let _ = write!(text, " L{x1},{y1}");
            }
        }
        text.push_str("\" fill=\"none\" stroke=\"#555\" marker-end=\"url(#arrow)\"/>\n");
    }
    for (node, place) in drawing.nodes.iter().zip(&places) {
        let fill = match node.what {
            What::Jobs => "#e8e8e8",
            What::Collector => "#fff",
            What::Transport => "#fdf2dc",
            What::Telemetry => "#dcecfa",
            What::Lineage => "#e2f3e0",
        };
        let Place { x, y, width, height } = place;
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"5\" fill=\"{fill}\" stroke=\"#555\"/>"
        );
        for (index, line) in node.lines.iter().enumerate() {
            let (x, y) = (x + PADDING, y + PADDING + LINE * index + 10);
            let style = if index == 0 { " font-weight=\"bold\"" } else { " fill=\"#444\"" };
            let _ = writeln!(text, "<text x=\"{x}\" y=\"{y}\"{style}>{}</text>", escaped(line));
        }
    }
    text + "</svg>\n"
}

/// The collector's frame, behind its parts.
fn frame(drawing: &Drawing, places: &[Place], text: &mut String) {
    let inside: Vec<&Place> = drawing
        .nodes
        .iter()
        .zip(places)
        .filter(|(node, _)| node.what == What::Collector)
        .map(|(_, place)| place)
        .collect();
    let least = |of: fn(&Place) -> usize| inside.iter().map(|place| of(place)).min();
    let most = |of: fn(&Place) -> usize| inside.iter().map(|place| of(place)).max().unwrap_or_default();
    let (Some(left), Some(top)) = (least(|place| place.x), least(|place| place.y)) else { return };
    let (right, bottom) = (most(|place| place.x + place.width), most(|place| place.y + place.height));
    let (x, y) = (left - PADDING, top - TITLE);
    let _ = writeln!(
        text,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"#f6f6f6\" stroke=\"#bbb\"/>\n\
         <text x=\"{left}\" y=\"{}\" fill=\"#444\">{COLLECTOR}</text>",
        right + PADDING - x,
        bottom + PADDING - y,
        y + 17
    );
}

/// The layer of each node: the longest way to it. A collector's config has no cycle; one in a patch ends at the bound.
fn layers(drawing: &Drawing) -> Vec<usize> {
    let mut layers = vec![0; drawing.nodes.len()];
    for _ in 0..drawing.nodes.len() {
        for (from, to) in &drawing.edges {
            layers[*to] = layers[*to].max(layers[*from] + 1).min(drawing.nodes.len());
        }
    }
    // Backends for telemetry stand at the right end, and what sends to them beside them, whatever connectors lie before.
    let last = layers.iter().copied().max().unwrap_or_default();
    for (index, _) in drawing.nodes.iter().enumerate().filter(|(_, node)| node.what == What::Telemetry) {
        layers[index] = last;
        for (from, _) in drawing.edges.iter().filter(|(_, to)| *to == index) {
            layers[*from] = last.saturating_sub(1);
        }
    }
    layers
}

/// The places of the nodes, and the way of each edge over nodes and points that keep it clear of others.
fn layout(drawing: &Drawing) -> (Vec<Place>, Vec<Vec<usize>>) {
    let mut layers = layers(drawing);
    let lower = |what: What| usize::from(matches!(what, What::Transport | What::Lineage));
    let mut bands: Vec<usize> = drawing.nodes.iter().map(|node| lower(node.what)).collect();
    let mut places: Vec<Place> = drawing
        .nodes
        .iter()
        .map(|node| {
            let longest = node.lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
            let (width, height) = (longest * CHARACTER + 2 * PADDING, node.lines.len() * LINE + PADDING);
            Place { width, height, ..Place::default() }
        })
        .collect();
    let mut ways = Vec::new();
    for (from, to) in &drawing.edges {
        let mut way = vec![*from];
        for layer in layers[*from] + 1..layers[*to] {
            way.push(places.len());
            places.push(Place { height: LINE, ..Place::default() });
            layers.push(layer);
            bands.push(bands[*to]);
        }
        way.push(*to);
        ways.push(way);
    }
    let mut x = MARGIN;
    let mut heights = [0; 2];
    let mut columns = Vec::new();
    for layer in 0..=layers.iter().copied().max().unwrap_or_default() {
        let mut members: Vec<usize> = (0..layers.len()).filter(|index| layers[*index] == layer).collect();
        // What comes from above stands above.
        members.sort_by_key(|index| {
            let before: Vec<usize> = ways
                .iter()
                .flat_map(|way| way.windows(2).filter(|step| step[1] == *index).map(|step| places[step[0]].middle()))
                .collect();
            before.iter().sum::<usize>().checked_div(before.len()).unwrap_or_default()
        });
        let mut y = [0; 2];
        for index in &members {
            places[*index].x = x;
            places[*index].y = y[bands[*index]];
            y[bands[*index]] += places[*index].height + GAP;
        }
        let width = members.iter().map(|index| places[*index].width).max().unwrap_or_default();
        for index in members.iter().filter(|index| **index >= drawing.nodes.len()) {
            places[*index].width = width;
        }
        for band in 0..2 {
            heights[band] = heights[band].max(y[band]);
        }
        x += width + LAYER_GAP;
        columns.push((members, y));
    }
    // Each layer stands in the middle of its band; the band of lineage lies below.
    for (members, used) in columns {
        for index in members {
            let band = bands[index];
            let above = if band == 1 { heights[0] + GAP } else { 0 };
            places[index].y += MARGIN + TITLE + above + (heights[band] - used[band]) / 2;
        }
    }
    (places, ways)
}
