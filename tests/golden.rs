//! Golden tests: every folder under `golden-tests/` is a case, run by the program itself.
//!
//! `cmd` holds the command line, run inside the case's folder. What it writes must equal `expected/`, file for file and byte
//! for byte: the rendered files, `stdout` for subcommands and for cases called `stdout_…`, and `stderr` when there is any.
//! `{out}` in a command line is an empty folder of the case's own, whose files are compared too. A case called `err_…` must
//! fail with exit code 1 and write nothing, `usage_…` with 2, `drift_…`, `unreachable_…` and `credential_…` with 3, 4 and 5. Adding a case is adding a folder with a `cmd` and
//! regenerating; read what was generated before you commit it. `CASE=text` runs only the cases whose name holds the text.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use similar::TextDiff;

/// What a case's name says about its exit code; 0 where it says nothing.
const EXIT_CODES: [(&str, i32); 5] =
    [("err_", 1), ("usage_", 2), ("drift_", 3), ("unreachable_", 4), ("credential_", 5)];

const REGENERATE: &str = "GOLDEN=update cargo test --test golden";

#[test]
fn every_case_gives_exactly_its_expected_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden-tests");
    let mut cases: Vec<PathBuf> = entries(&root).into_iter().filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() > 10, "only {} cases under {}", cases.len(), root.display());
    if let Ok(wanted) = std::env::var("CASE") {
        cases.retain(|case| case.file_name().is_some_and(|name| name.to_string_lossy().contains(&wanted)));
    }
    let count = cases.len();
    let update = std::env::var("GOLDEN").is_ok_and(|value| value == "update");
    let queue = Mutex::new(cases);
    let failures = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = { queue.lock().unwrap().pop() } {
                    if let Err(failure) = run(&case, update) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {count} cases differ\n\n{}\n\nIf the new output is right, regenerate it and read it: {REGENERATE}\n",
        failures.len(),
        failures.join("\n\n")
    );
}

/// Runs one case and compares, or writes what it gave.
fn run(case: &Path, update: bool) -> Result<(), String> {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let line = fs::read_to_string(case.join("cmd")).map_err(|error| format!("{name}: cmd: {error}"))?;
    let mut words = words(line.trim()).into_iter();
    if words.next().as_deref() != Some("floe-render") {
        return Err(format!("{name}: cmd must begin with floe-render"));
    }
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("out");
    let mut arguments: Vec<String> = words.map(|word| word.replace("{out}", &dir.display().to_string())).collect();
    let subcommand = arguments.first().is_some_and(|word| !word.starts_with('-'));
    let printed = subcommand || name.starts_with("stdout_");
    let own_output = arguments.iter().any(|word| ["-o", "--output-dir", "-s", "--show-only"].contains(&word.as_str()));
    if !printed && !own_output {
        arguments.extend(["-o".to_owned(), dir.display().to_string()]);
    }
    let result = Command::new(env!("CARGO_BIN_EXE_floe-render"))
        .args(&arguments)
        .current_dir(case)
        .stdin(Stdio::null())
        .env_clear()
        .output()
        .unwrap();

    let code = EXIT_CODES.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(0, |(_, code)| *code);
    let stderr = String::from_utf8_lossy(&result.stderr).into_owned();
    if result.status.code() != Some(code) {
        return Err(format!("{name}: exit code {:?} instead of {code}; stderr:\n{stderr}", result.status.code()));
    }
    let mut given = if dir.is_dir() { read(&dir) } else { BTreeMap::new() };
    if code != 0 && !given.is_empty() {
        return Err(format!("{name}: failed and wrote {:?}", given.keys()));
    }
    if !stderr.is_empty() {
        given.insert("stderr".to_owned(), stderr);
    }
    if (printed && code == 0) || !result.stdout.is_empty() {
        given.insert("stdout".to_owned(), String::from_utf8_lossy(&result.stdout).into_owned());
    }

    // A chart's file that is one of ours as it stands is named instead of repeated.
    for text in given.values_mut() {
        if let Some(path) = charts().get(text) {
            *text = format!("as {path}\n");
        }
    }

    if let Some(artifacts) = given.get("artifacts.json") {
        let value = serde_json::from_str(artifacts).map_err(|error| format!("{name}: artifacts.json: {error}"))?;
        let problems = floe_render::embedded::full_schema("artifacts").unwrap().problems(&value);
        if !problems.is_empty() {
            return Err(format!("{name}: artifacts.json breaks its schema: {problems:?}"));
        }
    }

    let expected_dir = case.join("expected");
    if update {
        let _ = fs::remove_dir_all(&expected_dir);
        fs::create_dir_all(&expected_dir).unwrap();
        for (file, text) in &given {
            let path = expected_dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        return Ok(());
    }
    let expected = if expected_dir.is_dir() { read(&expected_dir) } else { BTreeMap::new() };
    let mut differences = Vec::new();
    for (file, text) in &expected {
        match given.get(file) {
            None => differences.push(format!("{name}/expected/{file}: missing: it was not written")),
            Some(other) if other != text => {
                let diff = TextDiff::from_lines(text, other);
                let diff = diff.unified_diff().context_radius(3).header("expected", "given").to_string();
                differences.push(format!("{name}/expected/{file}: changed\n{diff}"));
            }
            Some(_) => {}
        }
    }
    for file in given.keys().filter(|file| !expected.contains_key(*file)) {
        differences.push(format!("{name}: unexpected: `{file}` was written and is not in expected/\n{}", given[file]));
    }
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Every file below a directory, by its path there.
fn read(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// The paths of the files below `charts/`, by their text.
fn charts() -> &'static BTreeMap<String, String> {
    static CHARTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    CHARTS.get_or_init(|| {
        let files = floe_render::embedded::below("charts/");
        files.map(|(path, bytes)| (String::from_utf8(bytes.to_vec()).unwrap(), path.to_owned())).collect()
    })
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
