//! `report.html`: what a bundle's manifest says, for people. One file that loads nothing. Pure.

mod chart;
mod html;
mod shown;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::{EpochSummary, OutOfScope, TrainingSummary};
use crate::bundle::{IntentSpec, ModelRef, PrecisionReport};
use chart::{Axis, Chart, Look};
use html::{Cell, escaped, percent, table};

pub(super) use shown::{JudgedOn, Shown};

const STYLE: &str = include_str!("page/style.css");

/// Rows of a table of mistakes, confusions or labels.
const MOST_ROWS: usize = 20;

/// Writes the page.
pub(super) fn page(model: &ModelRef, spec: &IntentSpec, shown: &Shown) -> String {
    let title = escaped(&model.to_string());
    let mut body = String::new();
    body.push_str(&head(&title, spec, shown));
    body.push_str(&charts(spec, shown));
    body.push_str(&scope_section(spec.out_of_scope.as_ref()));
    body.push_str(&added(spec));
    body.push_str(&confusions(spec));
    body.push_str(&labels(spec));
    body.push_str(&mistakes(shown));
    body.push_str(&spec.training.as_ref().map(training).unwrap_or_default());
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>\n{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
}

fn head(title: &str, spec: &IntentSpec, shown: &Shown) -> String {
    let report = &spec.report;
    let mut html = format!("<h1>{title}</h1>\n<p class=\"soft\">{} intents, ", spec.labels.len());
    let judged = match shown.judged_on {
        JudgedOn::Test => "test queries",
        JudgedOn::Validation => "validation queries: there were no test data",
        JudgedOn::EarlierVersion => "queries before the intents below were added",
    };
    let _ = write!(html, "judged on {} {judged}", report.examples);
    if let Some(base) = &spec.base {
        let _ = write!(html, "; fine-tuned from {}", escaped(&base.to_string()));
    }
    html.push_str(".</p>\n<div class=\"tiles\">");
    let mut tiles = vec![
        ("accuracy", percent(report.accuracy)),
        ("macro F1", percent(report.macro_f1)),
        ("calibration error", format!("{:.3}", report.ece)),
    ];
    tiles.extend(report.oos_recall.map(|recall| ("out of scope found", percent(recall))));
    tiles.extend(report.false_reject.map(|rejected| ("wrongly rejected", percent(rejected))));
    tiles.extend(spec.precision.as_ref().map(|report| ("int8 costs, points", int8_loss(report))));
    for (name, value) in tiles {
        let _ = write!(html, "<div><b>{value}</b><span class=\"soft\">{name}</span></div>");
    }
    html.push_str("</div>\n");
    html
}

fn int8_loss(report: &PrecisionReport) -> String {
    format!("{:.2}", report.loss_points())
}

fn charts(spec: &IntentSpec, shown: &Shown) -> String {
    let mut html = String::from("<div class=\"charts\">");
    html.push_str(&reliability(spec));
    if !shown.scope_curve.is_empty() {
        html.push_str(&scope_curve(spec, shown));
    }
    if let Some(training) = spec.training.as_ref().filter(|training| training.epochs.len() > 1) {
        html.push_str(&loss_curve(&training.epochs));
        html.push_str(&accuracy_curve(&training.epochs));
    }
    html.push_str("</div>\n");
    html
}

fn share(name: &str) -> Axis<'_> {
    Axis { name, from: 0.0, to: 1.0, percent: true }
}

fn reliability(spec: &IntentSpec) -> String {
    let mut chart = Chart::new(share("confidence"), share("accuracy"));
    let most = spec.reliability.iter().map(|bin| bin.decisions).max().unwrap_or(1).max(1) as f32;
    for bin in spec.reliability.iter().filter(|bin| bin.decisions > 0) {
        // Pale bars rest on few decisions.
        let weight = (bin.decisions as f32 / most).sqrt();
        chart.bar(bin.from, bin.to, bin.accuracy, 0.25 + 0.75 * weight);
    }
    chart.line(&[(0.0, 0.0), (1.0, 1.0)], Look::Ideal);
    chart.finish(&format!(
        "Reliability: how often decisions of each confidence are right (temperature {:.3}). Paler bars hold fewer \
         decisions; on the dashed line, confidence is what it says.",
        spec.temperature
    ))
}

