//! Collections and documents between the contract and the service.

use super::{json, rerank};
use crate::collection::{Blend, CheckReport, Collection, EmbedderRef, Published, Succession, TokenUpgrade};
use crate::document::IncomingDocument;
use crate::extract::ContentType;
use crate::given_vector::{GivenTokens, GivenVector};
use crate::metadata::{MetadataField, MetadataType};
use crate::service::NewCollection;
use crate::stored::StoredDocument;
use crate::vector::TokenColumn;
use prost_types::Timestamp;
use trivium_proto::model::v1::{ModelRef, QueryVector, TokenVectors};
use trivium_proto::retriever::v1 as proto;
use trivium_service_kit::{Error, Reason};

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const NANOS_PER_MILLISECOND: i128 = 1_000_000;

pub(super) fn new_collection(request: proto::CreateCollectionRequest) -> Result<NewCollection, Error> {
    let fields = request.metadata_fields.into_iter().enumerate().map(|(place, field)| metadata_field(place, field));
    Ok(NewCollection {
        name: request.name,
        embedder: request.embedder.map(wanted_embedder).transpose()?,
        metadata_fields: fields.collect::<Result<_, _>>()?,
        if_absent: request.if_absent,
    })
}

pub(super) fn collection(collection: &Collection) -> proto::Collection {
    let spec = collection.spec();
    let published = collection.published();
    proto::Collection {
        name: spec.name.clone(),
        embedder: Some(model_ref(&spec.embedder)),
        dimension: u32::try_from(spec.dimension).unwrap_or(u32::MAX),
        metadata_fields: spec.metadata_fields.iter().map(declared_field).collect(),
        snapshot: Some(snapshot(&spec.name, &published)),
        documents: published.documents,
        chunks: published.chunks,
        blend: Some(blend(collection.blend())),
        token_projection: published.table.layout().tokens.as_ref().map(projection_ref),
        token_upgrade: collection.token_upgrade().map(|upgrade| token_upgrade(&upgrade)),
        rerank: rerank::wanted_method(collection.rerank()).into(),
        reembedding: collection.succession().map(|succession| reembedding(&succession)),
    }
}

fn token_upgrade(upgrade: &TokenUpgrade) -> proto::TokenUpgrade {
    let (problem, problem_detail) = told(upgrade.problem.as_ref());
    proto::TokenUpgrade { documents_left: upgrade.documents_left, problem, problem_detail }
}

fn reembedding(succession: &Succession) -> proto::Reembedding {
    let (problem, problem_detail) = told(succession.problem.as_ref());
    let embedder = Some(model_ref(&succession.embedder));
    proto::Reembedding { embedder, documents_left: succession.documents_left, problem, problem_detail }
}

/// The reason of a problem and its words; both empty without one.
fn told(problem: Option<&Error>) -> (String, String) {
    problem.map(|error| (error.reason().as_str().to_owned(), error.message().to_owned())).unwrap_or_default()
}

pub(super) fn blend(blend: Blend) -> proto::Blend {
    let origin = blend.origin();
    let [_, semantic] = blend.weights();
    proto::Blend {
        semantic_weight: semantic.get(),
        own: origin.is_some(),
        queries: origin.map(|origin| origin.queries).unwrap_or_default(),
        set_at: origin.map(|origin| timestamp(i128::from(origin.set_at_ms) * NANOS_PER_MILLISECOND)),
    }
}

pub(super) fn projection_ref(column: &TokenColumn) -> ModelRef {
    ModelRef { name: column.projection.clone(), version: column.version.clone() }
}

pub(super) fn snapshot(collection: &str, published: &Published) -> proto::Snapshot {
    proto::Snapshot {
        collection: collection.to_owned(),
        version: published.version(),
        committed_at: Some(timestamp(published.table.committed_at_ns())),
    }
}

pub(super) fn check_report(collection: &str, report: CheckReport) -> proto::CheckCollectionResponse {
    proto::CheckCollectionResponse {
        snapshot: Some(snapshot(collection, &report.published)),
        table_rows: report.table_rows,
        lexical_rows: report.lexical_rows,
        vectors_in_memory: report.vectors_in_memory.unwrap_or_default(),
        problems: report.problems.listed,
        problem_count: report.problems.count,
    }
}

pub(super) fn given_vector(vector: QueryVector) -> GivenVector {
    GivenVector {
        embedder: embedder_ref(vector.embedder.unwrap_or_default()),
        values: vector.values,
        tokens: vector.token_vectors.map(given_tokens),
    }
}

