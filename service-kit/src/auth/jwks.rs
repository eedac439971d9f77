//! The issuer's public keys, from a file or fetched, as of late.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::jwt::{JwtOptions, KeySet};
use crate::{ConfigError, reload::Reloaded};

/// How long the issuer may take to give its keys.
const PATIENCE: Duration = Duration::from_secs(10);

/// The least time between two fetches: tokens with unknown keys must not make this server attack the issuer.
const LEAST_PAUSE: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The keys as of late.
pub(super) enum Jwks {
    File(Reloaded<KeySet>),
    Url(Fetched),
}

/// Keys that are fetched again and again.
pub(super) struct Fetched {
    current: Arc<ArcSwap<KeySet>>,
    wanted: Arc<Notify>,
    _follows: AbortOnDropHandle<()>,
}

impl Jwks {
    /// Reads the file and follows it, or begins to fetch. Until keys have come, no token is taken.
    ///
    /// # Errors
    /// The file holds no keys, or no client can be made.
    pub fn new(options: &JwtOptions, every: Duration) -> Result<Self, ConfigError> {
        let Some(file) = options.jwks_file.clone() else { return Fetched::begin(options).map(Self::Url) };
        let files = vec![file.clone()];
        let make = move || {
            let bad = |why: String| ConfigError::new("jwks_file", file.display(), why);
            let json = std::fs::read(&file).map_err(|error| bad(error.to_string()))?;
            KeySet::parse(&json).map_err(bad)
        };
        Reloaded::new("jwks_file", files, every, make).map(Self::File)
    }

    /// The keys as of now.
    pub fn get(&self) -> Arc<KeySet> {
        match self {
            Self::File(file) => file.get(),
            Self::Url(fetched) => fetched.current.load_full(),
        }
    }

    /// Says that a token names a key that is not there: the issuer may have a new one.
    pub fn missed(&self) {
        if let Self::Url(fetched) = self {
            fetched.wanted.notify_one();
        }
    }
}

impl Fetched {
    fn begin(options: &JwtOptions) -> Result<Self, ConfigError> {
        let url = options.jwks_url.clone();
        let bad = |error: reqwest::Error| ConfigError::new("jwks_url", &options.jwks_url, error.to_string());
        // A redirect could lead to where the scheme was not checked.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().map_err(bad)?;
        let (current, wanted) = (Arc::new(ArcSwap::from_pointee(KeySet::default())), Arc::new(Notify::new()));
        let every = Duration::from_millis(options.refresh_ms);
        let (to, news) = (Arc::clone(&current), Arc::clone(&wanted));
        let follows = tokio::spawn(async move {
            loop {
                match timeout(PATIENCE, fetch(&client, &url)).await.unwrap_or_else(|_| Err("it took too long".into())) {
                    Ok(keys) => to.store(Arc::new(keys)),
                    Err(error) => {
                        tracing::error!(url, error, "the issuer's keys cannot be fetched; those of before stay in use");
                    }
                }
                sleep(LEAST_PAUSE.min(every)).await;
                tokio::select! {
                    () = sleep(every.saturating_sub(LEAST_PAUSE)) => {}
                    () = news.notified() => {}
                }
            }
        });
        Ok(Self { current, wanted, _follows: AbortOnDropHandle::new(follows) })
    }
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<KeySet, String> {
    let answer = client.get(url).send().await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    let mut answer = answer;
    let mut json = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| error.to_string())? {
        if json.len() + piece.len() > MAX_BYTES {
            return Err(format!("its answer has more than {MAX_BYTES} bytes"));
        }
        json.extend_from_slice(&piece);
    }
    KeySet::parse(&json)
}
