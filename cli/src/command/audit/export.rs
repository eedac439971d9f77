//! `trivium audit export`: the way from use to better models.
//!
//! Queries with feedback become labelled queries for `trivium intents finetune`,
//! or judgements of documents for `trivium collections calibrate`.

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context;
use futures::StreamExt;
use prost_types::Timestamp;
use serde_json::{Value, json};
use trivium_proto::router::v1::{
    AuditRecord, DecisionReason, ExportAuditRequest, Feedback, export_audit_response::Item,
};

use crate::{args::RouterEndpoint, view::RecordView};

/// Arguments of `trivium audit export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to write, as JSON lines
    #[arg(long, value_enum, default_value_t = Format::Labels)]
    format: Format,
    /// Label queries without feedback as well, by the intent that was believed with at least this confidence
    #[arg(long, value_name = "CONFIDENCE")]
    confident: Option<f64>,
    /// Records of this moment or later, for instance 2026-05-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// File to write [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    endpoint: RouterEndpoint,
}

/// What an export consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// {"text","label"}: queries with their right intents, for `trivium intents finetune`
    Labels,
    /// {"query","documents"}: queries with their right documents, for `trivium collections calibrate`
    Judgements,
    /// Whole records, as `trivium audit show --json` prints them
    Records,
}

/// Writes the lines, and says on stderr what they are and what is missing.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let audit = super::connect(&args.endpoint)?;
    let with_feedback = args.format != Format::Records && args.confident.is_none();
    let mut items = audit.export(ExportAuditRequest { since: args.since, with_feedback }).await?;
    let mut sink = sink(args.out.as_deref())?;
    let mut counts = Counts::default();
    while let Some(item) = items.next().await {
        match item? {
            Item::Record(record) => {
                if let Some(line) = counts.line(args.format, args.confident, record)? {
                    writeln!(sink, "{line}")?;
                }
            }
            Item::Gap(gap) => counts.lost += gap.lost_records,
        }
    }
    sink.flush()?;
    eprintln!("{}", counts.words());
    Ok(())
}

fn sink(out: Option<&std::path::Path>) -> anyhow::Result<Box<dyn Write>> {
    match out {
        None => Ok(Box::new(std::io::stdout().lock())),
        Some(path) => {
            let file = fs_err::File::create(path).context("the export cannot be written")?;
            Ok(Box::new(BufWriter::new(file)))
        }
    }
}

/// What an export has come upon.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    written: usize,
    /// Records that would give a line if they held their query.
    without_text: usize,
    lost: u64,
}

impl Counts {
    fn line(&mut self, format: Format, confident: Option<f64>, record: AuditRecord) -> anyhow::Result<Option<String>> {
        let value = match format {
            Format::Records => Some(serde_json::to_value(RecordView::from(record))?),
            Format::Labels => label(&record, confident)
                .and_then(|label| self.with_text(&record, |text| json!({"text": text, "label": label}))),
            Format::Judgements => {
                let documents = documents(&record);
                (!documents.is_empty())
                    .then(|| self.with_text(&record, |text| json!({"query": text, "documents": documents})))
                    .flatten()
            }
        };
        self.written += usize::from(value.is_some());
        Ok(value.map(|value| value.to_string()))
    }

    fn with_text(&mut self, record: &AuditRecord, value: impl FnOnce(&str) -> Value) -> Option<Value> {
        if record.query.is_empty() {
            self.without_text += 1;
            return None;
        }
        Some(value(&record.query))
    }

    fn words(&self) -> String {
        let mut words = format!("{} lines", self.written);
        if self.without_text > 0 {
            let count = self.without_text;
            words.push_str(&format!(
                "; {count} records do not hold their query: telemetry.capture_content was off when they were made"
            ));
        }
        if self.lost > 0 {
            words.push_str(&format!("; {} records are missing from the log", self.lost));
        }
        words
    }
}

