//! Bytes of a file as text, or why they are none.

/// Why bytes are no text to ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// A byte order mark of UTF-16.
    #[error("it is UTF-16; convert it to UTF-8")]
    Utf16,
    /// A zero byte.
    #[error("it is binary: byte {0} is zero")]
    Binary(usize),
    /// A byte that is no UTF-8.
    #[error("it is not UTF-8: byte {0} does not belong")]
    NotUtf8(usize),
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
}

/// Decodes UTF-8, without a byte order mark at its start.
///
/// # Errors
/// Says what the bytes are instead, with the offset of the first that shows it.
pub fn decode(bytes: Vec<u8>) -> Result<String, NotText> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(NotText::Utf16);
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(NotText::Binary(offset));
    }
    let text = String::from_utf8(bytes).map_err(|error| NotText::NotUtf8(error.utf8_error().valid_up_to()))?;
    let text = text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text);
    if text.trim().is_empty() { Err(NotText::Empty) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_apart() {
        let table: [(&[u8], Result<&str, NotText>); 8] = [
            (b"plain\r\n", Ok("plain\r\n")),
            ("na\u{ef}ve \u{4e16}\u{754c}".as_bytes(), Ok("na\u{ef}ve \u{4e16}\u{754c}")),
            (b"\xEF\xBB\xBFmarked", Ok("marked")),
            (b"caf\xe9", Err(NotText::NotUtf8(3))),
            (b"\xFF\xFEh\0i\0", Err(NotText::Utf16)),
            (b"\x7fELF\0\x01", Err(NotText::Binary(4))),
            (b"", Err(NotText::Empty)),
            (b" \n\t\r\n", Err(NotText::Empty)),
        ];
        for (bytes, expected) in table {
            assert_eq!(decode(bytes.to_vec()), expected.map(str::to_owned), "{bytes:?}");
        }
    }
}
