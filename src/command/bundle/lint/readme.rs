//! What the README of a bundle says of options and keys of Secrets: that they exist. Prose may speak of anything, so only
//! two things are looked at: the first column of a table headed `option` or `key`, and a word behind `key` or `keys` in a
//! paragraph about a Secret.

use super::{Linted, README};
use crate::finding::{Collect, backticked, did_you_mean};

pub(super) fn check(subject: &Linted<'_>, text: &str, found: &mut Collect) {
    let path = format!("{}/{README}", subject.bundle.folder);
    let lines: Vec<&str> = text.lines().collect();
    let mut start = 0;
    for block in lines.split(|line| line.trim().is_empty()) {
        let words = if block.first().is_some_and(|line| line.starts_with('|')) {
            in_table(block)
        } else if block.iter().any(|line| line.contains("Secret")) {
            in_prose(block)
        } else {
            Vec::new()
        };
        for (line, word, what) in words {
            let known = match what {
                What::Option => is_option(subject, word),
                What::Key => keys(subject).any(|key| key == word),
            };
            if known {
                continue;
            }
            let (what, file, names): (_, _, Vec<&str>) = match what {
                What::Option => ("an option", "options.schema.json", options(subject).collect()),
                What::Key => ("a key of a Secret", "bundle.yaml", keys(subject).collect()),
            };
            let hint = match did_you_mean(word, names.iter().copied()) {
                meant if !meant.is_empty() => meant,
                _ if names.is_empty() => String::new(),
                _ => format!("; it has {}", backticked(names)),
            };
            found.push(format!(
                "{path}:{}: the README names `{word}` as {what}, which {file} does not have{hint}",
                start + line + 1
            ));
        }
        start += block.len() + 1;
    }
}

/// What a word of the README is the name of.
#[derive(Clone, Copy)]
enum What {
    Option,
    Key,
}

/// The names in the first column of a table, if its header says what they are.
fn in_table<'a>(block: &[&'a str]) -> Vec<(usize, &'a str, What)> {
    let first = |line: &&'a str| line.split('|').nth(1).unwrap_or_default().trim();
    let what = match block.first().map(first).unwrap_or_default().to_lowercase().as_str() {
        "option" | "options" => What::Option,
        "key" | "keys" => What::Key,
        _ => return Vec::new(),
    };
    let rows = block.iter().enumerate().skip(2);
    rows.flat_map(|(line, row)| quoted(first(row)).map(move |(_, word)| (line, word, what))).collect()
}

/// The names behind `key` or `keys`.
fn in_prose<'a>(block: &[&'a str]) -> Vec<(usize, &'a str, What)> {
    let words = block.iter().enumerate().flat_map(|(line, text)| quoted(text).map(move |one| (line, one)));
    words
        .filter(|(_, (before, _))| matches!(before.split_whitespace().last(), Some("key" | "keys")))
        .map(|(line, (_, word))| (line, word, What::Key))
        .collect()
}

/// The backticked words of a text that could be names, and what stands before each.
fn quoted(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut at = 0;
    let parts = text.split('`').map(move |part| {
        let start = at;
        at += part.len() + 1;
        (&text[..start.saturating_sub(1).min(text.len())], part)
    });
    parts
        .skip(1)
        .step_by(2)
        .filter(|(_, word)| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)))
}

/// Whether a name is an option, holds options, lies within one, or ends the name of one: `db.host`, `port`.
fn is_option(subject: &Linted<'_>, word: &str) -> bool {
    options(subject).any(|name| {
        name == word
            || name.starts_with(&format!("{word}."))
            || word.starts_with(&format!("{name}."))
            || name.ends_with(&format!(".{word}"))
    })
}

fn options<'a>(subject: &'a Linted<'_>) -> impl Iterator<Item = &'a str> {
    subject.options.iter().map(|one| one.name.as_str())
}

fn keys<'a>(subject: &'a Linted<'_>) -> impl Iterator<Item = &'a str> {
    let meta = &subject.bundle.meta;
    let variables = meta.variables.iter().map(|(_, one)| one.key.as_str());
    variables.chain(meta.files.iter().map(|(_, one)| one.key.as_str()))
}
