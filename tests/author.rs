//! What the tools for authors promise of the bundles that are built in, and of the skeletons.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_floe-render"))
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn succeed(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{stderr}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn listed() -> Vec<Value> {
    serde_json::from_str(&succeed(root(), &["list", "--format", "json"])).unwrap()
}

#[test]
fn every_built_in_bundle_passes_lint() {
    let bundles = listed();
    assert!(bundles.len() >= 18, "{bundles:?}");
    for bundle in bundles {
        let folder = format!("templates/{}/{}", bundle["kind"].as_str().unwrap(), bundle["name"].as_str().unwrap());
        succeed(root(), &["bundle", "lint", &folder]);
    }
}

#[test]
fn every_built_in_bundle_is_shown_with_its_connections() {
    for bundle in listed() {
        let name = format!("{}/{}", bundle["kind"].as_str().unwrap(), bundle["name"].as_str().unwrap());
        let shown: Value = serde_json::from_str(&succeed(root(), &["show", &name, "--format", "json"])).unwrap();
        assert_eq!(shown["digest"], bundle["digest"]);
        let text = succeed(root(), &["show", &name]);
        assert!(text.contains("Try it: floe-render --"), "{text}");
        let console = name.ends_with("/console");
        assert_eq!(shown["connections"].as_array().unwrap().is_empty(), console, "{name}: {}", shown["connections"]);
    }
}

#[test]
fn a_new_bundle_renders_and_passes_lint_test_and_matrix() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, hosting) in ["telemetry", "lineage"].into_iter().flat_map(|kind| [(kind, "saas"), (kind, "self-hosted")])
    {
        let folder = format!("ours/{kind}/my-corp");
        let _ = std::fs::remove_dir_all(dir.path().join(&folder));
        succeed(dir.path(), &["bundle", "new", kind, "my-corp", "ours", "--hosting", hosting]);
        let readme = std::fs::read_to_string(dir.path().join(&folder).join("README.md")).unwrap();
        assert!(readme.contains(&format!("    floe-render --bundles ours --{kind} my-corp")), "{readme}");
        succeed(dir.path(), &["bundle", "lint", &folder]);
        let report = succeed(dir.path(), &["bundle", "test", &folder, "--matrix"]);
        assert!(report.contains("ok      default") && report.contains("ok      with "), "{report}");
        let rendered = succeed(dir.path(), &["--bundles", "ours", &format!("--{kind}"), "my-corp"]);
        assert!(rendered.contains("my-corp") && !rendered.to_lowercase().contains("acme"), "{rendered}");
        let again = run(dir.path(), &["bundle", "new", kind, "my-corp", "ours"]);
        assert_eq!(again.status.code(), Some(1));
    }
}

#[test]
fn a_changed_bundle_fails_its_test_until_it_is_updated() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    succeed(at, &["bundle", "new", "telemetry", "acme", "ours"]);
    let template = at.join("ours/telemetry/acme/collector.yaml.j2");
    let text = std::fs::read_to_string(&template).unwrap().replace("Bearer ", "Token ");
    std::fs::write(&template, text).unwrap();
    let output = run(at, &["bundle", "test", "ours/telemetry/acme", "--format", "junit"]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        report.contains("failures=\"2\"") && report.contains("+      authorization: Token ${env:ACME_TOKEN}"),
        "{report}"
    );
    succeed(at, &["bundle", "test", "ours/telemetry/acme", "--update"]);
    succeed(at, &["bundle", "test", "ours/telemetry/acme"]);
}

#[test]
fn a_packed_bundle_is_the_same_wherever_it_is_packed_and_renders_as_its_folder() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pack = |at: &Path| {
        succeed(at, &["bundle", "new", "telemetry", "acme", "ours"]);
        std::fs::write(at.join("ours/telemetry/acme/cases/default/cmd"), "floe-render --telemetry acme\n").unwrap();
        succeed(at, &["bundle", "pack", "ours/telemetry/acme"]);
        std::fs::read(at.join("telemetry-acme-0.1.0.tar")).unwrap()
    };
    assert_eq!(pack(one.path()), pack(other.path()));
    let from = |bundles: &str| succeed(one.path(), &["--bundles", bundles, "--telemetry", "acme"]);
    assert_eq!(from("ours"), from("telemetry-acme-0.1.0.tar"));
}

/// A tar archive of one entry with a name and a type of its own.
fn archive(name: &str, kind: tar::EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size);
    header.set_link_name("/etc/passwd").unwrap();
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(2048, 0);
    bytes
}

