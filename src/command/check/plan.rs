//! Which checks there are: the variables, then what each selection's connections say.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::http::uri::Uri;
use hyper::http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::answer::{Answer, Entry, Stage};
use super::aws;
use super::connection::{self, Check, Connection, Login, Tls};
use super::environment::{Environment, Hidden, State};
use super::variables::{self, Variable, filled};
use crate::Stages;
use crate::reference::{self, Part};

/// All checks, in the order of the selections.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The variables that they need.
    pub(super) variables: Vec<Variable>,
    pub(super) hidden: Hidden,
}

/// One check and what is to be done for it.
pub(super) struct Step {
    pub(super) entry: Entry,
    pub(super) act: Act,
}

/// How a check gets its answer.
pub(super) enum Act {
    /// It is known.
    Known(Answer),
    /// It takes a connection.
    Try(Box<Attempt>),
}

/// What is to be tried.
pub(super) struct Attempt {
    /// Where to; a reference has its value.
    pub(super) target: Target,
    /// How to do TLS.
    pub(super) tls: Tls,
    pub(super) what: What,
    /// What to say when the credential is refused.
    pub(super) credential: String,
    /// What to say when a name of the cluster does not resolve.
    pub(super) hint: Hint,
}

/// The parts of a URL.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl Target {
    /// Host and port, as messages name them.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What is sent and expected.
pub(super) enum What {
    /// Nothing: to connect is enough, with TLS or without.
    Connect { tls: bool },
    /// A request, and the status that is expected.
    Http { method: String, headers: Vec<(HeaderName, HeaderValue)>, status: u16, refused: Vec<u16> },
    /// An empty export over HTTP.
    OtlpHttp { headers: Vec<(HeaderName, HeaderValue)> },
    /// An empty export over gRPC.
    OtlpGrpc { signal: String, headers: Vec<(HeaderName, HeaderValue)> },
    /// Any answer over HTTP that is not the server's own fault.
    Answers,
}

/// What stands behind a name that does not resolve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// Anything.
    None,
    /// A Service; this process runs outside the cluster.
    Outside,
    /// A Service; this process runs in a pod.
    Inside,
}

/// Why there is nothing to try.
struct Not(Answer);

/// A check of a connection, with references in place.
struct Draft {
    kind: &'static str,
    name: String,
    url: String,
    tls: Tls,
    what: Result<What, Not>,
    /// The variables that the request carries.
    sends: Vec<String>,
}

/// Makes the checks of everything that was rendered.
pub(super) fn plan(made: &Stages, environment: &Environment) -> Result<Plan> {
    let variables = variables::declared(made);
    let mut hidden = Hidden::default();
    for variable in variables.iter().filter(|variable| variable.flag.is_none()) {
        if let Some(value) = environment.get(&variable.name) {
            hidden.add(&variable.name, value);
        }
    }
    let scope = Scope { made, environment, variables: &variables };
    let mut own: Vec<Vec<Step>> = Vec::new();
    let mut sent: Vec<String> = Vec::new();
    for (backend, rendered) in made.bundles.backends.iter().zip(&made.rendered) {
        let Some(fragment) = &rendered.connections else { continue };
        let label = backend.label();
        let mut steps = Vec::new();
        let mut aws = false;
        for value in fragment.doc.to_value().as_array().into_iter().flatten() {
            let connection: Connection =
                serde_json::from_value(value.clone()).with_context(|| fragment.label.clone())?;
            let Some(check) = &connection.check else { continue };
            if matches!(check, Check::Aws { .. }) && !aws {
                aws = true;
                let entry = Entry::new(&label, "aws", "AWS credentials");
                steps.push(Step { entry, act: Act::Known(aws::credentials(environment)) });
            }
            steps.push(scope.step(&label, &connection, check, &mut sent));
        }
        if steps.is_empty() {
            let entry = Entry::new(&label, "none", "connection");
            steps.push(Step { entry, act: Act::Known(Answer::skipped("nothing to reach")) });
        }
        own.push(steps);
    }
    let mut steps = Vec::new();
    let needed: Vec<Variable> = variables.iter().filter(|variable| variable.is_needed(&sent)).cloned().collect();
    let mut known = variables::steps(made, &needed, environment);
    for (backend, own) in made.bundles.backends.iter().zip(own) {
        let label = backend.label();
        let (mine, others) = known.into_iter().partition(|step: &Step| step.entry.backend == label);
        known = others;
        steps.extend::<Vec<Step>>(mine);
        steps.extend(own);
    }
    steps.extend(known);
    Ok(Plan { steps, variables: needed, hidden })
}

/// What the making of a check looks at.
struct Scope<'a> {
    made: &'a Stages,
    environment: &'a Environment,
    variables: &'a [Variable],
}

