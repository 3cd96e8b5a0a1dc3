//! Connections: names, proxies, TLS, limits of time, and second tries.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hyper::Uri;
use hyper::http::HeaderValue;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use super::answer::{Answer, Entry, Stage};
use super::connection::Tls;
use super::environment::{Environment, Hidden};
use super::plan::{Act, Attempt, Hint, Step, Target, What};
use super::{http, tls};
use crate::command::console;

/// The pause before the second try; it doubles with each.
const PAUSE: Duration = Duration::from_millis(200);

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    /// What was tried, how it failed, and the next step.
    pub(super) message: String,
    /// Whether a second try may end better.
    pub(super) again: bool,
    /// Whether it is the certificate that did not pass.
    pub(super) certificate: bool,
}

impl Failure {
    pub(super) fn new(stage: Stage, message: String) -> Self {
        Failure { stage, message, again: false, certificate: false }
    }

    /// A connection that broke. `doubt` is a question to ask first.
    pub(super) fn broken(stage: Stage, peer: &str, when: &str, error: &io::Error, doubt: &str) -> Self {
        let what = match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                "was reset".to_owned()
            }
            io::ErrorKind::UnexpectedEof => "was closed".to_owned(),
            _ => format!("failed ({error})"),
        };
        let message = format!(
            "the connection to {peer} {what} {when}; {doubt}look into the server's log, or for a firewall or proxy on the way"
        );
        Failure { again: true, ..Failure::new(stage, message) }
    }
}

/// `HOST:PORT=HOST:PORT`: where to connect instead.
#[derive(Clone, Debug)]
pub(super) struct Detour {
    from: (String, u16),
    to: (String, u16),
}

/// Reads the value of `--connect-to`.
pub(super) fn detour(text: &str) -> Result<Detour, String> {
    let side = |text: &str| -> Option<(String, u16)> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() { None } else { Some((host.to_owned(), port.parse().ok()?)) }
    };
    let both = text.split_once('=').and_then(|(from, to)| Some(Detour { from: side(from)?, to: side(to)? }));
    both.ok_or_else(|| "write HOST:PORT=HOST:PORT, for example backend:4317=localhost:4317".to_owned())
}

/// What all connections share.
pub(super) struct Net {
    timeout: Duration,
    retries: u32,
    authorities: Vec<CertificateDer<'static>>,
    detours: Vec<Detour>,
    proxies: Matcher,
    hidden: Arc<Hidden>,
}

/// A stream of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Who is at the other end of a connection.
pub(super) struct Peer {
    /// Its address as messages name it.
    pub(super) name: String,
    /// How long its certificate is good.
    pub(super) validity: Option<String>,
    /// The proxy in between, if it takes plain requests for others.
    pub(super) forward: Option<Forward>,
}

/// A proxy that passes plain requests on.
pub(super) struct Forward {
    /// What it wants in `Proxy-Authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Net {
    pub(super) fn new(
        timeout: Duration,
        retries: u32,
        ca_files: &[PathBuf],
        detours: &[Detour],
        environment: Environment,
        hidden: Arc<Hidden>,
    ) -> Result<Self> {
        let mut authorities = Vec::new();
        for file in ca_files {
            authorities.extend(tls::authorities(file)?);
        }
        let variable =
            |names: [&str; 2]| names.iter().find_map(|name| environment.get(name)).unwrap_or_default().to_owned();
        let proxies = Matcher::builder()
            .all(variable(["ALL_PROXY", "all_proxy"]))
            .http(variable(["HTTP_PROXY", "http_proxy"]))
            .https(variable(["HTTPS_PROXY", "https_proxy"]))
            .no(variable(["NO_PROXY", "no_proxy"]))
            .build();
        Ok(Net { timeout, retries, authorities, detours: detours.to_vec(), proxies, hidden })
    }

