//! The variables and mounted files that a selection needs: whether they are there, and whether each consumer will read
//! from them what was meant.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::answer::{Answer, Entry, Stage};
use super::environment::{Environment, State};
use super::plan::{Act, Step};
use crate::bind::SecretUse;
use crate::reference::{self, Part};
use crate::schema::{Late, Schema};
use crate::select::{Kind, Plan};
use crate::{Stages, pointer};

/// What does not belong to a selection.
const PLATFORM: &str = "platform";

/// A variable that may be referred to, and where its value stands in the cluster.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    backend: String,
    about: Option<String>,
    pattern: Option<String>,
    /// The flag that gives the value itself, for what is no secret.
    pub(super) flag: Option<String>,
    pub(super) secret: String,
    pub(super) key: String,
    used_by: Vec<&'static str>,
}

impl Variable {
    /// Whether a consumer gets it, or a check sends it.
    pub(super) fn is_needed(&self, sent: &[String]) -> bool {
        !self.used_by.is_empty() || sent.contains(&self.name)
    }

    /// Why nothing here needs a value: a chart reads it from the Secret, or it is between jobs and the collector.
    fn only_in_cluster(&self) -> Option<&'static str> {
        if self.used_by == ["chart"] {
            Some("only the chart reads it")
        } else if self.backend == PLATFORM {
            Some("only the cluster needs it")
        } else {
            None
        }
    }

    /// Whether a value is of the form that its reader takes.
    fn fits(&self, value: &str) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let schema = Schema::compile(Cow::Owned(json!({"pattern": pattern})), &self.name);
        schema.is_ok_and(|schema| schema.with_late(Late::Never).problems(&value.into()).is_empty())
    }

    /// Where the value stands in the cluster.
    pub(super) fn place(&self) -> String {
        format!("key `{}` of Secret `{}`", self.key, self.secret)
    }

    /// What to do for a value, here and in the cluster.
    pub(super) fn how_to_set(&self, in_cluster: bool) -> String {
        let Variable { name, secret, key, .. } = self;
        let itself = self.flag.as_ref().map_or_else(String::new, |flag| format!(", or give the value itself: {flag}"));
        if in_cluster {
            format!(
                "this pod gets it from {}: create it in this namespace (kubectl create secret generic {secret} \
                 --from-literal={key}=…){itself}",
                self.place()
            )
        } else {
            format!(
                "set it where this command runs (export {name}=…){itself}; in the cluster it comes from {}",
                self.place()
            )
        }
    }
}

/// Every variable that the selections, the user and the platform layer declare.
pub(super) fn declared(made: &Stages) -> Vec<Variable> {
    let mut variables: Vec<Variable> = Vec::new();
    for backend in &made.bundles.backends {
        for (name, variable) in backend.bundle.meta.variables.iter() {
            let selection = &backend.selection;
            let at = || address(&made.plan, selection.kind, &selection.id);
            variables.push(Variable {
                name: backend.variable(name),
                backend: backend.label(),
                about: Some(variable.about.clone()),
                pattern: variable.pattern.clone(),
                flag: variable.option.as_ref().map(|option| format!("--set {}.{option}=…", at())),
                secret: selection.secret.name.clone(),
                key: backend.secret_key(name, variable).to_owned(),
                used_by: Vec::new(),
            });
        }
    }
    for one in &made.plan.variables {
        variables.push(Variable {
            name: one.variable.clone(),
            backend: "render.variables".to_owned(),
            about: None,
            pattern: None,
            flag: None,
            secret: one.name.clone(),
            key: one.key.clone(),
            used_by: Vec::new(),
        });
    }
    for (name, variable) in made.bundles.platform.meta.variables.iter() {
        variables.push(Variable {
            name: name.to_owned(),
            backend: PLATFORM.to_owned(),
            about: Some(variable.about.clone()),
            pattern: variable.pattern.clone(),
            flag: None,
            secret: String::new(),
            key: variable.key.clone(),
            used_by: Vec::new(),
        });
    }
    let mut unique: Vec<Variable> = Vec::new();
    for mut variable in variables {
        if unique.iter().any(|one| one.name == variable.name) {
            continue;
        }
        // An option may name another Secret than the connection's.
        if let Some(bound) = made.bound.secrets.iter().find(|one| one.what == variable.name) {
            variable.secret.clone_from(&bound.name);
            variable.key.clone_from(&bound.key);
            variable.used_by.clone_from(&bound.used_by);
        }
        unique.push(variable);
    }
    unique
}

/// A selection as `--set` addresses it.
fn address(plan: &Plan, kind: Kind, id: &str) -> String {
    let several = plan.selections.iter().filter(|one| one.kind == kind).count() > 1;
    if several { format!("{kind}.{id}") } else { kind.name().to_owned() }
}

/// The checks of the variables and of the mounted files.
pub(super) fn steps(made: &Stages, variables: &[Variable], environment: &Environment) -> Vec<Step> {
    let mut steps = Vec::new();
    for variable in variables {
        let entry = Entry::new(&variable.backend, "variable", format!("variable {}", variable.name));
        let answer = answer(made, variable, environment);
        steps.push(Step { entry, act: Act::Known(answer) });
    }
    for file in made.bound.secrets.iter().filter(|one| one.what.starts_with('/')) {
        let backend =
            made.bundles.backends.iter().find(|backend| {
                file.what.starts_with(&format!("{}/", crate::render::mount_path(&backend.selection.id)))
            });
        let label = backend.map_or_else(|| PLATFORM.to_owned(), crate::bundle::Backend::label);
        let entry = Entry::new(label, "file", format!("file {}", file.what));
        steps.push(Step { entry, act: Act::Known(mounted(file, environment.in_cluster())) });
    }
    steps
}

