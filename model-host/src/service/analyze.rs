//! One query's intent and vector.

use std::sync::Arc;

use tracing::Span;
use trivium_proto::model::v1 as proto;
use trivium_service_kit::telemetry::{capture_content, metrics, names::attribute as key};
use trivium_service_kit::{Error, Reason, Service, Tenant, validate};

use super::{ModelHost, Waits, embed, failed, wire};
use crate::analyses::AnalysisKey;
use crate::batch::Lane;
use crate::intent::Decision;
use crate::models::{IntentRuntime, Serving};
use crate::projection::Projection;
use crate::runtime::{Embedded, EncoderRuntime, TextVector, Timings};
use crate::trace::{classify_span, mark_cached};

/// What a query needs, of one set of models.
struct Wanted {
    intent: Option<Arc<IntentRuntime>>,
    encoder: Option<Arc<EncoderRuntime>>,
    /// Makes the token vectors, where they are wanted and can be had.
    projection: Option<Arc<Projection>>,
}

/// One encoder's vector of the query.
struct Pass {
    vector: TextVector,
    timings: Timings,
}

impl ModelHost {
    /// Gives a query's intent and vector, each on request. Both come out of one forward pass
    /// when the intent model reads the serving encoder's vectors; otherwise out of two, side
    /// by side.
    ///
    /// # Errors
    /// For a bad query, when a model that is needed does not serve, and as [`Self::embed`].
    pub async fn analyze(
        &self,
        request: proto::AnalyzeRequest,
        tenant: Tenant,
        waits: Waits,
    ) -> Result<proto::AnalyzeResponse, Error> {
        validate::query("text", &request.text)?;
        validate::not_served("earlier_turns", !request.earlier_turns.is_empty())?;
        if !request.intent && !request.vector {
            return Err(Error::new(Reason::FieldMissing, "intent or vector must be asked for").with_field("intent"));
        }
        // Taken once: whatever is promoted meanwhile, the answer is of these versions.
        let serving = self.models.serving();
        let wanted = Wanted::of(&request, &serving)?;
        let key = wanted.key(tenant, request.text);
        let remembered = if request.fresh { None } else { self.analyses.find(&key) };
        mark_cached(remembered.is_some());
        metrics::of(Service::ModelHost).looked_up("analyses", remembered.is_some());
        let response = match remembered {
            Some(response) => {
                proto::AnalyzeResponse { cached: true, timings: Some(proto::ComputeTimings::default()), ..response }
            }
            None => wanted.analyze(&key.text, waits).await?,
        };
        offer_to_shadow(&serving, &key.text, &response);
        if !response.cached {
            self.analyses.keep(key, response.clone());
        }
        Ok(response)
    }
}

/// The shadow decides on its share of the queries later; nobody waits for it.
fn offer_to_shadow(serving: &Serving, text: &str, response: &proto::AnalyzeResponse) {
    if let (Some(shadow), Some(intent), Ok(served)) = (serving.shadow(), &response.intent, serving.intent()) {
        shadow.offer(text, &intent.label, served.model.model());
    }
}

impl Wanted {
    fn of(request: &proto::AnalyzeRequest, serving: &Serving) -> Result<Self, Error> {
        let encoder = if request.vector { Some(Arc::clone(serving.encoder()?)) } else { None };
        let intent = if request.intent { Some(Arc::clone(serving.intent()?)) } else { None };
        let projected = encoder.as_ref().filter(|_| request.token_vectors);
        let projection = projected.and_then(|encoder| serving.projection(encoder.model(), None).ok()).cloned();
        Ok(Self { intent, encoder, projection })
    }

    fn key(&self, tenant: Tenant, text: String) -> AnalysisKey {
        AnalysisKey {
            tenant,
            text,
            intent: self.intent.as_ref().map(|intent| intent.model.model().clone()),
            encoder: self.encoder.as_ref().map(|encoder| encoder.model().clone()),
            projection: self.projection.as_ref().map(|projection| projection.model().clone()),
        }
    }

