//! Comparing every row of a collection's table with all that was derived from it.
//!
//! The comparison reads one published state and changes nothing. What it finds is told in words, for a person; how many
//! findings there are is counted even where they are too many to list.

use super::directory::Directory;
use super::{CollectionError, Published};
use crate::hash::ContentHash;
use crate::vector::{CheckRow, ExactVectors, StoredChunk};
use futures::TryStreamExt;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Problems that are told in words; the rest is counted alone.
const MAX_LISTED: usize = 100;

/// What a check compared and what it found.
#[derive(Debug)]
pub struct CheckReport {
    /// The state that was checked.
    pub published: Arc<Published>,
    /// Rows of the table.
    pub table_rows: u64,
    /// Rows of the lexical index.
    pub lexical_rows: u64,
    /// Vectors held in memory; `None` when the table itself is searched.
    pub vectors_in_memory: Option<u64>,
    /// What differs.
    pub problems: Problems,
}

/// What differs. Empty for a sound collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// The first ones, in words.
    pub listed: Vec<String>,
    /// All of them.
    pub count: u64,
}

impl Problems {
    /// Takes one problem; its words are made only when they are listed.
    fn add(&mut self, words: impl FnOnce() -> String) {
        self.count += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(words());
        }
    }
}

/// Checks one state against its directory.
///
/// # Errors
/// The table or the index cannot be read at all, which is no difference but damage.
pub(super) async fn check(published: Arc<Published>, directory: Directory) -> Result<CheckReport, CollectionError> {
    let searcher = published.lexical.clone();
    let indexed = tokio::task::spawn_blocking(move || searcher.rows()).await??;
    let lexical_rows = indexed.len() as u64;
    let vectors_in_memory = published.vectors.as_ref().map(ExactVectors::live_rows);
    let mut comparison = Comparison::new(indexed, published.vectors.clone());
    let mut batches = std::pin::pin!(published.table.scan_check_rows().await?);
    while let Some(rows) = batches.try_next().await? {
        let row_ids: Vec<u64> = rows.iter().map(|row| row.key.place.row_id).collect();
        let state = published.clone();
        let kept = tokio::task::spawn_blocking(move || state.kept_passages(&row_ids)).await??;
        comparison.take(rows, kept);
    }
    let counts = Counts { documents: published.documents, chunks: published.chunks };
    let (table_rows, problems) = tokio::task::spawn_blocking(move || comparison.finish(&directory, counts)).await?;
    Ok(CheckReport { published, table_rows, lexical_rows, vectors_in_memory, problems })
}

/// What the published state says of itself.
#[derive(Debug, Clone, Copy)]
struct Counts {
    documents: u64,
    chunks: u64,
}

/// A row, once its vector and its place in the lexical index were compared.
struct Span {
    document_id: String,
    document_hash: ContentHash,
    chunk_no: u32,
    char_start: u32,
    char_end: u32,
    row_id: u64,
}

struct Comparison {
    problems: Problems,
    /// Rows of the lexical index that no row of the table was matched with yet.
    indexed: HashMap<u64, ContentHash>,
    vectors: Option<ExactVectors>,
    chunk_ids: HashSet<String>,
    row_ids: HashSet<u64>,
    spans: Vec<Span>,
}

impl Comparison {
    fn new(indexed: Vec<(u64, ContentHash)>, vectors: Option<ExactVectors>) -> Self {
        let mut problems = Problems::default();
        let mut by_id = HashMap::with_capacity(indexed.len());
        for (row_id, hash) in indexed {
            if by_id.insert(row_id, hash).is_some() {
                problems.add(|| format!("row {row_id} is in the lexical index twice"));
            }
        }
        Self {
            problems,
            indexed: by_id,
            vectors,
            chunk_ids: HashSet::new(),
            row_ids: HashSet::new(),
            spans: Vec::new(),
        }
    }

    /// Takes rows of the table, each with what the lexical index keeps of it.
    fn take(&mut self, rows: Vec<CheckRow>, kept: Vec<Option<StoredChunk>>) {
        for (row, kept) in rows.into_iter().zip(kept) {
            self.compare_legs(&row, kept.as_ref());
            let CheckRow { key, chunk, .. } = row;
            let StoredChunk { chunk_id, char_start, char_end, text, .. } = chunk;
            let (row_id, text_chars) = (key.place.row_id, text.chars().count() as u64);
            if !self.row_ids.insert(row_id) {
                self.problems.add(|| format!("row {row_id} is in the table twice"));
            }
            if u64::from(char_end) != u64::from(char_start) + text_chars {
                self.problems.add(|| {
                    format!("chunk {chunk_id:?} spans {char_start} to {char_end} and holds {text_chars} code points")
                });
            }
            if self.chunk_ids.contains(&chunk_id) {
                self.problems.add(|| format!("chunk {chunk_id:?} is in the table twice"));
            }
            self.chunk_ids.insert(chunk_id);
            let (document_id, document_hash, chunk_no) = (key.document_id, key.document_hash, key.chunk_no);
            self.spans.push(Span { document_id, document_hash, chunk_no, char_start, char_end, row_id });
        }
    }

