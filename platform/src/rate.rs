//! How many requests one subject may make of a server (`contract §9`); off unless configured.
//!
//! One busy client must not take the server from the others, nor from itself: who holds a token
//! that was revoked has no part of its subject's limit. Subjects and tokens are those that were
//! recognised before they are counted, so there are no more of them than accounts and logins.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use lockbox_core::{Subject, TokenId};

use crate::status::{ApiError, ErrorKind, Exhausted, Outcome};

/// After so many requests those are forgotten that have not asked for a while.
const FORGET_EVERY: u32 = 10_000;

/// How many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// In a second; 0 is no limit.
    pub per_second: u32,
    /// At once after a pause; 0 is as many as in a second.
    pub burst: u32,
}

/// What a request counts against. Each has the whole limit for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Counted {
    /// A subject, for what it does with tokens that count.
    Subject(Subject),
    /// One token: it is dead by the server's own view, or it revokes another one. A stolen token must
    /// neither use up what its owner has, nor keep the owner from revoking it.
    Token(TokenId),
    /// The logins of an account, once their signatures are verified.
    Logins(Subject),
}

impl Counted {
    const fn refusal(&self) -> &'static str {
        match self {
            Self::Subject(_) => "too many requests of this subject",
            Self::Token(_) => "too many requests with this token",
            Self::Logins(_) => "too many logins of this account",
        }
    }
}

type Limiter = RateLimiter<
    Counted,
    HashMapStateStore<Counted>,
    MonotonicClock,
    NoOpMiddleware<<MonotonicClock as Clock>::Instant>,
>;

/// The limit of each subject, token and login.
pub struct RateLimits {
    /// Nothing when there is no limit.
    limiter: Option<Limiter>,
    /// Requests since the start, wrapping.
    counted: AtomicU32,
}

impl RateLimits {
    /// This rate, for each of them.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let limiter = NonZeroU32::new(rate.per_second).map(|per_second| {
            let burst = NonZeroU32::new(rate.burst).unwrap_or(per_second);
            let quota = Quota::per_second(per_second).allow_burst(burst);
            RateLimiter::new(quota, HashMapStateStore::default(), MonotonicClock)
        });
        Self { limiter, counted: AtomicU32::new(0) }
    }

    /// Whether anything is counted at all.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.limiter.is_some()
    }

    /// Counts one request.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED, with the time after which the next one is let through.
    pub fn admit(&self, counted: &Counted) -> Result<(), ApiError> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.counted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        limiter.check_key(counted).map_err(|not_until| {
            let retry_after = not_until.wait_time_from(MonotonicClock.now());
            let busy = ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after });
            ApiError::new(busy, counted.refusal(), Outcome::NotProposed)
        })
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::ServiceAccountId;
    use tonic::Code;

    use super::*;

    fn account(id: &str) -> Subject {
        Subject::service_account(&ServiceAccountId::parse(id).unwrap())
    }

    fn subject(id: &str) -> Counted {
        Counted::Subject(account(id))
    }

    #[test]
    fn each_subject_has_a_limit_of_its_own() {
        let limits = RateLimits::new(Rate { per_second: 1, burst: 3 });
        for _ in 0..3 {
            limits.admit(&subject("aje1")).unwrap();
        }
        // A second has not passed, however slow the machine: were it so, this would be the fourth.
        let refused = (0..100).find_map(|_| limits.admit(&subject("aje1")).err()).unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        limits.admit(&subject("aje2")).unwrap();
        limits.admit(&Counted::Logins(account("aje1"))).unwrap();
        limits.admit(&Counted::Token(TokenId::parse("ait1").unwrap())).unwrap();
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let limits = RateLimits::new(Rate::default());
        assert!(!limits.is_limited());
        for _ in 0..10_000 {
            limits.admit(&subject("aje1")).unwrap();
        }
    }
}
