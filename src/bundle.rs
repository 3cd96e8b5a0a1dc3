//! Stage `bundle`: finds the selected bundles and reads them. The only reader of bundle files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use crate::finding::{Collect, backticked, did_you_mean};
use crate::schema::{Late, Schema};
use crate::select::{Kind, Plan, Selection, explain, is_id};
use crate::{archive, digest, embedded, json, keywords, pointer, yaml};

/// The floe API that this engine implements.
pub const FLOE_API: Version = Version::new(2, 0, 0);

/// The most files a bundle may have.
const MAX_FILES: usize = 256;
/// The most bytes all files of a bundle may have together.
const MAX_TOTAL: usize = 8 << 20;
/// The deepest folder in a bundle.
const MAX_FOLDERS: usize = 8;
/// The keywords of ours in a schema of options; `bundle lint` knows which profiles there are.
const OF_OPTIONS: [&str; 3] = ["x-default-", "x-default-production", "x-passthrough"];
/// How the name of a policy over what was rendered ends, …
pub(crate) const OVER_DOCUMENTS: &str = ".documents.json";
/// … and what it may judge.
const DOCUMENTS: [&str; 3] = ["options", "transport", "values"];
/// The folder of a bundle's golden cases.
pub const CASES: &str = "cases";

/// The facts about a backend that no option changes: `bundle.yaml`.
#[derive(Clone, Debug, Deserialize)]
pub struct Meta {
    /// Version of the bundle.
    pub version: Version,
    /// The floe API that the bundle was written for.
    pub floe_api_version: Version,
    /// Name for people.
    pub title: String,
    /// `saas` or `self-hosted`.
    pub hosting: String,
    /// Signals that the backend takes.
    #[serde(default)]
    pub signals: Vec<String>,
    /// Variables that are bound late.
    #[serde(default)]
    pub variables: Table<Variable>,
    /// Files that are mounted from a Secret.
    #[serde(default)]
    pub files: Table<MountedFile>,
    /// How the backend's lineage namespace is made.
    pub namespace: Option<Namespace>,
    /// Charts that the bundle's values are for.
    #[serde(default)]
    pub charts: Table<Chart>,
    /// Pointers whose values yield to one bundle, by output; for the platform layer.
    #[serde(default)]
    pub defaults: Defaults,
    /// Where the collector's config stands in the values; for the platform layer.
    pub collector_config: Option<String>,
    /// Where the OpenLineage config stands in the values; for the platform layer.
    pub openlineage_config: Option<String>,
    /// Keys of the umbrella chart itself that the values set; for the platform layer.
    #[serde(default)]
    pub umbrella: Vec<String>,
}

/// What yields to a bundle, by output.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Defaults {
    /// Pointers into the collector config.
    #[serde(default)]
    pub collector: Vec<String>,
    /// Pointers into the values.
    #[serde(default)]
    pub values: Vec<String>,
}

/// A variable of a bundle.
#[derive(Clone, Debug, Deserialize)]
pub struct Variable {
    /// Key in the connection Secret.
    pub key: String,
    /// The option that replaces the variable; a variable without one is a secret.
    pub option: Option<String>,
    /// The option that names the Secret; else the connection Secret.
    pub secret: Option<String>,
    /// Headers that carry it, whatever their names say.
    #[serde(default)]
    pub headers: Vec<String>,
    /// What its value must look like, for who reads it: a regular expression, which `check` compares.
    pub pattern: Option<String>,
    /// What the variable holds.
    pub about: String,
}

/// A file of a bundle, mounted from a Secret.
#[derive(Clone, Debug, Deserialize)]
pub struct MountedFile {
    /// Key in the Secret.
    pub key: String,
    /// The option that names the Secret; else the connection Secret.
    pub secret: Option<String>,
    /// Name of the file; else the key.
    pub path: Option<String>,
    /// What the file holds.
    pub about: String,
}

impl MountedFile {
    /// Name of the file, in the directory where its backend's are mounted.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.key)
    }
}

/// How a lineage backend names its namespace.
#[derive(Clone, Debug, Deserialize)]
pub struct Namespace {
    /// `environment_based`, `custom` or `backend_managed`.
    pub strategy: String,
    /// The namespace with `{environment}` in place.
    pub template: Option<String>,
    /// The variable that holds the environment.
    pub environment_var: Option<String>,
    /// The option that sets the namespace.
    pub option: Option<String>,
    /// What a user should know about it.
    pub description: Option<String>,
}

