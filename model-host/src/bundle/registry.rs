//! Finds, checks and loads bundles.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::alias::{ALIAS_FILE, Aliases, ShadowAlias};
use super::files::{check_size, read_checked, verify};
use super::manifest::Manifest;
use super::{
    BundleError, BundleWriter, CrossEncoderSpec, EncoderSpec, INT8_GRAPH_FILE, IntentEncoder, IntentSpec,
    MANIFEST_FILE, ModelId, ModelRef, ModelSpec, Precision, PrecisionChoice, ProjectionSpec,
};

/// The folder that holds all models. It is read at each call, so that a bundle that was
/// just pulled or fitted is found without a restart.
#[derive(Clone, Debug)]
pub struct Registry {
    models_dir: PathBuf,
}

/// A bundle whose manifest was read; its files are checked when they are read.
#[derive(Clone, Debug)]
pub struct Bundle {
    folder: PathBuf,
    manifest: Manifest,
}

/// One line of a listing.
#[derive(Debug)]
pub struct BundleSummary {
    /// Name and version, by the folders.
    pub model: ModelRef,
    /// Whether this version is the one that serves.
    pub production: bool,
    /// Whether a rollback would make this version serve.
    pub previous: bool,
    /// Whether this version sees a share of the queries beside the one that serves.
    pub shadow: bool,
    /// The checked bundle, or why it cannot be used.
    pub bundle: Result<Bundle, BundleError>,
}

