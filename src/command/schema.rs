//! `schema`: the JSON Schema of a file that people write, for their editors.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use crate::bundle::Library;
use crate::finding::{backticked, did_you_mean};
use crate::select::Kind;
use crate::{embedded, write};

/// The schemas by the name that a user gives.
const NAMES: [&str; 4] = ["manifest", "bundle", "connections", "artifacts"];

/// Prints a JSON Schema (2020-12): of the manifest, of a bundle's files, or of a bundle's options
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  floe-render schema manifest > manifest.schema.json\n  floe-render schema KIND/NAME"
)]
pub struct Schema {
    /// manifest, bundle, connections, artifacts, or a bundle as telemetry/NAME or lineage/NAME, for its options
    name: String,

    /// Folder of further bundles; may be given several times
    #[arg(long, value_name = "DIR")]
    bundles: Vec<PathBuf>,
}

impl Schema {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let schema = match self.name.split_once('/') {
            _ if NAMES.contains(&self.name.as_str()) => embedded::schema_text(&self.name)?,
            Some((kind, name)) if Kind::ALL.iter().any(|one| one.name() == kind) => {
                options(&Library::open(&self.bundles)?, kind, name)?
            }
            _ => bail!(
                "there is no schema `{}`{} (known: {}, and telemetry/NAME or lineage/NAME for a bundle's options)",
                self.name,
                did_you_mean(&self.name, NAMES.into_iter()),
                backticked(NAMES.into_iter())
            ),
        };
        write::print_text(&(serde_json::to_string_pretty(&schema)? + "\n"), out)?;
        Ok(0)
    }
}

/// The schema of the options of a bundle.
fn options(library: &Library, kind: &str, name: &str) -> Result<Value> {
    let kind = if kind == Kind::Telemetry.name() { Kind::Telemetry } else { Kind::Lineage };
    let bundle = library.get(kind, name)?;
    match bundle.json("options.schema.json")? {
        Some(schema) => Ok(schema),
        None => bail!("{kind}/{name} has no options"),
    }
}
