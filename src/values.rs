//! Stage `values`: the values of the umbrella chart, from the platform layer and the bundles, given what was bound.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bind::Bound;
use crate::bundle::{Backend, Bundle, Bundles};
use crate::embedded;
use crate::finding::{Collect, backticked, did_you_mean};
use crate::json::Json;
use crate::merge::{self, Merged};
use crate::options::Options;
use crate::render::{self, Fragment, Rendered, Renderer};
use crate::select::Plan;

/// The values, and the part that the bundles brought.
#[derive(Clone, Debug)]
pub struct Values {
    /// All of `values.yaml`.
    pub all: Merged,
    /// The bundles' own values.
    pub bundles: Value,
}

impl Values {
    /// The collector's config, where the values hold it.
    pub fn collector_config(&mut self, bundles: &Bundles) -> Option<&mut Value> {
        self.all.value.pointer_mut(bundles.platform.meta.collector_config.as_deref()?)
    }
}

/// Renders the platform layer's values and merges the bundles' over them, then patches.
pub fn values(
    renderer: &Renderer,
    bundles: &Bundles,
    options: &Options,
    plan: &Plan,
    rendered: &[Rendered],
    bound: &Bound,
) -> Result<Values> {
    let mut found = Collect::default();
    let platform = platform(renderer, bundles, options, plan, bound)?;
    check_charts(&bundles.platform, &platform, &mut found);
    let mut layers = vec![platform];
    for (backend, one) in bundles.backends.iter().zip(rendered) {
        if let Some(fragment) = &one.values {
            check_charts(&backend.bundle, fragment, &mut found);
            layers.push(fragment.clone());
        }
    }
    deployed_twice(bundles, rendered, &mut found);
    found.finish(())?;

    let schema = embedded::tree("values")?;
    let own = merge::merge(layers[1..].to_vec(), schema, &[], "values.yaml")?;
    let defaults = &bundles.platform.meta.defaults.values;
    let mut all = merge::merge(layers, schema, defaults, "values.yaml")?;
    if plan.patches.get("/values").is_some() {
        patch(&mut all, bundles, plan, schema)?;
    }
    Ok(Values { all, bundles: own.value })
}

/// Applies the user's patch, which may not touch what the values hold of another document.
fn patch(all: &mut Merged, bundles: &Bundles, plan: &Plan, schema: &'static Json) -> Result<()> {
    let meta = &bundles.platform.meta;
    let copies = [
        (&meta.collector_config, "collector", "collector.yaml"),
        (&meta.openlineage_config, "openlineage", "openlineage.yml"),
    ];
    let before = copies.map(|(config, ..)| all.value.pointer(config.as_deref()?).cloned());
    merge::patch(all, &plan.patches, "values", schema)?;
    for ((config, document, file), before) in copies.into_iter().zip(before) {
        let Some(config) = config else { continue };
        if all.value.pointer(config) != before.as_ref() {
            let place = plan.patches.origin("/values").map_or_else(String::new, |origin| format!("{}: ", origin.place));
            anyhow::bail!(
                "{place}render.patches.values: `{config}` holds the {document} config, which `{file}` holds too; patch \
                 `render.patches.{document}`, and both change"
            );
        }
    }
    Ok(())
}

/// A release has each chart once: a bundle that is selected twice can deploy it for one of the two, and what the other sends
/// would arrive there a second time.
fn deployed_twice(bundles: &Bundles, rendered: &[Rendered], found: &mut Collect) {
    let deploys = |one: &Rendered, key: &str| {
        let chart = one.values.as_ref().and_then(|values| values.doc.get(key));
        chart.is_some_and(|chart| chart.get("enabled").is_none_or(|enabled| enabled.to_value() != Value::Bool(false)))
    };
    let all: Vec<_> = bundles.backends.iter().zip(rendered).collect();
    for (index, (backend, one)) in all.iter().enumerate() {
        let is_same = |other: &Backend| {
            other.selection.kind == backend.selection.kind && other.selection.bundle == backend.selection.bundle
        };
        for key in backend.bundle.value_keys().filter(|key| deploys(one, key)) {
            if let Some((first, _)) = all[..index].iter().find(|(other, one)| is_same(other) && deploys(one, key)) {
                found.push(format!(
                    "{}: {} and {} both deploy the chart `{key}`, which a release has once; everything would be sent there \
                     twice. Leave one out, or give it the address of a server elsewhere",
                    backend.selection.place,
                    first.label(),
                    backend.label()
                ));
            }
        }
    }
}

fn platform(renderer: &Renderer, bundles: &Bundles, options: &Options, plan: &Plan, bound: &Bound) -> Result<Fragment> {
    let secrets: Vec<Value> =
        bound.secrets.iter().map(|one| json!({"name": one.name, "key": one.key, "usedBy": one.used_by})).collect();
    let more = json!({
        "target": {"version": plan.target.version, "newest": plan.target.is_newest()},
        "bound": {
            "collector": {
                "config": bound.collector_config,
                "env": bound.collector.env,
                "volumes": bound.collector.volumes,
                "mounts": bound.collector.mounts,
                "egress": bound.collector.egress,
            },
            "workload": {
                "config": bound.client,
                "env": bound.workload.env,
                "volumes": bound.workload.volumes,
                "mounts": bound.workload.mounts,
                "egress": bound.workload.egress,
            },
            "ingress": bound.ingress,
            "secrets": secrets,
        },
        "workloads": plan.workloads,
    });
    render::platform(renderer, bundles, options, plan, "values.yaml.j2", &more)?
        .context("templates/platform: the platform layer needs a values.yaml.j2")
}

/// A bundle's values stand under the charts that it declares, and nowhere else; the platform's own keys are the umbrella's.
fn check_charts(bundle: &Bundle, fragment: &Fragment, found: &mut Collect) {
    let keys: Vec<&str> = bundle.value_keys().chain(bundle.meta.umbrella.iter().map(String::as_str)).collect();
    for (key, node) in fragment.doc.entries() {
        if !keys.contains(&key.name.as_str()) {
            let meant = did_you_mean(&key.name, keys.iter().copied());
            let known = if keys.is_empty() { "none".to_owned() } else { backticked(keys.iter().copied()) };
            found.push(format!(
                "{}: values for the chart `{}`, which {}/bundle.yaml does not declare{meant} (its charts: {known})",
                fragment.place(node),
                key.name,
                bundle.folder
            ));
        }
    }
}
