//! The service over real gRPC, with the tiny encoder.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use trivium_model_host::{OpenAiOptions, Options, start};
use trivium_proto::model::v1 as proto;
use trivium_proto::model::v1::model_service_client::ModelServiceClient;
use trivium_service_kit::{ClientOptions, Deadline, GrpcChannel, Reason, ServerOptions, Service};

use crate::support::completions::{Completions, Reply, events};
use crate::support::host::{Host, analyze, models_with_intents, refusal};
use crate::support::{MAX_TOKENS, TinyModels};

/// All events of an answer, or what ended it.
async fn generate(host: &mut Host, request: proto::GenerateRequest) -> Result<Answer, Status> {
    let mut stream = host.client.generate(request).await?.into_inner();
    let mut answer = Answer::default();
    while let Some(response) = stream.message().await? {
        match response.event.unwrap() {
            proto::generate_response::Event::Text(text) => answer.text.push_str(&text),
            proto::generate_response::Event::Citation(citation) => answer.citations.push(citation),
            proto::generate_response::Event::Summary(summary) => answer.summary = Some(summary),
        }
    }
    Ok(answer)
}

#[derive(Default)]
struct Answer {
    text: String,
    citations: Vec<proto::Citation>,
    summary: Option<proto::GenerationSummary>,
}

fn passage(number: u32, text: &str) -> proto::GenerationPassage {
    proto::GenerationPassage { number, text: text.to_owned(), ..proto::GenerationPassage::default() }
}

#[tokio::test]
async fn analyze_gives_what_was_asked_for() {
    let mut host = Host::start_with(models_with_intents(), |_| ()).await;
    let both = host.client.analyze(analyze("the moon moon moon", true, true)).await.unwrap().into_inner();
    let intent = both.intent.clone().unwrap();
    assert_eq!((intent.label.as_str(), intent.out_of_scope), ("out_of_scope", true));
    assert!((0.5..=1.0).contains(&intent.confidence) && intent.margin > 0.0);
    assert_eq!(intent.runners_up.len(), 1);
    assert_eq!(intent.model.unwrap().name, "intents");
    assert_eq!((both.vectors.len(), both.vectors[0].values.len()), (1, 32));
    assert_eq!(both.vectors[0].embedder.as_ref().unwrap().version, "1");
    assert_eq!((both.tokens, both.truncated), (6, false));
    assert!(both.timings.unwrap().forward_ms > 0.0);

    let alone = host.client.analyze(analyze("the moon moon moon", true, false)).await.unwrap().into_inner();
    assert_eq!(alone.intent.unwrap().label, "out_of_scope");
    assert!(alone.vectors.is_empty() && alone.tokens == 6);
    let vector = host.client.analyze(analyze("the moon moon moon", false, true)).await.unwrap().into_inner();
    assert_eq!(vector.vectors, both.vectors);
    assert!(vector.intent.is_none());
}

#[tokio::test]
async fn bad_queries_are_refused_by_field() {
    let mut host = Host::start().await;
    let long = "a ".repeat(500_000);
    let turn = proto::Turn { role: 1, text: "earlier".to_owned() };
    let with_turn = proto::AnalyzeRequest { earlier_turns: vec![turn], ..analyze("a", true, true) };
    let table = [
        (analyze("", true, true), Code::InvalidArgument, Reason::QueryEmpty, "text"),
        (analyze(" \n", true, true), Code::InvalidArgument, Reason::QueryEmpty, "text"),
        (analyze(&long, true, true), Code::InvalidArgument, Reason::QueryTooLong, "text"),
        (analyze("a\u{0}b", true, true), Code::InvalidArgument, Reason::FieldInvalid, "text"),
        (analyze("a", false, false), Code::InvalidArgument, Reason::FieldMissing, "intent"),
        (with_turn, Code::Unimplemented, Reason::NotServed, "earlier_turns"),
    ];
    for (request, code, reason, field) in table {
        let refused = refusal(host.client.analyze(request).await.unwrap_err());
        assert_eq!(refused, (code, reason, Some(field.to_owned())));
    }
    assert!(host.client.analyze(analyze("a", false, true)).await.is_ok());
}

#[tokio::test]
async fn embed_keeps_the_order_and_says_what_it_cut() {
    let mut host = Host::start().await;
    let long = "moon ".repeat(MAX_TOKENS);
    let embedded = host.embed(&["hello", &long, "the cat is"]).await.unwrap();
    assert_eq!(embedded.model.unwrap().name, "tiny");
    let sizes: Vec<(u32, bool)> = embedded.embeddings.iter().map(|e| (e.tokens, e.truncated)).collect();
    assert_eq!(sizes, [(3, false), (MAX_TOKENS as u32, true), (5, false)]);
    let expected = host.models.encoder().embed_all(&["hello", &long, "the cat is"], |_| ()).unwrap();
    for (found, expected) in embedded.embeddings.iter().zip(expected) {
        let cosine: f32 = found.values.iter().zip(&expected).map(|(a, b)| a * b).sum();
        assert!((cosine - 1.0).abs() < 1e-5);
    }
}

