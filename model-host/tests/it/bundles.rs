//! Bundles on disk: damage is refused by name, and nothing half-written is ever seen.

use std::fs;
use std::path::PathBuf;

use trivium_model_host::bundle::{BundleError, ModelRef, Registry};
use trivium_model_host::encoder::{Encoder, EncoderError};

use crate::support::{MAX_TOKENS, TinyModels, tiny};

fn load(models: &TinyModels) -> BundleError {
    let loaded = models.registry.open(&tiny()).map_err(EncoderError::from).and_then(|b| Encoder::load(&b, 1));
    match loaded.err().expect("the bundle is damaged") {
        EncoderError::Bundle(error) => error,
        other => panic!("{other}"),
    }
}

fn file(models: &TinyModels, name: &str) -> PathBuf {
    models.folder.path().join("tiny/1").join(name)
}

#[test]
fn a_whole_bundle_loads_and_knows_itself() {
    let models = TinyModels::new();
    let encoder = models.encoder();
    assert_eq!(encoder.model(), &tiny());
    assert_eq!((encoder.spec().dimension, encoder.spec().max_tokens), (32, MAX_TOKENS));
    let listed = models.registry.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].production && listed[0].bundle.is_ok());
}

#[test]
fn a_cut_file_is_named_with_both_sizes() {
    let models = TinyModels::new();
    let path = file(&models, "model.onnx");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..100]).unwrap();
    match load(&models) {
        BundleError::WrongSize { path: named, expected, found } => {
            assert_eq!((named, expected, found), (path, whole.len() as u64, 100));
        }
        other => panic!("{other}"),
    }
    let listed = models.registry.list().unwrap();
    assert!(matches!(listed[0].bundle, Err(BundleError::WrongSize { .. })));
}

#[test]
fn a_changed_file_is_named_with_both_hashes() {
    let models = TinyModels::new();
    let path = file(&models, "model.onnx");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    match load(&models) {
        BundleError::WrongHash { path: named, expected, found } => {
            assert_eq!(named, path);
            assert!(expected != found && expected.len() == 64 && found.len() == 64);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_missing_tokenizer_is_named() {
    let models = TinyModels::new();
    let path = file(&models, "tokenizer.json");
    fs::remove_file(&path).unwrap();
    let error = load(&models);
    assert!(matches!(&error, BundleError::MissingFile { path: named } if *named == path), "{error}");
}

#[test]
fn manifests_are_checked_before_they_are_believed() {
    let table = [
        ("format = 2", "format = 3", "has format 3, expected 1 to 2"),
        ("format = 2", "format = 0", "has format 0, expected 1 to 2"),
        ("format = 2", "format = \"x\"", "cannot be read"),
        ("max_tokens = 24", "max_tokens = 2", "max_tokens"),
        ("max_tokens = 24", "max_tokens = 24\nsurprise = 1", "surprise"),
        ("name = \"tiny\"", "name = \"other\"", "other/1"),
        ("name = \"tokenizer.json\"", "name = \"../tokenizer.json\"", "../tokenizer.json"),
        ("name = \"tokenizer.json\"", "name = \"else.json\"", "does not list tokenizer.json"),
    ];
    for (from, to, expected) in table {
        let models = TinyModels::new();
        let path = file(&models, "manifest.toml");
        let manifest = fs::read_to_string(&path).unwrap();
        assert!(manifest.contains(from), "{manifest}");
        fs::write(&path, manifest.replacen(from, to, 1)).unwrap();
        let error = load(&models).to_string();
        assert!(error.contains(expected) && error.contains("manifest.toml"), "{to}: {error}");
    }
}

#[test]
fn models_that_are_not_there_are_named() {
    let models = TinyModels::new();
    let absent = ModelRef::new("tiny", "2").unwrap();
    let error = models.registry.open(&absent).unwrap_err().to_string();
    assert!(error.contains("tiny/2"), "{error}");
    assert!(matches!(models.registry.production(&"none".parse().unwrap()), Err(BundleError::NotFound { .. })));
    fs::remove_file(models.folder.path().join("tiny/aliases.toml")).unwrap();
    assert!(matches!(models.registry.production(&tiny().name), Err(BundleError::NoProduction { .. })));
    assert!(Registry::new(models.folder.path().join("absent")).list().unwrap().is_empty());
}

#[test]
fn promotion_needs_a_whole_version() {
    let models = TinyModels::new();
    let absent = ModelRef::new("tiny", "2").unwrap();
    assert!(models.registry.promote(&absent).is_err());
    fs::write(file(&models, "tokenizer.json"), "{}").unwrap();
    assert!(models.registry.promote(&tiny()).is_err());
    assert_eq!(models.registry.production(&tiny().name).unwrap(), tiny());
}

#[test]
fn an_unfinished_bundle_leaves_no_trace_and_a_version_is_never_overwritten() {
    let models = TinyModels::new();
    let second = models.registry.next_version(&tiny().name).unwrap();
    assert_eq!(second.to_string(), "tiny/2");
    let mut writer = models.registry.create(second, "test").unwrap();
    writer.add("model.onnx", b"half").unwrap();
    assert_eq!(models.registry.list().unwrap().len(), 1);
    drop(writer);
    let left: Vec<_> = fs::read_dir(models.folder.path().join("tiny")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let again = models.registry.create(tiny(), "test").err();
    assert!(matches!(again, Some(BundleError::Exists(_))));
}
