//! The serving engine: `rten`, which is pure Rust.

use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueView};

use super::{Engine, EngineError, HiddenStates, TokenBatch};

/// An ONNX encoder, loaded by `rten`.
pub struct RtenEngine {
    graph: Arc<Graph>,
    pool: Arc<ThreadPool>,
}

struct Graph {
    model: Model,
    ids: NodeId,
    mask: NodeId,
    hidden: NodeId,
    width: usize,
}

impl RtenEngine {
    /// Loads a graph that takes `input_ids` and `attention_mask` and gives
    /// `last_hidden_state` of the given `width`; it will use `threads` threads.
    pub fn load(onnx: Vec<u8>, width: usize, threads: usize) -> Result<Self, EngineError> {
        let mut options = ModelOptions::with_all_ops();
        // Without packed weights a forward pass of one short query takes 2.5 times as long.
        options.prepack_weights(true);
        let model = options.load(onnx).map_err(|error| EngineError::Load(error.to_string()))?;
        let node = |name| model.find_node(name).ok_or(EngineError::MissingValue(name));
        let graph = Graph {
            ids: node("input_ids")?,
            mask: node("attention_mask")?,
            hidden: node("last_hidden_state")?,
            width,
            model,
        };
        Ok(Self { graph: Arc::new(graph), pool: Arc::new(ThreadPool::with_num_threads(threads)) })
    }

    /// An engine over the same weights with a thread pool of its own, so that several
    /// batches can run side by side.
    pub fn sibling(&self, threads: usize) -> Self {
        Self { graph: Arc::clone(&self.graph), pool: Arc::new(ThreadPool::with_num_threads(threads)) }
    }
}

impl Engine for RtenEngine {
    fn forward(&self, batch: &TokenBatch) -> Result<HiddenStates, EngineError> {
        let graph = &self.graph;
        let shape = [batch.rows(), batch.columns()];
        let failed = |error: String| EngineError::Run(error);
        let ids = ValueView::from_shape(shape, batch.ids());
        let mask = ValueView::from_shape(shape, batch.mask());
        let inputs = vec![
            (graph.ids, ids.map_err(|e| failed(e.to_string()))?.into()),
            (graph.mask, mask.map_err(|e| failed(e.to_string()))?.into()),
        ];
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        let [output] =
            graph.model.run_n(inputs, [graph.hidden], Some(options)).map_err(|error| failed(error.to_string()))?;
        hidden_states(output, [shape[0], shape[1], graph.width])
    }
}

fn hidden_states(output: Value, expected: [usize; 3]) -> Result<HiddenStates, EngineError> {
    let (shape, data) = output.into_shape_vec::<f32, 3>().map_err(|error| EngineError::Run(error.to_string()))?;
    if shape != expected {
        return Err(EngineError::WrongShape { expected, found: shape.to_vec() });
    }
    if data.iter().any(|x| !x.is_finite()) {
        return Err(EngineError::NotFinite);
    }
    Ok(HiddenStates { data, columns: expected[1], width: expected[2] })
}
