//! `check` against servers on loopback that behave and misbehave: each gives the right class, exit code and message.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

const KEY: &str = "s3cr3t-value/of+the=key";

/// A server on loopback; what it is sent is kept.
struct Server {
    port: u16,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Hands each connection to `serve`, in a thread of its own.
    fn new(serve: impl Fn(TcpStream, &Mutex<String>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(String::new()));
        let (serve, kept) = (Arc::new(serve), Arc::clone(&log));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serve, kept) = (Arc::clone(&serve), Arc::clone(&kept));
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Server { port, log }
    }

    /// Answers every request with these bytes.
    fn answering(response: &str) -> Self {
        let response = response.replace('\n', "\r\n");
        Server::new(move |mut stream, log| {
            read_request(&mut stream, log);
            let _ = stream.write_all(response.as_bytes());
            // What is closed with something unread is reset, and the answer may go with it.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        })
    }

    fn status(status: &str) -> Self {
        Server::answering(&format!("HTTP/1.1 {status}\nContent-Length: 0\n\n"))
    }

    /// Speaks TLS with this certificate, then answers 200.
    fn tls(identity: &Identity) -> Self {
        let config = Arc::new(identity.config());
        Server::new(move |stream, log| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            read_request(&mut stream, log);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    fn received(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut impl Read, log: &Mutex<String>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    log.lock().unwrap().push_str(&String::from_utf8_lossy(&request));
}

/// A certificate with its key, and the authority that signed it.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    authority: String,
}

impl Identity {
    /// Signed by an authority of its own.
    fn signed(name: &str, change: impl Fn(&mut CertificateParams)) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let own = params.signed_by(&key, &issuer).unwrap();
        Identity { chain: vec![own.der().clone()], key: key.serialize_der(), authority: certificate.pem() }
    }

    fn self_signed() -> Self {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        Identity { chain: vec![own.der().clone()], key: key.serialize_der(), authority: own.pem() }
    }

    fn config(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), PrivateKeyDer::Pkcs8(self.key.clone().into()))
            .unwrap()
    }

    /// The authority in a file for `--ca-file`.
    fn file(&self, dir: &Path) -> PathBuf {
        let path = dir.join("ca.pem");
        std::fs::write(&path, &self.authority).unwrap();
        path
    }
}

/// What a run of the program gave.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn check(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_floe-render"))
        .arg("check")
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The last check of a run: the others are those of the variables.
fn last(run: &Run) -> Value {
    let document: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}{}", run.stdout, run.stderr));
    assert_eq!(document["exit_code"].as_i64(), run.code.map(i64::from));
    document["checks"].as_array().unwrap().last().unwrap().clone()
}

/// Checks a lineage backend over HTTP at an address, with the key as a bearer token.
fn lineage(url: &str, more: &[&str], environment: &[(&str, &str)]) -> Run {
    let set = format!("lineage.url={url},lineage.check_path=/health,lineage.auth.type=api_key");
    let mut arguments = vec!["--lineage", "http", "--set", &set, "--format", "json"];
    arguments.extend(more);
    let environment: Vec<_> = environment.iter().copied().chain([("LINEAGE_HTTP_API_KEY", KEY)]).collect();
    check(&arguments, &environment)
}

/// Asserts class, exit code, stage and the whole message, in which the port is `PORT`.
#[track_caller]
fn assert_answer(run: &Run, port: u16, code: i32, stage: &str, message: &str) {
    let answer = last(run);
    let said = answer["message"].as_str().unwrap().replace(&port.to_string(), "PORT");
    assert_eq!(said, message, "{answer}");
    assert_eq!(answer["stage"].as_str().unwrap_or("-"), stage, "{answer}");
    let class = match code {
        4 => "ConnectionError",
        5 => "CredentialError",
        _ => "-",
    };
    assert_eq!(answer["error"].as_str().unwrap_or("-"), class, "{answer}");
    assert_eq!(run.code, Some(code), "{answer}");
}

#[track_caller]
fn assert_status(status: &str, code: i32, message: &str) {
    let server = Server::status(status);
    let run = lineage(&format!("http://127.0.0.1:{}", server.port), &[], &[]);
    assert_answer(&run, server.port, code, if code == 0 { "-" } else { "status" }, message);
}

