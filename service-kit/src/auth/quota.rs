//! How much a tenant may ask for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

use super::{AuthOptions, Tenant};
use crate::{Error, Reason};

/// When a tenant with too many calls in flight should come back: nobody knows when they end.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Accounts that are kept at most; those that nobody uses go first.
const MAX_ACCOUNTS: usize = 65_536;

/// What a tenant may ask for; 0 stands for as much as it likes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaOptions {
    /// Calls at the same time.
    pub calls_in_flight: u32,
    /// Calls in a second, on average; as many may come at once.
    pub calls_per_second: u32,
    /// Tokens of language models in a minute, read and written, on average; as many may be used at once. They are booked
    /// when a call has ended, and the next call waits until they are made up for.
    pub tokens_per_minute: u64,
}

/// A bucket that fills at a constant rate up to its size. Pure: time comes in as an argument.
#[derive(Debug)]
struct Bucket {
    size: f64,
    per_second: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(size: f64, per_second: f64, now: Instant) -> Option<Self> {
        (size > 0.0).then_some(Self { size, per_second, level: size, at: now })
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + since * self.per_second).min(self.size);
        self.at = now;
    }

    /// How long until at least `amount` is in it; `None` if it is now.
    fn wait_for(&mut self, amount: f64, now: Instant) -> Option<Duration> {
        self.fill(now);
        let missing = amount.min(self.size) - self.level;
        // Up to a millisecond too little comes of rounding the wait that was asked for.
        (missing > 1e-9).then(|| Duration::from_secs_f64(missing / self.per_second).max(Duration::from_millis(1)))
    }

    /// Takes an amount out, even if there is less.
    fn take(&mut self, amount: f64, now: Instant) {
        self.fill(now);
        self.level -= amount;
    }
}

/// What a tenant has used of its quota.
#[derive(Debug)]
pub struct Account {
    tenant: Tenant,
    quota: QuotaOptions,
    in_flight: AtomicU32,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    calls: Option<Bucket>,
    tokens: Option<Bucket>,
}

impl Account {
    fn new(tenant: Tenant, quota: &QuotaOptions, now: Instant) -> Arc<Self> {
        let calls = f64::from(quota.calls_per_second);
        let tokens = quota.tokens_per_minute as f64;
        let buckets =
            Buckets { calls: Bucket::new(calls, calls, now), tokens: Bucket::new(tokens, tokens / 60.0, now) };
        Arc::new(Self { tenant, quota: quota.clone(), in_flight: AtomicU32::new(0), buckets: Mutex::new(buckets) })
    }

    /// Lets a call in, or says which quota is used up and when to come back.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Result<Running, Error> {
        // Counted first, so that a burst of calls does not slip through together.
        let running = Running::begin(self);
        let limit = self.quota.calls_in_flight;
        if limit > 0 && running.number > limit {
            return Err(self.exceeded(&format!("{limit} calls in flight"), RETRY_AFTER));
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = buckets.tokens.as_mut().and_then(|tokens| tokens.wait_for(0.0, now)) {
            return Err(self.exceeded(&format!("{} tokens a minute", self.quota.tokens_per_minute), wait));
        }
        if let Some(calls) = &mut buckets.calls {
            if let Some(wait) = calls.wait_for(1.0, now) {
                return Err(self.exceeded(&format!("{} calls a second", self.quota.calls_per_second), wait));
            }
            calls.take(1.0, now);
        }
        drop(buckets);
        Ok(running)
    }

    /// Books tokens that were used.
    pub(super) fn used_tokens(&self, tokens: u64, now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = &mut buckets.tokens {
            bucket.take(tokens as f64, now);
        }
    }

    fn exceeded(&self, quota: &str, wait: Duration) -> Error {
        let message = format!("the tenant's quota of {quota} is used up");
        Error::new(Reason::QuotaExceeded, message)
            .with_quota(format!("tenant:{}", self.tenant), quota)
            .with_retry_after(wait)
    }

    /// Whether it says nothing that a new one would not: nothing runs, and nothing is owed.
    fn is_idle(&self, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { calls, tokens } = &mut *buckets;
        let full = |bucket: &mut Option<Bucket>| {
            bucket.as_mut().is_none_or(|bucket| bucket.wait_for(bucket.size, now).is_none())
        };
        self.in_flight.load(Ordering::Relaxed) == 0 && full(calls) && full(tokens)
    }
}

/// A call in flight.
#[derive(Debug)]
pub(super) struct Running {
    account: Arc<Account>,
    number: u32,
}

impl Running {
    fn begin(account: &Arc<Account>) -> Self {
        let number = account.in_flight.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Self { account: Arc::clone(account), number }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.account.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The accounts of all tenants.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<HashMap<Tenant, Arc<Account>>>);

impl Accounts {
    /// A tenant's account, opened when it first calls.
    pub fn of(&self, tenant: &Tenant, options: &AuthOptions, now: Instant) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(tenant) {
            return Arc::clone(account);
        }
        if accounts.len() >= MAX_ACCOUNTS {
            accounts.retain(|_, account| !account.is_idle(now));
        }
        let account = Account::new(tenant.clone(), options.quota_of(tenant), now);
        accounts.insert(tenant.clone(), Arc::clone(&account));
        account
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(quota: QuotaOptions) -> (Arc<Account>, Instant) {
        let now = Instant::now();
        (Account::new(Tenant::named("acme").expect("a name"), &quota, now), now)
    }

    #[test]
    fn calls_in_flight_are_counted_until_they_end() {
        let (account, now) = account(QuotaOptions { calls_in_flight: 2, ..QuotaOptions::default() });
        let first = account.enter(now).expect("the first");
        let _second = account.enter(now).expect("the second");
        for _ in 0..3 {
            let error = account.enter(now).expect_err("a third");
            assert_eq!((error.reason(), error.retry_after()), (Reason::QuotaExceeded, Some(RETRY_AFTER)));
        }
        drop(first);
        account.enter(now).expect("refused calls leave nothing behind");
    }

    #[test]
    fn calls_come_at_their_rate_and_the_hint_is_kept() {
        let (account, mut now) = account(QuotaOptions { calls_per_second: 10, ..QuotaOptions::default() });
        (0..10).for_each(|_| drop(account.enter(now).expect("as many as a second has")));
        for _ in 0..30 {
            let wait = account.enter(now).expect_err("too many").retry_after().expect("a hint");
            assert!(wait <= Duration::from_millis(101), "{wait:?}");
            now += wait;
            account.enter(now).expect("whoever waits as told is let in");
        }
        now += Duration::from_secs(3_600);
        let burst = (0..100).take_while(|_| account.enter(now).is_ok()).count();
        assert_eq!(burst, 10, "what was not used is not saved up");
    }

    #[test]
    fn tokens_are_booked_afterwards_and_made_up_for() {
        let (account, now) = account(QuotaOptions { tokens_per_minute: 600, ..QuotaOptions::default() });
        account.enter(now).expect("nothing is used");
        account.used_tokens(900, now);
        let wait = account.enter(now).expect_err("300 are owed").retry_after().expect("a hint");
        assert!((29.0..=31.0).contains(&wait.as_secs_f64()), "{wait:?}");
        account.enter(now + wait).expect("made up for");
    }

    #[test]
    fn without_a_quota_everything_is_let_in() {
        let (account, now) = account(QuotaOptions::default());
        let running: Vec<_> = (0..1_000).map(|_| account.enter(now).expect("let in")).collect();
        account.used_tokens(u64::MAX, now);
        account.enter(now).expect("let in");
        assert_eq!(running.len(), 1_000);
    }
}
