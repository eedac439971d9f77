//! Runs that cannot be: each is refused by name, and leaves nothing behind.

use std::time::Duration;

use trivium_model_host::bundle::ModelId;
use trivium_model_host::intent::{Example, Splits};
use trivium_train::{DataError, FinetuneError, Options, finetune};

use crate::support::{Models, examples, options};

fn refused(models: &Models, options: &Options, splits: Splits<'_>) -> FinetuneError {
    let error = finetune(&models.registry, options, splits, &|| Duration::ZERO, &mut |_| ()).unwrap_err();
    assert!(models.registry.versions(&options.name).unwrap().is_empty());
    error
}

fn only(train: &[Example]) -> Splits<'_> {
    Splits { train, valid: None, test: None }
}

#[test]
fn data_that_cannot_be_learned_is_refused() {
    let models = Models::new();
    let train = examples(0);
    let error = refused(&models, &options(), only(&[]));
    assert!(matches!(error, FinetuneError::Data(DataError::Empty("training"))), "{error}");
    let one: Vec<Example> = train.iter().filter(|example| example.label == "fix").cloned().collect();
    let error = refused(&models, &options(), only(&one));
    assert!(matches!(&error, FinetuneError::Data(DataError::OneLabel(label)) if label == "fix"), "{error}");
    let mut lone = train.clone();
    lone.push(Example { text: "new".to_owned(), label: "lonely".to_owned() });
    let error = refused(&models, &options(), only(&lone));
    assert!(matches!(&error, FinetuneError::Data(DataError::LoneQuery(label)) if label == "lonely"), "{error}");
    let strange = [train[0].clone(), lone.last().unwrap().clone()];
    let error = refused(&models, &options(), Splits { train: &train, valid: Some(&strange), test: None });
    assert!(matches!(error, FinetuneError::Data(DataError::Unseen { split: "validation", count: 1, .. })), "{error}");
}

#[test]
fn settings_and_encoders_that_cannot_be_are_refused() {
    let models = Models::new();
    let train = examples(0);
    let mut wrong = options();
    wrong.settings.epochs = 0;
    assert!(matches!(refused(&models, &wrong, only(&train)), FinetuneError::Setting(_)));
    let mut absent = options();
    absent.base = "nowhere".parse::<ModelId>().unwrap();
    assert!(matches!(refused(&models, &absent, only(&train)), FinetuneError::Bundle(_)));
}

#[test]
fn a_state_that_cannot_be_kept_ends_the_run_with_its_path() {
    let models = Models::new();
    let train = examples(0);
    std::fs::create_dir_all(models.folder.path().join("intents")).unwrap();
    // A file where the folder of the state must go.
    std::fs::write(models.folder.path().join("intents/.finetune"), "in the way").unwrap();
    let error = refused(&models, &options(), only(&train));
    assert!(matches!(error, FinetuneError::Run(_)), "{error}");
    assert!(error.to_string().contains("state.safetensors"), "{error}");
}