#[test]
fn a_backend_that_answers_is_ok() {
    let server = Server::status("200 OK");
    let run = lineage(&format!("http://127.0.0.1:{}", server.port), &[], &[]);
    assert_answer(&run, server.port, 0, "-", "200");
    let request = server.received();
    assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("authorization: Bearer {KEY}\r\n")), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{request}");
}

#[test]
fn a_refused_credential_names_its_variable_and_its_secret() {
    for (status, code) in [("401 Unauthorized", "401"), ("403 Forbidden", "403")] {
        assert_status(
            status,
            5,
            &format!(
                "`127.0.0.1:PORT` refuses with {code}; it was sent `LINEAGE_HTTP_API_KEY` (in the cluster key `api-key` of Secret \
                 `floe-http`): is that value valid for this address, not expired, and allowed to do this?"
            ),
        );
    }
}

#[test]
fn an_unexpected_status_is_a_connection_error() {
    assert_status(
        "404 Not Found",
        4,
        "`127.0.0.1:PORT` answers 404 (Not Found) to `/health`, not 200; is the address right? Another server may answer there, or \
         the path has a prefix",
    );
    assert_status(
        "500 Internal Server Error",
        4,
        "`127.0.0.1:PORT` answers 500 (Internal Server Error) to `/health`, not 200; the server itself fails: look into its log",
    );
    assert_status(
        "503 Service Unavailable",
        4,
        "`127.0.0.1:PORT` answers 503 (Service Unavailable) to `/health`, not 200; what is in front of the backend does not reach \
         it: is the backend running?",
    );
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Server::status("200 OK");
    let answer = format!(
        "HTTP/1.1 302 Found\nLocation: http://127.0.0.1:{}/login?token=abc\nContent-Length: 0\n\n",
        elsewhere.port
    );
    let server = Server::answering(&answer);
    let run = lineage(&format!("http://127.0.0.1:{}", server.port), &[], &[]);
    assert_answer(
        &run,
        server.port,
        4,
        "status",
        "`127.0.0.1:PORT` answers 302 (Found) to `/health`, not 200; it redirects to http://127.0.0.1, which is not followed, since \
         the credential would go along: set the address that is meant",
    );
    assert_eq!(elsewhere.received(), "");
}

#[test]
fn a_closed_port_is_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begun = Instant::now();
    let run = lineage(&format!("http://127.0.0.1:{port}"), &[], &[]);
    assert!(begun.elapsed() >= Duration::from_millis(600), "two pauses, of 200 and 400 ms");
    assert_answer(
        &run,
        port,
        4,
        "connect",
        "`127.0.0.1:PORT` (127.0.0.1) refuses the connection: nothing listens on port PORT; is it running, and is the port right?",
    );
    let begun = Instant::now();
    lineage(&format!("http://127.0.0.1:{port}"), &["--retries", "0"], &[]);
    assert!(begun.elapsed() < Duration::from_millis(600));
}

#[test]
fn an_unknown_name_does_not_resolve() {
    let run = lineage("http://backend.invalid:5000", &["--retries", "0"], &[]);
    let answer = last(&run);
    let message = answer["message"].as_str().unwrap();
    // What the resolver says differs between machines.
    assert!(message.starts_with("`backend.invalid` does not resolve ("), "{message}");
    assert!(message.ends_with("); is the name right, and does this machine know it?"), "{message}");
    assert_eq!((answer["stage"].as_str(), run.code), (Some("dns"), Some(4)));
}

#[test]
fn a_service_of_the_cluster_is_recognised() {
    let run = check(&["--lineage", "marquez", "-n", "floe", "--format", "json"], &[]);
    assert_answer(
        &run,
        5000,
        4,
        "dns",
        "`marquez.floe.svc` does not resolve here: it is the name of a Service, which only the cluster knows. Check from there (add \
         --job --image IMAGE, and pipe into kubectl apply -f -), or forward the port (kubectl port-forward --namespace floe \
         service/marquez PORT:PORT) and add --connect-to marquez.floe.svc:PORT=localhost:PORT",
    );
    let inside = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("MARQUEZ_DB_PASSWORD", KEY)];
    let run = check(&["--lineage", "marquez", "-n", "floe", "--format", "json"], &inside);
    assert_answer(
        &run,
        5000,
        4,
        "dns",
        "`marquez.floe.svc` does not resolve: there is no such Service in the namespace `floe`; is it deployed, and in this \
         namespace? -n NAMESPACE writes addresses with their namespace",
    );
}

