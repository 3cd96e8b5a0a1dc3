//! `bundle test`: a bundle's own golden cases, run and compared as ours are.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::Own;
use crate::bundle::CASES;
use crate::command::console::{Color, Paint, paint};
use crate::command::sample::Subject;
use crate::command::xml::{attribute, escaped};
use crate::golden::{Suite, Verdict, cases};
use crate::select::Kind;
use crate::{describe, write};

/// Runs the golden cases in a bundle's folder `cases`; exit code 1 if one differs
#[derive(Clone, Debug, Args)]
#[command(after_help = "A case is a folder cases/NAME with a file `cmd`, a command line such as\n  \
        floe-render --telemetry acme --set telemetry.host=acme.example.com\n\
        The bundle itself is found without --bundles. What it writes must equal cases/NAME/expected. A case called err_… must fail.\n\n\
        Examples:\n  floe-render bundle test ours/telemetry/acme\n  floe-render bundle test ours/telemetry/acme --update\n  \
        floe-render bundle test ours/telemetry/acme --matrix --format junit > results.xml")]
pub(super) struct Test {
    /// Folder of the bundle
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Write what the cases give as what is expected; read it before you commit it
    #[arg(long)]
    update: bool,

    /// Render the bundle with every built-in backend of the other kind too
    #[arg(long)]
    matrix: bool,

    /// How to tell the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    #[value(help = "JUnit XML, for CI")]
    Junit,
}

/// How a bundle's cases are run: by this program, with the folder of bundles that the case is in.
pub(super) fn suite(update: bool) -> Result<Suite> {
    let program = std::env::current_exe().context("the program's own path is not known")?;
    Ok(Suite { program, flags: vec!["--bundles".to_owned(), "../../../..".to_owned()], update })
}

impl Test {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let own = Own::at(&self.folder)?;
        own.library.get(own.kind, &own.name)?;
        let folder = self.folder.join(CASES);
        let found = if folder.is_dir() { cases(&folder)? } else { Vec::new() };
        if found.is_empty() {
            bail!(
                "{}: there are no cases; put a command line into {CASES}/default/cmd, such as \
                 `floe-render --{} {}`, and run with --update",
                folder.display(),
                own.kind,
                own.name
            );
        }
        let mut verdicts = suite(self.update)?.run(found);
        if self.matrix {
            verdicts.extend(matrix(&own)?);
        }
        let failed = verdicts.iter().filter(|verdict| verdict.failure.is_some()).count();
        let text = match self.format {
            Format::Text => self.report(&own, &verdicts, failed),
            Format::Junit => junit(&own.label(), &verdicts, failed),
        };
        write::print_text(&text, out)?;
        Ok(i32::from(failed > 0))
    }

    fn report(&self, own: &Own, verdicts: &[Verdict], failed: usize) -> String {
        let mut text = String::new();
        let color = Color::Auto.on();
        for verdict in verdicts {
            let (word, of) = match &verdict.failure {
                Some(_) => ("FAILED", Paint::Red),
                None if self.update && !verdict.name.starts_with(MATRIX) => ("written", Paint::Green),
                None => ("ok", Paint::Green),
            };
            let _ = writeln!(text, "{} {}", paint(&format!("{word:<7}"), of, color), verdict.name);
            for line in verdict.failure.iter().flat_map(|failure| failure.lines()) {
                let _ = writeln!(text, "        {line}");
            }
        }
        let _ = writeln!(text, "{}: {} of {} passed", own.label(), verdicts.len() - failed, verdicts.len());
        if failed > 0 {
            let _ = writeln!(
                text,
                "If the new output is right: floe-render bundle test {} --update, and read it",
                self.folder.display()
            );
        }
        text
    }
}

/// What the names of the matrix begin with.
const MATRIX: &str = "with ";

/// The bundle with every built-in one of the other kind, each with the fewest options that it takes.
fn matrix(own: &Own) -> Result<Vec<Verdict>> {
    let mine = Subject { library: &own.library, kind: own.kind, name: &own.name };
    let base = |subject: &Subject<'_>| -> Result<_> {
        let schema = describe::options_schema(&subject.library.get(subject.kind, subject.name)?)?.unwrap_or_default();
        subject.base(&describe::options(&schema))
    };
    let sample = base(&mine)?;
    let other = if own.kind == Kind::Telemetry { Kind::Lineage } else { Kind::Telemetry };
    let verdicts = own.library.names(other).into_iter().map(|name| {
        let theirs = Subject { library: &own.library, kind: other, name: &name };
        let result = base(&theirs).and_then(|theirs_sample| {
            let mut request = mine.request(&sample, "development");
            let with = theirs.request(&theirs_sample, "development");
            request.telemetry.extend(with.telemetry);
            request.lineage.extend(with.lineage);
            request.set_json.extend(with.set_json);
            crate::run_with(&own.library, &request)
        });
        let failure = result.err().map(|error| format!("{error:#}"));
        Verdict { name: format!("{MATRIX}{other}/{name}"), failure }
    });
    Ok(verdicts.collect())
}

/// The verdicts as `JUnit` XML, as CI systems read it.
fn junit(label: &str, verdicts: &[Verdict], failed: usize) -> String {
    let count = verdicts.len();
    let label = attribute(label);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{count}\" failures=\"{failed}\">\n  \
         <testsuite name=\"{label}\" tests=\"{count}\" failures=\"{failed}\">\n"
    );
    for verdict in verdicts {
        let _ = write!(text, "    <testcase classname=\"{label}\" name=\"{}\"", attribute(&verdict.name));
        let _ = match &verdict.failure {
            None => writeln!(text, "/>"),
            Some(failure) => {
                writeln!(text, "><failure message=\"differs\">{}</failure></testcase>", escaped(failure))
            }
        };
    }
    text + "  </testsuite>\n</testsuites>\n"
}
