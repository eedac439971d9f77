//! What the router keeps of its calls, and what can be asked of it.

use std::{path::Path, sync::atomic::Ordering};

use futures::StreamExt;
use trivium_proto::router::v1::{
    AnswerMode, AuditCall, AuditRecord, DocumentRef, ExportAuditRequest, Feedback, GetAuditRecordRequest, QueryOptions,
    ReplayQueryRequest, ReplayQueryResponse, ReplayVerdict, Road, SubmitFeedbackRequest, export_audit_response::Item,
};
use trivium_router::AuditOptions;
use trivium_service_kit::{Error, Reason};

use crate::{
    fake_model_host::Generation,
    world::{Plan, World, stream_request},
};

/// What every query of these worlds asks.
const QUERY: &str = "where is it?";

/// A world that keeps its records in `folder`.
fn recorded(folder: &Path, plan: Plan) -> Plan {
    Plan { audit: AuditOptions { dir: Some(folder.to_owned()), ..AuditOptions::default() }, ..plan }
}

async fn record(world: &World, id: &str) -> Result<AuditRecord, Error> {
    let request = GetAuditRecordRequest { request_id: id.to_owned() };
    let response = world.audit.clone().get_audit_record(request).await?;
    Ok(response.into_inner().record.expect("a response holds its record"))
}

async fn replay(world: &World, request: ReplayQueryRequest) -> Result<ReplayQueryResponse, Error> {
    Ok(world.audit.clone().replay_query(request).await?.into_inner())
}

/// Asks for the replay of a request in this world, whose query is known.
async fn replayed(world: &World, id: &str) -> ReplayQueryResponse {
    let request = ReplayQueryRequest { request_id: id.into(), query: QUERY.into(), ..ReplayQueryRequest::default() };
    replay(world, request).await.expect("it is replayed")
}

async fn say(world: &World, id: &str, feedback: Feedback) -> Result<(), Error> {
    let request = SubmitFeedbackRequest { request_id: id.to_owned(), feedback: Some(feedback) };
    world.router.clone().submit_feedback(request).await?;
    Ok(())
}

async fn exported(world: &World, with_feedback: bool) -> Vec<AuditRecord> {
    let request = ExportAuditRequest { since: None, with_feedback };
    let items = world.audit.clone().export_audit(request).await.expect("exported").into_inner();
    let records = items.map(|message| match message.expect("no error").item {
        Some(Item::Record(record)) => record,
        other => panic!("no record: {other:?}"),
    });
    records.collect().await
}

/// A query, and the name of its request.
async fn ask(world: &World, options: QueryOptions) -> String {
    let response = world.query(options).await.expect("an answer");
    response.account.expect("an account").request_id
}

#[tokio::test]
async fn every_call_leaves_a_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(recorded(folder.path(), Plan::default())).await;

    let answer = world.query(QueryOptions { k: Some(1), ..QueryOptions::default() }).await.expect("an answer");
    let account = answer.account.expect("an account");
    let kept = record(&world, &account.request_id).await.expect("on record");
    assert_eq!(kept.call(), AuditCall::Query);
    assert_eq!((&kept.decision, &kept.account), (&answer.decision, &Some(account.clone())));
    assert_eq!((kept.trace_id, kept.searches.len()), (account.trace_id, 1));
    assert_eq!(kept.intent.expect("it was asked").label, "how_to");
    assert_eq!(kept.options.expect("options").k, Some(1));
    assert_eq!(kept.passages.len(), answer.passages.len());
    // Computed with sha256sum.
    assert_eq!(kept.query_sha256, "4540a8b7ea5176a27ff2dd1b0e10e08abdaf3c418163bc70f0dbc8e583374d8f");

    let (events, _) = world.events(QueryOptions::default()).await;
    let Some(trivium_proto::router::v1::query_stream_response::Event::Account(account)) = events.last() else {
        panic!("no account")
    };
    let streamed = record(&world, &account.request_id).await.expect("on record");
    assert_eq!((streamed.call(), streamed.account.as_ref()), (AuditCall::QueryStream, Some(account)));

    let decision = world.route().await.expect("a decision");
    let routed = record(&world, &decision.request_id).await.expect("on record");
    assert_eq!((routed.call(), routed.decision), (AuditCall::Route, decision.decision));
    assert_eq!(exported(&world, false).await.len(), 3);
}

#[tokio::test]
async fn no_text_is_kept_unless_content_is_captured() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(recorded(folder.path(), Plan::default())).await;
    let filter = "team = \"secret\"";
    let id = ask(&world, QueryOptions { filter: filter.into(), ..QueryOptions::default() }).await;
    let kept = record(&world, &id).await.expect("on record");
    assert_eq!((kept.query.as_str(), kept.answer.as_str()), ("", ""));
    assert_eq!((kept.options.expect("options").filter.as_str(), kept.filter_sha256.len()), ("", 64));
    let hit = kept.passages[0].hit.as_ref().expect("a hit");
    assert_eq!((hit.document_id.as_str(), hit.text.as_str(), hit.title.as_str()), ("guide.md", "", ""));
    assert_eq!(hit.legs.len(), 2);
    world.stop().await;
    for file in walk(folder.path()) {
        let bytes = std::fs::read(&file).expect("read");
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        for text in [QUERY, "secret", "It is here", "Title of"] {
            assert!(!holds(text), "{} holds {text:?}", file.display());
        }
    }
}

