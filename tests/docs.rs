//! The documents: every command in them is run here, or listed here with what runs it elsewhere.
//!
//! A command is a line of an indented block, or of a fenced one without a language, that begins with `floe-render`, `cargo` or
//! `helm`. The commands of a document run one after another in one directory, empty at first, and files that fenced blocks hold
//! are written as they come: a block whose first line is a comment with a path is that file, and so is one with `title=PATH`
//! after its language, since JSON has no comments.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Commands that this test does not run, and what does. One that is in no document any more fails the test.
const RUN_ELSEWHERE: [(&str, &str); 11] = [
    ("cargo test", ".ci/run"),
    (
        "floe-render bundle push ours/telemetry/axiom oci://registry.example.com/bundles/axiom:0.1.0",
        "conformance/oci/run, with a registry on loopback",
    ),
    ("floe-render bundle pull oci://registry.example.com/bundles/axiom:0.1.0 -o axiom.tar", "conformance/oci/run"),
    ("GOLDEN=update cargo test --test golden", "tests/golden.rs, which names it in its failures"),
    (
        "RUSTFLAGS=\"-C target-feature=+crt-static -C relocation-model=static\" \
         cargo build --release --target x86_64-unknown-linux-gnu",
        "tools/bench/run",
    ),
    ("helm dependency update charts/floe-observability", "conformance/helm/run"),
    ("helm dependency update obs", "conformance/helm/run"),
    (
        "helm template obs charts/floe-observability --namespace floe -f rendered/values.yaml --skip-tests",
        "conformance/helm/run, for every golden case",
    ),
    ("helm upgrade --install obs obs --namespace floe --create-namespace", "conformance/helm/apiserver"),
    (
        "helm upgrade --install obs charts/floe-observability --namespace floe --create-namespace -f -",
        "conformance/helm/apiserver, with the values in a file",
    ),
    (
        "helm upgrade --install marquez charts/marquez --set db.host=pg.example.com --set db.existingSecret=floe-marquez",
        "conformance/helm/run, as `helm template` with the values in conformance/helm/marquez/everything.yaml",
    ),
];

