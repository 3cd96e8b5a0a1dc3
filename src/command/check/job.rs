//! `--job`: a Kubernetes Job that runs the same check inside the cluster, with the Secrets that are there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::variables::Variable;
use super::{Check, Format};
use crate::select::Kind;
use crate::{Stages, lock, policy, yaml};

/// Name of the Job and of its `ConfigMap`.
const NAME: &str = "floe-check";
/// Where the `ConfigMap` is mounted.
const FOLDER: &str = "/etc/floe-check";
/// What a `ConfigMap` may hold is 1 MiB, its own fields included.
const MAX_DATA: usize = 1_000_000;
/// Seconds that the pod may take to start, besides the checks themselves.
const START: u64 = 120;

/// The manifest: a `ConfigMap` with what the command line names, if it names files, and the Job.
pub(super) fn manifest(check: &Check, made: &Stages, variables: &[Variable]) -> Result<String> {
    let files = Files::of(check, made)?;
    let mut text = format!(
        "# floe-render check, inside the cluster. The result: kubectl{} logs --follow job/{NAME}\n\
         # Again: delete the Job first, or use kubectl replace --force -f -\n",
        made.plan.namespace.as_ref().map_or_else(String::new, |namespace| format!(" --namespace {namespace}"))
    );
    if !files.entries.is_empty() {
        text.push_str(&yaml::write(&files.config_map(metadata(made)))?);
        text.push_str("---\n");
    }
    text.push_str(&yaml::write(&job(check, made, variables, &files)?)?);
    Ok(text)
}

fn metadata(made: &Stages) -> Value {
    let mut metadata = json!({"name": NAME, "labels": labels()});
    if let Some(namespace) = &made.plan.namespace {
        metadata["namespace"] = namespace.clone().into();
    }
    metadata
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": "floe-render"})
}

/// Labels of the pod, by which network policies let it in: the umbrella's where it deploys a backend, and wherever else
/// jobs are let in by theirs.
fn pod_labels(made: &Stages) -> Value {
    let mut labels = labels();
    labels["floe.dev/check"] = "true".into();
    if made.bundles.backends.iter().any(|backend| backend.selection.kind == Kind::Lineage) {
        labels["floe.dev/telemetry"] = "true".into();
    }
    labels
}

fn job(check: &Check, made: &Stages, variables: &[Variable], files: &Files) -> Result<Value> {
    // Optional, so that the check itself says what is missing, and not the kubelet.
    let env: Vec<Value> = variables
        .iter()
        .map(|one| {
            let key = json!({"name": one.secret, "key": one.key, "optional": true});
            json!({"name": one.name, "valueFrom": {"secretKeyRef": key}})
        })
        .collect();
    let (mut volumes, mut mounts) = mounted(made)?;
    if !files.entries.is_empty() {
        let items: Vec<Value> = files.entries.iter().map(|file| json!({"key": file.key, "path": file.path})).collect();
        volumes.push(json!({"name": NAME, "configMap": {"name": NAME, "items": items}}));
        mounts.push(json!({"name": NAME, "mountPath": FOLDER, "readOnly": true}));
    }
    let mut container = json!({
        "name": NAME,
        "image": check.image,
        "args": arguments(check, files),
        "env": env,
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    });
    let mut pod = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    if let Some(account) = &check.service_account {
        pod["serviceAccountName"] = account.clone().into();
    }
    if let Some(map) = container.as_object_mut() {
        map.retain(|_, value| value.as_array().is_none_or(|items| !items.is_empty()));
    }
    pod["containers"] = json!([container]);
    if !volumes.is_empty() {
        pod["volumes"] = volumes.into();
    }
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(made),
        "spec": {
            // What a check finds does not change by running it again.
            "backoffLimit": 0,
            "activeDeadlineSeconds": check.overall_timeout.as_secs() + START,
            "ttlSecondsAfterFinished": 86_400,
            "template": {"metadata": {"labels": pod_labels(made)}, "spec": pod},
        },
    }))
}

/// The files that the collector and the workloads mount from Secrets, at the same places. What both mount in one folder is
/// one volume here.
fn mounted(made: &Stages) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut folders: Vec<(Value, Vec<Value>)> = Vec::new();
    for binding in [&made.bound.collector, &made.bound.workload] {
        for mount in &binding.mounts {
            let Some(volume) = binding.volumes.iter().find(|volume| volume["name"] == mount["name"]) else { continue };
            let index =
                folders.iter().position(|(other, _)| other["mountPath"] == mount["mountPath"]).unwrap_or_else(|| {
                    folders.push((mount.clone(), Vec::new()));
                    folders.len() - 1
                });
            for source in sources(volume) {
                add_source(&mut folders[index].1, source).with_context(|| {
                    format!(
                        "--job: the collector and the workloads mount different files at {}, which one pod cannot; give one \
                         selection another `name`",
                        mount["mountPath"].as_str().unwrap_or_default()
                    )
                })?;
            }
        }
    }
    let volume =
        |(mount, sources): &(Value, Vec<Value>)| json!({"name": mount["name"], "projected": {"sources": sources}});
    Ok((folders.iter().map(volume).collect(), folders.into_iter().map(|(mount, _)| mount).collect()))
}

/// The Secrets of a volume as sources of a projected one. Optional, as the variables are.
fn sources(volume: &Value) -> Vec<Value> {
    let source = |name: &Value, items: &Value| json!({"secret": {"name": name, "items": items, "optional": true}});
    match volume.get("secret") {
        Some(secret) => vec![source(&secret["secretName"], &secret["items"])],
        None => volume["projected"]["sources"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| source(&one["secret"]["name"], &one["secret"]["items"]))
            .collect(),
    }
}

