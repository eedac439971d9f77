//! A tiny model as fine-tuning hands it over.

use trivium_model_host::bundle::Registry;
use trivium_model_host::intent::{
    AssembleOptions, EpochSummary, Example, FineTuned, FitError, Fitted, Head, Setting, Splits, TrainingSummary,
    assemble, softmax,
};
use trivium_model_host::tokenize::Tokenizer;

use super::{MAX_TOKENS, TinyBert, hidden_states, tiny};

/// Labels and the words that tell them.
pub const LABELS: [(&str, [&str; 3]); 3] =
    [("chat", ["hello", "thanks", "song"]), ("fix", ["error", "restart", "replica"]), ("sky", ["moon", "cat", "a"])];

/// Words of no label.
const STRANGE: [&str; 3] = ["redis", "cache", "index"];

/// Each label's words with different words around them; `shift` makes different sets. The
/// last label is `oos`.
pub fn examples(shift: usize) -> Vec<Example> {
    let around = ["how is", "what is the", "the", "compare", "is the", "of the", "code of", "what with"];
    let labels = LABELS.iter().chain([&("oos", STRANGE)]);
    labels
        .flat_map(|(label, words)| {
            around.iter().enumerate().map(move |(i, frame)| {
                let word = words[(i + shift) % words.len()];
                Example { text: format!("{frame} {word} {word} {word} {word}"), label: (*label).to_owned() }
            })
        })
        .collect()
}

/// Splits that differ from each other.
pub struct Data {
    pub train: Vec<Example>,
    pub valid: Vec<Example>,
    pub test: Vec<Example>,
}

impl Data {
    pub fn new() -> Self {
        Self { train: examples(0), valid: examples(1), test: examples(2) }
    }

    pub fn splits(&self) -> Splits<'_> {
        Splits { train: &self.train, valid: Some(&self.valid), test: Some(&self.test) }
    }
}

/// What training would hand over, as far as it is not borrowed.
pub struct Tuned {
    pub bert: TinyBert,
    pub weights: Vec<u8>,
    pub config: Vec<u8>,
    pub tokenizer: Vec<u8>,
}

impl Tuned {
    pub fn new(seed: u64) -> Self {
        let bert = TinyBert::random(seed);
        let files = bert.files();
        Self { weights: files.weights, config: files.config, tokenizer: files.tokenizer, bert }
    }

    /// The mean of a text's hidden states, by the plain forward pass.
    pub fn feature(&self, text: &str) -> Vec<f32> {
        let tokenizer = Tokenizer::from_json(&self.tokenizer, MAX_TOKENS).unwrap();
        let states = hidden_states(&self.bert, &tokenizer.encode(text).unwrap().ids);
        let sum = |i: usize| states.iter().map(|state| state[i]).sum::<f32>();
        (0..self.bert.width).map(|i| sum(i) / states.len() as f32).collect()
    }

    /// A softmax head, fitted by plain gradient descent on features that are centred and scaled
    /// for it; both are then folded into the head.
    pub fn head(&self, train: &[Example]) -> Head {
        let width = self.bert.width;
        let place = |label: &str| LABELS.iter().position(|(known, _)| *known == label);
        let mut queries: Vec<(Vec<f32>, usize)> =
            train.iter().filter_map(|e| Some((self.feature(&e.text), place(&e.label)?))).collect();
        let share = 1.0 / queries.len() as f32;
        let middle: Vec<f32> = (0..width).map(|i| queries.iter().map(|(f, _)| f[i]).sum::<f32>() * share).collect();
        queries.iter_mut().for_each(|(f, _)| f.iter_mut().zip(&middle).for_each(|(x, m)| *x -= m));
        let spread = queries.iter().flat_map(|(f, _)| f).map(|x| x * x).sum::<f32>() * share / width as f32;
        let scale = 1.0 / spread.sqrt();
        let (mut weights, mut bias) = (vec![0.0f32; LABELS.len() * width], vec![0.0f32; LABELS.len()]);
        for (feature, truth) in std::iter::repeat_n(&queries, 300).flatten() {
            let head = Head::new(weights.clone(), bias.clone()).unwrap();
            let scaled: Vec<f32> = feature.iter().map(|x| x * scale).collect();
            for (label, probability) in softmax(&head.logits(&scaled)).into_iter().enumerate() {
                let step = 0.02 * (f32::from(u8::from(label == *truth)) - probability);
                bias[label] += step;
                let row = &mut weights[label * width..(label + 1) * width];
                row.iter_mut().zip(&scaled).for_each(|(w, x)| *w += step * x);
            }
        }
        weights.iter_mut().for_each(|w| *w *= scale);
        for (bias, row) in bias.iter_mut().zip(weights.chunks(width)) {
            *bias -= row.iter().zip(&middle).map(|(w, m)| w * m).sum::<f32>();
        }
        Head::new(weights, bias).unwrap()
    }

    pub fn handed_over(&self, data: &Data) -> FineTuned<'_> {
        let epoch = |epoch| EpochSummary {
            epoch,
            train_loss: 1.0 / epoch as f32,
            valid_loss: 1.1 / epoch as f32,
            valid_accuracy: 0.9,
            seconds: 2.5,
        };
        FineTuned {
            base: tiny(),
            weights: &self.weights,
            config: &self.config,
            tokenizer: &self.tokenizer,
            max_tokens: MAX_TOKENS,
            labels: LABELS.map(|(label, _)| label.to_owned()).to_vec(),
            head: self.head(&data.train),
            training: TrainingSummary {
                seconds: 5.0,
                chosen_epoch: 2,
                settings: [("batch".to_owned(), Setting::Count(8)), ("rate".to_owned(), Setting::Number(1e-4))].into(),
                data: [("train".to_owned(), data.train.len())].into(),
                epochs: vec![epoch(1), epoch(2)],
            },
        }
    }
}

/// Assembles a tiny fine-tuned model as the next version of `intents`, and promotes it.
pub fn fine_tuned(registry: &Registry) -> Result<Fitted, FitError> {
    let (tuned, data) = (Tuned::new(11), Data::new());
    let options = AssembleOptions { threads: 1, ..AssembleOptions::named("intents".parse().unwrap()) };
    assemble(registry, &options, tuned.handed_over(&data), data.splits(), |_| ())
}