#[test]
fn every_command_in_the_documents_works() {
    let mut failures = Vec::new();
    let mut listed = Vec::new();
    let mut ran = 0;
    for document in documents() {
        let dir = tempfile::tempdir().unwrap();
        for Example { line, command, files } in examples(&read(&document)) {
            let place = format!("{}:{line}: {command}", document.display());
            let (line, file) = command.split_once(" > ").map_or((&*command, None), |(line, file)| (line, Some(file)));
            let words = words(line);
            let program = words.iter().position(|word| !word.contains('=')).unwrap_or_default();
            let elsewhere = RUN_ELSEWHERE.iter().any(|(known, _)| *known == command);
            let arguments = match words[program..].iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                _ if elsewhere => {
                    listed.push(command);
                    continue;
                }
                ["floe-render", arguments @ ..] | ["cargo", "run", "--", arguments @ ..] => {
                    words[words.len() - arguments.len()..].to_vec()
                }
                _ => {
                    failures.push(format!("{place}\n  nothing runs it: say in RUN_ELSEWHERE what does"));
                    continue;
                }
            };
            ran += 1;
            if let Err(failure) = run(&arguments, &files, dir.path(), file) {
                failures.push(format!("{place}\n  {}", failure.trim_end().replace('\n', "\n  ")));
            }
        }
    }
    for (command, _) in RUN_ELSEWHERE.iter().filter(|(command, _)| !listed.iter().any(|one| one == command)) {
        failures.push(format!("RUN_ELSEWHERE: no document holds `{command}` any more"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(ran > 10, "only {ran} commands were found");
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let mut failures = Vec::new();
    for document in documents().into_iter().chain([PathBuf::from("CHANGELOG.md")]) {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let there = root().join(&file).exists();
            if !there || !(anchor.is_empty() || read(&file).lines().any(|line| slug(line).as_deref() == Some(anchor))) {
                failures.push(format!("{}: the link to `{target}` leads nowhere", document.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_option_of_a_bundle_of_the_adr_has_its_place_there() {
    let text = read(Path::new("docs/adr-0035.md"));
    let mut seen = 0;
    for section in text.split("\n## ") {
        let bundle = section.lines().next().unwrap_or_default();
        let Ok(schema) = fs::read(root().join("templates").join(bundle).join("options.schema.json")) else { continue };
        let mut options = Vec::new();
        leaves(&serde_json::from_slice(&schema).unwrap(), "", &mut options);
        for option in options {
            assert!(
                section.contains(&format!("`{option}`")),
                "docs/adr-0035.md: no row names option `{option}` of {bundle}"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} options were found");
}

#[test]
fn the_readme_names_every_file() {
    let text = read(Path::new("README.md"));
    for file in floe_render::write::FILES {
        assert!(text.contains(&format!("| `{file}` |")), "README.md: its table lacks `{file}`");
    }
}

/// A command in a document, and the files that were shown between it and the one before.
struct Example {
    line: usize,
    command: String,
    files: BTreeMap<String, String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(document: &Path) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{}: {error}", document.display()))
}

/// The documents whose commands count, by their path in the repository.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("README.md"), PathBuf::from("CONTRIBUTING.md")];
    let folders = |at: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(root().join(at)).unwrap_or_else(|error| panic!("{at}: {error}"));
        entries.map(|entry| entry.unwrap().path().strip_prefix(root()).unwrap().to_owned()).collect()
    };
    found.extend(folders("docs").into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    for at in ["templates/telemetry", "templates/lineage", "charts"] {
        found.extend(
            folders(at).into_iter().map(|folder| folder.join("README.md")).filter(|path| root().join(path).is_file()),
        );
    }
    found.sort();
    found
}

/// The commands of a document. One that ends in `|` or `\` goes on in the next line; each part of a pipe is a command.
fn examples(text: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut files = BTreeMap::new();
    let mut fence: Option<(String, String)> = None;
    let mut open = String::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            match fence.take() {
                None => fence = Some((language.to_owned(), String::new())),
                Some((info, body)) => {
                    let first = body.lines().next().and_then(|line| line.strip_prefix("# "));
                    let first = first.filter(|path| path.contains('.') && !path.contains(' '));
                    if let Some(path) = info.split_once(" title=").map(|(_, path)| path).or(first) {
                        files.insert(path.to_owned(), body.clone());
                    }
                }
            }
            continue;
        }
        let code = match &mut fence {
            Some((language, body)) => {
                body.push_str(line);
                body.push('\n');
                language.is_empty().then_some(line)
            }
            None => line.strip_prefix("    "),
        };
        let Some(code) = code else {
            open.clear();
            continue;
        };
        open.push_str(code.trim());
        if let Some(kept) = open.strip_suffix('\\') {
            open = kept.to_owned();
        } else if open.ends_with('|') {
            open.push(' ');
        } else {
            for command in open.split(" | ").filter(|command| is_ours(command)) {
                examples.push(Example {
                    line: index + 1,
                    command: command.to_owned(),
                    files: std::mem::take(&mut files),
                });
            }
            open.clear();
        }
    }
    examples
}

fn is_ours(command: &str) -> bool {
    let program = words(command).into_iter().find(|word| !word.contains('='));
    program.is_some_and(|program| ["floe-render", "cargo", "helm"].contains(&program.as_str()))
}

/// The words of a command line; quotes of either kind take everything up to the next one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in line.chars().chain([' ']) {
        match (c, quote) {
            (_, Some(end)) if c == end => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            (' ', None) if word.is_empty() => {}
            (' ', None) => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words
}

/// Writes the files and runs the program in a directory, its output into `into`.
fn run(arguments: &[String], files: &BTreeMap<String, String>, dir: &Path, into: Option<&str>) -> Result<(), String> {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_floe-render"))
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .env_clear()
        .output()
        .unwrap();
    if let Some(file) = into {
        fs::write(dir.join(file), &output.stdout).unwrap();
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    // With no variable set there is nothing that `check` could send, and it says so.
    let told = arguments[0] == "check" && [Some(4), Some(5)].contains(&output.status.code()) && stderr.is_empty();
    if output.status.success() || told {
        Ok(())
    } else {
        Err(format!("exit code {:?}\n{stderr}", output.status.code()))
    }
}

/// The anchor of a heading.
fn slug(line: &str) -> Option<String> {
    let heading = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?;
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    Some(kept.replace(' ', "-"))
}

/// The options of a schema, by their dotted path.
fn leaves(schema: &Value, at: &str, options: &mut Vec<String>) {
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        if below["properties"].is_object() { leaves(below, &path, options) } else { options.push(path) }
    }
}
