//! A search between the contract and the service.

use super::convert::{given_vector, model_ref, snapshot, unknown};
use super::rerank;
use super::{json, snapshots};
use crate::collection::Collection;
use crate::lexical::TermPart;
use crate::search::{Found, Hit, Leg, LegReport, Legs, Partial, SearchQuery, read_error};
use crate::stored::chunk_metadata;
use std::time::Duration;
use trivium_proto::retriever::v1 as proto;
use trivium_ranking::fusion::{Fusion, Normalisation, Part, RankConstant, Weight, Weights};
use trivium_service_kit::{Error, Reason, validate};

/// Hits of a search that names no number.
const DEFAULT_K: u32 = 10;
/// Most hits of one search.
const MAX_K: u32 = 1_000;
/// Most query vectors of one search.
const MAX_VECTORS: usize = 16;

/// Checks a request and fills its defaults in.
///
/// `blend` is the collection's own: what the legs count as far as the request does not say.
pub(super) fn query(request: proto::SearchRequest, blend: [Weight; 2]) -> Result<SearchQuery, Error> {
    validate::query("query", &request.query)?;
    validate::request_id(&request.request_id)?;
    let vectors = u32::try_from(request.vectors.len()).unwrap_or(u32::MAX);
    validate::in_range("vectors", vectors, 0..=MAX_VECTORS as u32)?;
    let k = request.k.unwrap_or(DEFAULT_K);
    let (fusion, weights) = fusion(request.fusion.unwrap_or_default(), blend)?;
    Ok(SearchQuery {
        text: request.query,
        vectors: request.vectors.into_iter().map(given_vector).collect(),
        legs: legs(&request.legs)?,
        k: validate::in_range("k", k, 1..=MAX_K)? as usize,
        fusion,
        weights,
        rerank: rerank::wish(request.rerank)?,
        group_by_document: request.group_by_document,
        explain: request.explain,
        exact: request.exact,
        min_version: request.min_version,
        filter: Some(request.filter).filter(|filter| !filter.is_empty()),
        as_of: request.as_of.map(snapshots::as_of).transpose()?,
        partial: request.allow_partial.then(|| partial(request.leg_budget_ms)),
    })
}

pub(super) fn response(
    collection: &Collection,
    found: Found,
    used: Option<proto::Fusion>,
) -> Result<proto::SearchResponse, Error> {
    let snapshot = snapshot(&collection.spec().name, &found.published);
    let is_partial = found.legs.iter().any(|leg| leg.missing.is_some());
    let hits = found.hits.into_iter().map(|found| hit(collection, found));
    Ok(proto::SearchResponse {
        hits: hits.collect::<Result<_, _>>()?,
        snapshot: Some(snapshot),
        embedder: found.embedder.as_ref().map(model_ref),
        legs: found.legs.into_iter().map(leg_report).collect(),
        elapsed_ms: milliseconds(found.elapsed),
        fusion: used.filter(|_| !is_partial),
        rerank: found.rerank.map(rerank::report),
    })
}

/// The fusion of a query as the contract says it; none when one leg runs.
pub(super) fn used_fusion(query: &SearchQuery) -> Option<proto::Fusion> {
    let method = match query.fusion {
        Fusion::ReciprocalRank { k } => {
            proto::fusion::Method::ReciprocalRank(proto::ReciprocalRankFusion { k: k.get() })
        }
        Fusion::Convex { normalisation } => {
            let normalisation = match normalisation {
                Normalisation::Max => proto::Normalisation::Max,
                Normalisation::MinMax => proto::Normalisation::MinMax,
                Normalisation::ZScore => proto::Normalisation::ZScore,
            };
            proto::fusion::Method::Convex(proto::ConvexFusion { normalisation: normalisation.into() })
        }
    };
    let [lexical, semantic] = query.weights.map(Weight::get);
    let weights = Some(proto::LegWeights { lexical, semantic, own: 0.0 });
    (query.legs == Legs::Both).then_some(proto::Fusion { weights, method: Some(method) })
}

