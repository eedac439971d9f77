//! Judging answers to questions whose right answers are known. Pure.

use serde::Serialize;
use trivium_proto::{
    model::v1::{CitationSupport, FinishReason},
    router::v1::QueryResponse,
};
use trivium_ranking::metrics::mean;

use super::{
    questions::Question,
    roads::{MeasuredRoad, Taken},
};
use crate::bench::latency::Latencies;

/// Passages among which the right one is looked for.
const RECALL_AT: usize = 5;

/// Shares of the answerable questions at which the sweep stops.
const SWEPT: [f64; 5] = [0.02, 0.05, 0.1, 0.15, 0.2];

/// What became of one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    answerable: bool,
    /// Whether the right document is among the first passages; `None` when it is not known, or the road has none.
    found: Option<bool>,
    contained: bool,
    declined: bool,
    citations: usize,
    holding: usize,
    /// The built-in generator's confidence in its best sentence, where that is what answered.
    confidence: Option<f64>,
    elapsed_ms: f64,
}

/// What a road is worth on all questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Share of the answerable questions whose right document is among the first five passages.
    #[serde(rename = "recall@5")]
    pub recall_5: Option<f64>,
    /// Share of the answerable questions whose answer contains a right one.
    pub contains_answer: Option<f64>,
    /// Share of the answerable questions that were declined.
    pub declined_answerable: Option<f64>,
    /// Share of the unanswerable ones that were.
    pub declined_unanswerable: Option<f64>,
    /// Citations in all answers.
    pub citations: usize,
    /// Share of them that the passage bears out, and whose quote it holds.
    pub citations_hold: Option<f64>,
    /// Median time to the whole answer.
    pub p50_ms: f64,
    /// Its 95th percentile.
    pub p95_ms: f64,
    /// What other thresholds of the built-in generator would do. Empty for other generators.
    pub sweep: Vec<Threshold>,
}

/// A threshold of the built-in generator, and what it would do. Below the one that serves, the answers are not known, and
/// none is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Threshold {
    /// `model_host.extractive.least_confidence`.
    pub least_confidence: f64,
    /// Share of the answerable questions that it declines.
    pub declined_answerable: f64,
    /// Share of the unanswerable ones that it declines.
    pub declined_unanswerable: Option<f64>,
    /// Share of the answerable questions whose answer contains a right one.
    pub contains_answer: f64,
}

impl Judged {
    /// Judges one answer.
    pub fn of(question: &Question, road: MeasuredRoad, taken: &Taken, confidence: Option<f64>) -> Self {
        let response = &taken.response;
        let finish = response.account.as_ref().map(|account| account.finish_reason());
        let declined = finish == Some(FinishReason::NotInPassages);
        let (citations, holding) = citations(response);
        Self {
            answerable: question.is_answerable(),
            found: question.judgements.as_ref().filter(|_| road != MeasuredRoad::Direct).map(|judgements| {
                let passages = response.passages.iter().take(RECALL_AT).filter_map(|passage| passage.hit.as_ref());
                let ids: Vec<&String> = passages.map(|hit| &hit.document_id).collect();
                judgements.relevant().any(|right| ids.contains(&right))
            }),
            contained: !declined && question.answers.iter().any(|answer| contains(&response.answer, answer)),
            declined,
            citations,
            holding,
            confidence,
            elapsed_ms: taken.elapsed_ms,
        }
    }
}

impl Figures {
    /// Puts all questions of a road together.
    pub fn of(judged: &[Judged]) -> Self {
        let answerable: Vec<&Judged> = judged.iter().filter(|one| one.answerable).collect();
        let unanswerable: Vec<&Judged> = judged.iter().filter(|one| !one.answerable).collect();
        let mut latencies = Latencies::default();
        judged.iter().for_each(|one| latencies.push(std::time::Duration::from_secs_f64(one.elapsed_ms / 1_000.0)));
        let citations = judged.iter().map(|one| one.citations).sum();
        let holding: usize = judged.iter().map(|one| one.holding).sum();
        Self {
            recall_5: share(answerable.iter().filter_map(|one| one.found)),
            contains_answer: share(answerable.iter().map(|one| one.contained)),
            declined_answerable: share(answerable.iter().map(|one| one.declined)),
            declined_unanswerable: share(unanswerable.iter().map(|one| one.declined)),
            citations,
            citations_hold: (citations > 0).then(|| holding as f64 / citations as f64),
            p50_ms: latencies.percentile_ms(0.5),
            p95_ms: latencies.percentile_ms(0.95),
            sweep: sweep(&answerable, &unanswerable),
        }
    }
}

