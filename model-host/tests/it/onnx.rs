//! The written graph, run by the real engine, against a forward pass written out by hand.

use trivium_model_host::engine::{Engine, RtenEngine, TokenBatch};
use trivium_model_host::onnx::{ReadError, read_bert, write_bert};

use crate::support::{TinyBert, hidden_states};

const TOLERANCE: f32 = 1e-4;

#[test]
fn the_engine_computes_what_the_weights_mean() {
    let bert = TinyBert::random(3);
    let texts: [&[u32]; 4] = [&[1, 5, 9, 2], &[1, 2], &[1, 23, 4, 4, 17, 8, 11, 2], &[7]];
    let engine = load(&bert, &bert.safetensors(""));
    let batch = TokenBatch::new(texts);
    let hidden = engine.forward(&batch).unwrap();
    for (row, ids) in texts.iter().enumerate() {
        let expected = hidden_states(&bert, ids);
        let found = hidden.row(row).chunks(bert.width);
        for (place, (expected, found)) in expected.iter().zip(found).enumerate() {
            for (a, b) in expected.iter().zip(found) {
                assert!((a - b).abs() < TOLERANCE, "text {row}, token {place}: {a} and {b}");
            }
        }
    }
}

#[test]
fn padding_and_threads_change_nothing() {
    let bert = TinyBert::random(4);
    let engine = load(&bert, &bert.safetensors(""));
    let text: &[u32] = &[1, 6, 7, 2];
    let long: &[u32] = &[1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 2];
    let alone = engine.forward(&TokenBatch::new([text])).unwrap();
    let padded = engine.sibling(2).forward(&TokenBatch::new([long, text])).unwrap();
    for (a, b) in alone.row(0).iter().zip(padded.row(1)) {
        assert!((a - b).abs() < 1e-5);
    }
}

#[test]
fn names_may_bear_the_usual_prefix() {
    let bert = TinyBert::random(5);
    let batch = TokenBatch::new([&[1u32, 4, 2][..]]);
    let plain = load(&bert, &bert.safetensors("")).forward(&batch).unwrap();
    let prefixed = load(&bert, &bert.safetensors("bert.")).forward(&batch).unwrap();
    assert_eq!(plain, prefixed);
}

#[test]
fn damage_is_refused_with_a_reason() {
    let bert = TinyBert::random(6);
    let weights = bert.safetensors("");
    let cut = write_bert(&weights[..weights.len() - 10], &bert.config()).unwrap_err();
    assert!(cut.to_string().contains("safetensors"), "{cut}");

    let mut other = bert.clone();
    other.tensors.get_mut("embeddings.LayerNorm.bias").unwrap().shape = vec![16, 2];
    let wrong = write_bert(&other.safetensors(""), &bert.config()).unwrap_err().to_string();
    assert!(wrong.contains("embeddings.LayerNorm.bias") && wrong.contains("[32]"), "{wrong}");

    let graph = write_bert(&weights, &bert.config()).unwrap();
    assert!(RtenEngine::load(graph[..graph.len() / 2].to_vec(), bert.width, 1).is_err());
    assert!(RtenEngine::load(b"not a graph".to_vec(), bert.width, 1).is_err());
}

#[test]
fn weights_that_are_not_numbers_are_noticed() {
    let mut bert = TinyBert::random(8);
    bert.tensors.get_mut("encoder.layer.0.output.dense.bias").unwrap().data[3] = f32::NAN;
    let engine = load(&bert, &bert.safetensors(""));
    let error = engine.forward(&TokenBatch::new([&[1u32, 2][..]])).unwrap_err();
    assert!(error.to_string().contains("not finite"), "{error}");
}

#[test]
fn a_graph_of_another_width_is_noticed() {
    let bert = TinyBert::random(9);
    let graph = write_bert(&bert.safetensors(""), &bert.config()).unwrap();
    let engine = RtenEngine::load(graph, 31, 1).unwrap();
    let error = engine.forward(&TokenBatch::new([&[1u32, 2][..]])).unwrap_err();
    assert!(error.to_string().contains("expected [1, 2, 31]"), "{error}");
}

fn load(bert: &TinyBert, weights: &[u8]) -> RtenEngine {
    let graph = write_bert(weights, &bert.config()).unwrap();
    RtenEngine::load(graph, bert.width, 1).unwrap()
}

#[test]
fn weights_are_read_back_out_of_the_graph() {
    let bert = TinyBert::random(11);
    let read = read_bert(&write_bert(&bert.safetensors(""), &bert.config()).unwrap()).unwrap();
    assert_eq!((read.config.num_hidden_layers, read.config.num_attention_heads), (bert.layers, bert.heads));
    assert_eq!(read.config.layer_norm_eps, 1e-12);
    for (name, weight) in &read.tensors {
        let published = &bert.tensors[name];
        match name.as_str() {
            // Segment 0 has moved into the positions.
            "embeddings.token_type_embeddings.weight" => assert!(weight.data.iter().all(|x| *x == 0.0)),
            "embeddings.position_embeddings.weight" => {
                let segment = &bert.tensors["embeddings.token_type_embeddings.weight"].data[..bert.width];
                let sums =
                    published.data.chunks(bert.width).flat_map(|row| row.iter().zip(segment).map(|(a, b)| a + b));
                assert!(weight.data.iter().copied().eq(sums));
            }
            _ => assert_eq!((&weight.shape, &weight.data), (&published.shape, &published.data), "{name}"),
        }
    }
    assert_eq!(read.tensors.len(), bert.tensors.len());
}

#[test]
fn graphs_that_cannot_be_read_back_are_refused() {
    let bert = TinyBert::random(12);
    let graph = write_bert(&bert.safetensors(""), &bert.config()).unwrap();
    assert!(matches!(read_bert(b"not a graph"), Err(ReadError::Malformed(_))));
    assert!(matches!(read_bert(&[]), Err(ReadError::Missing(_))));
    assert!(read_bert(&graph[..graph.len() / 2]).is_err());
}
