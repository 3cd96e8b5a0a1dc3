//! Every telemetry backend with every lineage backend, in both profiles, for both collector versions. New bundles are found by themselves; what one needs
//! beside its name stands in `conformance/pairs/`, and so does which of them a profile refuses.

use std::fs;
use std::path::Path;

use clap::Parser;
use floe_render::bundle::Library;
use floe_render::cli::Render;
use floe_render::select::Kind;

/// The lines of `conformance/pairs/<name><ending>`, if there is such a file.
fn lines(name: &str, ending: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("conformance/pairs/{name}{ending}"));
    fs::read_to_string(path).map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
}

#[test]
fn every_pair_renders_in_both_profiles_for_both_versions_or_is_refused_as_it_must_be() {
    let library = Library::open(&[]).unwrap();
    let (telemetry, lineage) = (library.names(Kind::Telemetry), library.names(Kind::Lineage));
    assert!(telemetry.len() * lineage.len() >= 77, "{telemetry:?} × {lineage:?}");
    let mut wrong = Vec::new();
    for t in &telemetry {
        for l in &lineage {
            for (environment, version) in
                ["development", "production"].into_iter().flat_map(|one| [(one, "0.158"), (one, "0.120")])
            {
                let sides = [format!("telemetry-{t}"), format!("lineage-{l}")];
                let names = sides.iter().flat_map(|side| [side.clone(), format!("{side}-{environment}")]);
                let names: Vec<String> = names.collect();
                let refusals: Vec<String> = names.iter().flat_map(|name| lines(name, ".refused")).collect();
                let extra = names.iter().flat_map(|name| lines(name, ".args"));
                let pair = ["floe-render", "--telemetry", t, "--lineage", l, "-e", environment].map(str::to_owned);
                let target = ["--collector-version", version].map(str::to_owned);
                let request = Render::parse_from(pair.into_iter().chain(target).chain(extra)).request;
                let case = format!("{t} {l} {environment} {version}");
                match (floe_render::run(&request), refusals.first()) {
                    (Ok(outcome), None) => {
                        let names: Vec<&str> = outcome.documents.iter().map(|document| document.name).collect();
                        assert_eq!(names, floe_render::write::FILES, "{case}");
                    }
                    (Err(error), Some(says)) if error.to_string().contains(says) => {}
                    (Ok(_), Some(says)) => wrong.push(format!("{case}: not refused with: {says}")),
                    (Err(error), _) => wrong.push(format!("{case}: {error}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