fn partial(leg_budget_ms: u32) -> Partial {
    Partial { leg_budget: (leg_budget_ms > 0).then(|| Duration::from_millis(leg_budget_ms.into())) }
}

fn legs(given: &[i32]) -> Result<Legs, Error> {
    let mut legs = Vec::new();
    for (place, number) in given.iter().enumerate() {
        legs.push(match proto::Leg::try_from(*number) {
            Ok(proto::Leg::Lexical) => Leg::Lexical,
            Ok(proto::Leg::Semantic) => Leg::Semantic,
            Ok(proto::Leg::Unspecified) | Err(_) => return Err(unknown(&format!("legs[{place}]"), *number)),
        });
    }
    let one = legs.first().copied().filter(|first| legs.iter().all(|leg| leg == first));
    Ok(one.map_or(Legs::Both, Legs::One))
}

fn fusion(given: proto::Fusion, blend: [Weight; 2]) -> Result<(Fusion, [Weight; 2]), Error> {
    let fusion = match given.method {
        None => Fusion::default(),
        Some(proto::fusion::Method::ReciprocalRank(method)) => Fusion::ReciprocalRank { k: rank_constant(method.k)? },
        Some(proto::fusion::Method::Convex(method)) => {
            Fusion::Convex { normalisation: normalisation(method.normalisation)? }
        }
    };
    let weights = match given.weights {
        Some(weights) => resolved_weights(weights, blend)?,
        None if fusion == Fusion::default() => blend,
        // The blend was fitted to z-scores, and says nothing of other methods.
        None => Weights::hybrid_default(),
    };
    Ok((fusion, weights))
}

fn rank_constant(k: f64) -> Result<RankConstant, Error> {
    if k == 0.0 {
        return Ok(RankConstant::default());
    }
    let field = "fusion.reciprocal_rank.k";
    RankConstant::new(k)
        .map_err(|error| Error::new(Reason::FieldOutOfRange, format!("{field}: {error}")).with_field(field))
}

fn normalisation(number: i32) -> Result<Normalisation, Error> {
    match proto::Normalisation::try_from(number) {
        Ok(proto::Normalisation::Unspecified | proto::Normalisation::ZScore) => Ok(Normalisation::ZScore),
        Ok(proto::Normalisation::Max) => Ok(Normalisation::Max),
        Ok(proto::Normalisation::MinMax) => Ok(Normalisation::MinMax),
        Err(_) => Err(unknown("fusion.convex.normalisation", number)),
    }
}

/// What each leg counts, once the collection's own blend has taken its part: `lexical * (1, 0) + semantic * (0, 1) +
/// own * blend`, scaled to a sum of 1.
fn resolved_weights(asked: proto::LegWeights, blend: [Weight; 2]) -> Result<[Weight; 2], Error> {
    let proto::LegWeights { lexical, semantic, own } = asked;
    let field = "fusion.weights";
    let refused =
        |problem: String| Error::new(Reason::FieldOutOfRange, format!("{field}: {problem}")).with_field(field);
    let parts = Weights::new([lexical, semantic, own]).map_err(|error| refused(error.to_string()))?;
    let [lexical, semantic, own] = [0, 1, 2].map(|part| parts.as_slice()[part].get());
    let legs = [lexical, semantic].into_iter().zip(blend).map(|(weight, own_share)| weight + own * own_share.get());
    let weights = Weights::new(legs).map_err(|error| refused(error.to_string()))?;
    <[Weight; 2]>::try_from(weights.as_slice()).map_err(|_| refused("two weights are needed".to_owned()))
}

