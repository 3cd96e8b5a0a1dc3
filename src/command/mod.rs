//! The subcommands. Each is a module with its flags and what it does; all of them stand on the stages of [`crate::run`].

pub mod bundle;
pub mod check;
pub mod complete;
pub mod console;
pub mod diff;
pub mod explain;
pub mod graph;
pub mod list;
pub mod man;
pub mod migrate;
mod sample;
pub mod schema;
pub mod show;
mod xml;

use std::io::Write;

use anyhow::Result;

use crate::Outcome;
use crate::cli::Command;
use crate::finding::shown;

/// Runs a subcommand; what it prints goes to `out`, what a user should know to `err`. Returns the exit code.
pub fn run(command: &Command, out: &mut impl Write, err: &mut impl Write) -> Result<i32> {
    match command {
        Command::Bundle(bundle) => bundle.run(out, err),
        Command::Check(check) => check.run(out, err),
        Command::Diff(diff) => diff.run(out, err),
        Command::Explain(explain) => explain.run(out),
        Command::Graph(graph) => graph.run(out),
        Command::List(list) => list.run(out),
        Command::Man(man) => man.run(out),
        Command::Migrate(migrate) => migrate.run(out, err),
        Command::Schema(schema) => schema.run(out),
        Command::Show(show) => show.run(out),
    }
}

/// Tells the warnings of a run. A closed stderr is no reason to fail.
fn warn(outcome: &Outcome, err: &mut impl Write) {
    for warning in &outcome.warnings {
        let _ = writeln!(err, "warning: {}", shown(warning));
    }
}
