//! Any filter finds the same documents by its definition, in the lexical index, in the table and among the vectors in
//! memory; and its text parses back to the same filter.

use crate::hashing_embedder::{DIMENSION, model, vector};
use crate::service::options;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeSet;
use std::sync::Arc;
use trivium_retriever::collection::{Catalog, Change, CollectionSpec, PreparedDocument, Published};
use trivium_retriever::filter::{BuiltIn, Comparison, Condition, Field, Filter, Properties, Scalar, Test};
use trivium_retriever::filter::{MAX_COMPARISONS, MAX_FILTER_DEPTH};
use trivium_retriever::hash::ContentHash;
use trivium_retriever::metadata::{MetadataField, MetadataType, MetadataValue};
use trivium_retriever::vector::{ChunkRow, DocumentRow};

/// Ids of the documents in the collection, not all of which are there at the end.
const DOCUMENTS: usize = 60;
/// Chunks of each document.
const CHUNKS: u32 = 2;
/// Midnight at the beginning and just before the end of the years that timestamps can write.
const FIRST_MOMENT: i64 = -62_167_219_200_000_000;
const LAST_MOMENT: i64 = 253_402_300_799_999_999;

fn fields() -> Vec<MetadataField> {
    let field = |name: &str, kind| MetadataField { name: name.into(), kind };
    vec![
        field("Lang", MetadataType::String),
        field("in", MetadataType::String),
        field("stars", MetadataType::Integer),
        field("price", MetadataType::Float),
        field("public", MetadataType::Boolean),
        field("updated_at", MetadataType::Timestamp),
        field("tags", MetadataType::StringList),
        // Hides the built-in field.
        field("uri", MetadataType::Integer),
    ]
}

fn any_text() -> impl Strategy<Value = String> + Clone {
    let texts = ["", "a", "aa", "B", "b", "ü", "漢", "a b", "x\"y", "\\", "'; DROP TABLE", "%", "true", "7", "\n"];
    prop::sample::select(texts.map(str::to_owned).to_vec())
}

fn any_integer() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![4 => -2_i64..=2, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

fn any_float() -> impl Strategy<Value = f64> + Clone {
    prop::sample::select(vec![-1.5, 0.0, 0.1, 1.0, 1e300, f64::MIN, f64::MAX, f64::MIN_POSITIVE, -5e-324])
}

fn any_moment() -> impl Strategy<Value = i64> + Clone {
    prop::sample::select(vec![FIRST_MOMENT, -1, 0, 1, 1_767_225_600_000_000, LAST_MOMENT])
}

fn any_value(kind: MetadataType) -> BoxedStrategy<MetadataValue> {
    match kind {
        MetadataType::String => any_text().prop_map(MetadataValue::String).boxed(),
        MetadataType::Integer => any_integer().prop_map(MetadataValue::Integer).boxed(),
        MetadataType::Float => any_float().prop_map(MetadataValue::Float).boxed(),
        MetadataType::Boolean => any::<bool>().prop_map(MetadataValue::Boolean).boxed(),
        MetadataType::Timestamp => any_moment().prop_map(MetadataValue::Timestamp).boxed(),
        MetadataType::StringList => prop::collection::vec(any_text(), 0..4).prop_map(MetadataValue::StringList).boxed(),
    }
}

fn any_properties(number: usize) -> impl Strategy<Value = Properties> {
    let declared: Vec<_> = fields().iter().map(|field| prop::option::weighted(0.7, any_value(field.kind))).collect();
    let language = prop::sample::select(vec!["", "de", "en", "en-GB"]);
    (declared, any_text(), language).prop_map(move |(declared, uri, language)| Properties {
        document_id: format!("d{number:02}"),
        uri,
        language: language.to_owned(),
        declared,
    })
}

fn any_scalar(kind: MetadataType) -> BoxedStrategy<Scalar> {
    match kind {
        MetadataType::String | MetadataType::StringList => any_text().prop_map(Scalar::String).boxed(),
        MetadataType::Integer => any_integer().prop_map(Scalar::Integer).boxed(),
        MetadataType::Float => any_float().prop_map(Scalar::Float).boxed(),
        MetadataType::Boolean => any::<bool>().prop_map(Scalar::Boolean).boxed(),
        MetadataType::Timestamp => any_moment().prop_map(Scalar::Timestamp).boxed(),
    }
}

fn any_comparison(kind: MetadataType) -> impl Strategy<Value = Comparison> {
    use Comparison::*;
    let all = [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual];
    let meaningful = if kind == MetadataType::Boolean { 2 } else { all.len() };
    prop::sample::select(all[..meaningful].to_vec())
}

fn any_condition(kind: MetadataType) -> BoxedStrategy<Condition> {
    let present = Just(Condition::Present);
    if kind == MetadataType::StringList {
        return prop_oneof![1 => present, 4 => any_text().prop_map(Condition::Has)].boxed();
    }
    let compare = (any_comparison(kind), any_scalar(kind)).prop_map(|(by, value)| Condition::Compare(by, value));
    let one_of = prop::collection::vec(any_scalar(kind), 1..5).prop_map(Condition::OneOf);
    prop_oneof![1 => present, 6 => compare, 2 => one_of].boxed()
}

fn any_test() -> impl Strategy<Value = Filter> {
    let declared = fields().into_iter().enumerate().map(|(position, field)| Field::Declared { position, field });
    // The built-in `uri` is hidden by the declared one.
    let built_in = [BuiltIn::DocumentId, BuiltIn::Language].map(Field::BuiltIn);
    let ids = (0..DOCUMENTS).prop_map(|number| Scalar::String(format!("d{number:02}")));
    prop::sample::select(declared.chain(built_in).collect::<Vec<_>>()).prop_flat_map(move |field| {
        let condition = match field {
            Field::BuiltIn(BuiltIn::DocumentId) => (any_comparison(MetadataType::String), ids.clone())
                .prop_map(|(by, id)| Condition::Compare(by, id))
                .boxed(),
            Field::BuiltIn(_) => prop_oneof![
                any_condition(MetadataType::String),
                Just(Condition::Compare(Comparison::Equal, Scalar::String("en".into()))),
            ]
            .boxed(),
            _ => any_condition(field.kind()),
        };
        condition.prop_map(move |condition| Filter::Test(Test { field: field.clone(), condition }))
    })
}

fn any_filter() -> impl Strategy<Value = Filter> {
    any_test().prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Any),
            inner.prop_map(|part| Filter::Not(Box::new(part))),
        ]
    })
}

