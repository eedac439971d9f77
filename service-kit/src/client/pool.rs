//! The replicas of a peer, and the choice between them.
//!
//! One HTTP/2 connection pins its client to one server, so there is one to each replica, and each call goes to the less
//! busy of two. A replica whose connection breaks, or that stays silent, is left out for a while. Names are resolved
//! again every few seconds, and at once when a replica is gone.

mod choose;
mod replica;
mod resolve;
mod standing;
mod target;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tonic::transport::Endpoint;

use self::{choose::Dice, choose::choose, resolve::Resolve, target::HostPort};
pub(super) use self::{
    replica::{Picked, Replica},
    standing::Verdict,
    target::Target,
};
use crate::{Service, tls::ClientTls};

/// The replicas of a peer. Cheap to clone; all clones choose between the same ones.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    peer: Service,
    /// How each replica is connected to.
    endpoint: Endpoint,
    tls: Option<Arc<ClientTls>>,
    known: watch::Sender<Known>,
    /// Rung when a replica is gone.
    wanted: Arc<Notify>,
    dice: Dice,
}

/// What is known of the replicas.
#[derive(Clone, Debug)]
enum Known {
    /// Nothing yet: the name is being resolved.
    Nothing,
    /// The name does not resolve, and never has.
    Unresolved(Arc<str>),
    /// These are there, at least one.
    Replicas(Arc<[Arc<Replica>]>),
}

impl Pool {
    /// The replicas that `target` names. Nothing is connected yet; a name is followed from now on.
    pub fn new(peer: Service, target: Target, endpoint: Endpoint, tls: Option<ClientTls>, every: Duration) -> Self {
        Self::with(peer, target, endpoint, tls, every, resolve::System)
    }

    fn with(
        peer: Service,
        target: Target,
        endpoint: Endpoint,
        tls: Option<ClientTls>,
        every: Duration,
        resolver: impl Resolve,
    ) -> Self {
        let inner = Arc::new(Inner {
            peer,
            endpoint,
            tls: tls.map(Arc::new),
            known: watch::Sender::new(Known::Nothing),
            wanted: Arc::default(),
            dice: Dice::new(),
        });
        match target {
            Target::One(one) => inner.update(vec![one]),
            Target::Several(several) => inner.update(several),
            Target::Name(name) => {
                // It ends by itself once nobody uses the pool.
                tokio::spawn(resolve::follow(Arc::downgrade(&inner), resolver, name, every));
            }
        }
        Self(inner)
    }

    /// A place for a call on a replica that is none of `tried`; `Ok(None)` when it has been to all.
    ///
    /// # Errors
    /// Says why the peer's name does not resolve.
    pub async fn pick(&self, tried: &[Arc<Replica>]) -> Result<Option<Picked>, Arc<str>> {
        let mut known = self.0.known.subscribe();
        // The sender is in this very pool, so it is there.
        let known = known.wait_for(|known| !matches!(known, Known::Nothing)).await.map(|known| known.clone());
        match known {
            Ok(Known::Replicas(replicas)) => Ok(self.choose(&replicas, tried)),
            Ok(Known::Unresolved(why)) => Err(why),
            Ok(Known::Nothing) | Err(_) => Err("its name is not resolved yet".into()),
        }
    }

    fn choose(&self, replicas: &[Arc<Replica>], tried: &[Arc<Replica>]) -> Option<Picked> {
        let place = match replicas {
            [one] => (!is_among(one, tried)).then_some(0)?,
            several => {
                let now = Instant::now();
                let candidate = |replica: &Arc<Replica>| replica.candidate(now, is_among(replica, tried));
                let candidates: Vec<_> = several.iter().map(candidate).collect();
                choose(&candidates, |bound| self.0.dice.below(bound))?
            }
        };
        Some(Arc::clone(&replicas[place]).take())
    }

    /// Whether a call that failed here could go elsewhere.
    pub fn has_others(&self) -> bool {
        matches!(&*self.0.known.borrow(), Known::Replicas(replicas) if replicas.len() > 1)
    }

    /// Whether some other replica is fit to be called.
    pub fn has_fit_others(&self, picked: &Picked) -> bool {
        let now = Instant::now();
        let Known::Replicas(replicas) = &*self.0.known.borrow() else { return false };
        let mut others = replicas.iter().filter(|replica| !Arc::ptr_eq(replica, picked.replica()));
        others.any(|replica| replica.candidate(now, false).is_fit)
    }

    /// Notes how a call went.
    pub fn note(&self, picked: &Picked, verdict: Verdict) {
        let replica = picked.replica();
        if replica.note(verdict, self.0.dice.share()) && self.has_others() {
            let peer = self.0.peer;
            tracing::warn!(%peer, replica = %replica.at, reason = ?verdict, "a replica is left out for a while");
            self.0.wanted.notify_one();
        }
    }
}

fn is_among(replica: &Arc<Replica>, tried: &[Arc<Replica>]) -> bool {
    tried.iter().any(|other| Arc::ptr_eq(replica, other))
}

impl Inner {
    /// Takes in what there is now. Replicas that stay keep their connections and their standing; calls on those that go
    /// are finished.
    fn update(&self, found: Vec<HostPort>) {
        let old = match &*self.known.borrow() {
            Known::Replicas(replicas) => Arc::clone(replicas),
            _ => Arc::default(),
        };
        if old.len() == found.len() && old.iter().zip(&found).all(|(replica, at)| replica.at == *at) {
            return;
        }
        let keep = |at: HostPort| match old.iter().find(|replica| replica.at == at) {
            Some(replica) => Arc::clone(replica),
            None => Replica::new(at, &self.endpoint, self.tls.as_ref()),
        };
        let new: Arc<[Arc<Replica>]> = found.into_iter().map(keep).collect();
        if !old.is_empty() {
            let (peer, replicas) = (self.peer, new.len());
            tracing::info!(%peer, replicas, "the replicas have changed");
        }
        self.known.send_replace(Known::Replicas(new));
    }

    /// Takes in that the name does not resolve now. Gives whether replicas are known from before.
    fn failed(&self, why: String) -> bool {
        let is_known = matches!(&*self.known.borrow(), Known::Replicas(_));
        let peer = self.peer;
        if is_known {
            tracing::debug!(%peer, error = why, "the name does not resolve now; the replicas of before are used");
        } else {
            tracing::warn!(%peer, error = why, "the name does not resolve");
            self.known.send_replace(Known::Unresolved(why.into()));
        }
        is_known
    }
}

#[cfg(test)]
mod tests;