/// A chart that a bundle brings values for.
#[derive(Clone, Debug, Deserialize)]
pub struct Chart {
    /// Version of the chart.
    pub version: String,
    /// Repository of the chart.
    pub repository: String,
    /// Name under which the values stand; else the chart's.
    pub alias: Option<String>,
    /// Pointers to the values in which the chart's program expands references.
    #[serde(default)]
    pub expands: Vec<String>,
}

/// A mapping in the order of the file.
#[derive(Clone, Debug)]
pub struct Table<T>(pub Vec<(String, T)>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(Vec::new())
    }
}

impl<T> Table<T> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&T> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The entries, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Entries<T> {
            type Value = Table<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Table<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    entries.push(entry);
                }
                Ok(Table(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

/// A bundle that was read.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The folder, as messages name it.
    pub folder: String,
    /// Its `bundle.yaml`.
    pub meta: Meta,
    /// SHA-256 over the names and contents of all files, as `sha256:<hex>`.
    pub digest: String,
    files: Files,
    built_in: bool,
}

impl Bundle {
    /// Whether the bundle is a part of the program.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// The files of the bundle, in the order of their names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_ref()))
    }

    /// The text of a file of the bundle, if it has one of that name.
    pub fn text(&self, name: &str) -> Result<Option<&str>> {
        let Some(bytes) = self.files.get(name) else { return Ok(None) };
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => bail!("{}/{name}: not UTF-8 at byte {}", self.folder, error.valid_up_to()),
        }
    }

    /// A JSON file of the bundle.
    pub fn json(&self, name: &str) -> Result<Option<Value>> {
        let Some(bytes) = self.files.get(name) else { return Ok(None) };
        json::read(bytes).map(Some).map_err(|error| {
            anyhow!("{}/{name}:{}:{}: {}", self.folder, error.line(), error.column(), json::reason(&error))
        })
    }

    /// A JSON Schema of the bundle, compiled.
    pub fn schema(&self, name: &str) -> Result<Option<Schema<'static>>> {
        match self.json(name)? {
            Some(text) => Schema::compile(Cow::Owned(text), &format!("{}/{name}", self.folder)).map(Some),
            None => Ok(None),
        }
    }

    /// The key in the values under which a chart's stand.
    pub fn value_keys(&self) -> impl Iterator<Item = &str> {
        self.meta.charts.iter().map(|(name, chart)| chart.alias.as_deref().unwrap_or(name))
    }

    /// Pointers into the values at which a chart's program expands references.
    pub fn expanding(&self) -> impl Iterator<Item = String> {
        self.meta.charts.iter().flat_map(|(name, chart)| {
            let key = chart.alias.as_deref().unwrap_or(name);
            chart.expands.iter().map(move |below| pointer::join("", key) + below)
        })
    }

    /// `schema` is left out for bundles that are built in: a test has checked them.
    fn read(folder: String, files: Files, schema: Option<&Schema<'_>>) -> Result<Self> {
        let digest = match embedded::digest(&folder).filter(|_| schema.is_none()) {
            Some(digest) => digest.to_owned(),
            None => digest::digest(files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_ref()))),
        };
        let file = format!("{folder}/bundle.yaml");
        let Some(bytes) = files.get("bundle.yaml") else { bail!("{folder}: there is no bundle.yaml in it") };
        let text = std::str::from_utf8(bytes).with_context(|| format!("{file}: not UTF-8"))?;
        let node = yaml::read(text, &file)?;
        let mut found = Collect::default();
        node.doubts(&mut |at, doubt| found.push(format!("{file}:{}:{}: {}", at.line, at.column, explain(doubt))));
        let value = node.to_value();
        for problem in schema.into_iter().flat_map(|schema| schema.problems(&value)) {
            let at = node.nearest(&problem.pointer).at;
            let key = pointer::dotted(&problem.pointer);
            let key = if key.is_empty() { String::new() } else { format!("`{key}`: ") };
            found.push(format!("{file}:{}:{}: {key}{}", at.line, at.column, problem.message));
        }
        found.finish(())?;
        let meta: Meta = serde_json::from_value(value).with_context(|| file.clone())?;
        let api = &meta.floe_api_version;
        if api.major != FLOE_API.major || api.minor > FLOE_API.minor {
            bail!(
                "{file}: `floe_api_version: {api}` needs an engine for floe API {}.{}; this one implements {FLOE_API}: \
                 use a bundle for {}.x up to {}.{}, or another floe-render",
                api.major,
                api.minor,
                FLOE_API.major,
                FLOE_API.major,
                FLOE_API.minor
            );
        }
        let bundle = Bundle { folder, meta, digest, files, built_in: schema.is_none() };
        if schema.is_some() {
            bundle.check_keywords()?;
        }
        Ok(bundle)
    }

    /// Checks what no validator tells: that the keywords of the options' schema and of the policies are keywords, and that the
    /// policies speak of options that there are. What is no JSON is told when it is needed.
    #[cold]
    #[inline(never)]
    fn check_keywords(&self) -> Result<()> {
        let mut found = Collect::default();
        let name = "options.schema.json";
        let options = self.json(name).ok().flatten();
        if let Some(options) = &options {
            keywords::check(options, &OF_OPTIONS, &format!("{}/{name}", self.folder), &mut found);
        }
        for name in self.files.keys().filter(|name| name.starts_with("policy/")) {
            let Ok(Some(policy)) = self.json(name) else { continue };
            let file = format!("{}/{name}", self.folder);
            keywords::check(&policy, &[], &file, &mut found);
            let options = options.as_ref().unwrap_or(&Value::Null);
            if !name.ends_with(OVER_DOCUMENTS) {
                keywords::check_names(&policy, options, "", &file, &mut found);
                continue;
            }
            let at = "/properties/options";
            policy.pointer(at).into_iter().for_each(|rule| keywords::check_names(rule, options, at, &file, &mut found));
            let parts = policy.get("properties").and_then(Value::as_object);
            for part in parts.into_iter().flat_map(serde_json::Map::keys) {
                if !DOCUMENTS.contains(&part.as_str()) {
                    let known = backticked(DOCUMENTS);
                    found.push(format!("{file}: `/properties/{part}`: it judges {known}; there is no `{part}`"));
                }
            }
        }
        found.finish(())
    }
}

