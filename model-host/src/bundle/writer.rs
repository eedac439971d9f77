//! Writes a bundle so that it is there whole or not at all.

use std::path::PathBuf;

use fs_err as fs;

use super::files::{sha256_hex, sync_parent, write_synced};
use super::manifest::{FORMAT, FileEntry, Manifest, ModelSpec};
use super::{BundleError, MANIFEST_FILE, ModelId, ModelRef};

/// A bundle under construction, in a folder beside its final place; dropped unfinished,
/// it takes its files with it.
pub struct BundleWriter {
    model: ModelRef,
    origin: String,
    files: Vec<FileEntry>,
    temporary: PathBuf,
    destination: PathBuf,
}

impl BundleWriter {
    /// Starts the bundle `<models_dir>/<name>/<version>`. `origin` says where the model
    /// came from. A version that exists is refused.
    pub(super) fn new(models_dir: PathBuf, model: ModelRef, origin: String) -> Result<Self, BundleError> {
        let folder = models_dir.join(model.name.as_str());
        let destination = folder.join(model.version.as_str());
        if destination.exists() {
            return Err(BundleError::Exists(model));
        }
        // A leading dot keeps half-written folders out of every listing.
        let temporary = folder.join(format!(".{}-{}", model.version, uuid::Uuid::new_v4().simple()));
        fs::create_dir_all(&temporary).map_err(BundleError::io(&temporary))?;
        Ok(Self { model, origin, files: Vec::new(), temporary, destination })
    }

    /// The version that is being written.
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// Adds one file.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let name: ModelId = name.parse()?;
        let path = self.temporary.join(name.as_str());
        write_synced(&path, bytes).map_err(BundleError::io(&path))?;
        self.files.push(FileEntry { name, sha256: sha256_hex(bytes), bytes: bytes.len() as u64 });
        Ok(())
    }

    /// Writes the manifest and moves the bundle to its place.
    pub fn finish(mut self, spec: ModelSpec) -> Result<ModelRef, BundleError> {
        let path = self.temporary.join(MANIFEST_FILE);
        let manifest = Manifest {
            format: FORMAT,
            name: self.model.name.clone(),
            version: self.model.version.clone(),
            origin: std::mem::take(&mut self.origin),
            model: spec,
            files: std::mem::take(&mut self.files),
        };
        if let Some(reason) = manifest.contradiction() {
            return Err(BundleError::Inconsistent { path, reason });
        }
        let text = toml::to_string(&manifest)
            .map_err(|error| BundleError::Inconsistent { path: path.clone(), reason: error.to_string() })?;
        write_synced(&path, text.as_bytes()).map_err(BundleError::io(&path))?;
        sync_parent(&path).map_err(BundleError::io(&self.temporary))?;
        fs::rename(&self.temporary, &self.destination)
            .and_then(|()| sync_parent(&self.destination))
            .map_err(BundleError::io(&self.destination))?;
        Ok(manifest.model_ref())
    }
}

impl Drop for BundleWriter {
    fn drop(&mut self) {
        // After a successful rename there is nothing left to remove; after a failure the
        // remains are harmless, since their name is never listed.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}
