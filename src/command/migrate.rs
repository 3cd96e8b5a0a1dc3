//! `migrate`: a manifest of the legacy form becomes one of the split form. Lines are edited, so that comments and layout stay.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::select::{Kind, LEGACY, legacy_pair};
use crate::yaml::{self, Node};
use crate::{file, write};

/// Rewrites the deprecated `plugins.observability` of a manifest as its two successors, comments kept
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  floe-render migrate manifest.yaml > migrated.yaml\n  \
        floe-render migrate --in-place manifest.yaml\n\nBoth manifests render the same files: floe-render diff shows it.")]
pub struct Migrate {
    /// The manifest
    #[arg(value_name = "FILE")]
    manifest: PathBuf,

    /// Write the manifest in its place instead of printing it
    #[arg(short, long)]
    in_place: bool,
}

impl Migrate {
    pub(super) fn run(&self, out: &mut impl Write, err: &mut impl Write) -> Result<i32> {
        let shown = self.manifest.display().to_string();
        let text = file::text(&self.manifest, yaml::MAX_BYTES, &shown)?;
        let migrated = migrated(&text, &shown)?;
        let new = migrated.as_deref().unwrap_or(&text);
        match (&migrated, self.in_place) {
            (None, _) => {
                let _ = writeln!(err, "{shown}: there is nothing to migrate: it has no `plugins.{LEGACY}`");
            }
            (Some(new), true) => {
                fs::write(&self.manifest, new).with_context(|| format!("{shown}: cannot be written"))?;
            }
            (Some(_), false) => {}
        }
        if !self.in_place {
            write::print_text(new, out)?;
        }
        Ok(0)
    }
}

/// The text in the split form; nothing where it has no legacy key.
fn migrated(text: &str, file: &str) -> Result<Option<String>> {
    let root = yaml::read(text, file)?;
    let Some(plugins) = root.get("plugins") else { return Ok(None) };
    let Some((key, node)) = plugins.entries().iter().find(|(key, _)| key.name == LEGACY) else { return Ok(None) };
    let place = format!("{file}:{}:{}", node.at.line, node.at.column);
    if Kind::ALL.iter().any(|kind| plugins.get(kind.key()).is_some()) {
        bail!("{place}: `plugins.{LEGACY}` and its successors are both set; remove `plugins.{LEGACY}`");
    }
    let name = if node.entries().is_empty() { Some(node) } else { node.get("type") };
    let Some((name, old)) = name.and_then(|node| Some((node, node.as_str()?))) else {
        bail!("{place}: `plugins.{LEGACY}` names no pair of backends; write the two successors by hand");
    };
    let (telemetry, lineage) = legacy_pair(old, &place)?;
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let flow = at(&lines, plugins)?.starts_with('{');
    // From the end to the beginning, so that no edit moves the place of the next.
    let last = last_line(node);
    let successor = format!("{}: {lineage}", Kind::Lineage.key());
    if flow {
        let end = end_of(&lines, node)?;
        edit(&mut lines, last, end, 0, &format!(", {successor}"));
    } else {
        let indent = usize::try_from(key.at.column).unwrap_or(1).saturating_sub(1);
        let index = index(last);
        let ending = if lines[index].ends_with("\r\n") { "\r\n" } else { "\n" };
        if !lines[index].ends_with('\n') {
            lines[index].push('\n');
        }
        lines.insert(index + 1, format!("{}{successor}{ending}", " ".repeat(indent)));
    }
    let from = column(name.at.column);
    let quoted = at(&lines, name)?.starts_with(['"', '\'']);
    edit(&mut lines, name.at.line, from + usize::from(quoted), old.len(), &telemetry);
    edit(&mut lines, key.at.line, column(key.at.column), LEGACY.len(), Kind::Telemetry.key());
    let new = lines.concat();
    verify(&root, &new, file, &telemetry, &lineage, &place)?;
    Ok(Some(new))
}

/// The new text must say what the old one said, but for the one key.
fn verify(old: &Node, new: &str, file: &str, telemetry: &str, lineage: &str, place: &str) -> Result<()> {
    let mut wanted = old.to_value();
    if let Some(plugins) = wanted.get_mut("plugins").and_then(Value::as_object_mut) {
        let mut given = plugins.shift_remove(LEGACY).unwrap_or_default();
        match given.get_mut("type") {
            Some(name) => *name = telemetry.into(),
            None => given = telemetry.into(),
        }
        plugins.insert(Kind::Telemetry.key().to_owned(), given);
        plugins.insert(Kind::Lineage.key().to_owned(), lineage.into());
    }
    match yaml::read(new, file) {
        Ok(node) if node.to_value() == wanted => Ok(()),
        _ => bail!(
            "{place}: the way `plugins.{LEGACY}` is written cannot be edited line by line; write by hand\n  plugins:\n    \
             {}: {telemetry}\n    {}: {lineage}",
            Kind::Telemetry.key(),
            Kind::Lineage.key()
        ),
    }
}

fn index(line: u64) -> usize {
    usize::try_from(line).unwrap_or(1).saturating_sub(1)
}

fn column(column: u64) -> usize {
    usize::try_from(column).unwrap_or(1).saturating_sub(1)
}

/// The byte of a line at a column in characters.
fn byte(line: &str, column: usize) -> usize {
    line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
}

/// The text from a node on, to the end of its line.
fn at<'a>(lines: &'a [String], node: &Node) -> Result<&'a str> {
    let line = lines.get(index(node.at.line)).context("a node lies outside the text")?;
    Ok(&line[byte(line, column(node.at.column))..])
}

/// The last line that a node or anything in it begins on.
fn last_line(node: &Node) -> u64 {
    node.entries().iter().map(|(_, below)| last_line(below)).max().unwrap_or_default().max(node.at.line)
}

/// The column after a scalar, or after the brace that closes a mapping, on its line.
fn end_of(lines: &[String], node: &Node) -> Result<usize> {
    let rest = at(lines, node)?;
    let length = match rest.chars().next() {
        Some('{') => rest.find('}').map_or(rest.len(), |end| end + 1),
        Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
        _ => rest.find([',', '}', '#', '\n', '\r']).unwrap_or(rest.len()),
    };
    let taken = rest[..length].trim_end();
    Ok(column(node.at.column) + taken.chars().count())
}

/// Replaces so many bytes of a line, from a column on.
fn edit(lines: &mut [String], line: u64, from: usize, length: usize, with: &str) {
    if let Some(text) = lines.get_mut(index(line)) {
        let start = byte(text, from);
        let end = (start + length).min(text.len());
        text.replace_range(start..end, with);
    }
}
