//! What a golden case cannot hold: inputs that a program makes, other directories, pipes, and what stands in a directory
//! before and after a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const PAIR: [&str; 4] = ["--telemetry", "datadog", "--lineage", "marquez"];

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floe-render"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn render(dir: &Path, arguments: &[&str]) -> Output {
    program().args(arguments).current_dir(dir).output().unwrap()
}

/// As [`render`], with at most a gigabyte of memory to take.
#[cfg(unix)]
fn render_in_little_memory(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 1000000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_floe-render")]).args(arguments);
    command.current_dir(dir).stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The message of a run that must fail with exit code 1 and print nothing.
fn error(output: &Output) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty(), "it failed and printed something");
    assert!(text.len() < 2000, "the message has {} bytes", text.len());
    text
}

fn succeed(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
}

/// Every file below a directory, by its name.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect()
}

fn names(dir: &Path) -> Vec<String> {
    files(dir).into_keys().collect()
}

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden-tests").join(case)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A directory with a third-party bundle that renders, for tests that break it.
fn with_bundle() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden("input_bundle_of_a_third_party").join("bundles"), &dir.path().join("bundles"));
    let bundle = dir.path().join("bundles/telemetry/acme");
    (dir, bundle)
}

const ACME: [&str; 4] = ["--bundles", "bundles", "--telemetry", "acme"];

// Input that is too large or too deep.

#[test]
fn a_manifest_that_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("plugins: {{telemetry_backend: jaeger}}\n# {}\n", "x".repeat(1 << 20));
    fs::write(dir.path().join("manifest.yaml"), &text).unwrap();
    let message = error(&render(dir.path(), &["-f", "manifest.yaml"]));
    assert!(message.contains("manifest.yaml: the file has more than 1048576 bytes, the limit; split it"), "{message}");
}

#[test]
fn a_policy_that_is_too_large_or_nested_too_deep_is_refused() {
    let large = format!("{{\"title\": \"{}\"}}", "x".repeat(1 << 20));
    let deep = "{\"not\": ".repeat(65) + "{}" + &"}".repeat(65);
    let deepest = "{\"not\": ".repeat(100_000);
    for (text, expected) in [
        (large, "all.json: the file has more than 1048576 bytes, the limit; split it"),
        (deep, "all.json: nested deeper than 64 levels; use `$defs`"),
        (deepest, "recursion limit exceeded"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("all.json"), text).unwrap();
        let message = error(&render(dir.path(), &["--telemetry", "jaeger", "--policy", "."]));
        assert!(message.contains(expected), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn a_manifest_that_has_no_end_is_refused() {
    let zeros = Path::new("/dev/zero");
    if zeros.exists() {
        let dir = tempfile::tempdir().unwrap();
        let message = error(&render_in_little_memory(dir.path(), &["-f", "/dev/zero"]));
        assert!(message.contains("/dev/zero"), "{message}");
    }
}

#[test]
fn a_manifest_that_is_nested_too_deep_is_refused() {
    let deep_flow = "a: ".to_owned() + &"[".repeat(100_000);
    let deep_maps = "a: ".to_owned() + &"{a: ".repeat(5_000) + &"}".repeat(5_000);
    let deep_block: String = (0..1000).map(|depth| " ".repeat(depth) + "a:\n").collect();
    let deep_dashes = "a:\n".to_owned() + &"- ".repeat(5_000) + "b";
    let dir = tempfile::tempdir().unwrap();
    for text in [deep_flow, deep_maps, deep_block, deep_dashes] {
        fs::write(dir.path().join("manifest.yaml"), &text).unwrap();
        let message = error(&render(dir.path(), &["-f", "manifest.yaml", "--telemetry", "jaeger"]));
        assert!(message.starts_with("error: manifest.yaml:"), "{text:.40}: {message}");
    }
}

#[test]
fn a_manifest_with_too_many_nodes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("manifest.yaml"), format!("a: [{}]\n", "1,".repeat(200_000))).unwrap();
    let message = error(&render(dir.path(), &["-f", "manifest.yaml", "--telemetry", "jaeger"]));
    assert!(message.contains("more than 100000 nodes"), "{message}");
}

#[test]
fn a_flag_that_is_nested_too_deep_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let json = format!("telemetry.hostname={}", "[".repeat(10_000));
    let message = error(&render(dir.path(), &["--telemetry", "datadog", "--set-json", &json]));
    assert!(message.starts_with("error: --set-json telemetry.hostname"), "{message}");
    let path = format!("telemetry{}=1", ".a".repeat(10_000));
    let message = error(&render(dir.path(), &["--telemetry", "datadog", "--set", &path]));
    assert!(message.starts_with("error: --set"), "{message}");
}

