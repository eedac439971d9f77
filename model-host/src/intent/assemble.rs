//! Turns a fine-tuned encoder and its head into a bundle that can serve.

use super::finish::{Data, encode, finish};
use super::splits::Queries;
use super::vectors::largest;
use super::{FitError, FitProgress, Fitted, Head, ScopeBy, Splits, TrainingSummary};
use crate::bundle::{
    EncoderSpec, GRAPH_FILE, INT8_GRAPH_FILE, IntentEncoder, ModelId, ModelRef, ModelSpec, Pooling, Precision,
    PrecisionReport, Prefixes, Registry, TOKENIZER_FILE,
};
use crate::encoder::{Encoder, EncoderParts};
use crate::onnx::{BertConfig, write_bert_in};

/// What training hands over.
#[derive(Clone, Debug)]
pub struct FineTuned<'a> {
    /// The encoder bundle that it started from.
    pub base: ModelRef,
    /// The encoder's weights: a safetensors file with the names of Hugging Face's `BertModel`.
    pub weights: &'a [u8],
    /// Its `config.json`, as [`write_bert`](crate::onnx::write_bert) takes it.
    pub config: &'a [u8],
    /// Its `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// Longest input, in tokens, special tokens included.
    pub max_tokens: usize,
    /// The labels in scope, sorted, in the order of the head's rows.
    pub labels: Vec<String>,
    /// `logits = weights * mean + bias`, where `mean` is the mean of a text's hidden states,
    /// not scaled to length 1.
    pub head: Head,
    /// How it was trained.
    pub training: TrainingSummary,
}

/// How a bundle is put together.
#[derive(Clone, Debug)]
pub struct AssembleOptions {
    /// Name of the bundle; its version is the next number.
    pub name: ModelId,
    /// The label of queries outside the scope.
    pub out_of_scope_label: String,
    /// How such queries are told. By a score, the label is none of the head's, and queries that
    /// bear it in the training and validation data are what the score is chosen on.
    pub scope_by: ScopeBy,
    /// Threads of one forward pass.
    pub threads: usize,
    /// Whether the new version becomes the one that serves.
    pub promote: bool,
}

impl AssembleOptions {
    /// The usual settings: `oos` for queries outside the scope, 2 % false rejects, all cores,
    /// and the new version serves.
    pub fn named(name: ModelId) -> Self {
        Self {
            name,
            out_of_scope_label: "oos".to_owned(),
            scope_by: ScopeBy::score(),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            promote: true,
        }
    }
}

/// Writes a fine-tuned model as the next version of the bundle `options.name`.
///
/// The encoder is written in both precisions and run by the engine that will serve it, in the
/// precision that the bundle then recommends: temperature, thresholds and the
/// out-of-scope score are fitted on what that engine gives for `splits.valid`, which must be
/// there and must not have been trained on. The report is on `splits.test`, if it is given.
///
/// # Errors
/// When the weights, the head and the splits do not fit each other, the encoder cannot run, or
/// the bundle cannot be written.
pub fn assemble(
    registry: &Registry,
    options: &AssembleOptions,
    tuned: FineTuned<'_>,
    splits: Splits<'_>,
    mut progress: impl FnMut(FitProgress),
) -> Result<Fitted, FitError> {
    options.scope_by.check()?;
    if splits.valid.is_none() {
        return Err(FitError::EmptySplit("validation"));
    }
    let queries = Queries::new(splits, options.scope_by.outside(&options.out_of_scope_label))?;
    check(&tuned, &queries)?;
    let model = registry.next_version(&options.name)?;
    let spec = encoder_spec(&tuned)?;
    let candidates = Candidates::new(&tuned, &queries, &model, &spec, options.threads, &mut progress)?;
    let precision = candidates.report.clone();
    let (graphs, encoder, valid) = candidates.recommended();
    let data = Data::encode(&encoder, &queries, Some(valid), &mut progress)?;
    let finished = finish(tuned.head, &data, &options.out_of_scope_label, options.scope_by);

    let mut intent = finished.spec(IntentEncoder::Own(spec));
    let mut writer = registry.create(model, format!("fine-tuned from {}", tuned.base))?;
    intent.base = Some(tuned.base);
    intent.training = Some(tuned.training);
    intent.precision = Some(precision);
    writer.add(GRAPH_FILE, &graphs.fp32)?;
    writer.add(INT8_GRAPH_FILE, &graphs.int8)?;
    writer.add(TOKENIZER_FILE, tuned.tokenizer)?;
    finished.write(&mut writer, &intent)?;
    let model = writer.finish(ModelSpec::Intent(Box::new(intent)))?;
    if options.promote {
        registry.promote(&model)?;
    }
    Ok(Fitted { model, report: finished.report, l2: None, temperature: finished.classifier.temperature })
}

