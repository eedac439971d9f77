//! Filters through the interface: each type, both legs, and what is refused.

use crate::service::{DOCS, Running, plain, search};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use trivium_proto::retriever::v1::*;
use trivium_service_kit::{Error, Reason};

const BOTH: [Leg; 2] = [Leg::Lexical, Leg::Semantic];

fn number(number: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(number)) }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

fn flag(flag: bool) -> Value {
    Value { kind: Some(Kind::BoolValue(flag)) }
}

fn list(items: &[&str]) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values: items.iter().map(|item| text(item)).collect() })) }
}

fn document<const N: usize>(id: &str, metadata: [(&str, Value); N]) -> Document {
    let fields = metadata.map(|(key, value)| (key.to_owned(), value)).into();
    Document { metadata: Some(Struct { fields }), ..plain(id, &format!("common words of {id}")) }
}

fn declared() -> Vec<MetadataField> {
    let field = |name: &str, kind: MetadataType| MetadataField { name: name.into(), r#type: kind.into() };
    vec![
        field("lang", MetadataType::String),
        field("stars", MetadataType::Integer),
        field("price", MetadataType::Float),
        field("public", MetadataType::Boolean),
        field("updated_at", MetadataType::Timestamp),
        field("tags", MetadataType::StringList),
    ]
}

async fn fill(running: &mut Running) {
    running.create(DOCS, declared()).await.unwrap();
    let full = document(
        "full",
        [
            ("lang", text("en")),
            ("stars", number(5.0)),
            ("price", number(9.99)),
            ("public", flag(true)),
            ("updated_at", text("2026-02-03T12:00:00+01:00")),
            ("tags", list(&["billing", "keys"])),
            ("undeclared", text("x")),
        ],
    );
    let other = document(
        "other",
        [
            ("lang", text("de")),
            ("stars", number(2.0)),
            ("price", number(20.0)),
            ("public", flag(false)),
            ("updated_at", text("2025-12-31")),
            ("tags", list(&[])),
        ],
    );
    let bare = Document { language: "fr".into(), uri: "docs/bare.md".into(), ..document("bare", []) };
    running.upsert(vec![full, other, bare]).await;
}

async fn filled() -> Running {
    let mut running = Running::start().await;
    fill(&mut running).await;
    running
}

fn filtered(legs: &[Leg], filter: &str) -> SearchRequest {
    let legs = legs.iter().map(|leg| i32::from(*leg)).collect();
    SearchRequest { legs, k: Some(100), filter: filter.into(), ..search("common words") }
}

async fn found(running: &mut Running, legs: &[Leg], filter: &str) -> Vec<String> {
    let response = running.search(filtered(legs, filter)).await.unwrap_or_else(|error| panic!("{filter}: {error}"));
    let mut ids: Vec<String> = response.hits.into_iter().map(|hit| hit.document_id).collect();
    ids.sort();
    ids
}

const CASES: [(&str, &[&str]); 24] = [
    (r#"lang = "en""#, &["full"]),
    (r#"lang != "en""#, &["other"]),
    (r#"NOT lang = "en""#, &["bare", "other"]),
    (r#"lang IN ("de", "en", "fr")"#, &["full", "other"]),
    (r#"lang > "de""#, &["full"]),
    ("stars >= 3", &["full"]),
    ("stars = 2 or stars = 5", &["full", "other"]),
    ("stars < -1", &[]),
    ("price < 10", &["full"]),
    ("price IN (20.0, 7)", &["other"]),
    ("public = true", &["full"]),
    ("public != TRUE", &["other"]),
    (r#"updated_at >= "2026-01-01""#, &["full"]),
    (r#"updated_at = "2026-02-03T11:00:00Z""#, &["full"]),
    (r#"updated_at < "2026-01-01T00:00:00Z""#, &["other"]),
    (r#"tags HAS "billing""#, &["full"]),
    (r#"NOT tags has "billing""#, &["bare", "other"]),
    ("tags IS NULL", &["bare"]),
    ("tags IS NOT NULL AND NOT (stars > 3)", &["other"]),
    (r#"lang = "en" AND updated_at >= "2026-01-01" AND tags HAS "billing""#, &["full"]),
    (r#"document_id IN ("bare", "full")"#, &["bare", "full"]),
    (r#"language = "fr""#, &["bare"]),
    (r#"uri >= "docs/" AND uri < "docs0""#, &["bare"]),
    ("language IS NULL", &["full", "other"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_type_is_filtered_on_each_leg_and_on_both() {
    let mut running = filled().await;
    for (filter, expected) in CASES {
        for legs in [&BOTH[..1], &BOTH[1..], &BOTH[..]] {
            assert_eq!(found(&mut running, legs, filter).await, expected, "{legs:?}: {filter}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_beyond_its_budget_of_memory_is_filtered_through_its_table() {
    let mut running = Running::start_with(|options| options.exact_vectors_bytes = 1).await;
    fill(&mut running).await;
    for (filter, expected) in CASES {
        assert_eq!(found(&mut running, &[Leg::Semantic], filter).await, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_comes_before_the_best_are_chosen() {
    let mut running = Running::start().await;
    running.create(DOCS, declared()).await.unwrap();
    let near = |n: u32| document(&format!("near{n:03}"), [("stars", number(1.0))]);
    let mut documents: Vec<Document> = (0..300).map(near).collect();
    let far = Document {
        text: "common, and much else that was not asked for".into(),
        ..document("far", [("stars", number(2.0))])
    };
    documents.push(far);
    running.upsert(documents).await;
    for legs in [&BOTH[..1], &BOTH[1..], &BOTH[..]] {
        for group_by_document in [false, true] {
            let request = SearchRequest { k: Some(1), group_by_document, ..filtered(legs, "stars = 2") };
            let hits = running.search(request).await.unwrap().hits;
            assert_eq!(hits.iter().map(|hit| hit.document_id.as_str()).collect::<Vec<_>>(), ["far"], "{legs:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_hold_after_a_change_and_after_a_restart() {
    let mut running = filled().await;
    running.upsert(vec![document("other", [("lang", text("en"))])]).await;
    running.delete(&["full"]).await;
    for legs in [&BOTH[..1], &BOTH[1..]] {
        assert_eq!(found(&mut running, legs, r#"lang = "en""#).await, ["other"]);
        assert!(found(&mut running, legs, "stars IS NOT NULL").await.is_empty());
    }
    let lexical = |folder: &std::path::Path| folder.join("collections").join(DOCS).join("lexical");
    let mut restarted = running.restart_after(|folder| std::fs::remove_dir_all(lexical(folder)).unwrap()).await;
    for legs in [&BOTH[..1], &BOTH[1..]] {
        assert_eq!(found(&mut restarted, legs, r#"lang = "en""#).await, ["other"], "after a rebuild");
        assert_eq!(found(&mut restarted, legs, "lang IS NULL").await, ["bare"], "after a rebuild");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_will_not_do_is_refused_with_its_place() {
    let mut running = filled().await;
    let deep = |levels: usize| format!("{}stars = 1{}", "(".repeat(levels), ")".repeat(levels));
    let cases = [
        (r#"Lang = "en""#.to_owned(), "at offset 0: there is no field \"Lang\"; the fields are lang, stars"),
        (r#"stars = 1 AND undeclared = "x""#.into(), "at offset 14: there is no field \"undeclared\""),
        (r#"stars = "5""#.into(), "at offset 8: stars is a whole number: expected a whole number"),
        ("lang = 5".into(), "expected a text in double quotes, found \"5\""),
        (r#"tags = "billing""#.into(), "expected HAS or IS NULL"),
        (r#"lang HAS "en""#.into(), "lang is a string"),
        (r#"updated_at > "soon""#.into(), "expected an RFC 3339 timestamp or a date"),
        ("stars >".into(), "at offset 7: "),
        (deep(10_000), "the limit is 8192"),
        (deep(4_000), "nested deeper than 64 levels"),
        (vec!["stars = 1"; 257].join(" OR "), "more than 256 comparisons"),
        (" ".into(), "expected a field"),
    ];
    for (filter, expected) in cases {
        let error: Error = running.search(filtered(&BOTH, &filter)).await.unwrap_err();
        assert_eq!((error.reason(), error.field()), (Reason::FilterInvalid, Some("filter")), "{error}");
        assert!(error.message().contains(expected), "{:?} lacks {expected:?}", error.message());
        assert!(error.message().contains("\"docs\""), "{error}");
    }
    assert_eq!(found(&mut running, &BOTH, "stars = 5").await, ["full"], "the service goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_meets_a_filter_is_an_empty_answer() {
    let mut running = filled().await;
    for legs in [&BOTH[..1], &BOTH[1..], &BOTH[..]] {
        let response = running.search(filtered(legs, "stars > 100")).await.unwrap();
        assert!(response.hits.is_empty());
        assert!(response.snapshot.is_some());
        assert!(response.legs.iter().all(|leg| leg.candidates == 0));
    }
}