/// The files of the log itself, without the policies.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files: Vec<_> = files.filter(|path| path.is_file()).collect();
    assert!(!files.is_empty());
    files
}

#[tokio::test]
async fn a_call_that_fails_or_is_given_up_is_on_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan::of_generation(Generation::Hangs("It"));
    let world = World::start(recorded(folder.path(), plan)).await;
    let unknown = QueryOptions { collections: vec!["unknown".into()], ..QueryOptions::default() };
    let error = world.query(unknown).await.expect_err("there is no such collection");
    assert_eq!(error.reason(), Reason::CollectionNotFound);

    let mut request = stream_request(QueryOptions::default());
    request.request_id = "given-up".into();
    let mut stream = world.router.clone().query_stream(request).await.expect("it begins").into_inner();
    stream.message().await.expect("no error").expect("the decision");
    drop(stream);
    let mut let_go = world.model_host.let_go.subscribe();
    // The call below ends when the router has dropped its own.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), let_go.wait_for(|gone| *gone)).await;
    world.stop().await;

    let world = World::start(recorded(folder.path(), Plan::default())).await;
    let records = exported(&world, false).await;
    let reasons: Vec<&str> = records.iter().map(|record| record.error_reason.as_str()).collect();
    assert_eq!(reasons, ["COLLECTION_NOT_FOUND", "CANCELLED"]);
    let given_up = record(&world, "given-up").await.expect("on record");
    assert!(given_up.decision.is_some() && given_up.account.is_none());
}

#[tokio::test]
async fn an_orderly_stop_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(recorded(folder.path(), Plan::default())).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(ask(&world, QueryOptions { answer_mode: AnswerMode::None.into(), ..QueryOptions::default() }).await);
    }
    world.stop().await;
    let world = World::start(recorded(folder.path(), Plan::default())).await;
    let kept: Vec<String> = exported(&world, false).await.into_iter().map(|record| record.request_id).collect();
    assert_eq!(kept, ids);
}

#[tokio::test]
async fn files_are_rotated_and_only_the_newest_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let audit = AuditOptions { segment_bytes: 64 << 10, keep_segments: 2, ..AuditOptions::default() };
    let plan = recorded(folder.path(), Plan::default());
    let world = World::start(Plan { audit: AuditOptions { dir: plan.audit.dir.clone(), ..audit }, ..plan }).await;
    let first = ask(&world, QueryOptions::default()).await;
    let mut last = first.clone();
    while record(&world, &first).await.is_ok() {
        for _ in 0..10 {
            last = ask(&world, QueryOptions { answer_mode: AnswerMode::None.into(), ..QueryOptions::default() }).await;
        }
    }
    let error = record(&world, &first).await.expect_err("not kept any more");
    assert_eq!((error.reason(), error.field()), (Reason::AuditRecordNotFound, Some("request_id")));
    assert!(record(&world, &last).await.is_ok());
    assert!(walk(folder.path()).len() <= 3, "the two that are kept, and the one that is written");
}

#[tokio::test]
async fn feedback_joins_its_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(recorded(folder.path(), Plan::default())).await;
    let silent = ask(&world, QueryOptions::default()).await;
    let id = ask(&world, QueryOptions::default()).await;
    let document = DocumentRef { collection: String::new(), document_id: "guide.md".into() };
    let said = [
        Feedback { helpful: Some(false), right_intent: "lookup".into(), ..Feedback::default() },
        Feedback { right_documents: vec![document], right_road: Road::Lexical.into(), ..Feedback::default() },
    ];
    for feedback in said.clone() {
        say(&world, &id, feedback).await.expect("kept");
    }
    let kept = record(&world, &id).await.expect("on record").feedback;
    assert_eq!(kept[0], Feedback { recorded_at: kept[0].recorded_at, ..said[0].clone() });
    // The answer searched one collection, so that is the document's.
    assert_eq!(kept[1].right_documents[0].collection, "docs");
    assert!(kept.iter().all(|feedback| feedback.recorded_at.is_some()));
    let with_feedback: Vec<String> = exported(&world, true).await.into_iter().map(|it| it.request_id).collect();
    assert_eq!(with_feedback, [id]);
    assert!(record(&world, &silent).await.expect("on record").feedback.is_empty());
    let error = say(&world, "never", said[0].clone()).await.expect_err("no such request");
    assert_eq!(error.reason(), Reason::AuditRecordNotFound);
}

#[tokio::test]
async fn a_torn_file_is_read_up_to_the_tear() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(recorded(folder.path(), Plan::default())).await;
    let (whole, torn) = (ask(&world, QueryOptions::default()).await, ask(&world, QueryOptions::default()).await);
    world.stop().await;
    let file = walk(folder.path()).remove(0);
    let bytes = std::fs::read(&file).expect("read");
    std::fs::write(&file, &bytes[..bytes.len() - 3]).expect("cut");

    let world = World::start(recorded(folder.path(), Plan::default())).await;
    assert!(record(&world, &whole).await.is_ok());
    assert_eq!(record(&world, &torn).await.expect_err("torn").reason(), Reason::AuditRecordNotFound);
    let after = ask(&world, QueryOptions::default()).await;
    assert!(record(&world, &after).await.is_ok());
}

