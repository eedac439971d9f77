//! A collection's own weights of its legs.

use crate::service::{DOCS, Running, plain, search};
use trivium_proto::retriever::v1::*;
use trivium_service_kit::{Error, Reason};

const DEFAULT_SEMANTIC: f64 = 0.7;

async fn set(running: &mut Running, semantic_weight: Option<f64>, queries: u32) -> Blend {
    let request = SetBlendRequest { name: DOCS.into(), semantic_weight, queries };
    running.client.set_blend(request).await.unwrap().into_inner().blend.unwrap()
}

async fn used_semantic_weight(running: &mut Running, fusion: Option<Fusion>) -> f64 {
    let response = running.search(SearchRequest { fusion, ..search("cats") }).await.unwrap();
    response.fusion.unwrap().weights.unwrap().semantic
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blend_that_was_set_outlives_a_restart_and_can_be_taken_back() {
    let mut running = Running::with_collection().await;
    let default = Blend { semantic_weight: DEFAULT_SEMANTIC, ..Blend::default() };
    assert_eq!(running.describe(DOCS).await.blend, Some(default));
    let own = set(&mut running, Some(0.25), 50).await;
    assert_eq!((own.semantic_weight, own.own, own.queries, own.set_at.is_some()), (0.25, true, 50, true));
    let mut restarted = running.restart_after(|_| {}).await;
    assert_eq!(restarted.describe(DOCS).await.blend, Some(own));
    assert_eq!(set(&mut restarted, None, 0).await, default);
    assert_eq!(restarted.restart_after(|_| {}).await.describe(DOCS).await.blend, Some(default));
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_use_it_where_they_name_no_weights() {
    let mut running = Running::with_collection().await;
    running.upsert(vec![plain("cats", "cats purr in the sun"), plain("dogs", "dogs bark in the park")]).await;
    assert_eq!(used_semantic_weight(&mut running, None).await, DEFAULT_SEMANTIC);
    set(&mut running, Some(0.25), 0).await;
    let z_scores = fusion::Method::Convex(ConvexFusion { normalisation: Normalisation::ZScore.into() });
    let ranks = fusion::Method::ReciprocalRank(ReciprocalRankFusion { k: 60.0 });
    let weights = Some(LegWeights { lexical: 1.0, semantic: 1.0, own: 0.0 });
    let table = [
        (None, 0.25),
        (Some(Fusion { method: Some(z_scores), weights: None }), 0.25),
        // What the caller names counts, and a weight of z-scores says nothing of ranks.
        (Some(Fusion { method: None, weights }), 0.5),
        (Some(Fusion { method: Some(ranks), weights: None }), DEFAULT_SEMANTIC),
    ];
    for (fusion, expected) in table {
        assert_eq!(used_semantic_weight(&mut running, fusion).await, expected, "{fusion:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_weight_decides_which_leg_leads() {
    let mut running = Running::with_collection().await;
    let documents = [plain("words", "cats sleep"), plain("other", "purr dogs bark run"), plain("third", "park house")];
    running.upsert(documents.into()).await;
    for (weight, leg) in [(0.0, Leg::Lexical), (1.0, Leg::Semantic)] {
        set(&mut running, Some(weight), 0).await;
        let fused = running.search(search("cats sleep in the park")).await.unwrap();
        let alone =
            running.search(SearchRequest { legs: vec![leg.into()], ..search("cats sleep in the park") }).await.unwrap();
        assert_eq!(fused.hits[0].document_id, alone.hits[0].document_id, "{leg:?}");
        let share = fused.hits[0].legs.iter().find(|score| score.leg() == leg).unwrap().share;
        assert_eq!(share, fused.hits[0].score, "{leg:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_names_its_field_and_changes_nothing() {
    let mut running = Running::with_collection().await;
    let own = set(&mut running, Some(0.4), 7).await;
    let request =
        |name: &str, semantic_weight, queries| SetBlendRequest { name: name.into(), semantic_weight, queries };
    let table = [
        (request(DOCS, Some(1.5), 0), Reason::FieldOutOfRange, "semantic_weight"),
        (request(DOCS, Some(-0.1), 0), Reason::FieldOutOfRange, "semantic_weight"),
        (request(DOCS, Some(f64::NAN), 0), Reason::FieldOutOfRange, "semantic_weight"),
        (request(DOCS, None, 3), Reason::FieldInvalid, "queries"),
        (request("unknown", Some(0.5), 0), Reason::CollectionNotFound, "name"),
        (request("No Name", Some(0.5), 0), Reason::FieldInvalid, "name"),
    ];
    for (request, reason, field) in table {
        let error = Error::from(running.client.set_blend(request).await.unwrap_err());
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
    assert_eq!(running.describe(DOCS).await.blend, Some(own));
}