/// The encoder's two ONNX files.
struct Graphs {
    fp32: Vec<u8>,
    int8: Vec<u8>,
}

/// The encoder in both precisions, with what each makes of the validation queries.
struct Candidates {
    graphs: Graphs,
    fp32: (Encoder, Vec<Vec<f32>>),
    int8: (Encoder, Vec<Vec<f32>>),
    report: PrecisionReport,
}

impl Candidates {
    fn new(
        tuned: &FineTuned<'_>,
        queries: &Queries<'_>,
        model: &ModelRef,
        spec: &EncoderSpec,
        threads: usize,
        progress: &mut dyn FnMut(FitProgress),
    ) -> Result<Self, FitError> {
        let total = 2 * queries.valid.len();
        let mut run = |precision, before| {
            let graph = write_bert_in(precision, tuned.weights, tuned.config)?;
            let parts = EncoderParts { model: model.clone(), spec: spec.clone(), precision, graph: graph.clone() };
            let encoder = Encoder::from_parts(parts, tuned.tokenizer, threads)?;
            let vectors = encode(&encoder, &queries.valid, |more| {
                progress(FitProgress::Encoding { done: before + more, total });
            })?;
            Ok::<_, FitError>((graph, (encoder, vectors)))
        };
        let (fp32_graph, fp32) = run(Precision::Fp32, 0)?;
        let (int8_graph, int8) = run(Precision::Int8, queries.valid.len())?;
        let report = compare(&tuned.head, &fp32.1, &int8.1, &queries.label_indices(&queries.valid));
        Ok(Self { graphs: Graphs { fp32: fp32_graph, int8: int8_graph }, fp32, int8, report })
    }

    /// Both files, and the encoder that serves unless told otherwise with its vectors: what is
    /// calibrated should be what serves.
    fn recommended(self) -> (Graphs, Encoder, Vec<Vec<f32>>) {
        let (encoder, vectors) = if self.report.recommends_int8() { self.int8 } else { self.fp32 };
        (self.graphs, encoder, vectors)
    }
}

/// How often a head is right on the vectors of either precision; `labels` are the right ones.
fn compare(head: &Head, fp32: &[Vec<f32>], int8: &[Vec<f32>], labels: &[usize]) -> PrecisionReport {
    let first = |vector: &Vec<f32>| largest(&head.logits(vector)).0;
    let decided = fp32.iter().zip(int8).map(|(full, small)| (first(full), first(small)));
    let mut counts = [0usize; 3];
    for ((full, small), &label) in decided.zip(labels) {
        let outcomes = [full == label, small == label, full == small];
        for (count, outcome) in counts.iter_mut().zip(outcomes) {
            *count += usize::from(outcome);
        }
    }
    let [fp32_accuracy, int8_accuracy, agreement] = counts.map(|count| count as f32 / labels.len().max(1) as f32);
    PrecisionReport { examples: labels.len(), fp32_accuracy, int8_accuracy, agreement }
}

/// The encoder as it will serve: the mean of the hidden states as it is, which is what the
/// head was trained on.
fn encoder_spec(tuned: &FineTuned<'_>) -> Result<EncoderSpec, FitError> {
    let config = BertConfig::from_json(tuned.config)?;
    if tuned.head.dimension() != config.hidden_size {
        let (head, encoder) = (tuned.head.dimension(), config.hidden_size);
        return Err(FitError::Trained(format!("the head reads {head} numbers, the encoder gives {encoder}")));
    }
    Ok(EncoderSpec {
        dimension: config.hidden_size,
        max_tokens: tuned.max_tokens.min(config.max_position_embeddings),
        pooling: Pooling::Mean,
        normalise: false,
        prefixes: Prefixes::default(),
    })
}

fn check(tuned: &FineTuned<'_>, queries: &Queries<'_>) -> Result<(), FitError> {
    if tuned.labels != queries.labels {
        let (trained, found) = (tuned.labels.len(), queries.labels.len());
        let reason = format!("its {trained} labels are not the {found} of the training data in sorted order");
        return Err(FitError::Trained(reason));
    }
    if tuned.head.labels() != tuned.labels.len() {
        let reason = format!("the head has {} rows for {} labels", tuned.head.labels(), tuned.labels.len());
        return Err(FitError::Trained(reason));
    }
    Ok(())
}
