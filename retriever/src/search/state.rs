//! Which state of the collection a search reads.

use crate::collection::{AsOf, Collection, Published};
use crate::service::as_of_error;
use std::sync::Arc;
use trivium_service_kit::{Deadline, Error, Reason};

/// The published state, once it is at least `min_version`.
///
/// # Errors
/// `DEADLINE_EXCEEDED`, naming the version that is published, when that one does not come in time;
/// `COLLECTION_NOT_FOUND` when the collection is deleted meanwhile.
pub(super) async fn awaited(
    collection: &Collection,
    min_version: u64,
    deadline: Deadline,
) -> Result<Arc<Published>, Error> {
    let published = collection.published();
    if published.version() >= min_version {
        return Ok(published);
    }
    // A little before the deadline itself, so that the answer still reaches the caller.
    let awaited = deadline.for_downstream().limit("the wait for a version", collection.at_least(min_version)).await;
    let name = &collection.spec().name;
    match awaited {
        Ok(published) if published.version() >= min_version => Ok(published),
        Ok(_) if collection.successor().is_some() => {
            let message = format!("the collection {name:?} was given the vectors of another encoder meanwhile");
            Err(Error::new(Reason::Overloaded, message))
        }
        Ok(_) => Err(Error::new(Reason::CollectionNotFound, format!("the collection {name:?} was deleted"))
            .with_field("collection")),
        Err(_) => {
            let version = collection.published().version();
            let message = format!(
                "version {min_version} of the collection {name:?} was not published in time; it is at version {version}"
            );
            Err(Error::new(Reason::DeadlineExceeded, message).with_field("min_version"))
        }
    }
}

/// The pair to read: that of the earlier state, where one is asked for.
///
/// # Errors
/// `SNAPSHOT_EXPIRED` and `SNAPSHOT_NOT_FOUND`, each saying what is there, and `COLLECTION_DAMAGED`.
pub(super) async fn read(
    collection: &Collection,
    published: Arc<Published>,
    as_of: Option<&AsOf>,
) -> Result<Arc<Published>, Error> {
    match as_of {
        None => Ok(published),
        Some(state) => collection.as_of(state).await.map_err(|error| as_of_error(collection, &error)),
    }
}
