//! What a build without the client says.

#![allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same signatures as with the client")]

use std::io::Write;

use anyhow::Result;

use super::{Pull, Push};

impl Push {
    pub(in super::super) fn run(&self, _: &mut impl Write, err: &mut impl Write) -> Result<i32> {
        Ok(left_out("push", err))
    }
}

impl Pull {
    pub(in super::super) fn run(&self, _: &mut impl Write, err: &mut impl Write) -> Result<i32> {
        Ok(left_out("pull", err))
    }
}

/// Says what this build lacks. A closed stderr changes nothing.
fn left_out(subcommand: &str, err: &mut impl Write) -> i32 {
    let _ = writeln!(
        err,
        "error: `bundle {subcommand}` is not in this build; build one with `cargo install --path . --locked --features oci`, or \
         share the archive of `floe-render bundle pack` as a file"
    );
    2
}
