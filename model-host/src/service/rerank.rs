//! How well documents answer a query.

use trivium_proto::model::v1 as proto;
use trivium_service_kit::telemetry::{capture_content, names::attribute as key};
use trivium_service_kit::{Error, validate};

use super::{ModelHost, Waits, check_texts, failed, wire};
use crate::batch::Lane;
use crate::trace::rerank_span;

impl ModelHost {
    /// Scores up to 256 documents for a query.
    ///
    /// # Errors
    /// For a bad query or document, when no cross-encoder serves, and as [`Self::embed`].
    pub async fn rerank(&self, request: proto::RerankRequest, waits: Waits) -> Result<proto::RerankResponse, Error> {
        validate::query("query", &request.query)?;
        check_texts("documents", &request.documents)?;
        let lane = wire::lane(request.priority, Lane::Query)?;
        let serving = self.models.serving();
        let cross_encoder = serving.cross_encoder_named(wire::asked(request.model.as_ref()))?;
        let span = rerank_span(cross_encoder.model().model(), request.documents.len());
        if capture_content() {
            span.record(key::INPUT_VALUE, &request.query);
        }
        let documents: Vec<&str> = request.documents.iter().map(String::as_str).collect();
        let scored = cross_encoder.score(&request.query, &documents, waits.call(lane, true, &span)).await;
        let scored = scored.map_err(|error| failed(&span, error))?;
        let timings = wire::timings(scored.timings);
        let mut scores: Vec<proto::RerankScore> =
            scored.texts.iter().enumerate().map(|(index, text)| wire::rerank_score(index, text)).collect();
        // A stable sort: equal scores keep the order of the request.
        scores.sort_by(|a, b| b.score.total_cmp(&a.score));
        let model = Some(wire::model_ref(cross_encoder.model().model()));
        Ok(proto::RerankResponse { model, scores, timings: Some(timings) })
    }
}
