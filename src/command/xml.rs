//! Text inside XML 1.0, which cannot hold every character.

/// The text of an element.
pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), push)
}

/// The value of an attribute, on one line: a reader makes a blank of every line break anyway.
pub(super) fn attribute(text: &str) -> String {
    let blank = |c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c };
    text.chars().map(blank).fold(String::with_capacity(text.len()), push)
}

fn push(mut safe: String, c: char) -> String {
    match c {
        '&' => safe.push_str("&amp;"),
        '<' => safe.push_str("&lt;"),
        '>' => safe.push_str("&gt;"),
        '"' => safe.push_str("&quot;"),
        '\n' | '\t' => safe.push(c),
        c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => safe.push('\u{fffd}'),
        c => safe.push(c),
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_xml_cannot_hold() {
        let text = "a<b> & \"c\"\n\u{1}d\u{ffff}";
        assert_eq!(escaped(text), "a&lt;b&gt; &amp; &quot;c&quot;\n\u{fffd}d\u{fffd}");
        assert_eq!(attribute(text), "a&lt;b&gt; &amp; &quot;c&quot; \u{fffd}d\u{fffd}");
    }
}
