//! `explain`: where a value of the rendered output is from.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::console::{self, Color, Paint, paint};
use super::list::Format;
use crate::cli::Request;
use crate::describe::plain;
use crate::finding::{backticked, did_you_mean};
use crate::merge::Merged;
use crate::options::Resolved;
use crate::render::Fragment;
use crate::uses::{Place, options_at};
use crate::write::FILES;
use crate::yaml::{Data, Node};
use crate::{Stages, pointer, reference, write, yaml};

/// Explains a value of the output: its origin, the layers it passed, the options and patches behind it
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
        floe-render explain collector.yaml:processors.batch -f manifest.yaml\n  \
        floe-render explain values.yaml:otel.replicaCount -f manifest.yaml -e production\n  \
        floe-render explain workload.env.yaml:OTEL_EXPORTER_OTLP_ENDPOINT -f manifest.yaml\n  \
        floe-render explain /exporters -f manifest.yaml\n\n\
        PATH is FILE:KEY.KEY, with indexes as keys, or a JSON pointer after FILE: or alone (collector.yaml)")]
pub struct Explain {
    /// The value: a file of the output, a colon, and dotted keys or a JSON pointer
    #[arg(value_name = "FILE:PATH")]
    path: String,

    #[command(flatten)]
    request: Request,

    /// Table, json or yaml
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// What is known of a value, in the order of its telling: what it is, and the text.
type Facts = Vec<(&'static str, String)>;

impl Explain {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let (file, path) = self.split()?;
        let outcome = crate::run(&self.request)?;
        let stages = &outcome.stages;
        let (value, at, facts) = match file {
            "workload.env.yaml" => variable(stages, path)?,
            "artifacts.json" => artifact(stages, path)?,
            _ => document(stages, file, path)?,
        };
        let shown = if at.is_empty() { file.to_owned() } else { format!("{file}: {}", pointer::dotted(&at)) };
        let facts_of =
            |key: &str| facts.iter().filter(|(what, _)| *what == key).map(|(_, text)| text).collect::<Vec<_>>();
        let whole = json!({
            "file": file, "path": at, "value": value, "origin": facts_of("origin"), "layers": facts_of("layer"),
            "options": facts_of("option"), "patches": facts_of("patch"), "notes": facts_of("note"),
        });
        let text = match self.format.text(&whole)? {
            Some(text) => text,
            None => page(&shown, &value, &facts)?,
        };
        write::print_text(&text, out)?;
        Ok(0)
    }

    /// The file and the path in it.
    fn split(&self) -> Result<(&str, &str)> {
        let (file, path) = match self.path.split_once(':') {
            Some(parts) => parts,
            None if self.path.starts_with('/') => (FILES[0], self.path.as_str()),
            None => (self.path.as_str(), ""),
        };
        if FILES.contains(&file) {
            return Ok((file, path));
        }
        bail!(
            "`{}`: `{file}` is no file of the output{} (files: {}); write for example {}:service.pipelines",
            self.path,
            did_you_mean(file, FILES),
            backticked(FILES),
            FILES[0]
        )
    }
}

fn page(shown: &str, value: &Value, facts: &Facts) -> Result<String> {
    let color = Color::Auto.on();
    let room = console::width().map_or(usize::MAX, |width| width.saturating_sub(10).max(24));
    let mut text = format!("{}\n", paint(shown, Paint::Bold, color));
    let value = match value {
        Value::Object(_) | Value::Array(_) => yaml::write(value)?,
        other => format!("{other}\n"),
    };
    for (what, lines) in [("value", value.trim_end().lines().map(str::to_owned).collect::<Vec<_>>())]
        .into_iter()
        .chain(facts.iter().map(|(what, text)| (*what, console::wrap(text, room))))
    {
        for (index, line) in lines.iter().enumerate() {
            let head = if index == 0 { format!("{what:<8}") } else { " ".repeat(8) };
            let _ = writeln!(text, "{}  {line}", paint(&head, Paint::Cyan, color && index == 0));
        }
    }
    Ok(text)
}

/// Finds a dotted path or a pointer in a value. A key may hold dots: the longest that fits is taken.
fn locate(value: &Value, path: &str, file: &str) -> Result<String> {
    if path.is_empty() || path.starts_with('/') {
        return match value.pointer(path) {
            Some(_) => Ok(path.to_owned()),
            None => bail!("{file}: there is no `{path}`{}", crate::merge::missing_part(value, path)),
        };
    }
    let (mut at, mut rest, mut here) = (String::new(), path, value);
    while !rest.is_empty() {
        let keys: Vec<String> = match here {
            Value::Object(map) => map.keys().cloned().collect(),
            Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
            _ => Vec::new(),
        };
        let bare = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
        let found = keys.iter().filter_map(|key| {
            let tail = match bare {
                Some((quoted, tail)) => (quoted == key).then_some(tail)?,
                None => rest.strip_prefix(key.as_str())?,
            };
            (tail.is_empty() || tail.starts_with('.')).then(|| (key, tail.strip_prefix('.').unwrap_or(tail)))
        });
        let Some((key, tail)) = found.max_by_key(|(key, _)| key.len()) else {
            let word = rest.split('.').next().unwrap_or(rest);
            let shown = if at.is_empty() { file.to_owned() } else { format!("{file}: `{}`", pointer::dotted(&at)) };
            let known = if keys.len() <= 20 { backticked(keys.iter().map(String::as_str)) } else { String::new() };
            let known = if known.is_empty() { String::new() } else { format!(" (it has {known})") };
            bail!("{shown} has no `{word}`{}{known}", did_you_mean(word, keys.iter().map(String::as_str)));
        };
        at = pointer::join(&at, key);
        here = here.pointer(&pointer::join("", key)).unwrap_or(&Value::Null);
        rest = tail;
    }
    Ok(at)
}

/// A value of a document that was merged.
fn document(stages: &Stages, file: &str, path: &str) -> Result<(Value, String, Facts)> {
    let (merged, shown) = match file {
        "collector.yaml" => (stages.collector.as_ref(), stages.bound.collector_config.as_ref()),
        "openlineage.yml" => (stages.openlineage.as_ref(), stages.bound.client.as_ref()),
        _ => (Some(&stages.values.all), None),
    };
    let Some(merged) = merged else { bail!("{file}: this selection has none; select a backend of the other kind too") };
    let at = locate(&merged.value, path, file)?;
    let mut facts = Facts::new();
    let config = stages.bundles.platform.meta.collector_config.as_deref().unwrap_or("/");
    if let Some(below) = at.strip_prefix(config).filter(|_| file == "values.yaml")
        && let Some(collector) = &stages.collector
    {
        facts.push(("note", format!("the collector config: the same as collector.yaml:{}", pointer::dotted(below))));
        trace(stages, collector, below, &mut facts);
        let value = merged.value.pointer(&at).cloned().unwrap_or_default();
        return Ok((value, at, facts));
    }
    let referring = merged.value.pointer(&at).cloned().unwrap_or_default();
    let value = match shown.map(|shown| shown.pointer(&at)) {
        Some(Some(value)) => value.clone(),
        Some(None) => {
            let text =
                "leaves the file: the job's environment holds it, as the client's own variable (workload.env.yaml)";
            facts.push(("note", text.to_owned()));
            referring.clone()
        }
        None => referring.clone(),
    };
    trace(stages, merged, &at, &mut facts);
    let mut names = Vec::new();
    reference::late_strings(&referring, "", &mut |_, text| names.extend(variables_of(text)));
    for name in names {
        secret(stages, &name, &mut facts);
    }
    Ok((value, at, facts))
}

fn variables_of(text: &str) -> Vec<String> {
    let parts = reference::parts(text).unwrap_or_default();
    parts
        .into_iter()
        .filter_map(|part| match part {
            reference::Part::Variable(name) => Some(name.to_owned()),
            reference::Part::Text(_) => None,
        })
        .collect()
}

/// Tells which Secret holds a variable.
fn secret(stages: &Stages, name: &str, facts: &mut Facts) {
    if let Some(one) = stages.bound.secrets.iter().find(|one| one.what == name) {
        let text = format!("`{name}` is bound in the cluster: key `{}` of Secret `{}`", one.key, one.name);
        facts.push(("note", text));
    }
}

/// The options that a fragment was rendered with, and what stands before one on the command line.
fn source<'a>(stages: &'a Stages, fragment: &Fragment) -> Option<(&'a Resolved, &'static str)> {
    if fragment.label == "platform" {
        return Some((&stages.options.platform, "render.collector"));
    }
    let backends = stages.bundles.backends.iter().zip(&stages.options.backends);
    let mut mine = backends.filter(|(backend, _)| backend.label() == fragment.label);
    mine.next().map(|(backend, resolved)| (resolved, backend.selection.kind.name()))
}