    fn compare_legs(&mut self, row: &CheckRow, kept: Option<&StoredChunk>) {
        let (row_id, chunk_id) = (row.key.place.row_id, &row.chunk.chunk_id);
        match self.indexed.remove(&row_id) {
            None => self.problems.add(|| format!("row {row_id} ({chunk_id:?}) is not in the lexical index")),
            Some(hash) if hash != row.key.chunk_hash => {
                self.problems.add(|| format!("row {row_id} ({chunk_id:?}) has other content in the lexical index"));
            }
            Some(_) if kept != Some(&row.chunk) => {
                self.problems.add(|| format!("row {row_id} ({chunk_id:?}) has another passage in the lexical index"));
            }
            Some(_) => {}
        }
        let Some(vectors) = &self.vectors else { return };
        match vectors.get(row_id) {
            None => self.problems.add(|| format!("row {row_id} ({chunk_id:?}) has no vector in memory")),
            Some(vector) if !same_bits(vector, &row.vector) => {
                self.problems.add(|| format!("row {row_id} ({chunk_id:?}) has another vector in memory"));
            }
            Some(_) => {}
        }
    }

    /// Gives the rows of the table, and all problems.
    fn finish(mut self, directory: &Directory, counts: Counts) -> (u64, Problems) {
        let rows = self.spans.len() as u64;
        let mut left: Vec<u64> = self.indexed.keys().copied().collect();
        left.sort_unstable();
        for row_id in left {
            self.problems.add(|| format!("row {row_id} of the lexical index is not in the table"));
        }
        if let Some(in_memory) = self.vectors.as_ref().map(ExactVectors::live_rows).filter(|live| *live != rows) {
            self.problems.add(|| format!("the memory holds {in_memory} vectors, and the table {rows} rows"));
        }
        if counts.chunks != rows {
            self.problems.add(|| format!("{} chunks are published, and the table holds {rows} rows", counts.chunks));
        }
        self.check_documents(directory, counts);
        (rows, self.problems)
    }

    fn check_documents(&mut self, directory: &Directory, counts: Counts) {
        self.spans.sort_by(|a, b| (&a.document_id, a.chunk_no, a.row_id).cmp(&(&b.document_id, b.chunk_no, b.row_id)));
        let mut documents = HashSet::new();
        for spans in self.spans.chunk_by(|a, b| a.document_id == b.document_id) {
            documents.insert(spans[0].document_id.as_str());
            check_tiling(spans, &mut self.problems);
            check_entry(spans, directory, &mut self.problems);
        }
        for (document_id, _) in directory.entries().filter(|(document_id, _)| !documents.contains(document_id)) {
            self.problems.add(|| format!("document {document_id:?} of the directory is not in the table"));
        }
        let found = documents.len() as u64;
        if counts.documents != found {
            let published = counts.documents;
            self.problems.add(|| format!("{published} documents are published, and the table holds {found}"));
        }
    }
}

/// The spans of a document, in the order of their chunks, must cover its text without gap or overlap.
fn check_tiling(spans: &[Span], problems: &mut Problems) {
    let document_id = &spans[0].document_id;
    let mut expected_start = 0;
    for (span, expected_no) in spans.iter().zip(0_u32..) {
        if span.chunk_no != expected_no {
            problems
                .add(|| format!("document {document_id:?} has chunk {} where {expected_no} belongs", span.chunk_no));
            return;
        }
        if span.char_start != expected_start {
            problems.add(|| {
                format!(
                    "chunk {expected_no} of document {document_id:?} begins at {}, and the text before it ends at \
                     {expected_start}",
                    span.char_start
                )
            });
        }
        if span.document_hash != spans[0].document_hash {
            problems.add(|| format!("chunk {expected_no} of document {document_id:?} is of another version of it"));
        }
        expected_start = span.char_end;
    }
}

fn check_entry(spans: &[Span], directory: &Directory, problems: &mut Problems) {
    let document_id = &spans[0].document_id;
    let Some(entry) = directory.get(document_id) else {
        problems.add(|| format!("document {document_id:?} is not in the directory"));
        return;
    };
    if entry.hash != spans[0].document_hash {
        problems.add(|| format!("document {document_id:?} has another hash in the directory"));
    }
    let known = entry.rows.iter().map(|place| place.row_id);
    if !known.eq(spans.iter().map(|span| span.row_id)) {
        problems.add(|| format!("document {document_id:?} has other rows in the directory"));
    }
}