    /// Tries until there is an answer, the time is over, or there is no point.
    async fn attempt(&self, attempt: &Attempt, end: Instant) -> Answer {
        let deadline = end.min(Instant::now() + self.timeout);
        let mut pause = PAUSE;
        let mut left = self.retries;
        loop {
            let failure = match self.once(attempt, deadline).await {
                Ok(answer) => return answer,
                Err(failure) => failure,
            };
            if !failure.again || left == 0 || Instant::now() + pause >= deadline {
                return answered(attempt, failure);
            }
            left -= 1;
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn once(&self, attempt: &Attempt, deadline: Instant) -> Result<Answer, Failure> {
        let protocols: &[&str] = match &attempt.what {
            What::Connect { .. } => &[],
            What::OtlpGrpc { .. } => &["h2"],
            What::Http { .. } | What::OtlpHttp { .. } | What::Answers => &["http/1.1"],
        };
        let shake = if let What::Connect { tls } = attempt.what { tls } else { attempt.target.tls };
        let (stream, peer) = self.connect(attempt, shake, protocols, deadline).await?;
        match &attempt.what {
            What::Connect { .. } => Ok(Answer::ok(noted(attempt, "connected", &peer))),
            _ => http::ask(attempt, stream, &peer, deadline, self.timeout, &self.hidden).await,
        }
    }

    /// Opens a connection: through a proxy if the environment names one, and with TLS if that is wanted.
    async fn connect(
        &self,
        attempt: &Attempt,
        shake: bool,
        protocols: &[&str],
        deadline: Instant,
    ) -> Result<(Box<dyn Stream>, Peer), Failure> {
        let target = &attempt.target;
        let detour = self.detours.iter().find(|one| one.from == (target.host.clone(), target.port));
        let proxy = if detour.is_some() { None } else { self.proxy(attempt) };
        let mut peer = format!("`{}`", target.authority());
        let mut forward = None;
        let mut stream: Box<dyn Stream> = if let Some(proxy) = proxy {
            let plain = !shake && !matches!(attempt.what, What::OtlpGrpc { .. });
            let stream = self.through(&proxy, target, plain, deadline).await?;
            peer = format!("{peer} (through the proxy {})", shown(proxy.uri()));
            if plain {
                forward = Some(Forward { authorization: proxy.basic_auth().cloned() });
            }
            stream
        } else {
            let (host, port) = detour.map_or((target.host.as_str(), target.port), |one| (one.to.0.as_str(), one.to.1));
            if detour.is_some() {
                peer = format!("{peer} (at `{host}:{port}` by --connect-to)");
            }
            let hint = if detour.is_some() { Hint::None } else { attempt.hint };
            Box::new(self.open(host, port, hint, deadline).await?)
        };
        let mut validity = None;
        if shake {
            let name = attempt.tls.server_name.clone().unwrap_or_else(|| target.host.clone());
            let secured = self.secure(stream, &name, &attempt.tls, &peer, protocols, deadline).await?;
            validity = tls::validity(secured.get_ref().1.peer_certificates());
            stream = Box::new(secured);
        }
        Ok((stream, Peer { name: peer, validity, forward }))
    }

    async fn secure(
        &self,
        stream: Box<dyn Stream>,
        name: &str,
        tls: &Tls,
        peer: &str,
        protocols: &[&str],
        deadline: Instant,
    ) -> Result<tokio_rustls::client::TlsStream<Box<dyn Stream>>, Failure> {
        let config = tls::config(tls, &self.authorities, protocols)?;
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            Failure::new(Stage::Url, format!("`{name}` is no name that a certificate could be for; correct the host"))
        })?;
        let shaken = self.within(
            deadline,
            peer,
            "finish the TLS handshake",
            TlsConnector::from(Arc::new(config)).connect(server, stream),
        );
        shaken.await?.map_err(|error| tls::explain(&error, peer, name, tls))
    }

    /// Resolves a name and connects to the first of its addresses that answers.
    async fn open(&self, host: &str, port: u16, hint: Hint, deadline: Instant) -> Result<TcpStream, Failure> {
        let peer = format!("`{host}:{port}`");
        let found = self.within(deadline, &peer, "resolve", tokio::net::lookup_host((host, port))).await?;
        let addresses: Vec<SocketAddr> = match found {
            Ok(addresses) => addresses.collect(),
            Err(error) => return Err(unresolved(host, port, hint, &error)),
        };
        let mut last = Failure::new(Stage::Dns, format!("`{host}` has no address; is the name right?"));
        for (index, address) in addresses.iter().enumerate() {
            // Each address gets its share of the time: the first may be of a network that this machine does not reach.
            let now = Instant::now();
            let share = (deadline.saturating_duration_since(now)) / u32::try_from(addresses.len() - index).unwrap_or(1);
            match timeout_at(now + share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = refused(&peer, port, *address, &error),
                Err(_) => {
                    last = Failure::new(
                        Stage::Timeout,
                        format!(
                            "{peer} ({}) did not accept a connection within {}; a firewall or a network policy may drop it: allow port \
                             {port}, or raise --timeout",
                            address.ip(),
                            in_seconds(self.timeout)
                        ),
                    );
                }
            }
        }
        Err(last)
    }

