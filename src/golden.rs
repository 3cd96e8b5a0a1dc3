//! Golden cases: command lines whose output is compared with files, byte for byte. Ours and those of a bundle run by this.
//!
//! A case is a folder. Its file `cmd` holds command lines, one a line, run by the program itself inside the folder. What
//! they write must equal `expected/`: the rendered files, `stdout` for subcommands and for cases called `stdout_…`, and
//! `stderr` when there is any. `{out}` is an empty folder of the case's own, whose files are compared too. The name tells the
//! exit code of the last command: see [`EXIT_CODES`]; those before it must succeed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use similar::TextDiff;

use crate::cli::{Invocation, Request};

/// What a case's name says about its exit code; 0 where it says nothing.
pub const EXIT_CODES: [(&str, i32); 5] =
    [("err_", 1), ("usage_", 2), ("drift_", 3), ("unreachable_", 4), ("credential_", 5)];

/// What a case gave or should give: texts by the name of their file.
type Files = BTreeMap<String, String>;

/// How cases are run.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The program.
    pub program: PathBuf,
    /// Flags that every command gets.
    pub flags: Vec<String>,
    /// Whether to write what was given in place of comparing it.
    pub update: bool,
    /// Whether the digests of bundles and the program's version are left out of what is compared and written. A case of a
    /// bundle is about what it renders: with them a word in its README would change every case, and those of others.
    pub masked: bool,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The case's name.
    pub name: String,
    /// What differs, if anything does.
    pub failure: Option<String>,
}

/// The cases in a folder, by name.
pub fn cases(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut cases = entries(folder)?;
    cases.retain(|path| path.is_dir());
    Ok(cases)
}

/// What the rendering runs of a case select, with files that are found from elsewhere than inside the case.
#[must_use]
pub fn requests(case: &Path) -> Vec<Request> {
    let text = fs::read_to_string(case.join("cmd")).unwrap_or_default();
    let parsed = lines(&text).into_iter().filter_map(|line| {
        let words: Vec<OsString> = words(&line).into_iter().map(OsString::from).collect();
        let Ok(Invocation::Render(render)) = Invocation::parse(&words) else { return None };
        let mut request = render.request;
        for path in request.manifests.iter_mut().chain(&mut request.policies).chain(&mut request.lock) {
            *path = case.join(&*path);
        }
        Some(request)
    });
    parsed.collect()
}

