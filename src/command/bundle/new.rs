//! `bundle new`: a bundle that renders at once, to be changed into one's own.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::test;
use crate::bundle::{CASES, built_in};
use crate::select::{Kind, is_id};
use crate::{embedded, write};

/// Writes the skeleton of a bundle, which renders, passes `bundle lint` and its own test
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  floe-render bundle new telemetry acme\n  floe-render bundle new lineage acme ours\n  \
        floe-render bundle new lineage acme ours --hosting self-hosted\n\n\
        Then: floe-render bundle lint DIR/KIND/NAME"
)]
pub(super) struct New {
    /// What the backend takes
    #[arg(value_enum)]
    kind: What,

    /// Name of the bundle: a-z, 0-9 and single dashes
    name: String,

    /// Folder of your bundles
    #[arg(value_name = "DIR", default_value = "bundles")]
    dir: PathBuf,

    /// Where the backend runs: at its vendor, or where its chart deploys it too
    #[arg(long, value_enum, default_value_t)]
    hosting: Hosting,
}

/// Where a backend runs, as `bundle.yaml` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Hosting {
    #[default]
    Saas,
    SelfHosted,
}

/// The kinds, as a user names them.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Telemetry,
    Lineage,
}

/// The name in the skeletons, which the new bundle's replaces.
const PLACEHOLDER: &str = "acme";

impl New {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<i32> {
        let kind = match self.kind {
            What::Telemetry => Kind::Telemetry,
            What::Lineage => Kind::Lineage,
        };
        if !is_id(&self.name) {
            bail!("`{}` cannot name a bundle: use a-z, 0-9 and single dashes, at most 40 characters", self.name);
        }
        if built_in(kind, &self.name) {
            bail!("{kind}/{} is built in, and a bundle never shadows another; choose another name", self.name);
        }
        let folder = self.dir.join(kind.name()).join(&self.name);
        let shown = folder.display();
        if folder.exists() {
            bail!("{shown}: exists already; choose another name, or change what is there");
        }
        let hosting = if self.hosting == Hosting::SelfHosted { "-self-hosted" } else { "" };
        let prefix = format!("templates/skeleton/{kind}{hosting}/");
        for (path, bytes) in embedded::below(&prefix) {
            // The schema of its chart is called like the chart.
            let target = folder.join(self.filled(&path[prefix.len()..]));
            let parent = target.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).with_context(|| format!("{}: cannot be created", parent.display()))?;
            let text = self.filled(&String::from_utf8_lossy(bytes));
            fs::write(&target, text).with_context(|| format!("{}: cannot be written", target.display()))?;
        }
        let verdicts = test::suite(true)?.run(crate::golden::cases(&folder.join(CASES))?);
        if let Some(failure) = verdicts.into_iter().find_map(|verdict| verdict.failure) {
            bail!("{shown}: written, and its own cases fail; mend what else is in {}: {failure}", self.dir.display());
        }
        let text = format!(
            "{shown}: a bundle that sends to a backend called {}. Now\n  \
             - change bundle.yaml, options.schema.json and the templates into what yours needs\n  \
             - see what is wrong: floe-render bundle lint {shown}\n  \
             - render it:         floe-render --bundles {} --{kind} {}\n  \
             - read what {CASES}/*/expected says, and test: floe-render bundle test {shown}\n",
            self.name,
            self.dir.display(),
            self.name
        );
        write::print_text(&text, out)?;
        Ok(0)
    }

    /// A file of the skeleton with the bundle's name in its place: in text, in variables, as a title.
    fn filled(&self, text: &str) -> String {
        let variable = self.name.replace('-', "_").to_uppercase();
        let mut title = self.name.replace('-', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        text.replace("--bundles bundles", &format!("--bundles {}", self.dir.display()))
            .replace(&PLACEHOLDER.to_uppercase(), &variable)
            .replace("Acme", &title)
            .replace(PLACEHOLDER, &self.name)
    }
}
