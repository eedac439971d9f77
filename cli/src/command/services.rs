//! What `up` and `serve` share: checking models beforehand, stopping in good
//! order, and telling bad configuration from other failures.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use trivium_model_host::bundle::{BundleError, ModelId, Registry};

use crate::exit::BadConfiguration;

/// Checks the bundles that the model host would load. A service that starts
/// without its encoder could only refuse; here, the person who starts it is told.
///
/// # Errors
/// When the encoder is absent, or when it or the intent model is damaged.
pub async fn check_models(options: &trivium_model_host::Options) -> anyhow::Result<()> {
    let registry = Registry::new(options.models_dir());
    let (encoder, intents) = (options.encoder_name()?, options.intents_name()?);
    tokio::task::spawn_blocking(move || {
        check(&registry, &encoder).map_err(|error| unusable(&encoder, &error, Kind::Encoder))?;
        match check(&registry, &intents) {
            // Without an intent model the roads can still be chosen by callers; the router says so in its log.
            Ok(()) | Err(BundleError::NotFound { .. }) => Ok(()),
            Err(error) => Err(unusable(&intents, &error, Kind::Intents)),
        }
    })
    .await?
}

fn check(registry: &Registry, name: &ModelId) -> Result<(), BundleError> {
    let model = registry.production(name)?;
    registry.open(&model)?.verified().map(drop)
}

#[derive(Clone, Copy)]
enum Kind {
    Encoder,
    Intents,
}

fn unusable(name: &ModelId, error: &BundleError, kind: Kind) -> anyhow::Error {
    let remedy = match (kind, error) {
        (Kind::Encoder, BundleError::NotFound { .. }) => "`trivium models pull minilm` fetches the encoder",
        (Kind::Encoder, _) => "`trivium models pull minilm --force` fetches the encoder again",
        (Kind::Intents, _) => "remove the folder of that version, and `trivium intents fit` makes a new one",
    };
    BadConfiguration(format!("the model {name} cannot serve: {error}; {remedy}")).into()
}

/// What the model host's failure to start means for the exit code.
pub fn model_host_failed(error: trivium_model_host::StartError) -> anyhow::Error {
    match error {
        trivium_model_host::StartError::Config(error) => error.within("model_host").into(),
        other => other.into(),
    }
}

/// What the retriever's failure to start means for the exit code.
pub fn retriever_failed(error: trivium_retriever::StartError) -> anyhow::Error {
    match error {
        trivium_retriever::StartError::Config(error) => error.within("retriever").into(),
        other => anyhow::Error::new(other).context("the retriever cannot start"),
    }
}

/// What the router's failure to start means for the exit code.
pub fn router_failed(error: trivium_router::Error) -> anyhow::Error {
    match error {
        trivium_router::Error::Config(error) => error.within("router").into(),
        trivium_router::Error::Policy(error) => BadConfiguration(format!("router.routes_file: {error}")).into(),
        other => other.into(),
    }
}

/// A token that is cancelled when the process is asked to stop, by SIGTERM or by ctrl-c.
pub fn shutdown_token() -> CancellationToken {
    let token = CancellationToken::new();
    let on_signal = token.clone();
    tokio::spawn(async move {
        if let Err(error) = asked_to_stop().await {
            tracing::error!(%error, "no signal can stop this process in good order");
            return;
        }
        tracing::info!("stopping: running calls may finish");
        on_signal.cancel();
    });
    token
}

async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened to")?;
    tokio::select! {
        _ = terminate.recv() => {}
        outcome = tokio::signal::ctrl_c() => outcome.context("ctrl-c cannot be listened to")?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use trivium_service_kit::ConfigError;

    use super::*;

    #[tokio::test]
    async fn an_absent_encoder_is_bad_configuration_with_a_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        let models_dir = Some(folder.path().to_owned());
        let options = trivium_model_host::Options { models_dir, ..Default::default() };
        let error = check_models(&options).await.expect_err("absent");
        assert!(error.is::<BadConfiguration>());
        assert!(error.to_string().contains("trivium models pull minilm"), "{error}");
    }

    #[test]
    fn configuration_is_told_from_other_failures() {
        let error = router_failed(ConfigError::new("hops.search_ms", 0, "must be at least 1").into());
        assert_eq!(error.downcast_ref::<ConfigError>().expect("kept").key, "router.hops.search_ms");
        assert!(!router_failed(trivium_router::Error::Stopped).is::<BadConfiguration>());
    }
}
