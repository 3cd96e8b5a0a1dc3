//! The command line program: prints what a run gives, the error chain when it fails, and picks the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use floe_render::cli::Request;
use floe_render::finding::Findings;
use floe_render::{run, write};

fn main() -> ExitCode {
    let request = Request::parse();
    match render(&request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn render(request: &Request) -> anyhow::Result<()> {
    let outcome = run(request)?;
    for warning in &outcome.warnings {
        tell(&format!("warning: {warning}"));
    }
    match &request.output_dir {
        Some(dir) => write::write(&outcome.documents, dir),
        None => write::print(&outcome.documents, request.show_only.as_deref(), &mut io::stdout().lock()),
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
