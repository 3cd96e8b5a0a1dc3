//! The command line: flags in, a [`Request`] out.

use std::path::PathBuf;

use clap::Parser;

use crate::write::FILES;

/// Everything that a user asks for in one run.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "floe-render",
    version,
    about = "Turns a choice of telemetry and lineage backends into configuration that runs",
    after_help = "Examples:\n  \
        floe-render --telemetry NAME --lineage NAME\n  \
        floe-render -f manifest.yaml -e production -o rendered/\n  \
        floe-render -f manifest.yaml -s values.yaml | helm upgrade --install obs charts/floe-observability -f -\n\n\
        Exit codes: 0 done, 1 the input or a bundle is wrong (nothing written), 2 wrong usage"
)]
pub struct Request {
    /// Telemetry backends, by bundle name; several are separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub telemetry: Vec<String>,

    /// Lineage backends, by bundle name; several are separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub lineage: Vec<String>,

    /// Platform manifest; several are layered left to right
    #[arg(short = 'f', long = "manifest", value_name = "FILE")]
    pub manifests: Vec<PathBuf>,

    /// Environment, over the manifest's `render.environment` [default: development]
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,

    /// Profile, over the manifest's `render.profile`: development or production [default: by the environment's name]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,

    /// Kubernetes namespace of the release, over the manifest's `render.namespace`
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Set options: `telemetry.KEY=VALUE`, `lineage.KEY=VALUE`, `telemetry.ID.KEY=VALUE` with several backends,
    /// `render.KEY=VALUE`; commas separate several
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Set options to strings, whatever they look like
    #[arg(long, value_name = "KEY=VALUE")]
    pub set_string: Vec<String>,

    /// Set options to JSON values
    #[arg(long, value_name = "KEY=JSON")]
    pub set_json: Vec<String>,

    /// Folder of further bundles (`telemetry/NAME/`, `lineage/NAME/`); may be given several times
    #[arg(long, value_name = "DIR")]
    pub bundles: Vec<PathBuf>,

    /// Write the files into this directory, all or none, instead of printing them
    #[arg(short, long, value_name = "DIR", conflicts_with = "show_only")]
    pub output_dir: Option<PathBuf>,

    /// Print this one file only
    #[arg(short, long, value_name = "FILE", value_parser = clap::builder::PossibleValuesParser::new(FILES))]
    pub show_only: Option<String>,
}
