//! The only module that knows the YAML library.
//!
//! Reading keeps the position of every node and refuses what people write by mistake: duplicate keys, alias bombs,
//! input that is too large or too deep. Writing gives text that YAML 1.1 and YAML 1.2 readers read back alike.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};
use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

/// The largest document that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 64;
/// The most nodes a document may have, aliases expanded.
const MAX_NODES: usize = 100_000;

/// A place in a text, both counted from one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// A node of a YAML document with the place where it was written.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the node starts.
    pub at: Position,
    /// What the node holds.
    pub data: Data,
    /// Why readers may disagree about this node.
    doubt: Option<Box<Doubt>>,
}

/// Why one reader may take a node for something else than another does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A plain scalar that YAML 1.1 and YAML 1.2 read differently.
    Scalar {
        /// The scalar as it is written.
        text: String,
        /// What a YAML 1.1 reader takes it for (PyYAML, older tools).
        yaml_1_1: &'static str,
        /// What a YAML 1.2 reader takes it for.
        yaml_1_2: &'static str,
    },
    /// A tag that some readers drop and others refuse.
    Tag(String),
}

/// The content of a [`Node`].
#[derive(Clone, Debug)]
pub enum Data {
    /// A null, boolean, number or string.
    Scalar(Value),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping with string keys, in the order of the source.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping with its position.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where the key starts.
    pub at: Position,
    /// The key itself.
    pub name: String,
    /// Whether the key is a plain `<<`, which merges.
    merges: bool,
}

impl Key {
    /// A key at a place.
    #[must_use]
    pub fn new(at: Position, name: String) -> Self {
        Key { at, name, merges: false }
    }
}

impl Node {
    /// The node as a plain value, positions dropped.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::List(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Data::Map(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.name.clone(), node.to_value())).collect())
            }
        }
    }

    /// The node as a plain value, consuming it.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self.data {
            Data::Scalar(value) => value,
            Data::List(items) => Value::Array(items.into_iter().map(Node::into_value).collect()),
            Data::Map(entries) => Value::Object(
                entries.into_iter().map(|(key, node)| (key.name, node.into_value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Another value at the place of this node.
    #[must_use]
    pub fn with(&self, value: Value) -> Node {
        Node { at: self.at, data: Data::Scalar(value), doubt: None }
    }

    /// A mapping of one entry at the place of this node.
    #[must_use]
    pub fn with_entry(&self, entry: (Key, Node)) -> Node {
        Node { at: self.at, data: Data::Map(vec![entry]), doubt: None }
    }

    /// The entries of a mapping, or nothing for any other node.
    #[must_use]
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list, or nothing for any other node.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    /// The value of `key` in a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name.name == key).map(|(_, node)| node)
    }

    /// The node's text, when it is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether the node is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Scalar(Value::Null))
    }

    /// The node at a JSON pointer below this one, or the deepest one on the way to it.
    #[must_use]
    pub fn nearest(&self, pointer: &str) -> &Node {
        let mut node = self;
        for token in crate::pointer::tokens(pointer) {
            let next = match &node.data {
                Data::Map(_) => node.get(&token),
                Data::List(items) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
                Data::Scalar(_) => None,
            };
            match next {
                Some(found) => node = found,
                None => break,
            }
        }
        node
    }

    /// Calls `visit` with every node from here down that readers may disagree about.
    pub fn doubts(&self, visit: &mut dyn FnMut(Position, &Doubt)) {
        if let Some(doubt) = &self.doubt {
            visit(self.at, doubt);
        }
        match &self.data {
            Data::Scalar(_) => {}
            Data::List(items) => items.iter().for_each(|item| item.doubts(visit)),
            Data::Map(entries) => entries.iter().for_each(|(_, node)| node.doubts(visit)),
        }
    }
}

