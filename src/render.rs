//! Stage `render`: templates become fragments, parsed. The only user of the template engine.
//!
//! A value never reaches YAML as text. Each `{{ … }}` writes a token, the text is parsed, and a scalar that is exactly one
//! token becomes the value. A scalar that holds a token and something else is text glued to a value, and an error.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow, bail};
use minijinja::value::{Object, Serde, Value as Jinja, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::bundle::{Backend, Bundle, Bundles, Variable, secret_name};
use crate::cidr::{self, Cidr};
use crate::finding::Collect;
use crate::options::{Options, Resolved};
use crate::pointer;
use crate::reference::{self, Part};
use crate::select::{Kind, Plan, explain};
use crate::uses::{Place, options_at};
use crate::yaml::{self, Data, Node};

/// Instructions that one template may run.
const FUEL: u64 = 50_000;
/// The deepest nesting of calls in a template.
const RECURSION: usize = 32;
/// The most bytes that one template may write.
const MAX_OUTPUT: usize = yaml::MAX_BYTES;
/// What the templates of a bundle see, besides filters.
pub const CONTEXT: [&str; 9] =
    ["options", "id", "environment", "profile", "collector", "secrets", "files", "component", "service"];
/// What is wrong with a value that text touches.
pub const GLUED: &str = "text is glued to a template value: `{{ … }}` is a whole YAML scalar, without quotes, tags or text \
                         around it; write for example {{ \"https://\" ~ host }}";
/// What stands around the number of a token. Templates may not hold either.
const OPEN: char = '\u{E0F0}';
const CLOSE: char = '\u{E0F1}';

/// What one template gave.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// The selection it belongs to, as messages name it; `platform` for the layer under all.
    pub label: String,
    /// The template's path.
    pub file: String,
    /// The parsed document; late values are references `${env:NAME}`.
    pub doc: Node,
    /// What the template tells the user.
    pub warnings: Vec<String>,
    /// Of a template of the platform layer: what it asked for.
    pub asked: Asked,
    /// The rendered text, tokens in place of values.
    text: String,
    values: Vec<Value>,
    /// The template's own text.
    source: Arc<str>,
    /// What the template saw.
    context: Jinja,
}

impl Fragment {
    /// A line of the rendered text, counted from one, as a reader would see it.
    #[must_use]
    pub fn line(&self, line: u64) -> String {
        let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        restore(self.text.lines().nth(index).unwrap_or_default(), &self.values).trim().to_owned()
    }

    /// The rendered text from a node on, and what its line holds before it.
    fn text_at(&self, node: &Node) -> Option<(&str, &str)> {
        let line = self.text.lines().nth(usize::try_from(node.at.line).ok()?.checked_sub(1)?)?;
        let column = usize::try_from(node.at.column).ok()?.saturating_sub(1);
        Some(line.split_at(line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)))
    }

    /// The options that the template's line depends on, by their dotted names.
    #[cold]
    #[inline(never)]
    #[must_use]
    pub fn options(&self, node: &Node) -> Vec<String> {
        let Some(line) = self.template_line(node) else { return Vec::new() };
        let place = match (self.token_of_line(node), &node.data) {
            (Some((index, count)), _) => Place::Token { index, count },
            (None, Data::Scalar(_)) => Place::Literal,
            (None, _) => Place::Whole,
        };
        options_at(&self.source, line, place)
    }

    /// Which of the template values in its line a node is, and how many that line has; nothing for literal text.
    fn token_of_line(&self, node: &Node) -> Option<(usize, usize)> {
        let (before, from) = self.text_at(node)?;
        let count = |text: &str| text.matches(OPEN).count();
        token_number(from).map(|_| (count(before), count(before) + count(from)))
    }

    /// Where a node of the document was written, for messages.
    #[cold]
    #[inline(never)]
    #[must_use]
    pub fn place(&self, node: &Node) -> String {
        let Fragment { label, file, .. } = self;
        let shown = self.line(node.at.line);
        match self.template_line(node) {
            Some(line) => format!("{label}, {file}:{line}: `{shown}`"),
            None => format!("{label}, rendered line {} of {file}: `{shown}`", node.at.line),
        }
    }

    /// The line of the template that wrote a node, where that can be told.
    #[must_use]
    pub fn template_line(&self, node: &Node) -> Option<usize> {
        let line = usize::try_from(node.at.line).ok()?;
        let column = usize::try_from(node.at.column).ok()?;
        Template { path: &self.file, source: &self.source, context: &self.context }.line(&self.text, line, column)
    }
}

