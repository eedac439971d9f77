//! Fitting an intent model, and reading it back.

use std::fs;

use trivium_model_host::bundle::{ModelRef, ModelSpec};
use trivium_model_host::intent::{
    Example, FitError, FitOptions, FitProgress, IntentModel, Splits, evaluate_bundle, fit,
};

use crate::support::TinyModels;

const LABELS: [(&str, [&str; 3]); 3] = [
    ("chat", ["hello", "thanks", "song"]),
    ("fix", ["error", "restart", "replica"]),
    ("out_of_scope", ["moon", "cat", "a"]),
];

/// Each label's words with different words around them; `shift` makes different sets.
fn examples(shift: usize) -> Vec<Example> {
    let around = ["how is", "what is the", "the", "compare", "is a cache", "of the index", "code of", "redis with"];
    let mut examples = Vec::new();
    for (label, words) in LABELS {
        for (i, frame) in around.iter().enumerate() {
            let word = words[(i + shift) % words.len()];
            let text = format!("{frame} {word} {word} {word} {word}");
            examples.push(Example { text, label: label.to_owned() });
        }
    }
    examples
}

fn options() -> FitOptions {
    FitOptions::named("intents".parse().unwrap())
}

#[test]
fn a_fitted_model_is_written_promoted_and_decides() {
    let models = TinyModels::new();
    let encoder = models.encoder();
    let (train, valid, test) = (examples(0), examples(1), examples(2));
    let splits = Splits { train: &train, valid: Some(&valid), test: Some(&test) };
    let mut last = None;
    let fitted = fit(&models.registry, &encoder, splits, &options(), |step| last = Some(step)).unwrap();
    assert!(matches!(last, Some(FitProgress::Fitting { done, total }) if done == total));
    assert_eq!(fitted.model.to_string(), "intents/1");
    assert_eq!(models.registry.production(&fitted.model.name).unwrap(), fitted.model);
    assert!(fitted.report.accuracy > 0.9, "{:?}", fitted.report);

    let intent = IntentModel::load(&models.registry.open(&fitted.model).unwrap()).unwrap();
    assert_eq!(intent.encoder(), encoder.model());
    assert_eq!(intent.labels(), ["chat", "fix", "out_of_scope"]);
    let vector = encoder.embed_all(&["what is the moon moon moon moon"], |_| ()).unwrap().remove(0);
    let decision = intent.decide(&vector);
    assert_eq!(decision.label(), "out_of_scope");
    assert!(decision.out_of_scope && decision.margin > 0.0);
    let sum: f32 = decision.ranking.iter().map(|(_, probability)| probability).sum();
    assert!((sum - 1.0).abs() < 1e-5);

    let judged = evaluate_bundle(&models.registry, &fitted.model, &test, 1).unwrap();
    assert_eq!(judged, fitted.report);
}

#[test]
fn fitting_twice_gives_the_same_model_as_the_next_version() {
    let models = TinyModels::new();
    let encoder = models.encoder();
    let train = examples(0);
    let splits = Splits { train: &train, valid: None, test: None };
    let first = fit(&models.registry, &encoder, splits, &options(), |_| ()).unwrap();
    let second = fit(&models.registry, &encoder, splits, &FitOptions { promote: false, ..options() }, |_| ()).unwrap();
    assert_eq!((first.model.to_string(), second.model.to_string()), ("intents/1".into(), "intents/2".into()));
    assert_eq!(models.registry.production(&first.model.name).unwrap(), first.model);
    // The report alone names the version.
    let files = |model: &ModelRef| {
        let bundle = models.registry.open(model).unwrap();
        bundle.manifest().files.iter().filter(|file| file.name.as_str() != "report.html").cloned().collect::<Vec<_>>()
    };
    assert_eq!(files(&first.model), files(&second.model));
}

#[test]
fn splits_that_do_not_fit_are_refused() {
    let models = TinyModels::new();
    let encoder = models.encoder();
    let train = examples(0);
    let one_label: Vec<Example> = train.iter().filter(|e| e.label == "fix").cloned().collect();
    let strange = vec![Example { text: "a".to_owned(), label: "new".to_owned() }];
    let refused = |splits| fit(&models.registry, &encoder, splits, &options(), |_| ()).unwrap_err();
    let error = refused(Splits { train: &one_label, valid: None, test: None });
    assert!(matches!(error, FitError::TooFewLabels(1)), "{error}");
    let error = refused(Splits { train: &train, valid: Some(&[]), test: None });
    assert!(matches!(error, FitError::EmptySplit("validation")), "{error}");
    let error = refused(Splits { train: &train, valid: None, test: Some(&strange) });
    assert!(matches!(&error, FitError::UnknownLabel { label, split: "test" } if label == "new"), "{error}");
    assert_eq!(models.registry.list().unwrap().len(), 1);
}

#[test]
fn a_manifest_that_contradicts_its_head_is_refused() {
    let models = TinyModels::new();
    let train = examples(0);
    let splits = Splits { train: &train, valid: None, test: None };
    let fitted = fit(&models.registry, &models.encoder(), splits, &options(), |_| ()).unwrap();
    let path = models.folder.path().join("intents/1/manifest.toml");
    let manifest = fs::read_to_string(&path).unwrap();
    let mut bundle = models.registry.open(&fitted.model).unwrap().manifest().clone();
    let ModelSpec::Intent(spec) = &mut bundle.model else { panic!("an intent model was fitted") };
    spec.labels.push("fourth".to_owned());
    fs::write(&path, toml::to_string(&bundle).unwrap()).unwrap();
    let error = IntentModel::load(&models.registry.open(&fitted.model).unwrap()).unwrap_err().to_string();
    assert!(error.contains("expected F32 [4, 32]"), "{error}");

    for (from, to, expected) in
        [("temperature = ", "temperature = -", "temperature"), ("fix = ", "fixx = ", "unknown label \"fixx\"")]
    {
        fs::write(&path, manifest.replacen(from, to, 1)).unwrap();
        let error = models.registry.open(&fitted.model).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