/// For each share of [`SWEPT`] the highest threshold that declines no more of the answerable questions.
fn sweep(answerable: &[&Judged], unanswerable: &[&Judged]) -> Vec<Threshold> {
    let Some(mut confidences) = answerable.iter().map(|one| one.confidence).collect::<Option<Vec<f64>>>() else {
        return Vec::new();
    };
    confidences.sort_by(f64::total_cmp);
    let served = share(answerable.iter().map(|one| one.declined)).unwrap_or_default();
    let thresholds = SWEPT.into_iter().filter(|wanted| *wanted >= served).filter_map(|wanted| {
        let least_confidence = *confidences.get((wanted * confidences.len() as f64).floor() as usize)?;
        let declines = |one: &&Judged| one.confidence.is_none_or(|confidence| confidence < least_confidence);
        Some(Threshold {
            least_confidence,
            declined_answerable: share(answerable.iter().map(declines))?,
            declined_unanswerable: share(unanswerable.iter().map(declines)),
            contains_answer: share(answerable.iter().map(|one| one.contained && !declines(one)))?,
        })
    });
    thresholds.collect()
}

fn share(values: impl Iterator<Item = bool>) -> Option<f64> {
    mean(&values.map(|value| if value { 1.0 } else { 0.0 }).collect::<Vec<_>>())
}

/// How many citations an answer has, and how many of them hold: the service says so, and the quote is in the passage.
fn citations(response: &QueryResponse) -> (usize, usize) {
    let holds = response.citations.iter().filter(|citation| {
        let passage = response.passages.iter().find(|passage| passage.number == citation.passage_number);
        let text = passage.and_then(|passage| passage.hit.as_ref()).map(|hit| hit.text.as_str());
        citation.support() == CitationSupport::Holds && text.is_some_and(|text| text.contains(&citation.quote))
    });
    (response.citations.len(), holds.count())
}

/// Whether an answer contains a right one, as the scorer of SQuAD compares them: in lower case, without punctuation and
/// articles. Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016.
pub fn contains(answer: &str, right: &str) -> bool {
    let (answer, right) = (plain(answer), plain(right));
    // The spaces at both ends keep "1" from being found in "1931".
    !right.trim().is_empty() && answer.contains(&right)
}

/// Words in lower case with a space before and after each.
fn plain(text: &str) -> String {
    let lower = text.to_lowercase();
    let kept: String =
        lower.chars().filter(|character| character.is_alphanumeric() || character.is_whitespace()).collect();
    let words = kept.split_whitespace().filter(|word| !["a", "an", "the"].contains(word));
    words.fold(" ".to_owned(), |text, word| text + word + " ")
}

#[cfg(test)]
mod tests {
    use trivium_proto::{
        model::v1::Citation,
        retriever::v1::Hit,
        router::v1::{Account, Passage},
    };
    use trivium_ranking::metrics::Judgements;

    use super::*;

    fn question(answers: &[&str]) -> Question {
        Question {
            text: "q".into(),
            answers: answers.iter().map(|&answer| answer.to_owned()).collect(),
            judgements: Judgements::new([("d".to_owned(), 1)]).ok(),
        }
    }

    fn judged(answers: &[&str], taken: &Taken, confidence: Option<f64>) -> Judged {
        Judged::of(&question(answers), MeasuredRoad::Hybrid, taken, confidence)
    }

    fn taken(documents: &[&str], answer: &str, finish: FinishReason) -> Taken {
        let passage = |(document, number): (&&str, u32)| {
            let hit =
                Hit { document_id: (*document).to_owned(), text: "It is 90 metres high.".into(), ..Hit::default() };
            Passage { number, hit: Some(hit), ..Passage::default() }
        };
        let account = Account { finish_reason: finish.into(), ..Account::default() };
        let response = QueryResponse {
            answer: answer.to_owned(),
            passages: documents.iter().zip(1..).map(passage).collect(),
            account: Some(account),
            ..QueryResponse::default()
        };
        Taken { response, elapsed_ms: 4.0 }
    }

