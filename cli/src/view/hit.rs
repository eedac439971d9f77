//! One passage.

use serde::Serialize;
use serde_json::{Map, Value};
use trivium_proto::{
    retriever::v1::{Hit as WireHit, Leg, LegScore, RerankScore, TermScore, TokenMatch},
    router::v1::{Passage, PassageTwin},
};

use crate::metadata;

/// A passage, and how it was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Hit {
    /// Its number in the answer's citations, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// The collection it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The document.
    pub document_id: String,
    /// The chunk.
    pub chunk_id: String,
    /// The chunk's number in the document, from 0.
    pub chunk_no: u32,
    /// First code point in the document's text.
    pub char_start: u32,
    /// One past the last code point.
    pub char_end: u32,
    /// Title of the document.
    pub title: String,
    /// Headings above the passage, outermost first.
    pub heading_path: Vec<String>,
    /// The passage.
    pub text: String,
    /// Where the document lives.
    pub uri: String,
    /// The fused score, or the only leg's.
    pub score: f64,
    /// What each leg said; a leg that has no score for it is absent.
    pub legs: Legs,
    /// Where the passage matches words of the query: first code point and one past the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub highlights: Vec<[u32; 2]>,
    /// What each term gave to the lexical score, where an explanation was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<TermView>,
    /// What the second stage said of it, where it was among its candidates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<RerankView>,
    /// Which tokens of it answered those of the query, where an explanation was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenView>,
    /// The document's metadata.
    pub metadata: Map<String, Value>,
    /// The same passage in other collections that were searched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also_in: Vec<TwinView>,
}

/// A passage that says the same as another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TwinView {
    /// The collection.
    pub collection: String,
    /// The document.
    pub document_id: String,
    /// The chunk.
    pub chunk_id: String,
    /// Where the document lives.
    pub uri: String,
}

impl From<PassageTwin> for TwinView {
    fn from(twin: PassageTwin) -> Self {
        Self { collection: twin.collection, document_id: twin.document_id, chunk_id: twin.chunk_id, uri: twin.uri }
    }
}

/// What the second stage said of a passage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RerankView {
    /// Its rank by the fused score, from 1.
    pub rank_before: u32,
    /// Its rank by both stages.
    pub rank_after: u32,
    /// The second stage's own score, where it had one.
    pub score: Option<f64>,
    /// What it is placed by.
    pub blended: f64,
    /// The passage's part of late interaction's score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passage_score: Option<f64>,
    /// The part of the document's beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beginning_score: Option<f64>,
}

impl From<&RerankScore> for RerankView {
    fn from(score: &RerankScore) -> Self {
        let RerankScore { rank_before, rank_after, score, blended, passage_score, beginning_score } = *score;
        Self { rank_before, rank_after, score, blended, passage_score, beginning_score }
    }
}

/// A token of the query, and the one of the passage that answered it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenView {
    /// The query's token; empty where it is not known.
    pub query: String,
    /// The passage's token; empty where it is not known.
    pub passage: String,
    /// Its place among the passage's tokens, from 0.
    pub place: u32,
    /// How similar they are, -1 to 1.
    pub similarity: f64,
}

impl From<&TokenMatch> for TokenView {
    fn from(found: &TokenMatch) -> Self {
        Self {
            query: found.query_token.clone(),
            passage: found.passage_token.clone(),
            place: found.passage_place,
            similarity: found.similarity,
        }
    }
}

/// What one term of the query gave to a lexical score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TermView {
    /// The term, as the index holds it.
    pub term: String,
    /// `title` or `body`.
    pub field: String,
    /// What it gave.
    pub score: f64,
    /// Its inverse document frequency.
    pub inverse_document_frequency: f64,
    /// How often the field holds it.
    pub term_frequency: f64,
}

impl From<&TermScore> for TermView {
    fn from(term: &TermScore) -> Self {
        Self {
            term: term.term.clone(),
            field: term.field.clone(),
            score: term.score,
            inverse_document_frequency: term.inverse_document_frequency,
            term_frequency: term.term_frequency,
        }
    }
}

/// What the legs said of a passage.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Legs {
    /// The lexical leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lexical: Option<LegView>,
    /// The semantic leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantic: Option<LegView>,
}

/// What one leg said of a passage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LegView {
    /// Its rank, from 1.
    pub rank: u32,
    /// The leg's own score.
    pub score: f64,
    /// That score on the fusion's scale.
    pub normalised_score: f64,
    /// Its part of the fused score.
    pub share: f64,
}

impl From<&LegScore> for LegView {
    fn from(leg: &LegScore) -> Self {
        Self { rank: leg.rank, score: leg.score, normalised_score: leg.normalised_score, share: leg.share }
    }
}

impl From<WireHit> for Hit {
    fn from(hit: WireHit) -> Self {
        let leg = |wanted: Leg| hit.legs.iter().find(|score| score.leg() == wanted).map(LegView::from);
        Self {
            number: None,
            collection: None,
            legs: Legs { lexical: leg(Leg::Lexical), semantic: leg(Leg::Semantic) },
            highlights: hit.highlights.iter().map(|span| [span.start, span.end]).collect(),
            terms: hit.legs.iter().flat_map(|leg| leg.terms.iter().map(TermView::from)).collect(),
            metadata: hit.metadata.as_ref().map(metadata::from_struct).unwrap_or_default(),
            rerank: hit.rerank.as_ref().map(RerankView::from),
            tokens: hit.token_matches.iter().map(TokenView::from).collect(),
            document_id: hit.document_id,
            chunk_id: hit.chunk_id,
            chunk_no: hit.chunk_no,
            char_start: hit.char_start,
            char_end: hit.char_end,
            title: hit.title,
            heading_path: hit.heading_path,
            text: hit.text,
            uri: hit.uri,
            score: hit.score,
            also_in: Vec::new(),
        }
    }
}

impl From<Passage> for Hit {
    fn from(passage: Passage) -> Self {
        let hit = passage.hit.unwrap_or_default();
        let also_in = passage.also_in.into_iter().map(TwinView::from).collect();
        Self { number: Some(passage.number), collection: Some(passage.collection), also_in, ..Self::from(hit) }
    }
}
