//! Versions that come to serve, and go, while calls come in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tonic::transport::Channel;
use tonic::{Code, Status};
use trivium_model_host::ModelOptions;
use trivium_model_host::bundle::ModelRef;
use trivium_model_host::intent::{AddOptions, add_intent};
use trivium_model_host::pull::import_encoder;
use trivium_proto::model::v1 as proto;
use trivium_proto::model::v1::model_service_client::ModelServiceClient;
use trivium_service_kit::Reason;

use crate::support::host::{Host, analyze, fit_intents, refusal};
use crate::support::{MAX_TOKENS, TinyBert, TinyModels};

const CLIENTS: usize = 32;
const ROUNDS: usize = 10;

/// Two versions of `intents`, the first of which serves. Every label ends with its version.
fn two_versions() -> TinyModels {
    let models = TinyModels::new();
    fit_intents(&models, "error_1", "moon_1");
    fit_intents(&models, "error_2", "moon_2");
    models
}

fn named(name: &str, version: &str) -> Option<proto::ModelRef> {
    Some(proto::ModelRef { name: name.to_owned(), version: version.to_owned() })
}

async fn promote(
    client: &mut ModelServiceClient<Channel>,
    name: &str,
    version: &str,
) -> Result<proto::PromoteModelResponse, Status> {
    let request = proto::PromoteModelRequest { model: named(name, version) };
    Ok(client.promote_model(request).await?.into_inner())
}

async fn rollback(client: &mut ModelServiceClient<Channel>) -> Result<proto::RollbackModelResponse, Status> {
    let request = proto::RollbackModelRequest { name: "intents".to_owned() };
    Ok(client.rollback_model(request).await?.into_inner())
}

/// The label and version that decide now.
async fn decision(host: &mut Host) -> (String, String) {
    let analyzed = host.client.analyze(analyze("the moon moon moon", true, false)).await.unwrap().into_inner();
    let intent = analyzed.intent.unwrap();
    (intent.label, intent.model.unwrap().version)
}

async fn described(host: &mut Host, name: &str, version: &str) -> proto::Model {
    let models = host.client.list_models(proto::ListModelsRequest {}).await.unwrap().into_inner().models;
    models.into_iter().find(|model| model.model == named(name, version)).unwrap()
}