#[test]
fn a_forwarded_port_stands_in_for_a_service() {
    let server = Server::status("200 OK");
    let to = format!("marquez:5000=localhost:{}", server.port);
    let run = check(&["--lineage", "marquez", "--connect-to", &to, "--format", "json"], &[]);
    assert_answer(&run, server.port, 0, "-", "200");
    assert!(server.received().contains("host: marquez:5000\r\n"), "{}", server.received());
}

#[test]
fn a_slow_backend_runs_into_the_limit() {
    let server = Server::new(|mut stream, log| {
        read_request(&mut stream, log);
        thread::sleep(Duration::from_secs(30));
    });
    let begun = Instant::now();
    let run = lineage(&format!("http://127.0.0.1:{}", server.port), &["--timeout", "0.5"], &[]);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_answer(
        &run,
        server.port,
        4,
        "timeout",
        "`127.0.0.1:PORT` did not answer the request within 0.5 seconds; is it overloaded, or a proxy in the way? Raise --timeout if \
         it is only slow",
    );
    assert_eq!(server.received().matches("GET /health").count(), 1, "a slow answer is not asked for again");
}

#[test]
fn the_overall_limit_ends_every_check() {
    let server = Server::new(|_stream, _| thread::sleep(Duration::from_secs(30)));
    let begun = Instant::now();
    let run = lineage(&format!("https://127.0.0.1:{}", server.port), &["--overall-timeout", "0.5"], &[]);
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert_eq!((last(&run)["stage"].as_str(), run.code), (Some("timeout"), Some(4)));
}

#[test]
fn a_backend_that_resets_is_a_connection_error() {
    let server = Server::new(|mut stream, log| {
        read_request(&mut stream, log);
        let _ = stream.shutdown(Shutdown::Both);
    });
    let run = lineage(&format!("http://127.0.0.1:{}", server.port), &[], &[]);
    assert_answer(
        &run,
        server.port,
        4,
        "connect",
        "the connection to `127.0.0.1:PORT` was closed before it answered; look into the server's log, or for a firewall or proxy on \
         the way",
    );
    assert_eq!(server.received().matches("GET /health").count(), 3, "it is tried again");

    // What was sent and not read makes the system send a reset.
    let server = Server::new(|stream, _| {
        thread::sleep(Duration::from_millis(200));
        drop(stream);
    });
    let run = lineage(&format!("http://127.0.0.1:{}", server.port), &["--retries", "0"], &[]);
    assert_answer(
        &run,
        server.port,
        4,
        "connect",
        "the connection to `127.0.0.1:PORT` was reset before it answered; look into the server's log, or for a firewall or proxy on \
         the way",
    );
}

#[test]
fn a_backend_that_speaks_something_else_is_a_connection_error() {
    let server = Server::new(|mut stream, log| {
        read_request(&mut stream, log);
        let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n\x00\xff\r\n\r\n");
    });
    let run = lineage(&format!("http://127.0.0.1:{}", server.port), &[], &[]);
    assert_answer(
        &run,
        server.port,
        4,
        "protocol",
        "`127.0.0.1:PORT` does not speak HTTP; is that the right port, and does it want TLS?",
    );
    let server = Server::new(|mut stream, log| {
        let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n");
        read_request(&mut stream, log);
    });
    let run = lineage(&format!("https://127.0.0.1:{}", server.port), &[], &[]);
    assert_answer(&run, server.port, 4, "tls", "`127.0.0.1:PORT` does not speak TLS; is it a port for plain text?");
}

