//! From what callers send to what the router works with. Everything is checked here, before any hop.

use std::{collections::HashMap, sync::Arc};

use trivium_proto::{
    retriever::v1::{self as search, fusion::Method},
    router::v1::{
        AnswerMode, CacheMode, CheckLabelsRequest, QueryOptions, QueryRequest, QueryStreamRequest, Road, RouteRequest,
    },
};
use trivium_ranking::fusion::{Fusion, Normalisation, RankConstant};
use trivium_ranking::second_stage::SecondStageWeight;
use trivium_service_kit::{Error, Reason, validate};

use crate::{
    audit::Past,
    policy::{
        Conditions, ForcedRoad, FusionChoice, LegWeights, Legs, MAX_COLLECTIONS, MAX_K, Overrides, RerankChoice,
        RerankMethod, check_enclosed, is_collection_name,
    },
};

/// The longest name of a generator, in bytes.
const MAX_GENERATOR_BYTES: usize = 128;

/// The most labels of one intent model.
const MAX_LABELS: usize = 10_000;

/// A query whose road is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The query.
    pub text: String,
    /// The caller's name for it, or ours.
    pub request_id: String,
}

/// A query whose answer is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The query and its name.
    pub question: Question,
    /// The road, when the caller chose one.
    pub road: Option<ForcedRoad>,
    /// The caller's other wishes.
    pub overrides: Overrides,
    /// A condition on the documents, which the retriever checks; empty for none.
    pub filter: String,
    /// The second stage of each search, which the retriever checks; `None` for each collection's default.
    pub rerank: Option<search::Rerank>,
    /// The state of the collections to answer from.
    pub state: WantedState,
    /// Whether an answer is wanted, or passages alone.
    pub answer: bool,
    /// The run that this one repeats, in a replay.
    pub past: Option<Arc<Past>>,
}

/// Which state of each collection is to be searched. The retriever checks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WantedState {
    /// An earlier state, the same of each collection.
    pub as_of: Option<search::AsOf>,
    /// The least version of some collections.
    pub min_versions: HashMap<String, u64>,
}

/// The labels of an intent model.
#[derive(Clone, Debug)]
pub(crate) struct ModelLabels {
    /// All of them, at least one.
    pub labels: Vec<String>,
    /// The one for queries outside its scope; empty when it has none.
    pub out_of_scope: String,
}

impl TryFrom<CheckLabelsRequest> for ModelLabels {
    type Error = Error;

    fn try_from(request: CheckLabelsRequest) -> Result<Self, Error> {
        let CheckLabelsRequest { labels, out_of_scope_label } = request;
        if labels.is_empty() {
            return Err(Error::new(Reason::FieldMissing, "labels is empty").with_field("labels"));
        }
        if labels.len() > MAX_LABELS {
            let message = format!("labels has {} items; the limit is {MAX_LABELS}", labels.len());
            return Err(Error::new(Reason::FieldOutOfRange, message).with_field("labels"));
        }
        Ok(Self { labels, out_of_scope: out_of_scope_label })
    }
}

impl TryFrom<RouteRequest> for Question {
    type Error = Error;

    fn try_from(request: RouteRequest) -> Result<Self, Error> {
        let RouteRequest { query, request_id, earlier_turns } = request;
        validate::query("query", &query)?;
        validate::not_served("earlier_turns", !earlier_turns.is_empty())?;
        Ok(Self { text: query, request_id: validate::request_id(&request_id)? })
    }
}

impl TryFrom<QueryRequest> for Query {
    type Error = Error;

    fn try_from(request: QueryRequest) -> Result<Self, Error> {
        let QueryRequest { query, request_id, earlier_turns, options } = request;
        let question = Question::try_from(RouteRequest { query, request_id, earlier_turns })?;
        let mut options = options.unwrap_or_default();
        let (road, answer) = (road(options.road)?, wants_answer(options.answer_mode)?);
        let filter = filter(std::mem::take(&mut options.filter))?;
        let rerank = options.rerank.take();
        let state = wanted_state(options.as_of.take(), std::mem::take(&mut options.min_versions))?;
        let conditions = Conditions {
            filter: !filter.is_empty(),
            as_of: state.as_of.is_some(),
            min_versions: !state.min_versions.is_empty(),
        };
        let overrides = Overrides { conditions, ..overrides(options)? };
        Ok(Self { question, road, overrides, filter, rerank, state, answer, past: None })
    }
}

