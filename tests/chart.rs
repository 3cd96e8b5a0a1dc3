//! The folder that `--chart` writes: what becomes of it from one selection to the next, and of what else stands there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn render(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floe-render"));
    command.env_clear().stdin(Stdio::null()).args(arguments).args(["-o", "obs"]).current_dir(dir).output().unwrap()
}

/// Renders, and gives what was said on stderr.
fn succeed(dir: &Path, arguments: &[&str]) -> String {
    let output = render(dir, arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    stderr
}

fn fail(dir: &Path, arguments: &[&str], code: i32) -> String {
    let output = render(dir, arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    stderr
}

/// Every file below a directory, links followed, by its path there.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, bytes)| (name.join(below), bytes)));
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

const WITH_MARQUEZ: [&str; 5] = ["--telemetry", "jaeger", "--lineage", "marquez", "--chart"];
const WITH_ATLAN: [&str; 7] =
    ["--telemetry", "datadog", "--lineage", "atlan", "--set", "lineage.connection=dbt", "--chart"];

#[test]
fn another_selection_leaves_the_folder_as_if_it_were_new() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), &WITH_ATLAN);
    let new = files(&dir.path().join("obs"));
    assert!(!new.contains_key(Path::new("charts/marquez/Chart.yaml")));
    succeed(dir.path(), &WITH_MARQUEZ);
    assert!(dir.path().join("obs/charts/marquez/templates/tests/api.yaml").exists());
    succeed(dir.path(), &WITH_ATLAN);
    assert_eq!(files(&dir.path().join("obs")), new);
    assert!(!dir.path().join("obs/charts").exists(), "an empty folder is left");
}

#[test]
fn without_the_flag_the_chart_goes_and_the_values_are_the_plain_ones() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), &WITH_MARQUEZ[..4]);
    let plain = files(&dir.path().join("obs"));
    succeed(dir.path(), &WITH_MARQUEZ);
    succeed(dir.path(), &WITH_MARQUEZ[..4]);
    assert_eq!(files(&dir.path().join("obs")), plain);
}

#[test]
fn what_users_put_into_the_folder_stays_and_charts_of_no_selection_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), &WITH_MARQUEZ);
    let theirs =
        ["templates/extra.yaml", "charts/jaeger-4.11.1.tgz", "charts/marquez/templates/extra.yaml", "notes.md"];
    for name in theirs {
        fs::write(dir.path().join("obs").join(name), "theirs").unwrap();
    }
    let said = succeed(dir.path(), &WITH_MARQUEZ);
    assert!(!said.contains("obs/charts"), "{said}");
    let said = succeed(dir.path(), &WITH_ATLAN);
    for name in theirs {
        assert_eq!(fs::read_to_string(dir.path().join("obs").join(name)).unwrap(), "theirs");
    }
    assert!(!dir.path().join("obs/charts/marquez/Chart.yaml").exists());
    assert_eq!(said.matches("Helm installs whatever stands there").count(), 2, "{said}");
    assert!(said.contains("warning: obs/charts/jaeger-4.11.1.tgz: no selected bundle declares it"), "{said}");
    assert!(said.contains("warning: obs/charts/marquez: no selected bundle declares it"), "{said}");
}

#[test]
fn a_chart_of_somebody_else_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let obs = dir.path().join("obs");
    fs::create_dir_all(&obs).unwrap();
    fs::write(obs.join("Chart.yaml"), "name: theirs\n").unwrap();
    fs::write(obs.join("README.md"), "# Theirs\n").unwrap();
    let before = files(&obs);
    let said = fail(dir.path(), &WITH_MARQUEZ, 1);
    assert!(said.contains("obs/Chart.yaml: exists and is not of floe-render"), "{said}");
    assert!(said.contains("obs/README.md: exists and is not of floe-render"), "{said}");
    assert_eq!(files(&obs), before);
}

#[cfg(unix)]
#[test]
fn nothing_is_written_or_removed_behind_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir_all(outside.join("marquez")).unwrap();
    fs::write(outside.join("marquez/Chart.yaml"), "theirs").unwrap();
    fs::create_dir(dir.path().join("obs")).unwrap();
    std::os::unix::fs::symlink(&outside, dir.path().join("obs/charts")).unwrap();
    let said = fail(dir.path(), &WITH_MARQUEZ, 1);
    assert!(said.contains("obs/charts: a link, behind which no file is written"), "{said}");
    let list = "# floe-render 0.1.0: files of the chart\ncharts/marquez/Chart.yaml\n../outside/marquez/Chart.yaml\n";
    fs::write(dir.path().join("obs/.floe-render"), list).unwrap();
    succeed(dir.path(), &WITH_ATLAN);
    assert_eq!(fs::read_to_string(outside.join("marquez/Chart.yaml")).unwrap(), "theirs");
}

#[test]
fn a_run_that_fails_leaves_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let obs = dir.path().join("obs");
    fs::create_dir_all(obs.join("values.schema.json")).unwrap();
    let said = fail(dir.path(), &WITH_MARQUEZ, 1);
    assert!(said.contains("obs/values.schema.json: is a directory"), "{said}");
    assert!(files(&obs).is_empty());
    assert!(!obs.join("templates").exists() && !obs.join("charts").exists());
}

#[test]
fn the_flag_needs_a_directory() {
    let output = Command::new(env!("CARGO_BIN_EXE_floe-render")).args(WITH_MARQUEZ).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--output-dir <DIR>"), "{said}");
}

#[test]
fn values_for_a_chart_that_no_bundle_declares_and_nulls_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let patch = |patch: &str| {
        let text = format!("render: {{patches: {{values: {patch}}}}}\n");
        fs::write(dir.path().join("patch.yaml"), text).unwrap();
    };
    patch("{openmetadata: {enabled: true}}");
    let arguments = [&WITH_MARQUEZ[..], &["-f", "patch.yaml"]].concat();
    let said = fail(dir.path(), &arguments, 1);
    assert!(
        said.contains("values.yaml: `openmetadata`: values for a chart that no selected bundle declares"),
        "{said}"
    );
    patch("[{op: add, path: /otel/resources/limits/cpu, value: null}]");
    let said = succeed(dir.path(), &arguments);
    assert!(said.contains("values.yaml: null at `otel.resources.limits.cpu`"), "{said}");
    assert!(said.contains("install with `-f obs/values.yaml`"), "{said}");
}
