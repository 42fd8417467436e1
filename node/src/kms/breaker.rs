//! Whether the KMS is asked at all: closed while it answers, open while it does not.
//!
//! Opens after [`FAILURES_MAX`] calls in a row that nobody answered; what the KMS refuses is an
//! answer. While it is open a call fails at once and says when to come back. After a pause, which
//! grows and is drawn anew each time, one call goes through: its answer closes the breaker, its
//! failure opens it for longer. So many calls are under way at most, and those that it refuses are
//! told different times, so that a KMS that comes back meets no crowd. Knows nothing of what is
//! asked.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockbox_core::Randomness;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

/// Calls without an answer, one after the other, that open it.
pub(super) const FAILURES_MAX: u32 = 5;
/// The first pause; each is drawn between its half and its whole.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause: how late it may be seen that the KMS is back.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(4);
/// Callers do not come back sooner than this, however soon the KMS is tried again.
pub(super) const TOLD_MIN: Duration = Duration::from_millis(100);
/// Calls under way at one time.
pub(super) const IN_FLIGHT_MAX: usize = 128;
/// Calls that wait for one of them to end.
pub(super) const WAITING_MAX: usize = 1024;

/// Why a call was not made: nothing of it has left this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAsked {
    /// The KMS does not answer; it is tried again after this time.
    Resting {
        /// When to come back.
        retry_after: Duration,
    },
    /// Too many calls wait for it already.
    Crowded,
    /// The caller's time was over before it was its turn.
    Late,
}

/// Where it stands, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Calls go through.
    Closed,
    /// One call finds out whether others may.
    Probing,
    /// None goes through.
    Open,
}

/// How many calls there are, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Under way.
    pub in_flight: usize,
    /// Most of them.
    pub in_flight_max: usize,
    /// That wait for one of them to end.
    pub waiting: usize,
    /// Most of those.
    pub waiting_max: usize,
}

/// What the breaker has done so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Times that it opened, by a failed probe too.
    pub(super) opens: AtomicU64,
    /// Calls that it did not let through.
    pub(super) not_asked: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration },
    Probing { pause: Duration },
}

struct Inner {
    phase: Phase,
    /// Tells calls of this phase from those of earlier ones, whose late ends say nothing new.
    era: u64,
}

/// The breaker of one client. It has no task: time passes when somebody asks.
pub(super) struct Breaker {
    inner: Mutex<Inner>,
    /// Whether it is open, for who waits.
    open: watch::Sender<bool>,
    in_flight: Semaphore,
    waiting: Semaphore,
    random: Arc<dyn Randomness>,
    counts: Counts,
}

/// The right to make one call. Whoever drops it without a word has learnt nothing.
pub(super) struct Ticket<'b> {
    breaker: &'b Breaker,
    era: u64,
    told: bool,
    _permit: SemaphorePermit<'b>,
}

impl Breaker {
    /// Closed.
    pub(super) fn new(random: Arc<dyn Randomness>) -> Self {
        Self {
            inner: Mutex::new(Inner { phase: Phase::Closed { failures: 0 }, era: 0 }),
            open: watch::Sender::new(false),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            waiting: Semaphore::new(WAITING_MAX),
            random,
            counts: Counts::default(),
        }
    }

    /// What it has done.
    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many calls are under way, and how many wait for their turn.
    pub(super) fn load(&self) -> Load {
        Load {
            in_flight: IN_FLIGHT_MAX.saturating_sub(self.in_flight.available_permits()),
            in_flight_max: IN_FLIGHT_MAX,
            waiting: WAITING_MAX.saturating_sub(self.waiting.available_permits()),
            waiting_max: WAITING_MAX,
        }
    }

