//! The page as a whole.

use std::collections::BTreeMap;

use super::shown::Mistake;
use super::*;
use crate::bundle::{IntentEncoder, ModelRef};
use crate::intent::{Confusion, LabelReport, ReliabilityBin, Report, ScoreKind, ScoreReport, Setting};

const HOSTILE: &str = "<script src=\"http://evil.example\">alert('&')</script>";

fn spec() -> IntentSpec {
    let label = |label: &str| LabelReport { label: label.into(), examples: 3, precision: 1.0, recall: 0.5, f1: 0.6 };
    let score = ScoreReport { score: ScoreKind::Energy, recall: 0.8, false_reject: 0.02, auroc: 0.97 };
    let epoch = |epoch| EpochSummary {
        epoch,
        train_loss: f32::NAN,
        valid_loss: 1.0 / epoch as f32,
        valid_accuracy: 0.9,
        seconds: 1.0,
    };
    IntentSpec {
        encoder: IntentEncoder::Base(ModelRef::new("tiny", "1").unwrap()),
        labels: vec![HOSTILE.into(), "b".into()],
        temperature: 1.1,
        thresholds: BTreeMap::new(),
        out_of_scope_label: None,
        report: Report {
            examples: 6,
            accuracy: 0.5,
            macro_f1: 0.6,
            ece: 0.01,
            oos_recall: Some(0.8),
            false_reject: Some(0.02),
            labels: vec![label(HOSTILE), label("b")],
            confusions: vec![Confusion { label: HOSTILE.into(), decided: "b".into(), count: 2 }],
        },
        out_of_scope: Some(OutOfScope {
            label: "oos".into(),
            score: ScoreKind::Energy,
            threshold: -3.5,
            target_false_reject: 0.02,
            evidence: 9,
            compared: vec![score],
        }),
        base: Some(ModelRef::new("tiny", "1").unwrap()),
        precision: Some(PrecisionReport { examples: 6, fp32_accuracy: 0.9, int8_accuracy: 0.9, agreement: 1.0 }),
        training: Some(TrainingSummary {
            seconds: 2.0,
            chosen_epoch: 2,
            settings: [(HOSTILE.to_owned(), Setting::Text(HOSTILE.into()))].into(),
            data: [("train".to_owned(), 6)].into(),
            epochs: vec![epoch(1), epoch(2)],
        }),
        reliability: vec![ReliabilityBin { from: 0.0, to: 1.0, decisions: 6, confidence: 0.5, accuracy: 0.5 }],
        few_shot: BTreeMap::new(),
    }
}

fn shown() -> Shown {
    let mistake = || Mistake { text: HOSTILE.into(), label: HOSTILE.into(), decided: "b".into(), confidence: 0.9 };
    Shown {
        judged_on: JudgedOn::Test,
        wrong: vec![mistake()],
        rejected: vec![mistake()],
        missed: vec![mistake()],
        scope_curve: vec![(0.0, 0.5), (0.1, 0.9)],
    }
}

#[test]
fn a_report_loads_nothing_and_runs_nothing() {
    let page = page(&ModelRef::new("intents", "1").unwrap(), &spec(), &shown());
    for forbidden in ["<script", "<link", "<img", "<iframe", "src=\"", "href=", "url(", "@import", "NaN"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("&lt;script src=&quot;http://evil.example&quot;&gt;"));
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn every_element_is_closed() {
    let page = page(&ModelRef::new("intents", "1").unwrap(), &spec(), &shown());
    for tag in ["html", "head", "body", "div", "table", "tr", "td", "th", "svg", "figure", "figcaption", "p", "h2"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        assert!(opened > 0, "{tag}");
    }
    assert_eq!(page.matches("<figure>").count(), 4);
}

#[test]
fn what_is_not_known_is_not_shown() {
    let bare = IntentSpec { out_of_scope: None, training: None, precision: None, base: None, ..spec() };
    let nothing = Shown {
        judged_on: JudgedOn::Validation,
        wrong: Vec::new(),
        rejected: Vec::new(),
        missed: Vec::new(),
        scope_curve: Vec::new(),
    };
    let page = page(&ModelRef::new("intents", "1").unwrap(), &bare, &nothing);
    for absent in ["<h2>Training", "<h2>Out of scope", "int8 costs", "Most confident mistakes"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("there were no test data"));
}