/// A template and what it saw, to find the line that wrote something.
struct Template<'a> {
    path: &'a str,
    source: &'a str,
    context: &'a Jinja,
}

impl Template<'_> {
    /// The line of the template that wrote a place of what it rendered. A template value has its own; literal text is looked
    /// for, between the template values around it if it could be of several lines.
    #[cold]
    #[inline(never)]
    fn line(&self, text: &str, line: usize, column: usize) -> Option<usize> {
        let renderer = Renderer::new();
        let of_token = |token| renderer.text(self.path, self.source, self.context, Some(token)).err()?.line();
        let start = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
        let (above, rest) = text.split_at(start);
        let (shown, below) = rest.split_once('\n').unwrap_or((rest, ""));
        let from = shown.char_indices().nth(column.saturating_sub(1)).map_or("", |(at, _)| &shown[at..]);
        let in_line = || shown.find(OPEN).and_then(|at| token_number(&shown[at..]));
        if let Some(token) = token_number(from).or_else(in_line) {
            return of_token(token);
        }
        let fits = |(_, template): &(usize, &str)| could_render(template, shown);
        let lines: Vec<usize> = self.source.lines().enumerate().filter(fits).map(|(index, _)| index + 1).collect();
        if lines.len() < 2 {
            return lines.first().copied();
        }
        let before = above.rfind(OPEN).and_then(|at| of_token(token_number(&above[at..])?)).unwrap_or(1);
        let after = below.find(OPEN).and_then(|at| of_token(token_number(&below[at..])?)).unwrap_or(usize::MAX);
        let mut between = lines.into_iter().filter(|line| (before..=after).contains(line));
        between.next().filter(|_| between.next().is_none())
    }

    /// `path:line` where the line is known, else the rendered line.
    fn place(&self, text: &str, line: usize, column: usize) -> String {
        match self.line(text, line, column) {
            Some(line) => format!("{}:{line}", self.path),
            None => format!("{}: rendered line {line}", self.path),
        }
    }
}

/// Which Secrets and files the templates of one backend asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Variables whose Secret a template named.
    pub secrets: Vec<String>,
    /// Files whose path a template wrote.
    pub files: Vec<String>,
}

/// What the templates of one backend gave.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// `collector.yaml.j2`.
    pub collector: Option<Fragment>,
    /// `openlineage.yaml.j2`.
    pub openlineage: Option<Fragment>,
    /// `connections.yaml.j2`.
    pub connections: Option<Fragment>,
    /// `values.yaml.j2`.
    pub values: Option<Fragment>,
    /// What `values.yaml.j2` asked for.
    pub values_asked: Asked,
    /// Files that the templates asked for.
    pub files: Vec<String>,
}

/// The template engine with the engine's rules set.
pub struct Renderer {
    environment: Environment<'static>,
    tokens: Arc<Mutex<Tokens>>,
}

#[derive(Default)]
struct Tokens {
    values: Vec<Value>,
    /// What `warn()` was given.
    warnings: Vec<String>,
    /// What `refuse()` was given.
    refused: Option<String>,
    /// Bytes of all values, about.
    size: usize,
    /// The token at which to fail, to learn the line of its template.
    fail_at: Option<usize>,
}

