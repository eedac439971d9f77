use trivium_proto::{
    model::v1::Turn,
    retriever::v1::{AsOf, ConvexFusion, LegWeights as WeightsMessage, ReciprocalRankFusion},
};

use super::*;

fn query(options: QueryOptions) -> Result<Query, Error> {
    Query::try_from(QueryRequest { query: "where is it?".into(), options: Some(options), ..QueryRequest::default() })
}

#[test]
fn bad_options_are_refused_by_their_field() {
    let fusion = |method| Some(search::Fusion { method: Some(method), weights: None });
    let weights = |lexical, semantic| {
        Some(search::Fusion { method: None, weights: Some(WeightsMessage { lexical, semantic, own: 0.0 }) })
    };
    let none = QueryOptions::default;
    let table = [
        (QueryOptions { road: 99, ..none() }, Reason::FieldInvalid, "options.road"),
        (QueryOptions { road: Road::Reply.into(), ..none() }, Reason::FieldInvalid, "options.road"),
        (QueryOptions { answer_mode: -1, ..none() }, Reason::FieldInvalid, "options.answer_mode"),
        (QueryOptions { cache: 9, ..none() }, Reason::FieldInvalid, "options.cache"),
        (QueryOptions { k: Some(0), ..none() }, Reason::FieldOutOfRange, "options.k"),
        (QueryOptions { k: Some(101), ..none() }, Reason::FieldOutOfRange, "options.k"),
        (QueryOptions { k: Some(1_000_000_000), ..none() }, Reason::FieldOutOfRange, "options.k"),
        (QueryOptions { collections: vec!["No Name".into()], ..none() }, Reason::FieldInvalid, "options.collections"),
        (QueryOptions { collections: vec!["x".into(); 17], ..none() }, Reason::FieldOutOfRange, "options.collections"),
        (QueryOptions { generator: "x".repeat(129), ..none() }, Reason::FieldInvalid, "options.generator"),
        (QueryOptions { generator: "a\0".into(), ..none() }, Reason::FieldInvalid, "options.generator"),
        (QueryOptions { fusion: weights(-1.0, 1.0), ..none() }, Reason::FieldInvalid, "options.fusion.weights"),
        (QueryOptions { fusion: weights(0.0, 0.0), ..none() }, Reason::FieldInvalid, "options.fusion.weights"),
        (QueryOptions { fusion: weights(f64::NAN, 1.0), ..none() }, Reason::FieldInvalid, "options.fusion.weights"),
        (
            QueryOptions { fusion: fusion(Method::ReciprocalRank(ReciprocalRankFusion { k: -1.0 })), ..none() },
            Reason::FieldInvalid,
            "options.fusion.reciprocal_rank.k",
        ),
        (
            QueryOptions { fusion: fusion(Method::Convex(ConvexFusion { normalisation: 9 })), ..none() },
            Reason::FieldInvalid,
            "options.fusion.convex.normalisation",
        ),
        (QueryOptions { filter: "a = 1) OR (a != 1".into(), ..none() }, Reason::FilterInvalid, "options.filter"),
        (QueryOptions { as_of: Some(AsOf::default()), ..none() }, Reason::FieldMissing, "options.as_of"),
        (
            QueryOptions { min_versions: [("../docs".to_owned(), 3)].into(), ..none() },
            Reason::FieldInvalid,
            "options.min_versions",
        ),
    ];
    for (options, reason, field) in table {
        let error = query(options).expect_err(field);
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
}

#[test]
fn bad_questions_are_refused_by_their_field() {
    let long = "x".repeat(1 << 20);
    let table = [
        (RouteRequest::default(), Reason::QueryEmpty, "query"),
        (RouteRequest { query: " \n".into(), ..RouteRequest::default() }, Reason::QueryEmpty, "query"),
        (RouteRequest { query: long, ..RouteRequest::default() }, Reason::QueryTooLong, "query"),
        (RouteRequest { query: "a\u{0}b".into(), ..RouteRequest::default() }, Reason::FieldInvalid, "query"),
        (
            RouteRequest { query: "a".into(), request_id: "x".repeat(129), ..RouteRequest::default() },
            Reason::FieldInvalid,
            "request_id",
        ),
        (
            RouteRequest { query: "a".into(), earlier_turns: vec![Turn::default()], ..RouteRequest::default() },
            Reason::NotServed,
            "earlier_turns",
        ),
    ];
    for (request, reason, field) in table {
        let error = Question::try_from(request).expect_err(field);
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
}

#[test]
fn what_is_left_open_is_left_to_the_policy() {
    let query = query(QueryOptions::default()).expect("right");
    assert_eq!((query.road, query.answer), (None, true));
    assert_eq!(query.overrides, Overrides::default());
    assert!(!query.question.request_id.is_empty());
}

#[test]
fn a_collection_named_twice_is_searched_once() {
    let names = ["b", "a", "b"].map(str::to_owned).to_vec();
    let query = query(QueryOptions { collections: names, ..QueryOptions::default() }).expect("right");
    assert_eq!(query.overrides.collections, ["b", "a"]);
}

#[test]
fn a_choice_of_fusion_survives_the_wire() {
    let weights = LegWeights::new(1.0, 3.0, 0.5).ok();
    let methods = [
        None,
        Some(Fusion::ReciprocalRank { k: RankConstant::new(7.0).expect("above 0") }),
        Some(Fusion::Convex { normalisation: Normalisation::Max }),
        Some(Fusion::Convex { normalisation: Normalisation::MinMax }),
        Some(Fusion::Convex { normalisation: Normalisation::ZScore }),
    ];
    for method in methods {
        let choice = FusionChoice { method, weights };
        let message = fusion_to_wire(&choice).expect("something was chosen");
        assert_eq!(fusion_choice(&message), Ok(choice));
    }
    assert_eq!(fusion_to_wire(&FusionChoice::default()), None);
}
