//! Whole runs: what they write, what they say, and how they go on after a kill.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use trivium_model_host::bundle::ModelRef;
use trivium_model_host::encoder::Encoder;
use trivium_model_host::intent::{IntentModel, Splits, evaluate_bundle};
use trivium_train::{Event, FinetuneError, RunError, RunEvent, Settings, finetune};

use crate::support::{Models, examples, options};

/// Hashes of a bundle's files, by name.
fn files(models: &Models, model: &ModelRef) -> Vec<(String, String)> {
    let bundle = models.registry.open(model).unwrap();
    bundle.manifest().files.iter().map(|file| (file.name.to_string(), file.sha256.clone())).collect()
}

/// Ends a run as a kill would, when it has made so many steps: nothing after that is done.
fn kill(models: &Models, at: usize) {
    let (train, valid, test) = (examples(0), examples(1), examples(2));
    let splits = Splits { train: &train, valid: Some(&valid), test: Some(&test) };
    let killed = catch_unwind(AssertUnwindSafe(|| {
        finetune(&models.registry, &options(), splits, &|| Duration::ZERO, &mut |event| {
            if let Event::Run(RunEvent::Step { done, .. }) = event {
                assert!(done < at, "killed");
            }
        })
    }));
    assert!(killed.is_err());
}

#[test]
fn a_fine_tuned_model_is_written_promoted_and_right() {
    let models = Models::new();
    let (outcome, events) = models.train(&options());
    let outcome = outcome.unwrap();
    let model = &outcome.fitted.model;
    assert_eq!(models.registry.production(&model.name).unwrap(), *model);
    assert!(outcome.fitted.report.accuracy > 0.9, "{:?}", outcome.fitted.report);
    assert!(outcome.epochs.last().unwrap().train_loss < outcome.epochs[0].train_loss);
    assert_eq!(outcome.epochs[outcome.chosen_epoch - 1].epoch, outcome.chosen_epoch);

    let bundle = models.registry.open(model).unwrap();
    let training = bundle.intent().unwrap().training.clone().unwrap();
    assert_eq!((training.epochs.len(), training.chosen_epoch), (outcome.epochs.len(), outcome.chosen_epoch));
    let intent = IntentModel::load(&bundle).unwrap();
    assert_eq!(intent.labels(), ["chat", "fix"]);
    let encoder = Encoder::load(&bundle, 1).unwrap();
    let vector = encoder.embed_all(&["what is the error error"], |_| ()).unwrap().remove(0);
    assert_eq!(intent.decide(&vector).label(), "fix");

    assert!(matches!(&events[..], [.., Event::Assembling(_)]));
    let findings = events.iter().position(|event| matches!(event, Event::Findings(_))).unwrap();
    let first_step = events.iter().position(|event| matches!(event, Event::Run(_))).unwrap();
    assert!(findings < first_step);
    // The state of a run that is done is not kept.
    assert!(!models.folder.path().join("intents/.finetune/state.safetensors").exists());
}

