//! One tracer for several services: each span goes to the provider of the
//! service that its target belongs to.

use opentelemetry::{
    Context,
    trace::{SpanBuilder, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

use crate::Service;

/// The key under which the `tracing` layer records a span's target.
const TARGET: &str = "target";

/// Chooses a provider by the span's target.
pub(super) struct ByTarget {
    tracers: Vec<(Service, SdkTracer)>,
    /// For spans whose target names no service; the layer's filter lets none through.
    fallback: SdkTracer,
}

impl ByTarget {
    pub(super) fn new(providers: &[(Service, SdkTracerProvider)]) -> Self {
        let tracers = providers.iter().map(|(service, provider)| (*service, provider.tracer("trivium"))).collect();
        Self { tracers, fallback: SdkTracerProvider::builder().build().tracer("trivium") }
    }

    /// Whether a span or event of that target belongs to one of the services.
    pub(super) fn serves(services: &[Service], target: &str) -> bool {
        services.iter().any(|service| belongs(*service, target))
    }
}

impl Tracer for ByTarget {
    type Span = Span;

    fn build_with_context(&self, mut builder: SpanBuilder, parent: &Context) -> Span {
        let target = builder.attributes.as_mut().and_then(|attributes| {
            // The target is how the service was found and says nothing beyond it.
            let place = attributes.iter().position(|attribute| attribute.key.as_str() == TARGET)?;
            Some(attributes.swap_remove(place).value)
        });
        let tracer = target
            .and_then(|target| self.tracers.iter().find(|(service, _)| belongs(*service, &target.as_str())))
            .map_or(&self.fallback, |(_, tracer)| tracer);
        tracer.build_with_context(builder, parent)
    }
}

fn belongs(service: Service, target: &str) -> bool {
    service.targets().iter().any(|prefix| target.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_belongs_to_one_service() {
        let table = [
            ("trivium_router::execute", Some(Service::Router)),
            ("trivium::model_host", Some(Service::ModelHost)),
            ("trivium_model_host::batcher", Some(Service::ModelHost)),
            ("trivium_retriever", Some(Service::Retriever)),
            ("trivium::cli", Some(Service::Cli)),
            ("lance::dataset", None),
        ];
        for (target, expected) in table {
            let found: Vec<Service> = Service::ALL.into_iter().filter(|service| belongs(*service, target)).collect();
            assert_eq!(found, Vec::from_iter(expected), "{target}");
        }
    }
}