impl Renderer {
    /// A renderer for any number of templates.
    #[must_use]
    pub fn new() -> Self {
        let tokens = Arc::new(Mutex::new(Tokens::default()));
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION);
        // Nothing that a loop carries on: with the fuel this bounds how far a value can grow.
        environment.remove_global("namespace");
        // Filters whose output may be out of all proportion to their input.
        for filter in ["batch", "format", "indent", "pprint", "slice"] {
            environment.remove_filter(filter);
        }
        environment.add_filter("join", join);
        environment.add_filter("replace", replace);
        environment.add_filter("helm_tpl", helm_tpl);
        environment.add_filter("checksum", checksum);
        environment.add_filter("ip_block", ip_block);
        environment.add_filter("collector_escape", |text: String| reference::for_collector(&text));
        let shared = Arc::clone(&tokens);
        environment.add_function("warn", move |text: String| -> Result<(), Error> {
            let mut tokens =
                shared.lock().map_err(|_| Error::new(ErrorKind::InvalidOperation, "the renderer failed"))?;
            tokens.size += text.len();
            if tokens.size > MAX_OUTPUT {
                return Err(too_large());
            }
            if !tokens.warnings.contains(&text) {
                tokens.warnings.push(text);
            }
            Ok(())
        });
        let shared = Arc::clone(&tokens);
        environment.add_function("refuse", move |text: String| -> Result<(), Error> {
            if let Ok(mut tokens) = shared.lock() {
                tokens.refused = Some(text);
            }
            Err(Error::new(ErrorKind::InvalidOperation, "refused"))
        });
        environment.add_test("containing", |list: Vec<String>, item: String| list.contains(&item));
        let shared = Arc::clone(&tokens);
        environment.set_formatter(move |out, _, value| {
            let mut room = MAX_OUTPUT;
            measure(value, 0, &mut room)?;
            let json = to_json(value)?;
            let mut tokens =
                shared.lock().map_err(|_| Error::new(ErrorKind::InvalidOperation, "the renderer failed"))?;
            let number = tokens.values.len();
            if tokens.fail_at == Some(number) || has_token(&json) {
                return Err(Error::new(ErrorKind::InvalidOperation, "glued"));
            }
            tokens.values.push(json);
            tokens.size += MAX_OUTPUT - room;
            if tokens.size > MAX_OUTPUT {
                return Err(too_large());
            }
            drop(tokens);
            write!(out, "{OPEN}{number}{CLOSE}").map_err(Error::from)
        });
        Renderer { environment, tokens }
    }

    /// Renders one template of a bundle; nothing when the bundle has no such file.
    pub fn fragment(&self, bundle: &Bundle, file: &str, label: &str, context: &Jinja) -> Result<Option<Fragment>> {
        let Some(source) = bundle.text(file)? else { return Ok(None) };
        let path = format!("{}/{file}", bundle.folder);
        if source.contains([OPEN, CLOSE]) {
            bail!("{path}: holds a private-use character (U+E0F0 or U+E0F1), which the engine keeps for itself");
        }
        let (text, values) = self.text(&path, source, context, None).map_err(|error| match self.refused() {
            Some(text) => anyhow!("{label}: {text}"),
            None => explain_jinja(&error, &path, source),
        })?;
        let glued = |token: usize| self.glued(&path, source, context, token);
        let template = Template { path: &path, source, context };
        if let Some(token) = quoted(&text) {
            return Err(glued(token));
        }
        let mut doc = match yaml::read(&text, &path) {
            Ok(doc) => doc,
            Err(error) => bail!(unreadable(&error.to_string(), &template, &text, &values)),
        };
        match substitute(&mut doc, &values) {
            Ok(()) => {}
            Err(Misplaced::Glued(token)) => return Err(glued(token)),
            Err(Misplaced::Twice(key, at)) => {
                let line = restore(text.lines().nth(at.saturating_sub(1)).unwrap_or_default(), &values);
                bail!("{} (`{}`): duplicate key `{key}`", template.place(&text, at, 1), line.trim());
            }
        }
        let warnings = self.tokens.lock().map(|mut tokens| std::mem::take(&mut tokens.warnings)).unwrap_or_default();
        let warnings = warnings.into_iter().map(|text| format!("{label}: {text}")).collect();
        let (asked, context) = (Asked::default(), context.clone());
        let (file, source) = (path, Arc::from(source));
        let fragment = Fragment { label: label.to_owned(), file, doc, warnings, asked, text, values, source, context };
        let mut found = Collect::default();
        fragment.doc.doubts(&mut |at, doubt| {
            let template = Template { path: &fragment.file, source: &fragment.source, context: &fragment.context };
            let [line, column] = [at.line, at.column].map(|one| usize::try_from(one).unwrap_or_default());
            let place = template.place(&fragment.text, line, column);
            found.push(format!("{place} (`{}`): {}", fragment.line(at.line), explain(doubt)));
        });
        found.finish(Some(fragment))
    }

    /// The names that a template uses and does not define, with the keys below them: `options.db.host`.
    pub fn undeclared(&self, path: &str, source: &str) -> Result<Vec<String>> {
        let template = self
            .environment
            .template_from_named_str(path, source)
            .map_err(|error| explain_jinja(&error, path, source))?;
        let known = |name: &str| self.environment.globals().any(|(global, _)| global == name);
        let mut names: Vec<String> =
            template.undeclared_variables(true).into_iter().filter(|name| !known(name)).collect();
        names.sort();
        Ok(names)
    }

    /// The numbers that a template gives to `reached()` when it sees what a fragment's template saw.
    #[must_use]
    pub fn reached(&self, source: &str, fragment: &Fragment) -> Vec<usize> {
        let numbers = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&numbers);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(2 * FUEL));
        environment.add_function("reached", move |number: usize| {
            if let Ok(mut numbers) = noted.lock() {
                numbers.push(number);
            }
            false
        });
        if let Ok(mut tokens) = self.tokens.lock() {
            *tokens = Tokens::default();
        }
        // It was rendered before; all that may fail is a template that says how often it went through a loop.
        let _ = environment.render_named_str(&fragment.file, source, fragment.context.clone());
        numbers.lock().map(|mut numbers| std::mem::take(&mut *numbers)).unwrap_or_default()
    }

    /// What a template said when it refused to go on.
    fn refused(&self) -> Option<String> {
        self.tokens.lock().ok()?.refused.take()
    }

    fn text(
        &self,
        path: &str,
        source: &str,
        context: &Jinja,
        fail_at: Option<usize>,
    ) -> Result<(String, Vec<Value>), Error> {
        if let Ok(mut tokens) = self.tokens.lock() {
            *tokens = Tokens { fail_at, ..Tokens::default() };
        }
        let mut out = Bounded(Vec::with_capacity(source.len()));
        let template = self.environment.template_from_named_str(path, source)?;
        template.render_captured_to(context.clone(), &mut out)?;
        let values = self.tokens.lock().map(|mut tokens| std::mem::take(&mut tokens.values)).unwrap_or_default();
        let text =
            String::from_utf8(out.0).map_err(|_| Error::new(ErrorKind::InvalidOperation, "the output is not UTF-8"))?;
        Ok((text, values))
    }

    /// The error for a token that shares its scalar with other text: rendered again up to it, the engine tells the line.
    fn glued(&self, path: &str, source: &str, context: &Jinja, token: usize) -> anyhow::Error {
        match self.text(path, source, context, Some(token)) {
            Err(error) => explain_jinja(&error, path, source),
            Ok(_) => anyhow!("{path}: text is glued to a template value"),
        }
    }
}