#[tokio::test]
async fn without_a_folder_nothing_is_kept() {
    let world = World::start(Plan::default()).await;
    let id = ask(&world, QueryOptions::default()).await;
    assert_eq!(record(&world, &id).await.expect_err("off").reason(), Reason::AuditDisabled);
    let said = Feedback { helpful: Some(true), ..Feedback::default() };
    assert_eq!(say(&world, &id, said).await.expect_err("off").reason(), Reason::AuditDisabled);
}

#[tokio::test]
async fn a_replay_runs_on_the_recorded_state_policy_and_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(recorded(folder.path(), Plan::default())).await;
    let id = ask(&world, QueryOptions::default()).await;
    world.stop().await;

    // Another policy, a later state, and another intent model with another opinion.
    let other = "version = 1\n[default]\nroute = \"lexical\"\n";
    let plan = Plan { routes: Some(other), ..Plan::of_intent("lookup", 0.99) };
    let world = World::start(recorded(folder.path(), plan)).await;
    world.retriever.version.store(40, Ordering::SeqCst);
    world.model_host.intents_version.store(2, Ordering::SeqCst);
    let found = replayed(&world, &id).await;
    assert_eq!((found.verdict(), found.differences.as_slice()), (ReplayVerdict::Same, &[][..]), "{found:?}");
    let searched = world.retriever.searched.lock().expect("no test panics with it").clone();
    let as_of = searched.last().and_then(|request| request.as_of.clone()).and_then(|as_of| as_of.state);
    assert_eq!(as_of, Some(trivium_proto::retriever::v1::as_of::State::Version(7)));
    // The stand-in lists the intent model that serves alone.
    assert_eq!((found.not_retained[0].part.as_str(), found.not_retained[0].what.as_str()), ("model", "intents/1"));
    assert_eq!(world.model_host.generated.lock().expect("no test panics with it").len(), 0);
    // A replay is no new decision.
    assert_eq!(exported(&world, false).await.len(), 1);
}

#[tokio::test]
async fn a_replay_says_what_is_not_kept_any_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(recorded(folder.path(), Plan::default())).await;
    world.retriever.version.store(3, Ordering::SeqCst);
    let id = ask(&world, QueryOptions::default()).await;
    let found = replayed(&world, &id).await;
    assert_eq!(found.verdict(), ReplayVerdict::NotRetained);
    let missing = &found.not_retained[0];
    assert_eq!((missing.part.as_str(), missing.what.as_str()), ("snapshot", "docs at version 3"));
    assert_eq!(missing.reason, "SNAPSHOT_EXPIRED");

    let policies = folder.path().join("policies");
    for entry in std::fs::read_dir(policies).expect("a folder") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
    let found = replayed(&world, &id).await;
    assert_eq!((found.verdict(), found.not_retained[0].part.as_str()), (ReplayVerdict::NotRetained, "policy"));
}

#[tokio::test]
async fn a_replay_needs_the_very_query() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(recorded(folder.path(), Plan::default())).await;
    let id = ask(&world, QueryOptions { filter: "a = 1".into(), ..QueryOptions::default() }).await;
    let request = |query: &str, filter: &str| ReplayQueryRequest {
        request_id: id.clone(),
        query: query.into(),
        filter: filter.into(),
    };
    for (query, filter, reason, field) in [
        ("", "a = 1", Reason::FieldMissing, "query"),
        ("where is it", "a = 1", Reason::FieldInvalid, "query"),
        (QUERY, "", Reason::FieldMissing, "filter"),
        (QUERY, "a = 2", Reason::FieldInvalid, "filter"),
    ] {
        let error = replay(&world, request(query, filter)).await.expect_err(field);
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{query:?} {filter:?}");
    }
    assert_eq!(replay(&world, request(QUERY, "a = 1")).await.expect("replayed").verdict(), ReplayVerdict::Same);
    let error = replay(&world, ReplayQueryRequest::default()).await.expect_err("no name");
    assert_eq!((error.reason(), error.field()), (Reason::FieldMissing, Some("request_id")));
}

#[tokio::test]
async fn a_route_is_decided_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(recorded(folder.path(), Plan::of_intent("lookup", 0.9))).await;
    let id = world.route().await.expect("a decision").request_id;
    world.stop().await;
    let world = World::start(recorded(folder.path(), Plan::of_intent("factual", 0.7))).await;
    let found = replayed(&world, &id).await;
    // The same version of the model serves and says something else, which no model should.
    assert_eq!(found.verdict(), ReplayVerdict::Different);
    assert_eq!(found.differences, ["the intent model said lookup at 0.9, and says factual at 0.7"]);
    assert_eq!(found.decision.expect("decided").road(), Road::Lexical);
}
