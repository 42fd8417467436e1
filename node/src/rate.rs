//! How many requests one subject may make of this node (`contract §9`); off unless configured.
//!
//! One busy client must not take the node from the others. Subjects are those of tokens that this
//! cluster has signed, so there are no more of them than accounts.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use lockbox_core::Subject;
use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome};

use crate::config::LimitsConfig;

/// After so many requests those subjects are forgotten that have not asked for a while.
const FORGET_EVERY: u32 = 10_000;

type Limiter = RateLimiter<
    Subject,
    HashMapStateStore<Subject>,
    MonotonicClock,
    NoOpMiddleware<<MonotonicClock as Clock>::Instant>,
>;

/// The limit of each subject.
pub struct RateLimits {
    /// Nothing when there is no limit.
    limiter: Option<Limiter>,
    /// Requests since the start, wrapping.
    counted: AtomicU32,
}

impl RateLimits {
    /// As configured.
    #[must_use]
    pub fn new(limits: &LimitsConfig) -> Self {
        let rate = NonZeroU32::new(limits.requests_per_second);
        let limiter = rate.map(|rate| {
            let burst = NonZeroU32::new(limits.requests_burst).unwrap_or(rate);
            let quota = Quota::per_second(rate).allow_burst(burst);
            RateLimiter::new(quota, HashMapStateStore::default(), MonotonicClock)
        });
        Self { limiter, counted: AtomicU32::new(0) }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED, with the time after which the next one is let through.
    pub fn admit(&self, subject: &Subject) -> Result<(), ApiError> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.counted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        limiter.check_key(subject).map_err(|not_until| {
            let retry_after = not_until.wait_time_from(MonotonicClock.now());
            let busy = ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after });
            ApiError::new(busy, "too many requests of this subject", Outcome::NotProposed)
        })
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::ServiceAccountId;
    use tonic::Code;

    use super::*;

    fn subject(id: &str) -> Subject {
        Subject::service_account(&ServiceAccountId::parse(id).unwrap())
    }

    #[test]
    fn each_subject_has_a_limit_of_its_own() {
        let config =
            LimitsConfig { requests_per_second: 1, requests_burst: 3, ..Default::default() };
        let limits = RateLimits::new(&config);
        for _ in 0..3 {
            limits.admit(&subject("aje1")).unwrap();
        }
        // A second has not passed, however slow the machine: were it so, this would be the fourth.
        let refused = (0..100).find_map(|_| limits.admit(&subject("aje1")).err()).unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        limits.admit(&subject("aje2")).unwrap();
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let limits = RateLimits::new(&LimitsConfig::default());
        for _ in 0..10_000 {
            limits.admit(&subject("aje1")).unwrap();
        }
    }
}
