//! Judges a bundle on labelled queries.

use std::collections::BTreeMap;

use serde::Serialize;

use super::calibrate::ReliabilityBin;
use super::data::Sorted;
use super::evaluate::{Report, reliability_of, report};
use super::{Decision, Example, IntentError, IntentModel};
use crate::bundle::{ModelRef, Precision, PrecisionChoice, Registry};
use crate::encoder::Encoder;

/// Quality of a bundle on labelled queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The figures.
    pub report: Report,
    /// Confidence beside accuracy.
    pub reliability: Vec<ReliabilityBin>,
    /// The figures of the queries outside the scope, by their kind.
    pub out_of_scope: BTreeMap<String, KindReport>,
    /// The precision that the encoder ran in.
    pub precision: Precision,
}

/// How many queries outside the scope of one kind were found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KindReport {
    /// Queries of that kind.
    pub examples: usize,
    /// Share of them that were decided to be outside the scope, 0 to 1.
    pub oos_recall: f32,
}

/// Judges a bundle in the precision that it recommends; see [`judge_bundle`].
pub fn evaluate_bundle(
    registry: &Registry,
    model: &ModelRef,
    examples: &[Example],
    threads: usize,
) -> Result<Report, IntentError> {
    let sorted: Vec<Sorted> = examples.iter().map(|example| Sorted { example: example.clone(), kind: None }).collect();
    Ok(judge_bundle(registry, model, &sorted, PrecisionChoice::Auto, threads)?.report)
}

/// Judges a bundle on labelled queries; labels that it does not know count as mistakes.
///
/// # Errors
/// When the bundle or its encoder cannot be loaded or run.
pub fn judge_bundle(
    registry: &Registry,
    model: &ModelRef,
    queries: &[Sorted],
    precision: PrecisionChoice,
    threads: usize,
) -> Result<Judgement, IntentError> {
    let intent = IntentModel::load(&registry.open(model)?)?;
    let encoder = Encoder::load_with(&registry.open(intent.encoder())?, precision, threads)?;
    let texts: Vec<&str> = queries.iter().map(|query| query.example.text.as_str()).collect();
    let vectors = encoder.embed_all(&texts, |_| ())?;
    let decisions: Vec<Decision> = vectors.iter().map(|vector| intent.decide(vector)).collect();
    let truths: Vec<&str> = queries.iter().map(|query| query.example.label.as_str()).collect();
    let outside = intent.out_of_scope_label();
    Ok(Judgement {
        report: report(&truths, &decisions, intent.labels(), outside),
        reliability: reliability_of(&truths, &decisions, intent.labels(), outside),
        out_of_scope: by_kind(queries, &decisions, outside),
        precision: encoder.precision(),
    })
}

fn by_kind(queries: &[Sorted], decisions: &[Decision], outside: Option<&str>) -> BTreeMap<String, KindReport> {
    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (query, decision) in queries.iter().zip(decisions) {
        if let Some(kind) = &query.kind
            && Some(query.example.label.as_str()) == outside
        {
            let counts = found.entry(kind.clone()).or_default();
            counts.0 += 1;
            counts.1 += usize::from(decision.out_of_scope);
        }
    }
    let report =
        |(examples, found): (usize, usize)| KindReport { examples, oos_recall: found as f32 / examples.max(1) as f32 };
    found.into_iter().map(|(kind, counts)| (kind, report(counts))).collect()
}
