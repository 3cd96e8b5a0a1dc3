//! The files of a bundle: that each is read by something, and that people find theirs.

use super::{Linted, README, TEMPLATE, readme};
use crate::bundle::OVER_DOCUMENTS;
use crate::finding::{Collect, backticked, did_you_mean};
use crate::select::Kind;

/// The most lines of a README: who selects a backend reads it in a minute.
const README_LINES: usize = 40;
/// The profiles that a policy may be for.
pub(super) const PROFILES: [&str; 2] = ["development", "production"];
/// Files for people.
const FOR_PEOPLE: [&str; 4] = ["README.md", "LICENSE", "CHANGELOG.md", "NOTICE"];

pub(super) fn check(subject: &Linted<'_>, found: &mut Collect) {
    let folder = &subject.bundle.folder;
    let template = match subject.kind {
        Kind::Telemetry => "collector.yaml.j2",
        Kind::Lineage => "openlineage.yaml.j2",
    };
    let known = ["bundle.yaml", "options.schema.json", template, "connections.yaml.j2", "values.yaml.j2"];
    for (file, _) in subject.bundle.files() {
        let parts: Vec<&str> = file.split('/').collect();
        let read = match parts.as_slice() {
            [one] => known.contains(one) || FOR_PEOPLE.contains(one),
            ["policy", policy] => {
                let over_documents = policy.strip_suffix(OVER_DOCUMENTS);
                over_documents == Some("all")
                    || over_documents
                        .or_else(|| policy.strip_suffix(".json"))
                        .is_some_and(|name| PROFILES.contains(&name))
            }
            ["schemas", "charts", chart] => {
                chart.strip_suffix(".json").is_some_and(|chart| subject.bundle.meta.charts.get(chart).is_some())
            }
            ["schemas", section, kind] => {
                subject.kind == Kind::Telemetry
                    && ["receivers", "processors", "exporters", "extensions", "connectors"].contains(section)
                    && kind.strip_suffix(".json").is_some()
            }
            _ => false,
        };
        if !read {
            let what = if file.ends_with(TEMPLATE) {
                "no template of this name is reached"
            } else {
                "nothing reads this file"
            };
            let meant = did_you_mean(file, known.into_iter().chain(["policy/production.json", "README.md"]));
            let list = format!(
                "; a bundle's files are {}, policy/<profile>.json, policy/<profile or all>.documents.json, \
                 schemas/<section>/<type>.json and schemas/charts/<chart>.json",
                backticked(known)
            );
            found.push(format!("{folder}/{file}: {what}{}", if meant.is_empty() { list } else { meant }));
        }
    }
    match subject.bundle.text(README) {
        Ok(None) => found.push(format!(
            "{folder}: there is no README.md; write what a user must have, the options, one example and the sources"
        )),
        Ok(Some(text)) if text.lines().count() > README_LINES => found.push(format!(
            "{folder}/README.md:{}: the README has {} lines; keep it within {README_LINES}",
            README_LINES + 1,
            text.lines().count()
        )),
        Ok(Some(text)) => readme::check(subject, text, found),
        Err(error) => found.push(error.to_string()),
    }
}
