//! How subcommands look on a terminal: colour, width, tables. Only they ask the environment, never a rendering run.

use std::env;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use crate::finding;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set or `CLICOLOR` is 0.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The colours that are used, as ANSI codes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Paint {
    Bold,
    Red,
    Green,
    Cyan,
}

impl Color {
    /// Whether stdout gets colours.
    pub(super) fn on(self) -> bool {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let off = env::var_os("CLICOLOR").is_some_and(|value| value == "0");
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stdout().is_terminal() && !set("NO_COLOR") && !off && !dumb(),
        }
    }
}

/// Whether the terminal knows no escape codes.
fn dumb() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// A line on stderr that the next one replaces, if stderr is a terminal; an empty one takes it away.
pub(super) fn status(text: &str) {
    let Some((columns, _)) = terminal_size::terminal_size_of(io::stderr()).filter(|_| !dumb()) else { return };
    // One that the terminal broke could not be taken away as a whole.
    let line: String = text.chars().take(usize::from(columns.0).saturating_sub(1)).collect();
    let mut out = io::stderr().lock();
    let _ = write!(out, "\r\u{1b}[K{line}");
    let _ = out.flush();
}

/// A text in a colour, or as it is.
pub(super) fn paint(text: &str, paint: Paint, on: bool) -> String {
    let code = match paint {
        Paint::Bold => 1,
        Paint::Red => 31,
        Paint::Green => 32,
        Paint::Cyan => 36,
    };
    if on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// The columns of the terminal, `COLUMNS` first; nothing where lines may have any length.
pub(super) fn width() -> Option<usize> {
    let set = env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
    set.or_else(|| terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0)))
}

/// The narrowest that the last column of a table may be before its rows are stacked.
const NARROWEST: usize = 24;

/// A table whose last column wraps; where there is no room for it, each row is a paragraph of its own.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], width: Option<usize>, color: bool) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| inline(cell)).collect()).collect();
    let count = |text: &str| text.chars().count();
    let widths: Vec<usize> = header
        .iter()
        .enumerate()
        .map(|(at, name)| rows.iter().map(|row| count(&row[at])).chain([count(name)]).max().unwrap_or_default())
        .collect();
    let (fixed, last) = widths.split_at(widths.len().saturating_sub(1));
    let before: usize = fixed.iter().map(|width| width + 2).sum();
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(before));
    if room < NARROWEST && last.first().is_some_and(|last| *last > room) {
        return stacked(header, &rows, width.unwrap_or(NARROWEST), color);
    }
    let mut text = String::new();
    let mut line = |cells: &[String], bold: bool| {
        let (last, first) = cells.split_last().map_or((String::new(), &[][..]), |(last, first)| (last.clone(), first));
        let mut head = first
            .iter()
            .zip(fixed)
            .fold(String::new(), |head, (cell, width)| head + cell + &" ".repeat(width + 2 - count(cell)));
        for part in wrap(&last, room) {
            let whole = format!("{head}{part}");
            text.push_str(&paint(whole.trim_end(), Paint::Bold, bold && color));
            text.push('\n');
            head = " ".repeat(before);
        }
    };
    line(&header.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), true);
    for row in &rows {
        line(row, false);
    }
    text
}

/// A text of a bundle in one line, as a terminal may show it.
pub(super) fn inline(text: &str) -> String {
    finding::shown(&text.replace('\n', " ")).into_owned()
}

fn stacked(header: &[&str], rows: &[Vec<String>], width: usize, color: bool) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&paint(&row[0], Paint::Bold, color));
        text.push('\n');
        for (name, cell) in header.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty()) {
            let parts = wrap(&format!("{}: {cell}", name.to_lowercase()), width.saturating_sub(4).max(NARROWEST / 2));
            for (index, part) in parts.iter().enumerate() {
                text.extend([if index == 0 { "  " } else { "    " }, part, "\n"]);
            }
        }
    }
    text
}

/// A text in lines of at most `width` characters, broken at blanks and in a longer word behind commas; what is longer
/// still keeps its line.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let parts = if word.chars().count() > width { word.split_inclusive(',').collect() } else { vec![word] };
        for (index, part) in parts.into_iter().enumerate() {
            let line = lines.last().map_or(0, |line| line.chars().count());
            let blank = if line > 0 && index == 0 { " " } else { "" };
            match lines.last_mut() {
                Some(last) if line == 0 || line + blank.len() + part.chars().count() <= width => {
                    last.extend([blank, part]);
                }
                _ => lines.push(part.to_owned()),
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_wraps_its_last_column_and_stacks_where_there_is_no_room() {
        let rows = [vec!["one".to_owned(), "some words that go on and on".to_owned()]];
        let wide = table(&["NAME", "ABOUT"], &rows, None, false);
        assert_eq!(wide, "NAME  ABOUT\none   some words that go on and on\n");
        let wrapped = table(&["NAME", "ABOUT"], &rows, Some(30), false);
        assert_eq!(wrapped, "NAME  ABOUT\none   some words that go on\n      and on\n");
        let narrow = table(&["NAME", "ABOUT"], &rows, Some(20), false);
        assert_eq!(narrow, "one\n  about: some\n    words that go on\n    and on\n");
        let rows = [vec!["\u{1b}[2J".to_owned(), "two\nlines".to_owned()]];
        assert_eq!(table(&["NAME", "ABOUT"], &rows, None, false), "NAME       ABOUT\n\\u{1b}[2J  two lines\n");
        assert_eq!(wrap("a {\"b\":1,\"c\":2,\"d\":3}", 12), ["a {\"b\":1,", "\"c\":2,\"d\":3}"]);
    }
}
