//! Every road, every rung of the ladder, and whatever else leaves a span or a number.

use std::{path::Path, time::Duration};

use tonic::{client::Grpc, codegen::http::uri::PathAndQuery, metadata::MetadataValue};
use tonic_prost::ProstCodec;
use trivium_proto::{
    model::v1::{EmbedRequest, GenerateRequest, GenerationPassage, GetTokenizerRequest},
    retriever::v1::{
        Document, Fusion, Leg, ReciprocalRankFusion, Rerank, RerankMethod, SearchRequest, UpsertDocumentsRequest,
        fusion::Method,
    },
    router::v1::{AnswerMode, QueryOptions, QueryRequest, QueryResponse, Road, RouteRequest},
};
use trivium_service_kit::{ClientOptions, Deadline, Error, GrpcChannel, Reason, Service};

use super::system::{Router, System};
use crate::{faults::proxy::Fault, process::run};

/// Stands in every query, passage, title and filter, and in the baggage of a caller. No name has it.
pub const MARKER: &str = "zqxjkv";

/// The trace of a call that its caller does not sample.
pub const UNSAMPLED: &str = "0af7651916cd43dd8448eb211c80319c";

/// The trace of a call that its caller samples.
pub const SAMPLED: &str = "0bf7651916cd43dd8448eb211c80319c";

/// Documents of the collection: one commit each, more than fragments are left alone.
const COMMITS: usize = 20;

/// Drives the whole system.
pub async fn everything(system: &System, folder: &Path) {
    Box::pin(write(system, folder)).await;
    Box::pin(roads(system)).await;
    Box::pin(searches(system)).await;
    Box::pin(models(system)).await;
    Box::pin(callers(system)).await;
    Box::pin(rungs(system)).await;
    if !system.captures_content() {
        Box::pin(failures(system)).await;
    }
}

/// The name of a query's road in its response.
fn road(response: &QueryResponse) -> &'static str {
    response.decision.as_ref().expect("a decision").road().as_str_name()
}

/// What a response does without.
fn parts(response: &QueryResponse) -> Vec<&str> {
    response.account.as_ref().expect("an account").degraded.iter().map(|part| part.part.as_str()).collect()
}

async fn ask(router: &Router, query: &str, options: QueryOptions) -> Result<QueryResponse, Error> {
    let request = QueryRequest { query: query.to_owned(), options: Some(options), ..QueryRequest::default() };
    let deadline = Deadline::after(Duration::from_secs(20));
    Ok(router.clone().query(deadline.request(request)).await?.into_inner())
}

fn question() -> String {
    format!("How are the {MARKER} signing keys rotated?")
}

fn over(road: Road) -> QueryOptions {
    QueryOptions { road: road.into(), ..QueryOptions::default() }
}

fn by_cross_encoder() -> Rerank {
    Rerank { method: RerankMethod::CrossEncoder.into(), ..Rerank::default() }
}

fn within(collections: &[&str]) -> QueryOptions {
    let collections = collections.iter().map(|&name| name.to_owned()).collect();
    QueryOptions { collections, ..QueryOptions::default() }
}

/// A page by the command line, and as many commits as lead to a compaction.
async fn write(system: &System, folder: &Path) {
    let page = folder.join("keys.md");
    let text =
        format!("# Keys {MARKER}\n\nThe {MARKER} signing keys are rotated every ninety days by the platform team.\n");
    fs_err::write(&page, text).expect("written");
    let mut command = system.client(&["ingest", "--endpoint", &system.retriever_url]);
    command.arg(&page);
    let ended = tokio::task::spawn_blocking(move || run(command)).await.expect("run");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for number in 0..COMMITS {
        let document = Document {
            id: format!("note-{number}"),
            title: format!("Note {number} {MARKER}"),
            text: format!("Note {number} about {MARKER} keys."),
            ..Document::default()
        };
        let batch =
            UpsertDocumentsRequest { collection: "docs".into(), documents: vec![document], ..Default::default() };
        let mut acknowledged =
            system.retriever.clone().upsert_documents(tokio_stream::once(batch)).await.expect("taken").into_inner();
        let acknowledgement = acknowledged.message().await.expect("no error").expect("acknowledged");
        assert_eq!(acknowledgement.upserted, 1);
    }
}