/// Equal to the last bit, so that two values that are no numbers are equal as well.
fn same_bits(left: &[f32], right: &[f32]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::super::directory::DocumentEntry;
    use super::*;
    use crate::vector::{DocumentRow, RowKey, RowPlace};

    fn hash(number: u128) -> ContentHash {
        ContentHash::from_u128(number)
    }

    fn described(document_id: &str) -> DocumentRow {
        DocumentRow {
            document_id: document_id.into(),
            title: String::new(),
            uri: String::new(),
            content_type: String::new(),
            language: String::new(),
            declared: Vec::new(),
            metadata_json: "{}".into(),
            document_hash: hash(7),
        }
    }

    /// A document of `chunks` chunks of ten code points each; its rows begin at `first_row`.
    fn document(document_id: &str, first_row: u64, chunks: u32) -> Vec<CheckRow> {
        let row = |chunk_no: u32| {
            let row_id = first_row + u64::from(chunk_no);
            CheckRow {
                key: RowKey {
                    place: RowPlace { row_id, fragment: 0, offset: row_id as u32 },
                    document_id: document_id.into(),
                    chunk_no,
                    document_hash: hash(7),
                    chunk_hash: hash(row_id.into()),
                },
                chunk: StoredChunk {
                    row_id,
                    document: described(document_id),
                    chunk_id: format!("{document_id}#{chunk_no}"),
                    chunk_no,
                    char_start: chunk_no * 10,
                    char_end: chunk_no * 10 + 10,
                    heading_path: Vec::new(),
                    text: "x".repeat(10),
                },
                vector: vec![row_id as f32, 1.0],
            }
        };
        (0..chunks).map(row).collect()
    }

    struct Collection {
        rows: Vec<CheckRow>,
        kept: Vec<Option<StoredChunk>>,
        indexed: Vec<(u64, ContentHash)>,
        vectors: ExactVectors,
        directory: Directory,
        counts: Counts,
    }

    fn sound() -> Collection {
        let rows = [document("a", 1, 3), document("b", 4, 1)].concat();
        let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
        let batches: Vec<_> = rows.iter().map(|row| (vec![row.key.place.row_id], row.vector.clone())).collect();
        Collection {
            indexed: keys.iter().map(|key| (key.place.row_id, key.chunk_hash)).collect(),
            vectors: ExactVectors::from_batches(2, &batches),
            directory: Directory::from_keys(&keys),
            kept: rows.iter().map(|row| Some(row.chunk.clone())).collect(),
            counts: Counts { documents: 2, chunks: 4 },
            rows,
        }
    }

    fn problems(change: impl FnOnce(&mut Collection)) -> Problems {
        let mut collection = sound();
        change(&mut collection);
        let mut comparison = Comparison::new(collection.indexed, Some(collection.vectors));
        comparison.take(collection.rows, collection.kept);
        comparison.finish(&collection.directory, collection.counts).1
    }

    #[test]
    fn a_sound_collection_has_no_problems() {
        assert_eq!(problems(|_| {}), Problems::default());
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        type Meddle = fn(&mut Collection);
        let cases: [(Meddle, &str); 17] = [
            (|c| c.indexed.truncate(3), "row 4 (\"b#0\") is not in the lexical index"),
            (|c| c.indexed[0].1 = hash(99), "row 1 (\"a#0\") has other content in the lexical index"),
            (|c| c.indexed.push((9, hash(9))), "row 9 of the lexical index is not in the table"),
            (|c| c.indexed.push((1, hash(1))), "row 1 is in the lexical index twice"),
            (|c| c.vectors.delete(&[4]), "row 4 (\"b#0\") has no vector in memory"),
            (|c| c.rows[3].vector[0] = 0.5, "row 4 (\"b#0\") has another vector in memory"),
            (|c| c.vectors.append(vec![9], vec![0.0, 1.0]), "the memory holds 5 vectors, and the table 4 rows"),
            (|c| c.kept[3] = None, "row 4 (\"b#0\") has another passage in the lexical index"),
            (|c| c.rows[3].chunk.text = "y".repeat(10), "row 4 (\"b#0\") has another passage in the lexical index"),
            (|c| c.rows[3].chunk.chunk_id = "a#0".into(), "chunk \"a#0\" is in the table twice"),
            (|c| c.rows[1].key.chunk_no = 5, "document \"a\" has chunk 2 where 1 belongs"),
            (|c| c.rows[1].chunk.text.push('x'), "chunk \"a#1\" spans 10 to 20 and holds 11 code points"),
            (
                |c| (c.rows[1].chunk.char_end, c.rows[1].chunk.text) = (19, "x".repeat(9)),
                "chunk 2 of document \"a\" begins at 20, and the text before it ends at 19",
            ),
            (|c| c.rows[1].key.document_hash = hash(8), "chunk 1 of document \"a\" is of another version of it"),
            (|c| c.directory.remove("b"), "document \"b\" is not in the directory"),
            (
                |c| c.directory.insert("c".into(), DocumentEntry { hash: hash(7), rows: Box::new([]) }),
                "document \"c\" of the directory is not in the table",
            ),
            (|c| c.counts.documents = 3, "3 documents are published, and the table holds 2"),
        ];
        for (meddle, expected) in cases {
            let found = problems(meddle);
            assert!(found.listed.iter().any(|words| words == expected), "{expected}: {found:?}");
            assert_eq!(found.count, found.listed.len() as u64);
        }
    }

    #[test]
    fn too_many_problems_are_counted() {
        let found = problems(|collection| collection.indexed.extend((100..350).map(|id| (id, hash(0)))));
        assert_eq!((found.listed.len(), found.count), (MAX_LISTED, 250));
    }
}