#[test]
fn a_bundle_that_is_too_large_is_refused() {
    let (dir, bundle) = with_bundle();
    fs::write(bundle.join("notes"), vec![b'x'; (1 << 20) + 1]).unwrap();
    let message = error(&render(dir.path(), &ACME));
    assert!(message.contains("bundles/telemetry/acme/notes: the bundle is too large"), "{message}");

    let (dir, bundle) = with_bundle();
    for number in 0..300 {
        fs::write(bundle.join(format!("notes-{number}")), "").unwrap();
    }
    let message = error(&render(dir.path(), &ACME));
    assert!(message.contains("the bundle is too large: at most 256 files"), "{message}");

    let (dir, bundle) = with_bundle();
    fs::create_dir_all(bundle.join("a/a/a/a/a/a/a/a/a/a/a")).unwrap();
    let message = error(&render(dir.path(), &ACME));
    assert!(message.contains("folders are nested deeper than 8"), "{message}");
}

#[cfg(unix)]
#[cfg(not(feature = "oci"))]
#[test]
fn a_build_without_the_client_for_registries_says_how_to_get_it() {
    let (dir, _) = with_bundle();
    let reference = "oci://localhost:5000/acme:1";
    for arguments in [vec!["bundle", "push", "bundles/telemetry/acme", reference], vec!["bundle", "pull", reference]] {
        let output = render(dir.path(), &arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("--features oci"), "{}", stderr(&output));
    }
}

#[test]
fn a_template_cannot_make_the_program_use_up_the_memory() {
    let (dir, bundle) = with_bundle();
    let with_endpoint = |before: &str, value: &str| {
        format!(
            "{before}\nexporters: {{otlp_http: {{endpoint: {value}}}}}\n\
             service: {{pipelines: {{traces: {{exporters: [otlp_http]}}}}}}\n"
        )
    };
    for template in [
        with_endpoint("", "{{ 'x' * 3000000 }}"),
        with_endpoint("", "[{% for i in range(9000) %}{{ 'x' * 900000 }}, {% endfor %}]"),
        with_endpoint("{% set t = 'x' * 100000 %}", "[{% for i in range(9000) %}{{ t }}, {% endfor %}]"),
    ] {
        fs::write(bundle.join("collector.yaml.j2"), &template).unwrap();
        let message = error(&render_in_little_memory(dir.path(), &ACME));
        assert!(message.starts_with("error: bundles/telemetry/acme/collector.yaml.j2"), "{message}");
    }
}

// What is printed, and where to.

#[cfg(unix)]
#[test]
fn a_closed_pipe_ends_quietly() {
    for only in [None, Some("values.yaml")] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program();
        command.args(PAIR);
        if let Some(file) = only {
            command.args(["-s", file]);
        }
        let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = program().args(PAIR).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let message = error(&output);
    assert!(message.starts_with("error: stdout cannot be written"), "{message}");
}

#[test]
fn the_bytes_are_the_same_on_every_run_from_any_directory_and_in_any_environment() {
    let case = golden("input_selection_mapping");
    let manifest = case.join("manifest.yaml");
    let manifest = manifest.to_str().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let relative = render(&case, &["-f", "manifest.yaml"]);
    succeed(&relative);
    for _ in 0..3 {
        assert_eq!(render(&case, &["-f", "manifest.yaml"]).stdout, relative.stdout);
    }
    assert_eq!(render(elsewhere.path(), &["-f", manifest]).stdout, relative.stdout);
    let mut command = program();
    command.args(["-f", manifest]).current_dir("/");
    for (name, value) in [
        ("DD_API_KEY", "0123"),
        ("ATLAN_HOST", "other.atlan.com"),
        ("FLOE_ENVIRONMENT", "production"),
        ("OPENLINEAGE_NAMESPACE", "other"),
        ("HOME", "/nowhere"),
        ("LANG", "tr_TR.UTF-8"),
        ("TZ", "Asia/Kathmandu"),
        ("NO_COLOR", "1"),
    ] {
        command.env(name, value);
    }
    assert_eq!(command.output().unwrap().stdout, relative.stdout);
}

