//! The command line program: prints what a run gives, the error chain when it fails, and picks the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use floe_render::cli::{Invocation, Render};
use floe_render::finding::Findings;
use floe_render::{command, run, write};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let result = match Invocation::parse(&arguments).unwrap_or_else(|error| error.exit()) {
        Invocation::Render(request) => render(&request).map(|()| 0),
        Invocation::Command(command) => command::run(&command, &mut io::stdout().lock()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tell(&explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn render(request: &Render) -> anyhow::Result<()> {
    let outcome = run(&request.request)?;
    warn(&outcome.warnings);
    match &request.output_dir {
        Some(dir) if request.chart => {
            write::write(&outcome.chart.documents(outcome.documents)?, dir)?;
            warn(&outcome.chart.warnings(dir));
            Ok(())
        }
        Some(dir) => write::write(&outcome.documents, dir),
        None => write::print(&outcome.documents, request.show_only.as_deref(), &mut io::stdout().lock()),
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        tell(&format!("warning: {warning}"));
    }
}

/// All findings of the stage that failed, or the chain of one error.
fn explain(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Findings>().map(Findings::messages) {
        Some([one]) => format!("error: {one}"),
        Some(several) => {
            format!("error: {} things are wrong\n  - {}", several.len(), several.join("\n  - "))
        }
        None => format!("error: {error:#}"),
    }
}

/// A closed stderr is no reason to fail.
fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
