//! `show`: all that a bundle says about itself.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::console::{self, Color, Paint, paint};
use super::list::Format;
use super::sample::Subject;
use crate::bundle::{Bundle, Library};
use crate::describe::{self, OptionFacts, plain};
use crate::select::Kind;
use crate::write;

/// Shows what a backend needs, its options, Secrets and outputs
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  floe-render show telemetry/NAME\n  \
        floe-render show lineage/acme --bundles ours --format json\n\nKnown names: floe-render list")]
pub struct Show {
    /// The bundle, as telemetry/NAME or lineage/NAME
    #[arg(value_name = "KIND/NAME")]
    bundle: String,

    /// Folder or archive of further bundles; may be given several times
    #[arg(long, value_name = "DIR")]
    bundles: Vec<PathBuf>,

    /// Table, json or yaml
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Reads `telemetry/NAME` or `lineage/NAME`.
pub(super) fn kind_and_name(text: &str) -> Result<(Kind, &str)> {
    let parts = text
        .split_once('/')
        .and_then(|(kind, name)| Some((Kind::ALL.into_iter().find(|known| known.name() == kind)?, name)));
    match parts {
        Some(parts) => Ok(parts),
        None => bail!("`{text}` names no bundle: write telemetry/NAME or lineage/NAME; `floe-render list` shows them"),
    }
}

impl Show {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let (kind, name) = kind_and_name(&self.bundle)?;
        let library = Library::open(&self.bundles)?;
        let bundle = library.get(kind, name)?;
        let schema = describe::options_schema(&bundle)?.unwrap_or_default();
        let options = describe::options(&schema);
        let subject = Subject { library: &library, kind, name };
        let connections = connections(&subject, &options);
        let mut facts = describe::document(kind, name, &bundle)?;
        more(&mut facts, kind, &bundle, &options, &connections);
        let text = match self.format.text(&Value::Object(facts))? {
            Some(text) => text,
            None => page(kind, name, &bundle, &options, &connections),
        };
        write::print_text(&text, out)?;
        Ok(0)
    }
}

/// What must be reachable with the fewest options; what the options decide is decided by them.
fn connections(subject: &Subject<'_>, options: &[OptionFacts]) -> Vec<Value> {
    let render = || {
        let sample = subject.base(options)?;
        let outcome = crate::run_with(subject.library, &subject.request(&sample, "development"))?;
        let one = outcome.stages.rendered.into_iter().next().and_then(|one| one.connections);
        Ok::<_, anyhow::Error>(one.map(|fragment| fragment.doc.into_value()))
    };
    let value = render().ok().flatten();
    value.and_then(|value| value.as_array().cloned()).unwrap_or_default()
}

/// The files that a selection of this kind alone makes, and others share.
fn outputs(kind: Kind) -> Vec<&'static str> {
    let other = if kind == Kind::Telemetry { "openlineage.yml" } else { "collector.yaml" };
    write::FILES.into_iter().filter(|file| *file != other).collect()
}

fn more(facts: &mut Map<String, Value>, kind: Kind, bundle: &Bundle, options: &[OptionFacts], connections: &[Value]) {
    let meta = &bundle.meta;
    let variables = meta.variables.iter().map(|(name, one)| {
        json!({"name": name, "key": one.key, "option": one.option, "secret": one.option.is_none(), "about": one.about})
    });
    let files = meta
        .files
        .iter()
        .map(|(name, one)| json!({"name": name, "key": one.key, "secret_option": one.secret, "about": one.about}));
    let charts = meta.charts.iter().map(|(name, one)| {
        json!({"name": name, "version": one.version, "repository": one.repository, "values": one.alias.as_deref().unwrap_or(name)})
    });
    let namespace = meta.namespace.as_ref().map(|one| {
        json!({"strategy": one.strategy, "template": one.template, "option": one.option, "description": one.description})
    });
    facts.insert("outputs".to_owned(), json!(outputs(kind)));
    facts.insert("options".to_owned(), json!(options));
    facts.insert("variables".to_owned(), variables.collect());
    facts.insert("files".to_owned(), files.collect());
    facts.insert("charts".to_owned(), charts.collect());
    facts.insert("namespace".to_owned(), json!(namespace));
    facts.insert("connections".to_owned(), json!(connections));
}

/// What the check of a connection tries.
fn tried(check: &Value) -> String {
    let text = |key: &str| check.get(key).and_then(Value::as_str);
    match (text("otlp"), text("aws"), check.get("tls")) {
        (Some(signal), ..) => format!("empty export of {signal}"),
        (_, Some(service), _) => format!("credentials for {service}, and an answer"),
        (.., Some(Value::Bool(true))) => "TLS handshake".to_owned(),
        (.., Some(_)) => "connection".to_owned(),
        _ => {
            let status = check.get("status").map(plain).unwrap_or_default();
            format!("{} {} gives {status}", text("method").unwrap_or("GET"), text("path").unwrap_or_default())
        }
    }
}