#[test]
fn bundles_give_the_same_bytes_from_any_directory() {
    let (first, _) = with_bundle();
    let (second, _) = with_bundle();
    let here = render(first.path(), &ACME);
    succeed(&here);
    let there = second.path().join("bundles");
    let there = render(Path::new("/"), &["--bundles", there.to_str().unwrap(), "--telemetry", "acme"]);
    assert_eq!(String::from_utf8_lossy(&there.stdout), String::from_utf8_lossy(&here.stdout));
}

#[test]
fn a_directory_gets_what_stdout_gets() {
    let dir = tempfile::tempdir().unwrap();
    succeed(&render(dir.path(), &[&PAIR[..], &["-o", "a/b/out"]].concat()));
    let written = files(&dir.path().join("a/b/out"));
    assert_eq!(written.len(), 5);
    for (name, bytes) in written {
        let output = render(dir.path(), &[&PAIR[..], &["-s", &name]].concat());
        succeed(&output);
        assert_eq!(output.stdout, bytes, "{name}");
    }
}

// What stands in the output directory before and after.

#[test]
fn a_file_of_an_earlier_selection_goes_and_foreign_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed(&render(dir.path(), &[&PAIR[..], &["-o", "out"]].concat()));
    fs::write(out.join("notes.txt"), "mine\n").unwrap();
    fs::write(out.join("collector.yml"), "# floe-render is not the author\n").unwrap();

    succeed(&render(dir.path(), &["--telemetry", "jaeger", "-o", "out"]));
    let expected =
        ["artifacts.json", "collector.yaml", "collector.yml", "notes.txt", "values.yaml", "workload.env.yaml"];
    assert_eq!(names(&out), expected);
    assert_eq!(fs::read_to_string(out.join("notes.txt")).unwrap(), "mine\n");

    fs::write(out.join("collector.yaml"), "receivers: {}\n").unwrap();
    succeed(&render(dir.path(), &["--lineage", "marquez", "-o", "out"]));
    assert_eq!(fs::read_to_string(out.join("collector.yaml")).unwrap(), "receivers: {}\n");
    assert!(out.join("openlineage.yml").is_file());
}

#[test]
fn a_run_that_fails_leaves_the_old_files_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed(&render(dir.path(), &[&PAIR[..], &["-o", "out"]].concat()));
    let before = files(&out);
    for wrong in [
        &["--telemetry", "datadog", "--set", "telemetry.site=nowhere", "-o", "out"][..],
        &["--telemetry", "datadog", "-f", "gone.yaml", "-o", "out"],
        &["--telemetry", "jaeger", "-e", "production", "-o", "out"],
        &[
            "--telemetry",
            "jaeger",
            "--set-json",
            "render.patches.values=[{\"op\":\"remove\",\"path\":\"/gone\"}]",
            "-o",
            "out",
        ],
    ] {
        error(&render(dir.path(), wrong));
        assert_eq!(files(&out), before, "{wrong:?}");
    }
    error(&render(dir.path(), &["--telemetry", "datadgo", "-o", "new"]));
    assert!(!dir.path().join("new").exists(), "a failed run made the directory");
}

