//! Intent bundles that bring their own encoder.

use std::fs;

use trivium_model_host::bundle::{ModelSpec, Precision, PrecisionChoice};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::intent::{
    AssembleOptions, FineTuned, FitError, Head, IntentModel, ScopeBy, ScoreKind, Splits, assemble, evaluate_bundle,
};

use crate::support::TinyModels;
use crate::support::tuned::{Data, Tuned, fine_tuned};

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn options() -> AssembleOptions {
    AssembleOptions { threads: 1, ..AssembleOptions::named("intents".parse().unwrap()) }
}

#[test]
fn a_fine_tuned_model_is_written_promoted_and_decides_with_its_own_encoder() {
    let models = TinyModels::new();
    let fitted = fine_tuned(&models.registry).unwrap();
    assert_eq!(fitted.model.to_string(), "intents/1");
    assert_eq!(models.registry.production(&fitted.model.name).unwrap(), fitted.model);
    assert!(fitted.report.accuracy > 0.9, "{:?}", fitted.report);
    assert_eq!(fitted.report.examples, 32);

    let bundle = models.registry.open(&fitted.model).unwrap();
    let ModelSpec::Intent(spec) = &bundle.manifest().model else { panic!("{:?}", bundle.manifest()) };
    assert_eq!(spec.base.as_ref().map(ToString::to_string).as_deref(), Some("tiny/1"));
    assert_eq!(spec.training.as_ref().map(|training| training.epochs.len()), Some(2));
    assert_eq!(spec.reliability.iter().map(|bin| bin.decisions).sum::<usize>(), 24);
    let scope = spec.out_of_scope.as_ref().unwrap();
    assert_eq!((scope.label.as_str(), scope.evidence, scope.compared.len()), ("oos", 16, 4));

    let intent = IntentModel::load(&bundle).unwrap();
    assert_eq!(intent.encoder(), &fitted.model);
    assert_eq!(intent.labels(), ["chat", "fix", "sky"]);
    assert_eq!(intent.out_of_scope_label(), Some("oos"));
    let own = models.registry.open(intent.encoder()).unwrap();
    let encoder = Encoder::load_with(&own, PrecisionChoice::Fp32, 1).unwrap();
    let text = "how is moon moon moon moon";
    let vector = encoder.embed_all(&[text], |_| ()).unwrap().remove(0);
    let plain = Tuned::new(11).feature(text);
    assert!(vector.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-4));
    let decision = intent.decide(&vector);
    assert_eq!((decision.label(), decision.out_of_scope), ("sky", false));
    assert!(decision.strangeness.unwrap() <= scope.threshold);

    let judged = evaluate_bundle(&models.registry, &fitted.model, &Data::new().test, 1).unwrap();
    assert_eq!(judged, fitted.report);
}

#[test]
fn both_precisions_are_there_and_auto_follows_the_manifest() {
    let models = TinyModels::new();
    let fitted = fine_tuned(&models.registry).unwrap();
    let bundle = models.registry.open(&fitted.model).unwrap();
    let report = bundle.intent().unwrap().precision.clone().unwrap();
    assert_eq!(report.examples, 24);
    let expected = if report.loss_points() < 0.3 { Precision::Int8 } else { Precision::Fp32 };
    assert_eq!(Encoder::load(&bundle, 1).unwrap().precision(), expected);
    let data = Data::new();
    let texts: Vec<&str> = data.test.iter().map(|example| example.text.as_str()).collect();
    let vectors = |choice| Encoder::load_with(&bundle, choice, 1).unwrap().embed_all(&texts, |_| ()).unwrap();
    let (full, small) = (vectors(PrecisionChoice::Fp32), vectors(PrecisionChoice::Int8));
    assert_ne!(full, small);
    for (a, b) in full.iter().zip(&small) {
        assert!(cosine(a, b) > 0.99, "{}", cosine(a, b));
    }
}

#[test]
fn a_query_above_the_threshold_is_out_of_scope_and_keeps_its_label() {
    let models = TinyModels::new();
    let fitted = fine_tuned(&models.registry).unwrap();
    let bundle = models.registry.open(&fitted.model).unwrap();
    let ModelSpec::Intent(spec) = &bundle.manifest().model else { panic!("{:?}", bundle.manifest()) };
    let threshold = spec.out_of_scope.as_ref().unwrap().threshold;
    let intent = IntentModel::load(&bundle).unwrap();
    let encoder = Encoder::load(&bundle, 1).unwrap();
    let data = Data::new();
    let texts: Vec<&str> = data.test.iter().map(|example| example.text.as_str()).collect();
    for vector in encoder.embed_all(&texts, |_| ()).unwrap() {
        let decision = intent.decide(&vector);
        assert_eq!(decision.out_of_scope, decision.strangeness.unwrap() > threshold);
        assert!(intent.labels().iter().any(|label| label == decision.label()));
    }
}