/// Everything that had a part in a value.
fn trace(stages: &Stages, merged: &Merged, at: &str, facts: &mut Facts) {
    let passed: Vec<_> = merged.passed(at).into_iter().flat_map(|(fragment, node)| written(fragment, node)).collect();
    let winner = merged.yielded_to(at);
    for (fragment, node) in &passed {
        let yields = winner.is_some_and(|winner| winner.label != fragment.label && fragment.label == "platform");
        let place = fragment.place(node);
        let value = scalar(node, &place);
        let fate = if yields { ": yields" } else { "" };
        add(facts, "layer", format!("{place}{fate}{value}"));
    }
    for patch in merged.patches(at) {
        facts.push(("patch", patch.to_owned()));
    }
    for (fragment, node) in passed {
        let Some((resolved, prefix)) = source(stages, fragment) else { continue };
        for option in fragment.options(node) {
            add(facts, "option", option_line(resolved, &option, prefix));
        }
    }
    if let Some(origin) =
        merged.origin(at).filter(|_| facts.iter().all(|(what, _)| *what != "layer" && *what != "patch"))
    {
        facts.push(("origin", origin));
    }
}

/// Adds a fact that is not told yet.
fn add(facts: &mut Facts, what: &'static str, text: String) {
    if !facts.iter().any(|(other, told)| *other == what && *told == text) {
        facts.push((what, text));
    }
}

