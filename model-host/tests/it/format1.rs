//! Manifests that an earlier program wrote are still read.

use std::path::Path;

use trivium_model_host::bundle::{IntentEncoder, ModelRef, ModelSpec, Precision, PrecisionChoice, Registry};

/// A registry with one bundle whose manifest is a file of the first format.
fn bundle(fixture: &str, model: &ModelRef) -> (tempfile::TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join(model.name.as_str()).join(model.version.as_str());
    std::fs::create_dir_all(&place).unwrap();
    let fixture = Path::new("tests/fixtures/format1").join(fixture);
    std::fs::copy(fixture.join("manifest.toml"), place.join("manifest.toml")).unwrap();
    let registry = Registry::new(folder.path());
    (folder, registry)
}

#[test]
fn an_encoder_of_the_first_format_is_read() {
    let model = ModelRef::new("minilm", "1").unwrap();
    let (_folder, registry) = bundle("encoder", &model);
    let bundle = registry.open(&model).unwrap();
    assert_eq!(bundle.manifest().format, 1);
    assert!(bundle.encoder().unwrap().prefixes.is_empty());
    assert_eq!(bundle.precision(PrecisionChoice::Auto), Precision::Fp32);
}

#[test]
fn an_intent_model_of_the_first_format_is_read() {
    let model = ModelRef::new("intents", "1").unwrap();
    let (_folder, registry) = bundle("intents", &model);
    let bundle = registry.open(&model).unwrap();
    let ModelSpec::Intent(spec) = &bundle.manifest().model else { panic!("{:?}", bundle.manifest()) };
    assert_eq!(spec.encoder, IntentEncoder::Base(ModelRef::new("minilm", "1").unwrap()));
    assert_eq!(spec.labels.len(), 8);
    assert_eq!(spec.scope_label(), Some("out_of_scope"));
    assert!(spec.out_of_scope.is_none() && spec.precision.is_none() && spec.training.is_none());
    assert!(spec.few_shot.is_empty() && spec.reliability.is_empty());
    assert!(bundle.encoder().is_err());
}
