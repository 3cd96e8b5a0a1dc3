//! How long each stage takes inside one process: `cargo bench --bench stages -- [ROUNDS] [FLAGS OF floe-render]`.
//!
//! Prints the median of each stage in microseconds and its share of the whole. Compare shares, or two versions in one run on
//! one machine; the times of another machine mean nothing.
#![allow(clippy::print_stdout, missing_docs, reason = "a program that prints a table")]

use std::time::{Duration, Instant};

use clap::Parser;
use floe_render::cli::{Render, Request};
use floe_render::render::Renderer;
use floe_render::select::Kind;
use floe_render::{bind, bundle, charts, merge, options, render, select, validate, values, write};
use serde_json::json;

const STAGES: [&str; 9] = ["select", "bundle", "options", "render", "merge", "bind", "values", "validate", "write"];

/// The calls of `floe_render::run`, with a clock between them.
fn round(request: &Request) -> anyhow::Result<[Duration; STAGES.len()]> {
    let mut times = [Duration::ZERO; STAGES.len()];
    let mut clock = Instant::now();
    let mut stage = 0;
    let mut lap = || {
        times[stage] = clock.elapsed();
        stage += 1;
        clock = Instant::now();
    };
    let library = bundle::Library::open(&request.bundles)?;
    let plan = select::select(request)?;
    lap();
    let bundles = bundle::read(&library, &plan)?;
    let charts = charts::declared(&bundles)?;
    lap();
    let options = options::resolve(&bundles, &plan)?;
    lap();
    let renderer = Renderer::new();
    let rendered = render::render(&renderer, &bundles, &options, &plan)?;
    lap();
    let pipelines = merge::pipelines(&rendered);
    let (telemetry, lineage) = (bundles.has(Kind::Telemetry), bundles.has(Kind::Lineage));
    let exporters = merge::exporters(&rendered, &bundles)?;
    let more = json!({"pipelines": pipelines, "exporters": exporters, "telemetry": telemetry, "lineage": lineage});
    let platform = |file: &str| render::platform(&renderer, &bundles, &options, &plan, file, &more);
    let base = telemetry.then(|| platform("collector.yaml.j2")).transpose()?.flatten();
    let files = base.as_ref().map_or_else(Vec::new, |fragment| fragment.asked.files.clone());
    let collector = telemetry.then(|| merge::collector(base, &rendered, &bundles, &plan)).transpose()?;
    let openlineage = merge::openlineage(&rendered, &bundles, &plan)?;
    let jobs = platform("workload.yaml.j2")?;
    lap();
    let documents = [collector.as_ref(), openlineage.as_ref()];
    let bound = bind::bind(&bundles, &rendered, &options, &plan, documents, &files, jobs.as_ref())?;
    lap();
    let values = values::values(&renderer, &bundles, &options, &plan, &rendered, &bound)?;
    lap();
    let finals = validate::Finals { collector: documents[0], openlineage: documents[1], values: &values.all };
    validate::validate(&bundles, &charts, &rendered, &options, &plan, &finals, &[])?;
    lap();
    let artifacts = write::artifacts(&bundles, &options, &plan, &bound, &values);
    write::documents(&bundles, &plan, &bound, &values, &artifacts)?;
    lap();
    Ok(times)
}

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let rounds = arguments.first().and_then(|word| word.parse::<usize>().ok());
    if rounds.is_some() {
        arguments.remove(0);
    }
    if arguments.is_empty() {
        arguments = ["--telemetry", "datadog", "--lineage", "atlan"].map(String::from).to_vec();
    }
    let rounds = rounds.unwrap_or(500).max(1);
    let request = Render::parse_from(std::iter::once("floe-render".to_owned()).chain(arguments)).request;
    let mut laps = vec![Vec::with_capacity(rounds); STAGES.len()];
    for _ in 0..rounds {
        for (times, time) in laps.iter_mut().zip(round(&request)?) {
            times.push(time);
        }
    }
    let medians: Vec<Duration> = laps
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[times.len() / 2]
        })
        .collect();
    let whole: Duration = medians.iter().sum();
    println!("{:20} {:>10} {:>7}", "stage", "median µs", "share");
    for (stage, median) in STAGES.iter().zip(&medians) {
        let share = 100.0 * median.as_secs_f64() / whole.as_secs_f64();
        println!("{stage:20} {:>10.0} {share:>6.1}%", median.as_secs_f64() * 1e6);
    }
    println!("{:20} {:>10.0} {:>7}", "whole", whole.as_secs_f64() * 1e6, format!("{rounds}×"));
    Ok(())
}
