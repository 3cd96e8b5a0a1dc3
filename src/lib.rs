//! Turns a choice of telemetry and lineage backends into configuration that runs: an OpenTelemetry Collector config, the
//! values of an umbrella Helm chart, an OpenLineage client config, and the variables and Secrets that bind them.
//!
//! [`run`] is the path of the data. Each stage is a module, and no stage imports a later one.

pub mod bind;
pub mod bundle;
pub mod charts;
pub mod cli;
pub mod command;
pub mod embedded;
pub mod finding;
pub mod given;
pub mod json;
pub mod merge;
pub mod options;
pub mod pointer;
pub mod policy;
pub mod reference;
pub mod render;
pub mod schema;
pub mod select;
pub mod set;
pub mod umbrella;
pub mod validate;
pub mod values;
pub mod write;
pub mod yaml;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::Request;
use crate::merge::Merged;
use crate::render::Renderer;
use crate::select::Kind;
use crate::umbrella::Chart;
use crate::write::Document;

/// What a run gives.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The files, in the order of their output.
    pub documents: Vec<Document>,
    /// What a user should know; none of it is an error.
    pub warnings: Vec<String>,
    /// The umbrella chart for the values, which not every run writes.
    pub chart: Chart,
}

/// Renders what a request selects. Reads manifests and bundles; writes nothing.
pub fn run(request: &Request) -> Result<Outcome> {
    let library = bundle::Library::open(&request.bundles)?;
    let renderer = Renderer::new();

    let plan = select::select(request)?;
    let policies = policy::read(&request.policies, &plan.profile)?;
    let bundles = bundle::read(&library, &plan)?;
    let charts = charts::declared(&bundles)?;
    let options = options::resolve(&bundles, &plan)?;
    let rendered = render::render(&renderer, &bundles, &options, &plan)?;

    let pipelines = merge::pipelines(&rendered);
    let exporters = merge::exporters(&rendered, &bundles)?;
    let more = json!({"pipelines": pipelines, "exporters": exporters, "telemetry": bundles.has(Kind::Telemetry), "lineage": bundles.has(Kind::Lineage)});
    let platform = |file: &str| render::platform(&renderer, &bundles, &options, &plan, file, &more);
    let collector = if bundles.has(Kind::Telemetry) {
        Some(merge::collector(platform("collector.yaml.j2")?, &rendered, &bundles, &plan)?)
    } else {
        merge::refuse_patch(&plan.patches, "collector", "telemetry")?;
        None
    };
    let openlineage = merge::openlineage(&rendered, &bundles, &plan)?;
    let jobs = platform("workload.yaml.j2")?;
    let workload = jobs.as_ref().map(|fragment| fragment.doc.to_value());

    let workload = workload.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let documents: [Option<&Merged>; 2] = [collector.as_ref(), openlineage.as_ref()];
    let bound = bind::bind(&bundles, &rendered, &options, &plan, documents, workload)?;
    let values = values::values(&renderer, &bundles, &options, &plan, &rendered, &bound)?;

    let checked = validate::validate(&bundles, &rendered, &options, &plan, documents, &values.all, &policies)?;

    let artifacts = write::artifacts(&bundles, &options, &plan, &bound, &values);
    let files = write::documents(&bundles, &bound, &values, &artifacts)?;
    let fragments = rendered.iter().filter_map(|one| one.connections.as_ref()).chain(&jobs);
    let told = documents.iter().flatten().copied().chain([&values.all]).flat_map(Merged::warnings);
    let told = told.chain(fragments.flat_map(|one| &one.warnings)).cloned().collect();
    let chart = Chart::new(&bundles, &plan, charts, values.all.value);
    let warnings = [plan.warnings, merge::unreceived(&bundles, &pipelines), bound.warnings, told, checked].concat();
    Ok(Outcome { documents: files, warnings, chart })
}