async fn roads(system: &System) {
    let router = &system.by_intent;
    for (wanted, name) in
        [(Road::Lexical, "ROAD_LEXICAL"), (Road::Semantic, "ROAD_SEMANTIC"), (Road::Hybrid, "ROAD_HYBRID")]
    {
        let response = ask(router, &question(), over(wanted)).await.expect("an answer");
        assert_eq!((road(&response), response.passages.is_empty()), (name, false));
    }
    let direct = QueryOptions { generator: "answers".into(), ..over(Road::Direct) };
    let response = ask(router, &question(), direct).await.expect("an answer");
    assert_eq!((road(&response), response.answer.as_str()), ("ROAD_DIRECT", "The answer. "));

    // By the intent, and once more from the cache.
    let response = ask(router, &question(), QueryOptions::default()).await.expect("an answer");
    assert!(!response.decision.expect("a decision").intent.is_empty(), "the intent model was asked");
    let again = ask(router, &question(), QueryOptions::default()).await.expect("an answer");
    assert!(again.account.expect("an account").cached);

    // A fixed reply, by a guard.
    let quoted = format!("What are \"{MARKER} keys\"?");
    let response = ask(&system.unbelieving, &quoted, QueryOptions::default()).await.expect("an answer");
    assert_eq!((road(&response), response.answer.as_str()), ("ROAD_REPLY", "Exact words."));

    // Several intents at once.
    let unsure = within(&["no-semantic"]);
    let response = ask(&system.blending, &question(), unsure).await.expect("an answer");
    assert!(response.decision.expect("a decision").weights.is_some(), "the decision is unsure");

    for router in [router, &system.unbelieving, &system.blending] {
        for query in [question(), format!("\"{MARKER} keys\"")] {
            let request = RouteRequest { query, ..RouteRequest::default() };
            router.clone().route(request).await.expect("a decision");
        }
    }
}

