//! Requests: plain HTTP, and empty OTLP exports over HTTP and gRPC. No redirect is followed: the credential would go along.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls;

use super::answer::{Answer, Stage};
use super::environment::Hidden;
use super::net::{Failure, Peer, Stream, cause, late, noted};
use super::plan::{Attempt, What};
use super::tls;

const AGENT: &str = concat!("floe-render/", env!("CARGO_PKG_VERSION"));

/// gRPC's statuses for a credential that is missing and for one that may not.
const GRPC_REFUSED: [u16; 2] = [16, 7];
/// An empty message: not compressed, no bytes.
const GRPC_EMPTY: [u8; 5] = [0; 5];

/// Asks what the attempt asks, and judges what comes back.
pub(super) async fn ask(
    attempt: &Attempt,
    stream: Box<dyn Stream>,
    peer: &Peer,
    deadline: Instant,
    limit: Duration,
    hidden: &Hidden,
) -> Result<Answer, Failure> {
    let exchange = async {
        match &attempt.what {
            What::OtlpGrpc { signal, headers } => grpc(attempt, peer, stream, signal, headers, hidden).await,
            What::OtlpHttp { headers } => {
                let protobuf = (header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
                let headers: Vec<_> = headers.iter().cloned().chain([protobuf]).collect();
                let reply = send(attempt, peer, stream, "POST", &headers, hidden).await?;
                Ok(judge_export(attempt, peer, &reply))
            }
            What::Http { method, headers, status, refused } => {
                let reply = send(attempt, peer, stream, method, headers, hidden).await?;
                Ok(judge(attempt, peer, &reply, *status, refused))
            }
            What::Answers => {
                let reply = send(attempt, peer, stream, "GET", &[], hidden).await?;
                Ok(judge_any(attempt, peer, &reply))
            }
            What::Connect { .. } => Ok(Answer::ok(noted(attempt, "connected", peer))),
        }
    };
    timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(late(&peer.name, "answer the request", limit)))
}

/// What a server answered over HTTP.
struct Reply {
    status: StatusCode,
    location: Option<String>,
}

impl Reply {
    fn of(response: &Response<Incoming>, hidden: &Hidden) -> Self {
        // Of a redirect only the origin: what follows may hold a token.
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(|text| {
            if hidden.text(text) != text {
                return "an address that repeats what it was sent".to_owned();
            }
            match text.parse::<Uri>() {
                Ok(uri) if uri.host().is_some() => {
                    format!("{}://{}", uri.scheme_str().unwrap_or("https"), uri.host().unwrap_or_default())
                }
                _ => "another path of the same server".to_owned(),
            }
        });
        Reply { status: response.status(), location }
    }
}

async fn send(
    attempt: &Attempt,
    peer: &Peer,
    stream: Box<dyn Stream>,
    method: &str,
    headers: &[(HeaderName, HeaderValue)],
    hidden: &Hidden,
) -> Result<Reply, Failure> {
    let broken = |error: hyper::Error| broken(&error, peer, "HTTP", attempt);
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driver = tokio::spawn(driver);
    let target = &attempt.target;
    // A proxy for plain requests takes the whole address, a server only the path.
    let uri = match &peer.forward {
        Some(_) => format!("http://{}{}", target.authority(), path(attempt)),
        None => path(attempt),
    };
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET))
        .uri(uri)
        .header(header::HOST, host(attempt))
        .header(header::USER_AGENT, AGENT)
        .header(header::ACCEPT, "*/*");
    if let Some(authorization) = peer.forward.as_ref().and_then(|forward| forward.authorization.as_ref()) {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::new())).map_err(|_| malformed(attempt))?;
    let response = sender.send_request(request).await.map_err(broken);
    driver.abort();
    Ok(Reply::of(&response?, hidden))
}

/// The path of the URL of the check.
fn path(attempt: &Attempt) -> String {
    attempt.target.path.clone()
}

/// The `Host` header: a port that the scheme implies is left out.
fn host(attempt: &Attempt) -> String {
    let target = &attempt.target;
    let implied = if target.tls { 443 } else { 80 };
    let authority = target.authority();
    if target.port == implied { authority.trim_end_matches(&format!(":{implied}")).to_owned() } else { authority }
}

