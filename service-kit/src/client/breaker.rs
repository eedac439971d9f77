//! Leaves a peer alone that does not answer, and lets a call through now and then to see whether it is back.
//!
//! There is one [`Breaker`] for each class of calls: a peer whose generations fail may well search.

mod state;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Duration, Instant};
use tonic::Status;

pub(super) use self::state::Health;
use self::state::{Breaker, Mark, Phase, Rule, Verdict};
use super::{BreakerOptions, reason_of};
use crate::{Error, Service, method::Class, telemetry::metrics};

/// The breakers between a caller and a peer.
#[derive(Clone, Debug)]
pub(super) struct Breakers {
    caller: Service,
    peer: Service,
    /// One for each of [`Class::ALL`], in its order; `None` when they are turned off.
    states: Option<Arc<[Mutex<Breaker>; Class::ALL.len()]>>,
}

impl Breakers {
    pub fn new(caller: Service, peer: Service, options: &BreakerOptions) -> Self {
        let rule = Rule {
            calls: options.calls,
            failures_percent: options.failures_percent,
            pause: Duration::from_millis(options.pause_ms),
        };
        let is_on = options.calls > 0 && caller != Service::Cli;
        let states = is_on.then(|| Arc::new(Class::ALL.map(|_| Mutex::new(Breaker::new(rule, Instant::now())))));
        Self { caller, peer, states }
    }

    /// Lets a call through, or refuses it at once. The outcome is told to the ticket.
    pub fn pass(&self, class: Option<Class>) -> Result<Ticket, Status> {
        let verdict = class.and_then(|class| {
            let verdict = self.with(class, |breaker| breaker.ask(Instant::now()))?;
            Some((class, verdict))
        });
        let of = match verdict {
            None => None,
            Some((class, Verdict::Pass(mark))) => Some((class, mark)),
            Some((_, Verdict::Refuse(pause))) => return Err(self.left_alone(pause).into()),
        };
        Ok(Ticket { breakers: self.clone(), of })
    }

    fn left_alone(&self, pause: Duration) -> Error {
        let message = format!(
            "the {} has not answered of late and is left alone for another {} ms",
            self.peer,
            pause.as_millis().max(1)
        );
        Error::new(reason_of(self.peer), message).with_retry_after(pause.max(Duration::from_millis(1)))
    }

    /// Does something with the breaker of a class, and reports the change if its state is another then.
    fn with<T>(&self, class: Class, what: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
        let state = &self.states.as_ref()?[class as usize];
        let (before, outcome, after) = {
            let mut breaker = state.lock().unwrap_or_else(PoisonError::into_inner);
            let before = breaker.phase();
            let outcome = what(&mut breaker);
            (before, outcome, breaker.phase())
        };
        if before != after {
            self.report(class, after);
        }
        Some(outcome)
    }

    fn report(&self, class: Class, phase: Phase) {
        let (peer, state) = (self.peer, phase.name());
        metrics::of(self.caller).breaker_changed(peer, class, state, phase != Phase::Closed);
        match phase {
            Phase::Open => {
                tracing::warn!(%peer, class = class.name(), state, "a peer does not answer and is left alone");
            }
            Phase::Closed | Phase::HalfOpen => {
                tracing::info!(%peer, class = class.name(), state, "a circuit breaker changed");
            }
        }
    }
}

/// A call that was let through. Dropped without a word, it says nothing about the peer.
#[derive(Debug)]
pub(super) struct Ticket {
    breakers: Breakers,
    of: Option<(Class, Mark)>,
}

impl Ticket {
    /// Says how the call ended.
    pub fn tell(mut self, health: Health) {
        self.settle(health);
    }

    fn settle(&mut self, health: Health) {
        if let Some((class, mark)) = self.of.take() {
            self.breakers.with(class, |breaker| breaker.tell(mark, health, Instant::now()));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(Health::Unknown);
    }
}
