//! The gRPC edge: unpacks requests, hands them on, packs what comes back.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use trivium_proto::model::v1 as proto;
use trivium_proto::model::v1::model_service_server::{ModelService, ModelServiceServer};
use trivium_service_kit::{Deadline, Error, Reason};

use crate::service::ModelHost;

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
        let deadline = Deadline::of(&request);
        let analysis = self.host.analyze(request.into_inner(), deadline.at().into_std()).await?;
        Ok(Response::new(analysis))
    }

    async fn embed(&self, request: Request<proto::EmbedRequest>) -> Result<Response<proto::EmbedResponse>, Status> {
        let deadline = Deadline::of(&request);
        let embedded = self.host.embed(request.into_inner(), deadline.at().into_std()).await?;
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
        let events = self.host.generate(request.into_inner(), deadline.at().into_std())?;
        Ok(Response::new(events.map(|event| event.map_err(Status::from)).boxed()))
    }

    async fn list_models(
        &self,
        _: Request<proto::ListModelsRequest>,
    ) -> Result<Response<proto::ListModelsResponse>, Status> {
        let host = Arc::clone(&self.host);
        let listed = tokio::task::spawn_blocking(move || host.list()).await;
        let listed = listed.map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        Ok(Response::new(listed?))
    }
}
