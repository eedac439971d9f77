//! The query's filter, for the collection that is searched.

use crate::collection::CollectionSpec;
use crate::filter::Filter;
use std::sync::Arc;
use trivium_service_kit::{Error, Reason};

/// Parses the filter of a query, if it has one.
///
/// # Errors
/// `FILTER_INVALID`, with the place of the fault and what was expected there.
pub(super) fn parse(text: Option<&str>, spec: &CollectionSpec) -> Result<Option<Arc<Filter>>, Error> {
    let parsed = text.map(|text| Filter::parse(text, &spec.metadata_fields)).transpose();
    let filter = parsed.map_err(|error| {
        let message = format!("the filter for the collection {:?} is wrong: {error}", spec.name);
        Error::new(Reason::FilterInvalid, message).with_field("filter")
    })?;
    Ok(filter.map(Arc::new))
}
