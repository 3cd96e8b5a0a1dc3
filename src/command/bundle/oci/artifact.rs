//! The artifact: an image manifest of OCI 1.1 with the empty config and the bundle's archive as its one layer.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};

use super::registry::Registry;
use super::{Pull, Push};
use crate::archive;
use crate::bundle::{Bundle, Library};
use crate::command::bundle::Own;
use crate::select::Kind;
use crate::write;

/// What an artifact of ours is.
const ARTIFACT: &str = "application/vnd.floe.bundle.v1";
/// What its layer is.
const LAYER: &str = "application/vnd.floe.bundle.v1.tar";
/// What OCI calls a config that says nothing, and its content.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const EMPTY_CONTENT: &[u8] = b"{}";

/// A bundle with the archive that holds it.
struct Packed {
    kind: Kind,
    name: String,
    bundle: Bundle,
    bytes: Vec<u8>,
}

impl Packed {
    fn read(shown: &str, bytes: Vec<u8>) -> Result<Self> {
        let (kind, name, bundle) = Library::packed(shown, &bytes)?;
        Ok(Packed { kind, name, bundle, bytes })
    }

    /// The name that `bundle pack` gives the archive.
    fn file(&self) -> String {
        format!("{}-{}-{}.tar", self.kind, self.name, self.bundle.meta.version)
    }

    /// The manifest, with nothing in it that changes from push to push.
    fn manifest(&self) -> OciImageManifest {
        let note = |what: &str, text: String| BTreeMap::from([(format!("org.opencontainers.image.{what}"), text)]);
        let layer = OciDescriptor { annotations: Some(note("title", self.file())), ..descriptor(LAYER, &self.bytes) };
        let mut annotations = note("title", format!("{}/{}", self.kind, self.name));
        annotations.append(&mut note("version", self.bundle.meta.version.to_string()));
        OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            artifact_type: Some(ARTIFACT.to_owned()),
            config: descriptor(EMPTY, EMPTY_CONTENT),
            layers: vec![layer],
            annotations: Some(annotations),
            ..OciImageManifest::default()
        }
    }

    fn report(&self, shown: &str, manifest: &str) -> String {
        format!(
            "{shown}: {}/{} {}, {} bytes\n  manifest {manifest}\n  archive  {}\n  bundle   {}\n",
            self.kind,
            self.name,
            self.bundle.meta.version,
            self.bytes.len(),
            archive::digest(&self.bytes),
            self.bundle.digest
        )
    }
}

fn descriptor(media_type: &str, content: &[u8]) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.to_owned(),
        digest: archive::digest(content),
        size: content.len().try_into().unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}

impl Push {
    pub(in super::super) fn run(&self, out: &mut impl Write, _: &mut impl Write) -> Result<i32> {
        let registry = Registry::at(&self.reference, &self.access)?;
        registry.takes_a_push()?;
        let shown = self.bundle.display().to_string();
        let bytes = if self.bundle.is_file() {
            archive::load("", &self.bundle)?
        } else {
            let own = Own::at(&self.bundle)?;
            archive::write(own.kind, &own.name, own.library.get(own.kind, &own.name)?.files())?
        };
        // A folder's archive is read back too: what is pushed can be pulled.
        let packed = Packed::read(&shown, bytes)?;
        let manifest = packed.manifest();
        let text = serde_json::to_vec(&manifest)?;
        let digest = archive::digest(&text);
        let blobs = [(&manifest.config, EMPTY_CONTENT), (&manifest.layers[0], &packed.bytes)];
        registry.push(&blobs, text)?;
        write::print_text(&packed.report(&self.reference, &digest), out)?;
        Ok(0)
    }
}

impl Pull {
    pub(in super::super) fn run(&self, out: &mut impl Write, _: &mut impl Write) -> Result<i32> {
        let shown = &self.reference;
        let registry = Registry::at(shown, &self.access)?;
        let text = registry.manifest()?;
        let layer = layer(shown, &text)?;
        let size = u64::try_from(layer.size).unwrap_or(u64::MAX);
        if size > archive::MAX_BYTES as u64 {
            bail!("{shown}: the archive has {size} bytes; the limit is {}", archive::MAX_BYTES);
        }
        let packed = Packed::read(shown, registry.blob(&layer.digest, usize::try_from(size)?)?)?;
        let path = self.output.clone().unwrap_or_else(|| PathBuf::from(packed.file()));
        let file = path.display();
        fs::write(&path, &packed.bytes).with_context(|| format!("{file}: cannot be written"))?;
        write::print_text(&packed.report(&file.to_string(), &archive::digest(&text)), out)?;
        Ok(0)
    }
}

/// The layer of a manifest, which must be that of an artifact of ours.
fn layer(shown: &str, manifest: &[u8]) -> Result<OciDescriptor> {
    let found: Option<OciImageManifest> = serde_json::from_slice(manifest).ok();
    let artifact = found.as_ref().and_then(|found| found.artifact_type.as_deref()).unwrap_or("another type");
    match found.as_ref().map(|found| found.layers.as_slice()) {
        Some([layer]) if artifact == ARTIFACT && layer.media_type == LAYER => Ok(layer.clone()),
        _ if artifact == ARTIFACT => {
            bail!(
                "{shown}: an artifact of a bundle has one layer of type {LAYER}; push it with `floe-render bundle push`"
            )
        }
        _ => bail!("{shown}: not a bundle ({ARTIFACT}) but {artifact}; `floe-render bundle push` makes one"),
    }
}