impl Scope<'_> {
    fn step(&self, label: &str, connection: &Connection, check: &Check, sent: &mut Vec<String>) -> Step {
        let draft = self.draft(connection, check, sent);
        let entry = Entry::new(label, draft.kind, draft.name);
        let attempt = draft.what.and_then(|what| {
            let target = self.target(&draft.url)?;
            let credential = self.refused(&draft.sends);
            let hint = self.hint(&target.host);
            Ok(Attempt { target, tls: draft.tls, what, credential, hint })
        });
        let act = match attempt {
            Ok(attempt) => Act::Try(Box::new(attempt)),
            Err(Not(answer)) => Act::Known(answer),
        };
        Step { entry, act }
    }

    fn draft(&self, connection: &Connection, check: &Check, sent: &mut Vec<String>) -> Draft {
        let Connection { url, tls, .. } = connection;
        let plain = |kind, name, what| Draft {
            kind,
            name,
            url: url.clone(),
            tls: tls.clone(),
            what: Ok(what),
            sends: Vec::new(),
        };
        match check {
            Check::Http { method, path, status, refused, login } => {
                let url = format!("{}{path}", origin(url));
                let what = self.login(login, sent).map(|headers| What::Http {
                    method: method.clone(),
                    headers,
                    status: *status,
                    refused: refused.clone(),
                });
                let name = format!("{method} {url}");
                Draft { kind: "http", name, url, tls: tls.clone(), what, sends: credentials(login) }
            }
            Check::Otlp { otlp, exporter: None, login } => {
                self.export(otlp, otlp_url(url, otlp), tls.clone(), login, sent)
            }
            Check::Otlp { otlp, exporter: Some(id), .. } => {
                let config = self.made.collector.as_ref().map(|merged| &merged.value);
                if let Some(found) = config.and_then(|config| connection::exporter(config, id, otlp)) {
                    return self.export(otlp, found.url, found.tls, &found.login, sent);
                }
                let gone = format!("the collector config has no exporter `{id}` any more");
                let name = format!("empty export of {otlp} by {id}");
                Draft { what: Err(Not(Answer::skipped(gone))), ..plain("otlp", name, What::Answers) }
            }
            Check::Tls { tls: true } => plain("tls", format!("TLS to {}", bare(url)), What::Connect { tls: true }),
            Check::Tls { tls: false } => plain("tcp", format!("TCP to {}", bare(url)), What::Connect { tls: false }),
            Check::Aws { aws } => plain("aws", format!("AWS {aws} at {url}"), What::Answers),
        }
    }

    fn export(&self, signal: &str, url: String, tls: Tls, login: &Login, sent: &mut Vec<String>) -> Draft {
        let grpc = url.starts_with("grpc");
        let what = self.login(login, sent).map(|headers| {
            if grpc { What::OtlpGrpc { signal: signal.to_owned(), headers } } else { What::OtlpHttp { headers } }
        });
        let name = format!("empty export of {signal} to {url}");
        Draft { kind: "otlp", name, url, tls, what, sends: credentials(login) }
    }

    /// The text with values, or why there is nothing to try: a variable that is missing has its own line.
    fn fill(&self, text: &str) -> Result<String, Not> {
        for name in names(text) {
            if !matches!(self.environment.state(&name), State::Set(_)) {
                return Err(Not(Answer::skipped(format!("it needs the variable `{name}`"))));
            }
        }
        Ok(filled(text, &|name| self.environment.get(name).unwrap_or_default().to_owned()))
    }

    fn target(&self, url: &str) -> Result<Target, Not> {
        let full = self.fill(url)?;
        target(&full).map_err(|why| {
            let whose = match names(url).first() {
                Some(name) => {
                    format!("with the value of `{name}`, `{url}` {why}; write {name} as its description says")
                }
                None => format!("`{full}` {why}; correct the option that it comes from"),
            };
            Not(Answer::unreachable(Stage::Url, whose))
        })
    }

    /// The headers that a request carries.
    fn login(&self, login: &Login, sent: &mut Vec<String>) -> Result<Vec<(HeaderName, HeaderValue)>, Not> {
        for name in credentials(login) {
            if !sent.contains(&name) {
                sent.push(name);
            }
        }
        let mut headers = Vec::new();
        for (name, value) in &login.headers {
            let value = self.fill(value.as_str().unwrap_or_default())?;
            headers.push(header(name, &value)?);
        }
        if let Some(basic) = &login.basic {
            let pair = format!("{}:{}", self.fill(&basic.username)?, self.fill(&basic.password)?);
            headers.push(header("authorization", &format!("Basic {}", BASE64.encode(pair)))?);
        }
        Ok(headers)
    }

    /// What to do about a refused credential.
    fn refused(&self, login: &[String]) -> String {
        let inside = self.environment.in_cluster();
        let known: Vec<String> = login
            .iter()
            .map(|name| match self.variables.iter().find(|one| one.name == *name) {
                Some(one) if inside => format!("`{name}` ({})", one.place()),
                Some(one) => format!("`{name}` (in the cluster {})", one.place()),
                None => format!("`{name}`"),
            })
            .collect();
        if known.is_empty() {
            "it demands a credential, and the config sends none: look for an option of the bundle that gives one"
                .to_owned()
        } else {
            format!(
                "it was sent {}: is that value valid for this address, not expired, and allowed to do this?",
                known.join(" and ")
            )
        }
    }

    fn hint(&self, host: &str) -> Hint {
        let labels: Vec<&str> = host.split('.').collect();
        let service = match labels.as_slice() {
            [one] => *one != "localhost" && !one.contains(':'),
            [_, _, "svc"] | [_, _, "svc", "cluster", "local"] => true,
            _ => false,
        };
        match (service, self.environment.in_cluster()) {
            (false, _) => Hint::None,
            (true, false) => Hint::Outside,
            (true, true) => Hint::Inside,
        }
    }
}

