//! Front matter: the block of metadata before a Markdown text.
//!
//! A block between two lines of `---` is YAML, one between two lines of `+++` is
//! TOML. A block that does not parse costs its metadata, not the document.

use serde_json::{Map, Value};

/// A Markdown file, taken apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// What the front matter says, in the order of its keys.
    pub metadata: Map<String, Value>,
    /// The text after it.
    pub body: String,
    /// What is wrong with the front matter.
    pub note: Option<String>,
}

impl Page {
    /// Takes the first of `keys` out of the metadata that holds a text or a number.
    pub fn take_text(&mut self, keys: &[&str]) -> Option<String> {
        let key =
            keys.iter().find(|key| matches!(self.metadata.get(**key), Some(Value::String(_) | Value::Number(_))))?;
        match self.metadata.remove(*key) {
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            other => other.map(|value| value.to_string()),
        }
    }
}

/// Splits front matter and text. A first line `---` without a second one is a
/// rule in the text, as Markdown has it.
pub fn split(text: &str) -> Page {
    let Some((syntax, block, body)) = find_block(text) else {
        return Page { body: text.to_owned(), ..Page::default() };
    };
    match syntax.parse(block) {
        Ok(metadata) => Page { metadata, body: body.to_owned(), note: None },
        Err(why) => {
            let note = format!("the front matter is left out: {why}");
            Page { metadata: Map::new(), body: body.to_owned(), note: Some(note) }
        }
    }
}

#[derive(Clone, Copy)]
enum Syntax {
    Yaml,
    Toml,
}

impl Syntax {
    fn of(first_line: &str) -> Option<Self> {
        match first_line.trim_end() {
            "---" => Some(Self::Yaml),
            "+++" => Some(Self::Toml),
            _ => None,
        }
    }

    fn closes(self, line: &str) -> bool {
        match self {
            Self::Yaml => matches!(line.trim_end(), "---" | "..."),
            Self::Toml => line.trim_end() == "+++",
        }
    }

    fn parse(self, block: &str) -> Result<Map<String, Value>, String> {
        let value = match self {
            _ if block.trim().is_empty() => Value::Null,
            Self::Yaml => serde_norway::from_str::<Value>(block).map_err(|error| one_line(&error.to_string()))?,
            Self::Toml => {
                let table: toml::Table = block.parse().map_err(|error: toml::de::Error| one_line(error.message()))?;
                Value::Object(table.into_iter().map(|(key, value)| (key, from_toml(value))).collect())
            }
        };
        match value {
            Value::Object(map) => Ok(map),
            Value::Null => Ok(Map::new()),
            _ => Err("it is no list of keys and values".to_owned()),
        }
    }
}

/// The syntax, the block between the two lines, and what follows.
fn find_block(text: &str) -> Option<(Syntax, &str, &str)> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next()?;
    let syntax = Syntax::of(first)?;
    let start = first.len();
    let mut end = start;
    for line in lines {
        let after = end + line.len();
        if syntax.closes(line) {
            return Some((syntax, &text[start..end], &text[after..]));
        }
        end = after;
    }
    None
}

/// TOML's dates become texts: JSON has none.
fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(value) => Value::Bool(value),
        toml::Value::Datetime(moment) => Value::String(moment.to_string()),
        toml::Value::Array(values) => Value::Array(values.into_iter().map(from_toml).collect()),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(k, v)| (k, from_toml(v))).collect()),
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn front_matter_is_taken_off() {
        let table = [
            ("---\ntitle: A\ntags: [x, y]\n---\n# Body\n", json!({"title": "A", "tags": ["x", "y"]}), "# Body\n"),
            ("---\r\ntitle: A\r\n---\r\nBody", json!({"title": "A"}), "Body"),
            ("+++\ntitle = \"A\"\ndate = 2024-05-01\n+++\nBody", json!({"title": "A", "date": "2024-05-01"}), "Body"),
            ("---\n---\nBody", json!({}), "Body"),
            ("---\ntitle: A\n...\nBody", json!({"title": "A"}), "Body"),
            ("No front matter\n---\nBody", json!({}), "No front matter\n---\nBody"),
            ("---\nA rule, and no second one", json!({}), "---\nA rule, and no second one"),
            ("", json!({}), ""),
        ];
        for (text, metadata, body) in table {
            let page = split(text);
            assert_eq!((Value::Object(page.metadata), page.body.as_str()), (metadata, body), "{text:?}");
            assert_eq!(page.note, None, "{text:?}");
        }
    }

    #[test]
    fn broken_front_matter_costs_its_metadata_only() {
        for text in ["---\ntitle: [A\n---\nBody", "+++\ntitle = \n+++\nBody", "---\n- a list\n---\nBody"] {
            let page = split(text);
            assert_eq!((page.metadata.len(), page.body.as_str()), (0, "Body"), "{text:?}");
            assert!(page.note.is_some_and(|note| note.starts_with("the front matter is left out: ")), "{text:?}");
        }
    }

    #[test]
    fn titles_may_be_numbers() {
        let mut page = split("---\ntitle: 404\nurl: ' /x '\n---\nBody");
        assert_eq!(page.take_text(&["title"]).as_deref(), Some("404"));
        assert_eq!(page.take_text(&["uri", "url"]).as_deref(), Some("/x"));
        assert_eq!(page.take_text(&["title"]), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_lose_its_body(text in "(---|\\+\\+\\+)?(\n|\r\n)?[a-z:\\[\\]#\n \u{e9}-]{0,80}") {
            let page = split(&text);
            prop_assert!(text.ends_with(&page.body));
        }
    }
}
