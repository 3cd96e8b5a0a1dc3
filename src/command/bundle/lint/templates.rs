//! The templates of a bundle: that what they name exists, and that what `bundle.yaml` declares is used by one of them.

use anyhow::Result;

use super::Linted;
use crate::finding::{Collect, did_you_mean};
use crate::reference::{self, Part};
use crate::render::{CONTEXT, Renderer};

pub(super) fn check(subject: &Linted<'_>) -> Result<()> {
    let mut found = Collect::default();
    let renderer = Renderer::new();
    let meta = &subject.bundle.meta;
    for (file, source) in &subject.templates {
        let path = format!("{}/{file}", subject.bundle.folder);
        let Some(names) = found.ok(renderer.undeclared(&path, source)) else { continue };
        for name in names {
            let (root, below) = name.split_once('.').unwrap_or((&name, ""));
            let place = subject.place(file, &name);
            let key = below.split('.').next().unwrap_or_default();
            match root {
                _ if !CONTEXT.contains(&root) => found.push(format!(
                    "{place}: `{root}` is not defined{}; templates see {}",
                    did_you_mean(root, CONTEXT),
                    crate::finding::backticked(CONTEXT)
                )),
                "options" if !below.is_empty() && !is_option(subject, below) => {
                    let meant = did_you_mean(below, subject.options.iter().map(|one| one.name.as_str()));
                    found.push(format!("{place}: there is no option `{below}` in options.schema.json{meant}"));
                }
                "secrets" if !key.is_empty() && meta.variables.get(key).is_none() => {
                    let meant = did_you_mean(key, meta.variables.iter().map(|(name, _)| name));
                    found.push(format!("{place}: bundle.yaml declares no variable `{key}`{meant}"));
                }
                "files" if !key.is_empty() && meta.files.get(key).is_none() => {
                    let meant = did_you_mean(key, meta.files.iter().map(|(name, _)| name));
                    found.push(format!("{place}: bundle.yaml declares no file `{key}`{meant}"));
                }
                _ => {}
            }
        }
        references(subject, file, source, &mut found);
    }
    unused(subject, &mut found);
    found.finish(())
}

/// Whether a dotted name is an option, holds options, or is a key within one.
fn is_option(subject: &Linted<'_>, name: &str) -> bool {
    let name = name.trim_end_matches(".items").trim_end_matches(".get");
    subject.options.iter().any(|one| {
        one.name == name || one.name.starts_with(&format!("{name}.")) || name.starts_with(&format!("{}.", one.name))
    })
}

/// Reports references to variables that nobody declares.
fn references(subject: &Linted<'_>, file: &str, source: &str, found: &mut Collect) {
    let variables = &subject.bundle.meta.variables;
    for (index, line) in source.lines().enumerate().filter(|(_, line)| reference::is_late(line)) {
        for part in reference::parts(line).unwrap_or_default() {
            if let Part::Variable(name) = part
                && variables.get(name).is_none()
            {
                let meant = did_you_mean(name, variables.iter().map(|(name, _)| name));
                found.push(format!(
                    "{}/{file}:{}: bundle.yaml declares no variable `{name}`{meant}",
                    subject.bundle.folder,
                    index + 1
                ));
            }
        }
    }
}

/// Reports variables and files that no template uses.
fn unused(subject: &Linted<'_>, found: &mut Collect) {
    let meta = &subject.bundle.meta;
    let schema = subject.schema.to_string();
    for (name, variable) in meta.variables.iter() {
        let by_option = variable.option.as_ref().is_some_and(|option| is_option(subject, option));
        if !by_option && !subject.in_templates(name) && !schema.contains(&format!("${{env:{name}}}")) {
            found.push(format!(
                "{}: no template uses the variable `{name}`; write `${{env:{name}}}` where it belongs, or leave it out",
                subject.place("bundle.yaml", name)
            ));
        }
    }
    for (name, _) in meta.files.iter() {
        if !subject.in_templates(&format!("files.{name}")) {
            found.push(format!(
                "{}: no template uses the file `{name}`; write `{{{{ files.{name} }}}}` where its path belongs, or leave it out",
                subject.place("bundle.yaml", &format!("{name}:"))
            ));
        }
    }
}