/// A selection with its bundle.
#[derive(Clone, Debug)]
pub struct Backend {
    /// What the user selected.
    pub selection: Selection,
    /// The bundle of that name.
    pub bundle: Bundle,
}

impl Backend {
    /// The selection as messages name it: kind, bundle, and the id where it differs.
    #[must_use]
    pub fn label(&self) -> String {
        let Selection { kind, bundle, id, .. } = &self.selection;
        if id == bundle { format!("{kind}/{bundle}") } else { format!("{kind}/{bundle} ({id})") }
    }

    /// The name that a variable of the bundle has for this selection: a selection with a name of its own has its own variables.
    #[must_use]
    pub fn variable(&self, name: &str) -> String {
        let Selection { bundle, id, .. } = &self.selection;
        if id == bundle { name.to_owned() } else { format!("{}_{name}", id.replace('-', "_").to_uppercase()) }
    }

    /// The key of a variable in the connection Secret.
    #[must_use]
    pub fn secret_key<'a>(&'a self, name: &str, variable: &'a Variable) -> &'a str {
        self.selection.secret.keys.get(name).and_then(Value::as_str).unwrap_or(&variable.key)
    }
}

/// The Secret that holds a variable or a file: the one that its option names, else the connection Secret. Nothing while
/// the option is unset.
#[must_use]
pub fn secret_name(option: Option<&str>, options: &Value, connection: &str) -> Option<String> {
    match option {
        None => Some(connection.to_owned()),
        Some(option) => options.pointer(&pointer::of_option(option))?.as_str().map(str::to_owned),
    }
}

/// What was read for a plan.
#[derive(Clone, Debug)]
pub struct Bundles {
    /// The layer under every selection.
    pub platform: Bundle,
    /// The selected backends, in the plan's order.
    pub backends: Vec<Backend>,
}

