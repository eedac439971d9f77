//! The calls about past calls.

use futures::{Stream, StreamExt, future};
use trivium_proto::router::v1::{
    ExportAuditRequest, ExportAuditResponse, GetAuditRecordRequest, GetAuditRecordResponse, ReplayQueryRequest,
    ReplayQueryResponse, SubmitFeedbackRequest, SubmitFeedbackResponse, export_audit_response::Item,
};
use trivium_service_kit::{Deadline, Error};

use super::{Service, book};
use crate::audit::{Exported, feedback, past_request, replay};

impl Service {
    /// Keeps what somebody says of an answer.
    pub async fn submit_feedback(
        &self,
        request: SubmitFeedbackRequest,
        deadline: Deadline,
    ) -> Result<SubmitFeedbackResponse, Error> {
        let (request_id, said) = feedback(request)?;
        let kept = self.audit.submit(&request_id, said, deadline).await?;
        Ok(SubmitFeedbackResponse { recorded_at: kept.recorded_at })
    }

    /// The record of a past call.
    pub async fn audit_record(
        &self,
        request: &GetAuditRecordRequest,
        deadline: Deadline,
    ) -> Result<GetAuditRecordResponse, Error> {
        let record = self.audit.find(past_request(&request.request_id)?, deadline).await?;
        Ok(GetAuditRecordResponse { record: Some(record) })
    }

    /// Runs a past call again.
    pub async fn replay(&self, request: ReplayQueryRequest, deadline: Deadline) -> Result<ReplayQueryResponse, Error> {
        past_request(&request.request_id)?;
        self.gate.borrow().pass()?;
        let record = self.audit.find(&request.request_id, deadline).await?;
        let response = Box::pin(replay(self, record, request, deadline)).await?;
        response.account.iter().for_each(|account| book(&self.caller, account));
        Ok(response)
    }

    /// The records, oldest first.
    pub async fn export_audit(
        &self,
        request: ExportAuditRequest,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<ExportAuditResponse, Error>> + Send + use<>, Error> {
        let wanted = move |item: &Exported| match item {
            Exported::Record(record) => {
                let is_late_enough = later(record.recorded_at.as_ref(), request.since.as_ref());
                is_late_enough && (!request.with_feedback || !record.feedback.is_empty())
            }
            Exported::Gap(gap) => later(gap.recorded_at.as_ref(), request.since.as_ref()),
        };
        let items = self.audit.export(deadline).await?;
        Ok(items.filter_map(move |item| {
            let kept = match item {
                Ok(item) if !wanted(&item) => None,
                Ok(Exported::Record(record)) => Some(Ok(Item::Record(*record))),
                Ok(Exported::Gap(gap)) => Some(Ok(Item::Gap(gap))),
                Err(error) => Some(Err(error)),
            };
            future::ready(kept.map(|item| item.map(|item| ExportAuditResponse { item: Some(item) })))
        }))
    }
}

/// Whether a moment is not before another; one that is not known is not.
fn later(moment: Option<&prost_types::Timestamp>, since: Option<&prost_types::Timestamp>) -> bool {
    let key = |moment: &prost_types::Timestamp| (moment.seconds, moment.nanos);
    match (moment, since) {
        (Some(moment), Some(since)) => key(moment) >= key(since),
        _ => true,
    }
}
