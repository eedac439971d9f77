//! Setting how a collection weighs its legs.

use super::{Retriever, collection_error, invalid};
use crate::collection::{Blend, BlendOrigin};
use std::time::{SystemTime, UNIX_EPOCH};
use trivium_service_kit::{Error, Reason};

impl Retriever {
    /// Sets a collection's own weight of the semantic leg, which was fitted to `queries` labelled queries; `None` takes
    /// it back.
    ///
    /// # Errors
    /// As [`Retriever::collection`], `FIELD_OUT_OF_RANGE` for a weight outside 0 to 1, `FIELD_INVALID` for queries
    /// without a weight, `STORAGE_FAILED`. Nothing is changed then.
    pub async fn set_blend(&self, name: &str, semantic_weight: Option<f64>, queries: u32) -> Result<Blend, Error> {
        let collection = self.collection("name", name)?;
        let blend = match semantic_weight {
            Some(weight) => Blend::own(weight, BlendOrigin { queries, set_at_ms: now_ms() }).map_err(|error| {
                let field = "semantic_weight";
                Error::new(Reason::FieldOutOfRange, format!("{field} {error}")).with_field(field)
            })?,
            None if queries > 0 => return Err(invalid("queries", "must be 0 when no semantic_weight is set")),
            None => Blend::default(),
        };
        collection.set_blend(blend).await.map_err(|error| collection_error(&error))?;
        Ok(blend)
    }
}

fn now_ms() -> u64 {
    // A clock before 1970 knows no better moment than 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