impl Bundles {
    /// Whether a backend of this kind is selected.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.backends.iter().any(|backend| backend.selection.kind == kind)
    }

    /// The settings at the top of a collector component of this type; none where nobody has a schema of it.
    pub fn settings(&self, section: &str, kind: &str) -> Result<Vec<String>> {
        if let Some(tree) = embedded::schema_tree(&format!("collector/{section}/{kind}")) {
            let entries = tree.get("properties").map_or(&[][..], crate::json::Json::entries);
            return Ok(entries.iter().map(|(name, _)| (*name).to_owned()).collect());
        }
        for backend in &self.backends {
            if let Some(schema) = backend.bundle.json(&format!("schemas/{section}/{kind}.json"))? {
                let properties = schema.get("properties").and_then(Value::as_object);
                return Ok(properties.into_iter().flat_map(serde_json::Map::keys).cloned().collect());
            }
        }
        Ok(Vec::new())
    }
}

/// Where bundles are found: those that are built in, then the folders of `--bundles`.
#[derive(Debug, Default)]
pub struct Library {
    found: BTreeMap<(Kind, String), Source>,
}

/// The files of a bundle, by their path in its folder.
pub type Files = BTreeMap<String, Cow<'static, [u8]>>;

/// Where a bundle's files are.
#[derive(Clone, Debug)]
enum Source {
    Folder(PathBuf),
    Archive(String, Files),
}

impl Source {
    /// The place as messages name it.
    fn shown(&self) -> String {
        match self {
            Source::Folder(folder) => folder.display().to_string(),
            Source::Archive(shown, _) => shown.clone(),
        }
    }
}

/// What a bundle has taken of the room that it may have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    files: usize,
    total: usize,
}

impl Limits {
    /// Takes the room of one more file; an error if there is none.
    pub fn take(&mut self, depth: usize, size: u64, name: &str) -> Result<()> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.files += 1;
        self.total = self.total.saturating_add(size);
        if depth > MAX_FOLDERS {
            bail!("{name}: folders are nested deeper than {MAX_FOLDERS}");
        }
        if size > yaml::MAX_BYTES || self.total > MAX_TOTAL || self.files > MAX_FILES {
            bail!(
                "{name}: the bundle is too large: at most {MAX_FILES} files, {} bytes each and {MAX_TOTAL} together",
                yaml::MAX_BYTES
            );
        }
        Ok(())
    }
}

impl Library {
    /// Looks which bundles the folders and archives hold. A name that is there twice, or is built in, is an error.
    pub fn open(dirs: &[PathBuf]) -> Result<Self> {
        let mut library = Library::default();
        let mut found = Collect::default();
        for dir in dirs {
            let mut any = false;
            if dir.is_file() {
                for ((kind, name), files) in found.ok(archive::read(dir)).unwrap_or_default() {
                    let shown = format!("{}/{kind}/{name}", dir.display());
                    library.add(kind, &name, Source::Archive(shown, files), &mut found);
                }
                continue;
            }
            if let Err(error) = fs::read_dir(dir) {
                found.push(format!("--bundles {}: cannot be read: {error}", dir.display()));
                continue;
            }
            for kind in Kind::ALL {
                let parent = dir.join(kind.name());
                if !parent.is_dir() {
                    continue;
                }
                let mut names: Vec<_> = fs::read_dir(&parent)
                    .with_context(|| format!("{}: cannot be read", parent.display()))?
                    .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
                    .filter(|name| parent.join(name).is_dir())
                    .collect();
                names.sort();
                for name in names {
                    any = true;
                    library.add(kind, &name, Source::Folder(parent.join(&name)), &mut found);
                }
            }
            if !any {
                found.push(format!(
                    "--bundles {}: there is no bundle in it; a bundle is a folder `telemetry/<name>` or `lineage/<name>`{}",
                    dir.display(),
                    folder_above(dir).map_or_else(String::new, |folder| format!(": give --bundles {}", folder.display()))
                ));
            }
        }
        found.finish(library)
    }

    /// The built-in bundles with one more, which may have the name of one of them, as its author works on it.
    #[must_use]
    pub fn with(kind: Kind, name: &str, folder: &Path) -> Self {
        let mut library = Library::default();
        // Without a slash at the end, which messages would repeat.
        library.found.insert((kind, name.to_owned()), Source::Folder(folder.components().collect()));
        library
    }