    async fn analyze(&self, text: &str, waits: Waits) -> Result<proto::AnalyzeResponse, Error> {
        let mut response = proto::AnalyzeResponse::default();
        match (&self.intent, &self.encoder) {
            (Some(intent), Some(encoder)) if Arc::ptr_eq(&intent.encoder, encoder) => {
                let pass = query_pass(encoder, text, waits, true, self.projection.as_ref()).await?;
                let decision = decide(intent, text, &pass.vector);
                pass.add_to(&mut response);
                response.intent = Some(wire::intent(decision, intent));
                response.vectors.push(pass.into_query_vector(encoder));
            }
            (intent, encoder) => {
                // Two passes have one core each; a single one may have all.
                let may_widen = intent.is_none() || encoder.is_none();
                let (decided, encoded) = futures::future::try_join(
                    optional(intent.as_ref().map(|intent| classify(intent, text, waits, may_widen))),
                    optional(
                        encoder
                            .as_ref()
                            .map(|encoder| query_pass(encoder, text, waits, may_widen, self.projection.as_ref())),
                    ),
                )
                .await?;
                if let (Some(intent), Some((decision, pass))) = (intent, decided) {
                    pass.add_to(&mut response);
                    response.intent = Some(wire::intent(decision, intent));
                }
                if let (Some(encoder), Some(pass)) = (encoder, encoded) {
                    pass.add_to(&mut response);
                    response.vectors.push(pass.into_query_vector(encoder));
                }
            }
        }
        Ok(response)
    }
}

impl Pass {
    /// Counts the pass into a response. Passes run side by side, so that the slower one is
    /// what the caller waited for; its tokens are the query's.
    fn add_to(&self, response: &mut proto::AnalyzeResponse) {
        let mine = wire::timings(self.timings);
        let total = response.timings.get_or_insert_default();
        total.queue_ms = total.queue_ms.max(mine.queue_ms);
        total.tokenize_ms = total.tokenize_ms.max(mine.tokenize_ms);
        total.forward_ms = total.forward_ms.max(mine.forward_ms);
        response.tokens = wire::count(self.vector.tokens);
        response.truncated |= self.vector.truncated;
    }

    fn into_query_vector(self, encoder: &EncoderRuntime) -> proto::QueryVector {
        wire::query_vector(encoder.model(), self.vector)
    }
}

async fn optional<T>(step: Option<impl Future<Output = Result<T, Error>>>) -> Result<Option<T>, Error> {
    match step {
        Some(step) => step.await.map(Some),
        None => Ok(None),
    }
}

/// One query's vector, inside an embeddings span.
async fn query_pass(
    encoder: &EncoderRuntime,
    text: &str,
    waits: Waits,
    may_widen: bool,
    projection: Option<&Arc<Projection>>,
) -> Result<Pass, Error> {
    only(embed(encoder, &[text], Lane::Query, waits, may_widen, projection).await?)
}

/// Encodes a query for the intent model, and decides on it.
async fn classify(
    intent: &IntentRuntime,
    text: &str,
    waits: Waits,
    may_widen: bool,
) -> Result<(Decision, Pass), Error> {
    let span = decision_span(intent, text);
    let embedded = intent.encoder.embed_call(&[text], waits.call(Lane::Query, may_widen, &span)).await;
    let pass = only(embedded.map_err(|error| failed(&span, error))?)?;
    let decision = intent.model.decide(&pass.vector.vector);
    record(&span, &decision);
    Ok((decision, pass))
}

/// Decides on a vector that is there already.
fn decide(intent: &IntentRuntime, text: &str, vector: &TextVector) -> Decision {
    let span = decision_span(intent, text);
    let decision = intent.model.decide(&vector.vector);
    record(&span, &decision);
    decision
}

fn decision_span(intent: &IntentRuntime, text: &str) -> Span {
    let span = classify_span(intent.model.model());
    if capture_content() {
        span.record(key::INPUT_VALUE, text);
    }
    span
}

fn record(span: &Span, decision: &Decision) {
    span.record(key::TRIVIUM_INTENT_LABEL, decision.label());
    span.record(key::TRIVIUM_INTENT_CONFIDENCE, decision.confidence());
    span.record(key::TRIVIUM_INTENT_MARGIN, decision.margin);
}

fn only(embedded: Embedded) -> Result<Pass, Error> {
    let timings = embedded.timings;
    let vector = embedded.texts.into_iter().next();
    vector
        .map(|vector| Pass { vector, timings })
        .ok_or_else(|| Error::new(Reason::Internal, "the engine gave no vector"))
}