impl Default for Renderer {
    fn default() -> Self {
        Renderer::new()
    }
}

/// A buffer that takes at most [`MAX_OUTPUT`] bytes.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other(format!("the template writes more than {MAX_OUTPUT} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_large() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("the template writes more than {MAX_OUTPUT} bytes"))
}

/// Takes the size of a value off the room that is left, without turning it into anything.
fn measure(value: &Jinja, depth: usize, room: &mut usize) -> Result<(), Error> {
    if depth > yaml::MAX_DEPTH {
        let text = format!("a value is nested deeper than {} levels", yaml::MAX_DEPTH);
        return Err(Error::new(ErrorKind::InvalidOperation, text));
    }
    *room = room.checked_sub(value.as_str().map_or(1, str::len)).ok_or_else(too_large)?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                measure(&item, depth + 1, room)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                *room = room.checked_sub(key.as_str().map_or(1, str::len)).ok_or_else(too_large)?;
                measure(&value.get_item(&key)?, depth + 1, room)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn to_json(value: &Jinja) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    serde_json::to_value(value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// Whether a value was itself made from rendered text (`{% set x %}…{% endset %}`).
fn has_token(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(OPEN),
        Value::Array(items) => items.iter().any(has_token),
        Value::Object(map) => map.iter().any(|(key, item)| key.contains(OPEN) || has_token(item)),
        _ => false,
    }
}

/// The first token that stands beside a quote, or behind a tag or an anchor, which would change what it is.
fn quoted(text: &str) -> Option<usize> {
    let before = text.match_indices(OPEN).find(|(at, _)| {
        let before = &text[..*at];
        let word = before.trim_end_matches(' ').rsplit([' ', '\n', '[', '{', ',']).next().unwrap_or_default();
        before.ends_with(['"', '\'']) || word.starts_with(['!', '&'])
    });
    let after = text.match_indices(CLOSE).find(|(at, _)| text[at + CLOSE.len_utf8()..].starts_with(['"', '\'']));
    let from = before.map(|(at, _)| at).or_else(|| after.and_then(|(at, _)| text[..at].rfind(OPEN)))?;
    token_number(&text[from..])
}

fn token_number(text: &str) -> Option<usize> {
    text.strip_prefix(OPEN)?.split(CLOSE).next()?.parse().ok()
}

/// What may be wrong with a token's place.
enum Misplaced {
    /// The token of this number is not a scalar of its own.
    Glued(usize),
    /// Two keys of a mapping are the same value, on this line.
    Twice(String, usize),
}

/// Puts values in place of tokens.
fn substitute(node: &mut Node, values: &[Value]) -> Result<(), Misplaced> {
    match &mut node.data {
        Data::Scalar(Value::String(text)) => {
            if let Some(value) = token_value(text, values)? {
                node.data = Data::Scalar(value.clone());
            }
            Ok(())
        }
        Data::Scalar(_) => Ok(()),
        Data::List(items) => items.iter_mut().try_for_each(|item| substitute(item, values)),
        Data::Map(entries) => {
            let mut made = false;
            for (key, item) in entries.iter_mut() {
                if let Some(value) = token_value(&key.name, values)? {
                    key.name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    made = true;
                }
                substitute(item, values)?;
            }
            let mut names = HashSet::new();
            match entries.iter().find(|(key, _)| made && !names.insert(&key.name)) {
                Some((key, _)) => {
                    Err(Misplaced::Twice(key.name.clone(), usize::try_from(key.at.line).unwrap_or_default()))
                }
                None => Ok(()),
            }
        }
    }
}

fn token_value<'a>(text: &str, values: &'a [Value]) -> Result<Option<&'a Value>, Misplaced> {
    let Some(at) = text.find(OPEN) else { return Ok(None) };
    let number = token_number(&text[at..]).unwrap_or_default();
    let whole = at == 0 && text.find(CLOSE) == Some(text.len() - CLOSE.len_utf8());
    if whole { Ok(values.get(number)) } else { Err(Misplaced::Glued(number)) }
}

