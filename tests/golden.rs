//! Golden tests: every folder under `golden-tests/` is a case, run by the program itself; `src/golden.rs` says how.
//!
//! Adding a case is adding a folder with a `cmd` and regenerating; read what was generated before you commit it. `CASE=text`
//! runs only the cases whose name holds the text.

use std::path::{Path, PathBuf};

use floe_render::golden::{Suite, cases};

const REGENERATE: &str = "GOLDEN=update cargo test --test golden";

#[test]
fn every_case_gives_exactly_its_expected_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden-tests");
    let mut cases = cases(&root).unwrap();
    assert!(cases.len() > 10, "only {} cases under {}", cases.len(), root.display());
    if let Ok(wanted) = std::env::var("CASE") {
        cases.retain(|case| case.file_name().is_some_and(|name| name.to_string_lossy().contains(&wanted)));
    }
    let suite = Suite {
        program: PathBuf::from(env!("CARGO_BIN_EXE_floe-render")),
        flags: Vec::new(),
        update: std::env::var("GOLDEN").is_ok_and(|value| value == "update"),
        masked: false,
    };
    let verdicts = suite.run(cases);
    let failures: Vec<&str> = verdicts.iter().filter_map(|verdict| verdict.failure.as_deref()).collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases differ\n\n{}\n\nIf the new output is right, regenerate it and read it: {REGENERATE}\n",
        failures.len(),
        verdicts.len(),
        failures.join("\n\n")
    );
}
