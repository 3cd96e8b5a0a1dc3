//! `diff`: what a rendering run would change in a directory. Pipelines run it to find drift.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use similar::{ChangeTag, TextDiff};

use super::console::{Color, Paint, paint};
use crate::cli::Request;
use crate::umbrella::Chart;
use crate::write;

/// The exit code when the files are not what would be rendered.
const DRIFT: i32 = 3;

/// Shows what rendering would change in a directory; exit code 3 if anything
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
        floe-render diff -f manifest.yaml -o rendered\n  \
        floe-render diff -f manifest.yaml -e production -o rendered/production --color never > drift.patch\n\n\
        Exit codes: 0 nothing would change, 3 something would, 1 the input or a bundle is wrong, 2 wrong usage")]
pub struct Diff {
    #[command(flatten)]
    request: Request,

    /// The directory that an earlier run wrote
    #[arg(short, long, value_name = "DIR")]
    output_dir: PathBuf,

    /// The directory is an umbrella chart, which `--chart` wrote
    #[arg(long)]
    chart: bool,

    /// Lines of context around each change
    #[arg(short = 'U', long, value_name = "LINES", default_value_t = 3)]
    unified: usize,

    /// When to colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Color,
}

impl Diff {
    pub(super) fn run(&self, out: &mut impl Write, err: &mut impl Write) -> Result<i32> {
        let mut outcome = crate::run(&self.request)?;
        super::warn(&outcome, err);
        let dir = &self.output_dir;
        if self.chart {
            outcome.documents = Chart::new(&outcome.stages).documents(&outcome.documents)?;
        }
        let color = self.color.on();
        let mut text = String::new();
        let mut drift = Vec::new();
        for document in &outcome.documents {
            let path = dir.join(document.name);
            let shown = path.display().to_string();
            match fs::read(&path) {
                Ok(bytes) if bytes == document.text.as_bytes() => {}
                Ok(bytes) => {
                    drift.push(format!("{shown} differs"));
                    self.compare(&shown, &String::from_utf8_lossy(&bytes), &shown, &document.text, color, &mut text);
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    drift.push(format!("{shown} is missing"));
                    self.compare("/dev/null", "", &shown, &document.text, color, &mut text);
                }
                Err(error) => return Err(error).with_context(|| format!("{shown}: cannot be read")),
            }
        }
        for name in write::stale(&outcome.documents, dir) {
            let shown = dir.join(&name).display().to_string();
            drift.push(format!("{shown} is of an earlier selection"));
            let old = fs::read_to_string(&shown).with_context(|| format!("{shown}: cannot be read"))?;
            self.compare(&shown, &old, "/dev/null", "", color, &mut text);
        }
        write::print_text(&text, out)?;
        if drift.is_empty() {
            return Ok(0);
        }
        let list = drift.join("\n  - ");
        let _ = writeln!(
            err,
            "drift: {} of the files would change\n  - {list}\nTo write them, run floe-render with the same flags and \
             `-o {}`, without `diff`.",
            drift.len(),
            dir.display()
        );
        Ok(DRIFT)
    }

    /// Appends the unified diff of one file.
    fn compare(&self, from: &str, old: &str, to: &str, new: &str, color: bool, text: &mut String) {
        let diff = TextDiff::from_lines(old, new);
        let head = format!("--- {from}\n+++ {to}");
        for line in head.lines() {
            text.extend([&paint(line, Paint::Bold, color), "\n"]);
        }
        for hunk in diff.unified_diff().context_radius(self.unified).iter_hunks() {
            let _ = writeln!(text, "{}", paint(&hunk.header().to_string(), Paint::Cyan, color));
            for change in hunk.iter_changes() {
                let (sign, of) = match change.tag() {
                    ChangeTag::Delete => ('-', Some(Paint::Red)),
                    ChangeTag::Insert => ('+', Some(Paint::Green)),
                    ChangeTag::Equal => (' ', None),
                };
                let line = format!("{sign}{}", change.value().trim_end_matches('\n'));
                text.push_str(&of.map_or_else(|| line.clone(), |of| paint(&line, of, color)));
                text.push_str(if change.missing_newline() { "\n\\ No newline at end of file\n" } else { "\n" });
            }
        }
    }
}
