//! Queries in eight bits beside passages in 32.

use prost::Message;
use trivium_model_host::Options;
use trivium_model_host::bundle::{GRAPH_FILE, Pooling, Precision, PrecisionChoice, Prefixes, TOKENIZER_FILE};
use trivium_model_host::encoder::{Encoder, EncoderError};
use trivium_model_host::import::{Import, ImportKind, import};
use trivium_model_host::onnx::proto::ModelProto;
use trivium_model_host::onnx::{eight_bits, write_bert, write_bert_in};
use trivium_proto::model::v1 as proto;
use trivium_service_kit::Reason;

use crate::support::host::{Host, refusal};
use crate::support::{MAX_TOKENS, TinyBert, TinyModels, tiny};

const TEXTS: [&str; 3] = ["how is the moon", "error", "how to fix the error of the moon and the sky"];

#[test]
fn the_eight_bit_twin_is_what_the_weights_would_have_given() {
    let bert = TinyBert::random(3);
    let (weights, config) = (bert.safetensors(""), bert.config());
    let twin = eight_bits(&write_bert(&weights, &config).unwrap()).unwrap();
    assert!(twin == write_bert_in(Precision::Int8, &weights, &config).unwrap());
    // There is nothing more to be made of it.
    eight_bits(&twin).unwrap_err();
    eight_bits(b"no graph").unwrap_err();
}

#[test]
fn in_eight_bits_a_text_has_the_same_vector_in_any_company() {
    let models = TinyModels::new();
    let bundle = models.registry.open(&tiny()).unwrap();
    let encoder = Encoder::load_with(&bundle, PrecisionChoice::Int8, 1).unwrap();
    assert_eq!(encoder.precision(), Precision::Int8);
    let together = encoder.embed_all(&TEXTS, |_| ()).unwrap();
    let alone: Vec<Vec<f32>> = TEXTS.iter().map(|text| encoder.embed_all(&[text], |_| ()).unwrap().remove(0)).collect();
    assert_eq!(together, alone);
    assert_ne!(together, models.encoder().embed_all(&TEXTS, |_| ()).unwrap());
}

async fn embedded(host: &mut Host, priority: proto::EmbedPriority) -> Vec<Vec<f32>> {
    let texts = TEXTS.map(str::to_owned).to_vec();
    let request = proto::EmbedRequest { texts, priority: priority.into(), ..proto::EmbedRequest::default() };
    let embeddings = host.client.embed(request).await.unwrap().into_inner().embeddings;
    embeddings.into_iter().map(|embedding| embedding.values).collect()
}

fn close(left: &[Vec<f32>], right: &[Vec<f32>]) -> bool {
    left.iter().flatten().zip(right.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[tokio::test]
async fn only_queries_are_encoded_in_eight_bits() {
    for (choice, eight) in [(PrecisionChoice::Int8, true), (PrecisionChoice::Fp32, false)] {
        let models = TinyModels::new();
        let bundle = models.registry.open(&tiny()).unwrap();
        let vectors = |choice| Encoder::load_with(&bundle, choice, 1).unwrap().embed_all(&TEXTS, |_| ()).unwrap();
        let (full, small) = (vectors(PrecisionChoice::Fp32), vectors(PrecisionChoice::Int8));
        let mut host = Host::start_with(models, |options| options.query_precision = choice).await;
        assert!(close(&embedded(&mut host, proto::EmbedPriority::Bulk).await, &full));
        let expected = if eight { &small } else { &full };
        assert!(close(&embedded(&mut host, proto::EmbedPriority::Query).await, expected));
        let listed = host.client.list_models(proto::ListModelsRequest::default()).await.unwrap().into_inner().models;
        let tiny = listed.iter().find(|model| model.model.as_ref().is_some_and(|model| model.name == "tiny")).unwrap();
        assert_eq!(tiny.precision, if eight { "fp32, queries int8" } else { "fp32" });
        // What both have computed is counted together.
        assert_eq!(tiny.texts, 2 * TEXTS.len() as u64);
    }
}

/// A graph as others would export it: the same nodes, under names that say nothing.
fn of_others(graph: &[u8]) -> Vec<u8> {
    let mut model = ModelProto::decode(graph).unwrap();
    let graph = model.graph.as_mut().unwrap();
    for name in graph.initializer.iter_mut().map(|tensor| &mut tensor.name) {
        *name = format!("onnx::{name}");
    }
    let constants: Vec<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        let renamed = format!("onnx::{input}");
        if constants.contains(&renamed) {
            *input = renamed;
        }
    }
    model.encode_to_vec()
}

#[tokio::test]
async fn an_encoder_of_others_reads_queries_in_full_unless_eight_bits_are_asked_for() {
    let models = TinyModels::new();
    let bundle = models.registry.open(&tiny()).unwrap();
    let (graph, tokenizer) = (of_others(&bundle.read(GRAPH_FILE).unwrap()), bundle.read(TOKENIZER_FILE).unwrap());
    let other = Import {
        name: "tiny".parse().unwrap(),
        graph: &graph,
        tokenizer: &tokenizer,
        kind: ImportKind::Encoder { pooling: Pooling::Mean, prefixes: Prefixes::default() },
        max_tokens: MAX_TOKENS,
        origin: "a test".to_owned(),
    };
    let model = import(&models.registry, other).unwrap();
    let bundle = models.registry.open(&model).unwrap();
    let error = Encoder::load_with(&bundle, PrecisionChoice::Int8, 1).err().unwrap();
    assert!(matches!(error, EncoderError::EightBits { .. }), "{error}");
    assert!(error.to_string().contains("precision must be fp32 or auto"), "{error}");
    models.registry.promote(&model).unwrap();

    let full = Encoder::load(&bundle, 1).unwrap().embed_all(&TEXTS, |_| ()).unwrap();
    let mut host = Host::start_with(models, |_: &mut Options| ()).await;
    assert!(close(&embedded(&mut host, proto::EmbedPriority::Query).await, &full));

    let models = std::mem::replace(&mut host.models, TinyModels::new());
    let mut host = Host::start_with(models, |options| options.query_precision = PrecisionChoice::Int8).await;
    let request = proto::EmbedRequest { texts: vec!["moon".to_owned()], ..proto::EmbedRequest::default() };
    let (_, reason, _) = refusal(host.client.embed(request).await.unwrap_err());
    assert_eq!(reason, Reason::ModelDamaged);
}