/// Whether a line of a template could have given a rendered line: its literal text stands there, in order.
fn could_render(template: &str, rendered: &str) -> bool {
    let mut literals = Vec::new();
    let mut rest = template.trim();
    while let Some(at) = ["{{", "{%", "{#"].iter().filter_map(|open| rest.find(open)).min() {
        literals.push(rest[..at].trim());
        let close = ["}}", "%}", "#}"].iter().filter_map(|close| rest[at..].find(close)).min();
        rest = close.map_or("", |end| &rest[at + end + 2..]);
    }
    literals.push(rest.trim());
    let rendered = rendered.trim();
    let mut at = 0;
    let in_order = literals.iter().all(|literal| {
        rendered[at..].find(literal).is_some_and(|found| {
            at += found + literal.len();
            true
        })
    });
    let first = literals.first().is_none_or(|first| rendered.starts_with(first));
    let last = literals.last().is_none_or(|last| rendered.ends_with(last));
    in_order && first && last && literals.iter().any(|literal| !literal.is_empty())
}

/// Rendered text with the values written out.
fn restore(text: &str, values: &[Value]) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        plain.push_str(&rest[..at]);
        let value = token_number(&rest[at..]).and_then(|number| values.get(number));
        let shown = value.map_or_else(String::new, Value::to_string);
        plain.extend(shown.chars().take(200));
        rest = rest[at..].split_once(CLOSE).map_or("", |(_, tail)| tail);
    }
    plain + rest
}

/// A YAML error in rendered text, with the line that it is on.
fn unreadable(error: &str, template: &Template<'_>, text: &str, values: &[Value]) -> String {
    let path = template.path;
    let rest = error.strip_prefix(path).and_then(|rest| rest.strip_prefix(':')).unwrap_or(error);
    let mut parts = rest.splitn(3, ':');
    let mut number = || parts.next().and_then(|number| number.parse::<usize>().ok());
    match (number(), number(), parts.next()) {
        (Some(line), Some(column), Some(message)) => {
            let shown = restore(text.lines().nth(line.saturating_sub(1)).unwrap_or_default(), values);
            let place = template.place(text, line, column);
            format!("{place}: what it renders is not YAML (`{}`):{message}", shown.trim())
        }
        _ => format!("{path}: what it renders is not YAML: {rest}"),
    }
}

