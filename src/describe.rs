//! What a bundle says about itself, for people and for machines: `list`, `show` and the catalogue stand on it.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::bundle::{Bundle, Library};
use crate::embedded;
use crate::schema::resolve;
use crate::select::Kind;

/// An option of a bundle.
#[derive(Clone, Debug, Serialize)]
pub struct OptionFacts {
    /// Its dotted name.
    pub name: String,
    /// The type that it takes, where no list of values says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// The values that it takes, where there are only some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
    /// Its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Its default in production, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_production: Option<Value>,
    /// What it is for.
    pub description: String,
    /// Values to copy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
    /// Whether only floe's own runtime knows it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub passthrough: bool,
}

impl OptionFacts {
    /// What the option takes, in words.
    #[must_use]
    pub fn takes(&self) -> String {
        if self.values.is_empty() {
            return self.r#type.clone().unwrap_or_default();
        }
        self.values.iter().map(plain).collect::<Vec<_>>().join(", ")
    }
}

/// A value as a person would write it for `--set`.
#[must_use]
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The options of a schema, in its order.
#[must_use]
pub fn options(schema: &Value) -> Vec<OptionFacts> {
    let mut found = Vec::new();
    collect(schema, schema, "", &mut found);
    found
}

fn collect(root: &Value, schema: &Value, prefix: &str, found: &mut Vec<OptionFacts>) {
    for (name, own) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let below = resolve(root, own);
        let name = format!("{prefix}{name}");
        if below.get("properties").is_some() {
            collect(root, below, &format!("{name}."), found);
            continue;
        }
        let find = |key: &str| own.get(key).or_else(|| below.get(key));
        let list = |key: &str| find(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let values = match below.get("const") {
            Some(only) => vec![only.clone()],
            None => list("enum"),
        };
        let r#type = match below.get("type") {
            Some(Value::Array(types)) => Some(types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")),
            other => other.and_then(Value::as_str).map(str::to_owned),
        };
        found.push(OptionFacts {
            name,
            r#type,
            values,
            default: find("default").cloned(),
            default_production: find("x-default-production").cloned(),
            description: find("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
            examples: list("examples"),
            passthrough: find("x-passthrough") == Some(&Value::Bool(true)),
        });
    }
}

/// The schema of a bundle's options; nothing where it has none.
pub fn options_schema(bundle: &Bundle) -> Result<Option<Value>> {
    match embedded::options_tree(&bundle.folder).filter(|_| bundle.is_built_in()) {
        Some(tree) => Ok(Some(tree.to_value())),
        None => bundle.json("options.schema.json"),
    }
}

/// What a telemetry backend takes, or that it takes lineage.
#[must_use]
pub fn signals(kind: Kind, bundle: &Bundle) -> Vec<String> {
    if kind == Kind::Lineage { vec!["lineage".to_owned()] } else { bundle.meta.signals.clone() }
}

/// The keys that the connection Secret holds, marked where an option does as well.
#[must_use]
pub fn secret_keys(bundle: &Bundle) -> Vec<String> {
    let variables = bundle.meta.variables.iter().map(|(_, variable)| match (&variable.option, &variable.secret) {
        (Some(option), _) => format!("{} (or option {option})", variable.key),
        (None, Some(option)) => format!("{} (Secret by {option})", variable.key),
        (None, None) => variable.key.clone(),
    });
    let files = bundle.meta.files.iter().map(|(_, file)| match &file.secret {
        Some(option) => format!("file {} (Secret by {option})", file.key),
        None => format!("file {}", file.key),
    });
    let mut keys = Vec::new();
    for key in variables.chain(files) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// Every bundle of a library with its kind and name, both kinds in order.
pub fn all(library: &Library) -> Result<Vec<(Kind, String, Bundle)>> {
    let mut found = crate::finding::Collect::default();
    let mut bundles = Vec::new();
    for kind in Kind::ALL {
        for name in library.names(kind) {
            if let Some(bundle) = found.ok(library.get(kind, &name)) {
                bundles.push((kind, name, bundle));
            }
        }
    }
    found.finish(bundles)
}

/// A bundle's facts as one document.
pub fn document(kind: Kind, name: &str, bundle: &Bundle) -> Result<Map<String, Value>> {
    let meta = &bundle.meta;
    let mut facts = Map::new();
    let mut put = |key: &str, value: Value| facts.insert(key.to_owned(), value);
    put("kind", kind.name().into());
    put("name", name.into());
    put("title", meta.title.clone().into());
    put("version", meta.version.to_string().into());
    put("floe_api_version", meta.floe_api_version.to_string().into());
    put("hosting", meta.hosting.clone().into());
    put("signals", signals(kind, bundle).into());
    put("secret_keys", secret_keys(bundle).into());
    put("built_in", bundle.is_built_in().into());
    put("digest", bundle.digest.clone().into());
    Ok(facts)
}
