//! The gRPC edge: messages in, messages out.

mod audit;

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status, service::Routes};
use trivium_proto::router::v1::{
    CheckLabelsRequest, CheckLabelsResponse, GetPolicyRequest, GetPolicyResponse, QueryRequest, QueryResponse,
    QueryStreamRequest, QueryStreamResponse, RouteRequest, RouteResponse, SubmitFeedbackRequest,
    SubmitFeedbackResponse,
    router_service_server::{RouterService, RouterServiceServer},
};
use trivium_service_kit::{Caller, Deadline};

use crate::service::Tenants;

/// The full names of the gRPC services, for health checks.
pub(crate) const NAMES: [&str; 2] = [
    trivium_proto::router::v1::router_service_server::SERVICE_NAME,
    trivium_proto::router::v1::audit_service_server::SERVICE_NAME,
];

/// The service as routes of a server.
pub(crate) fn routes(service: Tenants, max_message_bytes: usize) -> Routes {
    let audit = audit::server(service.clone(), max_message_bytes);
    Routes::new(
        RouterServiceServer::new(Edge(service))
            .max_decoding_message_size(max_message_bytes)
            .max_encoding_message_size(max_message_bytes),
    )
    .add_service(audit)
}

struct Edge(Tenants);

#[tonic::async_trait]
impl RouterService for Edge {
    async fn route(&self, request: Request<RouteRequest>) -> Result<Response<RouteResponse>, Status> {
        let service = self.0.of(Caller::of(&request))?;
        let deadline = Deadline::of(&request);
        Ok(Response::new(service.route(request.into_inner(), deadline).await?))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let service = self.0.of(Caller::of(&request))?;
        let deadline = Deadline::of(&request);
        // What a query carries through its hops is large, and would be moved from call to call.
        Ok(Response::new(Box::pin(service.query(request.into_inner(), deadline)).await?))
    }

    type QueryStreamStream = Pin<Box<dyn Stream<Item = Result<QueryStreamResponse, Status>> + Send>>;

    async fn query_stream(
        &self,
        request: Request<QueryStreamRequest>,
    ) -> Result<Response<Self::QueryStreamStream>, Status> {
        let service = self.0.of(Caller::of(&request))?;
        let deadline = Deadline::of(&request);
        let events = service.query_stream(request.into_inner(), deadline)?;
        let messages = events.map(|event| match event {
            Ok(event) => Ok(QueryStreamResponse { event: Some(event) }),
            Err(error) => Err(Status::from(error)),
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn check_labels(
        &self,
        request: Request<CheckLabelsRequest>,
    ) -> Result<Response<CheckLabelsResponse>, Status> {
        let service = self.0.of(Caller::of(&request))?;
        Ok(Response::new(service.check_labels(request.into_inner())?))
    }

    async fn submit_feedback(
        &self,
        request: Request<SubmitFeedbackRequest>,
    ) -> Result<Response<SubmitFeedbackResponse>, Status> {
        let service = self.0.of(Caller::of(&request))?;
        let deadline = Deadline::of(&request);
        Ok(Response::new(service.submit_feedback(request.into_inner(), deadline).await?))
    }

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
        let service = self.0.of(Caller::of(&request))?;
        Ok(Response::new(service.get_policy()))
    }
}