    /// The proxy for a target. Kafka's clients and others that speak no HTTP use none; as for the collector, the machine
    /// itself needs none.
    fn proxy(&self, attempt: &Attempt) -> Option<Intercept> {
        let target = &attempt.target;
        let own =
            target.host == "localhost" || target.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if own || matches!(attempt.what, What::Connect { tls: false }) {
            return None;
        }
        let plain = !target.tls && !matches!(attempt.what, What::OtlpGrpc { .. } | What::Connect { .. });
        let scheme = if plain { "http" } else { "https" };
        let uri: Uri = format!("{scheme}://{}/", target.authority()).parse().ok()?;
        self.proxies.intercept(&uri)
    }

    /// A connection through a proxy; `plain` requests are handed to it as they are.
    async fn through(
        &self,
        proxy: &Intercept,
        target: &Target,
        plain: bool,
        deadline: Instant,
    ) -> Result<Box<dyn Stream>, Failure> {
        let uri = proxy.uri();
        let name = shown(uri);
        let secured = uri.scheme_str() == Some("https");
        if !secured && uri.scheme_str() != Some("http") {
            return Err(Failure::new(
                Stage::Proxy,
                format!("the proxy {name} is not spoken here; name an http:// or https:// proxy in HTTPS_PROXY"),
            ));
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if secured { 443 } else { 80 });
        let of_proxy = |failure: Failure| Failure {
            stage: if failure.stage == Stage::Timeout { Stage::Timeout } else { Stage::Proxy },
            message: format!("the proxy {name}, which HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names: {}", failure.message),
            ..failure
        };
        let mut stream: Box<dyn Stream> =
            Box::new(self.open(host, port, Hint::None, deadline).await.map_err(of_proxy)?);
        if secured {
            let shaken =
                self.secure(stream, host, &Tls::default(), &name, &["http/1.1"], deadline).await.map_err(of_proxy)?;
            stream = Box::new(shaken);
        }
        if plain {
            return Ok(stream);
        }
        let peer = format!("the proxy {name}");
        let authority = target.authority();
        let tunnel = http::tunnel(TokioIo::new(stream), &authority, proxy.basic_auth().cloned(), &peer);
        let tunnel = self.within(deadline, &peer, &format!("open a way to `{authority}`"), tunnel).await??;
        Ok(Box::new(tunnel))
    }

    /// The result of something that must be done in time.
    async fn within<T>(
        &self,
        deadline: Instant,
        peer: &str,
        what: &str,
        future: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        timeout_at(deadline, future).await.map_err(|_| late(peer, what, self.timeout))
    }
}

/// What was not done in time.
pub(super) fn late(peer: &str, what: &str, limit: Duration) -> Failure {
    Failure::new(
        Stage::Timeout,
        format!(
            "{peer} did not {what} within {}; is it overloaded, or a proxy in the way? Raise --timeout if it is only slow",
            in_seconds(limit)
        ),
    )
}

fn in_seconds(limit: Duration) -> String {
    let seconds = limit.as_secs_f64();
    if (seconds - 1.0).abs() < f64::EPSILON { "1 second".to_owned() } else { format!("{seconds} seconds") }
}

/// A proxy without its user and password.
fn shown(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    uri.port_u16().map_or_else(|| format!("`{host}`"), |port| format!("`{host}:{port}`"))
}