#[test]
fn an_archive_cannot_leave_its_folder_link_or_swell() {
    let dir = tempfile::tempdir().unwrap();
    let regular = tar::EntryType::Regular;
    for (name, kind, size, says) in [
        ("telemetry/acme/../../../etc/x", regular, 0, "without `..`"),
        ("/telemetry/acme/bundle.yaml", regular, 0, "without `..`"),
        ("telemetry/bundle.yaml", regular, 0, "is called telemetry/<name>/"),
        ("other/acme/bundle.yaml", regular, 0, "is called telemetry/<name>/"),
        ("telemetry/acme/link", tar::EntryType::Symlink, 0, "no links"),
        ("telemetry/acme/link", tar::EntryType::Link, 0, "no links"),
        ("telemetry/acme/device", tar::EntryType::Block, 0, "no links"),
        ("telemetry/acme/sparse", tar::EntryType::GNUSparse, 0, "not a tar archive"),
        ("telemetry/acme/large", regular, 1 << 40, "too large"),
        ("telemetry/acme/a/b/c/d/e/f/g/h/i/j", regular, 0, "deeper than 8"),
    ] {
        std::fs::write(dir.path().join("x.tar"), archive(name, kind, size)).unwrap();
        let output = run(dir.path(), &["--bundles", "x.tar", "--telemetry", "acme"]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.contains(says), "{name}: {stderr}");
    }
}

/// What a shell offers for the last of some words.
fn completed(words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_floe-render"))
        .args(["--", "floe-render"])
        .args(words)
        .env_clear()
        .envs([("COMPLETE", "bash"), ("_CLAP_IFS", "\n"), ("_CLAP_COMPLETE_COMP_TYPE", "9")])
        .envs([("_CLAP_COMPLETE_INDEX", words.len().to_string().as_str()), ("_CLAP_COMPLETE_SPACE", "false")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn completions_know_bundles_and_options_and_the_authors_own() {
    assert_eq!(completed(&["--telemetry", "dat"]), ["datadog"]);
    assert_eq!(completed(&["explain", "x", "--lineage", "marq"]), ["marquez"]);
    assert_eq!(completed(&["show", "lineage/at"]), ["lineage/atlan"]);
    assert_eq!(completed(&["--telemetry", "datadog", "--set", "telemetry.si"]), ["telemetry.site="]);
    let second = completed(&["--telemetry", "datadog", "--set", "telemetry.site=datadoghq.eu,telemetry.apm"]);
    assert_eq!(second, ["telemetry.site=datadoghq.eu,telemetry.apm_stats="]);
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), &["bundle", "new", "telemetry", "acme", "ours"]);
    let ours = dir.path().join("ours").display().to_string();
    assert_eq!(completed(&["--bundles", &ours, "--telemetry", "ac"]), ["acme"]);
    assert_eq!(completed(&["--bundles", &ours, "--telemetry", "acme", "--set", "telemetry.h"]), ["telemetry.host="]);
}

#[test]
fn every_subcommand_has_help_with_an_example_and_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), &["man", "-o", "man1"]);
    let mut open = vec![(floe_render::cli::command(), Vec::new())];
    let mut seen = 0;
    while let Some((command, words)) = open.pop() {
        let page = [&["floe-render".to_owned()], words.as_slice()].concat().join("-");
        assert!(dir.path().join(format!("man1/{page}.1")).is_file(), "{page}");
        let leaf = command.get_subcommands().next().is_none();
        if leaf {
            let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
            let help = succeed(dir.path(), &arguments);
            assert!(help.contains("Example"), "{page}: {help}");
            seen += 1;
        }
        for below in command.get_subcommands() {
            open.push((below.clone(), [words.as_slice(), &[below.get_name().to_owned()]].concat()));
        }
    }
    assert!(seen >= 13, "{seen}");
}

#[test]
fn a_manifest_that_was_migrated_renders_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    std::fs::write(at.join("m.yaml"), "plugins:\n  # our pair\n  observability: datadog  # since 2023\n").unwrap();
    succeed(at, &["-f", "m.yaml", "-o", "rendered"]);
    succeed(at, &["migrate", "--in-place", "m.yaml"]);
    let text = std::fs::read_to_string(at.join("m.yaml")).unwrap();
    let wanted = "plugins:\n  # our pair\n  telemetry_backend: datadog  # since 2023\n  lineage_backend: atlan\n";
    assert_eq!(text, wanted);
    succeed(at, &["diff", "-f", "m.yaml", "-o", "rendered"]);
}

#[test]
fn the_hooks_run_commands_that_exist() {
    let text = std::fs::read_to_string(root().join(".pre-commit-hooks.yaml")).unwrap();
    let hooks = floe_render::yaml::read(&text, "hooks").unwrap().to_value();
    let hooks = hooks.as_array().unwrap();
    assert_eq!(hooks.len(), 3);
    for hook in hooks {
        let mut words: Vec<&str> = hook["entry"].as_str().unwrap().split(' ').collect();
        assert_eq!(words.remove(0), "floe-render");
        words.push("--help");
        succeed(root(), &words);
    }
}

