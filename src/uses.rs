//! What templates use, read from their text: options, variables, files, by line.

/// Which part of a template's line wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of the template values of the rendered line, by number, of so many.
    Token {
        /// Its number.
        index: usize,
        /// How many the line has.
        count: usize,
    },
    /// Literal text.
    Literal,
    /// The line as a whole.
    Whole,
}

/// The options that a value at a line depends on: those of its expression, and those of the conditions around it.
/// Aliases of `{% set %}` are followed.
pub(crate) fn options_at(template: &str, line: usize, place: Place) -> Vec<String> {
    let text = template.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let (values, tags) = (between(text, "{{", "}}"), between(text, "{%", "%}"));
    let expressions = match place {
        Place::Token { index, count } if count == values.len() => vec![values[index]],
        Place::Literal => tags,
        _ => values.into_iter().chain(tags).collect(),
    };
    let mut names = Vec::new();
    for expression in expressions.into_iter().chain(conditions(template, line)) {
        collect(expression, &aliases(template), 0, &mut names);
    }
    names
}

/// Every option that a template names.
pub(crate) fn all_options(template: &str) -> Vec<String> {
    let mut names = Vec::new();
    for expression in between(template, "{{", "}}").into_iter().chain(between(template, "{%", "%}")) {
        collect(expression, &aliases(template), 0, &mut names);
    }
    names
}

/// The options that an expression of a template depends on.
pub(super) fn options_of(template: &str, expression: &str) -> Vec<String> {
    let mut names = Vec::new();
    collect(expression, &aliases(template), 0, &mut names);
    names
}

/// The conditions of the blocks that are open where a line begins.
fn conditions(template: &str, line: usize) -> Vec<&str> {
    let mut open: Vec<Vec<&str>> = Vec::new();
    let before = template.lines().take(line.saturating_sub(1));
    for tag in before.flat_map(|line| between(line, "{%", "%}")) {
        let tag = tag.trim_matches(['-', '+', ' ']);
        match tag.split(' ').next().unwrap_or_default() {
            "if" | "for" | "macro" => open.push(vec![tag]),
            "elif" | "else" => {
                if let Some(last) = open.last_mut() {
                    last.push(tag);
                }
            }
            "endif" | "endfor" | "endmacro" => drop(open.pop()),
            _ => {}
        }
    }
    open.concat()
}

/// The aliases of a template: `{% set NAME = EXPRESSION %}`.
fn aliases(template: &str) -> Vec<(&str, &str)> {
    let set = |tag: &'static str| template.split(tag).skip(1).filter_map(|rest| rest.split("%}").next());
    ["{% set ", "{%- set "]
        .into_iter()
        .flat_map(set)
        .filter_map(|body| body.split_once('='))
        .map(|(name, expression)| (name.trim(), expression.trim_end_matches('-').trim()))
        .collect()
}

/// What stands between two marks.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).collect()
}

/// How often an alias may name another.
const MAX_ALIASES: usize = 8;

fn collect(expression: &str, aliases: &[(&str, &str)], depth: usize, names: &mut Vec<String>) {
    for path in paths(expression) {
        let (root, rest) = path.split_once('.').unwrap_or((path, ""));
        if root == "options" {
            if !rest.is_empty() && !names.iter().any(|name| name == rest) {
                names.push(rest.to_owned());
            }
            continue;
        }
        let Some((_, meant)) = aliases.iter().find(|(name, _)| *name == root).filter(|_| depth < MAX_ALIASES) else {
            continue;
        };
        match meant.strip_prefix("options.").filter(|path| paths(path) == [*path] && !rest.is_empty()) {
            Some(path) => {
                let name = format!("{path}.{rest}");
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            None => collect(meant, aliases, depth + 1, names),
        }
    }
}

/// The dotted names of an expression, strings left out.
fn paths(expression: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut quote) = (None, None);
    for (at, c) in expression.char_indices().chain([(expression.len(), ' ')]) {
        let word = c.is_alphanumeric() || c == '_' || (c == '.' && start.is_some());
        match (quote, start) {
            (Some(end), _) if c == end => quote = None,
            (None, None) if word => start = Some(at),
            (None, Some(from)) if !word => {
                found.push(expression[from..at].trim_end_matches('.'));
                start = None;
                quote = Some(c).filter(|c| matches!(c, '"' | '\''));
            }
            (None, None) if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_through_aliases_and_not_in_strings() {
        let template = "{%- set store = options.storage %}\n{% set late = options.url is none %}\n\
            a: {{ store.url if late else \"options.none\" ~ options.port }}\n";
        assert_eq!(options_at(template, 3, Place::Whole), ["storage.url", "url", "port"]);
        assert_eq!(options_at(template, 1, Place::Whole), ["storage"]);
    }

    #[test]
    fn only_the_expression_of_a_value_counts_and_the_conditions_around_it() {
        let template =
            "{% if options.tls %}\na: {x: {{ options.one }}, y: {{ options.two }}, z: 1}\n{% endif %}\nb: 1\n";
        assert_eq!(options_at(template, 2, Place::Token { index: 1, count: 2 }), ["two", "tls"]);
        assert_eq!(options_at(template, 2, Place::Literal), ["tls"]);
        assert!(options_at(template, 4, Place::Literal).is_empty());
    }
}