#[tokio::test]
async fn bad_texts_are_refused_by_field() {
    let mut host = Host::start().await;
    let many = vec!["a"; 257];
    let long = "a".repeat(65_537);
    let table: [(&[&str], Reason, &str); 4] = [
        (&[], Reason::FieldMissing, "texts"),
        (&many, Reason::FieldOutOfRange, "texts"),
        (&["a", " "], Reason::FieldInvalid, "texts[1]"),
        (&[&long], Reason::FieldOutOfRange, "texts[0]"),
    ];
    for (texts, reason, field) in table {
        let refused = refusal(host.embed(texts).await.unwrap_err());
        assert_eq!(refused, (Code::InvalidArgument, reason, Some(field.to_owned())));
    }
    let named = |name: &str, version: &str| proto::EmbedRequest {
        texts: vec!["a".to_owned()],
        model: Some(proto::ModelRef { name: name.to_owned(), version: version.to_owned() }),
        ..proto::EmbedRequest::default()
    };
    let refused = refusal(host.client.embed(named("tiny", "2")).await.unwrap_err());
    assert_eq!(refused, (Code::NotFound, Reason::ModelNotFound, Some("model".to_owned())));
    assert!(host.client.embed(named("tiny", "")).await.is_ok());
    let unknown = proto::EmbedRequest { priority: 9, ..named("tiny", "1") };
    let refused = refusal(host.client.embed(unknown).await.unwrap_err());
    assert_eq!(refused.2.as_deref(), Some("priority"));
}

#[tokio::test]
async fn the_tokenizer_counts_as_the_encoder_does() {
    let mut host = Host::start().await;
    let given = host.client.get_tokenizer(proto::GetTokenizerRequest::default()).await.unwrap().into_inner();
    assert_eq!((given.max_tokens, given.special_tokens, given.dimension), (MAX_TOKENS as u32, 2, 32));
    assert_eq!(given.sha256, trivium_model_host::bundle::sha256_hex(&given.tokenizer_json));
    let tokenizer = tokenizers::Tokenizer::from_bytes(&given.tokenizer_json).unwrap();
    let long = "moon ".repeat(100);
    assert_eq!(tokenizer.encode(long.as_str(), true).unwrap().len(), 102);
}

#[tokio::test]
async fn extractive_answers_quote_and_cite() {
    let mut host = Host::start().await;
    let quoted = "To restart a replica, use the error code of the index.";
    let request = proto::GenerateRequest {
        query: "How to restart the replica?".to_owned(),
        passages: vec![
            passage(3, "The cat is a song. It is the moon of hello."),
            passage(5, &format!("Hello.\n\n{quoted}")),
        ],
        ..proto::GenerateRequest::default()
    };
    let answer = generate(&mut host, request).await.unwrap();
    assert!(answer.text.starts_with(&format!("{quoted} [5]")), "{}", answer.text);
    let citation = &answer.citations[0];
    assert_eq!((citation.passage_number, citation.quote.as_str()), (5, quoted));
    let cited: String = answer.text.chars().take(citation.answer_end as usize).collect();
    assert_eq!(cited, quoted);
    let summary = answer.summary.unwrap();
    assert_eq!((summary.generator.as_str(), summary.finish_reason()), ("extractive", proto::FinishReason::Stop));
    assert_eq!(summary.model.unwrap().name, "tiny");
}

#[tokio::test]
async fn extractive_says_when_the_passages_hold_nothing() {
    let mut host = Host::start().await;
    let request = proto::GenerateRequest {
        query: "How to restart the replica?".to_owned(),
        passages: vec![passage(1, "# Only a title\n\nShort.")],
        generator: "extractive".to_owned(),
        ..proto::GenerateRequest::default()
    };
    let answer = generate(&mut host, request).await.unwrap();
    assert!(answer.text.contains("do not answer") && answer.citations.is_empty());
    assert_eq!(answer.summary.unwrap().finish_reason(), proto::FinishReason::NotInPassages);
}

