//! What stands between the wire and a service, one middleware a file.
//!
//! From the outside in: [`trace`], [`measure`], [`catalogue`], [`auth`](crate::auth), [`admission`], [`deadline`].

pub mod admission;
pub mod catalogue;
pub mod deadline;
pub mod measure;
pub mod trace;
pub(crate) mod trailers;

use std::{convert::Infallible, future::Future, pin::Pin};

use http::{Request, Response};
use tonic::{Status, body::Body};

pub use trailers::status_code;

/// A response on its way.
pub(crate) type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A gRPC server that cannot fail but by a status.
pub(crate) trait GrpcService:
    tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> GrpcService for S where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// A response that is nothing but a status.
pub(crate) fn refusal(status: Status) -> Response<Body> {
    status.into_http()
}