#[test]
fn a_certificate_that_passes_is_counted_in_days() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::signed("localhost", |params| {
        params.not_after = rcgen::date_time_ymd(4000, 1, 1);
    });
    let server = Server::tls(&identity);
    let file = identity.file(dir.path());
    let url = format!("https://localhost:{}", server.port);
    let run = lineage(&url, &["--ca-file", file.to_str().unwrap()], &[]);
    let answer = last(&run);
    let message = answer["message"].as_str().unwrap();
    assert!(message.starts_with("200; certificate valid for 7") && message.ends_with(" days"), "{message}");
    assert_eq!(run.code, Some(0));
}

#[test]
fn a_certificate_that_does_not_pass_is_a_connection_error() {
    let dir = tempfile::tempdir().unwrap();
    let check_tls = |identity: &Identity, trusted: bool, message: &str| {
        let server = Server::tls(identity);
        let file = identity.file(dir.path());
        let more = ["--ca-file", file.to_str().unwrap()];
        let run = lineage(&format!("https://localhost:{}", server.port), if trusted { &more } else { &[] }, &[]);
        assert_answer(&run, server.port, 4, "tls", message);
        assert_eq!(server.received(), "", "nothing is sent to a server that cannot show who it is");
    };
    let expired = Identity::signed("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let days = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400 - 18_262;
    check_tls(&expired, true, &format!("`localhost:PORT` shows a certificate that expired {days} days ago; renew it"));
    check_tls(
        &Identity::signed("other.example.com", |_| {}),
        true,
        "`localhost:PORT` shows a certificate for `other.example.com`, not for `localhost`; is the address right? Else the \
         certificate needs that name",
    );
    check_tls(
        &Identity::signed("localhost", |_| {}),
        false,
        "`localhost:PORT` shows a certificate that no trusted authority signed; if it is your own authority's, give that one's \
         certificate with --ca-file",
    );
    check_tls(
        &Identity::self_signed(),
        false,
        "`localhost:PORT` shows a certificate that no trusted authority signed; if it is your own authority's, give that one's \
         certificate with --ca-file",
    );
}

#[test]
fn verification_that_the_config_turns_off_stays_on_here() {
    let identity = Identity::self_signed();
    let server = Server::tls(&identity);
    let dir = tempfile::tempdir().unwrap();
    let patches = dir.path().join("insecure.yaml");
    std::fs::write(
        &patches,
        "render: {patches: {collector: {exporters: {otlp_http/otlp: {tls: {insecure_skip_verify: true}}}}}}\n",
    )
    .unwrap();
    let set = format!(
        "telemetry.protocol=http,telemetry.endpoint=https://localhost:{},telemetry.tls.enabled=true",
        server.port
    );
    let file = identity.file(dir.path());
    let run = |more: &[&str]| {
        let mut arguments =
            vec!["--telemetry", "otlp", "--set", &set, "-f", patches.to_str().unwrap(), "--format", "json"];
        arguments.extend(more);
        check(&arguments, &[])
    };
    assert_answer(
        &run(&[]),
        server.port,
        0,
        "-",
        "insecure: the config turns the verification of certificates off, and this check never does, so nothing was sent: \
         `localhost:PORT` shows a certificate that no trusted authority signed; if it is your own authority's, give that one's \
         certificate with --ca-file",
    );
    assert_eq!(server.received(), "");
    let answer = last(&run(&["--ca-file", file.to_str().unwrap()]));
    let message = answer["message"].as_str().unwrap();
    assert!(message.starts_with("200; "), "{message}");
    assert!(
        message.ends_with("; insecure: the config turns the verification of certificates off, though this one passes"),
        "{message}"
    );
}

#[test]
fn a_proxy_is_used_as_the_variables_say() {
    let proxy = Server::status("200 OK");
    let address =
        format!("http://user:{KEY}@127.0.0.1:{}", proxy.port).replace('/', "%2F").replace("http:%2F%2F", "http://");
    let run = lineage("http://backend.example.com:5000", &[], &[("HTTP_PROXY", &address)]);
    assert_answer(&run, proxy.port, 0, "-", "200");
    let request = proxy.received();
    assert!(request.starts_with("GET http://backend.example.com:5000/health HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("proxy-authorization: Basic "), "{request}");

    let run = lineage("http://backend.invalid:5000", &[], &[("HTTP_PROXY", &address), ("NO_PROXY", ".invalid")]);
    assert_eq!(last(&run)["stage"], "dns");

    let proxy = Server::status("407 Proxy Authentication Required");
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let run = lineage("https://backend.example.com", &[], &[("HTTPS_PROXY", &address)]);
    assert_answer(
        &run,
        proxy.port,
        4,
        "proxy",
        "the proxy `127.0.0.1:PORT` does not open a way to `backend.example.com:443`: it answers 407 (Proxy Authentication \
         Required); put a user and a password into HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT)",
    );
    assert!(!proxy.received().contains(KEY), "the proxy gets no credential of the backend");

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("http://127.0.0.1:{port}");
    let run = lineage("https://backend.example.com", &["--retries", "0"], &[("HTTPS_PROXY", &address)]);
    assert_answer(
        &run,
        port,
        4,
        "proxy",
        "the proxy `127.0.0.1:PORT`, which HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names: `127.0.0.1:PORT` (127.0.0.1) refuses the \
         connection: nothing listens on port PORT; is it running, and is the port right?",
    );
}

#[test]
fn a_proxy_opens_a_way_for_tls() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::signed("backend.example.com", |_| {});
    let backend = Server::tls(&identity);
    let port = backend.port;
    let proxy = Server::new(move |mut stream, log| {
        read_request(&mut stream, log);
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        let mut to = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut back, mut there) = (stream.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut there, &mut back));
        let _ = std::io::copy(&mut stream, &mut to);
    });
    let file = identity.file(dir.path());
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let more = ["--ca-file", file.to_str().unwrap()];
    let run = lineage("https://backend.example.com", &more, &[("HTTPS_PROXY", &address)]);
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    assert!(proxy.received().starts_with("CONNECT backend.example.com:443 HTTP/1.1\r\n"), "{}", proxy.received());
    assert!(backend.received().contains(&format!("authorization: Bearer {KEY}\r\n")), "{}", backend.received());
    assert!(!proxy.received().contains(KEY));
}

