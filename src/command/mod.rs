//! The subcommands. Each is a module with its flags and what it does; all of them stand on the stages of [`crate::run`].

pub mod schema;

use std::io::Write;

use anyhow::Result;

use crate::cli::Command;

/// Runs a subcommand; what it prints goes to `out`. Returns the exit code.
pub fn run(command: &Command, out: &mut impl Write) -> Result<i32> {
    match command {
        Command::Schema(schema) => schema.run(out),
    }
}
