//! `man`: the manual pages, made from the flags themselves.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::{cli, write};

/// Prints the manual page, or writes those of all subcommands into a directory
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  floe-render man > floe-render.1\n  floe-render man -o /usr/local/share/man/man1")]
pub struct Man {
    /// Write the pages of the program and of its subcommands into this directory
    #[arg(short, long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let command = cli::command();
        if let Some(dir) = &self.output_dir {
            fs::create_dir_all(dir)
                .and_then(|()| clap_mangen::generate_to(command, dir))
                .with_context(|| format!("--output-dir {}: cannot be written", dir.display()))?;
            return Ok(0);
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        write::print_text(&String::from_utf8_lossy(&page), out)?;
        Ok(0)
    }
}