/// A gRPC server that answers every export with a status, in the frames of HTTP/2: settings, headers, trailers.
fn grpc(status: &'static str) -> Server {
    Server::new(move |mut stream, log| {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        // The preface, settings, headers and the five bytes of an empty message.
        while !seen.windows(14).any(|window| window == b"\x00\x00\x05\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    if seen.is_empty() {
                        let _ = stream.write_all(&frame(4, 0, 0, &[]));
                        let _ = stream.write_all(&frame(4, 1, 0, &[]));
                    }
                    seen.extend_from_slice(&buffer[..count]);
                }
            }
        }
        log.lock().unwrap().push_str(&String::from_utf8_lossy(&seen));
        let mut headers = vec![0x88];
        headers.extend(field("content-type", "application/grpc"));
        let _ = stream.write_all(&frame(1, 4, 1, &headers));
        let _ = stream.write_all(&frame(1, 5, 1, &field("grpc-status", status)));
        thread::sleep(Duration::from_millis(500));
    })
}

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
}

/// A header field as HPACK writes it without its tables.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// Checks an OTLP endpoint with a key in a header.
fn otlp(protocol: &str, endpoint: &str) -> Run {
    let set = format!("telemetry.protocol={protocol},telemetry.endpoint={endpoint},telemetry.tls.enabled=false");
    let headers = r#"telemetry.headers={"x-api-key":"${env:OTLP_API_KEY}"}"#;
    let arguments = ["--telemetry", "otlp", "--set", &set, "--set-json", headers, "--format", "json"];
    check(&arguments, &[("OTLP_API_KEY", KEY)])
}