/// The two readings of a plain scalar where they differ, after the type repositories of YAML 1.1 and the core schema of 1.2.
fn doubt(text: &str) -> Option<Doubt> {
    let differ = |yaml_1_1, yaml_1_2| Some(Doubt::Scalar { text: text.to_owned(), yaml_1_1, yaml_1_2 });
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => return differ("true", "a string"),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => return differ("false", "a string"),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |text: &str, set: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(set);
    if digits.strip_prefix("0o").is_some_and(|rest| all(rest, |b| (b'0'..=b'7').contains(b))) {
        return differ("a string", "an octal number");
    }
    if digits.len() > 1 && digits.starts_with('0') && all(digits, u8::is_ascii_digit) {
        return if digits.contains(['8', '9']) {
            differ("a string", "a decimal number")
        } else {
            differ("an octal number", "a decimal number")
        };
    }
    if digits.contains('_') && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        let number = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b'_' | b'.' | b'x' | b'b' | b':');
        if all(digits, number) {
            return differ("a number", "a string");
        }
    }
    if digits.strip_prefix("0b").is_some_and(|rest| all(rest, |b| matches!(b, b'0' | b'1'))) {
        return differ("a binary number", "a string");
    }
    let parts: Vec<&str> = digits.split(':').collect();
    if parts.len() > 1
        && all(parts[0], u8::is_ascii_digit)
        && parts[1..].iter().all(|part| (1..=2).contains(&part.len()) && all(part, u8::is_ascii_digit))
    {
        return differ("a number to the base of sixty", "a string");
    }
    if is_date(text) {
        return differ("a date", "a string");
    }
    // A float without a dot is a float for YAML 1.2 only, as is one whose exponent has no sign.
    if let Some((mantissa, exponent)) = digits.split_once(['e', 'E']) {
        let number = all(&mantissa.replacen('.', "", 1), u8::is_ascii_digit);
        let signed = exponent.starts_with(['+', '-']);
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if number && all(exponent, u8::is_ascii_digit) && !(signed && mantissa.contains('.')) {
            return differ("a string", "a number");
        }
    }
    None
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, b)| if at == 4 || at == 7 { *b == b'-' } else { b.is_ascii_digit() })
}

/// What an unquoted scalar is in the core schema of YAML 1.2.
fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | ".nan" | ".NaN" | ".NAN" => return None,
        _ => {}
    }
    let number = |text: &str| -> Option<Value> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        if let Some(rest) = text.strip_prefix("0x") {
            return u64::from_str_radix(rest, 16).ok().map(Value::from);
        }
        if let Some(rest) = text.strip_prefix("0o") {
            return u64::from_str_radix(rest, 8).ok().map(Value::from);
        }
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            let whole = text.strip_prefix('+').unwrap_or(text);
            return whole.parse::<i64>().map(Value::from).or_else(|_| whole.parse::<u64>().map(Value::from)).ok();
        }
        let float = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        float.then(|| text.parse().ok()).flatten().and_then(Number::from_f64).map(Value::Number)
    };
    Some(number(text).unwrap_or_else(|| Value::String(text.to_owned())))
}

/// A collection that is being read.
enum Open {
    List {
        at: Position,
        anchor: usize,
        tag: Option<Box<Doubt>>,
        items: Vec<Node>,
    },
    Map {
        at: Position,
        anchor: usize,
        tag: Option<Box<Doubt>>,
        entries: Vec<(Key, Node)>,
        key: Option<Key>,
        seen: HashSet<String>,
    },
}