fn given_tokens(tokens: TokenVectors) -> GivenTokens {
    let ModelRef { name, version } = tokens.projection.unwrap_or_default();
    GivenTokens {
        column: TokenColumn { projection: name, version, dimension: tokens.dimension as usize },
        values: tokens.values.iter().map(|number| number.cast_signed()).collect(),
    }
}

fn embedder_ref(model: ModelRef) -> EmbedderRef {
    EmbedderRef { name: model.name, version: model.version }
}

pub(super) fn model_ref(embedder: &EmbedderRef) -> ModelRef {
    ModelRef { name: embedder.name.clone(), version: embedder.version.clone() }
}

/// `field` is the document's place in the request.
pub(super) fn incoming_document(field: &str, document: proto::Document) -> Result<IncomingDocument, Error> {
    let content_type = match proto::ContentType::try_from(document.content_type) {
        Ok(proto::ContentType::Unspecified | proto::ContentType::Plain) => ContentType::Plain,
        Ok(proto::ContentType::Markdown) => ContentType::Markdown,
        Err(_) => return Err(unknown(&format!("{field}.content_type"), document.content_type)),
    };
    let metadata = json::from_struct(document.metadata.unwrap_or_default()).map_err(|error| {
        let field = format!("{field}.metadata");
        Error::new(Reason::FieldInvalid, format!("{field} of the document {:?}: {error}", document.id))
            .with_field(field)
    })?;
    Ok(IncomingDocument {
        id: document.id,
        title: document.title,
        text: document.text,
        uri: document.uri,
        content_type,
        language: document.language,
        metadata,
        vector: document.vector.map(given_vector),
    })
}

pub(super) fn stored_document(stored: StoredDocument) -> proto::StoredDocument {
    let text = stored.text();
    let StoredDocument { chunks, metadata } = stored;
    let spans = chunks.iter().map(|chunk| proto::ChunkSpan {
        chunk_id: chunk.chunk_id.clone(),
        chunk_no: chunk.chunk_no,
        char_start: chunk.char_start,
        char_end: chunk.char_end,
    });
    let spans = spans.collect();
    let Some(first) = chunks.into_iter().next() else {
        return proto::StoredDocument::default();
    };
    let row = first.document;
    let markdown = row.content_type == ContentType::Markdown.as_str();
    let content_type = if markdown { proto::ContentType::Markdown } else { proto::ContentType::Plain };
    let document = proto::Document {
        id: row.document_id,
        title: row.title,
        text,
        uri: row.uri,
        content_type: content_type.into(),
        language: row.language,
        metadata: Some(json::to_struct(metadata)),
        vector: None,
    };
    proto::StoredDocument { document: Some(document), document_hash: row.document_hash.to_string(), chunks: spans }
}

/// The refusal of a number that is no entry of an enum.
pub(super) fn unknown(field: &str, number: i32) -> Error {
    Error::new(Reason::FieldInvalid, format!("{field} is {number}, which is not one of its values")).with_field(field)
}

pub(super) fn wanted_embedder(model: ModelRef) -> Result<EmbedderRef, Error> {
    if model.name.is_empty() {
        return Err(Error::new(Reason::FieldMissing, "embedder.name is empty").with_field("embedder.name"));
    }
    Ok(embedder_ref(model))
}

fn metadata_field(place: usize, field: proto::MetadataField) -> Result<MetadataField, Error> {
    use proto::MetadataType as Proto;
    let refused = || unknown(&format!("metadata_fields[{place}].type"), field.r#type);
    let kind = match Proto::try_from(field.r#type).map_err(|_| refused())? {
        Proto::Unspecified => return Err(refused()),
        Proto::String => MetadataType::String,
        Proto::Integer => MetadataType::Integer,
        Proto::Float => MetadataType::Float,
        Proto::Boolean => MetadataType::Boolean,
        Proto::Timestamp => MetadataType::Timestamp,
        Proto::StringList => MetadataType::StringList,
    };
    Ok(MetadataField { name: field.name, kind })
}

fn declared_field(field: &MetadataField) -> proto::MetadataField {
    use proto::MetadataType as Proto;
    let kind = match field.kind {
        MetadataType::String => Proto::String,
        MetadataType::Integer => Proto::Integer,
        MetadataType::Float => Proto::Float,
        MetadataType::Boolean => Proto::Boolean,
        MetadataType::Timestamp => Proto::Timestamp,
        MetadataType::StringList => Proto::StringList,
    };
    proto::MetadataField { name: field.name.clone(), r#type: kind.into() }
}

pub(super) fn timestamp(nanos: i128) -> Timestamp {
    let seconds = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).unwrap_or(i64::MAX);
    // The remainder is below a thousand million, which 32 bits hold.
    let nanos = i32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).unwrap_or_default();
    Timestamp { seconds, nanos }
}