fn hit(collection: &Collection, hit: Hit) -> Result<proto::Hit, Error> {
    let metadata = chunk_metadata(collection, &hit.chunk).map_err(|error| read_error(collection, &error.into()))?;
    let terms: Vec<proto::TermScore> = hit.lexical_terms.into_iter().map(term_score).collect();
    let legs = hit.legs.into_iter().map(|(leg, part)| {
        let terms = if leg == Leg::Lexical { terms.clone() } else { Vec::new() };
        proto::LegScore { terms, ..leg_score((leg, part)) }
    });
    let legs = legs.collect();
    let chunk = hit.chunk;
    Ok(proto::Hit {
        document_id: chunk.document.document_id,
        chunk_id: chunk.chunk_id,
        chunk_no: chunk.chunk_no,
        char_start: chunk.char_start,
        char_end: chunk.char_end,
        title: chunk.document.title,
        heading_path: chunk.heading_path,
        text: chunk.text,
        uri: chunk.document.uri,
        score: hit.score,
        legs,
        metadata: Some(json::to_struct(metadata)),
        highlights: hit
            .highlights
            .into_iter()
            .map(|range| proto::Highlight { start: range.start, end: range.end })
            .collect(),
        rerank: hit.rescored.map(rerank::score),
        token_matches: hit.token_answers.into_iter().map(rerank::token_match).collect(),
    })
}

fn leg_score((leg, part): (Leg, Part)) -> proto::LegScore {
    proto::LegScore {
        leg: proto_leg(leg).into(),
        rank: part.rank,
        score: part.score,
        normalised_score: part.normalised,
        share: part.share,
        terms: Vec::new(),
    }
}

fn term_score(part: TermPart) -> proto::TermScore {
    proto::TermScore {
        term: part.term,
        field: part.field.to_owned(),
        score: part.score.into(),
        inverse_document_frequency: part.inverse_document_frequency.into(),
        term_frequency: part.term_frequency.into(),
    }
}

fn leg_report(report: LegReport) -> proto::LegReport {
    proto::LegReport {
        leg: proto_leg(report.leg).into(),
        candidates: u32::try_from(report.candidates).unwrap_or(u32::MAX),
        elapsed_ms: milliseconds(report.elapsed),
        missing: report.missing.is_some(),
        reason: report.missing.as_ref().map(|missing| missing.reason.as_str().to_owned()).unwrap_or_default(),
        detail: report.missing.map(|missing| missing.detail).unwrap_or_default(),
    }
}