impl TryFrom<QueryStreamRequest> for Query {
    type Error = Error;

    fn try_from(request: QueryStreamRequest) -> Result<Self, Error> {
        let QueryStreamRequest { query, request_id, earlier_turns, options } = request;
        Self::try_from(QueryRequest { query, request_id, earlier_turns, options })
    }
}

fn road(number: i32) -> Result<Option<ForcedRoad>, Error> {
    match Road::try_from(number) {
        Ok(Road::Unspecified) => Ok(None),
        Ok(Road::Lexical) => Ok(Some(ForcedRoad::Retrieve(Legs::Lexical))),
        Ok(Road::Semantic) => Ok(Some(ForcedRoad::Retrieve(Legs::Semantic))),
        Ok(Road::Hybrid) => Ok(Some(ForcedRoad::Retrieve(Legs::Hybrid))),
        Ok(Road::Direct) => Ok(Some(ForcedRoad::Direct)),
        Ok(Road::Reply) => {
            let why = "the reply road cannot be asked for: its texts belong to the policy's intents";
            Err(invalid("options.road", why))
        }
        Err(_) => Err(invalid("options.road", format!("options.road is {number}, which is no road"))),
    }
}

/// A condition that a policy's can be put before; the rest of it the retriever checks.
fn filter(text: String) -> Result<String, Error> {
    match check_enclosed(&text) {
        Ok(()) => Ok(text),
        Err(error) => {
            let message = format!("options.filter is wrong: {error}");
            Err(Error::new(Reason::FilterInvalid, message).with_field("options.filter"))
        }
    }
}

fn wanted_state(as_of: Option<search::AsOf>, min_versions: HashMap<String, u64>) -> Result<WantedState, Error> {
    if as_of.as_ref().is_some_and(|as_of| as_of.state.is_none()) {
        return Err(Error::new(Reason::FieldMissing, "options.as_of names no state").with_field("options.as_of"));
    }
    match min_versions.keys().find(|name| !is_collection_name(name)) {
        Some(name) => Err(invalid("options.min_versions", format!("{name:?} is no name of a collection"))),
        None => Ok(WantedState { as_of, min_versions }),
    }
}

fn wants_answer(number: i32) -> Result<bool, Error> {
    match AnswerMode::try_from(number) {
        Ok(AnswerMode::Unspecified | AnswerMode::Generate) => Ok(true),
        Ok(AnswerMode::None) => Ok(false),
        Err(_) => Err(invalid("options.answer_mode", format!("options.answer_mode is {number}, which is no mode"))),
    }
}

fn overrides(options: QueryOptions) -> Result<Overrides, Error> {
    cache_mode(options.cache)?;
    let k = options.k.map(|k| validate::in_range("options.k", k, 1..=MAX_K)).transpose()?;
    let fusion = options.fusion.map(|fusion| fusion_choice(&fusion)).transpose()?;
    Ok(Overrides {
        collections: collections(options.collections)?,
        k,
        fusion,
        generator: generator(options.generator)?,
        conditions: Conditions::default(),
    })
}

fn cache_mode(number: i32) -> Result<(), Error> {
    match CacheMode::try_from(number) {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid("options.cache", format!("options.cache is {number}, which is no mode"))),
    }
}

fn collections(names: Vec<String>) -> Result<Vec<String>, Error> {
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
    validate::in_range("options.collections", count, 0..=MAX_COLLECTIONS as u32)?;
    let mut kept: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if !is_collection_name(&name) {
            // An invalid name may be long, or hold what a terminal takes for a command.
            let shown: String = name.chars().take(64).collect();
            return Err(invalid("options.collections", format!("{shown:?} is no name of a collection")));
        }
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    Ok(kept)
}

