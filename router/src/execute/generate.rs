//! The hop that writes the answer.

use futures::StreamExt;
use tokio::time::Instant;
use trivium_proto::{
    model::v1::{FinishReason, GenerateRequest, GenerationPassage, GenerationSummary, generate_response},
    router::v1::Passage,
};
use trivium_service_kit::{Error, Reason};

use super::{Event, HopKind, Run, budget, ms_since};
use crate::policy::Retrieval;

/// Who writes an answer; what is `None` is left to the model host.
pub(super) struct Writer {
    pub(super) generator: Option<String>,
    pub(super) prompt: Option<String>,
}

impl Writer {
    /// The writer that a road with retrieval names.
    pub(super) fn of(retrieval: Retrieval) -> Self {
        Self { generator: retrieval.generator, prompt: retrieval.prompt }
    }
}

impl Run {
    /// Asks for an answer from `passages`, or without any, and hands it on as it comes.
    pub(super) async fn generate(&mut self, passages: &[Passage], writer: Writer) -> Result<(), Error> {
        let request = GenerateRequest {
            query: self.query.question.text.clone(),
            passages: passages.iter().map(to_generation).collect(),
            generator: writer.generator.unwrap_or_default(),
            prompt: writer.prompt.unwrap_or_default(),
            ..GenerateRequest::default()
        };
        let started = Instant::now();
        let outcome = self.forward(request).await;
        self.account.took("generate", ms_since(started));
        outcome
    }

    async fn forward(&mut self, request: GenerateRequest) -> Result<(), Error> {
        let deadline = budget::deadline(self.deadline, HopKind::Generate, &[], &self.engine.hops);
        let mut events = self.engine.model_host.generate(request, deadline).await?;
        let mut closing = None;
        // The stream is read to its end and not only to its last event: a caller who leaves before the
        // status has come has cancelled the call, and its span would say so.
        while let Some(event) = events.next().await {
            match event? {
                generate_response::Event::Text(text) => self.send(Event::Text(text)).await?,
                generate_response::Event::Citation(citation) => self.send(Event::Citation(citation)).await?,
                generate_response::Event::Summary(summary) => closing = Some(summary),
            }
        }
        let missing = || Error::new(Reason::GeneratorFailed, "the generation ended without its summary");
        self.summarise(closing.ok_or_else(missing)?);
        Ok(())
    }

    fn summarise(&mut self, summary: GenerationSummary) {
        self.account.finish_reason = FinishReason::try_from(summary.finish_reason).unwrap_or_default();
        self.account.used("generator", summary.model);
        self.account.generator = summary.generator;
        self.account.usage = summary.usage;
        self.account.unknown_citations = summary.unknown_citations;
        self.account.passages_left_out = summary.passages_left_out;
        self.account.passages_cut = summary.passages_cut;
    }
}

fn to_generation(passage: &Passage) -> GenerationPassage {
    let hit = passage.hit.clone().unwrap_or_default();
    GenerationPassage {
        number: passage.number,
        document_id: hit.document_id,
        chunk_id: hit.chunk_id,
        title: hit.title,
        uri: hit.uri,
        text: hit.text,
    }
}
