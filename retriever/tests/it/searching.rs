//! Both legs, their fusion, and what is said of each hit.

use crate::hashing_embedder::{DIMENSION, model, vector};
use crate::service::{DOCS, Running, options, plain, search};
use trivium_proto::model::v1::{ModelRef, QueryVector};
use trivium_proto::retriever::v1::*;
use trivium_retriever::collection::Catalog;
use trivium_service_kit::Reason;

const BOTH: [Leg; 2] = [Leg::Lexical, Leg::Semantic];

async fn library() -> Running {
    let mut running = Running::with_collection().await;
    let filler = "lorem ipsum dolor sit amet consetetur sadipscing elitr sed diam nonumy eirmod tempor";
    running
        .upsert(vec![
            plain("cats", "cats purr and sleep in the sun"),
            plain("dogs", "dogs bark and run in the park"),
            plain("both", "cats and dogs live in one house"),
            plain(
                "long",
                &format!("cats again. {filler}. {filler}. {filler}. {filler}. {filler}. {filler}. cats at the end."),
            ),
            plain("code", "the error ERR_CONN_RESET means that the peer went away"),
        ])
        .await;
    running
}

fn query_vector(version: &str, values: Vec<f32>) -> QueryVector {
    QueryVector {
        embedder: Some(ModelRef { name: model().name, version: version.into() }),
        values,
        token_vectors: None,
    }
}

