//! `bundle lint`: everything about a bundle that can be known without deploying it.

mod files;
mod options;
mod patterns;
mod reach;
mod readme;
mod samples;
mod templates;
mod twice;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::Own;
use crate::bundle::{Bundle, CASES, Library, built_in};
use crate::describe::{self, OptionFacts};
use crate::finding::Collect;
use crate::select::Kind;
use crate::write;

/// Finds what is wrong with a bundle, and renders it with each option's examples
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  floe-render bundle lint ours/telemetry/acme\n  floe-render bundle lint ours\n\nThen: floe-render bundle test DIR"
)]
pub(super) struct Lint {
    /// Folder of the bundle, or of several as --bundles takes it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Lint {
    pub(super) fn run(&self, out: &mut impl Write, err: &mut impl Write) -> Result<i32> {
        let mut found = Collect::default();
        for own in Own::all(&self.folder)? {
            let mut warnings = Vec::new();
            let mut here = Collect::default();
            let checked = check(&own, &mut here, &mut warnings).and_then(|text| here.finish(text));
            for warning in warnings {
                writeln!(err, "warning: {warning}")?;
            }
            if let Some(text) = found.ok(checked) {
                write::print_text(&text, out)?;
            }
        }
        found.finish(0)
    }
}

/// Looks at one bundle; gives what to say when nothing was found.
fn check(own: &Own, found: &mut Collect, warnings: &mut Vec<String>) -> Result<String> {
    let bundle = own.library.get(own.kind, &own.name)?;
    let subject = Linted::new(own.kind, &own.name, &bundle)?;
    // One that is built in may be looked at too, by those who keep it.
    let same = Library::default().get(own.kind, &own.name).is_ok_and(|other| other.digest == bundle.digest);
    if built_in(own.kind, &own.name) && !same {
        found.push(format!(
            "{}: {} is built in, and a bundle never shadows another; rename the folder",
            bundle.folder,
            own.label()
        ));
    }
    files::check(&subject, found);
    options::check(&subject, found);
    // What no template can render need not be told of each rendering again.
    let rendered = match found.ok(templates::check(&subject)) {
        Some(()) => samples::check(&subject, &own.library, &own.folder.join(CASES), found, warnings),
        None => 0,
    };
    Ok(format!(
        "{}: {} {} is in order; it renders with its defaults and {} of its examples\n",
        bundle.folder,
        own.label(),
        bundle.meta.version,
        rendered.saturating_sub(1)
    ))
}

/// A bundle that is looked at.
struct Linted<'a> {
    kind: Kind,
    name: &'a str,
    bundle: &'a Bundle,
    schema: Value,
    options: Vec<OptionFacts>,
    /// The templates, by file.
    templates: Vec<(&'a str, &'a str)>,
}

/// The file for whoever selects the backend.
const README: &str = "README.md";
/// How the files of templates end.
const TEMPLATE: &str = ".yaml.j2";

impl<'a> Linted<'a> {
    fn new(kind: Kind, name: &'a str, bundle: &'a Bundle) -> Result<Self> {
        let schema = describe::options_schema(bundle)?.unwrap_or_default();
        let templates = bundle
            .files()
            .filter(|(file, _)| file.ends_with(TEMPLATE))
            .map(|(file, _)| Ok((file, bundle.text(file)?.unwrap_or_default())))
            .collect::<Result<Vec<_>>>()?;
        Ok(Linted { kind, name, options: describe::options(&schema), bundle, schema, templates })
    }

    /// `file:line` of the first line that holds a text; the file alone where none does.
    fn place(&self, file: &str, text: &str) -> String {
        let source = self.bundle.text(file).ok().flatten().unwrap_or_default();
        let path = format!("{}/{file}", self.bundle.folder);
        match source.lines().position(|line| line.contains(text)) {
            Some(index) => format!("{path}:{}", index + 1),
            None => path,
        }
    }

    /// Whether a template holds a text.
    fn in_templates(&self, text: &str) -> bool {
        self.templates.iter().any(|(_, source)| source.contains(text))
    }
}
