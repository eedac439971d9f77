//! What a client hands in as a document, and the checks that it must pass.

use crate::collection::CollectionSpec;
use crate::extract::{self, ContentType};
use crate::given_vector::GivenVector;
use crate::hash::{self, ContentHash, DocumentContent};
use crate::metadata::{self, MetadataValue};
use serde_json::{Map, Value};
use std::collections::HashSet;
use trivium_service_kit::{Error, Reason};

/// Longest id of a document, in bytes.
pub const MAX_ID_BYTES: usize = 512;
/// Longest title, in code points.
pub const MAX_TITLE_CHARS: usize = 1_024;
/// Longest URI, in bytes.
pub const MAX_URI_BYTES: usize = 2_048;
/// Longest language tag, in bytes. BCP 47 asks implementations for at least 35.
pub const MAX_LANGUAGE_BYTES: usize = 35;
/// Most metadata of one document, in bytes of JSON. Every chunk of the document carries a copy.
pub const MAX_METADATA_BYTES: usize = 16_384;

/// A document as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct IncomingDocument {
    /// Unique in its collection.
    pub id: String,
    /// Empty for the first heading of a Markdown text.
    pub title: String,
    /// Its text, with line ends of any kind.
    pub text: String,
    /// Where it lives.
    pub uri: String,
    /// How its text is marked up.
    pub content_type: ContentType,
    /// BCP 47 tag, empty for the collection's language.
    pub language: String,
    /// Values of declared fields, and anything else.
    pub metadata: Map<String, Value>,
    /// Its embedding, where the client made it.
    pub vector: Option<GivenVector>,
}

/// A document that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Unique in its collection; 1 to [`MAX_ID_BYTES`] bytes without control characters.
    pub id: String,
    /// Its title; empty when it has neither one of its own nor a heading.
    pub title: String,
    /// Its extracted text, which chunks tile.
    pub text: String,
    /// Where it lives.
    pub uri: String,
    /// How its text is marked up.
    pub content_type: ContentType,
    /// BCP 47 tag, empty for the collection's language.
    pub language: String,
    /// A value for each declared field, in their order.
    pub declared: Vec<Option<MetadataValue>>,
    /// Metadata that is not declared, as a JSON object.
    pub metadata_json: String,
    /// Hash of all of it. The vector is left out: the same text has the same vector.
    pub hash: ContentHash,
    /// The embedding that came with it.
    pub vector: Option<OwnVector>,
}

/// The embedding that came with a document, which has to turn out to be one chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnVector {
    /// The field of the request that held it.
    pub field: String,
    /// The vector, of the collection's dimension and of length 1.
    pub values: Vec<f32>,
}

/// Checks a batch of documents.
///
/// # Errors
/// The first document at fault, by its place in the batch, its id, and the field. An id that comes twice is
/// `DUPLICATE_ID`, a text of more than `max_text_bytes` is `DOCUMENT_TOO_LARGE`.
pub fn check_batch(
    incoming: Vec<IncomingDocument>,
    spec: &CollectionSpec,
    max_text_bytes: usize,
) -> Result<Vec<Document>, Error> {
    let mut ids = HashSet::with_capacity(incoming.len());
    for (place, document) in incoming.iter().enumerate() {
        if !ids.insert(document.id.as_str()) {
            let message = format!("the batch holds the document {:?} twice", document.id);
            return Err(Error::new(Reason::DuplicateId, message).with_field(format!("documents[{place}].id")));
        }
    }
    let checked =
        incoming.into_iter().enumerate().map(|(place, document)| check(place, document, spec, max_text_bytes));
    checked.collect()
}

/// Checks a document's id by itself, as deletions and look-ups send it.
///
/// # Errors
/// `FIELD_INVALID` naming `field`.
pub fn check_id(field: &str, id: &str) -> Result<(), Error> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
        let message =
            format!("{field} has {} bytes; it must be 1 to {MAX_ID_BYTES} bytes without control characters", id.len());
        return Err(Error::new(Reason::FieldInvalid, message).with_field(field));
    }
    Ok(())
}

