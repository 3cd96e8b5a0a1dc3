//! Embeds `templates/` and `schemas/`: every file becomes an entry of one sorted table, so that the engine names none.
//!
//! Schemas lose their white space on the way, which a run would only skip. Bundles stay as they are: their digest counts.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut files = Vec::new();
    for folder in ["templates", "schemas"] {
        collect(&root.join(folder), folder, &mut files);
    }
    files.sort();
    let mut table = String::from("pub(crate) static FILES: &[(&str, &[u8])] = &[\n");
    for (name, path) in &mut files {
        if name.starts_with("schemas/") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            *path = out.join(name.replace('/', "+"));
            fs::write(&path, without_space(&text)).expect("OUT_DIR can be written");
        }
        writeln!(table, "    ({name:?}, include_bytes!({:?})),", path.display().to_string()).expect("strings take all");
    }
    table.push_str("];\n");
    fs::write(out.join("embedded.rs"), table).expect("OUT_DIR can be written");
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        let name = format!("{name}/{}", path.file_name().expect("entries have names").to_string_lossy());
        if path.is_dir() {
            collect(&path, &name, files);
        } else {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push((name, path));
        }
    }
}

/// JSON without the white space between its tokens.
fn without_space(json: &str) -> String {
    let mut short = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        if quoted || !c.is_ascii_whitespace() {
            short.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    short
}
