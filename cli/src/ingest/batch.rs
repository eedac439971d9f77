//! Grouping documents into batches that a server likes: neither tiny nor huge.

use std::collections::VecDeque;

use trivium_proto::retriever::v1::Document;

use super::Prepared;

/// Documents in a batch, at most.
const MAX_DOCUMENTS: usize = 64;

/// Bytes of text in a batch, at most; a larger document travels alone. It leaves
/// room for the rest of the message under the servers' usual limit of 4 MiB.
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// Documents that travel together. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    documents: Vec<Prepared>,
}

impl Batch {
    /// The documents as they are sent.
    pub fn to_documents(&self) -> Vec<Document> {
        self.documents.iter().map(|prepared| prepared.document.clone()).collect()
    }

    /// Bytes of input that the batch accounts for.
    pub fn input_bytes(&self) -> u64 {
        self.documents.iter().map(|prepared| prepared.bytes).sum()
    }

    /// The one document of a batch of one; otherwise the batch, one batch for each document.
    pub fn split(mut self) -> Result<Prepared, VecDeque<Self>> {
        match self.documents.pop() {
            Some(only) if self.documents.is_empty() => Ok(only),
            last => Err(self.documents.into_iter().chain(last).map(|one| Self { documents: vec![one] }).collect()),
        }
    }
}

/// Collects documents until a batch is full.
#[derive(Debug, Default)]
pub struct Batcher {
    documents: Vec<Prepared>,
    bytes: usize,
}

impl Batcher {
    /// Adds a document. Gives the batch that was full before it.
    pub fn push(&mut self, prepared: Prepared) -> Option<Batch> {
        let size = prepared.document.text.len() + prepared.document.title.len();
        let full = self.documents.len() >= MAX_DOCUMENTS || self.bytes + size > MAX_BYTES;
        let batch = if full { self.flush() } else { None };
        self.bytes += size;
        self.documents.push(prepared);
        batch
    }

    /// What has been collected, if anything.
    pub fn flush(&mut self) -> Option<Batch> {
        self.bytes = 0;
        let documents = std::mem::take(&mut self.documents);
        (!documents.is_empty()).then_some(Batch { documents })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prepared(text_bytes: usize) -> Prepared {
        let document = Document { text: "x".repeat(text_bytes), ..Document::default() };
        Prepared { origin: String::new(), document, note: None, bytes: text_bytes as u64 }
    }

    #[test]
    fn a_batch_splits_into_its_documents() {
        let mut batcher = Batcher::default();
        for bytes in [1, 2, 3] {
            assert_eq!(batcher.push(prepared(bytes)), None);
        }
        let singles = batcher.flush().expect("three").split().expect_err("more than one");
        assert_eq!(singles.iter().map(Batch::input_bytes).collect::<Vec<_>>(), [1, 2, 3]);
        let only = singles.into_iter().next().expect("first").split();
        assert_eq!(only, Ok(prepared(1)));
    }

    proptest! {
        #[test]
        fn every_document_comes_out_once_in_order_within_the_limits(
            sizes in proptest::collection::vec(prop_oneof![0_usize..100, 0..MAX_BYTES], 0..90)
        ) {
            let mut batcher = Batcher::default();
            let mut batches: Vec<Batch> = sizes.iter().filter_map(|size| batcher.push(prepared(*size))).collect();
            batches.extend(batcher.flush());
            let out: Vec<usize> =
                batches.iter().flat_map(|batch| &batch.documents).map(|one| one.document.text.len()).collect();
            prop_assert_eq!(&out, &sizes);
            for batch in batches {
                let bytes: usize = batch.documents.iter().map(|one| one.document.text.len()).sum();
                prop_assert!(!batch.documents.is_empty() && batch.documents.len() <= MAX_DOCUMENTS);
                prop_assert!(bytes <= MAX_BYTES || batch.documents.len() == 1);
            }
        }
    }
}