    #[test]
    fn answers_are_compared_by_words() {
        let table = [
            ("It is the 90 metres-high dam [1].", "90 metreshigh", true),
            ("It was built in 1931.", "1", false),
            ("Denver Broncos won", "The Denver Broncos", true),
            ("anything", "the", false),
            ("U.S. law", "us law", true),
        ];
        for (answer, right, expected) in table {
            assert_eq!(contains(answer, right), expected, "{answer} {right}");
        }
    }

    #[test]
    fn figures_are_shares_of_their_questions() {
        let judged = [
            judged(&["90"], &taken(&["x", "d"], "It is 90 metres high.", FinishReason::Stop), Some(0.9)),
            judged(&["91"], &taken(&["x"], "It is 90 metres high.", FinishReason::Stop), Some(0.5)),
            judged(&["90"], &taken(&["d"], "90: no answer", FinishReason::NotInPassages), Some(0.1)),
            judged(&[], &taken(&["x"], "", FinishReason::NotInPassages), Some(0.05)),
            judged(&[], &taken(&["x"], "It is 90.", FinishReason::Stop), Some(0.6)),
        ];
        let figures = Figures::of(&judged);
        assert_eq!(judged[0].found, Some(true));
        assert_eq!(figures.recall_5, Some(2.0 / 3.0));
        assert_eq!(figures.contains_answer, Some(1.0 / 3.0));
        assert_eq!((figures.declined_answerable, figures.declined_unanswerable), (Some(1.0 / 3.0), Some(0.5)));
        assert_eq!((figures.citations, figures.citations_hold), (0, None));
        // A third is declined already: no threshold of the sweep declines as few.
        assert!(figures.sweep.is_empty());
    }

    #[test]
    fn a_search_that_finds_nothing_has_missed_the_document() {
        let nothing = taken(&[], "", FinishReason::Unspecified);
        let found = |road| Judged::of(&question(&["90"]), road, &nothing, None).found;
        assert_eq!((found(MeasuredRoad::Lexical), found(MeasuredRoad::Direct)), (Some(false), None));
    }

    #[test]
    fn a_citation_holds_when_its_quote_is_in_its_passage() {
        let mut taken = taken(&["d"], "It is 90 metres high. [1]", FinishReason::Stop);
        let cite = |quote: &str, passage_number, support: CitationSupport| Citation {
            quote: quote.to_owned(),
            passage_number,
            support: support.into(),
            ..Citation::default()
        };
        taken.response.citations = vec![
            cite("It is 90 metres high.", 1, CitationSupport::Holds),
            cite("It is 91 metres high.", 1, CitationSupport::Holds),
            cite("It is 90 metres high.", 2, CitationSupport::Holds),
            cite("It is 90 metres high.", 1, CitationSupport::Doubtful),
        ];
        let figures = Figures::of(&[judged(&["90"], &taken, None)]);
        assert_eq!((figures.citations, figures.citations_hold), (4, Some(0.25)));
    }

    #[test]
    fn the_sweep_declines_no_more_of_the_answerable_than_it_may() {
        let one = |answers: &[&str], confidence: f64| {
            judged(answers, &taken(&["d"], "It is 90.", FinishReason::Stop), Some(confidence))
        };
        let mut judged: Vec<Judged> = (0..100).map(|n| one(&["90"], f64::from(n) / 100.0)).collect();
        judged.extend((0..10).map(|n| one(&[], f64::from(n) / 40.0)));
        let sweep = Figures::of(&judged).sweep;
        let at: Vec<(f64, f64)> = sweep.iter().map(|it| (it.least_confidence, it.declined_answerable)).collect();
        assert_eq!(at, [(0.02, 0.02), (0.05, 0.05), (0.1, 0.1), (0.15, 0.15), (0.2, 0.2)]);
        let last = sweep.last().expect("five");
        assert_eq!((last.declined_unanswerable, last.contains_answer), (Some(0.8), 0.8));
    }
}