fn proto_leg(leg: Leg) -> proto::Leg {
    match leg {
        Leg::Lexical => proto::Leg::Lexical,
        Leg::Semantic => proto::Leg::Semantic,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use trivium_proto::retriever::v1::fusion::Method;

    fn request() -> proto::SearchRequest {
        proto::SearchRequest { collection: "docs".into(), query: "q".into(), ..Default::default() }
    }

    fn changed(edit: impl FnOnce(&mut proto::SearchRequest)) -> proto::SearchRequest {
        let mut request = request();
        edit(&mut request);
        request
    }

    #[test]
    fn defaults_are_filled_in() {
        let query = query(request(), Weights::hybrid_default()).unwrap();
        assert_eq!((query.k, query.legs, query.fusion), (10, Legs::Both, Fusion::default()));
        assert_eq!(used_fusion(&query).unwrap().weights.map(|weights| weights.lexical + weights.semantic), Some(1.0));
    }

    #[test]
    fn the_collections_own_blend_fills_what_is_not_asked_for() {
        let blend = <[Weight; 2]>::try_from(Weights::new([0.25, 0.75]).unwrap().as_slice()).unwrap();
        let table = [
            ([0.0, 0.0, 1.0], [0.25, 0.75]),
            ([0.0, 0.0, 7.0], [0.25, 0.75]),
            ([1.0, 0.0, 0.0], [1.0, 0.0]),
            ([0.5, 0.0, 0.5], [0.625, 0.375]),
            ([0.5, 0.25, 0.25], [0.5625, 0.4375]),
            ([2.0, 1.0, 1.0], [0.5625, 0.4375]),
        ];
        for ([lexical, semantic, own], expected) in table {
            let found = resolved_weights(proto::LegWeights { lexical, semantic, own }, blend).unwrap();
            assert_eq!(found.map(Weight::get), expected, "{lexical} {semantic} {own}");
        }
        let nothing_asked = fusion(proto::Fusion::default(), blend).unwrap();
        assert_eq!(nothing_asked.1, blend);
        let negative = proto::LegWeights { lexical: 1.0, semantic: 0.0, own: -1.0 };
        assert_eq!(resolved_weights(negative, blend).unwrap_err().field(), Some("fusion.weights"));
    }

    #[test]
    fn legs_are_a_set() {
        let (lexical, semantic) = (proto::Leg::Lexical as i32, proto::Leg::Semantic as i32);
        assert_eq!(legs(&[]).unwrap(), Legs::Both);
        assert_eq!(legs(&[semantic, lexical, semantic]).unwrap(), Legs::Both);
        assert_eq!(legs(&[lexical, lexical]).unwrap(), Legs::One(Leg::Lexical));
    }

    #[test]
    fn bad_requests_name_their_field() {
        let weights = |lexical, semantic| {
            Some(proto::Fusion { weights: Some(proto::LegWeights { lexical, semantic, own: 0.0 }), method: None })
        };
        let depth = |depth| proto::Rerank { depth: Some(depth), ..Default::default() };
        let weight = |weight| proto::Rerank { weight: Some(weight), ..Default::default() };
        let method = |method| Some(proto::Fusion { weights: None, method: Some(method) });
        let cases = [
            (changed(|r| r.query = " ".into()), Reason::QueryEmpty, "query"),
            (changed(|r| r.query = "x".repeat(1_000_000)), Reason::QueryTooLong, "query"),
            (changed(|r| r.query = "a\u{0}".into()), Reason::FieldInvalid, "query"),
            (changed(|r| r.k = Some(0)), Reason::FieldOutOfRange, "k"),
            (changed(|r| r.k = Some(1_001)), Reason::FieldOutOfRange, "k"),
            (changed(|r| r.k = Some(1_000_000_000)), Reason::FieldOutOfRange, "k"),
            (changed(|r| r.legs = vec![1, 0]), Reason::FieldInvalid, "legs[1]"),
            (changed(|r| r.legs = vec![9]), Reason::FieldInvalid, "legs[0]"),
            (changed(|r| r.vectors = vec![Default::default(); 17]), Reason::FieldOutOfRange, "vectors"),
            (changed(|r| r.fusion = weights(-1.0, 1.0)), Reason::FieldOutOfRange, "fusion.weights"),
            (changed(|r| r.fusion = weights(0.0, 0.0)), Reason::FieldOutOfRange, "fusion.weights"),
            (changed(|r| r.fusion = weights(f64::NAN, 1.0)), Reason::FieldOutOfRange, "fusion.weights"),
            (
                changed(|r| r.fusion = method(Method::ReciprocalRank(proto::ReciprocalRankFusion { k: -1.0 }))),
                Reason::FieldOutOfRange,
                "fusion.reciprocal_rank.k",
            ),
            (
                changed(|r| r.fusion = method(Method::Convex(proto::ConvexFusion { normalisation: 7 }))),
                Reason::FieldInvalid,
                "fusion.convex.normalisation",
            ),
            (changed(|r| r.rerank = Some(depth(0))), Reason::FieldOutOfRange, "rerank.depth"),
            (changed(|r| r.rerank = Some(depth(1_000_000))), Reason::FieldOutOfRange, "rerank.depth"),
            (changed(|r| r.rerank = Some(weight(1.1))), Reason::FieldOutOfRange, "rerank.weight"),
            (changed(|r| r.rerank = Some(weight(f64::NAN))), Reason::FieldOutOfRange, "rerank.weight"),
            (
                changed(|r| r.rerank = Some(proto::Rerank { method: 9, ..Default::default() })),
                Reason::FieldInvalid,
                "rerank.method",
            ),
            (changed(|r| r.request_id = "x".repeat(129)), Reason::FieldInvalid, "request_id"),
            (changed(|r| r.as_of = Some(proto::AsOf::default())), Reason::FieldMissing, "as_of"),
        ];
        for (request, reason, field) in cases {
            let error = query(request, Weights::hybrid_default()).unwrap_err();
            assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
        }
    }
}