    /// The bundle in the bytes of an archive, which must hold one; messages call it `shown`.
    pub fn packed(shown: &str, bytes: &[u8]) -> Result<(Kind, String, Bundle)> {
        let mut library = Library::default();
        let mut found = Collect::default();
        for ((kind, name), files) in archive::files("", shown, bytes)? {
            let source = Source::Archive(format!("{shown}/{kind}/{name}"), files);
            library.add(kind, &name, source, &mut found);
        }
        let library = found.finish(library)?;
        let names: Vec<_> = library.found.keys().cloned().collect();
        let [(kind, name)] = names.as_slice() else {
            bail!("{shown}: holds {} bundles; `floe-render bundle pack` makes an archive of one", names.len());
        };
        Ok((*kind, name.clone(), library.get(*kind, name)?))
    }

    fn add(&mut self, kind: Kind, name: &str, source: Source, found: &mut Collect) {
        let shown = source.shown();
        if !is_id(name) {
            found.push(format!(
                "{shown}: `{name}` cannot name a bundle: use a-z, 0-9 and single dashes, at most 40 characters"
            ));
        } else if built_in(kind, name) {
            found.push(format!(
                "{shown}: {kind}/{name} is built in, and a bundle never shadows another; rename the folder"
            ));
        } else if let Some(other) = self.found.insert((kind, name.to_owned()), source) {
            found.push(format!("{shown}: {kind}/{name} is also in {}; rename one", other.shown()));
        }
    }