/// Builds the tree from the parser's events.
struct Loader<'a> {
    source: &'a str,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Loader<'_> {
    fn fail<T>(&self, at: Position, message: &str) -> Result<T> {
        bail!("{}:{}:{}: {message}", self.source, at.line, at.column)
    }

    /// Takes a finished node as the next item, key, value or the root.
    fn push(&mut self, node: Node, anchor: usize, plain: bool) -> Result<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return self.fail(node.at, &format!("the document has more than {MAX_NODES} nodes"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let source = self.source;
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, seen, .. }) => {
                if let Some(name) = key.take() {
                    entries.push((name, node));
                    return Ok(());
                }
                let name = match &node.data {
                    Data::Scalar(Value::String(text)) => text.clone(),
                    Data::Scalar(value) => match &node.doubt {
                        Some(doubt) if let Doubt::Scalar { text, .. } = doubt.as_ref() => text.clone(),
                        _ => value.to_string(),
                    },
                    _ => bail!("{source}:{}:{}: a key must be a scalar", node.at.line, node.at.column),
                };
                // Few names are compared one by one; many would take a file's author's time squared.
                let twice = if entries.len() < 32 {
                    entries.iter().any(|(key, _)| key.name == name)
                } else {
                    if seen.is_empty() {
                        seen.extend(entries.iter().map(|(key, _)| key.name.clone()));
                    }
                    !seen.insert(name.clone())
                };
                if twice {
                    bail!("{source}:{}:{}: duplicate key `{name}`", node.at.line, node.at.column);
                }
                *key = Some(Key { at: node.at, merges: plain && name == "<<", name });
            }
        }
        Ok(())
    }

    fn begin(&mut self, open: Open, at: Position) -> Result<()> {
        if self.open.len() == MAX_DEPTH {
            return self.fail(at, &format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        match self.open.pop() {
            Some(Open::List { at, anchor, tag, items }) => {
                self.push(Node { at, data: Data::List(items), doubt: tag }, anchor, false)
            }

            Some(Open::Map { at, anchor, tag, entries, .. }) => {
                let entries = self.merged(entries)?;
                self.push(Node { at, data: Data::Map(entries), doubt: tag }, anchor, false)
            }
            None => Ok(()),
        }
    }

    /// Resolves merge keys (`<<: *base`): the mapping's own keys win, then the earlier of several bases.
    fn merged(&self, entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>> {
        if entries.iter().all(|(key, _)| !key.merges) {
            return Ok(entries);
        }
        let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key.merges);
        for (key, base) in merges {
            let bases = match base.data {
                Data::List(items) => items,
                _ => vec![base],
            };
            for base in bases {
                let Data::Map(entries) = base.data else {
                    return self.fail(key.at, "`<<` takes a mapping, or a list of mappings");
                };
                for (key, node) in entries {
                    if own.iter().all(|(name, _)| name.name != key.name) {
                        own.push((key, node));
                    }
                }
            }
        }
        Ok(own)
    }

    fn alias(&mut self, id: usize, at: Position) -> Result<()> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return self.fail(at, "the alias stands inside its own anchor");
        };
        self.nodes += count(&node);
        self.push(node, 0, false)
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&str>, at: Position) -> Result<Node> {
        let plain = style == ScalarStyle::Plain;
        let string = || Value::String(text.to_owned());
        let mut found = None;
        let value = match tag {
            Some("tag:yaml.org,2002:str" | "!") => string(),
            Some(tag) => {
                found = Some(Box::new(Doubt::Tag(tag.to_owned())));
                string()
            }
            None if plain => {
                found = doubt(text).map(Box::new);
                match resolve(text) {
                    Some(value) => value,
                    None => return self.fail(at, &format!("`{text}` is no number that JSON can hold")),
                }
            }
            None => string(),
        };
        Ok(Node { at, data: Data::Scalar(value), doubt: found })
    }
}

/// The number of nodes below a node.
fn count(node: &Node) -> usize {
    match &node.data {
        Data::Scalar(_) => 0,
        Data::List(items) => items.iter().map(|item| 1 + count(item)).sum(),
        Data::Map(entries) => entries.iter().map(|(_, node)| 1 + count(node)).sum(),
    }
}

/// Reads one YAML document.
///
/// `source` names the text in messages. An empty document is an empty mapping. Errors begin with `source:line:column`.
pub fn read(text: &str, source: &str) -> Result<Node> {
    if text.len() > MAX_BYTES {
        bail!("{source}: the file has {} bytes; the limit is {MAX_BYTES}", text.len());
    }
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        emit_comments: false,
    };
    let mut loader = Loader { source, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => return loader.fail(position(error.marker().line(), error.marker().col()), &error.info()),
        };
        let at = start(span);
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    return loader.fail(at, "a second document begins here; one file holds one document");
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| tag.to_string());
                let node = loader.scalar(&text, style, tag.as_deref(), at)?;
                loader.push(node, anchor, style == ScalarStyle::Plain)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                loader.begin(Open::List { at, anchor, tag: tagged(tag), items: Vec::new() }, at)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                loader.begin(
                    Open::Map { at, anchor, tag: tagged(tag), entries: Vec::new(), key: None, seen: HashSet::new() },
                    at,
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => loader.end()?,
            Event::Alias(id) => loader.alias(id, at)?,
            _ => {}
        }
    }
    Ok(match loader.root {
        Some(node) if !node.is_null() => node,
        _ => Node { at: position(1, 0), data: Data::Map(Vec::new()), doubt: None },
    })
}