fn scope_curve(spec: &IntentSpec, shown: &Shown) -> String {
    let widest = shown.scope_curve.last().map_or(0.1, |(rate, _)| *rate);
    let x = Axis { name: "in scope, wrongly rejected", from: 0.0, to: widest, percent: true };
    let mut chart = Chart::new(x, share("out of scope, found"));
    chart.line(&shown.scope_curve, Look::First);
    if let (Some(rejected), Some(found)) = (spec.report.false_reject, spec.report.oos_recall) {
        chart.dot(rejected, found);
    }
    let score = spec.out_of_scope.as_ref().map_or("score", |scope| scope.score.name());
    chart.finish(&format!("Out of scope by {score}, at every threshold; the dot is the one that serves."))
}

fn loss_curve(epochs: &[EpochSummary]) -> String {
    let of = |pick: fn(&EpochSummary) -> f32| -> Vec<(f32, f32)> {
        epochs.iter().map(|epoch| (epoch.epoch as f32, pick(epoch))).collect()
    };
    let (train, valid) = (of(|epoch| epoch.train_loss), of(|epoch| epoch.valid_loss));
    let finite = |points: &[(f32, f32)]| points.iter().map(|(_, y)| *y).filter(|y| y.is_finite()).fold(0.0, f32::max);
    let y = Axis { name: "loss", from: 0.0, to: finite(&train).max(finite(&valid)), percent: false };
    let mut chart = Chart::new(epoch_axis(epochs), y);
    chart.line(&train, Look::First);
    chart.line(&valid, Look::Second);
    chart.finish("Loss after each epoch: blue on the training data, orange on the validation data.")
}

fn accuracy_curve(epochs: &[EpochSummary]) -> String {
    let points: Vec<(f32, f32)> = epochs.iter().map(|epoch| (epoch.epoch as f32, epoch.valid_accuracy)).collect();
    let lowest = points.iter().map(|(_, y)| *y).filter(|y| y.is_finite()).fold(1.0, f32::min);
    let y = Axis { name: "accuracy", from: (lowest * 10.0).floor() / 10.0, to: 1.0, percent: true };
    let mut chart = Chart::new(epoch_axis(epochs), y);
    chart.line(&points, Look::Second);
    chart.finish("Accuracy on the validation data after each epoch.")
}

fn epoch_axis(epochs: &[EpochSummary]) -> Axis<'static> {
    let ends = |epoch: Option<&EpochSummary>| epoch.map_or(0.0, |epoch| epoch.epoch as f32);
    Axis { name: "epoch", from: ends(epochs.first()), to: ends(epochs.last()), percent: false }
}

fn scope_section(scope: Option<&OutOfScope>) -> String {
    let Some(scope) = scope else { return String::new() };
    let mut html = format!(
        "<h2>Out of scope</h2>\n<p>A query is taken to be out of scope when its {} exceeds {:.4}: the threshold at \
         which at most {} of the validation queries in scope are rejected.</p>\n",
        scope.score.name(),
        scope.threshold,
        percent(scope.target_false_reject),
    );
    if scope.evidence == 0 {
        html.push_str("<p>There were no examples of such queries, so that energy was taken unseen.</p>\n");
        return html;
    }
    let _ = writeln!(html, "<p>Chosen on {} examples of the training and validation data:</p>", scope.evidence);
    let rows = scope.compared.iter().map(|report| {
        let shares = [report.recall, report.false_reject].map(|share| Cell::Number(percent(share)));
        let [recall, rejected] = shares;
        [Cell::Text(report.score.name().to_owned()), recall, rejected, Cell::Number(format!("{:.3}", report.auroc))]
    });
    html.push_str(&table([("score", false), ("found", true), ("wrongly rejected", true), ("AUROC", true)], rows));
    html
}

