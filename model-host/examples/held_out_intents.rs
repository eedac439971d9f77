//! Adds the intents that a model was not trained on from their first few examples, and prints
//! how well they and the others are told then.
//!
//! `cargo run --release --workspace --example held_out_intents MODEL DATA EXAMPLES`, where MODEL
//! is a bundle in the models folder that was trained without some of the labels of DATA, a
//! folder with `train.jsonl` and `test.jsonl`. The versions that it makes are not promoted.

use std::path::Path;

use trivium_model_host::bundle::{BundleError, ModelRef, PrecisionChoice, Registry, default_models_dir};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::intent::{AddOptions, Decision, Example, IntentModel, add_intent, read_examples};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, folder, count] = &arguments[..] else {
        return Err("usage: held_out_intents MODEL DATA EXAMPLES".into());
    };
    let count: usize = count.parse()?;
    let registry = Registry::new(default_models_dir());
    let read = |file: &str| read_examples(&Path::new(folder).join(file));
    let (train, test) = (read("train.jsonl")?, read("test.jsonl")?);
    let original = registry.production(&name.parse().map_err(BundleError::from)?)?;
    let intent = IntentModel::load(&registry.open(&original)?)?;
    let outside = intent.out_of_scope_label().unwrap_or_default().to_owned();
    let known = |label: &str| label == outside || intent.labels().iter().any(|known| known == label);
    let mut held_out: Vec<&str> = train.iter().map(|e| e.label.as_str()).filter(|label| !known(label)).collect();
    held_out.sort_unstable();
    held_out.dedup();

    let (old, new): (Vec<&Example>, Vec<&Example>) =
        test.iter().filter(|example| example.label != outside).partition(|example| known(&example.label));
    print("before", &registry, &original, [&old, &[]])?;
    let mut model = original;
    for label in held_out {
        let texts: Vec<&str> = train.iter().filter(|e| e.label == label).map(|e| e.text.as_str()).take(count).collect();
        let options = AddOptions { label: label.to_owned(), promote: false, threads: 2 };
        let added = add_intent(&registry, &model, &texts, &options)?;
        let few = &added.few_shot;
        println!("{label}: found when left out {:.3}, taken over {:.4}", few.left_out_recall, few.taken_over);
        model = added.model;
    }
    print("after", &registry, &model, [&old, &new])
}

/// The share of right decisions and of rejections among the queries of old and new labels.
fn print(
    when: &str,
    registry: &Registry,
    model: &ModelRef,
    sides: [&[&Example]; 2],
) -> Result<(), Box<dyn std::error::Error>> {
    let intent = IntentModel::load(&registry.open(model)?)?;
    let encoder = Encoder::load_with(&registry.open(intent.encoder())?, PrecisionChoice::Auto, 2)?;
    for (side, examples) in ["trained", "added"].into_iter().zip(sides).filter(|(_, examples)| !examples.is_empty()) {
        let texts: Vec<&str> = examples.iter().map(|example| example.text.as_str()).collect();
        let vectors = encoder.embed_all(&texts, |_| ())?;
        let decisions: Vec<Decision> = vectors.iter().map(|vector| intent.decide(vector)).collect();
        let share = |of: &dyn Fn(&Decision, &Example) -> bool| {
            let count = decisions.iter().zip(examples).filter(|(decision, example)| of(decision, example)).count();
            count as f32 / examples.len() as f32
        };
        let right = share(&|decision, example| decision.label() == example.label);
        let rejected = share(&|decision, _| decision.out_of_scope);
        println!("{when}, {side}: {} queries, right {right:.4}, rejected {rejected:.4}", examples.len());
    }
    Ok(())
}