/// The doubt about a collection that has a tag.
fn tagged(tag: Option<Cow<'_, Tag>>) -> Option<Box<Doubt>> {
    tag.map(|tag| Box::new(Doubt::Tag(tag.to_string())))
}

fn start(span: Span) -> Position {
    position(span.start.line(), span.start.col())
}

/// The parser counts lines from one and columns from zero.
fn position(line: usize, column: usize) -> Position {
    Position { line: line as u64, column: column as u64 + 1 }
}

/// Writes a document as YAML text that ends with a newline.
pub fn write(value: &Value) -> Result<String> {
    refuse_merge_key(value)?;
    let options = serde_yaml::ser_options! {
        indent_step: 2,
        compact_list_indent: false,
        prefer_block_scalars: false,
    };
    let mut text = String::with_capacity(4096);
    serde_yaml::to_fmt_writer_with_options(&mut text, value, options)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// As a key, `<<` means a merge to some readers whatever quotes it has.
fn refuse_merge_key(value: &Value) -> Result<()> {
    match value {
        Value::Object(map) => {
            if map.contains_key("<<") {
                bail!("`<<` cannot be a key: YAML readers take it for a merge; choose another name");
            }
            map.values().try_for_each(refuse_merge_key)
        }
        Value::Array(items) => items.iter().try_for_each(refuse_merge_key),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_scalars_that_yaml_1_1_and_1_2_read_differently() {
        for text in ["yes", "Off", "0777", "010", "0008", "1_000", "12:30:45", "0o17", "2001-01-01", "1e3", "y", "0b11"]
        {
            let source = format!("a: {text}\nb: [{text}, 'yes']\nc: {{d: {text}}}\n");
            let mut found = Vec::new();
            read(&source, "t").unwrap().doubts(&mut |at, doubt| match doubt {
                Doubt::Scalar { text, .. } => found.push((at.line, text.clone())),
                Doubt::Tag(tag) => panic!("{tag}"),
            });
            let text = text.to_owned();
            assert_eq!(found, [(1, text.clone()), (2, text.clone()), (3, text)], "{source}");
        }
        let same =
            "a: true\nb: 'yes'\nc: \"0777\"\nd: 0\ne: 1.5\nf: -3\ng: null\nh: |\n  yes\ni: a:b\nj: 1.5e+3\nk: 0x1f\n";
        read(same, "t").unwrap().doubts(&mut |_, doubt| panic!("{doubt:?}"));
    }

    #[test]
    fn names_file_line_and_column_of_what_it_refuses() {
        for (text, message) in
            [("a: 1\na: 2\n", "f.yaml:2:1: "), ("a: [1\nb: 2\n", "f.yaml:2:"), ("a: *x\n", "f.yaml:1:4: ")]
        {
            let error = read(text, "f.yaml").unwrap_err().to_string();
            assert!(error.starts_with(message), "{text:?} gives {error}");
        }
    }

    #[test]
    fn refuses_alias_bombs_and_deep_nesting() {
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, previous) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
            bomb.extend([name, ": &", name, " [", &vec![format!("*{previous}"); 10].join(", "), "]\n"]);
        }
        assert!(read(&bomb, "f").is_err());
        assert!(read(&"[".repeat(100_000), "f").is_err());
        assert!(read(&(0..200).map(|n| " ".repeat(n) + "a:\n").collect::<String>(), "f").is_err());
    }

    #[test]
    fn writes_strings_that_read_back_equal() {
        for text in [
            "yes",
            "no",
            "on",
            "0777",
            "1_000",
            "1e3",
            "12:30:45",
            "2001-01-01",
            "~",
            "null",
            " padded ",
            "multi\nline",
            "é",
            "{{ x }}",
            "$HOME",
            "$(X)",
            "# c",
            "key: v",
            "",
            "a\tb",
            "trailing\n",
            "<<",
            "=",
            "'",
            "\"",
            "-",
            "? a",
            "&a",
            "*a",
            "!a",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
        ] {
            let value = serde_json::json!({"a": text, "l": [text]});
            let yaml = write(&value).unwrap();
            assert_eq!(read(&yaml, "f").unwrap().into_value(), value, "{yaml}");
        }
    }
}
