//! Completions for shells that know the names of bundles and options: `source <(COMPLETE=bash floe-render)`.
//!
//! The shell runs the program with `COMPLETE` set at each completion. Only then are the completers attached.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::Arg;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};

use crate::bundle::Library;
use crate::select::Kind;
use crate::{cli, describe, embedded};

/// Completes a command line, if the environment asks for that, and ends the program.
pub fn if_asked() {
    if std::env::var_os("COMPLETE").is_some() {
        CompleteEnv::with_factory(|| with_completers(cli::command())).complete();
    }
}

fn with_completers(command: clap::Command) -> clap::Command {
    let names_bundles = ["schema", "show"].contains(&command.get_name());
    command.mut_args(|arg| completed(arg, names_bundles)).mut_subcommands(with_completers)
}

fn completed(arg: Arg, names_bundles: bool) -> Arg {
    match arg.get_id().as_str() {
        "telemetry" => arg.add(ArgValueCandidates::new(|| names(Kind::Telemetry))),
        "lineage" => arg.add(ArgValueCandidates::new(|| names(Kind::Lineage))),
        "set" | "set_string" | "set_json" => arg.add(ArgValueCompleter::new(options)),
        "bundle" | "name" if names_bundles => arg.add(ArgValueCandidates::new(labels)),
        _ => arg,
    }
}

/// The values of a flag on the command line that is completed.
fn given(flag: &str) -> Vec<String> {
    let words: Vec<String> = std::env::args().collect();
    let mut values = Vec::new();
    for (index, word) in words.iter().enumerate() {
        match word.strip_prefix(flag) {
            Some("") => values.extend(words.get(index + 1).cloned()),
            Some(rest) => values.extend(rest.strip_prefix('=').map(str::to_owned)),
            None => {}
        }
    }
    values
}

/// The bundles, those of `--bundles` too where they can be read.
fn library() -> Library {
    let dirs: Vec<PathBuf> = given("--bundles").into_iter().map(PathBuf::from).collect();
    Library::open(&dirs).unwrap_or_default()
}

fn names(kind: Kind) -> Vec<CompletionCandidate> {
    let library = library();
    let title = |name: &str| library.get(kind, name).ok().map(|bundle| bundle.meta.title.into());
    library.names(kind).iter().map(|name| CompletionCandidate::new(name).help(title(name))).collect()
}

fn labels() -> Vec<CompletionCandidate> {
    let library = library();
    let of = |kind| library.names(kind).into_iter().map(move |name| CompletionCandidate::new(format!("{kind}/{name}")));
    Kind::ALL.into_iter().flat_map(of).collect()
}

/// The options of the backends that the command line selects, and of the platform layer; after a comma, the next one.
fn options(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let (before, word) = current.rfind(',').map_or(("", &*current), |at| current.split_at(at + 1));
    let library = library();
    let mut found = Vec::new();
    let mut put = |prefix: &str, schema: &serde_json::Value| {
        for option in describe::options(schema) {
            let name = format!("{prefix}.{}=", option.name);
            if name.starts_with(word) {
                let help = (!option.description.is_empty()).then(|| option.description.clone().into());
                found.push(CompletionCandidate::new(format!("{before}{name}")).help(help));
            }
        }
    };
    for kind in Kind::ALL {
        let selected: Vec<String> = given(&format!("--{kind}"))
            .iter()
            .flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        for name in &selected {
            let schema = library.get(kind, name).and_then(|bundle| describe::options_schema(&bundle)).ok().flatten();
            let prefix = if selected.len() > 1 { format!("{kind}.{name}") } else { kind.to_string() };
            if let Some(schema) = schema {
                put(&prefix, &schema);
            }
        }
    }
    if let Some(tree) = embedded::options_tree("templates/platform") {
        put("render.collector", &tree.to_value());
    }
    found
}
