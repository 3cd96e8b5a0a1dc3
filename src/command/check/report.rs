//! The results: a table for people, JSON for programs, XML for the test reports of CI.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::Format;
use super::answer::{Entry, Verdict};
use crate::command::console::{self, Color, Paint, paint};
use crate::command::xml;

/// Everything that is printed.
pub(super) fn print(entries: &[Entry], format: Format) -> Result<String> {
    match format {
        Format::Table => Ok(table(entries)),
        Format::Json => Ok(serde_json::to_string_pretty(&document(entries))? + "\n"),
        Format::Junit => Ok(junit(entries)),
    }
}

/// A credential outranks a connection.
pub(super) fn exit_code(entries: &[Entry]) -> i32 {
    let any = |verdict| entries.iter().any(|entry| entry.answer.verdict == verdict);
    if any(Verdict::Credential) {
        5
    } else if any(Verdict::Unreachable) {
        4
    } else {
        0
    }
}

/// The table, then what is wrong in full, then the count.
fn table(entries: &[Entry]) -> String {
    let color = Color::Auto.on();
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|Entry { backend, check, answer, took, .. }| {
            let note = match (answer.verdict.class(), answer.stage, took) {
                (Some(class), Some(stage), _) => format!("{class}: {}", stage.name()),
                (_, _, Some(took)) => format!("{} ({} ms)", answer.message, took.as_millis()),
                _ => answer.message.clone(),
            };
            vec![answer.verdict.name().to_owned(), backend.clone(), check.clone(), note]
        })
        .collect();
    let mut text = console::table(&["RESULT", "BACKEND", "CHECK", "DETAIL"], &rows, console::width(), color);
    for Entry { backend, check, answer, .. } in entries {
        if let Some(class) = answer.verdict.class() {
            let class = paint(class, Paint::Red, color);
            let _ = write!(text, "\n{class}: {backend}: {check}\n  {}\n", answer.message);
        }
    }
    let counts: Vec<String> = Verdict::ALL
        .iter()
        .map(|verdict| (verdict, entries.iter().filter(|entry| entry.answer.verdict == *verdict).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {}", verdict.name()))
        .collect();
    let _ = writeln!(text, "\n{} checks: {}", entries.len(), counts.join(", "));
    text
}

fn document(entries: &[Entry]) -> Value {
    let checks: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut one = json!({
                "backend": entry.backend,
                "kind": entry.kind,
                "check": entry.check,
                "result": entry.answer.verdict.name(),
            });
            for (key, value) in [
                ("error", entry.answer.verdict.class().map(Value::from)),
                ("stage", entry.answer.stage.map(|stage| stage.name().into())),
                ("message", Some(entry.answer.message.clone().into())),
                ("milliseconds", entry.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX).into())),
            ] {
                if let Some(value) = value {
                    one[key] = value;
                }
            }
            one
        })
        .collect();
    let mut summary = json!({});
    for verdict in Verdict::ALL {
        summary[verdict.name()] = entries.iter().filter(|entry| entry.answer.verdict == verdict).count().into();
    }
    json!({"checks": checks, "summary": summary, "exit_code": exit_code(entries)})
}

fn junit(entries: &[Entry]) -> String {
    let count = |entries: &[&Entry], wanted: &dyn Fn(Verdict) -> bool| {
        entries.iter().filter(|entry| wanted(entry.answer.verdict)).count()
    };
    let failed = |verdict: Verdict| verdict.class().is_some();
    let skipped = |verdict: Verdict| verdict == Verdict::Skipped;
    let everything: Vec<&Entry> = entries.iter().collect();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"floe-render check\" tests=\"{}\" failures=\"{}\" errors=\"0\" \
         skipped=\"{}\">\n",
        entries.len(),
        count(&everything, &failed),
        count(&everything, &skipped)
    );
    let mut backends: Vec<&str> = Vec::new();
    for entry in entries {
        if !backends.contains(&entry.backend.as_str()) {
            backends.push(&entry.backend);
        }
    }
    for backend in backends {
        let own: Vec<&Entry> = entries.iter().filter(|entry| entry.backend == backend).collect();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\">",
            xml::attribute(backend),
            own.len(),
            count(&own, &failed),
            count(&own, &skipped)
        );
        for entry in own {
            let seconds = entry.took.unwrap_or_default().as_secs_f64();
            let _ = write!(
                text,
                "    <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\"",
                xml::attribute(backend),
                xml::attribute(&entry.check)
            );
            let message = xml::attribute(&entry.answer.message);
            let _ = match (entry.answer.verdict, entry.answer.verdict.class()) {
                (_, Some(class)) => {
                    writeln!(text, ">\n      <failure type=\"{class}\" message=\"{message}\"/>\n    </testcase>")
                }
                (Verdict::Skipped, _) => writeln!(text, ">\n      <skipped message=\"{message}\"/>\n    </testcase>"),
                _ => writeln!(text, "/>"),
            };
        }
        text.push_str("  </testsuite>\n");
    }
    text + "</testsuites>\n"
}
