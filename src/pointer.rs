//! JSON pointers (RFC 6901), as the library's values and schemas use them.

/// The unescaped tokens of a pointer: none for the empty pointer.
pub fn tokens(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"))
}

/// `pointer` with one more token.
#[must_use]
pub fn join(pointer: &str, token: &str) -> String {
    let mut joined = String::with_capacity(pointer.len() + token.len() + 1);
    joined.push_str(pointer);
    push(&mut joined, token);
    joined
}

/// Appends one token to a pointer.
pub fn push(pointer: &mut String, token: &str) {
    pointer.push('/');
    if token.contains(['~', '/']) {
        pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
    } else {
        pointer.push_str(token);
    }
}

/// Whether a pointer is `parent`, or lies below it.
#[must_use]
pub fn is_within(pointer: &str, parent: &str) -> bool {
    pointer.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The pointer of an option's dotted name, `db.host`.
#[must_use]
pub fn of_option(name: &str) -> String {
    format!("/{}", name.replace('.', "/"))
}

/// The pointer as people read it: `exporters.otlp.tls`, quoted where a token holds a dot.
#[must_use]
pub fn dotted(pointer: &str) -> String {
    let tokens: Vec<String> =
        tokens(pointer).map(|token| if token.contains('.') { format!("\"{token}\"") } else { token }).collect();
    tokens.join(".")
}
