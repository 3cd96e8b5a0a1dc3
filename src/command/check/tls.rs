//! TLS: whom to trust, and what a failed handshake means.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore, crypto};
use x509_cert::der::Decode;

use super::answer::Stage;
use super::connection::Tls;
use super::net::Failure;

/// Fewer days than this are worth a word.
const SOON: u64 = 14;
const DAY: u64 = 86_400;

/// The certificates of a PEM file.
pub(in super::super) fn authorities(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = file.display();
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("--ca-file {shown}: cannot be read as PEM"))?;
    if found.is_empty() {
        bail!("--ca-file {shown}: holds no certificate; it must have `-----BEGIN CERTIFICATE-----`");
    }
    let mut roots = RootCertStore::empty();
    for one in &found {
        roots
            .add(one.clone())
            .with_context(|| format!("--ca-file {shown}: holds a certificate that cannot be read"))?;
    }
    Ok(found)
}

/// The client's side of a handshake: the authorities of Mozilla's programme, as in the images of the collector and in the
/// OpenLineage client, those of `--ca-file`, and the consumer's own file where this machine has it.
pub(super) fn config(tls: &Tls, more: &[CertificateDer<'static>], protocols: &[&str]) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(more.iter().cloned());
    if let Some(file) = &tls.ca_file
        && let Ok(own) = CertificateDer::pem_file_iter(file)
    {
        roots.add_parsable_certificates(own.flatten());
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(Stage::Tls, format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots);
    let mut config = match (&tls.cert_file, &tls.key_file) {
        // Without the files the server says whether it wants a certificate.
        (Some(cert), Some(key)) if Path::new(cert).is_file() && Path::new(key).is_file() => {
            let unusable =
                |why: String| Failure::new(Stage::Tls, format!("the client certificate {cert} cannot be used: {why}"));
            let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
                .and_then(Iterator::collect)
                .map_err(|error| unusable(error.to_string()))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(error.to_string()))?;
            versions.with_client_auth_cert(chain, key).map_err(|error| unusable(error.to_string()))?
        }
        _ => versions.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}

/// How long the peer's certificate is still good, in words.
pub(super) fn validity(chain: Option<&[CertificateDer<'_>]>) -> Option<String> {
    let certificate = x509_cert::Certificate::from_der(chain?.first()?.as_ref()).ok()?;
    let end = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    let days = end.saturating_sub(now()).as_secs() / DAY;
    Some(match days {
        0 => "the certificate expires within a day".to_owned(),
        1..SOON => format!("the certificate expires soon, in {}", count(days, "day")),
        _ => format!("certificate valid for {}", count(days, "day")),
    })
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// What a failed handshake means. `name` is the one that the certificate must be for.
pub(super) fn explain(error: &io::Error, peer: &str, name: &str, tls: &Tls) -> Failure {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::new(
                Stage::Tls,
                format!("{peer} closed the connection during the TLS handshake; does that port speak TLS?"),
            ),
            _ => Failure::broken(Stage::Tls, peer, "during the TLS handshake", error, ""),
        };
    };
    let certificate = |what: String| {
        let mut failure = Failure::new(Stage::Tls, format!("{peer} {what}"));
        failure.certificate = true;
        failure
    };
    match error {
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::ExpiredContext { not_after, .. } => {
                let days = now().as_secs().saturating_sub(not_after.as_secs()) / DAY;
                certificate(format!("shows a certificate that expired {} ago; renew it", count(days, "day")))
            }
            CertificateError::Expired => certificate("shows a certificate that has expired; renew it".to_owned()),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                certificate("shows a certificate that is not valid yet; is the clock of this machine right?".to_owned())
            }
            CertificateError::NotValidForName => {
                certificate(format!("shows a certificate that is not for `{name}`; {RENAME}"))
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<String> = presented.iter().map(|name| plain_name(name)).collect();
                certificate(format!("shows a certificate for {}, not for `{name}`; {RENAME}", names.join(", ")))
            }
            CertificateError::UnknownIssuer => certificate(format!(
                "shows a certificate that no trusted authority signed; {}",
                trust(tls, "if it is your own authority's, give that one's certificate with --ca-file")
            )),
            CertificateError::Revoked => certificate("shows a certificate that was revoked; replace it".to_owned()),
            CertificateError::Other(_) => certificate(format!(
                "shows a certificate that cannot stand for a server ({problem}); a self-signed one must not be an authority's: issue \
                 one for the server, {}",
                trust(tls, "and give its authority with --ca-file")
            )),
            other => certificate(format!("shows a certificate that does not pass: {other}; replace it")),
        },
        Error::AlertReceived(alert) => alerted(peer, &format!("{alert:?}"), tls),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            Failure::new(Stage::Tls, format!("{peer} does not speak TLS; is it a port for plain text?"))
        }
        other => Failure::new(
            Stage::Tls,
            format!("the TLS handshake with {peer} fails: {other}; does it speak TLS 1.2 or 1.3?"),
        ),
    }
}

const RENAME: &str = "is the address right? Else the certificate needs that name";

/// What an alert of the server means.
pub(super) fn alerted(peer: &str, alert: &str, tls: &Tls) -> Failure {
    let wanted =
        ["CertificateRequired", "BadCertificate", "UnknownCA", "AccessDenied", "HandshakeFailure"].contains(&alert);
    let next = match (&tls.cert_file, wanted) {
        (Some(file), true) => format!(
            "it may want another client certificate than {file}, which is read where it is mounted: --job runs this in the cluster"
        ),
        (None, true) => "it may want a client certificate, and the config gives none".to_owned(),
        _ => "does it speak TLS 1.2 or 1.3 for this name?".to_owned(),
    };
    Failure::new(Stage::Tls, format!("{peer} ends the TLS handshake with the alert {alert}; {next}"))
}

/// What to trust besides the public authorities.
fn trust(tls: &Tls, otherwise: &str) -> String {
    match &tls.ca_file {
        Some(file) if !Path::new(file).is_file() => {
            format!(
                "the config trusts {file}, which is mounted in the cluster only: give that certificate with --ca-file"
            )
        }
        Some(file) => format!("{file} was trusted too, and is not its authority's: put the right one into its Secret"),
        None => otherwise.to_owned(),
    }
}

/// `DnsName("a.example.com")` as people write it.
fn plain_name(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    format!("`{}`", inner.trim_matches('"'))
}
