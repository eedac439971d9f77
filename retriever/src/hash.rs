//! Content hashes: equal content has equal hashes, in every process and release.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The first 128 bits of a SHA-256, written as 32 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash([u8; 16]);

impl ContentHash {
    /// The hash as a number.
    pub fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The hash that [`as_u128`](Self::as_u128) gave as `number`.
    pub fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.as_u128())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A text that is not 32 lowercase hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a content hash has 32 lowercase hexadecimal digits, not {0:?}")]
pub struct InvalidHash(pub String);

impl FromStr for ContentHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(Self::from_u128).ok_or_else(|| InvalidHash(text.to_owned()))
    }
}

/// All that makes a document what it is.
#[derive(Clone, Copy, Debug)]
pub struct DocumentContent<'a> {
    /// The client's name for it.
    pub id: &'a str,
    /// As it is indexed, so with the heading that stands in for a missing title.
    pub title: &'a str,
    /// The extracted text.
    pub text: &'a str,
    /// The media type.
    pub content_type: &'a str,
    /// Where a reader finds it.
    pub uri: &'a str,
    /// The language tag.
    pub language: &'a str,
    /// All metadata, declared or not.
    pub metadata: &'a Map<String, Value>,
}

/// The hash of a document. The order of keys in metadata does not matter.
pub fn document_hash(document: &DocumentContent<'_>) -> ContentHash {
    let mut metadata = String::new();
    write_sorted_object(document.metadata, &mut metadata);
    let fields = [
        document.id,
        document.title,
        document.text,
        document.content_type,
        document.uri,
        document.language,
        metadata.as_str(),
    ];
    hash_fields("document", fields)
}

/// The hash of a chunk: its slice of the extracted text, what is put before it when it is indexed, and its span in code
/// points.
pub fn chunk_hash(text: &str, title: &str, heading_path: &[String], char_start: u32, char_end: u32) -> ContentHash {
    let span = format!("{char_start}-{char_end}");
    let fields = [text, title, span.as_str()].into_iter().chain(heading_path.iter().map(String::as_str));
    hash_fields("chunk", fields)
}

/// Each field goes with its length, so that moving a letter from one field to the next changes the hash.
fn hash_fields<'a>(kind: &'a str, fields: impl IntoIterator<Item = &'a str>) -> ContentHash {
    let mut hasher = Sha256::new();
    for field in std::iter::once(kind).chain(fields) {
        hasher.update((field.len() as u64).to_le_bytes());
        hasher.update(field.as_bytes());
    }
    let digest = hasher.finalize();
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest[..16]);
    ContentHash(hash)
}

/// JSON with sorted keys and no white space. `serde_json` sorts only where no crate of the build has asked it to keep
/// the order of insertion.
fn write_sorted(value: &Value, json: &mut String) {
    match value {
        Value::Object(object) => write_sorted_object(object, json),
        Value::Array(items) => {
            json.push('[');
            for item in items {
                write_sorted(item, json);
                json.push(',');
            }
            json.push(']');
        }
        scalar => json.push_str(&scalar.to_string()),
    }
}

fn write_sorted_object(object: &Map<String, Value>, json: &mut String) {
    let mut entries: Vec<(&String, &Value)> = object.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    json.push('{');
    for (key, value) in entries {
        json.push_str(&Value::from(key.as_str()).to_string());
        json.push(':');
        write_sorted(value, json);
        json.push(',');
    }
    json.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn hash_of(id: &str, title: &str, metadata: &Value) -> ContentHash {
        let metadata = metadata.as_object().expect("the tests pass objects");
        document_hash(&DocumentContent {
            id,
            title,
            text: "text",
            content_type: "text/plain",
            uri: "",
            language: "en",
            metadata,
        })
    }

    #[test]
    fn the_order_of_metadata_does_not_matter() {
        let one: Value = serde_json::from_str(r#"{"a": {"x": 1, "y": [1, "2"]}, "b": null}"#).expect("valid JSON");
        let other: Value = serde_json::from_str(r#"{"b": null, "a": {"y": [1, "2"], "x": 1}}"#).expect("valid JSON");
        assert_eq!(hash_of("i", "t", &one), hash_of("i", "t", &other));
    }

    #[test]
    fn every_field_counts() {
        let base = hash_of("ab", "c", &json!({"k": [1]}));
        for other in [
            hash_of("a", "bc", &json!({"k": [1]})),
            hash_of("ab", "c", &json!({"k": ["1"]})),
            hash_of("ab", "c", &json!({"k": [[1]]})),
            hash_of("ab", "c", &json!({})),
        ] {
            assert_ne!(base, other);
        }
        let path = ["a".to_owned(), "b".to_owned()];
        let chunk = chunk_hash("text", "title", &path, 0, 4);
        assert_eq!(chunk, chunk_hash("text", "title", &path, 0, 4));
        assert_ne!(chunk, chunk_hash("text", "title", &path[..1], 0, 4));
        assert_ne!(chunk, chunk_hash("text", "title", &path, 1, 5));
        assert_ne!(chunk, chunk_hash("texttitle", "", &path, 0, 4));
    }

    #[test]
    fn hashes_do_not_change_between_releases() {
        assert_eq!(
            chunk_hash("text", "title", &["h".to_owned()], 0, 4).to_string(),
            "765125f43d363da375a2bb89e81b5fac"
        );
    }

    #[test]
    fn bad_digits_are_refused() {
        for text in
            ["", "0", "+0000000000000000000000000000001", "ABCDEF00000000000000000000000000", "é000000000000000"]
        {
            assert_eq!(text.parse::<ContentHash>(), Err(InvalidHash(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn digits_round_trip(number: u128) {
            let hash = ContentHash::from_u128(number);
            prop_assert_eq!(hash.to_string().len(), 32);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
            prop_assert_eq!(hash.as_u128(), number);
        }
    }
}
