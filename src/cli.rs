//! The command line: flags in, an [`Invocation`] out.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::command;
use crate::write::FILES;

/// What the program is asked to do.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// Render, as without a subcommand.
    Render(Box<Render>),
    /// Anything else.
    Command(Command),
}

impl Invocation {
    /// Reads a command line, the program's name first. Flags alone need no subcommand's parser, which would cost a
    /// rendering run more than its own flags do.
    pub fn parse(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let flag = |word: &OsString| word.to_string_lossy().starts_with('-') && word != "-h" && word != "--help";
        if arguments.get(1).is_none_or(flag) {
            let render = Render::try_parse_from(arguments).map_err(explain)?;
            return Ok(Invocation::Render(Box::new(render)));
        }
        let line = Line::try_parse_from(arguments)?;
        Ok(line.command.map_or(Invocation::Render(Box::new(line.render)), Invocation::Command))
    }
}

/// Says of a subcommand behind flags that it comes first.
fn explain(error: clap::Error) -> clap::Error {
    let wrong = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let mut line = command();
    if error.kind() != ErrorKind::UnknownArgument || line.find_subcommand(&wrong).is_none() {
        return error;
    }
    let text = format!("`{wrong}` is a subcommand, which comes first: floe-render {wrong} [OPTIONS]");
    line.error(ErrorKind::UnknownArgument, text)
}

/// The whole command line as clap knows it, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Line::command()
}

/// The whole command line, with its subcommands.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "floe-render",
    version,
    about = "Turns a choice of telemetry and lineage backends into configuration that runs",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Line {
    #[command(flatten)]
    render: Render,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The subcommands, one module of [`mod@command`] each.
#[derive(Clone, Debug, Subcommand)]
#[allow(missing_docs, reason = "the comment of each one's flags is its help")]
pub enum Command {
    Bundle(command::bundle::Bundle),
    Check(Box<command::check::Check>),
    Diff(Box<command::diff::Diff>),
    Explain(Box<command::explain::Explain>),
    Graph(Box<command::graph::Graph>),
    List(command::list::List),
    Man(command::man::Man),
    Migrate(command::migrate::Migrate),
    Schema(command::schema::Schema),
    Show(command::show::Show),
}

/// A rendering run.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "floe-render",
    version,
    about = "Turns a choice of telemetry and lineage backends into configuration that runs",
    after_help = "Examples:\n  \
        floe-render --telemetry NAME --lineage NAME\n  \
        floe-render -f manifest.yaml -e production -o rendered/\n  \
        floe-render -f manifest.yaml -s values.yaml | helm upgrade --install obs charts/floe-observability -f -\n  \
        floe-render -f manifest.yaml -o obs/ --chart\n\n\
        Exit codes: 0 done, 1 the input or a bundle is wrong (nothing written), 2 wrong usage;\n  \
        3 `diff` found drift, 4 `check` found a backend unreachable, 5 a credential missing or refused"
)]
pub struct Render {
    #[allow(missing_docs, reason = "a comment here would become the program's help")]
    #[command(flatten)]
    pub request: Request,

    /// Write the files into this directory, all or none, instead of printing them
    #[arg(short, long, value_name = "DIR", conflicts_with = "show_only")]
    pub output_dir: Option<PathBuf>,

    /// Write a Helm chart around the values too: an umbrella with exactly the selected dependencies, ready to install
    #[arg(long, requires = "output_dir")]
    pub chart: bool,

    /// Print this one file only
    #[arg(short, long, value_name = "FILE", value_parser = clap::builder::PossibleValuesParser::new(FILES))]
    pub show_only: Option<String>,
}

/// What to render: the flags that every subcommand shares which renders something.
#[derive(Clone, Debug, Default, Args)]
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

    /// Collector version to write for, over the manifest's `render.collector_version`: 0.158 or 0.120 [default: 0.158]
    #[arg(long, value_name = "VERSION")]
    pub collector_version: Option<String>,

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

    /// Folder or archive of further bundles (`telemetry/NAME/`, `lineage/NAME/`); may be given several times
    #[arg(long, value_name = "DIR")]
    pub bundles: Vec<PathBuf>,

    /// Digests that further bundles must have [default: bundles.lock beside the first manifest, else in the
    /// working directory, if it is there]
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,

    /// Folder of an organisation's policies (all.json, development.json, production.json), over the profile's; may be
    /// given several times
    #[arg(long = "policy", value_name = "DIR")]
    pub policies: Vec<PathBuf>,
}
