//! A model host that says what a test tells it to.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use trivium_proto::model::v1::{
    AnalyzeRequest, AnalyzeResponse, Citation, CitationSupport, ComputeTimings, EmbedRequest, EmbedResponse,
    FinishReason, GenerateRequest, GenerateResponse, GenerationSummary, GetTokenizerRequest, GetTokenizerResponse,
    Intent, IntentScore, ListModelsRequest, ListModelsResponse, LoadModelRequest, LoadModelResponse, Model, ModelKind,
    ModelRef, PromoteModelRequest, PromoteModelResponse, QueryVector, RerankRequest, RerankResponse,
    RollbackModelRequest, RollbackModelResponse, ShadowModelRequest, ShadowModelResponse, TokenUsage,
    UnloadModelRequest, UnloadModelResponse, generate_response::Event, model_service_server::ModelService,
};
use trivium_service_kit::{Error, Reason};

/// How a generation goes.
#[derive(Clone, Debug)]
pub enum Generation {
    /// Pieces of text, then a citation of passage 1 where there are passages, then the summary.
    Says(Vec<&'static str>),
    /// Refused before the first piece.
    Fails(Reason),
    /// One piece, then an error.
    BreaksOff(&'static str, Reason),
    /// One piece, then nothing, for ever.
    Hangs(&'static str),
    /// One piece after another, for ever.
    Floods(&'static str),
}

/// How analyses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Analysis {
    /// Intent and vector, as asked for.
    Gives,
    /// Nothing, for ever.
    Hangs,
    /// Refused.
    Fails(Reason),
    /// Refused where the intent is asked for: no intent model serves.
    HasNoIntent,
    /// The intent without the vector that was asked for as well.
    GivesNoVector,
}

/// What the model host says.
#[derive(Clone, Debug)]
pub struct Script {
    pub intent: Intent,
    pub labels: Vec<&'static str>,
    pub generation: Generation,
    pub analysis: Analysis,
}

impl Default for Script {
    fn default() -> Self {
        let labels = vec!["lookup", "factual", "how_to", "small_talk", "text_task", "out_of_scope"];
        Self {
            intent: intent("how_to", 0.9),
            labels,
            generation: Generation::Says(vec!["It is ", "here [1]."]),
            analysis: Analysis::Gives,
        }
    }
}

/// An intent of this label and confidence.
pub fn intent(label: &str, confidence: f64) -> Intent {
    Intent {
        label: label.to_owned(),
        confidence,
        margin: confidence - 0.05,
        threshold: 0.0,
        out_of_scope: label == "out_of_scope",
        runners_up: vec![IntentScore { label: "comparison".into(), probability: 0.05 }],
        model: Some(model_ref("intents")),
        ..Intent::default()
    }
}

/// Version 1 of a bundle.
pub fn model_ref(name: &str) -> ModelRef {
    ModelRef { name: name.to_owned(), version: "1".to_owned() }
}

/// The stand-in, and what it was asked.
#[derive(Debug)]
pub struct FakeModelHost {
    pub script: Script,
    pub analyzed: Mutex<Vec<AnalyzeRequest>>,
    pub generated: Mutex<Vec<GenerateRequest>>,
    /// The version of the intent model that serves.
    pub intents_version: AtomicU64,
    /// True once a generation was let go of before its end.
    pub let_go: watch::Sender<bool>,
}

impl FakeModelHost {
    pub fn new(script: Script) -> Arc<Self> {
        let (analyzed, generated) = Default::default();
        Arc::new(Self {
            script,
            analyzed,
            generated,
            intents_version: AtomicU64::new(1),
            let_go: watch::Sender::new(false),
        })
    }
}

impl FakeModelHost {
    fn intents(&self) -> ModelRef {
        ModelRef { name: "intents".to_owned(), version: self.intents_version.load(Ordering::SeqCst).to_string() }
    }
}

/// Tells when the stream that holds it is dropped.
struct LetGo(watch::Sender<bool>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// The shared stand-in as a gRPC service.
pub struct Served(pub Arc<FakeModelHost>);

type Events = Pin<Box<dyn Stream<Item = Result<GenerateResponse, Status>> + Send>>;

fn event(event: Event) -> Result<GenerateResponse, Status> {
    Ok(GenerateResponse { event: Some(event) })
}

fn says(pieces: &[&str], has_passages: bool) -> Events {
    let text = pieces.iter().map(|piece| event(Event::Text((*piece).to_owned())));
    let citation = Citation {
        passage_number: 1,
        answer_start: 0,
        answer_end: 10,
        quote: "It is here.".into(),
        support: CitationSupport::Holds.into(),
    };
    let citation = has_passages.then(|| event(Event::Citation(citation)));
    let summary = GenerationSummary {
        generator: "extractive".into(),
        model: Some(model_ref("minilm")),
        finish_reason: FinishReason::Stop.into(),
        usage: Some(TokenUsage { input_tokens: 7, output_tokens: 3 }),
        unknown_citations: vec![9],
        passages_left_out: vec![2],
        passages_cut: vec![1],
    };
    let events: Vec<_> = text.chain(citation).chain([event(Event::Summary(summary))]).collect();
    Box::pin(stream::iter(events))
}

#[tonic::async_trait]
impl ModelService for Served {
    async fn analyze(&self, request: Request<AnalyzeRequest>) -> Result<Response<AnalyzeResponse>, Status> {
        let request = request.into_inner();
        self.0.analyzed.lock().expect("no test panics with it").push(request.clone());
        match self.0.script.analysis {
            Analysis::Hangs => std::future::pending().await,
            Analysis::Fails(reason) => return Err(Error::new(reason, "as the test asked").into()),
            Analysis::HasNoIntent if request.intent => {
                return Err(Error::new(Reason::NoModel, "as the test asked").into());
            }
            Analysis::Gives | Analysis::HasNoIntent | Analysis::GivesNoVector => {}
        }
        let has_vector = request.vector && self.0.script.analysis != Analysis::GivesNoVector;
        let vector = QueryVector { embedder: Some(model_ref("minilm")), values: vec![0.6, 0.8], token_vectors: None };
        Ok(Response::new(AnalyzeResponse {
            intent: request.intent.then(|| Intent { model: Some(self.0.intents()), ..self.0.script.intent.clone() }),
            vectors: if has_vector { vec![vector] } else { Vec::new() },
            tokens: 5,
            truncated: false,
            timings: Some(ComputeTimings { queue_ms: 0.1, tokenize_ms: 0.2, forward_ms: 4.0 }),
            cached: false,
        }))
    }

    async fn embed(&self, _: Request<EmbedRequest>) -> Result<Response<EmbedResponse>, Status> {
        Err(Status::unimplemented("the router embeds nothing"))
    }

    async fn get_tokenizer(&self, _: Request<GetTokenizerRequest>) -> Result<Response<GetTokenizerResponse>, Status> {
        Err(Status::unimplemented("the router counts no tokens"))
    }

    type GenerateStream = Events;

    async fn generate(&self, request: Request<GenerateRequest>) -> Result<Response<Events>, Status> {
        let request = request.into_inner();
        let has_passages = !request.passages.is_empty();
        self.0.generated.lock().expect("no test panics with it").push(request);
        let text = |piece: &str| event(Event::Text(piece.to_owned()));
        let events: Events = match &self.0.script.generation {
            Generation::Says(pieces) => says(pieces, has_passages),
            Generation::Fails(reason) => return Err(Error::new(*reason, "as the test asked").into()),
            Generation::BreaksOff(piece, reason) => {
                Box::pin(stream::iter([text(piece), Err(Error::new(*reason, "as the test asked").into())]))
            }
            Generation::Hangs(piece) => {
                let guard = LetGo(self.0.let_go.clone());
                let first = stream::iter([text(piece)]);
                Box::pin(first.chain(stream::pending()).inspect(move |_| {
                    let _held = &guard;
                }))
            }
            Generation::Floods(piece) => {
                let guard = LetGo(self.0.let_go.clone());
                let piece = text(piece);
                Box::pin(stream::repeat_with(move || {
                    let _held = &guard;
                    piece.clone()
                }))
            }
        };
        Ok(Response::new(events))
    }

    async fn list_models(&self, _: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        let labels = &self.0.script.labels;
        let models = (!labels.is_empty()).then(|| Model {
            model: Some(self.0.intents()),
            kind: ModelKind::Intent.into(),
            serving: true,
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            out_of_scope_label: "out_of_scope".into(),
            ..Model::default()
        });
        let encoder = Model {
            model: Some(model_ref("minilm")),
            kind: ModelKind::Encoder.into(),
            serving: true,
            ..Model::default()
        };
        Ok(Response::new(ListModelsResponse { models: models.into_iter().chain([encoder]).collect() }))
    }

    async fn rerank(&self, _: Request<RerankRequest>) -> Result<Response<RerankResponse>, Status> {
        Err(Status::unimplemented("the router changes no models"))
    }

    async fn load_model(&self, _: Request<LoadModelRequest>) -> Result<Response<LoadModelResponse>, Status> {
        Err(Status::unimplemented("the router changes no models"))
    }

    async fn unload_model(&self, _: Request<UnloadModelRequest>) -> Result<Response<UnloadModelResponse>, Status> {
        Err(Status::unimplemented("the router changes no models"))
    }

    async fn promote_model(&self, _: Request<PromoteModelRequest>) -> Result<Response<PromoteModelResponse>, Status> {
        Err(Status::unimplemented("the router changes no models"))
    }

    async fn rollback_model(
        &self,
        _: Request<RollbackModelRequest>,
    ) -> Result<Response<RollbackModelResponse>, Status> {
        Err(Status::unimplemented("the router changes no models"))
    }

    async fn shadow_model(&self, _: Request<ShadowModelRequest>) -> Result<Response<ShadowModelResponse>, Status> {
        Err(Status::unimplemented("the router changes no models"))
    }
}
