//! Setting which second stage a collection's searches have.

use super::{Retriever, collection_error};
use crate::second_stage::Wanted;
use trivium_service_kit::Error;

impl Retriever {
    /// Sets which second stage searches of a collection have where they do not say; `None` takes it back.
    ///
    /// # Errors
    /// As [`Retriever::collection`], and `STORAGE_FAILED`. Nothing is changed then.
    pub async fn set_rerank(&self, name: &str, method: Option<Wanted>) -> Result<(), Error> {
        let collection = self.collection("name", name)?;
        collection.set_rerank(method).await.map_err(|error| collection_error(&error))
    }
}
