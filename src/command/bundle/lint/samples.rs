//! The bundle rendered with its defaults and with each option's examples.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::Linted;
use super::files::PROFILES;
use super::reach::{Reach, Setting};
use super::twice;
use crate::bundle::{self, CASES, Library};
use crate::command::sample::{Sample, Subject, candidates};
use crate::describe::{self, OptionFacts, plain};
use crate::finding::{Collect, Findings};
use crate::golden;
use crate::select::Kind;

/// Renders every sample; gives how many. `cases` is the folder of the bundle's own golden cases.
/// What a render would warn of that is not checked goes to `warnings`.
pub(super) fn check(
    linted: &Linted<'_>,
    library: &Library,
    cases: &Path,
    found: &mut Collect,
    warnings: &mut Vec<String>,
) -> usize {
    let subject = Subject { library, kind: linted.kind, name: linted.name };
    let samples = subject.all(&linted.options, &mut |name, value, reason| {
        let last = name.rsplit('.').next().unwrap_or_default();
        let place = linted.place("options.schema.json", &format!("\"{last}\""));
        found.push(format!(
            "{place}: option `{name}` refuses its own example `{}`, whatever other examples are set: {reason}",
            plain(value)
        ));
    });
    let Some(samples) = found.ok(samples) else { return 0 };
    let mut charts = BTreeSet::new();
    let mut signals = BTreeSet::new();
    let mut failed = false;
    let mut reach = Reach::new(linted);
    let mut tried = Vec::new();
    for sample in &samples {
        let outcome = match crate::run_with(library, &subject.request(sample, "development")) {
            Ok(outcome) => outcome,
            Err(error) => {
                // What is wrong with the defaults is wrong with every example.
                let messages = match error.downcast_ref::<Findings>() {
                    Some(findings) => findings.messages().to_vec(),
                    None => vec![format!("{error:#}")],
                };
                let with = sample.describe();
                if !failed {
                    for message in messages {
                        found.push(format!("{message} ({with})"));
                    }
                }
                failed = true;
                continue;
            }
        };
        for warning in &outcome.stages.checked.warnings {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        let on = |key: &str| {
            let own = outcome.stages.values.bundles.get(key);
            own.is_some_and(|own| own.get("enabled") != Some(&Value::Bool(false)))
        };
        tried.push((sample.clone(), linted.bundle.value_keys().any(on)));
        for rendered in &outcome.stages.rendered {
            reach.mark(rendered, &Setting { sample: sample.clone(), platform: false });
            let keys =
                |doc: &Value| doc.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
            charts.extend(rendered.values.iter().flat_map(|one| keys(&one.doc.to_value())));
            let pipelines =
                rendered.collector.iter().filter_map(|one| Some(one.doc.get("service")?.get("pipelines")?.to_value()));
            signals.extend(
                pipelines.flat_map(|all| keys(&all)).map(|name| name.split('/').next().unwrap_or_default().to_owned()),
            );
        }
    }
    if failed {
        return samples.len();
    }
    let plain = Setting { sample: samples[0].clone(), platform: false };
    for request in golden::cases(cases).unwrap_or_default().iter().flat_map(|case| golden::requests(case)) {
        for rendered in crate::run_with(library, &request).iter().flat_map(|outcome| &outcome.stages.rendered) {
            reach.mark(rendered, &plain);
        }
    }
    branches(linted, &subject, &plain, &mut reach, found);
    twice::check(linted, &subject, &tried, found);
    let meta = &linted.bundle.meta;
    for (name, chart) in meta.charts.iter() {
        let key = chart.alias.as_deref().unwrap_or(name);
        if !charts.contains(key) {
            found.push(format!(
                "{}: values.yaml.j2 sets nothing under `{key}` with any example; set values there, or leave the chart out",
                linted.place("bundle.yaml", name)
            ));
        }
    }
    for signal in meta.signals.iter().filter(|_| linted.kind == Kind::Telemetry) {
        if !signals.contains(signal) {
            found.push(format!(
                "{}: no example gives a pipeline for `{signal}`, which `signals` lists; write one in collector.yaml.j2, or leave it out",
                linted.place("bundle.yaml", "signals")
            ));
        }
    }
    samples.len()
}

/// How many combinations are tried to lead into one branch.
const COMBINATIONS: usize = 32;

/// Reports the branches that nothing leads into: no case, no example, nor several of the options that decide about them.
fn branches(linted: &Linted<'_>, subject: &Subject<'_>, plain: &Setting, reach: &mut Reach<'_>, found: &mut Collect) {
    let platform = match platform_flags(linted) {
        Ok(flags) => flags,
        Err(error) => return found.push(format!("{error:#}")),
    };
    let mut told = 0;
    while let Some(branch) = reach.missed().get(told).copied() {
        let (names, before) = reach.before(branch);
        let before = before.unwrap_or(plain).clone();
        let mut combinations = vec![before.sample.clone()];
        // Those of the branch itself first: there may be more combinations than are tried.
        let mut deciding: Vec<_> = linted.options.iter().filter_map(|one| Some((decides(one, &names)?, one))).collect();
        deciding.sort_by_key(|(position, _)| *position);
        for (_, option) in deciding {
            let values = candidates(option);
            let more = |one: &Sample| values.iter().map(|value| one.with(&option.name, value)).collect::<Vec<_>>();
            combinations.extend(combinations.iter().flat_map(more).collect::<Vec<_>>());
            combinations.truncate(COMBINATIONS);
        }
        let mut refusal = None;
        for platform_too in [before.platform, !before.platform] {
            for profile in PROFILES {
                for sample in combinations.iter().filter_map(|one| subject.completed(one, &linted.options)) {
                    if reach.missed().get(told) != Some(&branch) {
                        continue;
                    }
                    let mut request = subject.request(&sample, profile);
                    request.set_json.extend(platform.iter().filter(|_| platform_too).cloned());
                    match crate::run_with(subject.library, &request) {
                        Ok(outcome) => {
                            let setting = Setting { sample, platform: platform_too };
                            outcome.stages.rendered.iter().for_each(|rendered| reach.mark(rendered, &setting));
                        }
                        Err(error) if profile == PROFILES[0] => {
                            refusal.get_or_insert_with(|| format!(" ({} it is refused: {error:#})", sample.describe()));
                        }
                        Err(_) => {}
                    }
                }
            }
        }
        if reach.missed().get(told) == Some(&branch) {
            told += 1;
            let glued = reach.glued(branch);
            if glued.is_empty() {
                let (place, tag) = reach.place(branch);
                found.push(format!(
                    "{place}: no example leads into `{tag}`, so nothing is known of what stands there; give an option an example that \
                     does, add a case to {CASES}/, or take the branch out{}",
                    refusal.unwrap_or_default()
                ));
            }
            for message in glued {
                found.push(message);
            }
        }
    }
}

/// The place of the first of these names that is an option, holds it or is held by it.
fn decides(option: &OptionFacts, names: &[String]) -> Option<usize> {
    let holds = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('.'));
    names.iter().position(|name| *name == option.name || holds(&option.name, name) || holds(name, &option.name))
}

/// Flags that set the platform's options that the templates read, to their examples.
fn platform_flags(linted: &Linted<'_>) -> Result<Vec<String>> {
    let schema = describe::options_schema(&bundle::platform()?)?.unwrap_or_default();
    let read =
        describe::options(&schema).into_iter().filter(|one| linted.in_templates(&format!("collector.{}", one.name)));
    let set = read.filter_map(|one| Some(format!("render.collector.{}={}", one.name, candidates(&one).first()?)));
    Ok(set.collect())
}
