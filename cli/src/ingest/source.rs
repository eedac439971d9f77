//! Reads files into documents, one after another.

use std::io::BufReader;

use fs_err as fs;
use tokio::sync::mpsc;
use trivium_proto::retriever::v1::{ContentType, Document};

use super::{
    Item, MAX_DOCUMENT_BYTES, Prepared, Skipped,
    files::{Format, Found},
    front_matter,
    json_lines::{self, RawLine},
    text,
};
use crate::metadata;

/// Nobody takes documents any more.
struct Closed;

/// Reads all files, and hands over what they hold. Returns early, without a
/// word, when the receiver is gone. Blocks: run it on a thread of its own.
pub fn read_all(files: &[Found], sender: &mpsc::Sender<Item>) {
    for file in files {
        let outcome = match file.format {
            Format::JsonLines => read_lines(file, sender),
            Format::Markdown | Format::Plain => send(sender, read_file(file)),
        };
        if outcome.is_err() {
            return;
        }
    }
}

fn send(sender: &mpsc::Sender<Item>, item: Item) -> Result<(), Closed> {
    sender.blocking_send(item).map_err(|_| Closed)
}

/// One file, one document.
fn read_file(file: &Found) -> Item {
    let origin = file.path.display().to_string();
    let decoded = fs::read(&file.path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| text::decode(bytes).map_err(|error| error.to_string()));
    let prepared = decoded.and_then(|text| match file.format {
        Format::Markdown => markdown(file, &origin, &text),
        Format::Plain | Format::JsonLines => Ok(plain(file, &origin, text)),
    });
    match prepared {
        Ok(prepared) => Item::Document(Box::new(prepared)),
        Err(reason) => Item::Skipped { skipped: Skipped { path: origin, reason }, bytes: file.bytes },
    }
}

fn plain(file: &Found, origin: &str, text: String) -> Prepared {
    let document = Document {
        id: file.id.clone(),
        text,
        uri: forward_slashes(origin),
        content_type: ContentType::Plain.into(),
        ..Document::default()
    };
    Prepared { origin: origin.to_owned(), document, note: None, bytes: file.bytes }
}

fn markdown(file: &Found, origin: &str, text: &str) -> Result<Prepared, String> {
    let mut page = front_matter::split(text);
    if page.body.trim().is_empty() {
        return Err("it is empty after its front matter".to_owned());
    }
    let document = Document {
        id: file.id.clone(),
        title: page.take_text(&["title"]).unwrap_or_default(),
        uri: page.take_text(&["uri", "url"]).unwrap_or_else(|| forward_slashes(origin)),
        text: page.body,
        content_type: ContentType::Markdown.into(),
        language: String::new(),
        metadata: (!page.metadata.is_empty()).then(|| metadata::to_struct(page.metadata)),
        vector: None,
    };
    Ok(Prepared { origin: origin.to_owned(), document, note: page.note, bytes: file.bytes })
}

fn forward_slashes(path: &str) -> String {
    if std::path::MAIN_SEPARATOR == '\\' { path.replace('\\', "/") } else { path.to_owned() }
}

/// One file, a document on each line.
fn read_lines(file: &Found, sender: &mpsc::Sender<Item>) -> Result<(), Closed> {
    let path = file.path.display();
    let mut reader = match fs::File::open(&file.path) {
        Ok(file) => BufReader::new(file),
        Err(error) => return send(sender, skipped(path.to_string(), error.to_string(), file.bytes)),
    };
    let mut number = 0_u64;
    loop {
        number += 1;
        let origin = format!("{path}:{number}");
        let (line, bytes) = match json_lines::next_line(&mut reader) {
            Ok(Some(read)) => read,
            Ok(None) => break,
            Err(error) => return send(sender, skipped(origin, error.to_string(), 0)),
        };
        if let Some(item) = line_item(origin, line, bytes) {
            send(sender, item)?;
        }
    }
    // Only a file without a single line ends here with its number at 1.
    if number == 1 { send(sender, skipped(path.to_string(), text::NotText::Empty.to_string(), 0)) } else { Ok(()) }
}

/// What one line holds; blank lines hold nothing.
fn line_item(origin: String, line: RawLine, bytes: u64) -> Option<Item> {
    let parsed = match line {
        RawLine::TooLong(length) => Err(format!("the line has {length} bytes; the limit is {MAX_DOCUMENT_BYTES}")),
        RawLine::Bytes(line) => match text::decode(line) {
            Err(text::NotText::Empty) => return None,
            Err(error) => Err(error.to_string()),
            Ok(line) => json_lines::parse(&line),
        },
    };
    Some(match parsed {
        Ok(document) => Item::Document(Box::new(Prepared { origin, document, note: None, bytes })),
        Err(reason) => skipped(origin, reason, bytes),
    })
}

fn skipped(path: String, reason: String, bytes: u64) -> Item {
    Item::Skipped { skipped: Skipped { path, reason }, bytes }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ingest::files::discover;

    fn items(folder: &Path) -> Vec<Item> {
        let files = discover(&[folder.to_owned()]).expect("there").found;
        let (sender, mut receiver) = mpsc::channel(64);
        read_all(&files, &sender);
        drop(sender);
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    fn one(name: &str, content: &[u8]) -> Item {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(name), content).expect("written");
        let mut items = items(folder.path());
        assert_eq!(items.len(), 1, "{items:?}");
        items.remove(0)
    }

    #[test]
    fn markdown_gives_its_front_matter() {
        let Item::Document(found) = one("a.md", b"---\ntitle: T\nurl: https://x/a\ntags: [k]\n---\r\n# H\r\n") else {
            panic!("a document was written");
        };
        assert_eq!(found.document.title, "T");
        assert_eq!(found.document.uri, "https://x/a");
        assert_eq!(found.document.text, "# H\r\n");
        assert_eq!(found.document.metadata.expect("tags").fields.len(), 1);
        assert_eq!(found.bytes, 50);
    }

    #[test]
    fn what_cannot_be_read_is_explained() {
        let table: [(&str, &[u8], &str); 5] = [
            ("a.md", b"---\ntitle: T\n---\n\n", "it is empty after its front matter"),
            ("a.md", b"\xff\xfeh\0", "it is UTF-16; convert it to UTF-8"),
            ("a.txt", b"a\0b", "it is binary: byte 1 is zero"),
            ("a.txt", b"", "it is empty"),
            ("a.jsonl", b"", "it is empty"),
        ];
        for (name, content, expected) in table {
            let Item::Skipped { skipped, .. } = one(name, content) else { panic!("{name} cannot be read") };
            assert_eq!(skipped.reason, expected);
        }
    }

    #[test]
    fn a_bad_line_does_not_stop_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let content = "{\"id\":\"a\",\"text\":\"x\"}\r\n\nnonsense\n{\"id\":\"b\",\"text\":\"y\"}";
        fs::write(folder.path().join("c.jsonl"), content).expect("written");
        let found: Vec<String> = items(folder.path())
            .into_iter()
            .map(|item| match item {
                Item::Document(prepared) => prepared.document.id,
                Item::Skipped { skipped, .. } => skipped.path.rsplit('/').next().unwrap_or_default().to_owned(),
            })
            .collect();
        assert_eq!(found, ["a", "c.jsonl:3", "b"]);
    }
}