#[tokio::test]
async fn a_promoted_version_serves_and_a_rollback_brings_the_one_before() {
    let mut host = Host::start_with(two_versions(), |_| ()).await;
    assert_eq!(decision(&mut host).await, ("moon_1".to_owned(), "1".to_owned()));
    let promoted = promote(&mut host.client, "intents", "2").await.unwrap();
    assert_eq!((promoted.model, promoted.previous), (named("intents", "2"), named("intents", "1")));
    assert!(promoted.serving);
    assert_eq!(decision(&mut host).await, ("moon_2".to_owned(), "2".to_owned()));
    let (one, two) = (described(&mut host, "intents", "1").await, described(&mut host, "intents", "2").await);
    assert_eq!((one.serving, one.loaded, one.aliases), (false, false, vec!["previous".to_owned()]));
    assert_eq!((two.serving, two.loaded, two.aliases), (true, true, vec!["production".to_owned()]));

    let rolled_back = rollback(&mut host.client).await.unwrap();
    assert_eq!((rolled_back.model, rolled_back.previous), (named("intents", "1"), named("intents", "2")));
    assert_eq!(decision(&mut host).await, ("moon_1".to_owned(), "1".to_owned()));
    let refused = refusal(rollback(&mut host.client).await.unwrap_err());
    assert_eq!(refused, (Code::FailedPrecondition, Reason::NoPreviousModel, Some("name".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_versions_change_and_none_mixes_them() {
    let mut host = Host::start_with(two_versions(), |options| options.analysis_cache_entries = 4).await;
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
            let client = host.client.clone();
            tokio::spawn(async move { call_until(client, index, &done, &answered).await })
        })
        .collect();
    let mut versions = Vec::new();
    for _ in 0..ROUNDS {
        let before = answered.load(Ordering::Relaxed);
        promote(&mut host.client, "intents", "2").await.unwrap();
        wait_for(&answered, before + CLIENTS).await;
        rollback(&mut host.client).await.unwrap();
        wait_for(&answered, before + 2 * CLIENTS).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        versions.extend(client.await.unwrap().unwrap());
    }
    versions.sort();
    versions.dedup();
    assert_eq!(versions, ["1", "2"], "each version answered calls");
}

/// Calls until told to stop, and checks that each answer's labels are of its version; gives
/// the versions that answered.
async fn call_until(
    mut client: ModelServiceClient<Channel>,
    index: usize,
    done: &AtomicBool,
    answered: &AtomicUsize,
) -> Result<Vec<String>, Status> {
    let mut versions = Vec::new();
    let texts = ["the moon moon moon", "the error error error", "is a cache", "how is the song"];
    while !done.load(Ordering::Relaxed) {
        let text = texts[(index + versions.len()) % texts.len()];
        let with_vector = versions.len() % 2 == 0;
        let intent = client.analyze(analyze(text, true, with_vector)).await?.into_inner().intent.unwrap();
        let version = intent.model.unwrap().version;
        let labels = std::iter::once(&intent.label).chain(intent.runners_up.iter().map(|score| &score.label));
        for label in labels {
            assert!(label.ends_with(&format!("_{version}")), "version {version} answered {label}");
        }
        versions.push(version);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(versions)
}

async fn wait_for(answered: &AtomicUsize, count: usize) {
    while answered.load(Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_serve_is_refused_and_the_version_before_goes_on() {
    let models = two_versions();
    let third = fit_intents(&models, "error_3", "moon_3");
    std::fs::write(models.folder.path().join("intents/2/head.safetensors"), "rubbish").unwrap();
    let mut host = Host::start_with(models, |_| ()).await;
    let table = [
        (("intents", "9"), Code::NotFound, Reason::ModelNotFound, "model"),
        (("nothing", "1"), Code::NotFound, Reason::ModelNotFound, "model"),
        (("intents", "2"), Code::FailedPrecondition, Reason::ModelDamaged, "model"),
        (("intents", ""), Code::InvalidArgument, Reason::FieldMissing, "model.version"),
        (("intents", "../1"), Code::InvalidArgument, Reason::FieldInvalid, "model.version"),
    ];
    for ((name, version), code, reason, field) in table {
        let refused = refusal(promote(&mut host.client, name, version).await.unwrap_err());
        assert_eq!(refused, (code, reason, Some(field.to_owned())), "{name}/{version}");
        assert_eq!(decision(&mut host).await, ("moon_1".to_owned(), "1".to_owned()));
    }
    let status = host.client.promote_model(proto::PromoteModelRequest { model: None }).await.unwrap_err();
    assert_eq!(refusal(status).1, Reason::FieldMissing);
    promote(&mut host.client, "intents", third.version.as_str()).await.unwrap();
    assert_eq!(decision(&mut host).await.1, "3");
}

#[tokio::test]
async fn a_version_whose_first_pass_fails_is_refused() {
    let models = two_versions();
    let mut broken = TinyBert::random(8);
    broken.tensors.get_mut("encoder.layer.0.output.dense.bias").unwrap().data[3] = f32::NAN;
    import_encoder(&models.registry, ModelRef::new("tiny", "2").unwrap(), &broken.files(), MAX_TOKENS).unwrap();
    let mut host = Host::start_with(models, |_| ()).await;
    let status = promote(&mut host.client, "tiny", "2").await.unwrap_err();
    assert!(status.message().contains("tiny/2") && status.message().contains("not finite"), "{status}");
    assert_eq!(refusal(status).1, Reason::ModelDamaged);
    assert_eq!(embed_with(&mut host, "").await.unwrap().model, named("tiny", "1"));
}

#[tokio::test]
async fn after_a_restart_the_alias_decides() {
    let mut host = Host::start_with(two_versions(), |_| ()).await;
    promote(&mut host.client, "intents", "2").await.unwrap();
    let folder = host.models.folder.path().to_owned();
    host.shutdown.cancel();
    let mut again = Host::start_with(TinyModels::new(), |options| options.models_dir = Some(folder)).await;
    assert_eq!(decision(&mut again).await, ("moon_2".to_owned(), "2".to_owned()));
    rollback(&mut again.client).await.unwrap();
    assert_eq!(decision(&mut again).await.1, "1");
}

#[tokio::test]
async fn a_remembered_analysis_says_so_and_is_of_the_version_that_serves() {
    let mut host = Host::start_with(two_versions(), |_| ()).await;
    let mut ask = async |text: &str, fresh: bool| {
        let request = proto::AnalyzeRequest { fresh, ..analyze(text, true, true) };
        host.client.analyze(request).await.unwrap().into_inner()
    };
    let first = ask("the moon moon moon", false).await;
    let again = ask("the moon moon moon", false).await;
    assert_eq!((first.cached, again.cached), (false, true));
    assert_eq!((&again.intent, &again.vectors), (&first.intent, &first.vectors));
    assert_eq!(again.timings, Some(proto::ComputeTimings::default()));
    assert!(!ask("the moon moon moon", true).await.cached);
    assert!(!ask("the moon moon", false).await.cached);
    promote(&mut host.client, "intents", "2").await.unwrap();
    let mut ask = async |text: &str| host.client.analyze(analyze(text, true, true)).await.unwrap().into_inner();
    let after = ask("the moon moon moon").await;
    assert_eq!((after.cached, after.intent.unwrap().label.as_str()), (false, "moon_2"));
}

#[tokio::test]
async fn a_host_that_remembers_nothing_says_so_too() {
    let mut host = Host::start_with(two_versions(), |options| options.analysis_cache_entries = 0).await;
    for _ in 0..2 {
        assert!(!host.client.analyze(analyze("the moon", true, false)).await.unwrap().into_inner().cached);
    }
}

#[tokio::test]
async fn a_label_from_a_few_examples_says_so() {
    let models = TinyModels::new();
    let first = fit_intents(&models, "error", "moon");
    let texts = ["song song song", "a song song song", "the song song", "what is song song", "song of the song song"];
    let options = AddOptions { label: "sing".to_owned(), promote: false, threads: 1 };
    add_intent(&models.registry, &first, &texts, &options).unwrap();
    let mut host = Host::start_with(models, |_| ()).await;
    let request = analyze(texts[0], true, false);
    let before = host.client.analyze(request.clone()).await.unwrap().into_inner().intent.unwrap();
    assert!(!before.few_shot);
    promote(&mut host.client, "intents", "2").await.unwrap();
    let added = host.client.analyze(request).await.unwrap().into_inner().intent.unwrap();
    assert_eq!((added.label.as_str(), added.few_shot), ("sing", true));
}

/// Models with two versions of the encoder, of different weights.
fn two_encoders() -> TinyModels {
    let models = two_versions();
    let model = ModelRef::new("tiny", "2").unwrap();
    import_encoder(&models.registry, model, &TinyBert::random(8).files(), MAX_TOKENS).unwrap();
    models
}

async fn embed_with(host: &mut Host, version: &str) -> Result<proto::EmbedResponse, Status> {
    let request = proto::EmbedRequest {
        texts: vec!["the moon".to_owned()],
        model: named("tiny", version),
        ..proto::EmbedRequest::default()
    };
    Ok(host.client.embed(request).await?.into_inner())
}

#[tokio::test]
async fn an_encoder_that_was_replaced_still_answers_by_name_until_it_is_let_go() {
    let mut host = Host::start_with(two_encoders(), |_| ()).await;
    let old = embed_with(&mut host, "").await.unwrap();
    promote(&mut host.client, "tiny", "2").await.unwrap();
    let new = embed_with(&mut host, "").await.unwrap();
    assert_eq!(new.model, named("tiny", "2"));
    assert_ne!(new.embeddings, old.embeddings);
    assert_eq!(embed_with(&mut host, "1").await.unwrap().embeddings, old.embeddings);
    // The intent model reads the old encoder's vectors: both run, side by side.
    let both = host.client.analyze(analyze("the moon moon moon", true, true)).await.unwrap().into_inner();
    assert_eq!(both.intent.unwrap().label, "moon_1");
    assert_eq!(both.vectors[0].embedder, named("tiny", "2"));
    let unload = proto::UnloadModelRequest { model: named("tiny", "1") };
    let refused = refusal(host.client.unload_model(unload).await.unwrap_err());
    assert_eq!((refused.0, refused.1), (Code::FailedPrecondition, Reason::ModelInUse));
    let unload = proto::UnloadModelRequest { model: named("tiny", "2") };
    assert_eq!(refusal(host.client.unload_model(unload).await.unwrap_err()).1, Reason::ModelInUse);
}

#[tokio::test]
async fn versions_are_loaded_beside_those_that_serve_up_to_a_bound() {
    let models = two_encoders();
    let third = ModelRef::new("tiny", "3").unwrap();
    import_encoder(&models.registry, third, &TinyBert::random(9).files(), MAX_TOKENS).unwrap();
    let mut host = Host::start_with(models, |options| options.max_loaded_models = 4).await;
    assert_eq!(refusal(embed_with(&mut host, "2").await.unwrap_err()).1, Reason::ModelNotFound);
    let load = |version: &str| proto::LoadModelRequest { model: named("tiny", version) };
    let loaded = host.client.load_model(load("2")).await.unwrap().into_inner().model.unwrap();
    assert!(loaded.loaded && !loaded.serving && loaded.memory_bytes > 0);
    embed_with(&mut host, "2").await.unwrap();
    assert_eq!(described(&mut host, "tiny", "2").await.texts, 1);
    host.client.load_model(load("3")).await.unwrap();
    let refused = refusal(promote(&mut host.client, "intents", "2").await.unwrap_err());
    assert_eq!((refused.0, refused.1), (Code::ResourceExhausted, Reason::TooManyModels));
    let unload = proto::UnloadModelRequest { model: named("tiny", "3") };
    assert!(host.client.unload_model(unload.clone()).await.unwrap().into_inner().unloaded);
    assert!(!host.client.unload_model(unload).await.unwrap().into_inner().unloaded);
    promote(&mut host.client, "intents", "2").await.unwrap();
    assert_eq!(refusal(embed_with(&mut host, "3").await.unwrap_err()).1, Reason::ModelNotFound);
}

#[tokio::test]
async fn the_configuration_names_versions_to_load() {
    let mut host = Host::start_with(two_encoders(), |options| {
        let own = ModelOptions { versions: vec!["2".to_owned()], ..ModelOptions::default() };
        options.models = BTreeMap::from([("tiny".to_owned(), own)]);
    })
    .await;
    assert_eq!(embed_with(&mut host, "2").await.unwrap().model, named("tiny", "2"));
    assert_eq!(embed_with(&mut host, "").await.unwrap().model, named("tiny", "1"));
}

#[tokio::test]
async fn a_model_that_no_role_serves_is_named_and_not_served() {
    let models = two_versions();
    let other = ModelRef::new("other", "1").unwrap();
    import_encoder(&models.registry, other, &TinyBert::random(8).files(), MAX_TOKENS).unwrap();
    let mut host = Host::start_with(models, |_| ()).await;
    let promoted = promote(&mut host.client, "other", "1").await.unwrap();
    assert!(!promoted.serving);
    assert!(!described(&mut host, "other", "1").await.loaded);
}
