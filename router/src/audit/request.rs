//! What is asked of the log, checked.

use trivium_proto::router::v1::{DocumentRef, Feedback, Road, SubmitFeedbackRequest};
use trivium_service_kit::{Error, Reason, validate};

use crate::policy::is_collection_name;

/// The longest label of an intent, in bytes.
const MAX_INTENT_BYTES: usize = 128;

/// The most documents that one feedback names.
const MAX_DOCUMENTS: usize = 32;

/// The longest id of a document, in bytes.
const MAX_DOCUMENT_ID_BYTES: usize = 512;

/// The name of a past request.
///
/// # Errors
/// `FIELD_MISSING` when it is empty, `FIELD_INVALID` when no request can have it.
pub(crate) fn past_request(id: &str) -> Result<&str, Error> {
    if id.is_empty() {
        return Err(Error::new(Reason::FieldMissing, "request_id is empty").with_field("request_id"));
    }
    validate::request_id(id)?;
    Ok(id)
}

/// Feedback and the request that it is about.
///
/// # Errors
/// Names the field that will not do.
pub(crate) fn feedback(request: SubmitFeedbackRequest) -> Result<(String, Feedback), Error> {
    let SubmitFeedbackRequest { request_id, feedback } = request;
    past_request(&request_id)?;
    let feedback = feedback.unwrap_or_default();
    let says_something = feedback.helpful.is_some()
        || !feedback.right_intent.is_empty()
        || feedback.right_road != i32::from(Road::Unspecified)
        || !feedback.right_documents.is_empty();
    if !says_something {
        let why = "feedback says nothing: set helpful, right_intent, right_road or right_documents";
        return Err(Error::new(Reason::FieldMissing, why).with_field("feedback"));
    }
    if Road::try_from(feedback.right_road).is_err() {
        return Err(invalid("feedback.right_road", format!("{} is no road", feedback.right_road)));
    }
    intent(&feedback.right_intent)?;
    if feedback.right_documents.len() > MAX_DOCUMENTS {
        let count = feedback.right_documents.len();
        let why = format!("feedback.right_documents has {count} items; the limit is {MAX_DOCUMENTS}");
        return Err(Error::new(Reason::FieldOutOfRange, why).with_field("feedback.right_documents"));
    }
    feedback.right_documents.iter().try_for_each(document)?;
    Ok((request_id, feedback))
}

fn intent(label: &str) -> Result<(), Error> {
    const FIELD: &str = "feedback.right_intent";
    if label.len() > MAX_INTENT_BYTES {
        return Err(invalid(FIELD, format!("{FIELD} has {} bytes; the limit is {MAX_INTENT_BYTES}", label.len())));
    }
    validate::no_control_characters(FIELD, label)
}

fn document(document: &DocumentRef) -> Result<(), Error> {
    const ID: &str = "feedback.right_documents.document_id";
    if document.document_id.is_empty() || document.document_id.len() > MAX_DOCUMENT_ID_BYTES {
        return Err(invalid(ID, format!("a document's id has 1 to {MAX_DOCUMENT_ID_BYTES} bytes")));
    }
    validate::no_control_characters(ID, &document.document_id)?;
    if !document.collection.is_empty() && !is_collection_name(&document.collection) {
        return Err(invalid("feedback.right_documents.collection", "that is no name of a collection"));
    }
    Ok(())
}

fn invalid(field: &str, why: impl Into<String>) -> Error {
    Error::new(Reason::FieldInvalid, why).with_field(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_or_nonsense_is_refused_by_its_field() {
        let document =
            |collection: &str, id: &str| DocumentRef { collection: collection.into(), document_id: id.into() };
        let say = |feedback: Feedback| SubmitFeedbackRequest { request_id: "r".into(), feedback: Some(feedback) };
        let none = Feedback::default;
        let table = [
            (SubmitFeedbackRequest::default(), Reason::FieldMissing, "request_id"),
            (
                SubmitFeedbackRequest { request_id: "x".repeat(129), ..Default::default() },
                Reason::FieldInvalid,
                "request_id",
            ),
            (SubmitFeedbackRequest { request_id: "r".into(), feedback: None }, Reason::FieldMissing, "feedback"),
            (say(none()), Reason::FieldMissing, "feedback"),
            (say(Feedback { right_road: 99, ..none() }), Reason::FieldInvalid, "feedback.right_road"),
            (say(Feedback { right_intent: "x".repeat(129), ..none() }), Reason::FieldInvalid, "feedback.right_intent"),
            (say(Feedback { right_intent: "a\0".into(), ..none() }), Reason::FieldInvalid, "feedback.right_intent"),
            (
                say(Feedback { right_documents: vec![document("docs", "")], ..none() }),
                Reason::FieldInvalid,
                "feedback.right_documents.document_id",
            ),
            (
                say(Feedback { right_documents: vec![document("../docs", "a")], ..none() }),
                Reason::FieldInvalid,
                "feedback.right_documents.collection",
            ),
            (
                say(Feedback { right_documents: vec![document("", "a"); 33], ..none() }),
                Reason::FieldOutOfRange,
                "feedback.right_documents",
            ),
        ];
        for (request, reason, field) in table {
            let error = feedback(request).expect_err(field);
            assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
        }
        assert!(feedback(say(Feedback { helpful: Some(false), ..none() })).is_ok());
        assert!(feedback(say(Feedback { right_documents: vec![document("", "a")], ..none() })).is_ok());
    }
}