/// The files that a document shows: by path, without the comment that names it.
fn shown(document: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let mut files = Vec::new();
    for block in text.split("\n```").skip(1).step_by(2) {
        let (language, body) = block.split_once('\n').unwrap_or_default();
        let comment = body.lines().next().and_then(|line| line.strip_prefix("# ")).filter(|path| path.contains('.'));
        match (language.split_once("title="), comment) {
            (Some((_, path)), _) => files.push((path.to_owned(), format!("{body}\n"))),
            (None, Some(path)) => files.push((path.to_owned(), format!("{}\n", body.split_once('\n').unwrap().1))),
            (None, None) => {}
        }
    }
    files
}

#[test]
fn the_example_bundles_are_those_that_their_documents_write() {
    let documents = ["docs/writing-a-bundle.md", "docs/bundle-with-a-chart.md"].map(shown);
    assert!(documents.iter().all(|files| files.len() >= 8), "{documents:?}");
    for (path, text) in documents.into_iter().flatten() {
        let there = root().join(path.replace("ours/", "docs/examples/bundles/"));
        let written = std::fs::read_to_string(&there).unwrap_or_else(|error| panic!("{}: {error}", there.display()));
        assert_eq!(written, text, "{}", there.display());
    }
    for folder in ["docs/examples/bundles/telemetry/axiom", "docs/examples/bundles/lineage/ledger"] {
        succeed(root(), &["bundle", "lint", folder]);
        succeed(root(), &["bundle", "test", folder, "--matrix"]);
    }
}

#[test]
fn manifests_of_others_in_the_documents_are_named_and_well_formed() {
    let mut kinds = Vec::new();
    for (path, text) in shown("docs/gitops.md") {
        let node = floe_render::yaml::read(&text, &path).unwrap();
        node.doubts(&mut |at, doubt| panic!("{path}:{}: {doubt:?}", at.line));
        let value = node.to_value();
        match value.get("kind").and_then(Value::as_str) {
            Some("Manifest") => {}
            Some(kind) => {
                assert!(value["apiVersion"].is_string() && value["metadata"]["name"].is_string(), "{path}");
                assert!(value["spec"].is_object(), "{path}");
                kinds.push(kind.to_owned());
            }
            None => {
                let hooks = std::fs::read_to_string(root().join(".pre-commit-hooks.yaml")).unwrap();
                for hook in value["repos"][0]["hooks"].as_array().unwrap() {
                    assert!(hooks.contains(&format!("id: {}\n", hook["id"].as_str().unwrap())), "{hook}");
                }
                kinds.push(path);
            }
        }
    }
    assert_eq!(kinds, [".pre-commit-config.yaml", "Application", "GitRepository", "HelmRelease"]);
}

#[test]
fn the_workflow_runs() {
    let text = std::fs::read_to_string(root().join("docs/examples/ci/github.yaml")).unwrap();
    let workflow = floe_render::yaml::read(&text, "github.yaml").unwrap().to_value();
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    std::fs::write(at.join("manifest.yaml"), "plugins: {telemetry_backend: console}\n").unwrap();
    succeed(at, &["-f", "manifest.yaml", "-o", "rendered"]);
    succeed(at, &["bundle", "new", "telemetry", "acme", "bundles"]);
    let given = [("flags", "-f manifest.yaml"), ("rendered", "rendered"), ("bundles", "bundles/telemetry/acme")];
    let bin = Path::new(env!("CARGO_BIN_EXE_floe-render")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let step = |step: &Value| -> Option<i32> {
        let script =
            step["run"].as_str().filter(|script| script.contains("floe-render diff") || script.contains("bundle"))?;
        let mut command = Command::new("sh");
        command.args(["-e", "-c", script]).current_dir(at).env_clear().env("PATH", &path);
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            let value = given.iter().fold(value.as_str().unwrap().to_owned(), |value, (input, text)| {
                value.replace(&format!("${{{{ inputs.{input} }}}}"), text)
            });
            command.env(name, value);
        }
        command.output().unwrap().status.code()
    };
    let steps = workflow["jobs"]["check"]["steps"].as_array().unwrap();
    let codes: Vec<i32> = steps.iter().filter_map(step).collect();
    assert_eq!(codes, [0, 0]);
    assert!(std::fs::read_to_string(at.join("junit-acme.xml")).unwrap().contains("failures=\"0\""));
    std::fs::write(at.join("rendered/collector.yaml"), "# floe-render 0\n").unwrap();
    assert_eq!(steps.iter().find_map(step), Some(3));
}