fn malformed(attempt: &Attempt) -> Failure {
    let what =
        format!("no request can be made for {}{}; correct the URL", attempt.target.authority(), attempt.target.path);
    Failure::new(Stage::Url, what)
}

/// Judges the answer to a request whose status is known beforehand.
fn judge(attempt: &Attempt, peer: &Peer, reply: &Reply, expected: u16, refused: &[u16]) -> Answer {
    let got = reply.status.as_u16();
    if got == expected {
        return Answer::ok(noted(attempt, &got.to_string(), peer));
    }
    if refused.contains(&got) {
        return refusal(attempt, peer, &got.to_string());
    }
    let path = &attempt.target.path;
    Answer::unreachable(
        Stage::Status,
        format!("{peer} answers {} to `{path}`, not {expected}; {}", named(reply.status), status_step(reply)),
    )
}

/// Judges the answer to an empty export over HTTP: any success will do.
fn judge_export(attempt: &Attempt, peer: &Peer, reply: &Reply) -> Answer {
    match reply.status.as_u16() {
        code @ 200..=299 => Answer::ok(noted(attempt, &code.to_string(), peer)),
        code @ (401 | 403) => refusal(attempt, peer, &code.to_string()),
        _ => Answer::unreachable(
            Stage::Status,
            format!(
                "{} answers {} to an empty export to `{}`; {}",
                peer.name,
                named(reply.status),
                attempt.target.path,
                status_step(reply)
            ),
        ),
    }
}

/// Judges the answer to a request without a credential: that there is one is enough.
fn judge_any(attempt: &Attempt, peer: &Peer, reply: &Reply) -> Answer {
    let code = reply.status.as_u16();
    if code < 500 {
        return Answer::ok(noted(attempt, &format!("answers ({code} without a signature)"), peer));
    }
    let what = format!("{} answers {}; {}", peer.name, named(reply.status), status_step(reply));
    Answer::unreachable(Stage::Status, what)
}

fn refusal(attempt: &Attempt, peer: &Peer, status: &str) -> Answer {
    Answer::credential(Stage::Status, format!("{peer} refuses with {status}; {}", attempt.credential))
}

/// A status with its phrase.
fn named(status: StatusCode) -> String {
    status
        .canonical_reason()
        .map_or_else(|| status.as_str().to_owned(), |phrase| format!("{} ({phrase})", status.as_str()))
}

/// What to do about a status that was not expected.
fn status_step(reply: &Reply) -> String {
    match reply.status.as_u16() {
        300..=399 => {
            let to = reply.location.as_deref().unwrap_or("somewhere else");
            format!(
                "it redirects to {to}, which is not followed, since the credential would go along: set the address that is meant"
            )
        }
        401 | 403 => "it demands a credential, or refuses this one".to_owned(),
        404 | 405 => "is the address right? Another server may answer there, or the path has a prefix".to_owned(),
        407 => "the proxy wants a user and a password: put them into HTTP_PROXY (http://USER:PASSWORD@HOST:PORT)"
            .to_owned(),
        429 => "it limits requests: try again later".to_owned(),
        502..=504 => "what is in front of the backend does not reach it: is the backend running?".to_owned(),
        500..=599 => "the server itself fails: look into its log".to_owned(),
        _ => "is the address right, and the version of the backend?".to_owned(),
    }
}

/// An empty export over gRPC.
async fn grpc(
    attempt: &Attempt,
    peer: &Peer,
    stream: Box<dyn Stream>,
    signal: &str,
    headers: &[(HeaderName, HeaderValue)],
    hidden: &Hidden,
) -> Result<Answer, Failure> {
    let broken = |error: hyper::Error| broken(&error, peer, "gRPC (HTTP/2)", attempt);
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(broken)?;
    let driver = tokio::spawn(driver);
    let (package, service) = match signal {
        "metrics" => ("metrics", "MetricsService"),
        "logs" => ("logs", "LogsService"),
        _ => ("trace", "TraceService"),
    };
    let scheme = if attempt.target.tls { "https" } else { "http" };
    let uri = format!(
        "{scheme}://{}/opentelemetry.proto.collector.{package}.v1.{service}/Export",
        attempt.target.authority()
    );
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, AGENT);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from_static(&GRPC_EMPTY))).map_err(|_| malformed(attempt))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let reply = Reply::of(&response, hidden);
    let mut fields: HeaderMap = response.headers().clone();
    if reply.status == StatusCode::OK && !fields.contains_key("grpc-status") {
        let body = response.into_body().collect().await.map_err(broken)?;
        fields = body.trailers().cloned().unwrap_or_default();
    }
    driver.abort();
    let code: Option<u16> = fields.get("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(judge_grpc(attempt, peer, &reply, signal, code))
}

