//! The second stage between the contract and the service.

use super::convert::{model_ref, unknown};
use crate::search::{DEFAULT_DEPTH, Report, Rescored, TokenAnswer, Wish};
use crate::second_stage::{Method, Wanted};
use trivium_proto::retriever::v1 as proto;
use trivium_ranking::second_stage::SecondStageWeight;
use trivium_service_kit::{Error, Reason, validate};

/// Fewest candidates: one cannot be put in another order.
const MIN_DEPTH: u32 = 2;
/// Most candidates.
const MAX_DEPTH: u32 = 200;

/// Checks what a request asks of the second stage, and fills its defaults in.
pub(super) fn wish(request: Option<proto::Rerank>) -> Result<Wish, Error> {
    let request = request.unwrap_or_default();
    let depth = match request.depth {
        Some(depth) => validate::in_range("rerank.depth", depth, MIN_DEPTH..=MAX_DEPTH)? as usize,
        None => DEFAULT_DEPTH,
    };
    Ok(Wish {
        method: wanted("rerank.method", request.method)?,
        depth,
        weight: request.weight.map(weight).transpose()?,
    })
}

/// What a field says of the second stage; `None` where it is not set.
pub(super) fn wanted(field: &str, method: i32) -> Result<Option<Wanted>, Error> {
    match proto::RerankMethod::try_from(method) {
        Ok(proto::RerankMethod::Unspecified) => Ok(None),
        Ok(proto::RerankMethod::None) => Ok(Some(Wanted::None)),
        Ok(proto::RerankMethod::LateInteraction) => Ok(Some(Wanted::LateInteraction)),
        Ok(proto::RerankMethod::CrossEncoder) => Ok(Some(Wanted::CrossEncoder)),
        Err(_) => Err(unknown(field, method)),
    }
}

/// The other way round.
pub(super) fn wanted_method(wanted: Option<Wanted>) -> proto::RerankMethod {
    match wanted {
        None => proto::RerankMethod::Unspecified,
        Some(Wanted::None) => proto::RerankMethod::None,
        Some(Wanted::LateInteraction) => proto::RerankMethod::LateInteraction,
        Some(Wanted::CrossEncoder) => proto::RerankMethod::CrossEncoder,
    }
}

pub(super) fn report(report: Report) -> proto::RerankReport {
    let method = match report.method {
        Method::LateInteraction => proto::RerankMethod::LateInteraction,
        Method::CrossEncoder => proto::RerankMethod::CrossEncoder,
    };
    let (left_out_reason, left_out_detail) = match &report.outcome {
        Ok(_) => (String::new(), String::new()),
        Err(error) => (error.reason().as_str().to_owned(), error.message().to_owned()),
    };
    let (model, scored) = report.outcome.map_or((None, 0), |(model, scored)| (Some(model), scored));
    proto::RerankReport {
        method: method.into(),
        model: model.as_ref().map(model_ref),
        candidates: u32::try_from(report.candidates).unwrap_or(u32::MAX),
        scored: u32::try_from(scored).unwrap_or(u32::MAX),
        weight: report.weight.get(),
        elapsed_ms: report.elapsed.as_secs_f64() * 1_000.0,
        left_out_reason,
        left_out_detail,
    }
}

pub(super) fn score(rescored: Rescored) -> proto::RerankScore {
    let Rescored { rank_before, rank_after, score, blended, parts, matched: _ } = rescored;
    let passage_score = parts.map(|parts| parts.passage);
    let beginning_score = parts.and_then(|parts| parts.beginning);
    proto::RerankScore { rank_before, rank_after, score, blended, passage_score, beginning_score }
}

pub(super) fn token_match(answer: TokenAnswer) -> proto::TokenMatch {
    let TokenAnswer { query_token, passage_token, passage_place, similarity } = answer;
    let passage_place = u32::try_from(passage_place).unwrap_or(u32::MAX);
    proto::TokenMatch { query_token, passage_token, passage_place, similarity }
}

fn weight(weight: f64) -> Result<SecondStageWeight, Error> {
    let field = "rerank.weight";
    SecondStageWeight::new(weight)
        .map_err(|error| Error::new(Reason::FieldOutOfRange, format!("{field}: {error}")).with_field(field))
}