async fn searches(system: &System) {
    let search = SearchRequest { collection: "docs".into(), query: question(), ..SearchRequest::default() };
    let by_rank = Fusion { method: Some(Method::ReciprocalRank(ReciprocalRankFusion::default())), weights: None };
    let fused = SearchRequest { fusion: Some(by_rank), filter: format!("uri != \"{MARKER}\""), ..search.clone() };
    system.retriever.clone().search(fused).await.expect("hits");
    // The second stage is late interaction where nothing else is asked for.
    let late = system.retriever.clone().search(search.clone()).await.expect("hits").into_inner();
    let read = SearchRequest { rerank: Some(by_cross_encoder()), ..search.clone() };
    let read = system.retriever.clone().search(read).await.expect("hits").into_inner();
    for (found, wanted) in [(late, RerankMethod::LateInteraction), (read, RerankMethod::CrossEncoder)] {
        let report = found.rerank.expect("a second stage");
        assert_eq!((report.method(), report.left_out_reason.as_str()), (wanted, ""));
    }
    let wrong = SearchRequest { filter: format!("{MARKER} ="), ..search.clone() };
    let error: Error = system.retriever.clone().search(wrong).await.expect_err("no filter").into();
    assert_eq!(error.reason(), Reason::FilterInvalid);

    let mut command = system.client(&["ask", &question(), "--json", "--endpoint", &system.router_url]);
    command.args(["--filter", &format!("uri IS NULL OR uri != \"{MARKER}\"")]);
    let asked = tokio::task::spawn_blocking(move || run(command)).await.expect("run");
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    for args in [["search"], ["route"]] {
        let url = if args == ["search"] { &system.retriever_url } else { &system.router_url };
        let mut command = system.client(&args);
        command.args([question().as_str(), "--json", "--endpoint", url]);
        let ended = tokio::task::spawn_blocking(move || run(command)).await.expect("run");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
}

/// What the model host is asked for by others than the router.
async fn models(system: &System) {
    let host = &system.model_host;
    let passage = GenerationPassage { number: 1, text: format!("{MARKER} keys."), ..GenerationPassage::default() };
    let short = GenerateRequest {
        query: question(),
        passages: vec![passage],
        generator: "answers".into(),
        max_output_tokens: 8,
        ..GenerateRequest::default()
    };
    let mut pieces = host.clone().generate(short).await.expect("an answer").into_inner();
    while pieces.message().await.expect("a piece").is_some() {}

    // Callers take turns, so that texts of all three share batches; the queue is too short for two more that are full.
    let texts = |number: usize| {
        let texts =
            (0..number).map(|text| format!("{MARKER} text {text} about the rotation of signing keys")).collect();
        let request = EmbedRequest { texts, ..EmbedRequest::default() };
        async move {
            system.another_model_host_client().embed(Deadline::after(Duration::from_secs(60)).request(request)).await
        }
    };
    let (one, other, third) = tokio::join!(texts(80), texts(80), texts(80));
    for embedded in [one, other, third] {
        embedded.expect("vectors");
    }
    let (one, other) = tokio::join!(texts(256), texts(256));
    let refused = [one, other].into_iter().filter_map(Result::err).map(Error::from);
    assert!(refused.into_iter().any(|error| error.reason() == Reason::Overloaded), "the queue is full");

    // The one place is taken for as long as the answer goes on.
    let silent = GenerateRequest { query: question(), generator: "silent".into(), ..GenerateRequest::default() };
    let mut narrow = system.narrow_model_host.clone();
    let mut answer = narrow.generate(silent).await.expect("an answer").into_inner();
    answer.message().await.expect("a piece").expect("a piece");
    let error: Error = narrow.get_tokenizer(GetTokenizerRequest::default()).await.expect_err("no place").into();
    assert_eq!(error.reason(), Reason::Overloaded);
}

/// Callers from outside: those that bring a trace, and those that bring what they should not.
async fn callers(system: &System) {
    for (trace, flags) in [(UNSAMPLED, "00"), (SAMPLED, "01")] {
        let query = QueryRequest { query: question(), ..QueryRequest::default() };
        let mut request = tonic::Request::new(query);
        let parent = format!("00-{trace}-b7ad6b7169203331-{flags}");
        for (name, value) in [("traceparent", parent), ("baggage", format!("user={MARKER}"))] {
            request.metadata_mut().insert(name, MetadataValue::try_from(value).expect("ASCII"));
        }
        system.plain_router_client().await.query(request).await.expect("an answer");
    }
    let to = ClientOptions { endpoint: system.router_url.clone(), ..ClientOptions::default() };
    let mut client = Grpc::new(GrpcChannel::connect(Service::Cli, Service::Router, &to).expect("an address"));
    client.ready().await.expect("ready");
    let path = PathAndQuery::try_from(format!("/trivium.router.v1.RouterService/{MARKER}")).expect("a path");
    let codec = ProstCodec::<QueryRequest, QueryResponse>::default();
    let unknown = client.unary(tonic::Request::new(QueryRequest::default()), path, codec).await;
    assert_eq!(Error::from(unknown.expect_err("no such method")).reason(), Reason::MethodUnknown);
}

/// Every step down the ladder.
async fn rungs(system: &System) {
    let by = |generator: &str| QueryOptions { generator: generator.to_owned(), ..over(Road::Lexical) };
    let blending = &system.blending;
    let hybrid = |collections: &[&str]| QueryOptions { road: Road::Hybrid.into(), ..within(collections) };
    let table: [(&Router, QueryOptions, &[&str]); 7] = [
        (blending, hybrid(&["no-semantic"]), &["semantic_leg"]),
        (blending, hybrid(&["no-lexical"]), &["lexical_leg"]),
        (blending, hybrid(&["no-lexical", "gone"]), &["lexical_leg", "collection"]),
        (blending, within(&["gone"]), &["retriever"]),
        (&system.by_intent, by("dead"), &["generator"]),
        (&system.by_intent, by("breaks"), &["generator"]),
        (&system.unbelieving, QueryOptions::default(), &["generator"]),
    ];
    for (router, options, expected) in table {
        let response = ask(router, &question(), options.clone()).await;
        let response = response.unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert_eq!(parts(&response), expected, "{options:?}");
    }
    // No cross-encoder, where the query needs no other model.
    system.retriever_to_model_host.set(Fault::Down);
    let reread =
        QueryOptions { rerank: Some(by_cross_encoder()), answer_mode: AnswerMode::None.into(), ..over(Road::Lexical) };
    let response = ask(&system.by_intent, &question(), reread).await.expect("passages");
    assert_eq!(parts(&response), ["rerank"]);
    // No intent, and no vector.
    system.router_to_model_host.set(Fault::Down);
    let passages_alone = QueryOptions { answer_mode: AnswerMode::None.into(), ..QueryOptions::default() };
    let response = ask(&system.by_intent, &format!("{} Now?", question()), passages_alone).await.expect("passages");
    assert_eq!(parts(&response), ["intent", "embedding"]);
    // No vector for a search that brings none.
    let search =
        SearchRequest { collection: "docs".into(), query: question(), allow_partial: true, ..SearchRequest::default() };
    let found = system.retriever.clone().search(search).await.expect("hits").into_inner();
    let missing: Vec<Leg> = found.legs.iter().filter(|leg| leg.missing).map(|leg| leg.leg()).collect();
    assert_eq!(missing, [Leg::Semantic]);
}

/// What fails: after these the services are as they would be in an outage.
async fn failures(system: &System) {
    let request = RouteRequest { query: question(), ..RouteRequest::default() };
    let error: Error = system.by_intent.clone().route(request).await.expect_err("no model host").into();
    assert_eq!(error.reason(), Reason::ModelHostUnavailable);
    let error = ask(&system.by_intent, &question(), within(&["nowhere"])).await.expect_err("no collection");
    assert_eq!(error.reason(), Reason::CollectionNotFound);
    system.router_to_retriever.set(Fault::Down);
    // Enough of them for the breaker to open, whatever went well in the seconds before.
    for _ in 0..40 {
        let error = ask(&system.by_intent, &question(), over(Road::Lexical)).await.expect_err("no retriever");
        assert_eq!(error.reason(), Reason::RetrieverUnavailable);
    }
}