#[test]
fn a_run_that_cannot_replace_a_file_replaces_none() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed(&render(dir.path(), &["--telemetry", "datadog", "--lineage", "marquez", "-o", "out"]));
    // The last file that is written cannot be: a directory that is not empty has its name.
    fs::remove_file(out.join("artifacts.json")).unwrap();
    fs::create_dir(out.join("artifacts.json")).unwrap();
    fs::write(out.join("artifacts.json/keep"), "").unwrap();
    let before = files(&out);
    let message = error(&render(dir.path(), &[&PAIR[..], &["-o", "out"]].concat()));
    assert!(message.contains("out/artifacts.json: is a directory"), "{message}");
    assert_eq!(files(&out), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let message = error(&render(dir.path(), &["--telemetry", "datadog", "-o", "/proc/floe/out"]));
    assert!(message.starts_with("error: --output-dir /proc/floe/out: cannot be created"), "{message}");
    let message = error(&render(dir.path(), &["--telemetry", "datadog", "-o", "/proc"]));
    assert!(message.starts_with("error: --output-dir /proc: cannot be written"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_directory_without_write_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere.
    if fs::write(out.join("probe"), "").is_err() {
        let message = error(&render(dir.path(), &["--telemetry", "jaeger", "-o", "out"]));
        assert!(message.starts_with("error: --output-dir out: cannot be written"), "{message}");
    }
    fs::set_permissions(&out, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
#[test]
fn a_linked_output_file_is_replaced_and_its_target_stays() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(dir.path().join("precious"), "mine\n").unwrap();
    std::os::unix::fs::symlink("../precious", out.join("values.yaml")).unwrap();
    succeed(&render(dir.path(), &["--telemetry", "jaeger", "-o", "out"]));
    assert_eq!(fs::read_to_string(dir.path().join("precious")).unwrap(), "mine\n");
    assert!(fs::read_to_string(out.join("values.yaml")).unwrap().starts_with("# floe-render "));
}

#[test]
fn a_second_run_over_the_first_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed(&render(dir.path(), &[&PAIR[..], &["-o", "out"]].concat()));
    let before = files(&out);
    succeed(&render(dir.path(), &[&PAIR[..], &["-o", "out"]].concat()));
    assert_eq!(files(&out), before);
}

// Strings.

/// Strings that readers of YAML, the collector, Helm or Kubernetes could take for something else.
const STRINGS: &[&str] = &[
    "yes",
    "no",
    "on",
    "0777",
    "1_000",
    "1e3",
    "12:30:45",
    "2001-01-01",
    "~",
    "null",
    " padded ",
    "multi\nline",
    "é",
    "{{ x }}",
    "$HOME",
    "$(X)",
    "# c",
    "key: v",
    "",
    "n",
    "Off",
    "0o17",
    "0x1f",
    ".5",
    "+1",
    ".inf",
    "=",
    "a\tb",
    "\n",
    "trailing\n",
    "{{`x`}}",
    "{{{",
    "}}",
    "$",
    "a$",
    "a$$b",
    "$$",
    "$$(X)",
    "$$$(ACME_TOKEN)",
    "$(ACME_TOKEN)",
    "${X}",
    "'",
    "\"",
    "\\",
    "\u{85}\u{2028}",
    "- a",
    "<<",
];

fn read_back(dir: &Path, file: &str) -> Value {
    floe_render::yaml::read(&fs::read_to_string(dir.join(file)).unwrap(), file).unwrap().to_value()
}

/// What the collector makes of a literal: `$$` is `$`.
fn by_the_collector(text: &str) -> String {
    text.replace("$$", "$")
}

/// What Helm's `tpl` makes of a value: the one action that is ever written is `` {{`{{`}} ``.
fn by_helm(text: &str) -> String {
    text.replace("{{`{{`}}", "{{")
}

/// What Kubernetes makes of `env[].value` (`third_party/forked/golang/expansion`): `$$` is `$`, `$(NAME)` a variable.
fn by_kubernetes(text: &str, variables: &BTreeMap<&str, &str>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let name = after.strip_prefix('(').and_then(|name| name.split_once(')'));
        rest = if let Some(tail) = after.strip_prefix('$') {
            expanded.push('$');
            tail
        } else if let Some((name, tail)) = name {
            expanded.push_str(&variables.get(name).map_or_else(|| format!("$({name})"), |value| (*value).to_owned()));
            tail
        } else {
            expanded.push('$');
            after
        };
    }
    expanded + rest
}

#[test]
fn every_string_comes_back_equal_from_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let bundles = golden("option_of_any_string_survives").join("bundles");
    let out = dir.path().join("out");
    for &text in STRINGS {
        let options = json!({"text": text, "strings": {"one": text}});
        succeed(&render(
            dir.path(),
            &[
                "--bundles",
                bundles.to_str().unwrap(),
                "--telemetry",
                "acme",
                "--lineage",
                "acme",
                "--set-json",
                &format!("telemetry.text={}", options["text"]),
                "--set-json",
                &format!("telemetry.strings={}", options["strings"]),
                "--set-json",
                &format!("lineage.text={}", options["text"]),
                "--set-json",
                &format!("lineage.strings={}", options["strings"]),
                "-o",
                "out",
            ],
        ));
        let collector = read_back(&out, "collector.yaml");
        let values = read_back(&out, "values.yaml");
        let client = read_back(&out, "openlineage.yml");
        let workload = read_back(&out, "workload.env.yaml");
        let artifacts: Value = serde_json::from_str(&fs::read_to_string(out.join("artifacts.json")).unwrap()).unwrap();
        let at = |value: &Value, pointer: &str| value.pointer(pointer).unwrap().as_str().unwrap().to_owned();

        for pointer in ["/exporters/acme/text", "/exporters/acme/strings/one", "/exporters/acme/list/0"] {
            assert_eq!(by_the_collector(&at(&collector, pointer)), text);
            let in_values = at(&values, &format!("/otel/alternateConfig{pointer}"));
            assert_eq!(by_the_collector(&by_helm(&in_values)), text);
        }
        for pointer in ["/acme/text", "/acme/strings/one"] {
            assert_eq!(at(&values, pointer), text);
        }
        let header = text == text.trim() && !text.contains('\n');
        let headers = ["/transport/custom_headers/X-Text", "/transport/custom_headers/X-one"];
        for pointer in headers.into_iter().filter(|_| header) {
            assert_eq!(at(&client, pointer), text);
            assert_eq!(at(&values, &format!("/workloads/config{pointer}")), text);
        }
        assert_eq!(artifacts.pointer("/openlineage_client_config"), Some(&client));
        assert_eq!(artifacts.pointer("/workload_env"), Some(&workload));

        let variables = BTreeMap::from([("ACME_TOKEN", "t0ken"), ("X", "wrong"), ("HOME", "wrong")]);
        let variable = |name: &str| {
            let entry = workload.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap();
            by_kubernetes(entry["value"].as_str().unwrap(), &variables)
        };
        if !text.is_empty() {
            assert_eq!(variable("OPENLINEAGE_NAMESPACE"), text);
        }
        if header {
            let headers: Value = serde_json::from_str(&variable("OPENLINEAGE__TRANSPORT__CUSTOM_HEADERS")).unwrap();
            assert_eq!(headers["X-Late-one"], format!("{text}t0ken"));
        }
    }
}

