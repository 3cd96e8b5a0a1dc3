//! What floe-render says of many manifests, in one process.
//!
//! Reads JSON lines `{"name", "dir", "arguments", "manifest"}` from stdin and does with each what `floe-render` does in
//! `dir` with these arguments and the manifest's text as the last `-f`, except that nothing is written. Answers each line with
//! `{"name", "ok", "errors", "config"}`, where `config` is `collector.yaml` as it would have been written.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result};
use clap::Parser;
use floe_render::cli::Render;
use floe_render::finding::Findings;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Subject {
    name: String,
    dir: String,
    arguments: Vec<String>,
    manifest: String,
}

fn main() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let manifest = scratch.path().join("mutant.yaml");
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let subject: Subject = serde_json::from_str(&line?).context("a line is no subject")?;
        writeln!(out, "{}", judge(&subject, &manifest)?)?;
    }
    Ok(())
}

fn judge(subject: &Subject, manifest: &Path) -> Result<Value> {
    fs::write(manifest, &subject.manifest)?;
    env::set_current_dir(&subject.dir).with_context(|| subject.dir.clone())?;
    let line = ["floe-render"].into_iter().chain(subject.arguments.iter().map(String::as_str));
    let mut request = Render::try_parse_from(line)?.request;
    request.manifests.push(manifest.to_owned());
    Ok(match floe_render::run(&request) {
        Ok(outcome) => {
            let config = outcome.documents.iter().find(|document| document.name == "collector.yaml");
            json!({"name": subject.name, "ok": true, "errors": [], "config": config.map(|document| &document.text)})
        }
        Err(error) => {
            let errors = match error.downcast_ref::<Findings>() {
                Some(findings) => findings.messages().to_vec(),
                None => vec![format!("{error:#}")],
            };
            json!({"name": subject.name, "ok": false, "errors": errors})
        }
    })
}
