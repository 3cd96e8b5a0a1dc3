//! The command line program: prints what a run gives, the error chain when it fails, and picks the exit code.

use std::io::{self, Write};
use std::mem::ManuallyDrop;

use floe_render::cli::{Invocation, Render};
use floe_render::finding::{Findings, shown};
use floe_render::umbrella::{self, Chart};
use floe_render::{command, run, write};

fn main() {
    command::complete::if_asked();
    let arguments: Vec<_> = std::env::args_os().collect();
    let result = match Invocation::parse(&arguments).unwrap_or_else(|error| error.exit()) {
        Invocation::Render(request) => render(&request),
        Invocation::Command(command) => command::run(&command, &mut io::stdout().lock(), &mut io::stderr().lock()),
    };
    std::process::exit(result.unwrap_or_else(|error| {
        tell(&explain(&error));
        1
    }));
}

/// Renders and writes; gives the exit code.
fn render(request: &Render) -> anyhow::Result<i32> {
    // What the stages gave goes with the process.
    let outcome = ManuallyDrop::new(run(&request.request)?);
    warn(&outcome.warnings);
    if !request.chart && request.show_only.as_deref().is_none_or(|name| name == write::VALUES) {
        warn(&umbrella::lacking(&outcome.stages)?);
    }
    match &request.output_dir {
        Some(dir) if request.chart => {
            let chart = Chart::new(&outcome.stages);
            write::write(&chart.documents(&outcome.documents)?, dir)?;
            warn(&chart.warnings(dir));
        }
        Some(dir) => write::write(&outcome.documents, dir)?,
        None => write::print(&outcome.documents, request.show_only.as_deref(), &mut io::stdout().lock())?,
    }
    Ok(0)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        tell(&format!("warning: {}", shown(warning)));
    }
}

/// All findings of the stage that failed, or the chain of one error.
fn explain(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Findings>().map(Findings::messages) {
        Some([one]) => format!("error: {}", shown(one)),
        Some(several) => {
            let several: Vec<_> = several.iter().map(|one| shown(one)).collect();
            format!("error: {} things are wrong\n  - {}", several.len(), several.join("\n  - "))
        }
        None => format!("error: {}", shown(&format!("{error:#}"))),
    }
}

/// A closed stderr is no reason to fail.
fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
