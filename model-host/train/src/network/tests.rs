//! The whole network against another framework, and what its gradients must be like.

use std::collections::BTreeMap;

use safetensors::SafeTensors;

use super::{Network, Ragged, Work};
use crate::layout::Architecture;
use crate::ops::dropout::Dropout;
use crate::ops::loss::cross_entropy;
use crate::testing::{assert_close, floats};

/// The texts, labels and sizes of `tests/fixtures/make_gradients.py`.
const TEXTS: [&[u32]; 4] = [&[1, 5, 9, 2], &[1, 7, 2], &[3], &[1, 4, 4, 11, 8, 2]];
const LABELS: [u32; 4] = [0, 2, 1, 2];
const SMOOTHING: f32 = 0.05;

fn sizes() -> Architecture {
    Architecture { width: 16, inner: 24, heads: 4, layers: 2, words: 12, positions: 6, classes: 3, epsilon: 1e-12 }
}

/// Tensors of the fixture whose names begin with `prefix`, in the network's layout.
fn fixture(network: &Network, prefix: &str) -> Vec<f32> {
    let bytes = std::fs::read("tests/fixtures/gradients.safetensors").unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut flat = Vec::new();
    for variable in network.layout().variables() {
        let tensor = tensors.tensor(&format!("{prefix}{}", variable.name)).unwrap();
        assert_eq!(tensor.shape(), variable.shape, "{}", variable.name);
        flat.extend(tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
    flat
}

fn expected_loss() -> f32 {
    let bytes = std::fs::read("tests/fixtures/gradients.safetensors").unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    f32::from_le_bytes(tensors.tensor("loss").unwrap().data().try_into().unwrap())
}

/// Mean loss and gradients of the fixture's batch.
fn pass(network: &Network, weights: &[f32], dropout: Dropout, frozen: usize) -> (f32, Vec<f32>) {
    let (batch, mut work) = (Ragged::new(TEXTS), Work::default());
    let mut gradients = vec![0.0; weights.len()];
    network.forward(weights, &batch, dropout, &mut work);
    let share = 1.0 / TEXTS.len() as f32;
    let tally = cross_entropy(work.logits(), &LABELS, network.sizes().classes, SMOOTHING, share);
    network.backward(weights, &batch, dropout, frozen, &mut work, &mut gradients);
    (tally.mean_loss() as f32, gradients)
}

/// The largest element of each variable's gradient.
fn largest(network: &Network, gradients: &[f32]) -> BTreeMap<String, f32> {
    let largest = |values: &[f32]| values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    network.layout().variables().iter().map(|v| (v.name.clone(), largest(&gradients[v.place.clone()]))).collect()
}

#[test]
fn loss_and_gradients_are_those_of_another_framework() {
    let network = Network::new(sizes());
    let (weights, expected) = (fixture(&network, "weights."), fixture(&network, "gradients."));
    let (loss, gradients) = pass(&network, &weights, Dropout::OFF, 0);
    assert_close(&[loss], &[expected_loss()], 1e-5);
    for variable in network.layout().variables() {
        let place = variable.place.clone();
        for (found, expected) in gradients[place.clone()].iter().zip(&expected[place]) {
            assert!((found - expected).abs() < 1e-4, "{}: {found} and {expected}", variable.name);
        }
    }
    // The comparison would pass for gradients that are all tiny; they are not.
    assert!(largest(&network, &expected).values().filter(|most| **most > 1e-2).count() > 30);
}

#[test]
fn every_variable_gets_a_gradient() {
    let network = Network::new(sizes());
    let weights = fixture(&network, "weights.");
    for dropout in [Dropout::OFF, Dropout::new(0.1, 4)] {
        let (_, gradients) = pass(&network, &weights, dropout, 0);
        for (name, largest) in largest(&network, &gradients) {
            // What is added to all keys alike is added to all scores of a query alike, and the
            // softmax does not see it: this gradient is zero for any data, but for rounding.
            if name.ends_with("attention.self.key.bias") {
                assert!(largest < 1e-6, "{name}: {largest}");
            } else {
                assert!(largest > 1e-4, "{name}: {largest}");
            }
        }
    }
}

#[test]
fn frozen_variables_get_none_and_the_others_the_same() {
    let network = Network::new(sizes());
    let weights = fixture(&network, "weights.");
    let (_, all) = pass(&network, &weights, Dropout::OFF, 0);
    for frozen in 1..=2 {
        let (_, some) = pass(&network, &weights, Dropout::OFF, frozen);
        let first = network.layout().first_trained(frozen);
        assert!(some[..first].iter().all(|x| *x == 0.0));
        assert_eq!(some[first..], all[first..]);
    }
}

#[test]
fn gradients_add_up_over_parts_of_a_batch() {
    let network = Network::new(sizes());
    let weights = fixture(&network, "weights.");
    let (_, whole) = pass(&network, &weights, Dropout::OFF, 0);
    let (mut work, mut sum) = (Work::default(), vec![0.0; weights.len()]);
    for (text, label) in TEXTS.iter().zip(LABELS) {
        let batch = Ragged::new([*text]);
        network.forward(&weights, &batch, Dropout::OFF, &mut work);
        cross_entropy(work.logits(), &[label], 3, SMOOTHING, 0.25);
        network.backward(&weights, &batch, Dropout::OFF, 0, &mut work, &mut sum);
    }
    assert_close(&sum, &whole, 1e-5);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let network = Network::new(Architecture { width: 96, inner: 160, ..sizes() });
    let weights = floats(network.layout().len(), 9);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| pass(&network, &weights, Dropout::new(0.2, 6), 0))
    };
    let (one, three) = (on(1), on(3));
    assert_eq!(one.0.to_bits(), three.0.to_bits());
    assert!(one.1.iter().zip(&three.1).all(|(a, b)| a.to_bits() == b.to_bits()));
}