fn added(spec: &IntentSpec) -> String {
    if spec.few_shot.is_empty() {
        return String::new();
    }
    let rows = spec.few_shot.iter().map(|(label, few)| {
        let [recall, taken] = [few.left_out_recall, few.taken_over].map(|share| Cell::Number(percent(share)));
        [Cell::Text(label.clone()), Cell::Number(few.examples.to_string()), recall, taken]
    });
    let headings = [("intent", false), ("examples", true), ("found when left out", true), ("taken from others", true)];
    format!("<h2>Intents added from a few examples</h2>\n{}", table(headings, rows))
}

fn confusions(spec: &IntentSpec) -> String {
    let confusions = &spec.report.confusions;
    if confusions.is_empty() {
        return "<h2>Confusions</h2>\n<p>None.</p>\n".to_owned();
    }
    let rows = confusions.iter().take(MOST_ROWS).map(|confusion| {
        let [label, decided] = [&confusion.label, &confusion.decided].map(|text| Cell::Text(text.clone()));
        [label, decided, Cell::Number(confusion.count.to_string())]
    });
    let table = table([("intent", false), ("taken for", false), ("queries", true)], rows);
    format!("<h2>Confusions</h2>\n<p class=\"soft\">{} pairs, most frequent first.</p>\n{table}", confusions.len())
}

fn labels(spec: &IntentSpec) -> String {
    let mut weakest: Vec<_> = spec.report.labels.iter().collect();
    weakest.sort_by(|a, b| a.f1.total_cmp(&b.f1));
    let rows = weakest.into_iter().take(MOST_ROWS).map(|label| {
        let shares = [label.precision, label.recall, label.f1].map(|share| Cell::Number(percent(share)));
        let [precision, recall, f1] = shares;
        let threshold = spec.thresholds.get(&label.label).copied().unwrap_or(0.0);
        let name = match spec.few_shot.get(&label.label) {
            Some(few) => format!("{} (added from {} examples)", label.label, few.examples),
            None => label.label.clone(),
        };
        let examples = Cell::Number(label.examples.to_string());
        [Cell::Text(name), examples, precision, recall, f1, Cell::Number(format!("{threshold:.2}"))]
    });
    let headings = [
        ("intent", false),
        ("queries", true),
        ("precision", true),
        ("recall", true),
        ("F1", true),
        ("threshold", true),
    ];
    format!("<h2>Weakest intents</h2>\n{}", table(headings, rows))
}

fn mistakes(shown: &Shown) -> String {
    let lists = [
        ("Most confident mistakes", &shown.wrong),
        ("In scope, and rejected", &shown.rejected),
        ("Out of scope, and not noticed", &shown.missed),
    ];
    let mut html = String::new();
    for (title, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        let rows = list.iter().take(MOST_ROWS).map(|mistake| {
            let [text, label, decided] =
                [&mistake.text, &mistake.label, &mistake.decided].map(|text| Cell::Text(text.clone()));
            [text, label, decided, Cell::Number(percent(mistake.confidence))]
        });
        let headings = [("query", false), ("label", false), ("decided", false), ("confidence", true)];
        let _ = write!(html, "<h2>{title}</h2>\n{}", table(headings, rows));
    }
    html
}

fn training(training: &TrainingSummary) -> String {
    let data = training.data.iter().map(|(name, count)| (name, count.to_string()));
    let settings = training.settings.iter().map(|(name, value)| (name, value.to_string()));
    let rows = |entries: Vec<(&String, String)>| {
        let rows = entries.into_iter().map(|(name, value)| [Cell::Text(name.replace('_', " ")), Cell::Number(value)]);
        table([("", false), ("", true)], rows)
    };
    format!(
        "<h2>Training</h2>\n<p>{:.0} seconds; the weights of epoch {} were kept.</p>\n<div class=\"charts\"><div>\
         <h2>Data</h2>{}</div><div><h2>Settings</h2>{}</div></div>\n",
        training.seconds,
        training.chosen_epoch,
        rows(data.collect()),
        rows(settings.collect()),
    )
}
