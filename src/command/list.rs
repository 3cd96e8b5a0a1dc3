//! `list`: the bundles that can be selected.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::console::{self, Color};
use crate::bundle::Library;
use crate::{describe, write, yaml};

/// How a table of facts is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

impl Format {
    /// The value as JSON or YAML; nothing for people.
    pub(super) fn text(self, value: &Value) -> Result<Option<String>> {
        Ok(match self {
            Format::Table => None,
            Format::Json => Some(serde_json::to_string_pretty(value)? + "\n"),
            Format::Yaml => Some(yaml::write(value)?),
        })
    }
}

/// Lists the backends that can be selected
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  floe-render list\n  floe-render list --bundles ours --format json\n\n\
        Then: floe-render show KIND/NAME")]
pub struct List {
    /// Folder or archive of further bundles; may be given several times
    #[arg(long, value_name = "DIR")]
    bundles: Vec<PathBuf>,

    /// Table, json or yaml
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

impl List {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let bundles = describe::all(&Library::open(&self.bundles)?)?;
        let facts = bundles
            .iter()
            .map(|(kind, name, bundle)| describe::document(*kind, name, bundle).map(Value::Object))
            .collect::<Result<Vec<_>>>()?;
        let text = self.format.text(&Value::Array(facts))?.unwrap_or_else(|| {
            let rows: Vec<Vec<String>> = bundles
                .iter()
                .map(|(kind, name, bundle)| {
                    vec![
                        format!("{kind}/{name}"),
                        bundle.meta.version.to_string(),
                        bundle.meta.hosting.clone(),
                        describe::signals(*kind, bundle).join(", "),
                        describe::secret_keys(bundle).join(", "),
                    ]
                })
                .collect();
            let header = ["BUNDLE", "VERSION", "HOSTING", "SIGNALS", "SECRET KEYS"];
            console::table(&header, &rows, console::width(), Color::Auto.on())
        });
        write::print_text(&text, out)?;
        Ok(0)
    }
}