fn check(
    place: usize,
    incoming: IncomingDocument,
    spec: &CollectionSpec,
    max_text_bytes: usize,
) -> Result<Document, Error> {
    let field = |name: &str| format!("documents[{place}].{name}");
    check_id(&field("id"), &incoming.id)?;
    let at_fault = |name: &str, reason: Reason, problem: String| {
        let message = format!("{} of the document {:?} {problem}", field(name), incoming.id);
        Error::new(reason, message).with_field(field(name))
    };
    if let Some((name, reason, problem)) = problems(&incoming, max_text_bytes).next() {
        return Err(at_fault(name, reason, problem));
    }
    let metadata_bytes = json_bytes(&incoming.metadata);
    if metadata_bytes > MAX_METADATA_BYTES {
        let problem = format!("has {metadata_bytes} bytes as JSON; the limit is {MAX_METADATA_BYTES}");
        return Err(at_fault("metadata", Reason::FieldInvalid, problem));
    }
    let split = metadata::split(incoming.metadata.clone(), &spec.metadata_fields)
        .map_err(|error| at_fault("metadata", Reason::FieldInvalid, format!("does not fit: {error}")))?;
    let metadata_json = Value::Object(split.rest).to_string();
    let text = extract::extracted_text(&incoming.text);
    let title = title_of(&incoming, &text);
    if title.is_empty() && text.trim().is_empty() {
        return Err(at_fault("text", Reason::FieldMissing, "is blank, and there is no title".to_owned()));
    }
    let hash = hash_of(&incoming, &title, &text);
    let own = |given: &GivenVector| {
        let field = field("vector");
        Ok::<_, Error>(OwnVector { values: given.checked(&field, spec)?, field })
    };
    let vector = incoming.vector.as_ref().map(own).transpose()?;
    Ok(Document {
        id: incoming.id,
        title,
        text,
        uri: incoming.uri,
        content_type: incoming.content_type,
        language: incoming.language,
        declared: split.declared,
        metadata_json,
        hash,
        vector,
    })
}

/// Length of metadata as JSON. Declared values count like the rest: every chunk carries both, and no text of a value may
/// exceed the longest term of the lexical index.
fn json_bytes(metadata: &Map<String, Value>) -> usize {
    serde_json::to_string(metadata).map_or(usize::MAX, |json| json.len())
}