#[test]
fn an_empty_export_over_grpc() {
    let server = grpc("0");
    assert_answer(&otlp("grpc", &format!("127.0.0.1:{}", server.port)), server.port, 0, "-", "gRPC status OK");
    let server = grpc("16");
    assert_answer(
        &otlp("grpc", &format!("127.0.0.1:{}", server.port)),
        server.port,
        5,
        "status",
        "`127.0.0.1:PORT` refuses with gRPC status UNAUTHENTICATED; it was sent `OTLP_API_KEY` (in the cluster key `api-key` of Secret \
         `floe-otlp`): is that value valid for this address, not expired, and allowed to do this?",
    );
    let server = grpc("12");
    assert_answer(
        &otlp("grpc", &format!("127.0.0.1:{}", server.port)),
        server.port,
        4,
        "status",
        "`127.0.0.1:PORT` answers an empty export with gRPC status UNIMPLEMENTED: it takes no traces; is it the OTLP port of the \
         backend?",
    );
    let server = Server::status("200 OK");
    assert_answer(
        &otlp("grpc", &format!("127.0.0.1:{}", server.port)),
        server.port,
        4,
        "protocol",
        "`127.0.0.1:PORT` does not speak gRPC (HTTP/2); is that the right port, and does it want TLS?",
    );
}

#[test]
fn an_empty_export_over_http() {
    let server = Server::status("200 OK");
    assert_answer(&otlp("http", &format!("http://127.0.0.1:{}/otlp", server.port)), server.port, 0, "-", "200");
    let request = server.received();
    assert!(request.starts_with("POST /otlp/v1/traces HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("content-type: application/x-protobuf\r\n"), "{request}");
    assert!(request.contains(&format!("x-api-key: {KEY}\r\n")), "{request}");
    let server = Server::status("404 Not Found");
    assert_answer(
        &otlp("http", &format!("http://127.0.0.1:{}", server.port)),
        server.port,
        4,
        "status",
        "`127.0.0.1:PORT` answers 404 (Not Found) to an empty export to `/v1/traces`; is the address right? Another server may answer \
         there, or the path has a prefix",
    );
}

#[test]
fn a_patched_endpoint_is_the_one_that_is_checked() {
    let server = Server::status("200 OK");
    let dir = tempfile::tempdir().unwrap();
    let patches = dir.path().join("patches.yaml");
    let text = format!(
        "render: {{patches: {{collector: {{exporters: {{otlp_http/otlp: {{endpoint: 'http://127.0.0.1:{}'}}}}}}}}}}\n",
        server.port
    );
    std::fs::write(&patches, text).unwrap();
    let set = "telemetry.protocol=http,telemetry.endpoint=http://backend.invalid:4318,telemetry.tls.enabled=false";
    let arguments = ["--telemetry", "otlp", "--set", set, "-f", patches.to_str().unwrap(), "--format", "json"];
    assert_answer(&check(&arguments, &[]), server.port, 0, "-", "200");
    assert!(server.received().starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", server.received());
}

#[test]
fn a_broker_is_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::signed("localhost", |_| {});
    let server = Server::tls(&identity);
    let file = identity.file(dir.path());
    let servers = format!("lineage.bootstrap_servers=[\"localhost:{}\"]", server.port);
    let run = |more: &[&str]| {
        let mut arguments = vec!["--lineage", "kafka", "--set-json", &servers, "--format", "json"];
        arguments.extend(more);
        check(&arguments, &[])
    };
    assert_answer(&run(&["--set", "lineage.tls.enabled=false"]), server.port, 0, "-", "connected");
    let secured = run(&["--set", "lineage.tls.enabled=true", "--ca-file", file.to_str().unwrap()]);
    let answer = last(&secured);
    assert!(answer["message"].as_str().unwrap().starts_with("connected; certificate valid for "), "{answer}");
    assert_eq!((answer["kind"].as_str(), secured.code), (Some("tls"), Some(0)));
}

#[test]
fn a_credential_outranks_a_connection() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let set = format!("lineage.url=http://127.0.0.1:{port}");
    let both = ["--telemetry", "datadog", "--lineage", "http", "--set", &set, "--retries", "0"];
    assert_eq!(check(&both, &[]).code, Some(5));
    assert_eq!(check(&both[2..], &[]).code, Some(4));
}

#[test]
fn a_value_that_the_client_would_misread_is_reported() {
    let environment = [("ATLAN_HOST", "acme.atlan.com"), ("ATLAN_API_KEY", "quo\"ted")];
    let run = check(&["--lineage", "atlan", "--offline", "--format", "json"], &environment);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        document["checks"][0]["message"],
        "`ATLAN_API_KEY` (API token of Atlan) holds a `\"` or a `\\`: the OpenLineage client takes the variable \
         `OPENLINEAGE__TRANSPORT__AUTH__API_KEY` for JSON and would read another value than this; use a value without them, in key \
         `api-key` of Secret `floe-atlan` too"
    );
    assert_eq!(run.code, Some(5));
    assert!(!run.stdout.contains("quo"), "{}", run.stdout);
    for fine in ["1e5", "true", "{}", "with $ and $(X)"] {
        let environment = [("ATLAN_HOST", "acme.atlan.com"), ("ATLAN_API_KEY", fine)];
        let run = check(&["--lineage", "atlan", "--offline"], &environment);
        assert_eq!(run.code, Some(0), "{fine}: {}", run.stdout);
    }
}

