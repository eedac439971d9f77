//! Kept states between the contract and the service.

use super::convert::{snapshot, timestamp};
use crate::collection::{AsOf, Purged, Retained};
use crate::service::checked_tag;
use prost_types::Timestamp;
use trivium_proto::retriever::v1 as proto;
use trivium_service_kit::{Error, Reason};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// The earlier state that a search asks for.
pub(super) fn as_of(given: proto::AsOf) -> Result<AsOf, Error> {
    use proto::as_of::State;
    match given.state {
        None => Err(Error::new(Reason::FieldMissing, "as_of names no state").with_field("as_of")),
        Some(State::Version(0)) => {
            let message = "as_of.version is 0; versions begin with 1";
            Err(Error::new(Reason::FieldOutOfRange, message).with_field("as_of.version"))
        }
        Some(State::Version(version)) => Ok(AsOf::Version(version)),
        Some(State::Tag(tag)) => {
            checked_tag("as_of.tag", &tag)?;
            Ok(AsOf::Tag(tag))
        }
        Some(State::Time(moment)) => Ok(AsOf::Time(nanoseconds(moment))),
    }
}

pub(super) fn retained(collection: &str, retained: Retained) -> proto::RetainedSnapshot {
    let Retained { info, tags, published } = retained;
    let snapshot = proto::Snapshot {
        collection: collection.to_owned(),
        version: info.version,
        committed_at: Some(timestamp(info.committed_at_ns)),
    };
    proto::RetainedSnapshot {
        snapshot: Some(snapshot),
        tags,
        documents: info.documents,
        chunks: info.chunks,
        published,
    }
}

pub(super) fn purged(collection: &str, purged: Purged) -> proto::PurgeDocumentsResponse {
    proto::PurgeDocumentsResponse {
        snapshot: Some(snapshot(collection, &purged.published)),
        deleted: purged.deleted,
        removed_versions: purged.removed_versions,
        removed_tags: purged.removed_tags,
        removed_bytes: purged.removed_bytes,
    }
}

fn nanoseconds(moment: Timestamp) -> i128 {
    i128::from(moment.seconds) * NANOS_PER_SECOND + i128::from(moment.nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::as_of::State;

    #[test]
    fn a_state_is_named_in_one_of_three_ways() {
        let read = |state| as_of(proto::AsOf { state });
        assert_eq!(read(Some(State::Version(7))).unwrap(), AsOf::Version(7));
        assert_eq!(read(Some(State::Tag("v1".into()))).unwrap(), AsOf::Tag("v1".into()));
        let moment = Timestamp { seconds: -2, nanos: 5 };
        assert_eq!(read(Some(State::Time(moment))).unwrap(), AsOf::Time(-1_999_999_995));
        assert_eq!(read(Some(State::Time(Timestamp { seconds: i64::MAX, nanos: i32::MAX }))).map(drop).err(), None);
        let refused = [
            (None, Reason::FieldMissing, "as_of"),
            (Some(State::Version(0)), Reason::FieldOutOfRange, "as_of.version"),
            (Some(State::Tag("../x".into())), Reason::FieldInvalid, "as_of.tag"),
        ];
        for (state, reason, field) in refused {
            let error = read(state).unwrap_err();
            assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
        }
    }
}
