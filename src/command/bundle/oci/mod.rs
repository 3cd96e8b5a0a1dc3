//! `bundle push` and `bundle pull`: a bundle as an artifact in an OCI registry.
//!
//! The subcommands are there in every build, so that help, completions and manual pages are the same; the client is in builds
//! with the feature `oci`.

#[cfg(not(feature = "oci"))]
mod absent;
#[cfg(feature = "oci")]
mod artifact;
#[cfg(feature = "oci")]
mod registry;

use std::path::PathBuf;

use clap::Args;

/// Pushes a bundle to an OCI registry
#[derive(Clone, Debug, Args)]
#[cfg_attr(not(feature = "oci"), allow(dead_code, reason = "only the client reads them"))]
#[command(after_help = "Example:\n  \
        floe-render bundle push ours/telemetry/acme oci://registry.example.com/bundles/acme:0.1.0\n\n\
        Credentials are those of `docker login` (config.json in DOCKER_CONFIG or ~/.docker, helpers included). Needs a build \
        with the feature `oci`.")]
pub(super) struct Push {
    /// Folder of the bundle, or the archive of `bundle pack`
    #[arg(value_name = "DIR|ARCHIVE")]
    bundle: PathBuf,

    /// Where to: `oci://REGISTRY/REPOSITORY:TAG`
    #[arg(value_name = "REFERENCE")]
    reference: String,

    #[command(flatten)]
    access: Access,
}

/// Pulls a bundle from an OCI registry, and verifies its digests
#[derive(Clone, Debug, Args)]
#[cfg_attr(not(feature = "oci"), allow(dead_code, reason = "only the client reads them"))]
#[command(after_help = "Examples:\n  \
        floe-render bundle pull oci://registry.example.com/bundles/acme:0.1.0 -o acme.tar\n  \
        floe-render --bundles acme.tar --telemetry acme\n\n\
        A tag can be moved; a digest, as `bundle push` prints it, cannot. Credentials are those of `docker login` (config.json in \
        DOCKER_CONFIG or ~/.docker, helpers included). Needs a build with the feature `oci`.")]
pub(super) struct Pull {
    /// What: `oci://REGISTRY/REPOSITORY:TAG` or `oci://REGISTRY/REPOSITORY@sha256:DIGEST`
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// The archive [default: KIND-NAME-VERSION.tar]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    access: Access,
}

/// How to reach a registry.
#[derive(Clone, Debug, Args)]
#[cfg_attr(not(feature = "oci"), allow(dead_code, reason = "only the client reads them"))]
struct Access {
    /// Speak HTTP without TLS; only with a registry on this machine
    #[arg(long, conflicts_with = "ca_file")]
    plain_http: bool,

    /// File with certificates (PEM) of further authorities to trust, beside those of this machine; may be given several times
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
}