#[test]
fn the_same_run_gives_the_same_bytes_whatever_the_threads() {
    let models = Models::new();
    let first = models.train(&options()).0.unwrap();
    let mut more_threads = options();
    more_threads.threads = 2;
    let second = models.train(&more_threads).0.unwrap();
    assert_eq!(second.fitted.model.to_string(), "intents/2");
    let weights =
        |model| files(&models, model).into_iter().filter(|(name, _)| name != "report.html").collect::<Vec<_>>();
    assert_eq!(weights(&first.fitted.model), weights(&second.fitted.model));
    let mut other = options();
    other.settings.seed = 2;
    let third = models.train(&other).0.unwrap();
    assert_ne!(weights(&first.fitted.model), weights(&third.fitted.model));
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_weights() {
    let whole = Models::new();
    let expected = whole.train(&options()).0.unwrap();
    // Each epoch has four steps, and the state is kept after the second and at the end: before
    // anything was kept, right after an epoch twice, and in the middle of one.
    for (killed_at, goes_on_with) in [(2, 1), (5, 5), (8, 7), (9, 9)] {
        let models = Models::new();
        kill(&models, killed_at);
        let mut resumed = options();
        resumed.resume = true;
        let (outcome, events) = models.train(&resumed);
        let outcome = outcome.unwrap();
        let went_on = events.iter().any(|event| matches!(event, Event::Resumed { .. }));
        assert_eq!(went_on, goes_on_with > 1);
        let first = events.iter().find_map(|event| match event {
            Event::Run(RunEvent::Step { done, .. }) => Some(*done),
            _ => None,
        });
        assert_eq!(first, Some(goes_on_with));
        assert_eq!(outcome.epochs, expected.epochs);
        assert_eq!(files(&models, &outcome.fitted.model), files(&whole, &expected.fitted.model));
    }
}

#[test]
fn a_state_of_another_run_is_refused_and_kept() {
    let models = Models::new();
    kill(&models, 5);
    let kept = models.folder.path().join("intents/.finetune/state.safetensors");
    let bytes = std::fs::read(&kept).unwrap();
    let mut other = options();
    other.resume = true;
    other.settings.seed = 5;
    let error = models.train(&other).0.unwrap_err();
    assert!(error.to_string().contains("other data, settings or encoder"), "{error}");
    assert_eq!(std::fs::read(&kept).unwrap(), bytes);
    // Without resuming, it is replaced, and gone when the run is done.
    models.train(&options()).0.unwrap();
    assert!(!kept.exists());
}

#[test]
fn a_loss_that_is_no_number_ends_the_run() {
    let models = Models::new();
    let mut diverging = options();
    diverging.settings = Settings { encoder_rate: 1e30, head_rate: 1e30, ..diverging.settings };
    let error = models.train(&diverging).0.unwrap_err();
    assert!(matches!(error, FinetuneError::Run(RunError::Diverged { .. })), "{error}");
    assert!(models.registry.versions(&diverging.name).unwrap().is_empty());
}

#[test]
fn frozen_layers_stay_as_they_were() {
    let models = Models::new();
    let mut all_frozen = options();
    all_frozen.settings = Settings { frozen_layers: 2, ..all_frozen.settings };
    let outcome = models.train(&all_frozen).0.unwrap();
    let base = Encoder::load(&models.registry.open(&ModelRef::new("tiny", "1").unwrap()).unwrap(), 1).unwrap();
    let bundle = models.registry.open(&outcome.fitted.model).unwrap();
    let tuned = Encoder::load_with(&bundle, trivium_model_host::bundle::PrecisionChoice::Fp32, 1).unwrap();
    let text = ["the error of the moon"];
    let (before, after) = (base.embed_all(&text, |_| ()).unwrap(), tuned.embed_all(&text, |_| ()).unwrap());
    // The base scales its vectors to length 1, and the tuned encoder does not.
    let length = after[0].iter().map(|x| x * x).sum::<f32>().sqrt();
    for (a, b) in before[0].iter().zip(&after[0]) {
        assert!((a - b / length).abs() < 1e-5);
    }
}

#[test]
fn a_head_alone_names_its_encoder_and_is_right() {
    let models = Models::new();
    let mut head_only = options();
    head_only.head_only = true;
    let (outcome, events) = models.train(&head_only);
    let outcome = outcome.unwrap();
    assert!(outcome.epochs.is_empty() && outcome.chosen_epoch == 0);
    assert!(events.iter().any(|event| matches!(event, Event::Findings(_))));
    assert!(outcome.fitted.report.accuracy > 0.9, "{:?}", outcome.fitted.report);
    let bundle = models.registry.open(&outcome.fitted.model).unwrap();
    assert_eq!(IntentModel::load(&bundle).unwrap().encoder().to_string(), "tiny/1");
    let test = examples(2);
    let judged = evaluate_bundle(&models.registry, &outcome.fitted.model, &test, 1).unwrap();
    assert_eq!(judged.accuracy, outcome.fitted.report.accuracy);
}

#[test]
fn a_run_without_progress_stops_early() {
    let models = Models::new();
    let mut patient = options();
    patient.settings = Settings { epochs: 30, patience: 2, ..patient.settings };
    let outcome = models.train(&patient).0.unwrap();
    assert!(outcome.epochs.len() < 30, "{}", outcome.epochs.len());
    assert_eq!(outcome.epochs.len(), outcome.chosen_epoch + 2);
}