/// The template engine's error as `file:line: what is wrong (the line)`.
fn explain_jinja(error: &Error, path: &str, source: &str) -> anyhow::Error {
    let line = error.line();
    let shown = line
        .and_then(|line| source.lines().nth(line.saturating_sub(1)))
        .map_or_else(String::new, |text| format!(" (`{}`)", text.trim()));
    let place = line.map_or_else(|| path.to_owned(), |line| format!("{path}:{line}"));
    let what = match error.kind() {
        ErrorKind::OutOfFuel => {
            format!("the template runs away: it used up its {FUEL} instructions; shorten its loops")
        }
        ErrorKind::UndefinedError => {
            "a variable or key that is not defined; templates see `options`, `id`, `environment`, \
                                      `profile`, `collector`, `secrets`, `files`, `component()` and `service()`"
                .to_owned()
        }
        ErrorKind::InvalidOperation if error.detail() == Some("glued") => GLUED.to_owned(),
        ErrorKind::WriteFailure => format!("the template writes more than {MAX_OUTPUT} bytes"),
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    anyhow!("{place}: {what}{shown}")
}

/// Joins a list to a string that may be written.
fn join(list: Jinja, separator: Option<String>) -> Result<String, Error> {
    let separator = separator.unwrap_or_default();
    let mut joined = String::new();
    for (index, item) in list.try_iter()?.enumerate() {
        if index > 0 {
            joined.push_str(&separator);
        }
        match item.as_str() {
            Some(text) => joined.push_str(text),
            None => joined.push_str(&item.to_string()),
        }
        if joined.len() > MAX_OUTPUT {
            return Err(too_large());
        }
    }
    Ok(joined)
}

/// Replaces a text in a string, as long as the string may be written.
fn replace(text: String, from: String, to: String) -> Result<String, Error> {
    if text.len().saturating_add(text.matches(&from).count().saturating_mul(to.len())) > MAX_OUTPUT {
        return Err(too_large());
    }
    Ok(text.replace(&from, &to))
}

/// Escapes `{{` in every string for charts that run values through Helm's `tpl`.
fn helm_tpl(value: Jinja) -> Result<Jinja, Error> {
    let json =
        serde_json::to_value(&value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let escaped = reference::map_strings(&json, &mut |text| text.replace("{{", "{{`{{`}}"));
    Ok(Jinja::from(Serde(&escaped)))
}

/// A short digest of a value, for labels that make pods restart when the value changes.
fn checksum(value: Jinja) -> Result<String, Error> {
    let text =
        serde_json::to_string(&value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(Sha256::digest(text).iter().take(8).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))
}

/// A CIDR as the `ipBlock` of a network policy, without some addresses; nothing where it holds no other.
fn ip_block(cidr: String, without: Vec<String>) -> Result<Jinja, Error> {
    let invalid = |text: &str| Error::new(ErrorKind::InvalidOperation, format!("`{text}` is no range of addresses"));
    let range = Cidr::parse(&cidr).ok_or_else(|| invalid(&cidr))?;
    let mut except = Vec::new();
    for address in &without {
        let address: IpAddr = address.parse().map_err(|_| invalid(address))?;
        if range.contains(address) {
            except.push(cidr::single(address));
        }
    }
    let block = match except.as_slice() {
        [] => serde_json::json!({"cidr": cidr}),
        // A policy takes no exception that is as large as the range.
        _ if range.is_single() => Value::Null,
        _ => serde_json::json!({"cidr": cidr, "except": except}),
    };
    Ok(Jinja::from(Serde(&block)))
}

/// A mapping that notes which of its keys a template asked for.
#[derive(Debug)]
struct Noted {
    entries: Vec<(String, Jinja)>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Object for Noted {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let key = key.as_str()?;
        let (_, value) = self.entries.iter().find(|(name, _)| name == key)?;
        if let Ok(mut asked) = self.asked.lock()
            && !asked.iter().any(|name| name == key)
        {
            asked.push(key.to_owned());
        }
        Some(value.clone())
    }
}

/// The context of one bundle's templates, and what they ask for.
struct Context {
    value: Jinja,
    sources: Sources,
}

/// The Secrets' keys and the files that templates may ask for, with those that they did ask for.
struct Sources {
    secrets: Jinja,
    files: Jinja,
    asked: [Arc<Mutex<Vec<String>>>; 2],
}

impl Sources {
    /// `key` tells the key of a variable in its Secret.
    fn new(
        bundle: &Bundle,
        options: &Value,
        connection: &str,
        mount: &str,
        key: impl Fn(&str, &Variable) -> String,
    ) -> Self {
        let secrets = bundle.meta.variables.iter().map(|(name, variable)| {
            let secret = secret_name(variable.secret.as_deref(), options, connection);
            let entry = serde_json::json!({"name": secret, "key": key(name, variable)});
            (name.to_owned(), Jinja::from(Serde(&entry)))
        });
        let files = bundle.meta.files.iter();
        let files = files.map(|(name, file)| (name.to_owned(), Jinja::from(format!("{mount}/{}", file.path()))));
        let asked = [Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new()))];
        let noted = |entries, asked: &Arc<_>| Jinja::from_object(Noted { entries, asked: Arc::clone(asked) });
        Sources { secrets: noted(secrets.collect(), &asked[0]), files: noted(files.collect(), &asked[1]), asked }
    }

    fn asked(&self) -> Asked {
        let [secrets, files] = self
            .asked
            .each_ref()
            .map(|list| list.lock().map(|mut names| std::mem::take(&mut *names)).unwrap_or_default());
        Asked { secrets, files }
    }
}

