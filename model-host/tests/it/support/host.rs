//! A running model host.

use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use trivium_model_host::bundle::{ModelRef, Registry};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::intent::{Example, FitOptions, Splits, fit};
use trivium_model_host::{Options, start};
use trivium_proto::model::v1 as proto;
use trivium_proto::model::v1::model_service_client::ModelServiceClient;
use trivium_service_kit::{Error, Handle, Reason, ServerOptions};

use super::TinyModels;

/// A running model host; it stops when dropped.
pub struct Host {
    pub models: TinyModels,
    pub client: ModelServiceClient<Channel>,
    pub shutdown: CancellationToken,
    pub handle: Handle,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Host {
    pub async fn start() -> Self {
        Self::start_with(TinyModels::new(), |_| ()).await
    }

    pub async fn start_with(models: TinyModels, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            server: ServerOptions::at(0),
            models_dir: Some(models.folder.path().to_owned()),
            encoder: "tiny".to_owned(),
            ..Options::default()
        };
        change(&mut options);
        let shutdown = CancellationToken::new();
        let handle = start(options, shutdown.clone()).await.unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", handle.addr())).unwrap();
        let client = ModelServiceClient::new(endpoint.connect().await.unwrap());
        Self { models, client, shutdown, handle }
    }

    pub async fn embed(&mut self, texts: &[&str]) -> Result<proto::EmbedResponse, Status> {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        let request = proto::EmbedRequest { texts, ..proto::EmbedRequest::default() };
        Ok(self.client.embed(request).await?.into_inner())
    }
}

/// Models with an intent model fitted on the tiny encoder.
pub fn models_with_intents() -> TinyModels {
    let models = TinyModels::new();
    fit_intents(&models, "fix", "out_of_scope");
    models
}

/// Fits the next version of `intents` with these two labels; the first of them all serves.
pub fn fit_intents(models: &TinyModels, error_label: &str, moon_label: &str) -> ModelRef {
    fit_on(&models.registry, &models.encoder(), error_label, moon_label)
}

/// As [`fit_intents`], on any encoder.
pub fn fit_on(registry: &Registry, encoder: &Encoder, error_label: &str, moon_label: &str) -> ModelRef {
    let example = |text: String, label: &str| Example { text, label: label.to_owned() };
    let mut train = Vec::new();
    for frame in ["how is", "what is the", "the", "compare", "is a cache", "of the index"] {
        train.push(example(format!("{frame} moon moon moon"), moon_label));
        train.push(example(format!("{frame} error error error"), error_label));
    }
    let splits = Splits { train: &train, valid: None, test: None };
    let name = "intents".parse().unwrap();
    let first = registry.versions(&name).unwrap().is_empty();
    let options = FitOptions { promote: first, ..FitOptions::named(name) };
    fit(registry, encoder, splits, &options, |_| ()).unwrap().model
}

pub fn analyze(text: &str, intent: bool, vector: bool) -> proto::AnalyzeRequest {
    proto::AnalyzeRequest { text: text.to_owned(), intent, vector, ..proto::AnalyzeRequest::default() }
}

/// The catalogue's reason and the field at fault.
pub fn refusal(status: Status) -> (Code, Reason, Option<String>) {
    let code = status.code();
    let error = Error::from(status);
    (code, error.reason(), error.field().map(str::to_owned))
}