impl Suite {
    /// Runs cases, several at a time; the verdicts come in the order of the names.
    #[must_use]
    pub fn run(&self, cases: Vec<PathBuf>) -> Vec<Verdict> {
        let workers = std::thread::available_parallelism().map_or(2, usize::from).min(cases.len());
        let queue = Mutex::new(cases);
        let verdicts = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(case) = queue.lock().ok().and_then(|mut queue| queue.pop()) {
                        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
                        let failure = self.case(&case, &name).err();
                        if let Ok(mut verdicts) = verdicts.lock() {
                            verdicts.push(Verdict { name, failure });
                        }
                    }
                });
            }
        });
        let mut verdicts = verdicts.into_inner().unwrap_or_default();
        verdicts.sort_by(|one, other| one.name.cmp(&other.name));
        verdicts
    }

    /// Runs one case and compares, or writes what it gave.
    fn case(&self, case: &Path, name: &str) -> Result<(), String> {
        let failed = |what: &str, error: std::io::Error| format!("{name}: {what}: {error}");
        let mut given = self.given(case, name)?;
        if self.masked {
            mask(&mut given);
        }
        let folder = case.join("expected");
        if self.update {
            if folder.is_dir() {
                fs::remove_dir_all(&folder).map_err(|error| failed("expected", error))?;
            }
            fs::create_dir_all(&folder).map_err(|error| failed("expected", error))?;
            for (file, text) in &given {
                let path = folder.join(file);
                let parent = path.parent().unwrap_or(&folder);
                fs::create_dir_all(parent)
                    .and_then(|()| fs::write(&path, text))
                    .map_err(|error| failed(file, error))?;
            }
            return Ok(());
        }
        let mut expected =
            if folder.is_dir() { read(&folder).map_err(|error| failed("expected", error))? } else { Files::new() };
        if expected.is_empty() && !given.is_empty() {
            return Err(format!("{name}: there is nothing in expected/ yet; update it, and read what that writes"));
        }
        if self.masked {
            mask(&mut expected);
        }
        compare(name, &expected, &given)
    }

    /// What the commands of a case give.
    fn given(&self, case: &Path, name: &str) -> Result<Files, String> {
        let text = fs::read_to_string(case.join("cmd")).map_err(|error| format!("{name}: cmd: {error}"))?;
        let out = tempfile::tempdir().map_err(|error| format!("{name}: {error}"))?;
        let dir = out.path().join("out");
        let commands: Vec<Vec<String>> = lines(&text).iter().map(|line| words(line)).collect();
        if commands.is_empty() {
            return Err(format!(
                "{name}: cmd: there is no command in it; write one, such as `floe-render --telemetry NAME`"
            ));
        }
        let mut given = Files::new();
        let mut wrote = false;
        for (index, words) in commands.iter().enumerate() {
            if words.first().map(String::as_str) != Some("floe-render") {
                return Err(format!("{name}: cmd: command {}: a command begins with floe-render", index + 1));
            }
            let last = index + 1 == commands.len();
            let code =
                EXIT_CODES.iter().find(|(prefix, _)| last && name.starts_with(prefix)).map_or(0, |(_, code)| *code);
            given = self.command(&words[1..], case, name, &dir, code)?;
            if code != 0 && !wrote && dir.is_dir() {
                return Err(format!("{name}: failed and wrote files"));
            }
            wrote = dir.is_dir();
        }
        if wrote {
            given.extend(read(&dir).map_err(|error| format!("{name}: {error}"))?);
        }
        // A chart's file that is one of ours as it stands is named instead of repeated.
        for text in given.values_mut() {
            if let Some(path) = charts().get(text.as_str()) {
                *text = format!("as {path}\n");
            }
        }
        if let Some(artifacts) = given.get("artifacts.json") {
            let value = serde_json::from_str(artifacts).map_err(|error| format!("{name}: artifacts.json: {error}"))?;
            let schema = crate::embedded::full_schema("artifacts").map_err(|error| format!("{name}: {error}"))?;
            let problems = schema.problems(&value);
            if !problems.is_empty() {
                return Err(format!("{name}: artifacts.json breaks its schema: {problems:?}"));
            }
        }
        Ok(given)
    }

    /// What one command prints; what it writes is in `dir`.
    fn command(&self, words: &[String], case: &Path, name: &str, dir: &Path, code: i32) -> Result<Files, String> {
        let shown = dir.display().to_string();
        let mut arguments: Vec<String> = words.iter().map(|word| word.replace("{out}", &shown)).collect();
        let subcommand = arguments.first().is_some_and(|word| !word.starts_with('-'));
        let printed = subcommand || name.starts_with("stdout_");
        let own = arguments.iter().any(|word| ["-o", "--output-dir", "-s", "--show-only"].contains(&word.as_str()));
        if !printed && !own {
            arguments.extend(["-o".to_owned(), shown.clone()]);
        }
        arguments.extend(self.flags.iter().cloned());
        let result = Command::new(&self.program)
            .args(&arguments)
            .current_dir(case)
            .stdin(Stdio::null())
            .env_clear()
            .output()
            .map_err(|error| format!("{name}: {}: {error}", self.program.display()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&shown, "{out}");
        let (stdout, stderr) = (text(&result.stdout), text(&result.stderr));
        if result.status.code() != Some(code) {
            return Err(ended(name, result.status.code(), code, &stdout, &stderr));
        }
        let mut given = Files::new();
        if (printed && code == 0 && !own) || !stdout.is_empty() {
            given.insert("stdout".to_owned(), stdout);
        }
        if !stderr.is_empty() {
            given.insert("stderr".to_owned(), stderr);
        }
        Ok(given)
    }
}

/// What to say of a command that ended otherwise than the name of its case says.
fn ended(name: &str, given: Option<i32>, wanted: i32, stdout: &str, stderr: &str) -> String {
    let ended = given.map_or_else(|| "a signal ended it".to_owned(), |code| format!("exit code {code}"));
    let because = match EXIT_CODES.iter().find(|(_, code)| *code == wanted) {
        Some((prefix, _)) => format!("{wanted}, which a case called {prefix}… must give"),
        None => match EXIT_CODES.iter().find(|(_, code)| Some(*code) == given) {
            Some((prefix, _)) => format!("0; a case that should end so is called {prefix}…"),
            None => "0".to_owned(),
        },
    };
    let mut text = format!("{name}: {ended} in place of {because}");
    for (stream, printed) in [("stderr", stderr), ("stdout", stdout)] {
        // What a success prints is what it should not have come to.
        let tells = stream == "stderr" || given != Some(0);
        if tells && !printed.is_empty() {
            text.extend(["\n", stream, ":\n", printed.trim_end()]);
        }
    }
    text
}

/// Puts `…` for each digest of a bundle and for the program's version.
fn mask(files: &mut Files) {
    for text in files.values_mut() {
        *text = masked(&masked(text, "\"digest\": \"sha256:", "0123456789abcdef"), "floe-render ", "0123456789.");
    }
}

