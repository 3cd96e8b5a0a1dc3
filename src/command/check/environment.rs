//! The environment of this process, and the values in it that nothing may print.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::answer::Entry;

/// Shorter values are in every text by chance, and hiding them would garble it.
const SHORTEST_HIDDEN: usize = 4;

/// The environment, read once; the default is one where nothing is set.
#[derive(Default)]
pub(super) struct Environment {
    variables: BTreeMap<String, OsString>,
}

/// What a variable holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State<'a> {
    Unset,
    Empty,
    /// Set, and no text that could be sent; why.
    Unusable(&'static str),
    Set(&'a str),
}

impl Environment {
    pub(super) fn read() -> Self {
        Environment {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .collect(),
        }
    }

    /// What a variable holds.
    pub(super) fn state(&self, name: &str) -> State<'_> {
        let Some(value) = self.variables.get(name) else { return State::Unset };
        let Some(text) = value.to_str() else { return State::Unusable("is not UTF-8") };
        if text.is_empty() {
            State::Empty
        } else if text.trim_end_matches(['\r', '\n']) != text {
            State::Unusable("ends with a line break, which a file that was read into it left there")
        } else if text.trim() != text {
            State::Unusable("begins or ends with a blank")
        } else if text.chars().any(char::is_control) {
            State::Unusable("holds a control character, such as a line break")
        } else {
            State::Set(text)
        }
    }

    /// The value of a variable that is set to something.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name)?.to_str().filter(|text| !text.is_empty())
    }

    /// Whether this process runs in a pod.
    pub(super) fn in_cluster(&self) -> bool {
        self.get("KUBERNETES_SERVICE_HOST").is_some()
    }
}

/// Values that no output may show. Messages are made without them; this is the second line, for what others say:
/// a server that repeats what it was sent, a library's error.
#[derive(Default)]
pub(super) struct Hidden(Vec<(String, String)>);

impl Hidden {
    /// Hides the value of a variable.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        for value in [value, value.trim()] {
            if value.len() >= SHORTEST_HIDDEN {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
        // The longest first: one value may be a part of another.
        self.0.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    }

    /// The text with every hidden value replaced by the name of its variable.
    pub(super) fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("<{name}>")))
    }

    /// The entry as it may be printed.
    pub(super) fn clean(&self, mut entry: Entry) -> Entry {
        entry.check = self.text(&entry.check);
        entry.answer.message = self.text(&entry.answer.message);
        entry
    }
}
