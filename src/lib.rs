//! Turns a choice of telemetry and lineage backends into configuration that runs: an OpenTelemetry Collector config, the
//! values of an umbrella Helm chart, an OpenLineage client config, and the variables and Secrets that bind them.
//!
//! [`run`] is the path of the data. Each stage is a module, and no stage imports a later one.

pub mod archive;
pub mod bind;
pub mod bundle;
pub mod charts;
mod cidr;
pub mod cli;
pub mod command;
pub mod describe;
mod digest;
pub mod embedded;
mod file;
pub mod finding;
pub mod given;
pub mod golden;
pub mod json;
pub mod keywords;
pub mod lock;
pub mod merge;
pub mod options;
mod plain;
pub mod pointer;
pub mod policy;
pub mod reference;
pub mod render;
pub mod schema;
pub mod select;
pub mod set;
pub mod target;
pub mod umbrella;
mod uses;
pub mod validate;
pub mod values;
pub mod write;
pub mod yaml;

use anyhow::Result;
use serde_json::{Value, json};

use crate::bind::Bound;
use crate::bundle::{Bundles, Library};
use crate::charts::Dependency;
use crate::cli::Request;
use crate::merge::Merged;
use crate::options::Options;
use crate::render::{Rendered, Renderer};
use crate::select::{Kind, Plan};
use crate::validate::{Checked, Finals};
use crate::values::Values;
use crate::write::Document;

/// What a run gives.
#[derive(Debug)]
pub struct Outcome {
    /// The files, in the order of their output.
    pub documents: Vec<Document>,
    /// What a user should know; none of it is an error.
    pub warnings: Vec<String>,
    /// What the stages gave. A program that ends after this run need not take it apart, which would be a tenth of the run.
    pub stages: Stages,
}

/// What each stage gave.
#[derive(Debug)]
pub struct Stages {
    /// What is selected.
    pub plan: Plan,
    /// The platform layer and the selected bundles.
    pub bundles: Bundles,
    /// Their options.
    pub options: Options,
    /// Their fragments.
    pub rendered: Vec<Rendered>,
    /// The collector config, where telemetry is selected.
    pub collector: Option<Merged>,
    /// The OpenLineage config, where lineage is selected.
    pub openlineage: Option<Merged>,
    /// What was bound late.
    pub bound: Bound,
    /// The values of the umbrella chart.
    pub values: Values,
    /// The charts that the bundles declare.
    pub charts: Vec<Dependency>,
    /// What the documents were checked with.
    pub checked: Checked,
    /// The content of `artifacts.json`.
    pub artifacts: Value,
}

/// Renders what a request selects. Reads manifests and bundles; writes nothing.
pub fn run(request: &Request) -> Result<Outcome> {
    run_with(&Library::open(&request.bundles)?, request)
}

/// Renders what a request selects, from bundles that were found before.
pub fn run_with(library: &Library, request: &Request) -> Result<Outcome> {
    let renderer = Renderer::new();

    let plan = select::select(request)?;
    let policies = policy::read(&request.policies, &plan.profile)?;
    let bundles = bundle::read(library, &plan)?;
    lock::verify(&bundles.backends, request)?;
    let charts = charts::declared(&bundles)?;
    let options = options::resolve(&bundles, &plan)?;
    let rendered = render::render(&renderer, &bundles, &options, &plan)?;

    let pipelines = merge::pipelines(&rendered);
    let exporters = merge::exporters(&rendered, &bundles)?;
    let more = json!({"pipelines": pipelines, "exporters": exporters, "telemetry": bundles.has(Kind::Telemetry), "lineage": bundles.has(Kind::Lineage)});
    let platform = |file: &str| render::platform(&renderer, &bundles, &options, &plan, file, &more);
    let base = bundles.has(Kind::Telemetry).then(|| platform("collector.yaml.j2")).transpose()?.flatten();
    let files = base.as_ref().map_or_else(Vec::new, |fragment| fragment.asked.files.clone());
    let collector = if bundles.has(Kind::Telemetry) {
        Some(merge::collector(base, &rendered, &bundles, &plan)?)
    } else {
        merge::refuse_patch(&plan.patches, "collector", "telemetry")?;
        None
    };
    let openlineage = merge::openlineage(&rendered, &bundles, &plan)?;
    let jobs = platform("workload.yaml.j2")?;

    let documents: [Option<&Merged>; 2] = [collector.as_ref(), openlineage.as_ref()];
    let mut bound = bind::bind(&bundles, &rendered, &options, &plan, documents, &files, jobs.as_ref())?;
    let mut values = values::values(&renderer, &bundles, &options, &plan, &rendered, &bound)?;

    let finals = Finals { collector: documents[0], openlineage: documents[1], values: &values.all };
    let checked = validate::validate(&bundles, &charts, &rendered, &options, &plan, &finals, &policies)?;

    plan.target.lower(bound.collector_config.as_mut());
    plan.target.lower(values.collector_config(&bundles));
    let artifacts = write::artifacts(&bundles, &options, &plan, &bound, &values);
    let files = write::documents(&bundles, &plan, &bound, &values, &artifacts)?;
    let fragments = rendered.iter().filter_map(|one| one.connections.as_ref()).chain(&jobs);
    let told = documents.iter().flatten().copied().chain([&values.all]).flat_map(Merged::warnings);
    let told: Vec<String> = told.chain(fragments.flat_map(|one| &one.warnings)).cloned().collect();
    let unreceived = merge::unreceived(&bundles, &pipelines);
    let warnings = [&plan.warnings, &unreceived, &bound.warnings, &told, &checked.warnings];
    let warnings = warnings.into_iter().flatten().cloned().collect();
    let stages =
        Stages { plan, bundles, options, rendered, collector, openlineage, bound, values, charts, checked, artifacts };
    Ok(Outcome { documents: files, warnings, stages })
}