#[test]
fn a_string_by_set_a_manifest_and_set_json_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let bundles = golden("option_of_any_string_survives").join("bundles");
    let bundles = bundles.to_str().unwrap();
    for &text in STRINGS {
        let json = serde_json::to_string(text).unwrap();
        let mut escaped = String::new();
        for c in text.chars() {
            if matches!(c, '\\' | ',' | '{') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        fs::write(
            dir.path().join("manifest.yaml"),
            format!("plugins:\n  telemetry_backend:\n    type: acme\n    config: {{text: {json}}}\n"),
        )
        .unwrap();
        let by = |arguments: &[&str]| {
            let output = render(dir.path(), &[&["--bundles", bundles][..], arguments].concat());
            succeed(&output);
            String::from_utf8(output.stdout).unwrap()
        };
        let manifest = by(&["-f", "manifest.yaml", "-s", "collector.yaml"]);
        let acme = ["--telemetry", "acme", "-s", "collector.yaml"];
        for (flag, value) in [("--set", &escaped), ("--set-string", &escaped), ("--set-json", &json)] {
            // `null` takes back what was set, with the flags that know types.
            if flag == "--set" && text == "null" {
                continue;
            }
            let given = by(&[&acme[..], &[flag, &format!("telemetry.text={value}")]].concat());
            assert_eq!(given, manifest, "{flag} telemetry.text={value}");
        }
    }
}
