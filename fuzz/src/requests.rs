//! Messages of the contract: what decodes is written and read again alike, and what the door refuses of it is an error
//! of the catalogue that fits into the headers of a response.

use prost::Message;
use trivium_proto::{
    model::v1 as model,
    retriever::v1 as retriever,
    router::v1::{self as router, CheckLabelsRequest, QueryRequest, QueryStreamRequest, RouteRequest},
};
use trivium_router::policy::Search;
use trivium_service_kit::{Error, Reason, validate};

use crate::{
    collection::{CollectionSpec, EmbedderRef},
    document::{self, IncomingDocument},
    extract::ContentType,
    given_vector::GivenVector,
    metadata::{self, MetadataField, MetadataType},
    retriever::{filter::Filter, grpc},
    router::request,
};

/// What a response's headers may hold altogether: the limit of the HTTP/2 library under gRPC, and of many others.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// The most bytes of a document's text; far fewer than by default, so that the limit is met.
const MAX_TEXT_BYTES: usize = 1 << 10;

/// The first byte says which message the others are.
pub fn check(data: &[u8]) {
    let [kind, message @ ..] = data else { return };
    if let Some(read) = READERS.get(usize::from(*kind)) {
        read(message);
    }
}

type Reader = fn(&[u8]);

/// Every request of the contract. New ones go to the end: the place is the first byte of the seeds.
const READERS: [Reader; 35] = [
    |bytes| checked(bytes, |message: QueryRequest| request::Query::try_from(message).map(same_filter)),
    |bytes| checked(bytes, |message: QueryStreamRequest| request::Query::try_from(message).map(same_filter)),
    |bytes| checked(bytes, |message: RouteRequest| request::Question::try_from(message).map(drop)),
    |bytes| checked(bytes, |message: CheckLabelsRequest| request::ModelLabels::try_from(message).map(drop)),
    |bytes| checked(bytes, search),
    |bytes| checked(bytes, upsert),
    |bytes| checked(bytes, create),
    |bytes| checked(bytes, |message: retriever::DeleteDocumentsRequest| ids(&message.document_ids)),
    |bytes| checked(bytes, |message: retriever::GetDocumentsRequest| ids(&message.document_ids)),
    |bytes| checked(bytes, |message: retriever::PurgeDocumentsRequest| ids(&message.document_ids)),
    decoded::<retriever::SetBlendRequest>,
    decoded::<retriever::UpgradeCollectionRequest>,
    decoded::<retriever::GetCollectionRequest>,
    decoded::<retriever::ListCollectionsRequest>,
    decoded::<retriever::DeleteCollectionRequest>,
    decoded::<retriever::CheckCollectionRequest>,
    decoded::<retriever::ListSnapshotsRequest>,
    decoded::<retriever::TagSnapshotRequest>,
    decoded::<retriever::DeleteTagRequest>,
    decoded::<router::SubmitFeedbackRequest>,
    decoded::<router::GetPolicyRequest>,
    decoded::<router::GetAuditRecordRequest>,
    decoded::<router::ReplayQueryRequest>,
    decoded::<router::ExportAuditRequest>,
    decoded::<model::AnalyzeRequest>,
    decoded::<model::EmbedRequest>,
    decoded::<model::GetTokenizerRequest>,
    decoded::<model::GenerateRequest>,
    decoded::<model::ListModelsRequest>,
    decoded::<model::RerankRequest>,
    decoded::<model::LoadModelRequest>,
    decoded::<model::UnloadModelRequest>,
    decoded::<model::PromoteModelRequest>,
    decoded::<model::RollbackModelRequest>,
    decoded::<model::ShadowModelRequest>,
];

fn decoded<M: Message + Default>(bytes: &[u8]) {
    decode::<M>(bytes);
}

/// A message that is written and read again. Maps are written in any order, so that the bytes may differ.
fn decode<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let written = message.encode_to_vec();
    let again = M::decode(written.as_slice()).expect("what was written can be read");
    assert_eq!(again.encoded_len(), written.len());
    Some(message)
}

fn checked<M: Message + Default>(bytes: &[u8], check: impl Fn(M) -> Result<(), Error>) {
    let Some(message) = decode(bytes) else { return };
    if let Err(error) = check(message) {
        fits(error);
    }
}

/// An error that arrives as it was, with headers that clients take.
fn fits(error: Error) {
    let (reason, field) = (error.reason(), error.field().map(str::to_owned));
    let response = tonic::Status::from(error).into_http::<()>();
    let headers = response.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(bytes <= MAX_HEADER_BYTES, "{reason:?} takes {bytes} bytes of headers");
    let status = tonic::Status::from_header_map(headers).expect("a status");
    let arrived = Error::from(status);
    assert_eq!((arrived.reason(), arrived.field().map(str::to_owned)), (reason, field));
}