/// The folder that is used unless another is configured: `$TRIVIUM_MODELS_DIR`, or else
/// `trivium/models` in the user's cache folder (`$XDG_CACHE_HOME` or `$HOME/.cache`).
pub fn default_models_dir() -> PathBuf {
    if let Some(folder) = non_empty("TRIVIUM_MODELS_DIR") {
        return folder;
    }
    let cache = non_empty("XDG_CACHE_HOME")
        .or_else(|| non_empty("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir);
    cache.join("trivium").join("models")
}

fn non_empty(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Registry {
    /// A registry over `models_dir`, which need not exist yet.
    pub fn new(models_dir: impl Into<PathBuf>) -> Self {
        Self { models_dir: models_dir.into() }
    }

    /// The folder.
    pub fn models_dir(&self) -> &Path {
        &self.models_dir
    }

    /// All versions of all models, sorted, each checked for absent and cut files; hashes are
    /// checked when a bundle is loaded. A damaged bundle is listed with what is wrong, and
    /// hides no other.
    pub fn list(&self) -> Result<Vec<BundleSummary>, BundleError> {
        let mut found = Vec::new();
        for name in folders(&self.models_dir)? {
            let aliases = Aliases::read(&self.folder(&name))?;
            for version in self.versions(&name)? {
                let model = ModelRef { name: name.clone(), version };
                found.push(BundleSummary {
                    production: aliases.production.as_ref() == Some(&model.version),
                    previous: aliases.previous.last() == Some(&model.version),
                    shadow: aliases.shadow.as_ref().is_some_and(|shadow| shadow.version == model.version),
                    bundle: self.open(&model).and_then(Bundle::complete),
                    model,
                });
            }
        }
        Ok(found)
    }

    /// The versions of one model: numbers in order, then the rest by name.
    pub fn versions(&self, name: &ModelId) -> Result<Vec<ModelId>, BundleError> {
        let mut versions = folders(&self.folder(name))?;
        versions.sort_by_key(|version| {
            let number = version.as_str().parse::<u64>();
            (number.is_err(), number.unwrap_or(0), version.clone())
        });
        Ok(versions)
    }

    /// The version that serves, by the alias file.
    pub fn production(&self, name: &ModelId) -> Result<ModelRef, BundleError> {
        let folder = self.folder(name);
        if !folder.is_dir() {
            return Err(self.not_found(name.to_string()));
        }
        match Aliases::read(&folder)?.production {
            Some(version) => Ok(ModelRef { name: name.clone(), version }),
            None => Err(BundleError::NoProduction { name: name.clone(), aliases: folder.join(ALIAS_FILE) }),
        }
    }

    /// Names the version that serves from the next load on. The version must be there and
    /// whole.
    pub fn promote(&self, model: &ModelRef) -> Result<(), BundleError> {
        self.open(model)?.verified()?;
        self.name_production(model)
    }

    /// Names the version that serves, trusting that its files were checked when they were
    /// read.
    pub(crate) fn name_production(&self, model: &ModelRef) -> Result<(), BundleError> {
        let folder = self.folder(&model.name);
        Aliases::read(&folder)?.promoted(model.version.clone()).write(&folder)
    }

    /// The version that served before the one that serves now, if any did.
    pub fn previous(&self, name: &ModelId) -> Result<Option<ModelRef>, BundleError> {
        let version = Aliases::read(&self.folder(name))?.previous.pop();
        Ok(version.map(|version| ModelRef { name: name.clone(), version }))
    }

    /// Names the version before as the one that serves; does nothing if there is none.
    pub(crate) fn name_previous(&self, name: &ModelId) -> Result<(), BundleError> {
        let folder = self.folder(name);
        match Aliases::read(&folder)?.rolled_back() {
            Some(aliases) => aliases.write(&folder),
            None => Ok(()),
        }
    }

    /// The version that sees a share of the queries beside the one that serves, by the
    /// alias file.
    pub fn shadow(&self, name: &ModelId) -> Result<Option<ShadowAlias>, BundleError> {
        Ok(Aliases::read(&self.folder(name))?.shadow)
    }

    /// Names the shadow, or takes its name away.
    pub(crate) fn name_shadow(&self, name: &ModelId, shadow: Option<ShadowAlias>) -> Result<(), BundleError> {
        let folder = self.folder(name);
        Aliases { shadow, ..Aliases::read(&folder)? }.write(&folder)
    }

    /// Reads a bundle's manifest.
    pub fn open(&self, model: &ModelRef) -> Result<Bundle, BundleError> {
        let folder = self.folder(&model.name).join(model.version.as_str());
        if !folder.is_dir() {
            return Err(self.not_found(model.to_string()));
        }
        let path = folder.join(MANIFEST_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BundleError::MissingFile { path });
            }
            Err(source) => return Err(BundleError::Io { path, source }),
        };
        let manifest = Manifest::parse(&text, &path)?;
        if manifest.model_ref() != *model {
            let reason = format!("it describes {}, not {model}", manifest.model_ref());
            return Err(BundleError::Inconsistent { path, reason });
        }
        Ok(Bundle { folder, manifest })
    }

    /// Starts a new version. See [`BundleWriter`].
    pub fn create(&self, model: ModelRef, origin: impl Into<String>) -> Result<BundleWriter, BundleError> {
        BundleWriter::new(self.models_dir.clone(), model, origin.into())
    }

    /// Removes a version that does not pass its own manifest, so that it can be written
    /// anew; one that is whole or absent is left alone.
    pub(crate) fn remove_damaged(&self, model: &ModelRef) -> Result<(), BundleError> {
        let folder = self.folder(&model.name).join(model.version.as_str());
        if !folder.is_dir() || self.open(model).and_then(Bundle::verified).is_ok() {
            return Ok(());
        }
        fs::remove_dir_all(&folder).map_err(BundleError::io(folder))
    }

    /// The number after the highest numbered version of a model; 1 for a new one.
    pub fn next_version(&self, name: &ModelId) -> Result<ModelRef, BundleError> {
        let highest =
            self.versions(name)?.iter().filter_map(|version| version.as_str().parse::<u64>().ok()).max().unwrap_or(0);
        Ok(ModelRef { name: name.clone(), version: highest.saturating_add(1).to_string().parse()? })
    }

    fn folder(&self, name: &ModelId) -> PathBuf {
        self.models_dir.join(name.as_str())
    }

    fn not_found(&self, model: String) -> BundleError {
        BundleError::NotFound { model, models_dir: self.models_dir.clone() }
    }
}

impl Bundle {
    /// What the bundle is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Name and version.
    pub fn model_ref(&self) -> ModelRef {
        self.manifest.model_ref()
    }

    /// The settings of an encoder, or of the one that an intent model brings along; an error
    /// for any other kind.
    pub fn encoder(&self) -> Result<&EncoderSpec, BundleError> {
        let model = &self.manifest.model;
        match model {
            ModelSpec::Encoder(spec) => Ok(spec),
            ModelSpec::CrossEncoder(_) | ModelSpec::Projection(_) => Err(self.wrong_kind("encoder", model)),
            ModelSpec::Intent(intent) => match &intent.encoder {
                IntentEncoder::Own(spec) => Ok(spec),
                IntentEncoder::Base(_) => Err(self.wrong_kind("encoder", model)),
            },
        }
    }

    /// The precision in which the bundle's encoder runs when `choice` is asked for.
    pub fn precision(&self, choice: PrecisionChoice) -> Precision {
        let recommended = match &self.manifest.model {
            ModelSpec::Intent(spec) => spec.precision.as_ref().is_some_and(|report| report.recommends_int8()),
            ModelSpec::Encoder(_) | ModelSpec::CrossEncoder(_) | ModelSpec::Projection(_) => false,
        };
        match choice {
            PrecisionChoice::Int8 => Precision::Int8,
            PrecisionChoice::Auto if recommended && self.has(INT8_GRAPH_FILE) => Precision::Int8,
            PrecisionChoice::Auto | PrecisionChoice::Fp32 => Precision::Fp32,
        }
    }

    /// The settings of an intent model; an error for any other kind.
    pub fn intent(&self) -> Result<&IntentSpec, BundleError> {
        match &self.manifest.model {
            ModelSpec::Intent(spec) => Ok(spec),
            other => Err(self.wrong_kind("intent", other)),
        }
    }

    /// Whether the manifest lists a file.
    pub fn has(&self, file: &str) -> bool {
        self.manifest.files.iter().any(|entry| entry.name.as_str() == file)
    }

    /// The settings of a cross-encoder; an error for any other kind.
    pub fn cross_encoder(&self) -> Result<&CrossEncoderSpec, BundleError> {
        match &self.manifest.model {
            ModelSpec::CrossEncoder(spec) => Ok(spec),
            other => Err(self.wrong_kind("cross_encoder", other)),
        }
    }

    /// The settings of a projection; an error for any other kind.
    pub fn projection(&self) -> Result<&ProjectionSpec, BundleError> {
        match &self.manifest.model {
            ModelSpec::Projection(spec) => Ok(spec),
            other => Err(self.wrong_kind("projection", other)),
        }
    }

    /// Reads one file, comparing its size and hash with the manifest.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, BundleError> {
        let entry = self
            .manifest
            .files
            .iter()
            .find(|entry| entry.name.as_str() == file)
            .ok_or_else(|| BundleError::MissingFile { path: self.folder.join(file) })?;
        read_checked(&self.folder, entry)
    }

    /// Compares every file's size with the manifest.
    pub fn complete(self) -> Result<Self, BundleError> {
        for entry in &self.manifest.files {
            check_size(&self.folder.join(entry.name.as_str()), entry)?;
        }
        Ok(self)
    }

    /// Compares every file's content with the manifest.
    pub fn verified(self) -> Result<Self, BundleError> {
        for entry in &self.manifest.files {
            verify(&self.folder, entry)?;
        }
        Ok(self)
    }

    fn wrong_kind(&self, expected: &'static str, found: &ModelSpec) -> BundleError {
        BundleError::WrongKind { model: self.model_ref(), expected, found: found.kind() }
    }
}

/// The sub-folders whose names can be a model's name or version; half-written bundles and
/// whatever else lies there are passed over. An absent folder holds none.
fn folders(path: &Path) -> Result<Vec<ModelId>, BundleError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(BundleError::Io { path: path.to_owned(), source });
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(BundleError::io(path))?;
        let name = entry.file_name().to_string_lossy().parse::<ModelId>();
        if let (Ok(name), true) = (name, entry.path().is_dir()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