#[test]
fn a_value_with_a_line_break_is_reported() {
    let run = check(&["--telemetry", "datadog", "--offline", "--format", "json"], &[("DD_API_KEY", "abcdef\n")]);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        document["checks"][0]["message"],
        "`DD_API_KEY` (API key of the Datadog organisation) ends with a line break, which a file that was read into it left there; \
         set it without that, and look whether key `api-key` of Secret `floe-datadog` has it too"
    );
    assert_eq!(run.code, Some(5));
}

#[test]
fn a_host_that_is_a_url_is_reported() {
    let environment = [("ATLAN_HOST", "https://acme.atlan.com"), ("ATLAN_API_KEY", KEY)];
    let run = check(&["--lineage", "atlan", "--format", "json"], &environment);
    assert_answer(
        &run,
        443,
        4,
        "url",
        "with the value of `ATLAN_HOST`, `https://${env:ATLAN_HOST}/api/service/users/current` has two schemes, so that a host is wanted and a URL \
         was given; write ATLAN_HOST as its description says",
    );
}

#[test]
fn aws_credentials_are_looked_for_where_the_sdk_does() {
    let home = tempfile::tempdir().unwrap();
    let set = "telemetry.region=eu-west-1";
    let run = |environment: &[(&str, &str)]| {
        let mut environment = environment.to_vec();
        environment.push(("HOME", home.path().to_str().unwrap()));
        let run = check(&["--telemetry", "aws-xray", "--set", set, "--offline", "--format", "json"], &environment);
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        (run.code, document["checks"][0]["message"].as_str().unwrap().to_owned())
    };
    let (code, message) = run(&[]);
    assert_eq!(code, Some(5));
    assert!(message.starts_with("no AWS credentials were found in variables, web identity, shared files"), "{message}");
    let (code, message) = run(&[("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", KEY)]);
    let found = "found in the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; not tried";
    assert_eq!((code, message.as_str()), (Some(0), found));
    let (code, message) = run(&[("AWS_ROLE_ARN", "r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")]);
    assert_eq!(code, Some(5));
    assert!(message.contains("names /nowhere/token, which is no file"), "{message}");
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/config"), "[profile prod]\nsso_session = x\n").unwrap();
    assert_eq!(run(&[]).0, Some(5));
    let (code, message) = run(&[("AWS_PROFILE", "prod")]);
    assert!(code == Some(0) && message.starts_with("found in profile `prod` of "), "{message}");
}

