//! Why a hit scores as it does, and where it matches.

use crate::service::{Running, plain, search};
use trivium_proto::retriever::v1::{Leg, SearchRequest};

async fn library() -> Running {
    let mut running = Running::with_collection().await;
    let mut titled = plain("guide", "Ünder load the cache evicts keys. Eviction follows the cache policy.");
    titled.title = "Cache eviction".into();
    running.upsert(vec![titled, plain("other", "keys are rotated"), plain("none", "nothing of the kind")]).await;
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_lexical_score_add_up_to_it() {
    let mut running = library().await;
    // A second version of a document leaves a deleted one in the index, which must not be the one explained.
    running.upsert(vec![plain("other", "keys are rotated by a key server")]).await;
    for legs in [vec![Leg::Lexical.into()], Vec::new()] {
        let request = SearchRequest { explain: true, legs, ..search("cache eviction keys") };
        let hits = running.search(request).await.unwrap().hits;
        let lexical =
            |hit: &trivium_proto::retriever::v1::Hit| hit.legs.iter().find(|leg| leg.leg() == Leg::Lexical).cloned();
        let explained: Vec<_> = hits.iter().filter_map(lexical).collect();
        assert_eq!(explained.len(), 2);
        for leg in explained {
            let sum: f64 = leg.terms.iter().map(|term| term.score).sum();
            assert!((sum - leg.score).abs() < 1e-4, "{sum} is not {}", leg.score);
            assert!(leg.terms.windows(2).all(|pair| pair[0].score >= pair[1].score));
            assert!(leg.terms.iter().all(|term| term.inverse_document_frequency > 0.0 && term.term_frequency >= 1.0));
        }
        let guide = lexical(&hits[0]).unwrap();
        let mut parts: Vec<_> = guide.terms.iter().map(|term| (term.term.as_str(), term.field.as_str())).collect();
        parts.sort_unstable();
        let expected = [("cach", "body"), ("cach", "title"), ("evict", "body"), ("evict", "title"), ("key", "body")];
        assert_eq!(parts, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_asks_for_no_explanation_gets_highlights_alone() {
    let mut running = library().await;
    let hits = running.search(search("cache keys")).await.unwrap().hits;
    assert!(hits.iter().all(|hit| hit.legs.iter().all(|leg| leg.terms.is_empty())));
    let guide = hits.iter().find(|hit| hit.document_id == "guide").unwrap();
    let text: Vec<char> = guide.text.chars().collect();
    let marked = guide.highlights.iter().map(|span| text[span.start as usize..span.end as usize].iter().collect());
    assert_eq!(marked.collect::<Vec<String>>(), ["cache", "keys", "cache"]);
}