#[tokio::test]
async fn bad_generations_are_refused_by_field() {
    let mut host = Host::start().await;
    let request = |passages: Vec<proto::GenerationPassage>, generator: &str| proto::GenerateRequest {
        query: "why?".to_owned(),
        passages,
        generator: generator.to_owned(),
        ..proto::GenerateRequest::default()
    };
    let many = (1..=65).map(|number| passage(number, "a")).collect();
    let table = [
        (request(vec![], ""), Code::FailedPrecondition, Reason::NoGenerator, None),
        (request(vec![passage(1, "a")], "gpt"), Code::NotFound, Reason::GeneratorNotFound, Some("generator")),
        (request(vec![passage(0, "a")], ""), Code::InvalidArgument, Reason::FieldInvalid, Some("passages[0].number")),
        (
            request(vec![passage(1, "a"), passage(1, "b")], ""),
            Code::InvalidArgument,
            Reason::FieldInvalid,
            Some("passages[1].number"),
        ),
        (request(many, ""), Code::InvalidArgument, Reason::FieldOutOfRange, Some("passages")),
    ];
    for (request, code, reason, field) in table {
        let refused = refusal(generate(&mut host, request).await.err().unwrap());
        assert_eq!(refused, (code, reason, field.map(str::to_owned)));
    }
}

#[tokio::test]
async fn a_configured_server_answers_without_passages() {
    let chunk = r#"{"choices":[{"delta":{"content":"Hello."},"finish_reason":"stop"}]}"#;
    let server = Completions::always(Reply::then_closes(events(&[chunk, "[DONE]"]))).await;
    let generator =
        OpenAiOptions { base_url: server.base_url, model: "some-model".to_owned(), ..OpenAiOptions::default() };
    let mut host = Host::start_with(TinyModels::new(), |options| {
        options.generators = BTreeMap::from([("local".to_owned(), generator)]);
    })
    .await;
    let request = proto::GenerateRequest {
        query: "hello".to_owned(),
        generator: "local".to_owned(),
        ..proto::GenerateRequest::default()
    };
    let answer = generate(&mut host, request).await.unwrap();
    assert_eq!(answer.text, "Hello.");
    let summary = answer.summary.unwrap();
    assert_eq!((summary.generator.as_str(), summary.model.unwrap().name.as_str()), ("local", "some-model"));
    let models = host.client.list_models(proto::ListModelsRequest {}).await.unwrap().into_inner().models;
    let kinds: Vec<proto::ModelKind> = models.iter().map(proto::Model::kind).collect();
    assert_eq!(kinds, [proto::ModelKind::Encoder, proto::ModelKind::Generator, proto::ModelKind::Generator]);
}

#[tokio::test]
async fn a_host_without_models_serves_and_says_what_to_do() {
    let models = TinyModels::new();
    let mut host = Host::start_with(models, |options| options.encoder = "absent".to_owned()).await;
    let refused = refusal(host.client.analyze(analyze("a", true, true)).await.unwrap_err());
    assert_eq!((refused.0, refused.1), (Code::FailedPrecondition, Reason::NoModel));
    let refused = refusal(host.client.analyze(analyze("a", true, false)).await.unwrap_err());
    assert_eq!((refused.0, refused.1), (Code::FailedPrecondition, Reason::NoModel));
    assert_eq!(host.client.list_models(proto::ListModelsRequest {}).await.unwrap().into_inner().models.len(), 1);
}

#[tokio::test]
async fn a_damaged_bundle_fails_what_needs_it_and_no_more() {
    let models = models_with_intents();
    std::fs::write(models.folder.path().join("intents/1/head.safetensors"), "rubbish").unwrap();
    let mut host = Host::start_with(models, |_| ()).await;
    let status = host.client.analyze(analyze("a", true, true)).await.unwrap_err();
    assert!(status.message().contains("head.safetensors"), "{status}");
    assert_eq!(refusal(status).1, Reason::ModelDamaged);
    assert!(host.client.analyze(analyze("a", false, true)).await.is_ok());
    let models = host.client.list_models(proto::ListModelsRequest {}).await.unwrap().into_inner().models;
    let damaged = models.iter().find(|model| model.model.as_ref().unwrap().name == "intents").unwrap();
    assert!(damaged.problem.contains("head.safetensors") && !damaged.serving && !damaged.loaded, "{damaged:?}");
}

#[tokio::test]
async fn a_deadline_that_passed_is_deadline_exceeded() {
    let host = Host::start().await;
    // The kit's own channel: a plain one has a timer on the header as well, which answers CANCELLED by itself
    // when it comes before the server.
    let options = ClientOptions::to(host.handle.addr().port());
    let channel = GrpcChannel::connect(Service::Router, Service::ModelHost, &options).unwrap();
    let request = Deadline::after(Duration::ZERO).request(analyze("a", false, true));
    let status = ModelServiceClient::new(channel).analyze(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let host = Host::start().await;
    let addr = host.handle.addr();
    let server = ServerOptions { addr, ..ServerOptions::at(0) };
    let refused = start(Options { server, ..Options::default() }, CancellationToken::new()).await;
    let message = refused.expect_err("the port is in use").to_string();
    assert!(message.contains(&addr.to_string()), "{message}");
}
