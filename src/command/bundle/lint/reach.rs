//! Which branches of the templates an example leads into. What none leads into has been rendered by nobody.

use std::fmt::Write;
use std::ops::Range;

use super::Linted;
use crate::command::sample::Sample;
use crate::render::{GLUED, Rendered, Renderer};
use crate::uses;

/// What a bundle is rendered with.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) sample: Sample,
    /// Whether the options of the platform that its templates read are set too.
    pub(super) platform: bool,
}

/// A branch: what stands behind an `if`, `elif`, `else` or `for`.
struct Branch {
    /// Its template, by number.
    template: usize,
    /// The line of its tag.
    line: usize,
    /// Its tag, and those before it whose conditions did not hold.
    tags: Vec<String>,
    /// The branch around it.
    around: Option<usize>,
    /// What stands in it, in the template's text.
    body: Range<usize>,
    /// What led into it first.
    reached: Option<Setting>,
}

/// A template whose branches tell when they run.
struct Template<'a> {
    path: String,
    source: &'a str,
    telling: String,
}

/// The branches of a bundle.
pub(super) struct Reach<'a> {
    renderer: Renderer,
    templates: Vec<Template<'a>>,
    branches: Vec<Branch>,
}

impl<'a> Reach<'a> {
    pub(super) fn new(linted: &Linted<'a>) -> Self {
        let mut reach = Reach { renderer: Renderer::new(), templates: Vec::new(), branches: Vec::new() };
        for (file, source) in &linted.templates {
            reach.read(format!("{}/{file}", linted.bundle.folder), source);
        }
        reach
    }

    fn read(&mut self, path: String, source: &'a str) {
        let mut telling = String::with_capacity(source.len() * 2);
        let mut open: Vec<usize> = Vec::new();
        let mut copied = 0;
        for at in marks(source).filter(|at| source[at.clone()].starts_with("{%")) {
            let tag = &source[at.clone()];
            let word = tag.trim_start_matches(['{', '%', '-', '+', ' ']).split([' ', '-', '+', '%']).next();
            let word = word.unwrap_or_default();
            let mut tags = Vec::new();
            if ["elif", "else", "endif", "endfor"].contains(&word)
                && let Some(ended) = open.pop()
            {
                self.branches[ended].body.end = at.start;
                tags.clone_from(&self.branches[ended].tags);
            }
            if ["if", "for", "elif", "else"].contains(&word) {
                let number = self.branches.len();
                telling.push_str(&source[copied..at.end]);
                let _ = write!(telling, "{{% if reached({number}) %}}{{% endif %}}");
                copied = at.end;
                tags.push(tag.to_owned());
                self.branches.push(Branch {
                    template: self.templates.len(),
                    line: source[..at.start].matches('\n').count() + 1,
                    tags,
                    around: open.last().copied(),
                    body: at.end..source.len(),
                    reached: None,
                });
                open.push(number);
            }
        }
        telling.push_str(&source[copied..]);
        self.templates.push(Template { path, source, telling });
    }

    /// Notes the branches that a rendering went through.
    pub(super) fn mark(&mut self, rendered: &Rendered, setting: &Setting) {
        let fragments = [&rendered.collector, &rendered.openlineage, &rendered.connections, &rendered.values];
        for fragment in fragments.into_iter().flatten() {
            if let Some(template) = self.templates.iter().find(|one| one.path == fragment.file) {
                for number in self.renderer.reached(&template.telling, fragment) {
                    self.branches[number].reached.get_or_insert_with(|| setting.clone());
                }
            }
        }
    }

    /// The branches that nothing led into yet, without those inside another such, and without those that only refuse.
    pub(super) fn missed(&self) -> Vec<usize> {
        let open = |around: Option<usize>| around.is_none_or(|number| self.branches[number].reached.is_some());
        let missed = self.branches.iter().enumerate().filter(|(_, one)| one.reached.is_none() && open(one.around));
        missed.filter(|(_, one)| !self.body(one).contains("refuse(")).map(|(number, _)| number).collect()
    }

