//! Labels that join a fitted model from a few examples.

use std::fs;

use trivium_model_host::bundle::{Bundle, ModelRef, ModelSpec};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::intent::{
    AddError, AddOptions, AssembleOptions, Decision, Example, FitOptions, IntentModel, ScopeBy, add_intent, assemble,
    fit,
};

use crate::support::TinyModels;
use crate::support::tuned::{Data, Tuned, examples, fine_tuned};

/// The words of no label make a new one.
const NEW: &str = "storage";

fn options() -> AddOptions {
    AddOptions { label: NEW.to_owned(), promote: true, threads: 1 }
}

/// Queries of the new label; `shift` makes different ones.
fn strangers(shift: usize) -> Vec<Example> {
    let around = ["how is", "what is the", "the", "compare", "is the", "of the", "code of", "what with"];
    let text = |frame: &str| match shift {
        0 => format!("{frame} redis redis redis redis redis"),
        1 => format!("redis redis {frame} redis redis redis"),
        _ => format!("redis index {frame} index index index"),
    };
    around.map(|frame| Example { text: text(frame), label: NEW.to_owned() }).to_vec()
}

fn texts(examples: &[Example]) -> Vec<&str> {
    examples.iter().map(|example| example.text.as_str()).collect()
}

/// A model that has never heard of the new label's queries.
fn unaware(models: &TinyModels) -> ModelRef {
    let (tuned, mut data) = (Tuned::new(11), Data::new());
    for split in [&mut data.train, &mut data.valid, &mut data.test] {
        split.retain(|example| example.label != "oos");
    }
    let options = AssembleOptions { threads: 1, ..AssembleOptions::named("intents".parse().unwrap()) };
    assemble(&models.registry, &options, tuned.handed_over(&data), data.splits(), |_| ()).unwrap().model
}

fn decisions(models: &TinyModels, model: &ModelRef, examples: &[Example]) -> Vec<Decision> {
    let intent = IntentModel::load(&models.registry.open(model).unwrap()).unwrap();
    let encoder = Encoder::load(&models.registry.open(intent.encoder()).unwrap(), 1).unwrap();
    encoder.embed_all(&texts(examples), |_| ()).unwrap().iter().map(|vector| intent.decide(vector)).collect()
}

#[test]
fn a_new_label_is_found_and_the_old_ones_stay() {
    let models = TinyModels::new();
    let old = unaware(&models);
    let taught = strangers(0);
    let added = add_intent(&models.registry, &old, &texts(&taught), &options()).unwrap();
    assert_eq!((added.model.to_string(), added.from.to_string()), ("intents/2".into(), "intents/1".into()));
    assert_eq!(models.registry.production(&added.model.name).unwrap(), added.model);
    assert_eq!(added.few_shot.examples, 8);
    assert!(added.few_shot.taken_over <= 0.01, "{added:?}");

    let unseen = decisions(&models, &added.model, &strangers(1));
    let found = unseen.iter().filter(|decision| decision.label() == NEW).count();
    assert!(found >= 6, "{found} of {}", unseen.len());
    let others: Vec<Example> = examples(1).into_iter().filter(|example| example.label != "oos").collect();
    let (before, after) = (decisions(&models, &old, &others), decisions(&models, &added.model, &others));
    let same = before.iter().zip(&after).filter(|(a, b)| a.label() == b.label()).count();
    assert!(same >= 23, "{same} of {}", others.len());
}

#[test]
fn the_new_version_says_how_the_label_came_and_shares_the_rest() {
    let models = TinyModels::new();
    let old = unaware(&models);
    let added = add_intent(&models.registry, &old, &texts(&strangers(0)), &options()).unwrap();
    let open = |model: &ModelRef| models.registry.open(model).unwrap();
    let (before, after) = (open(&old), open(&added.model));
    let spec = after.intent().unwrap();
    assert_eq!(spec.labels, ["chat", "fix", "sky", NEW]);
    assert_eq!(spec.few_shot.get(NEW), Some(&added.few_shot));
    assert_eq!(spec.thresholds.get(NEW), Some(&added.threshold));
    assert!(before.intent().unwrap().few_shot.is_empty());
    let entry = |bundle: &Bundle, name: &str| {
        bundle.manifest().files.iter().find(|file| file.name.as_str() == name).cloned().unwrap()
    };
    for same in ["model.onnx", "model.int8.onnx", "tokenizer.json", "calibration.safetensors"] {
        assert_eq!(entry(&before, same), entry(&after, same), "{same}");
    }
    assert_ne!(entry(&before, "head.safetensors"), entry(&after, "head.safetensors"));
    let report = String::from_utf8(after.read("report.html").unwrap()).unwrap();
    assert!(report.contains("added from a few examples") && report.contains("intents/2"));
    // And another on top of it.
    let second = AddOptions { label: "more".to_owned(), promote: false, threads: 1 };
    let added = add_intent(&models.registry, &added.model, &texts(&strangers(2)), &second).unwrap();
    assert_eq!(added.model.to_string(), "intents/3");
    assert_eq!(models.registry.production(&old.name).unwrap().to_string(), "intents/2");
    assert_eq!(open(&added.model).intent().unwrap().few_shot.len(), 2);
}

