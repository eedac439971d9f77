//! Sends a call again that changes nothing and that the peer did not get to answer.
//!
//! What is sent again is bounded twice: no call more than [`MOST`] times, and all calls together by a budget that grows
//! with the calls that are made. A peer in trouble is never asked much more than without retries.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Full};
use tokio::time::sleep;
use tonic::{Status, body::Body};
use tower::{
    retry::{
        backoff::{Backoff, ExponentialBackoffMaker, MakeBackoff},
        budget::{Budget, TpsBudget},
    },
    util::rng::HasherRng,
};

use crate::{Deadline, Error, Reason, layer::status_code};

/// Further attempts at one call.
pub(super) const MOST: u32 = 2;

/// The pause before the first of them, which doubles before the second; half of it is random.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest pause that comes out of that.
const LONGEST_PAUSE: Duration = Duration::from_millis(80);

/// For how long a call counts towards the budget.
const BUDGET_SPAN: Duration = Duration::from_secs(10);

/// Attempts that are always allowed, per second: of few calls a share is nothing.
const ALWAYS_PER_SECOND: u32 = 1;

/// How many calls may be sent again.
#[derive(Clone)]
pub(super) struct Retries(Option<Arc<TpsBudget>>);

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Retries").field(&self.0.is_some()).finish()
    }
}

impl Retries {
    /// At most that share of all calls; none at 0.
    pub fn new(percent: u32) -> Self {
        let share = percent.min(100) as f32 / 100.0;
        Self((percent > 0).then(|| Arc::new(TpsBudget::new(BUDGET_SPAN, ALWAYS_PER_SECOND, share))))
    }

    /// Whether any call is ever sent again.
    pub fn are_allowed(&self) -> bool {
        self.0.is_some()
    }

    /// Counts a call, which pays for a part of an attempt.
    pub fn count(&self) {
        if let Some(budget) = &self.0 {
            budget.deposit();
        }
    }

    /// Pays for a further attempt; `false` when nothing is left.
    pub fn pay(&self) -> bool {
        self.0.as_ref().is_some_and(|budget| budget.withdraw())
    }
}

/// A request that can be sent more than once.
pub(super) struct Kept {
    parts: Parts,
    body: bytes::Bytes,
}

impl Kept {
    /// Reads the request's one message, which its sender has in memory anyway.
    pub async fn of(request: Request<Body>) -> Result<Self, Status> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self { parts, body })
    }

    /// The request once more.
    pub fn request(&self) -> Request<Body> {
        Request::from_parts(self.parts.clone(), Body::new(Full::new(self.body.clone())))
    }
}

/// How long the peer asked to be left alone, when the call is worth another attempt: nothing answered, or it was turned away
/// before it cost anything. `None` when it is not.
pub(super) fn wait_before_another(
    outcome: &Result<Response<Body>, Status>,
    deadline: Option<Deadline>,
) -> Option<Duration> {
    let wait = match outcome {
        Err(status) if status.code() == tonic::Code::Unavailable => Duration::ZERO,
        Err(_) => return None,
        Ok(response) => {
            status_code(response.headers())?;
            let error = Error::from(Status::from_header_map(response.headers())?);
            match error.reason() {
                Reason::ShuttingDown => error.retry_after().unwrap_or_default(),
                Reason::Overloaded => error.retry_after()?,
                _ => return None,
            }
        }
    };
    // Half of what is left stays for the attempt itself.
    let fits = deadline.is_none_or(|deadline| (wait + LONGEST_PAUSE) * 2 <= deadline.remaining());
    fits.then_some(wait)
}

/// The pauses of one call.
pub(super) struct Pauses(tower::retry::backoff::ExponentialBackoff);

impl Pauses {
    pub fn new() -> Self {
        static MAKER: LazyLock<ExponentialBackoffMaker> = LazyLock::new(|| {
            ExponentialBackoffMaker::new(PAUSE, LONGEST_PAUSE, 0.5, HasherRng::default())
                .expect("the constants are in order")
        });
        Self(MAKER.clone().make_backoff())
    }

    /// Waits as long as the peer asked for, and a little more at random.
    pub async fn next(&mut self, asked_for: Duration) {
        sleep(asked_for).await;
        self.0.next_backoff().await;
    }
}
