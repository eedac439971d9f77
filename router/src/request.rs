//! From what callers send to what the router works with. Everything is checked here, before any hop.

use std::{collections::HashMap, sync::Arc};

use trivium_proto::{
    retriever::v1::{self as search, fusion::Method},
    router::v1::{
        AnswerMode, CacheMode, CheckLabelsRequest, QueryOptions, QueryRequest, QueryStreamRequest, Road, RouteRequest,
    },
};
use trivium_ranking::fusion::{Fusion, Normalisation, RankConstant};
use trivium_service_kit::{Error, Reason, validate};

use crate::{
    audit::Past,
    policy::{
        Conditions, ForcedRoad, FusionChoice, LegWeights, Legs, MAX_COLLECTIONS, MAX_K, Overrides, is_collection_name,
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
        let filter = std::mem::take(&mut options.filter);
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
mod tests {
    use trivium_proto::{
        model::v1::Turn,
        retriever::v1::{AsOf, ConvexFusion, LegWeights as WeightsMessage, ReciprocalRankFusion},
    };

    use super::*;

    fn query(options: QueryOptions) -> Result<Query, Error> {
        Query::try_from(QueryRequest {
            query: "where is it?".into(),
            options: Some(options),
            ..QueryRequest::default()
        })
    }

    #[test]
    fn bad_options_are_refused_by_their_field() {
        let fusion = |method| Some(search::Fusion { method: Some(method), weights: None });
        let weights = |lexical, semantic| {
            Some(search::Fusion { method: None, weights: Some(WeightsMessage { lexical, semantic, own: 0.0 }) })
        };
        let none = QueryOptions::default;
        let table = [
            (QueryOptions { road: 99, ..none() }, Reason::FieldInvalid, "options.road"),
            (QueryOptions { road: Road::Reply.into(), ..none() }, Reason::FieldInvalid, "options.road"),
            (QueryOptions { answer_mode: -1, ..none() }, Reason::FieldInvalid, "options.answer_mode"),
            (QueryOptions { cache: 9, ..none() }, Reason::FieldInvalid, "options.cache"),
            (QueryOptions { k: Some(0), ..none() }, Reason::FieldOutOfRange, "options.k"),
            (QueryOptions { k: Some(101), ..none() }, Reason::FieldOutOfRange, "options.k"),
            (QueryOptions { k: Some(1_000_000_000), ..none() }, Reason::FieldOutOfRange, "options.k"),
            (
                QueryOptions { collections: vec!["No Name".into()], ..none() },
                Reason::FieldInvalid,
                "options.collections",
            ),
            (
                QueryOptions { collections: vec!["x".into(); 17], ..none() },
                Reason::FieldOutOfRange,
                "options.collections",
            ),
            (QueryOptions { generator: "x".repeat(129), ..none() }, Reason::FieldInvalid, "options.generator"),
            (QueryOptions { generator: "a\0".into(), ..none() }, Reason::FieldInvalid, "options.generator"),
            (QueryOptions { fusion: weights(-1.0, 1.0), ..none() }, Reason::FieldInvalid, "options.fusion.weights"),
            (QueryOptions { fusion: weights(0.0, 0.0), ..none() }, Reason::FieldInvalid, "options.fusion.weights"),
            (QueryOptions { fusion: weights(f64::NAN, 1.0), ..none() }, Reason::FieldInvalid, "options.fusion.weights"),
            (
                QueryOptions { fusion: fusion(Method::ReciprocalRank(ReciprocalRankFusion { k: -1.0 })), ..none() },
                Reason::FieldInvalid,
                "options.fusion.reciprocal_rank.k",
            ),
            (
                QueryOptions { fusion: fusion(Method::Convex(ConvexFusion { normalisation: 9 })), ..none() },
                Reason::FieldInvalid,
                "options.fusion.convex.normalisation",
            ),
            (QueryOptions { as_of: Some(AsOf::default()), ..none() }, Reason::FieldMissing, "options.as_of"),
            (
                QueryOptions { min_versions: [("../docs".to_owned(), 3)].into(), ..none() },
                Reason::FieldInvalid,
                "options.min_versions",
            ),
        ];
        for (options, reason, field) in table {
            let error = query(options).expect_err(field);
            assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
        }
    }

    #[test]
    fn bad_questions_are_refused_by_their_field() {
        let long = "x".repeat(1 << 20);
        let table = [
            (RouteRequest::default(), Reason::QueryEmpty, "query"),
            (RouteRequest { query: " \n".into(), ..RouteRequest::default() }, Reason::QueryEmpty, "query"),
            (RouteRequest { query: long, ..RouteRequest::default() }, Reason::QueryTooLong, "query"),
            (RouteRequest { query: "a\u{0}b".into(), ..RouteRequest::default() }, Reason::FieldInvalid, "query"),
            (
                RouteRequest { query: "a".into(), request_id: "x".repeat(129), ..RouteRequest::default() },
                Reason::FieldInvalid,
                "request_id",
            ),
            (
                RouteRequest { query: "a".into(), earlier_turns: vec![Turn::default()], ..RouteRequest::default() },
                Reason::NotServed,
                "earlier_turns",
            ),
        ];
        for (request, reason, field) in table {
            let error = Question::try_from(request).expect_err(field);
            assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
        }
    }

    #[test]
    fn what_is_left_open_is_left_to_the_policy() {
        let query = query(QueryOptions::default()).expect("right");
        assert_eq!((query.road, query.answer), (None, true));
        assert_eq!(query.overrides, Overrides::default());
        assert!(!query.question.request_id.is_empty());
    }

    #[test]
    fn a_collection_named_twice_is_searched_once() {
        let names = ["b", "a", "b"].map(str::to_owned).to_vec();
        let query = query(QueryOptions { collections: names, ..QueryOptions::default() }).expect("right");
        assert_eq!(query.overrides.collections, ["b", "a"]);
    }

    #[test]
    fn a_choice_of_fusion_survives_the_wire() {
        let weights = LegWeights::new(1.0, 3.0, 0.5).ok();
        let methods = [
            None,
            Some(Fusion::ReciprocalRank { k: RankConstant::new(7.0).expect("above 0") }),
            Some(Fusion::Convex { normalisation: Normalisation::Max }),
            Some(Fusion::Convex { normalisation: Normalisation::MinMax }),
            Some(Fusion::Convex { normalisation: Normalisation::ZScore }),
        ];
        for method in methods {
            let choice = FusionChoice { method, weights };
            let message = fusion_to_wire(&choice).expect("something was chosen");
            assert_eq!(fusion_choice(&message), Ok(choice));
        }
        assert_eq!(fusion_to_wire(&FusionChoice::default()), None);
    }
}
