//! The gRPC edge: unpacks requests, hands them on, packs what comes back.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use trivium_proto::model::v1 as proto;
use trivium_proto::model::v1::model_service_server::{ModelService, ModelServiceServer};
use trivium_service_kit::{Connection, Deadline, Error, Reason};

use crate::batch::Caller;
use crate::service::{ModelHost, Waits};

/// The full name of the gRPC service, for health checks.
pub const SERVICE_NAME: &str = "trivium.model.v1.ModelService";

/// The routes of the model service. Messages of up to `max_message_bytes` are taken and sent.
pub fn routes(host: Arc<ModelHost>, max_message_bytes: usize) -> Routes {
    let server = ModelServiceServer::new(Edge { host })
        .max_decoding_message_size(max_message_bytes)
        .max_encoding_message_size(max_message_bytes);
    Routes::new(server)
}

struct Edge {
    host: Arc<ModelHost>,
}

#[tonic::async_trait]
impl ModelService for Edge {
    async fn analyze(
        &self,
        request: Request<proto::AnalyzeRequest>,
    ) -> Result<Response<proto::AnalyzeResponse>, Status> {
        let waits = waits(&request);
        // A service that asks on its own behalf shares what is remembered with nobody but its like.
        let tenant = trivium_service_kit::Caller::of(&request).tenant().unwrap_or_default();
        let analysis = self.host.analyze(request.into_inner(), tenant, waits).await?;
        Ok(Response::new(analysis))
    }

    async fn embed(&self, request: Request<proto::EmbedRequest>) -> Result<Response<proto::EmbedResponse>, Status> {
        let waits = waits(&request);
        let embedded = self.host.embed(request.into_inner(), waits).await?;
        Ok(Response::new(embedded))
    }

    async fn get_tokenizer(
        &self,
        request: Request<proto::GetTokenizerRequest>,
    ) -> Result<Response<proto::GetTokenizerResponse>, Status> {
        Ok(Response::new(self.host.tokenizer(request.get_ref())?))
    }

    type GenerateStream = BoxStream<'static, Result<proto::GenerateResponse, Status>>;

    async fn generate(
        &self,
        request: Request<proto::GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        let deadline = Deadline::of(&request);
        // Where the router asks, it keeps count itself.
        let caller = trivium_service_kit::Caller::of(&request);
        let events = self.host.generate(request.into_inner(), deadline.at().into_std())?;
        let booked = events.inspect(move |event| {
            if let Ok(proto::GenerateResponse { event: Some(proto::generate_response::Event::Summary(summary)) }) =
                event
                && let Some(usage) = &summary.usage
            {
                caller.used_tokens(u64::from(usage.input_tokens) + u64::from(usage.output_tokens));
            }
        });
        Ok(Response::new(booked.map(|event| event.map_err(Status::from)).boxed()))
    }

    async fn rerank(&self, request: Request<proto::RerankRequest>) -> Result<Response<proto::RerankResponse>, Status> {
        let waits = waits(&request);
        Ok(Response::new(self.host.rerank(request.into_inner(), waits).await?))
    }

    async fn list_models(
        &self,
        _: Request<proto::ListModelsRequest>,
    ) -> Result<Response<proto::ListModelsResponse>, Status> {
        self.blocking(ModelHost::list).await
    }

    async fn load_model(
        &self,
        request: Request<proto::LoadModelRequest>,
    ) -> Result<Response<proto::LoadModelResponse>, Status> {
        self.blocking(move |host| host.load_model(request.get_ref())).await
    }

    async fn unload_model(
        &self,
        request: Request<proto::UnloadModelRequest>,
    ) -> Result<Response<proto::UnloadModelResponse>, Status> {
        self.blocking(move |host| host.unload_model(request.get_ref())).await
    }

    async fn promote_model(
        &self,
        request: Request<proto::PromoteModelRequest>,
    ) -> Result<Response<proto::PromoteModelResponse>, Status> {
        self.blocking(move |host| host.promote_model(request.get_ref())).await
    }

    async fn rollback_model(
        &self,
        request: Request<proto::RollbackModelRequest>,
    ) -> Result<Response<proto::RollbackModelResponse>, Status> {
        self.blocking(move |host| host.rollback_model(request.get_ref())).await
    }

    async fn shadow_model(
        &self,
        request: Request<proto::ShadowModelRequest>,
    ) -> Result<Response<proto::ShadowModelResponse>, Status> {
        self.blocking(move |host| host.shadow_model(request.get_ref())).await
    }
}

impl Edge {
    /// Runs what reads the disk or loads models on a thread that may block. It goes on to
    /// its end even if the caller leaves: a change is made whole or not at all.
    async fn blocking<T: Send + 'static>(
        &self,
        step: impl FnOnce(&ModelHost) -> Result<T, Error> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let host = Arc::clone(&self.host);
        let done = tokio::task::spawn_blocking(move || step(&host)).await;
        let done = done.map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        Ok(Response::new(done?))
    }
}

fn waits<T>(request: &Request<T>) -> Waits {
    let connection = request.extensions().get::<Connection>().copied().unwrap_or_default();
    Waits { caller: Caller(connection.number()), deadline: Deadline::of(request).at().into_std() }
}
