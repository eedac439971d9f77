//! Kept states, as clients name and see them.

use super::{Retriever, collection_error, invalid};
use crate::collection::{Collection, Retained, SnapshotError, StateError};
use crate::search::read_error;
use trivium_service_kit::{Error, Reason};

/// Longest tag, in bytes.
const MAX_TAG_BYTES: usize = 63;

impl Retriever {
    /// The kept states of a collection, the newest first.
    ///
    /// # Errors
    /// As [`Retriever::collection`].
    pub fn list_snapshots(&self, name: &str) -> Result<Vec<Retained>, Error> {
        Ok(self.collection("collection", name)?.snapshots())
    }

    /// Names a kept state; `None` means the published one. A tag that exists is moved.
    ///
    /// # Errors
    /// As [`Retriever::collection`], `FIELD_INVALID` for what cannot be a tag or is one too many, `SNAPSHOT_EXPIRED`,
    /// `SNAPSHOT_NOT_FOUND`, `STORAGE_FAILED`.
    pub async fn tag_snapshot(&self, name: &str, tag: &str, version: Option<u64>) -> Result<Retained, Error> {
        let collection = self.collection("collection", name)?;
        checked_tag("tag", tag)?;
        collection.tag(tag, version).await.map_err(|error| match error {
            SnapshotError::TooManyTags => invalid("tag", &format!("is one too many: {error}")),
            error => change_error(&error, "version"),
        })
    }

    /// Takes a tag away.
    ///
    /// # Errors
    /// As [`Retriever::collection`], `FIELD_INVALID` for what cannot be a tag, `SNAPSHOT_NOT_FOUND`, `STORAGE_FAILED`.
    pub async fn delete_tag(&self, name: &str, tag: &str) -> Result<(), Error> {
        let collection = self.collection("collection", name)?;
        checked_tag("tag", tag)?;
        collection.untag(tag).await.map_err(|error| change_error(&error, "tag"))
    }
}

/// Checks what is to be a tag: letters, digits, ".", "-" and "_", beginning with a letter or digit. All digits would be
/// taken for a version where both can be given.
///
/// # Errors
/// `FIELD_INVALID` naming `field`.
pub fn checked_tag(field: &str, tag: &str) -> Result<(), Error> {
    let plain = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let begins = tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let number = tag.bytes().all(|byte| byte.is_ascii_digit());
    if plain && begins && !number && tag.len() <= MAX_TAG_BYTES {
        return Ok(());
    }
    Err(invalid(
        field,
        "must be 1 to 63 letters, digits, \".\", \"-\" and \"_\", beginning with a letter or digit and not digits alone",
    ))
}

/// Why an earlier state cannot be searched, as clients see it.
pub(crate) fn as_of_error(collection: &Collection, error: &SnapshotError) -> Error {
    match error {
        SnapshotError::State(state) => state_error(state, "as_of"),
        SnapshotError::Collection(error) => read_error(collection, error),
        SnapshotError::TooManyTags => Error::new(Reason::Internal, error.to_string()),
    }
}

fn change_error(error: &SnapshotError, field: &str) -> Error {
    match error {
        SnapshotError::State(state) => state_error(state, field),
        SnapshotError::Collection(error) => collection_error(error),
        SnapshotError::TooManyTags => Error::new(Reason::Internal, error.to_string()),
    }
}

fn state_error(error: &StateError, field: &str) -> Error {
    let reason = match error {
        StateError::Expired { .. } => Reason::SnapshotExpired,
        StateError::Unknown { .. } => Reason::SnapshotNotFound,
    };
    Error::new(reason, error.to_string()).with_field(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_checked() {
        let longest = "a".repeat(63);
        for tag in ["a", "v1", "2026-01-01", "Release_1.2", "0x", longest.as_str()] {
            assert!(checked_tag("tag", tag).is_ok(), "{tag}");
        }
        let too_long = "a".repeat(64);
        for tag in ["", "7", "2026", ".a", "-a", "_a", "a b", "a/b", "..", "ä", "a\n", too_long.as_str()] {
            let error = checked_tag("tag", tag).unwrap_err();
            assert_eq!((error.reason(), error.field()), (Reason::FieldInvalid, Some("tag")), "{tag}");
        }
    }
}
