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
use crate::finding::Collect;
use crate::golden::{Suite, Verdict, cases};
use crate::select::Kind;
use crate::{describe, write};

/// Runs the golden cases in a bundle's folder `cases`; exit code 1 if one differs
#[derive(Clone, Debug, Args)]
#[command(after_help = "A case is a folder cases/NAME with a file `cmd`, a command line such as\n  \
        floe-render --telemetry acme --set telemetry.host=acme.example.com\n\
        The bundle itself is found without --bundles. What it writes must equal cases/NAME/expected. A case called err_… must fail.\n\
        `cmd` may hold several, a line each: all but the last must succeed, and what the last one prints is compared.\n\
        Digests of bundles and the version of floe-render are not compared.\n\n\
        Examples:\n  floe-render bundle test ours/telemetry/acme\n  floe-render bundle test ours/telemetry/acme --update\n  \
        floe-render bundle test ours/telemetry/acme --matrix --format junit > results.xml")]
pub(super) struct Test {
    /// Folder of the bundle, or of several as --bundles takes it
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
    Ok(Suite { program, flags: vec!["--bundles".to_owned(), "../../../..".to_owned()], update, masked: true })
}

impl Test {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let mut found = Collect::default();
        let mut tested = Vec::new();
        for own in Own::all(&self.folder)? {
            if let Some(verdicts) = found.ok(self.verdicts(&own)) {
                tested.push(Tested { own, verdicts });
            }
        }
        let tested = found.finish(tested)?;
        let text = match self.format {
            Format::Text => tested.iter().map(|one| self.report(one)).collect(),
            Format::Junit => junit(&tested),
        };
        write::print_text(&text, out)?;
        Ok(i32::from(tested.iter().any(|one| one.failed() > 0)))
    }

    /// How the cases of a bundle end.
    fn verdicts(&self, own: &Own) -> Result<Vec<Verdict>> {
        own.library.get(own.kind, &own.name)?;
        let folder = own.folder.join(CASES);
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
            verdicts.extend(matrix(own)?);
        }
        Ok(verdicts)
    }

    fn report(&self, tested: &Tested) -> String {
        let Tested { own, verdicts } = tested;
        let failed = tested.failed();
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
        if failed > 0 && !self.update {
            let _ = writeln!(
                text,
                "If the new output is right: floe-render bundle test {} --update, and read it",
                own.folder.display()
            );
        }
        text
    }
}

/// A bundle, and how its cases ended.
struct Tested {
    own: Own,
    verdicts: Vec<Verdict>,
}

impl Tested {
    fn failed(&self) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.failure.is_some()).count()
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
fn junit(tested: &[Tested]) -> String {
    let count: usize = tested.iter().map(|one| one.verdicts.len()).sum();
    let failed: usize = tested.iter().map(Tested::failed).sum();
    let mut text =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{count}\" failures=\"{failed}\">\n");
    for one in tested {
        let label = attribute(&one.own.label());
        let (count, failed) = (one.verdicts.len(), one.failed());
        let _ = writeln!(text, "  <testsuite name=\"{label}\" tests=\"{count}\" failures=\"{failed}\">");
        for verdict in &one.verdicts {
            let _ = write!(text, "    <testcase classname=\"{label}\" name=\"{}\"", attribute(&verdict.name));
            let _ = match &verdict.failure {
                None => writeln!(text, "/>"),
                Some(failure) => {
                    writeln!(text, "><failure message=\"differs\">{}</failure></testcase>", escaped(failure))
                }
            };
        }
        text.push_str("  </testsuite>\n");
    }
    text + "</testsuites>\n"
}