    /// Where it stands.
    pub(super) fn state(&self) -> State {
        match self.lock().phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Probing { .. } => State::Probing,
            Phase::Open { .. } => State::Open,
        }
    }

    /// Lets a call through, or says why not.
    ///
    /// # Errors
    /// [`NotAsked`].
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Ticket<'_>, NotAsked> {
        let entered = self.try_enter(deadline).await;
        if entered.is_err() {
            self.counts.not_asked.fetch_add(1, Ordering::Relaxed);
        }
        entered
    }

    async fn try_enter(&self, deadline: Instant) -> Result<Ticket<'_>, NotAsked> {
        // Before the wait for a place: nobody waits for a KMS that rests.
        let phase = self.lock().phase;
        self.rested(phase)?;
        let permit = match self.in_flight.try_acquire() {
            Ok(permit) => permit,
            Err(_taken) => self.wait_for_place(deadline).await?,
        };
        let era = self.admit()?;
        Ok(Ticket { breaker: self, era, told: false, _permit: permit })
    }

    async fn wait_for_place(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, NotAsked> {
        let _waiting = self.waiting.try_acquire().map_err(|_full| NotAsked::Crowded)?;
        tokio::select! {
            biased;
            () = self.opened() => Err(self.resting(PAUSE_MIN, PAUSE_MIN)),
            // The semaphore is never closed.
            permit = self.in_flight.acquire() => permit.map_err(|_closed| NotAsked::Crowded),
            () = tokio::time::sleep_until(deadline) => Err(NotAsked::Late),
        }
    }

    async fn opened(&self) {
        let mut open = self.open.subscribe();
        // It cannot fail: the sender lives in `self`, which outlives this call.
        if open.wait_for(|open| *open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The era that the call belongs to. The first one after a pause becomes the probe.
    fn admit(&self) -> Result<u64, NotAsked> {
        let mut inner = self.lock();
        self.rested(inner.phase)?;
        if let Phase::Open { pause, .. } = inner.phase {
            self.change(&mut inner, Phase::Probing { pause });
        }
        Ok(inner.era)
    }

    fn change(&self, inner: &mut Inner, phase: Phase) {
        inner.phase = phase;
        inner.era += 1;
        self.open.send_if_modified(|open| {
            let is_open = matches!(phase, Phase::Open { .. });
            std::mem::replace(open, is_open) != is_open
        });
    }

    fn open_for(&self, inner: &mut Inner, pause: Duration) {
        let until = Instant::now() + self.drawn(pause);
        self.counts.opens.fetch_add(1, Ordering::Relaxed);
        self.change(inner, Phase::Open { until, pause });
    }

    /// Between the half and the whole of a pause, so that nodes do not come back all at once.
    fn drawn(&self, pause: Duration) -> Duration {
        let half = pause / 2;
        half + self.part(half)
    }

    /// A time within a quarter of this one, before or after it, so that callers who failed together
    /// do not come back together.
    pub(super) fn around(&self, time: Duration) -> Duration {
        time - time / 4 + self.part(time / 2)
    }

    /// Between nothing and the whole.
    fn part(&self, whole: Duration) -> Duration {
        let mut bytes = [0; 2];
        self.random.fill(&mut bytes);
        whole * u32::from(u16::from_le_bytes(bytes)) / u32::from(u16::MAX)
    }

    /// Refuses while nothing is let through.
    fn rested(&self, phase: Phase) -> Result<(), NotAsked> {
        let now = Instant::now();
        match phase {
            Phase::Closed { .. } => Ok(()),
            Phase::Open { until, .. } if until <= now => Ok(()),
            Phase::Open { until, pause } => Err(self.resting(until - now, pause)),
            Phase::Probing { pause } => Err(self.resting(pause, pause)),
        }
    }

    /// Nobody is told to come back before the rest is over, and not all at its end: some of them
    /// half of a pause later.
    fn resting(&self, rest: Duration, pause: Duration) -> NotAsked {
        NotAsked::Resting { retry_after: rest.max(TOLD_MIN) + self.part(pause / 2) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds it can panic half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// The KMS has answered, whatever it said.
    pub(super) fn answered(mut self) {
        self.told = true;
        let mut inner = self.breaker.lock();
        if inner.era != self.era {
            return;
        }
        match inner.phase {
            Phase::Closed { .. } => inner.phase = Phase::Closed { failures: 0 },
            Phase::Probing { .. } => {
                tracing::info!("the KMS answers again");
                self.breaker.change(&mut inner, Phase::Closed { failures: 0 });
            }
            Phase::Open { .. } => {}
        }
    }

    /// Nobody has answered.
    pub(super) fn failed(mut self) {
        self.told = true;
        let mut inner = self.breaker.lock();
        if inner.era != self.era {
            return;
        }
        match inner.phase {
            Phase::Closed { failures } if failures + 1 < FAILURES_MAX => {
                inner.phase = Phase::Closed { failures: failures + 1 };
            }
            Phase::Closed { .. } => {
                tracing::warn!("the KMS does not answer: calls fail at once until it does");
                self.breaker.open_for(&mut inner, PAUSE_MIN);
            }
            Phase::Probing { pause } => {
                self.breaker.open_for(&mut inner, (pause * 2).min(PAUSE_MAX));
            }
            Phase::Open { .. } => {}
        }
    }
}

impl Drop for Ticket<'_> {
    /// A probe that ended without a word makes room for the next one.
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let mut inner = self.breaker.lock();
        if inner.era == self.era
            && let Phase::Probing { pause } = inner.phase
        {
            self.breaker.change(&mut inner, Phase::Open { until: Instant::now(), pause });
        }
    }
}
