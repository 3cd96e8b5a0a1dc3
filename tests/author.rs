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
    for kind in ["telemetry", "lineage"] {
        succeed(dir.path(), &["bundle", "new", kind, "my-corp", "ours"]);
        let folder = format!("ours/{kind}/my-corp");
        succeed(dir.path(), &["bundle", "lint", &folder]);
        let report = succeed(dir.path(), &["bundle", "test", &folder, "--matrix"]);
        assert!(report.contains("ok      default") && report.contains("ok      with "), "{report}");
        let rendered = succeed(dir.path(), &["--bundles", "ours", &format!("--{kind}"), "my-corp"]);
        assert!(rendered.contains("MY_CORP_") && !rendered.to_lowercase().contains("acme"), "{rendered}");
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
