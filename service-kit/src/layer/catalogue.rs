//! Turns what tonic itself answers into errors of the catalogue.
//!
//! Messages over the size limit, bytes that do not decode and unknown methods
//! never reach a service's own code, so their statuses are rewritten here. A
//! status that carries our details passes untouched.

use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{
    GrpcService, ResponseFuture,
    trailers::{End, Observed, status_code},
};
use crate::error::{Error, has_details};

/// Adds [`Catalogue`].
#[derive(Clone, Copy, Debug)]
pub struct CatalogueLayer;

impl<S> Layer<S> for CatalogueLayer {
    type Service = Catalogue<S>;

    fn layer(&self, inner: S) -> Catalogue<S> {
        Catalogue { inner }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Catalogue<S> {
    inner: S,
}

impl<S: GrpcService> Service<Request<Body>> for Catalogue<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        // Health and reflection have statuses that their own standards give a meaning.
        if request.uri().path().starts_with("/grpc.") {
            return Box::pin(self.inner.call(request));
        }
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            rewrite(response.headers_mut());
            if status_code(response.headers()).is_some() {
                return Ok(response);
            }
            Ok(response.map(|body| {
                Body::new(Observed::new(body, (), |end| {
                    if let End::Trailers(trailers) = end {
                        rewrite(trailers);
                    }
                }))
            }))
        })
    }
}

/// Replaces a foreign status by its entry in the catalogue.
fn rewrite(headers: &mut HeaderMap) {
    let foreign = status_code(headers).is_some_and(|code| code != Code::Ok) && !has_details(headers);
    if !foreign {
        return;
    }
    if let Some(status) = Status::from_header_map(headers) {
        let ours = Status::from(Error::from(status));
        // Both keys are set by every status, so nothing of the old one is left.
        // A status that cannot be written into headers leaves the old one, which is true as well.
        let _ = ours.add_header(headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    #[test]
    fn foreign_statuses_are_rewritten_and_ours_are_kept() {
        let mut headers = HeaderMap::new();
        Status::out_of_range("too large").add_header(&mut headers).expect("written");
        rewrite(&mut headers);
        let error = Error::from(Status::from_header_map(&headers).expect("a status"));
        assert_eq!(error.reason(), Reason::MessageTooLarge);
        assert_eq!(error.message(), "too large");

        let ours = Error::new(Reason::QueryEmpty, "query is empty").with_field("query");
        let mut headers = HeaderMap::new();
        Status::from(ours.clone()).add_header(&mut headers).expect("written");
        rewrite(&mut headers);
        assert_eq!(Error::from(Status::from_header_map(&headers).expect("a status")), ours);
    }

    #[test]
    fn success_is_left_alone() {
        let mut headers = HeaderMap::new();
        Status::ok("").add_header(&mut headers).expect("written");
        let before = headers.clone();
        rewrite(&mut headers);
        assert_eq!(headers, before);
    }
}