/// The right intent of a query: what feedback says, the last word counting; the one that was decided by, where the
/// answer was said to help; or, where nobody said anything, the one that was believed with enough confidence.
fn label(record: &AuditRecord, confident: Option<f64>) -> Option<String> {
    let said = record.feedback.iter().rev().find(|feedback| !feedback.right_intent.is_empty());
    if let Some(feedback) = said {
        return Some(feedback.right_intent.clone());
    }
    let decision = record.decision.as_ref()?;
    let was_believed = decision.reason() == DecisionReason::Intent;
    let was_enough = confident.is_some_and(|least| decision.confidence >= least);
    let believed = match helped(&record.feedback) {
        Some(helped) => helped,
        None => was_enough,
    };
    (was_believed && believed).then(|| decision.intent.clone())
}

/// Whether the answer helped, by the last who said so or otherwise. A wrong road did not.
fn helped(feedback: &[Feedback]) -> Option<bool> {
    let of = |feedback: &Feedback| match feedback.right_road {
        0 => feedback.helpful,
        _ => Some(false),
    };
    feedback.iter().rev().find_map(of)
}

/// The right documents of a query, each once.
fn documents(record: &AuditRecord) -> Vec<&str> {
    let mut documents: Vec<&str> = Vec::new();
    for document in record.feedback.iter().flat_map(|feedback| &feedback.right_documents) {
        if !documents.contains(&document.document_id.as_str()) {
            documents.push(&document.document_id);
        }
    }
    documents
}

#[cfg(test)]
mod tests {
    use trivium_proto::router::v1::{Decision, DocumentRef, Road};

    use super::*;

    fn record(feedback: Vec<Feedback>) -> AuditRecord {
        let decision = Decision {
            intent: "lookup".into(),
            confidence: 0.9,
            reason: DecisionReason::Intent.into(),
            ..Decision::default()
        };
        AuditRecord { query: "what is E404?".into(), decision: Some(decision), feedback, ..AuditRecord::default() }
    }

    #[test]
    fn labels_come_from_what_people_said() {
        let none = Feedback::default;
        let right = |intent: &str| Feedback { right_intent: intent.into(), ..none() };
        let helpful = |helpful: bool| Feedback { helpful: Some(helpful), ..none() };
        let elsewhere = Feedback { right_road: Road::Semantic.into(), ..none() };
        for (feedback, confident, expected) in [
            (vec![], None, None),
            (vec![], Some(0.8), Some("lookup")),
            (vec![], Some(0.95), None),
            (vec![right("factual")], None, Some("factual")),
            (vec![right("factual"), helpful(true)], None, Some("factual")),
            (vec![right("factual"), right("how_to")], None, Some("how_to")),
            (vec![helpful(true)], None, Some("lookup")),
            (vec![helpful(false)], Some(0.0), None),
            (vec![helpful(false), helpful(true)], None, Some("lookup")),
            (vec![elsewhere], Some(0.0), None),
        ] {
            let record = record(feedback);
            assert_eq!(label(&record, confident).as_deref(), expected, "{:?} {confident:?}", record.feedback);
        }
        let mut unsure = record(vec![helpful(true)]);
        unsure.decision = Some(Decision { reason: DecisionReason::LowConfidence.into(), ..Decision::default() });
        assert_eq!(label(&unsure, Some(0.0)), None);
    }

    #[test]
    fn records_without_their_query_are_counted() {
        let document = DocumentRef { collection: "docs".into(), document_id: "a.md".into() };
        let said = Feedback { right_documents: vec![document.clone(), document], ..Feedback::default() };
        let mut counts = Counts::default();
        let line = counts.line(Format::Judgements, None, record(vec![said.clone()])).expect("JSON");
        assert_eq!(line.as_deref(), Some(r#"{"documents":["a.md"],"query":"what is E404?"}"#));
        let silent = AuditRecord { query: String::new(), ..record(vec![said]) };
        assert_eq!(counts.line(Format::Judgements, None, silent).expect("JSON"), None);
        assert_eq!(counts.line(Format::Judgements, None, record(vec![])).expect("JSON"), None);
        assert_eq!(counts, Counts { written: 1, without_text: 1, lost: 0 });
        assert!(counts.words().contains("capture_content"));
    }
}
