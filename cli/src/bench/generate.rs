//! Documents and queries out of nothing, the same for the same number.

use trivium_proto::{
    model::v1::{ModelRef, QueryVector},
    retriever::v1::{Collection, Document},
};
use trivium_ranking::random::SplitMix64;

/// Different words of the generated texts.
const WORDS: u64 = 20_000;
/// Words of a document.
const DOCUMENT_WORDS: usize = 24;
/// Words of a query.
const QUERY_WORDS: usize = 6;
/// What keeps the numbers of queries apart from those of documents.
const QUERIES: u64 = 1 << 40;

/// Makes documents that bring vectors of a collection's encoder.
#[derive(Debug, Clone)]
pub struct Generator {
    embedder: Option<ModelRef>,
    dimension: usize,
}

impl Generator {
    /// For one collection.
    pub fn of(collection: &Collection) -> Self {
        Self { embedder: collection.embedder.clone(), dimension: collection.dimension as usize }
    }

    /// A document of one chunk, with a word that no other one has.
    pub fn document(&self, number: u64) -> Document {
        let mut random = SplitMix64::new(number);
        let text = format!("{} {}", own_word(number), words(&mut random, DOCUMENT_WORDS));
        Document {
            id: format!("generated-{number}"),
            text,
            vector: Some(self.vector(&mut random)),
            ..Document::default()
        }
    }

    /// A query that is near to nothing in particular.
    pub fn query(&self, number: u64) -> (String, QueryVector) {
        let mut random = SplitMix64::new(QUERIES + number);
        (words(&mut random, QUERY_WORDS), self.vector(&mut random))
    }

    fn vector(&self, random: &mut SplitMix64) -> QueryVector {
        // The retriever brings vectors to length 1 itself.
        let values = (0..self.dimension).map(|_| centred(random)).collect();
        QueryVector { embedder: self.embedder.clone(), values, token_vectors: None }
    }
}

/// The word that document `number` alone has.
pub fn own_word(number: u64) -> String {
    format!("own{number}")
}

fn words(random: &mut SplitMix64, count: usize) -> String {
    // The product of two even numbers leans to the small ones, as the frequencies of words do.
    let word = |random: &mut SplitMix64| below(random, WORDS) * below(random, WORDS) / WORDS;
    let words: Vec<String> = (0..count).map(|_| format!("w{}", word(random))).collect();
    words.join(" ")
}

fn below(random: &mut SplitMix64, bound: u64) -> u64 {
    random.draw() % bound
}

/// Between -1 and 1, on average 0 and mostly near it: the sum of two even numbers.
fn centred(random: &mut SplitMix64) -> f32 {
    let mut half = || (random.draw() >> 40) as f32 / (1_u32 << 24) as f32 - 0.5;
    half() + half()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_always_makes_the_same_and_different_ones_differ() {
        let generator = Generator::of(&Collection { dimension: 8, ..Collection::default() });
        assert_eq!(generator.document(3), generator.document(3));
        assert_ne!(generator.document(3).vector, generator.document(4).vector);
        assert_ne!(generator.query(3), generator.query(4));
        assert!(generator.document(3).text.starts_with("own3 w"));
        assert_eq!(generator.document(3).vector.map(|vector| vector.values.len()), Some(8));
    }
}
