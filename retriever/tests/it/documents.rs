//! Documents go in and come back.

use crate::service::{DOCS, Running, plain};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use trivium_proto::retriever::v1::*;

fn number(number: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(number)) }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

fn full_document() -> Document {
    let metadata = [("stars", number(4.0)), ("updated", text("2026-01-01T00:00:00Z")), ("free", text("anything"))];
    Document {
        id: "guide/ä".into(),
        title: "The guide".into(),
        text: "# One\n\nFirst paragraph.\n\n## Two\n\n```sh\nmake all\n```\n\nÜmläut and 漢字.\n".into(),
        uri: "https://example.org/guide".into(),
        content_type: ContentType::Markdown.into(),
        language: "de".into(),
        metadata: Some(Struct { fields: metadata.map(|(key, value)| (key.to_owned(), value)).into() }),
        vector: None,
    }
}

fn declared() -> Vec<MetadataField> {
    let field = |name: &str, kind: MetadataType| MetadataField { name: name.into(), r#type: kind.into() };
    vec![
        field("stars", MetadataType::Integer),
        field("updated", MetadataType::Timestamp),
        field("absent", MetadataType::Float),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_comes_back_as_it_was_handed_in() {
    let mut running = Running::start().await;
    running.create(DOCS, declared()).await.unwrap();
    let acknowledged = running.upsert(vec![full_document(), plain("other", "x")]).await;
    assert_eq!((acknowledged.upserted, acknowledged.unchanged), (2, 0));
    let mut restarted = running.restart_after(|_| {}).await;
    let got = restarted.get(&["missing", "guide/ä"]).await;
    assert_eq!(got.missing_document_ids, ["missing"]);
    assert_eq!(got.documents.len(), 1);
    assert_eq!(got.documents[0].document, Some(full_document()));
    assert_eq!(got.snapshot.unwrap().version, acknowledged.snapshot.unwrap().version);
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_are_normalised_and_titles_found() {
    let mut running = Running::with_collection().await;
    let markdown =
        Document { content_type: ContentType::Markdown.into(), ..plain("a", "\u{feff}# Head\r\n\r\nBody\r\n") };
    running.upsert(vec![markdown]).await;
    let got = running.get(&["a"]).await.documents.remove(0).document.unwrap();
    assert_eq!((got.title.as_str(), got.text.as_str()), ("Head", "# Head\n\nBody\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_batch_changes_nothing_and_embeds_nothing() {
    let mut running = Running::with_collection().await;
    let documents = vec![plain("a", "alpha words"), plain("b", "beta words")];
    let first = running.upsert(documents.clone()).await;
    let embedded = running.embedder.embedded();
    let again = running.upsert(documents).await;
    assert_eq!((again.upserted, again.unchanged, again.chunks), (0, 2, 0));
    assert_eq!(again.snapshot, first.snapshot);
    assert_eq!(running.embedder.embedded(), embedded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_document_leaves_nothing_behind() {
    let mut running = Running::with_collection().await;
    let long = (0..200).map(|n| format!("word{n} old. ")).collect::<String>();
    let many = running.upsert(vec![plain("a", &long), plain("b", "old friend")]).await;
    assert!(many.chunks > 3, "{many:?}");
    running.upsert(vec![plain("a", "brand new")]).await;
    let described = running.describe(DOCS).await;
    assert_eq!((described.documents, described.chunks), (2, 2));
    for leg in [Leg::Lexical, Leg::Semantic] {
        assert_eq!(running.found_by(leg, "old").await, ["b"], "{leg:?}");
        assert_eq!(running.found_by(leg, "brand").await, ["a"], "{leg:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_document_is_gone_from_both_legs() {
    let mut running = Running::with_collection().await;
    running.upsert(vec![plain("a", "alpha words"), plain("b", "beta words")]).await;
    let response = running.delete(&["a", "never there"]).await;
    assert_eq!(response.deleted, 1);
    assert_eq!(running.get(&["a"]).await.missing_document_ids, ["a"]);
    for leg in [Leg::Lexical, Leg::Semantic] {
        assert_eq!(running.found_by(leg, "words").await, ["b"], "{leg:?}");
    }
    assert_eq!(running.delete(&["b"]).await.deleted, 1);
    assert_eq!(running.describe(DOCS).await.chunks, 0);
    assert!(running.found_by(Leg::Semantic, "words").await.is_empty());
    running.upsert(vec![plain("a", "alpha words")]).await;
    assert_eq!(running.found_by(Leg::Lexical, "alpha").await, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_markup_alone_is_kept() {
    let mut running = Running::with_collection().await;
    let comment = Document { content_type: ContentType::Markdown.into(), ..plain("a", "<!-- nothing to see -->\n") };
    assert_eq!(running.upsert(vec![comment.clone()]).await.upserted, 1);
    assert_eq!(running.get(&["a"]).await.documents[0].document.as_ref().unwrap().text, comment.text);
    assert!(running.found_by(Leg::Lexical, "nothing to see").await.is_empty());
    assert!(running.found_by(Leg::Semantic, "nothing to see").await.is_empty());
}

fn any_document() -> impl Strategy<Value = (String, bool)> {
    let piece = prop::sample::select(vec![
        "# Heading\n",
        "\n\n",
        "word ",
        "Sentence one. ",
        "- item\n",
        "```\ncode\n```\n",
        "é漢字 ",
        "👩‍👩‍👧 ",
        "\r\n",
        "<!-- c -->",
        "\t",
        "| a | b |\n",
    ]);
    let text = prop::collection::vec(piece, 1..120).prop_map(|pieces| format!("x{}", pieces.concat()));
    (text, any::<bool>())
}

/// The tiles must hold through chunking, storage and reading, for any text.
#[test]
fn chunks_tile_the_text_of_any_document() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let running = runtime.block_on(Running::with_collection());
    let running = std::cell::RefCell::new(running);
    let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
    let result = runner.run(&any_document(), |(text, markdown)| {
        let kind = if markdown { ContentType::Markdown } else { ContentType::Plain };
        let document = Document { content_type: kind.into(), title: "t".into(), ..plain("a", &text) };
        let mut running = running.borrow_mut();
        runtime.block_on(running.upsert(vec![document]));
        let got = runtime.block_on(running.get(&["a"])).documents.remove(0);
        let stored = got.document.unwrap().text;
        prop_assert_eq!(&stored, &text.replace("\r\n", "\n"));
        let mut end = 0;
        for (number, chunk) in got.chunks.iter().enumerate() {
            prop_assert_eq!((chunk.chunk_no as usize, chunk.char_start), (number, end));
            end = chunk.char_end;
        }
        prop_assert_eq!(end as usize, stored.chars().count());
        Ok(())
    });
    result.unwrap();
}
