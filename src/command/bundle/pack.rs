//! `bundle pack`: one reproducible archive.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::Own;
use crate::{archive, write};

/// Packs a bundle into one archive, the same bytes wherever it is packed
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  floe-render bundle pack ours/telemetry/acme\n  \
        floe-render --bundles telemetry-acme-0.1.0.tar --telemetry acme\n\n\
        The folder `cases` is not packed: it is for the bundle's author.")]
pub(super) struct Pack {
    /// Folder of the bundle
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// The archive [default: KIND-NAME-VERSION.tar]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Pack {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let own = Own::at(&self.folder)?;
        let bundle = own.library.get(own.kind, &own.name)?;
        let bytes = archive::write(own.kind, &own.name, bundle.files())?;
        let file = format!("{}-{}-{}.tar", own.kind, own.name, bundle.meta.version);
        let path = self.output.clone().unwrap_or_else(|| PathBuf::from(file));
        let shown = path.display();
        fs::write(&path, &bytes).with_context(|| format!("{shown}: cannot be written"))?;
        let text = format!(
            "{shown}: {} {}, {} bytes\n  archive {}\n  bundle  {}\n",
            own.label(),
            bundle.meta.version,
            bytes.len(),
            archive::digest(&bytes),
            bundle.digest
        );
        write::print_text(&text, out)?;
        Ok(0)
    }
}
