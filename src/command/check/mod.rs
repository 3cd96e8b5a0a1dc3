//! `check`: are the backends there, and are the credentials.
//!
//! It renders as a run without a subcommand does, and then tries what the bundles' connections say. No other part of the
//! program reads the environment or opens a connection, but `bundle push` and `bundle pull`.

mod answer;
mod aws;
mod connection;
mod environment;
mod http;
mod job;
mod net;
mod plan;
mod report;
mod tls;
mod variables;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::answer::{Answer, Entry};
use self::environment::{Environment, Hidden};
use self::plan::{Act, Step};
#[cfg(feature = "oci")]
pub(super) use self::tls::authorities;
use crate::cli::Request;
use crate::write;

/// Checks that the backends can be reached and that they take the credentials, before anything is deployed
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
        floe-render check -f manifest.yaml\n  \
        floe-render check -f manifest.yaml --offline\n  \
        floe-render check -f manifest.yaml -n floe --job --image IMAGE | kubectl apply -f -\n\n\
        Variables and proxies (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) come from the environment.\n\n\
        Exit codes: 0 all is well, 1 the input or a bundle is wrong, 2 wrong usage, 4 a backend is unreachable, \
        5 a credential is missing or refused")]
pub struct Check {
    #[command(flatten)]
    request: Request,

    /// Check the variables only; connect to nothing
    #[arg(long)]
    offline: bool,

    /// How to print the results
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Time limit of each check, in seconds, retries included
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,

    /// Time limit of all checks together, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    overall_timeout: Duration,

    /// How often to try again after a connection failed; an answer is never asked for again
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    retries: u32,

    /// File with certificates (PEM) of further authorities to trust; may be given several times
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,

    /// Connect to another address than the config names, such as a forwarded port; may be given several times
    #[arg(long, value_name = "HOST:PORT=HOST:PORT", value_parser = net::detour)]
    connect_to: Vec<net::Detour>,

    /// Print a Kubernetes Job that runs this check inside the cluster, with the Secrets that are deployed there
    #[arg(long, requires = "image", conflicts_with_all = ["offline", "connect_to"])]
    job: bool,

    /// Image of that Job: one that has floe-render as its entrypoint
    #[arg(long, value_name = "IMAGE", requires = "job")]
    image: Option<String>,

    /// Service account of that Job, where a backend takes the credentials of one
    #[arg(long, value_name = "NAME", requires = "job")]
    service_account: Option<String>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For the test reports of CI
    Junit,
}

impl Check {
    pub(super) fn run(&self, out: &mut impl Write, err: &mut impl Write) -> Result<i32> {
        let outcome = crate::run(&self.request)?;
        super::warn(&outcome, err);
        let made = outcome.stages;
        if self.job {
            let plan = plan::plan(&made, &Environment::default())?;
            write::print_text(&job::manifest(self, &made, &plan.variables)?, out)?;
            return Ok(0);
        }
        let environment = Environment::read();
        let plan = plan::plan(&made, &environment)?;
        let hidden = Arc::new(plan.hidden);
        let entries = if self.offline {
            offline(plan.steps)
        } else {
            self.attempt(plan.steps, Arc::clone(&hidden), environment)?
        };
        let entries: Vec<Entry> = entries.into_iter().map(|entry| hidden.clean(entry)).collect();
        write::print_text(&report::print(&entries, self.format)?, out)?;
        Ok(report::exit_code(&entries))
    }

    /// Tries everything at the same time, each with its limit.
    fn attempt(&self, steps: Vec<Step>, hidden: Arc<Hidden>, environment: Environment) -> Result<Vec<Entry>> {
        let net = net::Net::new(self.timeout, self.retries, &self.ca_file, &self.connect_to, environment, hidden)?;
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => bail!("no connection can be opened on this machine: {error}"),
        };
        let entries = runtime.block_on(net::all(steps, net, self.overall_timeout));
        // A name that is still being resolved blocks a thread, which must not hold up the end.
        runtime.shutdown_background();
        Ok(entries)
    }
}

/// What needs a connection is skipped.
fn offline(steps: Vec<Step>) -> Vec<Entry> {
    steps
        .into_iter()
        .map(|step| {
            let answer = match step.act {
                Act::Known(answer) => answer,
                Act::Try(_) => Answer::skipped("--offline: nothing was connected to"),
            };
            step.entry.answered(answer)
        })
        .collect()
}

/// A time limit: more than nothing, and less than a day.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 86_400.0 => Ok(Duration::from_secs_f64(number)),
        _ => Err("not a number of seconds above 0 and up to 86400".to_owned()),
    }
}