#[test]
fn a_label_joins_a_head_on_a_shared_encoder_too() {
    for scope_by in [ScopeBy::Label, ScopeBy::score()] {
        let models = TinyModels::new();
        let data = Data::new();
        let mut fit_options = FitOptions::named("intents".parse().unwrap());
        fit_options.scope_by = scope_by;
        fit_options.out_of_scope_label = "oos".to_owned();
        let old = fit(&models.registry, &models.encoder(), data.splits(), &fit_options, |_| ()).unwrap().model;
        let unlike: Vec<String> =
            ["song song code", "song code code", "code song", "code code song", "song song song code"]
                .map(str::to_owned)
                .to_vec();
        let unlike: Vec<&str> = unlike.iter().map(String::as_str).collect();
        let added = add_intent(&models.registry, &old, &unlike, &options()).unwrap();
        let bundle = models.registry.open(&added.model).unwrap();
        assert_eq!(IntentModel::load(&bundle).unwrap().labels().last().map(String::as_str), Some(NEW));
        assert!(added.few_shot.taken_over <= 0.04, "{added:?}");
    }
}

#[test]
fn what_will_not_do_is_refused_and_changes_nothing() {
    let models = TinyModels::new();
    let old = fine_tuned(&models.registry).unwrap().model;
    let taught = strangers(0);
    let refused = |texts: &[&str], label: &str| {
        let options = AddOptions { label: label.to_owned(), ..options() };
        add_intent(&models.registry, &old, texts, &options).unwrap_err()
    };
    let good = texts(&taught);
    assert!(matches!(refused(&good[..4], NEW), AddError::Examples { found: 4 }));
    assert!(matches!(refused(&[good[0]; 9], NEW), AddError::Examples { found: 1 }));
    assert!(matches!(refused(&["a", "b", "c", "d", "e", " "], NEW), AddError::Examples { found: 5 }));
    for label in ["", " ", " padded", "a\nb", &"x".repeat(129)] {
        assert!(matches!(refused(&good, label), AddError::Label), "{label:?}");
    }
    for label in ["fix", "oos"] {
        assert!(matches!(refused(&good, label), AddError::Known { .. }), "{label:?}");
    }
    let absent = ModelRef::new("intents", "9").unwrap();
    assert!(matches!(add_intent(&models.registry, &absent, &good, &options()), Err(AddError::Bundle(_))));
    assert_eq!(models.registry.versions(&old.name).unwrap().len(), 1);
}

#[test]
fn a_bundle_without_kept_queries_or_with_damaged_ones_is_refused() {
    let models = TinyModels::new();
    let old = fine_tuned(&models.registry).unwrap().model;
    let folder = models.folder.path().join("intents/1");
    let kept = folder.join("calibration.safetensors");
    let whole = fs::read(&kept).unwrap();
    fs::write(&kept, &whole[..whole.len() - 1]).unwrap();
    let error = add_intent(&models.registry, &old, &texts(&strangers(0)), &options()).unwrap_err();
    assert!(matches!(error, AddError::Bundle(_)) && error.to_string().contains("calibration.safetensors"), "{error}");
    fs::remove_file(&kept).unwrap();
    let mut manifest = models.registry.open(&old).unwrap().manifest().clone();
    manifest.files.retain(|file| file.name.as_str() != "calibration.safetensors");
    assert!(matches!(manifest.model, ModelSpec::Intent(_)));
    fs::write(folder.join("manifest.toml"), toml::to_string(&manifest).unwrap()).unwrap();
    let error = add_intent(&models.registry, &old, &texts(&strangers(0)), &options()).unwrap_err();
    assert!(matches!(error, AddError::NothingKept(_)), "{error}");
}