fn prepared(properties: &Properties, revision: u128) -> Change {
    let document = Arc::new(DocumentRow {
        document_id: properties.document_id.clone(),
        title: String::new(),
        uri: properties.uri.clone(),
        content_type: "text/plain".into(),
        language: properties.language.clone(),
        declared: properties.declared.clone(),
        metadata_json: "{}".into(),
        document_hash: ContentHash::from_u128(revision),
    });
    let row = |chunk_no: u32| ChunkRow {
        chunk_id: format!("{}#{chunk_no}", document.document_id),
        chunk_no,
        char_start: chunk_no,
        char_end: chunk_no + 1,
        heading_path: Vec::new(),
        text: "x".into(),
        index_text: "common".into(),
        chunk_hash: ContentHash::from_u128(chunk_no.into()),
        vector: vector("common"),
        token_vectors: None,
        document: document.clone(),
    };
    let rows = (0..CHUNKS).map(row).collect();
    Change::Put(PreparedDocument {
        document_id: document.document_id.clone(),
        document_hash: document.document_hash,
        rows,
    })
}

/// One collection, written in several commits, with documents replaced and deleted on the way.
struct World {
    runtime: tokio::runtime::Runtime,
    published: Arc<Published>,
    documents: Vec<Properties>,
    _folder: tempfile::TempDir,
    _catalog: Catalog,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let first = documents(1);
        let mut second = documents(2);
        let (catalog, published) = runtime.block_on(async {
            let catalog = Catalog::open(folder.path(), options(folder.path()).collections()).await.unwrap();
            let spec = CollectionSpec::new("filtered", model(), DIMENSION, fields());
            let collection = catalog.create(spec, false).await.unwrap();
            for part in first.chunks(25) {
                collection.write(part.iter().map(|document| prepared(document, 1)).collect()).await.unwrap();
            }
            collection.write(second[30..].iter().map(|document| prepared(document, 2)).collect()).await.unwrap();
            let deleted = |n: usize| Change::Delete { document_id: first[n].document_id.clone() };
            collection.write(vec![deleted(0), deleted(40)]).await.unwrap();
            let published = collection.published();
            (catalog, published)
        });
        let mut documents = first;
        documents.truncate(30);
        documents.extend(second.drain(30..));
        documents.retain(|document| !["d00", "d40"].contains(&document.document_id.as_str()));
        Self { runtime, published, documents, _folder: folder, _catalog: catalog }
    }

    fn by_definition(&self, filter: &Filter) -> BTreeSet<String> {
        let meeting = self.documents.iter().filter(|document| filter.matches(document));
        meeting.map(|document| document.document_id.clone()).collect()
    }

    /// What each engine finds: the lexical index as a set and as a search, the vectors in memory, the table.
    fn by_engines(&self, filter: &Filter) -> [(&'static str, BTreeSet<String>); 4] {
        let everything = self.published.chunks as usize;
        let (query, lexical) = (vector("common"), &self.published.lexical);
        let matching = lexical.matching(filter).unwrap();
        let found = lexical.search("common", everything, Some(filter)).unwrap();
        let in_memory = self.published.vectors.as_ref().unwrap().nearest(&query, everything, Some(&matching));
        let table = &self.published.table;
        let in_table = self.runtime.block_on(table.nearest(&query, everything, Some(filter))).unwrap();
        [
            ("matching", self.documents_of(matching.as_slice().to_vec())),
            ("search", self.documents_of(found.iter().map(|hit| hit.row_id).collect())),
            ("memory", self.documents_of(in_memory.iter().map(|hit| hit.row_id).collect())),
            ("table", self.documents_of(in_table.iter().map(|hit| hit.row_id).collect())),
        ]
    }

    /// The documents of rows, all of whose chunks must be among them.
    fn documents_of(&self, row_ids: Vec<u64>) -> BTreeSet<String> {
        let chunks = self.runtime.block_on(self.published.table.take_chunks(&row_ids)).unwrap();
        let ids: BTreeSet<String> = chunks.iter().map(|chunk| chunk.document.document_id.clone()).collect();
        assert_eq!(chunks.len(), ids.len() * CHUNKS as usize, "each chunk of a document, and each once");
        ids
    }
}

