//! BERT's forward pass written out plainly, for one text, to compare the engine with.

use super::TinyBert;

/// Rows of equal length.
type Matrix = Vec<Vec<f32>>;

/// The last hidden state of each of `ids`.
pub fn hidden_states(bert: &TinyBert, ids: &[u32]) -> Matrix {
    let words = rows(bert, "embeddings.word_embeddings.weight");
    let positions = rows(bert, "embeddings.position_embeddings.weight");
    let segments = rows(bert, "embeddings.token_type_embeddings.weight");
    let sums = ids.iter().enumerate().map(|(place, &id)| {
        let word = &words[id as usize];
        (0..bert.width).map(|i| word[i] + positions[place][i] + segments[0][i]).collect()
    });
    let mut states = layer_norm(bert, "embeddings.LayerNorm", sums.collect());
    for layer in 0..bert.layers {
        let layer = format!("encoder.layer.{layer}");
        let context = attention(bert, &layer, &states);
        let projected = linear(bert, &format!("{layer}.attention.output.dense"), &context);
        let attended = layer_norm(bert, &format!("{layer}.attention.output.LayerNorm"), add(projected, &states));
        let mut inner = linear(bert, &format!("{layer}.intermediate.dense"), &attended);
        inner.iter_mut().flatten().for_each(|x| *x = gelu(*x));
        let output = linear(bert, &format!("{layer}.output.dense"), &inner);
        states = layer_norm(bert, &format!("{layer}.output.LayerNorm"), add(output, &attended));
    }
    states
}

fn attention(bert: &TinyBert, layer: &str, states: &Matrix) -> Matrix {
    let project = |which: &str| linear(bert, &format!("{layer}.attention.self.{which}"), states);
    let (queries, keys, values) = (project("query"), project("key"), project("value"));
    let size = bert.width / bert.heads;
    let mut context = vec![vec![0.0; bert.width]; states.len()];
    for head in 0..bert.heads {
        let part = head * size..(head + 1) * size;
        for (query, out) in queries.iter().zip(&mut context) {
            let scores: Vec<f32> =
                keys.iter().map(|key| dot(&query[part.clone()], &key[part.clone()]) / (size as f32).sqrt()).collect();
            let total: f32 = scores.iter().map(|score| score.exp()).sum();
            for (value, score) in values.iter().zip(&scores) {
                for place in part.clone() {
                    out[place] += score.exp() / total * value[place];
                }
            }
        }
    }
    context
}

fn linear(bert: &TinyBert, name: &str, input: &Matrix) -> Matrix {
    let weights = rows(bert, &format!("{name}.weight"));
    let bias = &bert.tensors[&format!("{name}.bias")].data;
    input.iter().map(|x| weights.iter().zip(bias).map(|(row, b)| dot(row, x) + b).collect()).collect()
}

fn layer_norm(bert: &TinyBert, name: &str, input: Matrix) -> Matrix {
    let scale = &bert.tensors[&format!("{name}.weight")].data;
    let bias = &bert.tensors[&format!("{name}.bias")].data;
    let normalised = input.into_iter().map(|x| {
        let mean = x.iter().sum::<f32>() / x.len() as f32;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / x.len() as f32;
        let spread = (variance + 1e-12).sqrt();
        x.iter().zip(scale.iter().zip(bias)).map(|(v, (s, b))| (v - mean) / spread * s + b).collect()
    });
    normalised.collect()
}

fn add(mut a: Matrix, b: &Matrix) -> Matrix {
    a.iter_mut().flatten().zip(b.iter().flatten()).for_each(|(x, y)| *x += y);
    a
}

fn gelu(x: f32) -> f32 {
    x * 0.5 * (1.0 + erf(x / 2.0f32.sqrt()))
}

/// Abramowitz and Stegun 7.1.26; wrong by at most 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * f64::from(x.abs()));
    let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = series.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    let value = 1.0 - polynomial * (-f64::from(x) * f64::from(x)).exp();
    (value as f32).copysign(x)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn rows(bert: &TinyBert, name: &str) -> Matrix {
    let tensor = &bert.tensors[name];
    tensor.data.chunks(tensor.shape[1]).map(<[f32]>::to_vec).collect()
}