    fn body(&self, branch: &Branch) -> &str {
        &self.templates[branch.template].source[branch.body.clone()]
    }

    /// The options that decide whether a branch runs, its own before those of the branches around it, and what leads to where
    /// it begins.
    pub(super) fn before(&self, number: usize) -> (Vec<String>, Option<&Setting>) {
        let branch = &self.branches[number];
        let around = std::iter::successors(Some(branch), |branch| Some(&self.branches[branch.around?]));
        let tags: Vec<&str> = around.flat_map(|branch| &branch.tags).map(String::as_str).collect();
        let options = uses::options_of(self.templates[branch.template].source, &tags.join(" "));
        (options, branch.around.and_then(|around| self.branches[around].reached.as_ref()))
    }

    /// `file:line` and the tag of a branch.
    pub(super) fn place(&self, number: usize) -> (String, &str) {
        let branch = &self.branches[number];
        let tag = branch.tags.last().map_or("", String::as_str);
        (format!("{}:{}", self.templates[branch.template].path, branch.line), tag)
    }

    /// The template values of a branch that text touches, as far as one can tell without rendering it.
    pub(super) fn glued(&self, number: usize) -> Vec<String> {
        let branch = &self.branches[number];
        let template = &self.templates[branch.template];
        let mut found = Vec::new();
        for at in marks(template.source) {
            let (before, after) = (&template.source[..at.start], &template.source[at.end..]);
            let line = before.rsplit('\n').next().unwrap_or_default();
            let inside = branch.body.contains(&at.start) && template.source[at.clone()].starts_with("{{");
            if !inside || line.trim_start().starts_with('#') {
                continue;
            }
            let text = |c: Option<char>, may: &str| c.is_some_and(|c| !c.is_whitespace() && !may.contains(c));
            // A tag may end before it or begin behind it; so may a mapping in one line, which the same characters do.
            if (text(before.chars().next_back(), "[{,}") || text(after.chars().next(), "]},:{"))
                || (before.ends_with("}}") || after.starts_with("{{"))
            {
                let number = before.matches('\n').count();
                let shown = template.source.lines().nth(number).unwrap_or_default().trim();
                found.push(format!("{}:{}: {GLUED} (`{shown}`)", template.path, number + 1));
            }
        }
        found
    }
}

/// The values and tags of a template, comments and raw text left out.
fn marks(source: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + source[at..].find('{')?;
            let rest = &source[start..];
            let end = match rest.as_bytes().get(1) {
                Some(b'#') => rest.find("#}").map(|end| end + 2),
                Some(b'{') => end(rest, "}}"),
                Some(b'%') => end(rest, "%}"),
                _ => Some(1),
            };
            at = start + end.unwrap_or(rest.len());
            let mark = &source[start..at];
            if mark.starts_with("{%") && mark.trim_matches(['{', '}', '%', '-', '+', ' ']) == "raw" {
                at += source[at..].find("endraw").unwrap_or(source.len() - at);
            } else if mark.starts_with("{{") || mark.starts_with("{%") {
                return Some(start..at);
            }
        }
    })
}

/// Where a mark ends: at its closing characters, outside of quotes.
fn end(mark: &str, closing: &str) -> Option<usize> {
    let mut quote = None;
    let mut chars = mark.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            Some(_) if c == '\\' => drop(chars.next()),
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if mark[at..].starts_with(closing) => return Some(at + closing.len()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_outside_of_comments_raw_text_and_quotes() {
        let source = "{# {{ a }} #}{x: {{ \"}}\" ~ '{%' }}}{% raw %}{% if %}{% endraw %}{%- if b -%}";
        let found: Vec<&str> = marks(source).map(|at| &source[at]).collect();
        assert_eq!(found, ["{{ \"}}\" ~ '{%' }}", "{%- if b -%}"]);
    }
}