fn answer(made: &Stages, variable: &Variable, environment: &Environment) -> Answer {
    let inside = environment.in_cluster();
    let about = variable.about.as_ref().map_or_else(String::new, |about| format!(" ({})", about.trim_end_matches('.')));
    let missing = |what: &str| {
        let message = format!("`{}`{about} {what}; {}", variable.name, variable.how_to_set(inside));
        Answer::credential(Stage::Environment, message)
    };
    match environment.state(&variable.name) {
        State::Unset => match variable.only_in_cluster() {
            Some(why) if !inside => Answer::skipped(format!("{why}, from {}", variable.place())),
            _ => missing("is not set"),
        },
        State::Empty => missing("is set to nothing"),
        State::Unusable(why) => {
            let again = if inside {
                format!(
                    "write {} anew without it (kubectl create secret … --from-literal adds nothing)",
                    variable.place()
                )
            } else {
                format!("set it without that, and look whether {} has it too", variable.place())
            };
            Answer::credential(Stage::Environment, format!("`{}`{about} {why}; {again}", variable.name))
        }
        State::Set(value) => match mangled(made, &variable.name, environment) {
            Some(entry) => Answer::credential(
                Stage::Environment,
                format!(
                    "`{}`{about} holds a `\"` or a `\\`: the OpenLineage client takes the variable `{entry}` for JSON and would \
                     read another value than this; use a value without them, in {} too",
                    variable.name,
                    variable.place()
                ),
            ),
            None if !variable.fits(value) => Answer::credential(
                Stage::Environment,
                format!(
                    "`{}`{about} holds something else: it must match `{}`; write {} anew",
                    variable.name,
                    variable.pattern.as_deref().unwrap_or_default(),
                    variable.place()
                ),
            ),
            None => Answer::ok("set"),
        },
    }
}

/// A file that a Secret brings into the pods.
fn mounted(file: &SecretUse, in_cluster: bool) -> Answer {
    let place = format!("key `{}` of Secret `{}`", file.key, file.name);
    match std::fs::metadata(&file.what) {
        Ok(found) if found.len() > 0 => Answer::ok("there"),
        _ if !in_cluster => Answer::skipped(format!("it is mounted in the cluster, from {place}")),
        _ => Answer::credential(
            Stage::Environment,
            format!(
                "`{}` is not there or is empty; this pod gets it from {place}: create it in this namespace (kubectl create secret \
                 generic {} --from-file={}=FILE)",
                file.what, file.name, file.key
            ),
        ),
    }
}

/// The variable of the client whose JSON the value of `name` would break, if there is one.
///
/// openlineage-python 1.54.0 parses what a variable holds as JSON, and takes it as it stands where that fails.
fn mangled(made: &Stages, name: &str, environment: &Environment) -> Option<String> {
    let config = &made.openlineage.as_ref()?.value;
    for entry in &made.bound.workload.env {
        let (Some(path), Some(text)) = (entry["name"].as_str(), entry["value"].as_str()) else { continue };
        let Some(path) = path.strip_prefix("OPENLINEAGE__") else { continue };
        if !text.contains(&format!("$({name})")) {
            continue;
        }
        // Only this variable counts: every other one stands for itself.
        let value = |other: &str| match environment.state(other) {
            State::Set(value) if other == name => value.to_owned(),
            _ => "x".to_owned(),
        };
        let expanded = expanded(text, &value);
        let read = serde_json::from_str::<Value>(&expanded).unwrap_or(Value::String(expanded));
        let at = path.split("__").fold(String::new(), |at, token| pointer::join(&at, &token.to_lowercase()));
        let meant = reference::map_strings(config.pointer(&at)?, &mut |text| filled(text, &value));
        if !holds(&meant, &read) {
            return Some(format!("OPENLINEAGE__{path}"));
        }
    }
    None
}

/// Whether what was read is what was meant, as far as it goes: literal leaves stay in the file.
fn holds(meant: &Value, read: &Value) -> bool {
    match (meant, read) {
        (Value::Object(meant), Value::Object(read)) => {
            read.iter().all(|(key, read)| meant.get(key).is_some_and(|meant| holds(meant, read)))
        }
        (meant, read) => meant == read,
    }
}

/// The text with its references replaced by values.
pub(super) fn filled(text: &str, value: &impl Fn(&str) -> String) -> String {
    let Ok(parts) = reference::parts(text) else { return text.to_owned() };
    parts
        .into_iter()
        .map(|part| match part {
            Part::Text(text) => text.to_owned(),
            Part::Variable(name) => value(name),
        })
        .collect()
}

/// The text as Kubernetes expands it: `$(NAME)` is the variable, `$$` is one `$`.
fn expanded(text: &str, value: &impl Fn(&str) -> String) -> String {
    let mut all = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        all.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            all.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            all.push_str(&value(name));
            rest = tail;
        } else {
            all.push('$');
            rest = after;
        }
    }
    all + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_kubernetes_does() {
        let value = |name: &str| format!("<{name}>");
        assert_eq!(expanded("a $(B)c $$(D) $ $$", &value), "a <B>c $(D) $ $");
    }

    #[test]
    fn what_was_read_may_leave_out_what_the_file_holds() {
        let meant = serde_json::json!({"type": "http", "auth": {"api_key": "k"}});
        assert!(holds(&meant, &serde_json::json!({"auth": {"api_key": "k"}})));
        assert!(!holds(&meant, &serde_json::json!({"auth": {"api_key": "K"}})));
        assert!(!holds(&meant, &serde_json::json!("text")));
    }
}
