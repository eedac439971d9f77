//! The second stage between the contract and the service.

use super::convert::{model_ref, unknown};
use crate::search::{DEFAULT_DEPTH, Method, Report, Rescored, TokenAnswer, Wanted, Wish};
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
    let method = match proto::RerankMethod::try_from(request.method) {
        Ok(proto::RerankMethod::Unspecified) => None,
        Ok(proto::RerankMethod::None) => Some(Wanted::Nothing),
        Ok(proto::RerankMethod::LateInteraction) => Some(Wanted::Method(Method::LateInteraction)),
        Ok(proto::RerankMethod::CrossEncoder) => Some(Wanted::Method(Method::CrossEncoder)),
        Err(_) => return Err(unknown("rerank.method", request.method)),
    };
    let depth = match request.depth {
        Some(depth) => validate::in_range("rerank.depth", depth, MIN_DEPTH..=MAX_DEPTH)? as usize,
        None => DEFAULT_DEPTH,
    };
    Ok(Wish { method, depth, weight: request.weight.map(weight).transpose()? })
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
    let Rescored { rank_before, rank_after, score, blended, matched: _ } = rescored;
    proto::RerankScore { rank_before, rank_after, score, blended }
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