/// Adds a source, unless it is there. Two that put different things in one place are refused.
fn add_source(all: &mut Vec<Value>, source: Value) -> Result<()> {
    if all.contains(&source) {
        return Ok(());
    }
    let paths = |source: &Value| -> Vec<Value> {
        source["secret"]["items"].as_array().into_iter().flatten().map(|item| item["path"].clone()).collect()
    };
    let own = paths(&source);
    if all.iter().flat_map(paths).any(|path| own.contains(&path)) {
        bail!("two Secrets give one file");
    }
    all.push(source);
    Ok(())
}

/// The command line of the check, with the mounted files in place of the local ones.
fn arguments(check: &Check, files: &Files) -> Vec<String> {
    let request = &check.request;
    let mut arguments = vec!["check".to_owned()];
    let mut flag = |name: &str, value: &str| {
        arguments.push(name.to_owned());
        // Kubernetes expands `$(NAME)` in arguments.
        arguments.push(value.replace('$', "$$"));
    };
    for (flags, name) in [(&request.telemetry, "--telemetry"), (&request.lineage, "--lineage")] {
        if !flags.is_empty() {
            flag(name, &flags.join(","));
        }
    }
    for file in files.entries.iter().filter(|file| file.flag == "--manifest") {
        flag("--manifest", &format!("{FOLDER}/{}", file.path));
    }
    for (name, value) in [
        ("--environment", &request.environment),
        ("--profile", &request.profile),
        ("--collector-version", &request.collector_version),
        ("--namespace", &request.namespace),
    ] {
        if let Some(value) = value {
            flag(name, value);
        }
    }
    for (name, values) in
        [("--set", &request.set), ("--set-string", &request.set_string), ("--set-json", &request.set_json)]
    {
        for value in values {
            flag(name, value);
        }
    }
    if files.entries.iter().any(|file| file.flag == "--bundles") {
        flag("--bundles", &format!("{FOLDER}/bundles"));
    }
    for (index, _) in request.policies.iter().enumerate() {
        flag("--policy", &format!("{FOLDER}/{}", policies(index)));
    }
    for name in ["--lock", "--ca-file"] {
        for file in files.entries.iter().filter(|file| file.flag == name) {
            flag(name, &format!("{FOLDER}/{}", file.path));
        }
    }
    if check.format != Format::Table
        && let Some(value) = check.format.to_possible_value()
    {
        flag("--format", value.get_name());
    }
    flag("--timeout", &check.timeout.as_secs_f64().to_string());
    flag("--overall-timeout", &check.overall_timeout.as_secs_f64().to_string());
    flag("--retries", &check.retries.to_string());
    arguments
}

/// Where the policies of one `--policy` are.
fn policies(index: usize) -> String {
    format!("policy-{index}")
}

/// A file that goes into the `ConfigMap`.
struct File {
    key: String,
    path: String,
    /// The flag that names it; files of a bundle and of policies are named by their folder.
    flag: &'static str,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Files {
    entries: Vec<File>,
}

impl Files {
    fn of(check: &Check, made: &Stages) -> Result<Self> {
        let mut files = Files::default();
        let read = |path: &Path| fs::read(path).with_context(|| format!("{}: cannot be read", path.display()));
        for (index, path) in check.request.manifests.iter().enumerate() {
            files.add(format!("manifest-{index}.yaml"), "--manifest", read(path)?);
        }
        let mut seen: Vec<&str> = Vec::new();
        for backend in made.bundles.backends.iter().filter(|backend| !backend.bundle.is_built_in()) {
            if seen.contains(&backend.bundle.folder.as_str()) {
                continue;
            }
            seen.push(&backend.bundle.folder);
            let folder = format!("bundles/{}/{}", backend.selection.kind, backend.selection.bundle);
            for (name, bytes) in backend.bundle.files() {
                files.add(format!("{folder}/{name}"), "--bundles", bytes.to_vec());
            }
        }
        for (index, folder) in check.request.policies.iter().enumerate() {
            for name in policy::names(folder)? {
                files.add(format!("{}/{name}", policies(index)), "--policy", read(&folder.join(&name))?);
            }
        }
        if let Some(path) = lock::path(&check.request).filter(|_| !seen.is_empty()) {
            files.add(lock::FILE.to_owned(), "--lock", read(&path)?);
        }
        for (index, path) in check.ca_file.iter().enumerate() {
            files.add(format!("ca-{index}.pem"), "--ca-file", read(path)?);
        }
        let size: usize = files.entries.iter().map(|file| file.bytes.len()).sum();
        if size > MAX_DATA {
            bail!(
                "--job: the manifests, bundles and policies have {size} bytes, and a ConfigMap holds {MAX_DATA}; put them into the image, and \
                 write a Job that names them"
            );
        }
        Ok(files)
    }

    fn add(&mut self, path: String, flag: &'static str, bytes: Vec<u8>) {
        // A key has letters, digits, `-`, `_` and `.` only.
        let mut key: String = path
            .replace('/', "..")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
            .collect();
        while self.entries.iter().any(|file| file.key == key) {
            key.push('_');
        }
        self.entries.push(File { key, path, flag, bytes });
    }

    fn config_map(&self, metadata: Value) -> Value {
        let (mut data, mut binary) = (Map::new(), Map::new());
        for file in &self.entries {
            match std::str::from_utf8(&file.bytes) {
                Ok(text) => data.insert(file.key.clone(), text.into()),
                Err(_) => binary.insert(file.key.clone(), BASE64.encode(&file.bytes).into()),
            };
        }
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        if !binary.is_empty() {
            map["binaryData"] = binary.into();
        }
        map
    }
}