fn page(kind: Kind, name: &str, bundle: &Bundle, options: &[OptionFacts], connections: &[Value]) -> String {
    let meta = &bundle.meta;
    let (color, width) = (Color::Auto.on(), console::width());
    let mut text = String::new();
    let label = format!("{kind}/{name}");
    let _ = writeln!(text, "{}: {}", paint(&label, Paint::Bold, color), console::inline(&meta.title));
    let origin = if bundle.is_built_in() { "built in" } else { bundle.folder.as_str() };
    for (what, value) in [
        ("version", format!("{} (floe API {}), {origin}", meta.version, meta.floe_api_version)),
        ("hosting", meta.hosting.clone()),
        ("signals", describe::signals(kind, bundle).join(", ")),
        ("outputs", outputs(kind).join(", ")),
        ("digest", bundle.digest.clone()),
    ] {
        for (index, line) in
            console::wrap(&value, width.map_or(usize::MAX, |width| width.saturating_sub(11))).iter().enumerate()
        {
            let _ = writeln!(text, "  {:<7}  {line}", if index == 0 { what } else { "" });
        }
    }
    let mut section = |title: &str, header: &[&str], rows: &[Vec<String>]| {
        if !rows.is_empty() {
            let _ =
                write!(text, "\n{}\n{}", paint(title, Paint::Cyan, color), console::table(header, rows, width, color));
        }
    };
    let rows: Vec<Vec<String>> = options.iter().map(option_row).collect();
    section("Options", &["OPTION", "TAKES", "DEFAULT", "ABOUT"], &rows);
    let rows: Vec<Vec<String>> = meta
        .variables
        .iter()
        .map(|(variable, one)| {
            let instead = match (&one.option, &one.secret) {
                (Some(option), _) => format!("or option {option}"),
                (None, Some(option)) => format!("secret, Secret by {option}"),
                (None, None) => "secret".to_owned(),
            };
            vec![one.key.clone(), variable.to_owned(), instead, one.about.clone()]
        })
        .chain(meta.files.iter().map(|(file, one)| {
            let holder =
                one.secret.as_ref().map_or_else(|| "file".to_owned(), |option| format!("file, Secret by {option}"));
            vec![one.key.clone(), file.to_owned(), holder, one.about.clone()]
        }))
        .collect();
    section(&format!("Keys of the Secret floe-{name}"), &["KEY", "NAME", "KIND", "ABOUT"], &rows);
    let rows: Vec<Vec<String>> = connections
        .iter()
        .map(|one| {
            let cell = |key: &str| one.get(key).map(plain).unwrap_or_default();
            vec![cell("url"), cell("from"), one.get("check").map(tried).unwrap_or_default()]
        })
        .collect();
    section("Connections, if no more options are set than must be", &["URL", "FROM", "CHECK"], &rows);
    let rows: Vec<Vec<String>> = meta
        .charts
        .iter()
        .map(|(chart, one)| vec![chart.to_owned(), one.version.clone(), one.repository.clone()])
        .collect();
    section("Charts", &["CHART", "VERSION", "REPOSITORY"], &rows);
    if let Some(namespace) = &meta.namespace {
        let rows = [vec![
            namespace.strategy.clone(),
            namespace.template.clone().unwrap_or_default(),
            namespace.option.clone().unwrap_or_default(),
            namespace.description.clone().unwrap_or_default(),
        ]];
        section("Lineage namespace", &["STRATEGY", "TEMPLATE", "OPTION", "ABOUT"], &rows);
    }
    let bundles = match bundle.folder.strip_suffix(&format!("/{label}")) {
        Some(bundles) if !bundle.is_built_in() => format!(" --bundles {bundles}"),
        _ => String::new(),
    };
    let _ = writeln!(text, "\nTry it: floe-render --{kind} {name}{bundles}");
    text
}

fn option_row(option: &OptionFacts) -> Vec<String> {
    let mut default = option.default.as_ref().map(plain).unwrap_or_default();
    if let Some(production) = &option.default_production {
        let _ = write!(default, " (production: {})", plain(production));
    }
    let mut about = option.description.clone();
    if let Some(example) = option.examples.first() {
        let _ = write!(about, " Example: {}", plain(example));
    }
    if option.passthrough {
        about.push_str(" Passed through to artifacts.json.");
    }
    vec![option.name.clone(), option.takes(), default, about.trim().to_owned()]
}