fn unresolved(host: &str, port: u16, hint: Hint, error: &io::Error) -> Failure {
    let (service, rest) = host.split_once('.').unwrap_or((host, ""));
    let namespace = rest.strip_suffix(".svc.cluster.local").or_else(|| rest.strip_suffix(".svc"));
    let option = namespace.map_or_else(String::new, |namespace| format!(" --namespace {namespace}"));
    let message = match hint {
        Hint::None => {
            let error = error.to_string();
            let why = error.rsplit(": ").next().unwrap_or_default();
            format!("`{host}` does not resolve ({why}); is the name right, and does this machine know it?")
        }
        Hint::Outside => format!(
            "`{host}` does not resolve here: it is the name of a Service, which only the cluster knows. Check from there (add --job \
             --image IMAGE, and pipe into kubectl apply -f -), or forward the port (kubectl port-forward{option} service/{service} \
             {port}:{port}) and add --connect-to {host}:{port}=localhost:{port}"
        ),
        Hint::Inside => format!(
            "`{host}` does not resolve: there is no such Service{}; is it deployed, and in this namespace? -n NAMESPACE writes \
             addresses with their namespace",
            namespace.map_or_else(String::new, |namespace| format!(" in the namespace `{namespace}`"))
        ),
    };
    Failure { again: hint == Hint::None, ..Failure::new(Stage::Dns, message) }
}

fn refused(peer: &str, port: u16, address: SocketAddr, error: &io::Error) -> Failure {
    let message = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!(
                "{peer} ({}) refuses the connection: nothing listens on port {port}; is it running, and is the port right?",
                address.ip()
            )
        }
        _ => format!(
            "{peer} ({}) cannot be connected to: {error}; is there a route to it from this machine?",
            address.ip()
        ),
    };
    Failure { again: true, ..Failure::new(Stage::Connect, message) }
}

/// A failure as an answer. A certificate that does not pass is nobody's fault where the config does not verify either; but
/// nothing is sent from here to a server that cannot show who it is.
fn answered(attempt: &Attempt, failure: Failure) -> Answer {
    if failure.certificate && !attempt.tls.verify {
        return Answer::skipped(format!(
            "insecure: the config turns the verification of certificates off, and this check never does, so nothing was sent: {}",
            failure.message
        ));
    }
    Answer::unreachable(failure.stage, failure.message)
}

/// What is said of a check that ended well.
pub(super) fn noted(attempt: &Attempt, what: &str, peer: &Peer) -> String {
    let mut note = what.to_owned();
    if let Some(validity) = &peer.validity {
        note = format!("{note}; {validity}");
    }
    if !attempt.tls.verify {
        note.push_str("; insecure: the config turns the verification of certificates off, though this one passes");
    }
    note
}

/// The innermost error of a kind below another.
pub(super) fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // An I/O error hides what it wraps from `source`.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// Runs every step at the same time, and tells a person at a terminal how far it is.
pub(super) async fn all(steps: Vec<Step>, net: Net, limit: Duration) -> Vec<Entry> {
    let net = Arc::new(net);
    let end = Instant::now() + limit;
    let running: Vec<_> = steps
        .into_iter()
        .map(|step| match step.act {
            Act::Known(answer) => (step.entry.answered(answer), None),
            Act::Try(attempt) => {
                let net = Arc::clone(&net);
                let task = tokio::spawn(async move {
                    let begun = Instant::now();
                    let answer = net.attempt(&attempt, end).await;
                    (answer, begun.elapsed())
                });
                (step.entry, Some(task))
            }
        })
        .collect();
    let count = running.iter().filter(|(_, task)| task.is_some()).count();
    let mut done = 0;
    let mut entries = Vec::new();
    for (mut entry, task) in running {
        if let Some(task) = task {
            let line = format!("{} of {count} done; waiting for {}: {}", done, entry.backend, entry.check);
            console::status(&net.hidden.text(&line));
            match task.await {
                Ok((answer, took)) => {
                    entry.answer = answer;
                    entry.took = Some(took);
                }
                Err(error) => {
                    entry.answer = Answer::unreachable(
                        Stage::Protocol,
                        format!("the check itself failed: {error}; please report it"),
                    );
                }
            }
            done += 1;
        }
        entries.push(entry);
    }
    if count > 0 {
        console::status("");
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_detour() {
        let one = detour("a:1=[::1]:2").unwrap();
        assert_eq!((one.from, one.to), (("a".into(), 1), ("::1".into(), 2)));
        for text in ["a:1", "a=b", "a:1=b", ":1=b:2", "a:x=b:2"] {
            assert!(detour(text).is_err(), "{text}");
        }
    }
}
