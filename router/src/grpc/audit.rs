//! The edge of the audit service.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use trivium_proto::router::v1::{
    ExportAuditRequest, ExportAuditResponse, GetAuditRecordRequest, GetAuditRecordResponse, ReplayQueryRequest,
    ReplayQueryResponse,
    audit_service_server::{AuditService, AuditServiceServer},
};
use trivium_service_kit::{Caller, Deadline};

use crate::service::Tenants;

/// The audit service as part of a server.
pub(super) fn server(service: Tenants, max_message_bytes: usize) -> AuditServiceServer<impl AuditService> {
    AuditServiceServer::new(Edge(service))
        .max_decoding_message_size(max_message_bytes)
        .max_encoding_message_size(max_message_bytes)
}

struct Edge(Tenants);

#[tonic::async_trait]
impl AuditService for Edge {
    async fn get_audit_record(
        &self,
        request: Request<GetAuditRecordRequest>,
    ) -> Result<Response<GetAuditRecordResponse>, Status> {
        let service = self.0.of(Caller::of(&request))?;
        let deadline = Deadline::of(&request);
        Ok(Response::new(service.audit_record(&request.into_inner(), deadline).await?))
    }

    async fn replay_query(
        &self,
        request: Request<ReplayQueryRequest>,
    ) -> Result<Response<ReplayQueryResponse>, Status> {
        let service = self.0.of(Caller::of(&request))?;
        let deadline = Deadline::of(&request);
        Ok(Response::new(service.replay(request.into_inner(), deadline).await?))
    }

    type ExportAuditStream = Pin<Box<dyn Stream<Item = Result<ExportAuditResponse, Status>> + Send>>;

    async fn export_audit(
        &self,
        request: Request<ExportAuditRequest>,
    ) -> Result<Response<Self::ExportAuditStream>, Status> {
        let service = self.0.of(Caller::of(&request))?;
        let deadline = Deadline::of(&request);
        let items = service.export_audit(request.into_inner(), deadline).await?;
        Ok(Response::new(Box::pin(items.map(|item| item.map_err(Status::from)))))
    }
}
