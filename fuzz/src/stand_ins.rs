//! In place of what the included modules name and do not look into: the originals stand beside code that cannot be
//! built here.

#![allow(dead_code, reason = "they have the fields of the originals")]

/// In place of the retriever's `collection`.
pub mod collection {
    use crate::metadata::MetadataField;

    /// One version of one encoder.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct EmbedderRef {
        pub name: String,
        pub version: String,
    }

    /// What documents are checked against.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CollectionSpec {
        pub name: String,
        pub dimension: usize,
        pub embedder: EmbedderRef,
        pub metadata_fields: Vec<MetadataField>,
    }
}

/// In place of the retriever's `embedder`.
pub mod embedder {
    /// Brings a vector to length 1, as the original does.
    pub fn normalise(vector: &mut [f32]) -> bool {
        let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        length > 0.0
    }
}

/// In place of the retriever's `vector`.
pub mod vector {
    /// What token vectors are.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TokenColumn {
        pub projection: String,
        pub version: String,
        pub dimension: usize,
    }
}

/// In place of the router's `audit`.
pub mod audit {
    /// A run on record, which no request brings along.
    #[derive(Debug)]
    pub struct Past;
}