/// The variables that a text refers to.
fn names(text: &str) -> Vec<String> {
    let parts = reference::parts(text).unwrap_or_default();
    parts
        .into_iter()
        .filter_map(|part| if let Part::Variable(name) = part { Some(name.to_owned()) } else { None })
        .collect()
}

/// The variables that a request's headers hold.
fn credentials(login: &Login) -> Vec<String> {
    let headers = login.headers.values().filter_map(Value::as_str);
    let basic = login.basic.iter().flat_map(|basic| [basic.username.as_str(), basic.password.as_str()]);
    let mut all: Vec<String> = Vec::new();
    for name in headers.chain(basic).flat_map(names) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// A header. Its value may be a secret, so nothing of it goes into the message.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Not> {
    let bad = |what: &str| {
        Not(Answer::credential(
            Stage::Environment,
            format!("the header `{name}` {what}; correct the value that it is made of"),
        ))
    };
    let name = HeaderName::try_from(name).map_err(|_| bad("has a name that no request can carry"))?;
    let mut value = HeaderValue::try_from(value).map_err(|_| bad("gets a value that no request can carry"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    // A reference holds no slash.
    url[start..].find(['/', '?']).map_or(url, |end| &url[..start + end])
}

/// A URL without a scheme that says nothing.
fn bare(url: &str) -> &str {
    url.strip_prefix("tcp://").unwrap_or(url)
}

/// Where an export goes when no exporter says so: the collector appends this path to an HTTP endpoint.
fn otlp_url(url: &str, signal: &str) -> String {
    if url.starts_with("grpc") { url.to_owned() } else { format!("{}/v1/{signal}", url.trim_end_matches('/')) }
}

/// The parts of a URL, or what is wrong with it.
fn target(url: &str) -> Result<Target, &'static str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err("is no URL") };
    if rest.contains("://") {
        return Err("has two schemes, so that a host is wanted and a URL was given");
    }
    let (tls, port) = match scheme {
        "https" => (true, Some(443)),
        "http" => (false, Some(80)),
        "grpcs" => (true, Some(4317)),
        "grpc" => (false, Some(4317)),
        "tcp" => (false, None),
        _ => return Err("has an unknown scheme"),
    };
    let uri: Uri = format!("http://{rest}").parse().map_err(|_| "is no URL")?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("names no host");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("holds a user or a password, which belong into a Secret");
    }
    let Some(port) = uri.port_u16().or(port) else { return Err("names no port") };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(Target { tls, host: host.to_owned(), port, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        for (url, expected) in [
            ("https://a.example.com/x?y=z", "a.example.com:443 /x?y=z true"),
            ("http://a:8080", "a:8080 / false"),
            ("grpcs://a", "a:4317 / true"),
            ("tcp://[::1]:9092", "[::1]:9092 / false"),
        ] {
            let target = target(url).unwrap();
            assert_eq!(format!("{} {} {}", target.authority(), target.path, target.tls), expected);
        }
        for url in ["https://https://a", "tcp://a", "ftp://a", "https://a b", "https://", "https://u:p@a", "a"] {
            assert!(target(url).is_err(), "{url}");
        }
    }

    #[test]
    fn cuts_a_url_to_its_origin() {
        for (url, expected) in [
            ("https://a/b/c", "https://a"),
            ("https://${env:HOST}", "https://${env:HOST}"),
            ("https://${env:HOST}/b?c", "https://${env:HOST}"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