    /// The names of all bundles of a kind, sorted.
    #[must_use]
    pub fn names(&self, kind: Kind) -> Vec<String> {
        let prefix = format!("templates/{kind}/");
        let mut names: Vec<String> = embedded::below(&prefix)
            .filter_map(|(path, _)| path[prefix.len()..].split_once('/').map(|(name, _)| name.to_owned()))
            .chain(self.found.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Reads one bundle, which must be there.
    pub fn get(&self, kind: Kind, name: &str) -> Result<Bundle> {
        match self.bundle(kind, name)? {
            Some(bundle) => Ok(bundle),
            None => bail!("{}", unknown(self, kind, name)),
        }
    }

    fn bundle(&self, kind: Kind, name: &str) -> Result<Option<Bundle>> {
        if let Some(source) = self.found.get(&(kind, name.to_owned())) {
            let schema = embedded::full_schema("bundle")?.with_late(Late::Never);
            let files = match source {
                Source::Folder(folder) => read_folder(folder)?,
                Source::Archive(_, files) => files.clone(),
            };
            return Bundle::read(source.shown(), files, Some(&schema)).map(Some);
        }
        if built_in(kind, name) {
            return embedded_bundle(&format!("templates/{kind}/{name}")).map(Some);
        }
        Ok(None)
    }
}

/// The folder to give in place of one bundle's, or of that which holds the bundles of one kind.
fn folder_above(dir: &Path) -> Option<PathBuf> {
    let real = dir.canonicalize().ok()?;
    let levels = real
        .ancestors()
        .take(3)
        .position(|above| above.file_name().is_some_and(|name| Kind::ALL.iter().any(|kind| name == kind.name())))?;
    let mut shown = dir.to_owned();
    for _ in 0..=levels {
        // A name goes; of what is none, `.` or `..`, the way up is appended.
        if shown.file_name().is_none() || !shown.pop() {
            shown.push("..");
        }
    }
    Some(if shown.as_os_str().is_empty() { PathBuf::from(".") } else { shown })
}

/// Whether a bundle of this name is a part of the program.
pub(crate) fn built_in(kind: Kind, name: &str) -> bool {
    embedded::file(&format!("templates/{kind}/{name}/bundle.yaml")).is_some()
}

fn embedded_bundle(folder: &str) -> Result<Bundle> {
    let prefix = format!("{folder}/");
    let files =
        embedded::below(&prefix).map(|(path, bytes)| (path[prefix.len()..].to_owned(), Cow::Borrowed(bytes))).collect();
    Bundle::read(folder.to_owned(), files, None)
}

/// Reads every file of a bundle's folder; nothing outside it, by whatever way it is named.
fn read_folder(folder: &Path) -> Result<Files> {
    let above = folder.parent().and_then(Path::parent).unwrap_or(folder);
    let parent = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let root = folder.canonicalize().with_context(|| format!("{}: cannot be read", folder.display()))?;
    let home = parent.canonicalize().with_context(|| format!("{}: cannot be read", parent.display()))?;
    if !root.starts_with(&home) {
        bail!("{}: the bundle is a link out of {}; copy it there", folder.display(), parent.display());
    }
    let mut files = BTreeMap::new();
    walk(&root, &root, folder, 0, &mut files, &mut Limits::default())?;
    Ok(files)
}

fn walk(root: &Path, at: &Path, shown: &Path, depth: usize, files: &mut Files, limits: &mut Limits) -> Result<()> {
    if depth > MAX_FOLDERS {
        bail!("{}: folders are nested deeper than {MAX_FOLDERS}", shown.display());
    }
    for entry in fs::read_dir(at).with_context(|| format!("{}: cannot be read", at.display()))? {
        let path = entry?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let real = path.canonicalize().with_context(|| format!("{}/{name}: cannot be read", shown.display()))?;
        if !real.starts_with(root) {
            bail!("{}/{name}: the link leaves the bundle's folder; put the file itself there", shown.display());
        }
        if path.is_symlink() && real.is_dir() {
            bail!("{}/{name}: a link to a folder; put the folder itself there", shown.display());
        }
        if path.is_dir() {
            // The bundle's own golden cases are no part of it: what they expect holds its digest.
            if name != CASES {
                walk(root, &path, shown, depth + 1, files, limits)?;
            }
            continue;
        }
        if !real.is_file() {
            bail!("{}/{name}: not a plain file", shown.display());
        }
        limits.take(depth, real.metadata()?.len(), &format!("{}/{name}", shown.display()))?;
        files.insert(name, Cow::Owned(fs::read(&real)?));
    }
    Ok(())
}

/// Reads the layer under every selection.
pub fn platform() -> Result<Bundle> {
    embedded_bundle("templates/platform")
}

/// Reads the platform layer and the bundles that a plan selects.
pub fn read(library: &Library, plan: &Plan) -> Result<Bundles> {
    let mut found = Collect::default();
    let mut backends = Vec::new();
    for selection in &plan.selections {
        let Selection { kind, bundle: name, place, .. } = selection;
        let Some(bundle) = found.ok(library.bundle(*kind, name)) else { continue };
        let Some(bundle) = bundle else {
            found.push(format!("{place}: {}", unknown(library, *kind, name)));
            continue;
        };
        if let Some(wanted) = &selection.version
            && !wanted.matches(&bundle.meta.version)
        {
            found.push(format!(
                "{place}: {kind}/{name} is version {}, which `version: {wanted}` does not allow; \
                 change the requirement or use another bundle",
                bundle.meta.version
            ));
        }
        backends.push(Backend { selection: selection.clone(), bundle });
    }
    let platform = found.ok(platform());
    match (found.is_empty(), platform) {
        (true, Some(platform)) => Ok(Bundles { platform, backends }),
        _ => found.finish(()).and_then(|()| bail!("the platform layer cannot be read")),
    }
}

fn unknown(library: &Library, kind: Kind, name: &str) -> String {
    let names = library.names(kind);
    let others: Vec<Kind> = Kind::ALL.into_iter().filter(|other| *other != kind).collect();
    let swapped = others.into_iter().find(|other| library.names(*other).iter().any(|known| known == name));
    let hint = match swapped {
        Some(other) => format!("; it is a {other} backend: set it there"),
        None => did_you_mean(name, names.iter().map(String::as_str)),
    };
    let known = backticked(names.iter().map(String::as_str));
    format!("there is no {kind} backend `{name}`{hint} (known: {known}; more with --bundles DIR)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_bundle_fits_its_schema() {
        let schema = embedded::full_schema("bundle").unwrap();
        let library = Library::open(&[]).unwrap();
        let all = Kind::ALL
            .into_iter()
            .flat_map(|kind| library.names(kind).into_iter().map(move |name| format!("{kind}/{name}")));
        for name in all.chain(["platform".to_owned()]) {
            let path = format!("templates/{name}/bundle.yaml");
            let text = std::str::from_utf8(embedded::file(&path).unwrap()).unwrap();
            let problems = schema.problems(&yaml::read(text, &path).unwrap().to_value());
            assert!(problems.is_empty(), "{path}: {problems:?}");
            embedded_bundle(&format!("templates/{name}")).unwrap().check_keywords().unwrap();
        }
    }
}
