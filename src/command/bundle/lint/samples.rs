//! The bundle rendered with its defaults and with each option's examples.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Linted;
use crate::bundle::Library;
use crate::command::sample::Subject;
use crate::describe::plain;
use crate::finding::{Collect, Findings};
use crate::select::Kind;

/// Renders every sample; gives how many.
pub(super) fn check(linted: &Linted<'_>, library: &Library, found: &mut Collect) -> usize {
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
        for rendered in &outcome.stages.rendered {
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