fn generator(name: String) -> Result<Option<String>, Error> {
    if name.len() > MAX_GENERATOR_BYTES {
        let why = format!("options.generator has {} bytes; the limit is {MAX_GENERATOR_BYTES}", name.len());
        return Err(invalid("options.generator", why));
    }
    validate::no_control_characters("options.generator", &name)?;
    Ok(Some(name).filter(|name| !name.is_empty()))
}

fn fusion_choice(fusion: &search::Fusion) -> Result<FusionChoice, Error> {
    let method = fusion.method.as_ref().map(fusion_method).transpose()?;
    let weights = match &fusion.weights {
        None => None,
        Some(weights) => Some(
            LegWeights::new(weights.lexical, weights.semantic, weights.own)
                .map_err(|error| invalid("options.fusion.weights", error.to_string()))?,
        ),
    };
    Ok(FusionChoice { method, weights })
}

/// Reads a method of fusion from the wire.
///
/// # Errors
/// `FIELD_INVALID`, when a number is out of range or no member of its enum.
pub(crate) fn fusion_method(method: &Method) -> Result<Fusion, Error> {
    match method {
        Method::ReciprocalRank(rrf) if rrf.k == 0.0 => Ok(Fusion::ReciprocalRank { k: RankConstant::default() }),
        Method::ReciprocalRank(rrf) => match RankConstant::new(rrf.k) {
            Ok(k) => Ok(Fusion::ReciprocalRank { k }),
            Err(error) => Err(invalid("options.fusion.reciprocal_rank.k", error.to_string())),
        },
        Method::Convex(convex) => {
            let normalisation = match search::Normalisation::try_from(convex.normalisation) {
                Ok(search::Normalisation::Max) => Normalisation::Max,
                Ok(search::Normalisation::MinMax) => Normalisation::MinMax,
                Ok(search::Normalisation::Unspecified | search::Normalisation::ZScore) => Normalisation::ZScore,
                Err(_) => {
                    let why = format!("{} is no normalisation", convex.normalisation);
                    return Err(invalid("options.fusion.convex.normalisation", why));
                }
            };
            Ok(Fusion::Convex { normalisation })
        }
    }
}

/// Writes a choice of the second stage for the wire; `None` leaves everything to the retriever.
pub(crate) fn rerank_to_wire(choice: &RerankChoice) -> Option<search::Rerank> {
    let method = match choice.method {
        None => search::RerankMethod::Unspecified,
        Some(RerankMethod::None) => search::RerankMethod::None,
        Some(RerankMethod::LateInteraction) => search::RerankMethod::LateInteraction,
        Some(RerankMethod::CrossEncoder) => search::RerankMethod::CrossEncoder,
    };
    let weight = choice.weight.map(SecondStageWeight::get);
    let rerank = search::Rerank { method: method.into(), depth: choice.depth, weight };
    (*choice != RerankChoice::default()).then_some(rerank)
}

/// Writes a choice of fusion for the wire; `None` leaves everything to the retriever.
pub(crate) fn fusion_to_wire(choice: &FusionChoice) -> Option<search::Fusion> {
    if *choice == FusionChoice::default() {
        return None;
    }
    let method = choice.method.map(|method| match method {
        Fusion::ReciprocalRank { k } => Method::ReciprocalRank(search::ReciprocalRankFusion { k: k.get() }),
        Fusion::Convex { normalisation } => Method::Convex(search::ConvexFusion {
            normalisation: match normalisation {
                Normalisation::Max => search::Normalisation::Max,
                Normalisation::MinMax => search::Normalisation::MinMax,
                Normalisation::ZScore => search::Normalisation::ZScore,
            }
            .into(),
        }),
    });
    Some(search::Fusion { method, weights: choice.weights.map(weights_to_wire) })
}

/// Writes what the legs count for the wire.
pub(crate) fn weights_to_wire(weights: LegWeights) -> search::LegWeights {
    search::LegWeights { lexical: weights.lexical(), semantic: weights.semantic(), own: weights.own() }
}

fn invalid(field: &str, why: impl Into<String>) -> Error {
    Error::new(Reason::FieldInvalid, why).with_field(field)
}

#[cfg(test)]
mod tests;