/// The ID of a component: its type, and the selection's id where that differs, and the role.
#[must_use]
pub fn component_id(kind: &str, id: &str, role: Option<&str>) -> String {
    let name: Vec<&str> = [(id != kind).then_some(id), role].into_iter().flatten().collect();
    if name.is_empty() { kind.to_owned() } else { format!("{kind}/{}", name.join("-")) }
}

/// The directory in a container under which a selection's files are mounted.
#[must_use]
pub fn mount_path(id: &str) -> String {
    format!("/etc/floe/{id}")
}

/// The directory in a container under which the platform layer's files are mounted; no selection's can be there.
pub const PLATFORM_MOUNT: &str = "/etc/floe-platform";

/// What every template sees, whatever bundle it is of.
fn common(plan: &Plan, platform: &Resolved) -> Vec<(&'static str, Jinja)> {
    let namespace = plan.namespace.clone();
    let service = move |name: String| match &namespace {
        Some(namespace) => format!("{name}.{namespace}.svc"),
        None => name,
    };
    vec![
        ("environment", Jinja::from(plan.environment.clone())),
        ("profile", Jinja::from(plan.profile.clone())),
        ("collector", Jinja::from(Serde(&platform.all))),
        ("service", Jinja::from_function(service)),
    ]
}

fn context(backend: &Backend, resolved: &Resolved, common: &[(&'static str, Jinja)]) -> Context {
    let meta = &backend.bundle.meta;
    let id = backend.selection.id.clone();
    let mut options = resolved.all.clone();
    for (name, variable) in meta.variables.iter() {
        if let Some(option) = &variable.option
            && let Some(value) = options.pointer_mut(&pointer::of_option(option))
            && value.is_null()
        {
            *value = Value::String(format!("${{env:{name}}}"));
        }
    }
    let connection = &backend.selection.secret.name;
    let key = |name: &str, variable: &Variable| backend.secret_key(name, variable).to_owned();
    let sources = Sources::new(&backend.bundle, &resolved.all, connection, &mount_path(&id), key);
    let of = id.clone();
    let component = move |kind: String, role: Option<String>| component_id(&kind, &of, role.as_deref());
    let entries = common.iter().cloned().chain([
        ("options", Jinja::from(Serde(&options))),
        ("id", Jinja::from(id)),
        ("secrets", sources.secrets.clone()),
        ("files", sources.files.clone()),
        ("component", Jinja::from_function(component)),
    ]);
    let value = Jinja::from(entries.collect::<BTreeMap<_, _>>());
    Context { value, sources }
}

/// Renders the templates of every backend.
pub fn render(renderer: &Renderer, bundles: &Bundles, options: &Options, plan: &Plan) -> Result<Vec<Rendered>> {
    let common = common(plan, &options.platform);
    let mut found = Collect::default();
    let mut all = Vec::new();
    for (backend, resolved) in bundles.backends.iter().zip(&options.backends) {
        let context = context(backend, resolved, &common);
        let label = backend.label();
        let mut fragment = |file: &str, wanted: bool| -> Option<Fragment> {
            if !wanted {
                return None;
            }
            let result = renderer.fragment(&backend.bundle, file, &label, &context.value);
            let mut fragment = found.ok(result).flatten()?;
            let mapping = matches!(fragment.doc.data, Data::Map(_));
            if !mapping && file != "connections.yaml.j2" {
                found.push(format!("{}: a fragment is a mapping; this one is none", fragment.file));
                return None;
            }
            rename_variables(&mut fragment.doc, backend);
            Some(fragment)
        };
        let kind = backend.selection.kind;
        let collector = fragment("collector.yaml.j2", kind == Kind::Telemetry);
        let openlineage = fragment("openlineage.yaml.j2", kind == Kind::Lineage);
        let files = context.sources.asked().files;
        let connections = fragment("connections.yaml.j2", true);
        context.sources.asked();
        let values = fragment("values.yaml.j2", true);
        let values_asked = context.sources.asked();
        let files: Vec<String> = files.iter().chain(&values_asked.files).cloned().collect();
        let (wanted, have) = match kind {
            Kind::Telemetry => ("collector.yaml.j2", collector.is_some()),
            Kind::Lineage => ("openlineage.yaml.j2", openlineage.is_some()),
        };
        let folder = &backend.bundle.folder;
        if !have && found.is_empty() {
            found.push(format!("{folder}: the file {wanted} is missing, which every {kind} bundle needs"));
        }
        if connections.is_none() && found.is_empty() {
            found.push(format!(
                "{folder}: a bundle needs a connections.yaml.j2, which tells the network policy what must be reached; \
                 `[]` says that nothing is"
            ));
        }
        all.push(Rendered { collector, openlineage, connections, values, values_asked, files });
    }
    found.finish(all)
}

/// Renders one template of the platform layer; `more` is what it sees besides the options.
pub fn platform(
    renderer: &Renderer,
    bundles: &Bundles,
    options: &Options,
    plan: &Plan,
    file: &str,
    more: &Value,
) -> Result<Option<Fragment>> {
    let mut entries: Vec<(Cow<'static, str>, Jinja)> =
        common(plan, &options.platform).into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect();
    entries.push((Cow::Borrowed("options"), Jinja::from(Serde(&options.platform.all))));
    let key = |_: &str, variable: &Variable| variable.key.clone();
    let sources = Sources::new(&bundles.platform, &options.platform.all, "", PLATFORM_MOUNT, key);
    entries.push((Cow::Borrowed("secrets"), sources.secrets.clone()));
    entries.push((Cow::Borrowed("files"), sources.files.clone()));
    for (name, value) in more.as_object().into_iter().flatten() {
        entries.push((Cow::Owned(name.clone()), Jinja::from(Serde(value))));
    }
    let context = Jinja::from(entries.into_iter().collect::<BTreeMap<_, _>>());
    let fragment = renderer.fragment(&bundles.platform, file, "platform", &context)?;
    Ok(fragment.map(|fragment| Fragment { asked: sources.asked(), ..fragment }))
}

/// Gives the references of a selection with a name of its own that selection's variables.
fn rename_variables(node: &mut Node, backend: &Backend) {
    if backend.selection.id == backend.selection.bundle {
        return;
    }
    let rename = |text: &str| -> String {
        let Ok(parts) = reference::parts(text) else { return text.to_owned() };
        parts
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => text.to_owned(),
                Part::Variable(name) if backend.bundle.meta.variables.get(name).is_some() => {
                    format!("${{env:{}}}", backend.variable(name))
                }
                Part::Variable(name) => format!("${{env:{name}}}"),
            })
            .collect()
    };
    match &mut node.data {
        Data::Scalar(value) => {
            if value.is_string() || value.is_array() || value.is_object() {
                *value = reference::map_strings(value, &mut |text| rename(text));
            }
        }
        Data::List(items) => items.iter_mut().for_each(|item| rename_variables(item, backend)),
        Data::Map(entries) => entries.iter_mut().for_each(|(_, item)| rename_variables(item, backend)),
    }
}
