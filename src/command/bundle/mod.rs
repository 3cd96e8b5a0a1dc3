//! `bundle`: to write, check, test and share a bundle.

mod lint;
mod lock;
mod new;
mod oci;
mod pack;
mod test;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::bundle::Library;
use crate::select::Kind;

/// Writes, checks, tests, packs and shares bundles of your own
#[derive(Clone, Debug, Args)]
pub struct Bundle {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    New(new::New),
    Lint(lint::Lint),
    Test(test::Test),
    Pack(pack::Pack),
    Lock(lock::Lock),
    Push(oci::Push),
    Pull(oci::Pull),
}

impl Bundle {
    pub(super) fn run(&self, out: &mut impl Write, err: &mut impl Write) -> Result<i32> {
        match &self.command {
            Command::New(new) => new.run(out),
            Command::Lint(lint) => lint.run(out, err),
            Command::Test(test) => test.run(out),
            Command::Pack(pack) => pack.run(out),
            Command::Lock(lock) => lock.run(out),
            Command::Push(push) => push.run(out, err),
            Command::Pull(pull) => pull.run(out, err),
        }
    }
}

/// A bundle that its author works on.
struct Own {
    kind: Kind,
    name: String,
    library: Library,
    folder: PathBuf,
}

impl Own {
    /// The bundle of a folder `…/telemetry/<name>` or `…/lineage/<name>`.
    fn at(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        let real = folder.canonicalize().with_context(|| format!("{shown}: cannot be read"))?;
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let parent = real.parent().map(name).unwrap_or_default();
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == parent) else {
            bail!(
                "{shown}: the folder of a bundle is called telemetry/<name> or lineage/<name>; \
                 `floe-render bundle new telemetry NAME` makes one"
            );
        };
        let name = name(&real);
        Ok(Own { kind, library: Library::with(kind, &name, folder), name, folder: folder.to_owned() })
    }

    /// The bundle of a folder, or all of those in a folder of bundles, as `--bundles` takes it.
    fn all(folder: &Path) -> Result<Vec<Self>> {
        let kinds = Kind::ALL.map(|kind| folder.join(kind.name()));
        if folder.join("bundle.yaml").exists() || !kinds.iter().any(|kind| kind.is_dir()) {
            return Ok(vec![Own::at(folder)?]);
        }
        let mut all = Vec::new();
        for kind in kinds.iter().filter(|kind| kind.is_dir()) {
            let entries = fs::read_dir(kind).with_context(|| format!("{}: cannot be read", kind.display()))?;
            let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
            let mut bundles: Vec<_> = paths.into_iter().filter(|path| path.is_dir()).collect();
            bundles.sort();
            all.extend(bundles);
        }
        if all.is_empty() {
            bail!("{}: there is no bundle in it; `floe-render bundle new telemetry NAME` makes one", folder.display());
        }
        all.iter().map(|path| Own::at(path)).collect()
    }

    fn label(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}
