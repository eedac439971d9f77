//! W3C trace context in gRPC metadata: extracted on every server, injected on every client.
//!
//! Only `traceparent` and `tracestate` travel. Baggage does not: what callers
//! from outside put into it has no business inside.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The remote parent that the headers name. Without one the context is empty.
pub fn extract(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

/// Writes the context's span into the headers, over what is there.
pub fn inject(context: &Context, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(context, &mut HeaderInjector(headers));
}

struct HeaderExtractor<'a>(&'a HeaderMap);

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeaderInjector<'a>(&'a mut HeaderMap);

impl Injector for HeaderInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        // Both are made by the propagator and are plain ASCII; anything else is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::{
        baggage::BaggageExt,
        trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
    };

    use super::*;

    #[test]
    fn what_is_injected_is_extracted() {
        let state = TraceState::from_key_value([("vendor", "value")]).expect("a state");
        let sent = SpanContext::new(TraceId::from(0xabc_u128), SpanId::from(7_u64), TraceFlags::SAMPLED, true, state);
        let mut headers = HeaderMap::new();
        inject(&Context::new().with_remote_span_context(sent.clone()), &mut headers);

        let context = extract(&headers);
        assert_eq!(context.span().span_context(), &sent);
    }

    #[test]
    fn baggage_stays_outside() {
        let headers = HeaderMap::from_iter(
            [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("baggage", "user=somebody")]
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        );
        let context = extract(&headers);
        assert!(context.span().span_context().is_valid() && context.baggage().is_empty());
        let mut onwards = HeaderMap::new();
        inject(&context, &mut onwards);
        assert!(onwards.contains_key("traceparent") && !onwards.contains_key("baggage"), "{onwards:?}");
    }

    #[test]
    fn rubbish_is_no_parent() {
        for value in ["", "00-0-0-0", "zz-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00"] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("traceparent"),
                HeaderValue::from_str(value).expect("a header"),
            )]);
            assert!(!extract(&headers).span().span_context().is_valid(), "{value:?}");
        }
    }
}
