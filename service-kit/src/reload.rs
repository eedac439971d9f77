//! Files that change while they serve.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::ConfigError;

/// What files say, as of late.
pub(crate) struct Reloaded<T> {
    current: Arc<ArcSwap<T>>,
    _follows: AbortOnDropHandle<()>,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Makes a value of the files, and again whenever one of them has changed. `make` runs where it may block.
    ///
    /// # Errors
    /// When no value can be made now. Later that is logged, and the last value stays.
    pub fn new(
        what: &'static str,
        files: Vec<PathBuf>,
        every: Duration,
        make: impl Fn() -> Result<T, ConfigError> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let seen = contents(&files);
        let current = Arc::new(ArcSwap::from_pointee(make()?));
        let files = Files { what, files: files.into(), make: Arc::new(make), seen };
        let follows = AbortOnDropHandle::new(tokio::spawn(files.follow(Arc::clone(&current), every)));
        Ok(Self { current, _follows: follows })
    }

    /// The value as of now.
    pub fn get(&self) -> Arc<T> {
        self.current.load_full()
    }
}

/// The bytes of each file; `None` for one that cannot be read. They are compared, and not their times: a mounted secret
/// is replaced by a link whose time may be any.
type Contents = Vec<Option<Vec<u8>>>;

struct Files<F> {
    what: &'static str,
    files: Arc<[PathBuf]>,
    make: Arc<F>,
    seen: Contents,
}

impl<F> Files<F> {
    async fn follow<T>(mut self, current: Arc<ArcSwap<T>>, every: Duration)
    where
        T: Send + Sync + 'static,
        F: Fn() -> Result<T, ConfigError> + Send + Sync + 'static,
    {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (files, make) = (Arc::clone(&self.files), Arc::clone(&self.make));
            let seen = std::mem::take(&mut self.seen);
            let looked = tokio::task::spawn_blocking(move || {
                let now = contents(&files);
                let made = (now != seen).then(|| make());
                (now, made)
            });
            // A panic there is none of this task's; the next look finds all files changed.
            let Ok((now, made)) = looked.await else { continue };
            self.seen = now;
            match made {
                None => {}
                Some(Ok(value)) => {
                    current.store(Arc::new(value));
                    tracing::info!(what = self.what, "files have changed and were read");
                }
                Some(Err(error)) => {
                    tracing::error!(what = self.what, %error, "files have changed and cannot be used; the last that could stay in use");
                }
            }
        }
    }
}

fn contents(files: &[PathBuf]) -> Contents {
    files.iter().map(|file| std::fs::read(file).ok()).collect()
}