/// What wrote a node: of a list whose items stand in several lines, the first item of each line.
fn written<'a>(fragment: &'a Fragment, node: &'a Node) -> Vec<(&'a Fragment, &'a Node)> {
    let Data::List(items) = &node.data else { return vec![(fragment, node)] };
    let mut first: Vec<(&Fragment, &Node)> = Vec::new();
    for item in items {
        if first.last().is_none_or(|(_, last)| last.at.line != item.at.line) {
            first.push((fragment, item));
        }
    }
    if first.len() > 1 { first } else { vec![(fragment, node)] }
}

/// A scalar that its line does not show.
fn scalar(node: &Node, place: &str) -> String {
    match node.to_value() {
        Value::Object(_) | Value::Array(_) => String::new(),
        value if place.ends_with(&format!(": {value}`")) => String::new(),
        value => format!(" ({value})"),
    }
}

/// An option, its value, and who gave it.
fn option_line(resolved: &Resolved, name: &str, prefix: &str) -> String {
    let at = pointer::of_option(name);
    let value = resolved.all.pointer(&at).filter(|value| !value.is_null());
    let given = resolved.given.get(&at).and_then(|_| resolved.given.origin(&at)).map(|origin| origin.place.clone());
    match (value, given) {
        (Some(value), Some(place)) => format!("`{name}` is {}, given by {place}", shown(value)),
        (Some(value), None) => {
            format!("`{name}` is {}, the default; set it with --set {prefix}.{name}=…", shown(value))
        }
        (None, _) => format!("`{name}` is not set; set it with --set {prefix}.{name}=…"),
    }
}

