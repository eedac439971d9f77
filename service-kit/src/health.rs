//! Whether a server says that it serves: gRPC's own health protocol, from the client's side.

use std::time::Duration;

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{Deadline, Error, GrpcChannel};

/// Asks whatever is behind a channel whether it serves, for at most `patience`. No key is needed for that.
///
/// # Errors
/// When it cannot be reached or does not answer in time.
pub async fn is_serving(channel: GrpcChannel, patience: Duration) -> Result<bool, Error> {
    // No name asks for the server as a whole.
    let request = Deadline::after(patience).request(HealthCheckRequest::default());
    let answer = HealthClient::new(channel).check(request).await?.into_inner();
    Ok(answer.status() == ServingStatus::Serving)
}