#[test]
fn without_examples_of_outsiders_energy_is_taken_unseen() {
    let models = TinyModels::new();
    let (tuned, mut data) = (Tuned::new(11), Data::new());
    data.train.retain(|example| example.label != "oos");
    data.valid.retain(|example| example.label != "oos");
    let fitted = assemble(&models.registry, &options(), tuned.handed_over(&data), data.splits(), |_| ()).unwrap();
    let bundle = models.registry.open(&fitted.model).unwrap();
    let scope = bundle.intent().unwrap().out_of_scope.clone().unwrap();
    assert_eq!((scope.score, scope.evidence), (ScoreKind::Energy, 0));
    assert!(fitted.report.oos_recall.is_some());
}

#[test]
fn parts_that_do_not_fit_are_refused_and_leave_nothing() {
    let models = TinyModels::new();
    let (tuned, data) = (Tuned::new(11), Data::new());
    let refused = |change: &dyn Fn(&mut FineTuned<'_>)| {
        let mut parts = tuned.handed_over(&data);
        change(&mut parts);
        assemble(&models.registry, &options(), parts, data.splits(), |_| ()).unwrap_err()
    };
    let error = refused(&|parts| parts.labels.swap(0, 1));
    assert!(matches!(error, FitError::Trained(_)), "{error}");
    let error = refused(&|parts| parts.head = Head::new(vec![0.0; 93], vec![0.0; 3]).unwrap());
    assert!(error.to_string().contains("reads 31 numbers, the encoder gives 32"), "{error}");
    let error = refused(&|parts| parts.head = Head::new(vec![0.0; 64], vec![0.0; 2]).unwrap());
    assert!(error.to_string().contains("2 rows for 3 labels"), "{error}");
    let error = refused(&|parts| parts.weights = &parts.weights[..parts.weights.len() - 1]);
    assert!(matches!(error, FitError::Onnx(_)), "{error}");
    let error = refused(&|parts| parts.tokenizer = b"{");
    assert!(matches!(error, FitError::Encoder(_)), "{error}");

    let given = |splits, options: &AssembleOptions| {
        assemble(&models.registry, options, tuned.handed_over(&data), splits, |_| ()).unwrap_err()
    };
    let error = given(Splits { valid: None, ..data.splits() }, &options());
    assert!(matches!(error, FitError::EmptySplit("validation")), "{error}");
    for false_reject in [0.0, 0.6, f32::NAN] {
        let error = given(data.splits(), &AssembleOptions { scope_by: ScopeBy::Score { false_reject }, ..options() });
        assert!(matches!(error, FitError::FalseReject(_)), "{error}");
    }
    assert!(!models.folder.path().join("intents").exists());
}

#[test]
fn a_bundle_with_a_damaged_file_is_refused() {
    for file in ["model.onnx", "model.int8.onnx", "tokenizer.json", "head.safetensors"] {
        let models = TinyModels::new();
        let fitted = fine_tuned(&models.registry).unwrap();
        let path = models.folder.path().join("intents/1").join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes.pop();
        fs::write(&path, bytes).unwrap();
        let bundle = models.registry.open(&fitted.model).unwrap();
        let loaded = IntentModel::load(&bundle).map(|_| ()).map_err(|error| error.to_string());
        let load = |choice| Encoder::load_with(&bundle, choice, 1).map(|_| ()).map_err(|error| error.to_string());
        let loaded = loaded.and_then(|()| load(PrecisionChoice::Fp32)).and_then(|()| load(PrecisionChoice::Int8));
        let error = loaded.unwrap_err();
        assert!(error.contains(file) && error.contains("expected"), "{file}: {error}");
        assert!(models.registry.promote(&fitted.model).is_err());
    }
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    for (from, to, expected) in [
        ("label = \"oos\"", "label = \"fix\"", "one of labels"),
        ("score = \"", "score = \"un", "cannot be read"),
        ("target_false_reject", "surprise", "surprise"),
        ("name = \"model.onnx\"", "name = \"else.onnx\"", "does not list model.onnx"),
    ] {
        let models = TinyModels::new();
        let fitted = fine_tuned(&models.registry).unwrap();
        let path = models.folder.path().join("intents/1/manifest.toml");
        let manifest = fs::read_to_string(&path).unwrap();
        assert!(manifest.contains(from), "{manifest}");
        fs::write(&path, manifest.replacen(from, to, 1)).unwrap();
        let error = models.registry.open(&fitted.model).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn a_score_without_its_statistics_is_refused() {
    let models = TinyModels::new();
    let fitted = fine_tuned(&models.registry).unwrap();
    let mut manifest = models.registry.open(&fitted.model).unwrap().manifest().clone();
    let ModelSpec::Intent(spec) = &mut manifest.model else { panic!("an intent model was assembled") };
    spec.out_of_scope.as_mut().unwrap().score = ScoreKind::Mahalanobis;
    manifest.files.retain(|file| file.name.as_str() != "statistics.safetensors");
    let path = models.folder.path().join("intents/1/manifest.toml");
    fs::write(&path, toml::to_string(&manifest).unwrap()).unwrap();
    let error = models.registry.open(&fitted.model).unwrap_err().to_string();
    assert!(error.contains("does not list statistics.safetensors"), "{error}");
}
