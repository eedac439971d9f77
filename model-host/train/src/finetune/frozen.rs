//! A head on the encoder's vectors as they are, and what those vectors tell about the data.

use trivium_model_host::encoder::Encoder;
use trivium_model_host::intent::{ChosenHead, FitOptions, HeadData, fit_with};

use super::{Context, Event, FinetuneError, Outcome};
use crate::checks::{Findings, Suspect, suspects};
use crate::head_only::choose;
use crate::kernels::Gemm;
use crate::regression::Vectors;

pub(super) fn train(
    context: &Context<'_>,
    encoder: &Encoder,
    mut findings: Findings,
    observe: &mut (dyn FnMut(Event) + Send),
) -> Result<Outcome, FinetuneError> {
    let options = context.options;
    let fit_options = FitOptions {
        name: options.name.clone(),
        out_of_scope_label: options.out_of_scope_label.clone(),
        scope_by: options.scope_by,
        promote: options.promote,
    };
    let gemm = Gemm::default();
    let observe = std::cell::RefCell::new(observe);
    let fitted = fit_with(
        context.registry,
        encoder,
        context.data.splits(),
        &fit_options,
        |data: &HeadData<'_>, progress| {
            let train = Vectors::new(data.train, data.train_labels);
            if options.find_suspects {
                findings.suspects = suspects_among(context, &gemm, &train);
            }
            (observe.borrow_mut())(Event::Findings(findings.clone()));
            let valid = Vectors::new(data.valid, data.valid_labels);
            let (head, l2) = choose(&gemm, &train, &valid, data.labels.len(), options.settings.seed, progress)?;
            Ok(ChosenHead { head, l2 })
        },
        |step| (observe.borrow_mut())(Event::Assembling(step)),
    )?;
    Ok(Outcome { fitted, findings, epochs: Vec::new(), chosen_epoch: 0 })
}

/// Training queries that are likely to have the wrong label, by the encoder's vectors.
pub(super) fn find_suspects(
    context: &Context<'_>,
    encoder: &Encoder,
    observe: &mut (dyn FnMut(Event) + Send),
) -> Result<Vec<Suspect>, FinetuneError> {
    let data = context.data;
    let in_scope = data.train.iter().filter_map(|example| Some((example, data.label(example)?)));
    let (texts, labels): (Vec<&str>, Vec<usize>) =
        in_scope.map(|(example, label)| (example.text.as_str(), label)).unzip();
    let total = texts.len();
    let vectors = encoder.embed_all(&texts, |done| observe(Event::Encoding { done, total }))?;
    Ok(suspects_among(context, &Gemm::default(), &Vectors::new(&vectors, &labels)))
}

/// `vectors` are those of the training queries in scope, in their order.
fn suspects_among(context: &Context<'_>, gemm: &Gemm, vectors: &Vectors) -> Vec<Suspect> {
    let data = context.data;
    let places: Vec<usize> = (0..data.train.len()).filter(|&place| data.label(&data.train[place]).is_some()).collect();
    suspects(gemm, &data.train, &places, vectors, &data.labels, context.options.settings.seed)
}