fn documents(seed: u8) -> Vec<Properties> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let all: Vec<_> = (0..DOCUMENTS).map(any_properties).collect();
    let tree = all.new_tree(&mut runner).unwrap();
    prop::strategy::ValueTree::current(&tree)
}

#[test]
fn any_filter_finds_the_same_documents_everywhere() {
    let world = World::new();
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let found = std::cell::Cell::new(0);
    let result = runner.run(&any_filter(), |filter| {
        let text = filter.to_string();
        let parsed = Filter::parse(&text, &fields());
        prop_assert_eq!(parsed.as_ref(), Ok(&filter), "{}", text);
        let expected = world.by_definition(&filter);
        found.set(found.get() + usize::from(!expected.is_empty() && expected.len() < world.documents.len()));
        for (engine, ids) in world.by_engines(&filter) {
            prop_assert_eq!(&ids, &expected, "{} differs for {}", engine, text);
        }
        Ok(())
    });
    result.unwrap();
    assert!(found.get() > 100, "only {} filters told documents apart", found.get());
}

/// No filter that is accepted may exhaust the stack of an engine, which walks it by calling itself.
#[test]
fn the_largest_filters_are_served() {
    let world = World::new();
    let deep = format!("{}stars = 1{}", "NOT (".repeat(MAX_FILTER_DEPTH / 2), ")".repeat(MAX_FILTER_DEPTH / 2));
    let wide = vec!["stars = 1"; MAX_COMPARISONS].join(" OR ");
    let level = "(stars >= 0 AND (tags IS NULL OR ";
    let both = format!("{}stars = 1{}", level.repeat(MAX_FILTER_DEPTH / 2), "))".repeat(MAX_FILTER_DEPTH / 2));
    let many: Vec<String> = (0..3_000).map(|n| (n % 10).to_string()).collect();
    let listed = format!("stars IN ({})", many.join(","));
    for text in [deep, wide, both, listed] {
        let filter = Filter::parse(&text, &fields()).unwrap();
        let expected = world.by_definition(&filter);
        assert!(!expected.is_empty());
        for (engine, ids) in world.by_engines(&filter) {
            assert_eq!(ids, expected, "{engine}");
        }
    }
}

#[test]
fn a_filter_leaves_scores_as_they_are() {
    let world = World::new();
    let everything = world.published.chunks as usize;
    let all = world.published.lexical.search("common", everything, None).unwrap();
    let filter = Filter::parse("stars IS NULL OR stars IS NOT NULL", &fields()).unwrap();
    let filtered = world.published.lexical.search("common", everything, Some(&filter)).unwrap();
    assert_eq!(filtered, all);
}
