//! The serving engine: `rten`, which is pure Rust.

use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueView};

use super::{Engine, EngineError, HiddenStates, TokenBatch};

/// What exports call the hidden states of all tokens.
const HIDDEN_STATES: &[&str] = &["last_hidden_state", "token_embeddings"];

/// Threads that run forward passes, one pass at a time or several.
#[derive(Clone)]
pub struct Threads(Arc<ThreadPool>);

impl Threads {
    /// Starts `count` threads, at least 1.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(ThreadPool::with_num_threads(count.max(1))))
    }

    /// Runs `step` on one of the threads, and waits for it. Forward passes that it runs on
    /// these threads begin where it is, without waking another thread.
    pub fn inside<T: Send>(&self, step: impl FnOnce() -> T + Send) -> T {
        self.0.run(step)
    }
}

/// A graph over tokens, loaded by `rten`, with the threads that it runs on unless told
/// otherwise.
pub struct RtenEngine {
    graph: Arc<Graph>,
    threads: Threads,
}

struct Graph {
    model: Model,
    ids: NodeId,
    mask: NodeId,
    /// Graphs that tell the texts of a pair apart have this input, and so do most exports
    /// of encoders that do not.
    types: Option<NodeId>,
    output: NodeId,
    width: usize,
}

impl RtenEngine {
    /// Loads a graph that takes `input_ids`, `attention_mask` and, if it likes,
    /// `token_type_ids`, and gives `last_hidden_state` of the given `width`. Exports give
    /// that value other names at times: a graph with a single output needs none.
    ///
    /// # Errors
    /// When the graph is not ONNX, uses what the engine lacks, or lacks an input or output.
    pub fn load(onnx: Vec<u8>, width: usize, threads: usize) -> Result<Self, EngineError> {
        let graph = Graph::load(onnx, HIDDEN_STATES, width)?;
        Ok(Self { graph: Arc::new(graph), threads: Threads::new(threads) })
    }

    /// The width of the hidden states that a graph gives, found by running it once.
    ///
    /// # Errors
    /// As [`Self::load`], and when what it gives are no hidden states.
    pub fn hidden_width(onnx: Vec<u8>) -> Result<usize, EngineError> {
        let graph = Graph::load(onnx, HIDDEN_STATES, 0)?;
        let batch = TokenBatch::new([&[0, 0, 0][..]]);
        let output = graph.run(&batch, &Threads::new(1))?;
        let (shape, _) = output.into_shape_vec::<f32, 3>().map_err(|error| EngineError::Run(error.to_string()))?;
        match shape {
            [1, 3, width] if width > 0 => Ok(width),
            found => Err(EngineError::WrongShape { expected: vec![1, 3], found: found.to_vec() }),
        }
    }

    /// Loads a graph as [`Self::load`] does, which gives `logits`, `width` of them a text.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_scorer(onnx: Vec<u8>, width: usize, threads: usize) -> Result<Self, EngineError> {
        Ok(Self { graph: Arc::new(Graph::load(onnx, &["logits"], width)?), threads: Threads::new(threads) })
    }

    /// An engine over the same weights with threads of its own.
    pub fn sibling(&self, threads: usize) -> Self {
        Self { graph: Arc::clone(&self.graph), threads: Threads::new(threads) }
    }

    /// Runs one batch on `threads` and gives the last hidden state of every token.
    ///
    /// # Errors
    /// When the graph fails, or gives something else.
    pub fn forward_on(&self, batch: &TokenBatch, threads: &Threads) -> Result<HiddenStates, EngineError> {
        let expected = [batch.rows(), batch.columns(), self.graph.width];
        let output = self.graph.run(batch, threads)?;
        let (shape, data) = output.into_shape_vec::<f32, 3>().map_err(|error| EngineError::Run(error.to_string()))?;
        if shape != expected {
            return Err(EngineError::WrongShape { expected: expected.to_vec(), found: shape.to_vec() });
        }
        finite(&data)?;
        Ok(HiddenStates { data, columns: expected[1], width: expected[2] })
    }

    /// Scores each text of a batch: `width` logits for each.
    ///
    /// # Errors
    /// When the graph fails, or gives something else.
    pub fn logits_on(&self, batch: &TokenBatch, threads: &Threads) -> Result<Vec<Vec<f32>>, EngineError> {
        let width = self.graph.width;
        let output = self.graph.run(batch, threads)?;
        let (shape, data) = output.into_shape_vec::<f32, 2>().map_err(|error| EngineError::Run(error.to_string()))?;
        if shape != [batch.rows(), width] {
            return Err(EngineError::WrongShape { expected: vec![batch.rows(), width], found: shape.to_vec() });
        }
        finite(&data)?;
        Ok(data.chunks_exact(width).map(<[f32]>::to_vec).collect())
    }
}

impl Engine for RtenEngine {
    fn forward(&self, batch: &TokenBatch) -> Result<HiddenStates, EngineError> {
        self.forward_on(batch, &self.threads)
    }
}

impl Graph {
    fn load(onnx: Vec<u8>, names: &[&'static str], width: usize) -> Result<Self, EngineError> {
        let mut options = ModelOptions::with_all_ops();
        // Without packed weights a forward pass of one short query takes 2.5 times as long.
        options.prepack_weights(true);
        let model = options.load(onnx).map_err(|error| EngineError::Load(error.to_string()))?;
        let node = |name| model.find_node(name).ok_or(EngineError::MissingValue(name));
        let named = names.iter().find_map(|name| model.find_node(name));
        let only = match model.output_ids() {
            [only] => Some(*only),
            _ => None,
        };
        let output = named.or(only).ok_or(EngineError::MissingValue(names.first().copied().unwrap_or("output")))?;
        let (ids, mask) = (node("input_ids")?, node("attention_mask")?);
        let types = model.find_node("token_type_ids").filter(|id| model.input_ids().contains(id));
        Ok(Self { ids, mask, types, output, width, model })
    }

    fn run(&self, batch: &TokenBatch, threads: &Threads) -> Result<Value, EngineError> {
        let shape = [batch.rows(), batch.columns()];
        let view = |data| ValueView::from_shape(shape, data).map_err(|error| EngineError::Run(error.to_string()));
        let mut inputs = vec![(self.ids, view(batch.ids())?.into()), (self.mask, view(batch.mask())?.into())];
        if let Some(types) = self.types {
            inputs.push((types, view(batch.types())?.into()));
        }
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&threads.0)));
        let [output] = self
            .model
            .run_n(inputs, [self.output], Some(options))
            .map_err(|error| EngineError::Run(error.to_string()))?;
        Ok(output)
    }
}

fn finite(data: &[f32]) -> Result<(), EngineError> {
    if data.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(EngineError::NotFinite) }
}