fn ids(response: &SearchResponse) -> Vec<&str> {
    response.hits.iter().map(|hit| hit.document_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_leg_alone_gives_its_own_ranking_and_scores() {
    let mut running = library().await;
    for leg in BOTH {
        let response = running.search(SearchRequest { legs: vec![leg.into()], ..search("dogs bark") }).await.unwrap();
        assert_eq!(response.hits[0].document_id, "dogs", "{leg:?}");
        for (hit, rank) in response.hits.iter().zip(1..) {
            assert_eq!((hit.legs.len(), hit.legs[0].leg(), hit.legs[0].rank), (1, leg, rank));
            assert_eq!((hit.score, hit.legs[0].share), (hit.legs[0].score, hit.score));
        }
        assert!(response.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
        assert_eq!((response.legs.len(), response.legs[0].leg(), response.fusion), (1, leg, None));
        assert_eq!(response.embedder.is_some(), leg == Leg::Semantic);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fused_scores_are_the_sum_of_their_shares() {
    let mut running = library().await;
    let methods = [
        None,
        Some(fusion::Method::ReciprocalRank(ReciprocalRankFusion { k: 0.0 })),
        Some(fusion::Method::Convex(ConvexFusion { normalisation: Normalisation::MinMax.into() })),
    ];
    for method in methods {
        let fusion = Some(Fusion { method, weights: None });
        let response = running.search(SearchRequest { fusion, ..search("cats and dogs") }).await.unwrap();
        assert_eq!(response.hits[0].document_id, "both", "{method:?}");
        for hit in &response.hits {
            let shares: f64 = hit.legs.iter().map(|leg| leg.share).sum();
            assert!((hit.score - shares).abs() < 1e-9, "{hit:?}");
        }
        let used = response.fusion.unwrap();
        assert!(used.method.is_some() && used.weights.is_some());
        assert_eq!(response.legs.len(), 2);
        assert_eq!(response.snapshot.unwrap().collection, DOCS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_leg_found_is_scored_by_the_other_as_well() {
    let mut running = Running::start_with(|options| options.candidates = 1).await;
    running.create(DOCS, Vec::new()).await.unwrap();
    let words = ["sun", "park", "house", "river", "garden", "street", "market", "tower"];
    let text = |place: usize| format!("{} {} {}", words[place], words[(place + 1) % 8], words[(place + 3) % 8]);
    running.upsert((0..8).map(|place| plain(words[place], &text(place))).collect()).await;
    // Words and meaning point to different documents.
    for (place, words) in words.iter().enumerate() {
        let query = format!("{words} sun");
        let request = |k| SearchRequest {
            vectors: vec![query_vector("1", vector(&text((place + 2) % 8)))],
            k: Some(k),
            ..search(&query)
        };
        let all = running.search(request(100)).await.unwrap().hits;
        for k in [1, 2, 4] {
            let hits = running.search(request(k)).await.unwrap().hits;
            let mut rest = all.iter();
            for hit in hits {
                // The hits come in the order that a search of all candidates has, with the scores that it has.
                let same = rest.find(|same| same.document_id == hit.document_id);
                let same = same.unwrap_or_else(|| panic!("{} is out of order: {query:?}", hit.document_id));
                let scores = |hit: &Hit| hit.legs.iter().map(|leg| (leg.leg, leg.score)).collect::<Vec<_>>();
                assert_eq!(scores(&hit), scores(same), "{query:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_weights_decide_which_leg_leads() {
    let mut running = library().await;
    for (lexical, semantic, leg) in [(1.0, 0.0, Leg::Lexical), (0.0, 1.0, Leg::Semantic)] {
        let fusion = Some(Fusion { method: None, weights: Some(LegWeights { lexical, semantic, own: 0.0 }) });
        let fused = running.search(SearchRequest { fusion, k: Some(1), ..search("cats sleep") }).await.unwrap();
        let alone =
            running.search(SearchRequest { legs: vec![leg.into()], k: Some(1), ..search("cats sleep") }).await.unwrap();
        assert_eq!(ids(&fused), ids(&alone));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grouping_keeps_the_best_chunk_of_each_document() {
    let mut running = library().await;
    let chunks = running.search(SearchRequest { k: Some(100), ..search("cats") }).await.unwrap();
    let grouped =
        running.search(SearchRequest { k: Some(100), group_by_document: true, ..search("cats") }).await.unwrap();
    assert!(chunks.hits.len() > grouped.hits.len(), "the long document has several chunks");
    let mut best: Vec<&Hit> = Vec::new();
    for hit in &chunks.hits {
        if best.iter().all(|known| known.document_id != hit.document_id) {
            best.push(hit);
        }
    }
    assert_eq!(grouped.hits.iter().collect::<Vec<_>>(), best);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_says_where_it_is() {
    let mut running = library().await;
    let response = running.search(SearchRequest { k: Some(3), ..search("cats at the end") }).await.unwrap();
    assert_eq!(response.hits.len(), 3);
    for hit in &response.hits {
        let text = running.get(&[&hit.document_id]).await.documents.remove(0).document.unwrap().text;
        let span: String =
            text.chars().skip(hit.char_start as usize).take((hit.char_end - hit.char_start) as usize).collect();
        assert_eq!(
            (hit.text.as_str(), hit.chunk_id.as_str()),
            (span.as_str(), format!("{}#{}", hit.document_id, hit.chunk_no).as_str())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_that_is_given_is_used_and_none_is_made() {
    let mut running = library().await;
    let embedded = running.embedder.embedded();
    // The words say cats, and the vector says dogs.
    let vectors = vec![
        query_vector("0", vec![1.0]),
        query_vector("1", vector("dogs bark and run").iter().map(|v| v * 3.0).collect()),
    ];
    let request = SearchRequest { legs: vec![Leg::Semantic.into()], vectors, k: Some(1), ..search("cats purr") };
    let response = running.search(request).await.unwrap();
    assert_eq!(ids(&response), ["dogs"]);
    assert!(response.hits[0].score <= 1.0 + 1e-6, "the vector was brought to length 1");
    assert_eq!(running.embedder.embedded(), embedded);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_that_will_not_do_are_refused() {
    let mut running = library().await;
    let cases = [
        (vec![query_vector("2", vector("cats"))], Reason::EmbedderMismatch, "vectors"),
        (vec![QueryVector { values: vector("cats"), ..QueryVector::default() }], Reason::EmbedderMismatch, "vectors"),
        (vec![query_vector("1", vec![1.0; DIMENSION - 1])], Reason::VectorInvalid, "vectors[0].values"),
        (vec![query_vector("1", vec![f32::NAN; DIMENSION])], Reason::VectorInvalid, "vectors[0].values"),
        (vec![query_vector("1", vec![f32::INFINITY; DIMENSION])], Reason::VectorInvalid, "vectors[0].values"),
        (vec![query_vector("1", vec![0.0; DIMENSION])], Reason::VectorInvalid, "vectors[0].values"),
    ];
    for (vectors, reason, field) in cases {
        let error = running.search(SearchRequest { vectors, ..search("cats") }).await.unwrap_err();
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_collection_and_unknown_words_find_nothing() {
    let mut running = Running::with_collection().await;
    assert!(running.search(search("anything")).await.unwrap().hits.is_empty());
    running.upsert(vec![plain("a", "alpha")]).await;
    assert!(running.found_by(Leg::Lexical, "zzz").await.is_empty());
    assert!(running.found_by(Leg::Lexical, "?!").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_are_found_by_their_words() {
    let mut running = library().await;
    for query in ["ERR_CONN_RESET", "err_conn_reset", "what is ERR_CONN_RESET?"] {
        assert_eq!(running.found_by(Leg::Lexical, query).await[0], "code", "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_in_memory_and_in_the_table_are_the_same() {
    let mut running = library().await;
    running.delete(&["both"]).await;
    let folder = running.stop().await;
    let catalog = Catalog::open(folder.path(), options(folder.path()).collections()).await.unwrap();
    let published = catalog.get(DOCS).unwrap().published();
    for query in ["cats purr", "dogs", "lorem ipsum", "the error of the peer"] {
        let in_memory = published.vectors.as_ref().unwrap().nearest(&vector(query), 4, None);
        let in_table = published.table.nearest(&vector(query), 4, None).await.unwrap();
        assert_eq!(in_memory.len(), in_table.len());
        for (left, right) in in_memory.iter().zip(&in_table) {
            assert!((left.similarity - right.similarity).abs() < 1e-5, "{query}: {left:?} {right:?}");
        }
        assert_eq!(in_memory[0].row_id, in_table[0].row_id, "{query}");
    }
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_search_reads_the_table_past_the_vectors_in_memory() {
    let mut running = library().await;
    let semantic = |exact| SearchRequest { exact, legs: vec![Leg::Semantic.into()], ..search("cats in the house") };
    let served = running.search(semantic(false)).await.unwrap();
    let exact = running.search(semantic(true)).await.unwrap();
    let sorted = |response: &SearchResponse| {
        let mut ids: Vec<String> = ids(response).into_iter().map(str::to_owned).collect();
        ids.sort();
        ids
    };
    // The two round differently, so rows of about one similarity may come in another order.
    assert_eq!(sorted(&exact), sorted(&served));
    for (exact, served) in exact.hits.iter().zip(&served.hits) {
        assert!((exact.score - served.score).abs() < 1e-5, "{exact:?} {served:?}");
    }
    // The table knows nothing of the similarities of all rows, so the legs are measured by their candidates instead.
    let hybrid = |exact| SearchRequest { exact, ..search("cats in the house") };
    let served = running.search(hybrid(false)).await.unwrap();
    let exact = running.search(hybrid(true)).await.unwrap();
    assert!((exact.hits[0].score - served.hits[0].score).abs() > 1e-3, "{exact:?} {served:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_beyond_its_budget_of_memory_is_searched_through_its_table() {
    let two_rows = 2 * DIMENSION as u64 * 4;
    let mut running = Running::start_with(|options| options.exact_vectors_bytes = two_rows).await;
    running.create(DOCS, Vec::new()).await.unwrap();
    let mut expected = Vec::new();
    for name in ["a", "b", "c", "d"] {
        running.upsert(vec![plain(name, &format!("common {name}"))]).await;
        expected.push(name);
        assert_eq!(running.found_by(Leg::Semantic, "common").await, expected);
    }
    running.delete(&["a"]).await;
    assert_eq!(running.found_by(Leg::Semantic, "common").await, ["b", "c", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_read_in_their_own_language() {
    let mut running = Running::with_collection().await;
    let in_language = |id: &str, language: &str, text: &str| Document { language: language.into(), ..plain(id, text) };
    let documents = vec![
        in_language("houses", "de", "Die alten Häuser stehen am Fluss."),
        in_language("horses", "fr-FR", "Les chevaux étaient dans le jardin."),
        in_language("dogs", "", "Two dogs were running along the river."),
        in_language("unknown", "xx", "Dogs and Häuser, word for word."),
    ];
    running.upsert(documents).await;
    let found = async |running: &mut Running, query: &str| {
        let request = SearchRequest { legs: vec![Leg::Lexical.into()], ..search(query) };
        let hits = running.search(request).await.unwrap().hits;
        hits.into_iter().map(|hit| (hit.document_id, hit.highlights.len())).collect::<Vec<_>>()
    };
    let expected: [(&str, &[(&str, usize)]); 5] = [
        ("das Haus", &[("houses", 1)]),
        ("cheval", &[("horses", 1)]),
        ("a dog that runs", &[("dogs", 2)]),
        ("word", &[("unknown", 2)]),
        ("der die das le les", &[]),
    ];
    for (query, hits) in expected {
        let hits: Vec<_> = hits.iter().map(|(id, marked)| ((*id).to_owned(), *marked)).collect();
        assert_eq!(found(&mut running, query).await, hits, "{query}");
    }
    let mut running = running.restart_after(|_| {}).await;
    assert_eq!(found(&mut running, "das Haus").await, [("houses".to_owned(), 1)]);
}
