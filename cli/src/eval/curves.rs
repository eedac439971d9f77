//! What labelled queries say of each weight of the semantic leg, by two searches each.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};
use trivium_proto::{
    model::v1::QueryVector,
    retriever::v1::{ConvexFusion, Fusion, Leg, LegWeights, Normalisation, SearchRequest, fusion::Method},
};
use trivium_ranking::calibrate::{Candidate, Curve, Placed};
use trivium_service_kit::Error;

use super::{WITHOUT_SECOND_STAGE, beir::Query};
use crate::clients::Retriever;

/// Candidates of each leg: as many as a search looks at that asks for no more hits.
const DEPTH: u32 = 100;

/// Queries that are searched for at the same time.
const CONCURRENCY: usize = 4;

/// The curve of each query, in their order. `vectors` are those of the queries, or none for the retriever to have them
/// made. `done` is told after each query.
///
/// # Errors
/// The first search that fails.
pub async fn curves(
    retriever: &Retriever,
    collection: &str,
    queries: &[Query],
    vectors: &[QueryVector],
    done: &(dyn Fn() + Sync),
) -> Result<Vec<Curve>, Error> {
    let searches = queries.iter().enumerate().map(|(place, query)| async move {
        let candidates = candidates(retriever, collection, query, vectors.get(place)).await?;
        done();
        Ok::<_, Error>(Curve::of(&candidates, &query.judgements))
    });
    stream::iter(searches).buffered(CONCURRENCY).try_collect().await
}

/// All candidates of both legs with their normalised scores, which do not depend on the weights. A search gives the best
/// of the fused ranking alone, so each leg is searched for with all of the weight on it, and on both at once.
async fn candidates(
    retriever: &Retriever,
    collection: &str,
    query: &Query,
    vector: Option<&QueryVector>,
) -> Result<Vec<Candidate<String>>, Error> {
    let mut candidates: HashMap<String, Candidate<String>> = HashMap::new();
    for semantic in [0.0, 1.0] {
        let found = retriever.search(request(collection, query, vector, semantic)).await?;
        // A document that is the query itself is left out, as BEIR's own scorer does.
        for hit in found.hits.into_iter().filter(|hit| query.id.is_empty() || hit.document_id != query.id) {
            let placed = |leg: Leg| {
                let score = hit.legs.iter().find(|score| score.leg() == leg)?;
                Some(Placed { rank: score.rank, normalised: score.normalised_score })
            };
            let candidate =
                Candidate { lexical: placed(Leg::Lexical), semantic: placed(Leg::Semantic), document: hit.document_id };
            candidates.insert(hit.chunk_id, candidate);
        }
    }
    Ok(candidates.into_values().collect())
}

fn request(collection: &str, query: &Query, vector: Option<&QueryVector>, semantic: f64) -> SearchRequest {
    let method = Method::Convex(ConvexFusion { normalisation: Normalisation::ZScore.into() });
    let weights = LegWeights { lexical: 1.0 - semantic, semantic, own: 0.0 };
    SearchRequest {
        collection: collection.to_owned(),
        query: query.text.clone(),
        vectors: vector.cloned().into_iter().collect(),
        k: Some(DEPTH),
        fusion: Some(Fusion { method: Some(method), weights: Some(weights) }),
        rerank: Some(WITHOUT_SECOND_STAGE),
        ..SearchRequest::default()
    }
}
