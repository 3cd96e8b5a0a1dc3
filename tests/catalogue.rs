//! `docs/backends.md` is made from the bundles, and this test fails when it is not what they say.
//! Regenerate it with `CATALOGUE=update cargo test --test catalogue`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use floe_render::bundle::Meta;
use floe_render::describe::{self, OptionFacts};
use floe_render::{embedded, yaml};
use serde_json::Value;

const KINDS: [&str; 2] = ["telemetry", "lineage"];

fn folders(kind: &str) -> Vec<String> {
    let prefix = format!("templates/{kind}/");
    let mut names: Vec<String> = embedded::below(&prefix)
        .filter_map(|(path, _)| Some(path[prefix.len()..].split_once('/')?.0.to_owned()))
        .collect();
    names.dedup();
    names
}

fn meta(folder: &str) -> Meta {
    let path = format!("{folder}/bundle.yaml");
    let text = std::str::from_utf8(embedded::file(&path).unwrap()).unwrap();
    serde_json::from_value(yaml::read(text, &path).unwrap().into_value()).unwrap()
}

/// A cell of a table: no line break, no bar that ends it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn code(value: &Value) -> String {
    format!("`{}`", cell(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str()))
}

/// What values an option takes.
fn kind_of(option: &OptionFacts) -> String {
    if option.values.is_empty() {
        return option.r#type.clone().unwrap_or_default();
    }
    option.values.iter().map(code).collect::<Vec<_>>().join(", ")
}

fn options(schema: &Value, rows: &mut String) {
    for option in describe::options(schema) {
        let mut default = option.default.as_ref().map_or_else(|| "–".to_owned(), code);
        if let Some(production) = &option.default_production {
            write!(default, ", production {}", code(production)).unwrap();
        }
        let mut about = option.description.clone();
        if let Some(example) = option.examples.first() {
            write!(about, " Example: {}.", code(example)).unwrap();
        }
        if option.passthrough {
            about.push_str(" Passed through to `artifacts.json`.");
        }
        writeln!(rows, "| `{}` | {} | {default} | {} |", option.name, kind_of(&option), cell(&about)).unwrap();
    }
}

/// What `check` tries for a bundle with no option set, as the program itself says; variables have a list of their own.
fn checks(kind: &str, name: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_floe-render"))
        .args(["check", &format!("--{kind}"), name, "--offline", "--format", "json"])
        .env_clear()
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{kind}/{name}: {}", String::from_utf8_lossy(&output.stderr)));
    let checks: Vec<String> = document["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| !["variable", "file"].contains(&one["kind"].as_str().unwrap()))
        .map(
            |one| {
                if one["kind"] == "none" { "none: there is nothing to reach".to_owned() } else { code(&one["check"]) }
            },
        )
        .collect();
    assert!(!checks.is_empty(), "{kind}/{name}: has no check, and no reason why");
    checks.join(", ")
}

fn catalogue() -> String {
    let mut text = String::from(
        "# Backends\n\nMade from the bundles by `CATALOGUE=update cargo test --test catalogue`; a test checks that it is theirs. \
         Each name leads to the bundle's README.\n",
    );
    for kind in KINDS {
        write!(text, "\n## {}{}\n\n", kind[..1].to_uppercase(), &kind[1..]).unwrap();
        text.push_str("| bundle | backend | hosting | signals | Secret keys | checks, with no option set |\n|---|---|---|---|---|---|\n");
        for name in folders(kind) {
            let meta = meta(&format!("templates/{kind}/{name}"));
            let signals = if kind == "telemetry" { meta.signals.join(", ") } else { "lineage".to_owned() };
            let keys: Vec<String> = meta
                .variables
                .iter()
                .filter(|(_, variable)| variable.secret.is_none())
                .map(|(_, variable)| (variable.key.as_str(), variable.option.is_some()))
                .map(|(key, plain)| if plain { format!("`{key}` (or the option)") } else { format!("`{key}`") })
                .chain(meta.files.iter().map(|(_, file)| format!("file `{}`", file.key)))
                .collect();
            let link = format!("[{name}](../templates/{kind}/{name}/README.md)");
            let keys = if keys.is_empty() { "–".to_owned() } else { keys.join(", ") };
            writeln!(
                text,
                "| {link} | {} | {} | {signals} | {keys} | {} |",
                cell(&meta.title),
                meta.hosting,
                checks(kind, &name)
            )
            .unwrap();
        }
        for name in folders(kind) {
            let folder = format!("templates/{kind}/{name}");
            let meta = meta(&folder);
            write!(text, "\n### {kind}/{name}\n\n").unwrap();
            let schema = embedded::options_tree(&folder).map(floe_render::json::Json::to_value).unwrap_or_default();
            let mut rows = String::new();
            options(&schema, &mut rows);
            if rows.is_empty() {
                text.push_str("No options.\n");
            } else {
                write!(text, "| option | takes | default | |\n|---|---|---|---|\n{rows}").unwrap();
            }
            for (variable, about) in meta.variables.iter() {
                let of = about
                    .secret
                    .as_ref()
                    .map_or_else(String::new, |option| format!(" Key `{}` of `{option}`.", about.key));
                write!(text, "\n- `{variable}`: {}{of}", about.about).unwrap();
            }
            text.push('\n');
            let charts: Vec<String> = meta.charts.iter().map(|(chart, it)| format!("{chart} {}", it.version)).collect();
            if !charts.is_empty() {
                write!(text, "\nCharts: {}\n", charts.join(", ")).unwrap();
            }
        }
    }
    text.push_str("\n## The collector\n\nOptions of `render.collector`; [collector.md](collector.md) shows what they are for.\n\n");
    let schema =
        embedded::options_tree("templates/platform").map(floe_render::json::Json::to_value).unwrap_or_default();
    let mut rows = String::new();
    options(&schema, &mut rows);
    write!(text, "| option | takes | default | |\n|---|---|---|---|\n{rows}").unwrap();
    text
}

#[test]
fn the_catalogue_says_what_the_bundles_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/backends.md");
    let made = catalogue();
    if std::env::var("CATALOGUE").is_ok_and(|value| value == "update") {
        fs::write(&path, &made).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let difference =
        similar::TextDiff::from_lines(&written, &made).unified_diff().header("written", "bundles").to_string();
    assert!(difference.is_empty(), "{difference}\nRegenerate it: CATALOGUE=update cargo test --test catalogue");
}