fn shown(value: &Value) -> String {
    format!("`{}`", crate::finding::short(&plain(value)))
}

/// A variable of the emitting jobs.
fn variable(stages: &Stages, path: &str) -> Result<(Value, String, Facts)> {
    let env = &stages.bound.workload.env;
    let name = path.trim_start_matches('/');
    let named = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some(name);
    let Some(entry) = env.iter().find(named) else {
        let names: Vec<&str> = env.iter().filter_map(|entry| entry.get("name")?.as_str()).collect();
        bail!(
            "workload.env.yaml has no variable `{name}`{} (it has {})",
            did_you_mean(name, names.iter().copied()),
            backticked(names)
        );
    };
    let mut facts = Facts::new();
    secret(stages, name, &mut facts);
    let nested = name.strip_prefix("OPENLINEAGE__").map(|rest| format!("/{}", rest.to_lowercase().replace("__", "/")));
    if let (Some(at), Some(merged)) = (nested, &stages.openlineage) {
        facts.push((
            "note",
            format!("the late part of openlineage.yml:{}; the client lays it over the file", pointer::dotted(&at)),
        ));
        let at = known_part(&merged.value, &at);
        trace(stages, merged, &at, &mut facts);
        reference::late_strings(merged.value.pointer(&at).unwrap_or(&Value::Null), "", &mut |_, text| {
            for name in variables_of(text) {
                secret(stages, &name, &mut facts);
            }
        });
    } else if stages.bound.environment.contains_key(name) {
        facts.push((
            "origin",
            "tells the job its environment or its lineage namespace, by `render.environment`, \
                     `render.lineage_namespace` and each lineage bundle's `namespace`"
                .to_owned(),
        ));
    } else if facts.is_empty() {
        let platform = &stages.bundles.platform;
        let template = platform.text("workload.yaml.j2")?.unwrap_or_default();
        let line = template.lines().position(|line| line.contains(name)).map_or(1, |line| line + 1);
        facts.push(("layer", format!("platform, {}/workload.yaml.j2:{line}", platform.folder)));
        for option in options_at(template, line, Place::Whole) {
            facts.push(("option", option_line(&stages.options.platform, &option, "render.collector")));
        }
    }
    Ok((entry.clone(), pointer::join("", name), facts))
}

/// As much of a pointer as a value knows.
fn known_part(value: &Value, at: &str) -> String {
    let mut at = at;
    while value.pointer(at).is_none() {
        at = &at[..at.rfind('/').unwrap_or_default()];
    }
    at.to_owned()
}

/// A value of the one document that repeats the others.
fn artifact(stages: &Stages, path: &str) -> Result<(Value, String, Facts)> {
    let artifacts = write::artifacts(&stages.bundles, &stages.options, &stages.plan, &stages.bound, &stages.values);
    let at = locate(&artifacts, path, "artifacts.json")?;
    let mut facts = Facts::new();
    let below = |key: &str| at.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let twins = [
        ("/otlp_collector_config", "collector.yaml", "", stages.collector.as_ref()),
        ("/openlineage_config", "openlineage.yml", "/transport", stages.openlineage.as_ref()),
        ("/openlineage_client_config", "openlineage.yml", "", stages.openlineage.as_ref()),
        ("/helm_values", "values.yaml", "", Some(&stages.values.all)),
    ];
    for (key, file, prefix, merged) in twins {
        if let (Some(rest), Some(merged)) = (below(key), merged) {
            let there = format!("{prefix}{rest}");
            facts.push(("note", format!("the same as {file}:{}", pointer::dotted(&there))));
            trace(stages, merged, &there, &mut facts);
        }
    }
    if facts.is_empty() {
        let text = "made by the engine from the selection, its bundles and what was bound; `floe-render schema artifacts` \
                    describes each key";
        facts.push(("origin", text.to_owned()));
    }
    let value = artifacts.pointer(&at).cloned().unwrap_or_default();
    Ok((value, at, facts))
}