fn judge_grpc(attempt: &Attempt, peer: &Peer, reply: &Reply, signal: &str, code: Option<u16>) -> Answer {
    match (reply.status.as_u16(), code) {
        (200, Some(0)) => Answer::ok(noted(attempt, "gRPC status OK", peer)),
        (200, Some(code)) if GRPC_REFUSED.contains(&code) => refusal(
            attempt,
            peer,
            if code == 16 { "gRPC status UNAUTHENTICATED" } else { "gRPC status PERMISSION_DENIED" },
        ),
        (200, Some(12)) => Answer::unreachable(
            Stage::Status,
            format!(
                "{peer} answers an empty export with gRPC status UNIMPLEMENTED: it takes no {signal}; is it the OTLP port of the backend?"
            ),
        ),
        (200, Some(code)) => Answer::unreachable(
            Stage::Status,
            format!("{peer} answers an empty export of {signal} with gRPC status {code}; look into its log"),
        ),
        (200, None) => Answer::unreachable(
            Stage::Protocol,
            format!("{peer} answers, but not in gRPC: no status comes; is it the OTLP port of the backend?"),
        ),
        (code @ (401 | 403), _) => refusal(attempt, peer, &code.to_string()),
        _ => Answer::unreachable(
            Stage::Status,
            format!("{peer} answers {} to an empty export; {}", named(reply.status), status_step(reply)),
        ),
    }
}

/// A tunnel through a proxy, to what `CONNECT` names.
pub(super) async fn tunnel(
    stream: TokioIo<Box<dyn Stream>>,
    authority: &str,
    authorization: Option<HeaderValue>,
    peer: &str,
) -> Result<TokioIo<hyper::upgrade::Upgraded>, Failure> {
    let broken = |error: hyper::Error| {
        let failed = format!("{peer} does not speak HTTP, or breaks off: {error}; is it a proxy?");
        Failure { again: cause::<io::Error>(&error).is_some(), ..Failure::new(Stage::Proxy, failed) }
    };
    let (mut sender, driver) = http1::handshake(stream).await.map_err(broken)?;
    tokio::spawn(driver.with_upgrades());
    let mut request = Request::builder().method(Method::CONNECT).uri(authority).header(header::HOST, authority);
    if let Some(authorization) = authorization {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    let no = |what: String| Failure::new(Stage::Proxy, format!("{peer} {what}"));
    let request = request
        .body(Full::new(Bytes::new()))
        .map_err(|_| no(format!("cannot be asked for `{authority}`; correct the address")))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    if !status.is_success() {
        let next = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            "put a user and a password into HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT)"
        } else {
            "is it allowed there? A host that needs no proxy belongs into NO_PROXY"
        };
        return Err(no(format!("does not open a way to `{authority}`: it answers {}; {next}", named(status))));
    }
    hyper::upgrade::on(response).await.map(TokioIo::new).map_err(broken)
}

/// What a request that broke off means.
fn broken(error: &hyper::Error, peer: &Peer, protocol: &str, attempt: &Attempt) -> Failure {
    if let Some(rustls::Error::AlertReceived(alert)) = cause::<rustls::Error>(error) {
        return tls::alerted(&peer.name, &format!("{alert:?}"), &attempt.tls);
    }
    // A server for HTTP/1 may just hang up on what it does not understand.
    let doubt = match attempt.what {
        What::OtlpGrpc { .. } => format!("does that port speak {protocol}? Else "),
        _ => String::new(),
    };
    let broken = |error: &io::Error| Failure::broken(Stage::Connect, &peer.name, "before it answered", error, &doubt);
    if let Some(error) = cause::<io::Error>(error) {
        return broken(error);
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return broken(&io::ErrorKind::UnexpectedEof.into());
    }
    Failure::new(
        Stage::Protocol,
        format!("{peer} does not speak {protocol}; is that the right port, and does it want TLS?"),
    )
}