/// A text with `…` for the characters of a kind that follow some words.
fn masked(text: &str, words: &str, kind: &str) -> String {
    let mut parts = text.split(words);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c| kind.contains(c));
        let mark = if rest.len() < part.len() { "…" } else { "" };
        masked.extend([words, mark, rest]);
    }
    masked
}

/// What differs between what should be given and what is.
fn compare(name: &str, expected: &Files, given: &Files) -> Result<(), String> {
    let mut differences = Vec::new();
    for (file, text) in expected {
        match given.get(file) {
            None => differences.push(format!("{name}/expected/{file}: missing: the case does not write it any more")),
            Some(other) if other != text => {
                let diff = TextDiff::from_lines(text, other);
                let diff = diff.unified_diff().context_radius(3).header("expected", "given").to_string();
                differences.push(format!("{name}/expected/{file}: changed\n{diff}"));
            }
            Some(_) => {}
        }
    }
    for (file, text) in given.iter().filter(|(file, _)| !expected.contains_key(*file)) {
        differences.push(format!("{name}: unexpected: `{file}` was written and is not in expected/\n{text}"));
    }
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
}

fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The files below a folder, by their path in it.
fn read(folder: &Path) -> std::io::Result<Files> {
    let mut files = Files::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for path in entries(&at)? {
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            files.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(files)
}

/// The paths of the files below `charts/`, by their text.
fn charts() -> &'static BTreeMap<&'static str, &'static str> {
    static CHARTS: OnceLock<BTreeMap<&'static str, &'static str>> = OnceLock::new();
    CHARTS.get_or_init(|| {
        let files = crate::embedded::below("charts/");
        files.filter_map(|(path, bytes)| Some((std::str::from_utf8(bytes).ok()?, path))).collect()
    })
}

/// The command lines of a text: a line each, except where quotes are open; lines that begin with `#` are comments.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        if open.is_empty() && (line.trim().is_empty() || line.starts_with('#')) {
            continue;
        }
        open.push_str(line);
        let next_is_new = !unclosed(&open);
        if next_is_new {
            lines.push(std::mem::take(&mut open));
        } else {
            open.push('\n');
        }
    }
    lines.extend(Some(open).filter(|open| !open.trim().is_empty()));
    lines
}

/// Whether a quote is open at the end of a text.
fn unclosed(text: &str) -> bool {
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            Some('"') if c == '\\' => drop(chars.next()),
            Some(end) if c == end => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
    }
    quote.is_some()
}

/// The words of a command line: blanks separate, single quotes take everything, double quotes know `\n`, `\t`, `\"`, `\\`.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_with(String::new);
                word.extend(chars.by_ref().take_while(|c| *c != '\''));
            }
            '"' => {
                let word = word.get_or_insert_with(String::new);
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => match chars.next() {
                            Some('n') => word.push('\n'),
                            Some('t') => word.push('\t'),
                            Some(other) => word.push(other),
                            None => {}
                        },
                        other => word.push(other),
                    }
                }
            }
            other => word.get_or_insert_with(String::new).push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_line_unless_quotes_are_open() {
        assert_eq!(lines("# why\na b\n\nc 'd\ne' f\n"), ["a b", "c 'd\ne' f"]);
        assert_eq!(words("a 'b c' \"d\\n\\\"e\" ''"), ["a", "b c", "d\n\"e", ""]);
    }

    #[test]
    fn a_mask_hides_digests_and_the_version_and_nothing_else() {
        let text =
            "# floe-render 0.1.0: telemetry/acme 0.1.0\nfloe-render check\n\"digest\": \"sha256:0af9\", \"sha256:ab\"";
        let wanted =
            "# floe-render …: telemetry/acme 0.1.0\nfloe-render check\n\"digest\": \"sha256:…\", \"sha256:ab\"";
        let mut files = Files::from([("a".to_owned(), text.to_owned()), ("b".to_owned(), wanted.to_owned())]);
        mask(&mut files);
        assert!(files.values().all(|text| text == wanted), "{files:?}");
    }

    #[test]
    fn missing_changed_and_unexpected_files_are_told_apart() {
        let files = |list: &[(&str, &str)]| -> Files {
            list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let failure =
            compare("c", &files(&[("a", "1\n"), ("b", "1\n")]), &files(&[("b", "2\n"), ("d", "x")])).unwrap_err();
        for part in ["expected/a: missing", "expected/b: changed", "-1\n+2", "unexpected: `d`"] {
            assert!(failure.contains(part), "{failure}");
        }
    }
}
