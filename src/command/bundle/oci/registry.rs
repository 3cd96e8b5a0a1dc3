//! The registry: which one a reference names, who asks, and what its answers mean.

use std::env;
use std::fs::File;
use std::io::{BufReader, Cursor, ErrorKind};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use hyper::header::HeaderValue;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::runtime::Runtime;
use tokio_rustls::rustls::crypto::ring;

use super::Access;
use crate::command::check;

/// How long a connection may take, and how long a registry may say nothing.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

/// A repository of a registry, and a tag or a digest in it.
pub(super) struct Registry {
    /// The reference as it was given.
    shown: String,
    reference: Reference,
    client: Client,
    auth: RegistryAuth,
    runtime: Runtime,
}

impl Registry {
    /// The one that a reference names. Nothing is sent yet.
    pub(super) fn at(shown: &str, access: &Access) -> Result<Self> {
        let reference = reference(shown)?;
        let registry = reference.registry();
        if access.plain_http && !is_loopback(registry) {
            bail!(
                "--plain-http: `{registry}` is not this machine; leave it out, and give a private authority with --ca-file"
            );
        }
        let mut extra_root_certificates = Vec::new();
        for file in &access.ca_file {
            for certificate in check::authorities(file)? {
                let data = certificate.to_vec();
                extra_root_certificates.push(Certificate { encoding: CertificateEncoding::Der, data });
            }
        }
        // An error means that there is one already.
        let _ = ring::default_provider().install_default();
        // The client's own constructor panics later where this one fails, whatever --ca-file says.
        Client::try_from(ClientConfig::default()).map_err(|error| {
            anyhow!(
                "the authorities that this machine trusts cannot be read: {}; install ca-certificates",
                chain(&error)
            )
        })?;
        let client = Client::try_from(ClientConfig {
            protocol: if access.plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("floe-render/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        })
        .map_err(|error| anyhow!("no connection can be opened on this machine: {}", chain(&error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no connection can be opened on this machine")?;
        Ok(Registry { shown: shown.to_owned(), auth: credentials(&reference)?, reference, client, runtime })
    }

    /// A digest cannot be chosen: it follows from what is pushed.
    pub(super) fn takes_a_push(&self) -> Result<()> {
        if self.reference.digest().is_some() {
            bail!("{}: a push names a tag; write oci://REGISTRY/REPOSITORY:TAG, and the digest is printed", self.shown);
        }
        Ok(())
    }

    /// Pushes blobs, and then the manifest that names them.
    pub(super) fn push(&self, blobs: &[(&OciDescriptor, &[u8])], manifest: Vec<u8>) -> Result<()> {
        let pushed = self.runtime.block_on(async {
            self.sign_in().await;
            for (descriptor, content) in blobs {
                self.client.push_blob(&self.reference, content.to_vec(), &descriptor.digest).await?;
            }
            let media_type = HeaderValue::from_static(OCI_IMAGE_MEDIA_TYPE);
            self.client.push_manifest_raw(&self.reference, manifest, media_type).await
        });
        pushed.map(drop).map_err(|error| self.told(&error))
    }

    /// The manifest's bytes, which have the digest that was asked for.
    pub(super) fn manifest(&self) -> Result<Vec<u8>> {
        let pulled = self.runtime.block_on(async {
            self.client.pull_manifest_raw(&self.reference, &self.auth, &[OCI_IMAGE_MEDIA_TYPE]).await
        });
        pulled.map(|(bytes, _)| bytes.to_vec()).map_err(|error| self.told(&error))
    }

    /// The blob of a digest and a size. No more than that is kept, and only from the registry itself, whatever other
    /// addresses a manifest names.
    pub(super) fn blob(&self, digest: &str, size: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        let mut room = Cursor::new(bytes.as_mut_slice());
        let pulled = self.runtime.block_on(async {
            self.sign_in().await;
            self.client.pull_blob(&self.reference, digest, &mut room).await
        });
        let full = room.position() == size as u64;
        match pulled {
            Ok(()) if full => Ok(bytes),
            Err(OciDistributionError::IoError(error)) if error.kind() == ErrorKind::WriteZero => {
                bail!("{}: the archive is larger than the {size} bytes of the manifest; push it again", self.shown)
            }
            Ok(()) => {
                bail!("{}: the archive is smaller than the {size} bytes of the manifest; push it again", self.shown)
            }
            Err(error) => Err(self.told(&error)),
        }
    }

    async fn sign_in(&self) {
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
    }

    /// What a failure means, and what to do next.
    fn told(&self, error: &OciDistributionError) -> anyhow::Error {
        use OciDistributionError as E;
        let Registry { shown, reference, .. } = self;
        let registry = reference.registry();
        let refused = || match self.auth {
            RegistryAuth::Anonymous => {
                anyhow!("{shown}: the registry wants credentials; run `docker login {registry}`, whose file is read")
            }
            _ => anyhow!(
                "{shown}: the registry refuses the credentials; run `docker login {registry}` again, or ask for the right"
            ),
        };
        let missing = || {
            anyhow!(
                "{shown}: the registry has nothing under this name; is the repository right, and the tag or digest?"
            )
        };
        match error {
            E::UnauthorizedError { .. } | E::AuthenticationFailure(_) | E::ServerError { code: 401 | 403, .. } => {
                refused()
            }
            E::RegistryError { envelope, .. } => {
                let has = |codes: &[OciErrorCode]| envelope.errors.iter().any(|error| codes.contains(&error.code));
                if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                    refused()
                } else if has(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound]) {
                    missing()
                } else {
                    anyhow!("{shown}: the registry refuses: {}", chain(error))
                }
            }
            E::ImageManifestNotFoundError(_) | E::ServerError { code: 404, .. } => missing(),
            E::DigestError(_) => anyhow!(
                "{shown}: what the registry gives is not what its digest says ({}); do not use it, and have it pushed again",
                chain(error)
            ),
            E::RequestError(_) => anyhow!(
                "{shown}: {}; is the registry there? A private authority is given with --ca-file, and a registry without TLS on \
                 this machine is reached with --plain-http",
                chain(error)
            ),
            _ => anyhow!("{shown}: {}", chain(error)),
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// What `oci://registry/repository:tag` names. Nothing is filled in: no registry, and no tag.
fn reference(shown: &str) -> Result<Reference> {
    let form = "write oci://REGISTRY/REPOSITORY:TAG";
    let Some(rest) = shown.strip_prefix("oci://") else {
        bail!("`{shown}`: not a reference to a registry; {form}");
    };
    let found: Reference = rest.parse().map_err(|error| anyhow!("`{shown}`: {error}; {form}"))?;
    let host = rest.split('/').next().unwrap_or_default();
    if !(host == "localhost" || host.contains(['.', ':'])) || !rest.contains('/') {
        bail!("`{shown}`: names no registry; {form}");
    }
    let tagged = rest.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if found.digest().is_none() && !tagged {
        bail!("`{shown}`: names no tag; {form}, or …@sha256:DIGEST to pull");
    }
    Ok(found)
}

/// Whether a registry is on this machine, where nobody listens in.
fn is_loopback(registry: &str) -> bool {
    let host = registry.split_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

/// The credentials that `docker login` keeps for a registry, with the helpers that it uses; none if there are none.
fn credentials(reference: &Reference) -> Result<RegistryAuth> {
    let registry = reference.registry();
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".docker"));
    let Some(file) = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home).map(|dir| dir.join("config.json"))
    else {
        return Ok(RegistryAuth::Anonymous);
    };
    let shown = file.display();
    let config = match File::open(&file) {
        Ok(config) => BufReader::new(config),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        Err(error) => bail!("{shown}: cannot be read: {error}"),
    };
    // Docker Hub's are kept under the address of its first API.
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    match docker_credential::get_credential_from_reader(config, server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => bail!(
            "{shown}: keeps an identity token for `{registry}`, which this client cannot exchange; run `docker login {registry}` \
             with a user and an access token"
        ),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(RegistryAuth::Anonymous),
        // What every helper says that has none.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => {
            Ok(RegistryAuth::Anonymous)
        }
        // A helper's output may hold what it should not tell.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            bail!("{shown}: the helper `{helper}` fails for `{registry}`; does `docker login {registry}` work?")
        }
        Err(error) => bail!("{shown}: gives no credentials for `{registry}`: {error}; run `docker login {registry}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_registry_and_a_tag_or_a_digest() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for good in [
            "oci://localhost/acme:1",
            "oci://registry.example.com:5000/a/b:0.1.0",
            &format!("oci://r.example/a@{digest}"),
        ] {
            assert_eq!(reference(good).unwrap().whole(), good.trim_start_matches("oci://"));
        }
        for (bad, says) in [
            ("registry.example.com/acme:1", "not a reference"),
            ("oci://acme:1", "names no registry"),
            ("oci://bundles/acme:1", "names no registry"),
            ("oci://registry.example.com/acme", "names no tag"),
            ("oci://localhost:5000/acme", "names no tag"),
            ("oci://registry.example.com/Acme:1", "invalid reference format"),
            ("oci://registry.example.com/acme@sha256:00", "invalid reference format"),
        ] {
            let error = reference(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (registry, expected) in [
            ("localhost:5000", true),
            ("127.8.0.1", true),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
            ("registry.example.com", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }
}