/// What the door let in stays between the parentheses of a policy's filter.
fn same_filter(query: request::Query) {
    if let Ok(alone) = Filter::parse(&query.filter, &fields()) {
        let search = Search { filter: Some("stars = 7".to_owned()), ..search_of_policy() };
        let joined = Filter::parse(&search.filter_with(&query.filter), &fields());
        if let Ok(joined) = joined {
            let Filter::All(parts) = joined else { panic!("{} is no condition on top", query.filter) };
            assert_eq!(parts[1], alone);
        }
    }
}

/// A search as a policy asks for it, with nothing but defaults.
pub(crate) fn search_of_policy() -> Search {
    let legs = trivium_router::policy::Legs::Hybrid;
    let (fusion, rerank) = Default::default();
    Search { collection: "docs".to_owned(), legs, k: 8, fusion, rerank, filter: None }
}

fn fields() -> Vec<MetadataField> {
    vec![MetadataField { name: "stars".to_owned(), kind: MetadataType::Integer }]
}

fn search(message: retriever::SearchRequest) -> Result<(), Error> {
    validate::query("query", &message.query)?;
    validate::request_id(&message.request_id)?;
    let given: Vec<GivenVector> = message.vectors.into_iter().map(given_vector).collect();
    given.iter().try_for_each(|vector| vector.checked("vectors[0]", &spec()).map(is_of_length_one))
}

fn upsert(message: retriever::UpsertDocumentsRequest) -> Result<(), Error> {
    let incoming: Option<Vec<_>> = message.documents.into_iter().map(incoming_document).collect();
    let Some(incoming) = incoming else { return Ok(()) };
    for document in document::check_batch(incoming, &spec(), MAX_TEXT_BYTES)? {
        assert!(!document.id.is_empty() && document.text.len() <= MAX_TEXT_BYTES);
        assert_eq!(document.declared.len(), spec().metadata_fields.len());
        let rest = serde_json::from_str(&document.metadata_json).expect("what was written can be read");
        let joined = metadata::join(&document.declared, rest, &spec().metadata_fields);
        let again = metadata::split(joined, &spec().metadata_fields).expect("what was taken once");
        assert_eq!(again.declared, document.declared);
        document.vector.into_iter().for_each(|own| is_of_length_one(own.values));
    }
    Ok(())
}

fn create(message: retriever::CreateCollectionRequest) -> Result<(), Error> {
    let field = |field: retriever::MetadataField| MetadataField { name: field.name, kind: MetadataType::String };
    let fields: Vec<_> = message.metadata_fields.into_iter().map(field).collect();
    metadata::check_fields(&fields).map_err(|error| Error::new(Reason::FieldInvalid, error.to_string()))
}

fn ids(ids: &[String]) -> Result<(), Error> {
    ids.iter().try_for_each(|id| document::check_id("document_ids[0]", id))
}

fn spec() -> CollectionSpec {
    let kinds = [
        ("s", MetadataType::String),
        ("i", MetadataType::Integer),
        ("f", MetadataType::Float),
        ("b", MetadataType::Boolean),
        ("t", MetadataType::Timestamp),
        ("l", MetadataType::StringList),
    ];
    CollectionSpec {
        name: "docs".to_owned(),
        dimension: 2,
        embedder: EmbedderRef { name: "e".to_owned(), version: "1".to_owned() },
        metadata_fields: kinds.map(|(name, kind)| MetadataField { name: name.to_owned(), kind }).into(),
    }
}

fn given_vector(vector: model::QueryVector) -> GivenVector {
    let model::ModelRef { name, version } = vector.embedder.unwrap_or_default();
    GivenVector { embedder: EmbedderRef { name, version }, values: vector.values, tokens: None }
}

fn is_of_length_one(values: Vec<f32>) {
    let length: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    assert!((length - 1.0).abs() < 1e-5, "{values:?}");
}

fn incoming_document(given: retriever::Document) -> Option<IncomingDocument> {
    let metadata = grpc::to_json(given.metadata.unwrap_or_default())?;
    assert_eq!(grpc::to_json(grpc::to_struct(metadata.clone())), Some(metadata.clone()));
    Some(IncomingDocument {
        id: given.id,
        title: given.title,
        text: given.text,
        uri: given.uri,
        content_type: if given.content_type == 1 { ContentType::Plain } else { ContentType::Markdown },
        language: given.language,
        metadata,
        vector: given.vector.map(given_vector),
    })
}
