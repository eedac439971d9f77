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
use trivium_service_kit::Deadline;

use crate::service::Service;

/// The full names of the gRPC services, for health checks.
pub(crate) const NAMES: [&str; 2] = [
    trivium_proto::router::v1::router_service_server::SERVICE_NAME,
    trivium_proto::router::v1::audit_service_server::SERVICE_NAME,
];

/// The service as routes of a server.
pub(crate) fn routes(service: Service, max_message_bytes: usize) -> Routes {
    let audit = audit::server(service.clone(), max_message_bytes);
    Routes::new(
        RouterServiceServer::new(Edge(service))
            .max_decoding_message_size(max_message_bytes)
            .max_encoding_message_size(max_message_bytes),
    )
    .add_service(audit)
}

struct Edge(Service);

#[tonic::async_trait]
impl RouterService for Edge {
    async fn route(&self, request: Request<RouteRequest>) -> Result<Response<RouteResponse>, Status> {
        let deadline = Deadline::of(&request);
        Ok(Response::new(self.0.route(request.into_inner(), deadline).await?))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let deadline = Deadline::of(&request);
        // What a query carries through its hops is large, and would be moved from call to call.
        Ok(Response::new(Box::pin(self.0.query(request.into_inner(), deadline)).await?))
    }

    type QueryStreamStream = Pin<Box<dyn Stream<Item = Result<QueryStreamResponse, Status>> + Send>>;

    async fn query_stream(
        &self,
        request: Request<QueryStreamRequest>,
    ) -> Result<Response<Self::QueryStreamStream>, Status> {
        let deadline = Deadline::of(&request);
        let events = self.0.query_stream(request.into_inner(), deadline)?;
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
        Ok(Response::new(self.0.check_labels(request.into_inner())?))
    }

    async fn submit_feedback(
        &self,
        request: Request<SubmitFeedbackRequest>,
    ) -> Result<Response<SubmitFeedbackResponse>, Status> {
        let deadline = Deadline::of(&request);
        Ok(Response::new(self.0.submit_feedback(request.into_inner(), deadline).await?))
    }

    async fn get_policy(&self, _: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
        Ok(Response::new(self.0.get_policy()))
    }
}
