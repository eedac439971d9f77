//! Server-sent events out of bytes that arrive in any pieces. Pure.
//!
//! The form is that of the HTML standard, section 9.2.6, as far as chat completions use it:
//! lines end with LF, CR or both, a blank line ends an event, `data:` lines of one event are
//! joined, and every other field and comment is passed over.

use std::collections::VecDeque;

/// The longest event, in bytes. An event holds a few tokens and their bookkeeping.
const LONGEST_EVENT_BYTES: usize = 256 << 10;

/// Why bytes are no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SseError {
    /// The stream never ends a line or an event.
    #[error("an event is longer than {LONGEST_EVENT_BYTES} bytes")]
    TooLong,
    /// Not text.
    #[error("it is not UTF-8")]
    NotUtf8,
}

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    /// The data lines of the event under way, joined by line ends.
    data: Option<String>,
    /// A CR ended the last line: an LF right after it belongs to it.
    after_cr: bool,
    /// Bytes of the event under way.
    event_bytes: usize,
    ready: VecDeque<String>,
}

impl Decoder {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they cannot be events; nothing more is to be read then.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        for &byte in bytes {
            let belongs_to_cr = byte == b'\n' && std::mem::take(&mut self.after_cr);
            match byte {
                _ if belongs_to_cr => {}
                b'\n' => self.end_line()?,
                b'\r' => {
                    self.end_line()?;
                    self.after_cr = true;
                }
                other => {
                    self.after_cr = false;
                    self.line.push(other);
                    self.event_bytes += 1;
                    if self.event_bytes > LONGEST_EVENT_BYTES {
                        return Err(SseError::TooLong);
                    }
                }
            }
        }
        Ok(())
    }

    /// The next whole event's data. An event that was not ended by a blank line is none.
    pub(super) fn next(&mut self) -> Option<String> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) -> Result<(), SseError> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            self.ready.extend(self.data.take());
            self.event_bytes = 0;
            return Ok(());
        }
        let line = std::str::from_utf8(&line).map_err(|_| SseError::NotUtf8)?;
        // A byte order mark may open the stream.
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let Some(value) = line.strip_prefix("data:").or_else(|| (line == "data").then_some("")) else {
            return Ok(());
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match &mut self.data {
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
            None => self.data = Some(value.to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, SseError> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece)?;
            events.extend(std::iter::from_fn(|| decoder.next()));
        }
        Ok(events)
    }

    #[test]
    fn events_of_the_standard() {
        let table: [(&str, &[&str]); 9] = [
            ("data: a\n\ndata:b\n\n", &["a", "b"]),
            ("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["a", "b", "c"]),
            ("data: a\ndata:  b\n\n", &["a\n b"]),
            (": ping\n\nevent: x\nid: 1\ndata: a\n\n", &["a"]),
            ("\u{feff}data: é\n\n", &["é"]),
            ("data\n\n", &[""]),
            ("\n\n\n", &[]),
            ("dataset: a\n\n", &[]),
            ("data: never ended\n", &[]),
        ];
        for (text, events) in table {
            assert_eq!(decode([text.as_bytes()]).unwrap(), events, "{text:?}");
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let line = "x".repeat(LONGEST_EVENT_BYTES + 1);
        assert_eq!(decode([line.as_bytes()]), Err(SseError::TooLong));
        let lines = "data: x\n".repeat(LONGEST_EVENT_BYTES / 7 + 1);
        assert_eq!(decode([lines.as_bytes()]), Err(SseError::TooLong));
        assert_eq!(decode([&b"data: \xff\n"[..]]), Err(SseError::NotUtf8));
    }

    proptest! {
        #[test]
        fn where_bytes_are_cut_makes_no_difference(
            text in "(data: ?[aé:]{0,3}|: x|[\r\n]{1,3}){0,12}",
            cuts in proptest::collection::vec(0usize..80, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
            prop_assert_eq!(decode(pieces).unwrap(), decode([bytes]).unwrap());
        }
    }
}