/// What is wrong with the plain fields, the first problem first.
fn problems(
    incoming: &IncomingDocument,
    max_text_bytes: usize,
) -> impl Iterator<Item = (&'static str, Reason, String)> {
    let text_bytes = incoming.text.len();
    let title_chars = incoming.title.chars().count();
    let uri_bytes = incoming.uri.len();
    let good_tag = |tag: &str| {
        tag.len() <= MAX_LANGUAGE_BYTES && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let has_control = |text: &str| text.chars().any(char::is_control);
    let control = || "has control characters".to_owned();
    let checks = [
        (text_bytes > max_text_bytes).then(|| {
            let problem = format!("has {text_bytes} bytes; the limit is {max_text_bytes}");
            ("text", Reason::DocumentTooLarge, problem)
        }),
        (title_chars > MAX_TITLE_CHARS).then(|| {
            let problem = format!("has {title_chars} code points; the limit is {MAX_TITLE_CHARS}");
            ("title", Reason::FieldInvalid, problem)
        }),
        has_control(&incoming.title).then(|| ("title", Reason::FieldInvalid, control())),
        (uri_bytes > MAX_URI_BYTES).then(|| {
            let problem = format!("has {uri_bytes} bytes; the limit is {MAX_URI_BYTES}");
            ("uri", Reason::FieldInvalid, problem)
        }),
        has_control(&incoming.uri).then(|| ("uri", Reason::FieldInvalid, control())),
        (!good_tag(&incoming.language)).then(|| {
            let problem = format!("is no BCP 47 tag of at most {MAX_LANGUAGE_BYTES} letters, digits and \"-\"");
            ("language", Reason::FieldInvalid, problem)
        }),
    ];
    checks.into_iter().flatten()
}

fn title_of(incoming: &IncomingDocument, text: &str) -> String {
    let own = incoming.title.trim();
    if !own.is_empty() {
        return own.to_owned();
    }
    let heading = extract::first_heading(incoming.content_type, text).unwrap_or_default();
    heading.chars().filter(|character| !character.is_control()).take(MAX_TITLE_CHARS).collect()
}

fn hash_of(incoming: &IncomingDocument, title: &str, text: &str) -> ContentHash {
    hash::document_hash(&DocumentContent {
        id: &incoming.id,
        title,
        text,
        content_type: incoming.content_type.as_str(),
        uri: &incoming.uri,
        language: &incoming.language,
        metadata: &incoming.metadata,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::EmbedderRef;
    use crate::metadata::{MetadataField, MetadataType};
    use serde_json::json;

    const LIMIT: usize = 100;

    fn document(id: &str) -> IncomingDocument {
        IncomingDocument {
            id: id.into(),
            title: String::new(),
            text: "# Heading\r\n\r\nWords.".into(),
            uri: "docs/a.md".into(),
            content_type: ContentType::Markdown,
            language: "en-GB".into(),
            metadata: Map::new(),
            vector: None,
        }
    }

    fn spec(fields: Vec<MetadataField>) -> CollectionSpec {
        CollectionSpec::new("docs", EmbedderRef { name: "minilm".into(), version: "1".into() }, 2, fields)
    }

    fn vector(version: &str, values: &[f32]) -> Option<GivenVector> {
        let embedder = EmbedderRef { name: "minilm".into(), version: version.into() };
        Some(GivenVector { embedder, values: values.to_vec(), tokens: None })
    }

    fn with(edit: impl FnOnce(&mut IncomingDocument)) -> Vec<IncomingDocument> {
        let mut changed = document("b");
        edit(&mut changed);
        vec![document("a"), changed]
    }

    #[test]
    fn a_good_document_is_extracted_and_titled() {
        let checked = check_batch(vec![document("a")], &spec(Vec::new()), LIMIT).unwrap();
        assert_eq!((checked[0].title.as_str(), checked[0].text.as_str()), ("Heading", "# Heading\n\nWords."));
        assert_eq!(checked[0].metadata_json, "{}");
    }

    #[test]
    fn each_fault_names_its_document_and_field() {
        let spec = spec(vec![
            MetadataField { name: "stars".into(), kind: MetadataType::Integer },
            MetadataField { name: "lang".into(), kind: MetadataType::String },
        ]);
        let object = |value: Value| value.as_object().unwrap().clone();
        let cases: Vec<(Vec<IncomingDocument>, Reason, &str)> = vec![
            (with(|d| d.id = String::new()), Reason::FieldInvalid, "id"),
            (with(|d| d.id = "x".repeat(513)), Reason::FieldInvalid, "id"),
            (with(|d| d.id = "a\u{0}b".into()), Reason::FieldInvalid, "id"),
            (with(|d| d.id = "a".into()), Reason::DuplicateId, "id"),
            (with(|d| d.text = "x".repeat(101)), Reason::DocumentTooLarge, "text"),
            (with(|d| d.text = " \n".into()), Reason::FieldMissing, "text"),
            (with(|d| d.title = "é".repeat(1_025)), Reason::FieldInvalid, "title"),
            (with(|d| d.title = "a\u{7}".into()), Reason::FieldInvalid, "title"),
            (with(|d| d.uri = "x".repeat(2_049)), Reason::FieldInvalid, "uri"),
            (with(|d| d.uri = "a\nb".into()), Reason::FieldInvalid, "uri"),
            (with(|d| d.language = "en GB".into()), Reason::FieldInvalid, "language"),
            (with(|d| d.metadata = object(json!({"stars": "many"}))), Reason::FieldInvalid, "metadata"),
            (with(|d| d.metadata = object(json!({"x": "y".repeat(17_000)}))), Reason::FieldInvalid, "metadata"),
            (with(|d| d.metadata = object(json!({"lang": "y".repeat(17_000)}))), Reason::FieldInvalid, "metadata"),
            (with(|d| d.vector = vector("2", &[1.0, 0.0])), Reason::EmbedderMismatch, "vector"),
            (with(|d| d.vector = vector("1", &[1.0])), Reason::VectorInvalid, "vector.values"),
            (with(|d| d.vector = vector("1", &[f32::NAN, 1.0])), Reason::VectorInvalid, "vector.values"),
        ];
        for (batch, reason, field) in cases {
            let error = check_batch(batch, &spec, LIMIT).unwrap_err();
            assert_eq!(error.reason(), reason, "{error}");
            assert_eq!(error.field(), Some(format!("documents[1].{field}").as_str()), "{error}");
        }
    }

    #[test]
    fn a_title_alone_makes_a_document() {
        let mut titled = document("a");
        (titled.title, titled.text) = ("Only a title".into(), String::new());
        assert_eq!(check_batch(vec![titled], &spec(Vec::new()), LIMIT).unwrap()[0].text, "");
    }

    #[test]
    fn line_ends_do_not_change_the_hash() {
        let mut other = document("a");
        other.text = other.text.replace("\r\n", "\n");
        let hash = |document| check_batch(vec![document], &spec(Vec::new()), LIMIT).unwrap()[0].hash;
        assert_eq!(hash(document("a")), hash(other));
    }
}
