//! The form of the log's files.
//!
//! A file begins with eight bytes that name the format and its version. After
//! them come entries: the length of the entry's bytes and the first four bytes
//! of their SHA-256, both as 32-bit numbers with the least byte first, and then
//! the bytes, a protobuf `AuditEntry`. A process that is killed while it writes
//! leaves an entry that ends too early or does not match its sum; what comes
//! before it is whole.

use prost::Message;
use sha2::{Digest, Sha256};
use trivium_proto::router::v1::{AuditEntry, audit_entry::Entry};

/// What a file begins with.
pub(super) const HEADER: &[u8; 8] = b"TRIVAUD\x01";

/// Length and sum before each entry.
const FRAME_BYTES: usize = 8;

/// Writes an entry as it stands in a file.
pub(super) fn frame(entry: Entry) -> Vec<u8> {
    let payload = AuditEntry { entry: Some(entry) }.encode_to_vec();
    // A record is bounded by the largest message, far below 4 GiB.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(FRAME_BYTES + payload.len());
    framed.extend_from_slice(&length.to_le_bytes());
    framed.extend_from_slice(&sum(&payload).to_le_bytes());
    framed.extend_from_slice(&payload);
    framed
}

/// Why the rest of a file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Torn {
    /// The file is not one of this log, or of a later version.
    #[error("the file does not begin as an audit log of version 1 does")]
    Header,
    /// An entry ends too early or does not match its sum, as after a crash.
    #[error("the entry at byte {at} is cut short or damaged; what follows it is not read")]
    Entry {
        /// Where the entry begins, in bytes from the start of the file.
        at: usize,
    },
}

/// The entries of a file up to the first that is not whole, and why reading
/// ended there, if it did before the end.
pub(super) fn entries(file: &[u8]) -> (Vec<Entry>, Option<Torn>) {
    let mut found = Vec::new();
    if !file.starts_with(HEADER) {
        // A file whose first bytes were never written holds nothing.
        return (found, (!HEADER.starts_with(file)).then_some(Torn::Header));
    }
    let mut at = HEADER.len();
    while at < file.len() {
        let Some((entry, length)) = entry(&file[at..]) else { return (found, Some(Torn::Entry { at })) };
        // An entry of a kind that a later version added says nothing to this one.
        found.extend(entry.entry);
        at += length;
    }
    (found, None)
}

/// The first entry of `bytes`, and the bytes that it takes.
fn entry(bytes: &[u8]) -> Option<(AuditEntry, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (expected, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let payload = rest.get(..length)?;
    if sum(payload) != u32::from_le_bytes(*expected) {
        return None;
    }
    Some((AuditEntry::decode(payload).ok()?, FRAME_BYTES + length))
}

fn sum(payload: &[u8]) -> u32 {
    let digest: [u8; 32] = Sha256::digest(payload).into();
    let [first, second, third, fourth, ..] = digest;
    u32::from_le_bytes([first, second, third, fourth])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trivium_proto::router::v1::{AuditGap, AuditRecord};

    use super::*;

    fn record(id: &str) -> Entry {
        Entry::Record(AuditRecord { request_id: id.to_owned(), ..AuditRecord::default() })
    }

    fn file(entries: &[Entry]) -> Vec<u8> {
        let mut file = HEADER.to_vec();
        for entry in entries {
            file.extend(frame(entry.clone()));
        }
        file
    }

    #[test]
    fn entries_read_back() {
        let written = [record("a"), Entry::Gap(AuditGap { recorded_at: None, lost_records: 3 }), record("b")];
        assert_eq!(entries(&file(&written)), (written.to_vec(), None));
        assert_eq!(entries(HEADER), (vec![], None));
        assert_eq!(entries(&[]), (vec![], None));
    }

    #[test]
    fn another_file_is_not_read() {
        for other in [&b"{\"json\": true}"[..], b"TRIVAUD\x02....", b"x"] {
            assert_eq!(entries(other), (vec![], Some(Torn::Header)), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn a_file_cut_anywhere_gives_what_is_whole(ids in prop::collection::vec("[a-z]{0,40}", 1..8), cut in 0.0..1.0_f64) {
            let written: Vec<Entry> = ids.iter().map(|id| record(id)).collect();
            let whole = file(&written);
            let kept = (whole.len() as f64 * cut) as usize;
            let (found, torn) = entries(&whole[..kept]);
            prop_assert!(found.len() < written.len());
            prop_assert_eq!(&found[..], &written[..found.len()]);
            let boundary = file(&found).len() == kept || kept < HEADER.len();
            prop_assert_eq!(torn.is_none(), boundary);
        }

        #[test]
        fn a_flipped_bit_is_never_taken_for_an_entry(at in 0_usize..200, bit in 0_u8..8) {
            let written = [record("first"), record("second"), record("third")];
            let mut whole = file(&written);
            let at = HEADER.len() + at % (whole.len() - HEADER.len());
            whole[at] ^= 1 << bit;
            let (found, torn) = entries(&whole);
            prop_assert!(torn.is_some());
            prop_assert_eq!(&found[..], &written[..found.len()]);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            entries(&bytes);
            entries(&[HEADER.as_slice(), &bytes].concat());
        }
    }
}
