//! What a stage found wrong: all of it, not only the first.

use std::borrow::Cow;
use std::fmt;

/// The findings of one stage, at least one, each a message that a person can act on.
#[derive(Debug)]
pub struct Findings(Vec<String>);

impl Findings {
    /// The messages, in the order they were found.
    #[must_use]
    pub fn messages(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Findings {}

/// Collects findings while a stage goes on.
#[derive(Debug, Default)]
pub struct Collect(Vec<String>);

impl Collect {
    /// Notes one finding; the same one twice counts once.
    pub fn push(&mut self, message: impl Into<String>) {
        self.add(message.into());
    }

    // What every caller would have a copy of stands apart, here and below.
    #[inline(never)]
    fn add(&mut self, message: String) {
        if !self.0.contains(&message) {
            self.0.push(message);
        }
    }

    /// Takes the value of a result, or its error as findings.
    pub fn ok<T>(&mut self, result: anyhow::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn fail(&mut self, error: &anyhow::Error) {
        match error.downcast_ref::<Findings>() {
            Some(findings) => findings.messages().iter().for_each(|message| self.push(message.clone())),
            None => self.push(format!("{error:#}")),
        }
    }

    /// The value, unless anything was found.
    pub fn finish<T>(self, value: T) -> anyhow::Result<T> {
        if self.0.is_empty() { Ok(value) } else { Err(Findings(self.0).into()) }
    }

    /// Whether nothing was found so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `; did you mean `x`?` for the candidate nearest to a misspelled word, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}

/// The candidate that a misspelled word most likely meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_of(word, &candidates.into_iter().collect::<Vec<_>>())
}

#[inline(never)]
fn nearest_of<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    candidates
        .iter()
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.len().min(word.len()) / 4
                || (word.len() >= 3 && (candidate.starts_with(word) || word.starts_with(candidate)))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The beginning of a text that may be long.
#[must_use]
pub fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A message as a terminal may show it: control characters and those that turn the direction of text are written out, and a
/// line after the first is indented, so that it cannot pass for another message.
#[must_use]
pub fn shown(message: &str) -> Cow<'_, str> {
    let turns =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let odd = |c: char| (c.is_control() && c != '\t') || turns(c);
    if !message.contains(odd) {
        return Cow::Borrowed(message);
    }
    let mut text = String::with_capacity(message.len() + 16);
    for c in message.chars() {
        match c {
            '\n' => text.push_str("\n    "),
            c if odd(c) => text.extend(c.escape_unicode()),
            c => text.push(c),
        }
    }
    Cow::Owned(text)
}

/// A list as people read it: `` `a`, `b` ``.
pub fn backticked<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(&words.into_iter().collect::<Vec<_>>())
}

#[inline(never)]
fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