#[test]
fn secrets_are_in_no_output() {
    // A server that repeats what it was sent wherever it can.
    let echo = Server::new(|mut stream, log| {
        read_request(&mut stream, log);
        let answer =
            format!("HTTP/1.1 302 {KEY}\r\nLocation: http://{KEY}.example.com/{KEY}\r\nX-Key: {KEY}\r\n\r\n{KEY}");
        let _ = stream.write_all(answer.as_bytes());
    });
    let refusing = Server::status("401 Unauthorized");
    let garbage = Server::new(|mut stream, log| {
        read_request(&mut stream, log);
        let _ = stream.write_all(KEY.as_bytes());
    });
    let refusing_grpc = grpc("7");
    let headers = r#"telemetry.headers={"x-api-key":"${env:OTLP_API_KEY}"}"#;
    let mut outputs = Vec::new();
    for format in ["table", "json", "junit"] {
        for port in [echo.port, refusing.port, garbage.port, 1] {
            let set =
                format!("lineage.url=http://127.0.0.1:{port},lineage.check_path=/health,lineage.auth.type=api_key");
            let arguments = ["--lineage", "http", "--set", &set, "--format", format, "--retries", "0"];
            outputs.push(check(
                &arguments,
                &[("LINEAGE_HTTP_API_KEY", KEY), ("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")],
            ));
        }
        for value in [KEY.to_owned(), format!("{KEY}\n"), format!("{KEY}\"\\"), format!(" {KEY}")] {
            for backend in [["--lineage", "atlan"], ["--telemetry", "datadog"], ["--lineage", "openmetadata"]] {
                let environment = [
                    ("ATLAN_API_KEY", value.as_str()),
                    ("DD_API_KEY", value.as_str()),
                    ("OPENMETADATA_TOKEN", value.as_str()),
                    ("ATLAN_HOST", "acme.invalid"),
                ];
                outputs.push(check(&[&backend[..], &["--offline", "--format", format]].concat(), &environment));
                outputs.push(check(&[&backend[..], &["--job", "--image", "x"]].concat(), &environment));
            }
        }
        for (set, variable) in [
            (format!("telemetry.endpoint=127.0.0.1:{}", refusing_grpc.port), "OTLP_API_KEY"),
            (
                format!(
                    "telemetry.protocol=http,telemetry.endpoint=http://127.0.0.1:{},telemetry.auth.type=basic,\
                     telemetry.auth.username=u",
                    refusing.port
                ),
                "OTLP_PASSWORD",
            ),
        ] {
            let mut arguments = vec!["--telemetry", "otlp", "--set", "telemetry.tls.enabled=false", "--set", &set];
            arguments.extend(["--format", format]);
            if variable == "OTLP_API_KEY" {
                arguments.extend(["--set-json", headers]);
            }
            let run = check(&arguments, &[(variable, KEY)]);
            assert_eq!(run.code, Some(5), "{}{}", run.stdout, run.stderr);
            outputs.push(run);
        }
        let proxy = format!("http://user:{KEY}@127.0.0.1:1").replace("of+the=key", "of-the-key");
        let run = lineage("https://backend.example.com", &["--retries", "0"], &[("HTTPS_PROXY", &proxy)]);
        assert!(!run.stdout.contains("user:"), "{}", run.stdout);
        outputs.push(run);
    }
    assert!(outputs.len() > 40);
    for Run { stdout, stderr, .. } in outputs {
        assert!(!stdout.contains(KEY) && !stdout.contains("s3cr3t") && !stderr.contains("s3cr3t"), "{stdout}{stderr}");
    }
    assert!(echo.received().contains(KEY) && refusing.received().contains(KEY), "it was sent");
}

#[test]
fn a_credential_of_another_form_than_its_pattern_is_refused() {
    let receiver = "render.collector.receiver";
    let more = format!("{receiver}.auth.secret_name=a,{receiver}.tls.secret_name=b,{receiver}.tls.ca_secret_name=c");
    for (kind, name, value, fits) in [
        ("bearer", "FLOE_COLLECTOR_TOKEN", "a b,c=%", false),
        ("bearer", "FLOE_COLLECTOR_TOKEN", "aB0-._~", true),
        ("basic", "FLOE_COLLECTOR_BASIC", "user:password", false),
        ("basic", "FLOE_COLLECTOR_BASIC", "Zmxv", true),
        ("basic", "FLOE_COLLECTOR_BASIC", "dXNlcjpwYXNzd29yZA==", true),
    ] {
        let set = format!("{receiver}.auth.type={kind},{more}");
        let run = check(&["--telemetry", "console", "--offline", "--format", "json", "--set", &set], &[(name, value)]);
        let told = run.stdout.contains("holds something else: it must match");
        assert_eq!(told, !fits, "{name}={value}: {}", run.stdout);
        assert!(!run.stdout.contains("a b,c"), "the value is told: {}", run.stdout);
    }
}
