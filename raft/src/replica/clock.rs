//! The time that goes into the log: never back, and never far from what most voters see.
//!
//! One fast clock must not poison log time (`design §5`): each append reply carries the voter's
//! own wall clock, and a leader stamps `max(previous, min(own clock, median of voters + 500 ms))`.
//! Between stamps, log time goes on with the monotonic clock.
//!
//! That clock stands still while the process is down, so a process that has just started knows
//! only how late it was when it ended. It learns the time with its first read barrier, from a
//! leader that has stamped it in the present term ([`ClusterClock::confirmed`]). Log time here is
//! a lower bound: a leader stamps no less than its own, unless the median holds it back, and a
//! follower's comes from what a leader has stamped or told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockbox_core::{Clock, LogTime, NodeId};

use crate::network::VoterClocks;

/// How far the leader's clock may be ahead of the median of the voters before it is cut.
const AHEAD_OF_MEDIAN_MAX_MS: u64 = 500;
/// Skew between this node and a voter that raises the alarm.
const SKEW_ALARM_MS: u64 = 250;
/// A voter's clock counts for this long after it was heard; then the voter is taken for absent.
const HEARD_VALID: Duration = Duration::from_secs(10);

/// A voter's wall clock as it was heard.
#[derive(Debug, Clone, Copy)]
struct Heard {
    wall_ms: u64,
    at: Duration,
}

#[derive(Debug, Default)]
struct Voters {
    ids: BTreeSet<NodeId>,
    heard: BTreeMap<NodeId, Heard>,
}

/// Stamps proposals and tells the log's time.
pub(crate) struct ClusterClock {
    me: NodeId,
    clock: Arc<dyn Clock>,
    voters: Mutex<Voters>,
    /// The largest stamp applied. Not the largest given: one that a leader without a quorum gave
    /// by its own clock alone must not outlive its proposal.
    latest_ms: AtomicU64,
    /// When that stamp was applied, or this leader stamped to no effect, on the monotonic clock.
    risen_at_ms: AtomicI64,
    /// The largest (log time − monotonic clock) seen: log time is the monotonic clock plus this,
    /// so it goes on while nothing is applied and never back.
    lead_ms: AtomicI64,
    /// Whether a leader has confirmed the time in this process's life.
    known: AtomicBool,
    skew_ms: AtomicU64,
    alarmed: AtomicBool,
}

impl ClusterClock {
    pub(crate) fn new(me: NodeId, clock: Arc<dyn Clock>) -> Self {
        Self {
            me,
            clock,
            voters: Mutex::default(),
            latest_ms: AtomicU64::new(0),
            risen_at_ms: AtomicI64::new(i64::MIN),
            lead_ms: AtomicI64::new(i64::MIN),
            known: AtomicBool::new(false),
            skew_ms: AtomicU64::new(0),
            alarmed: AtomicBool::new(false),
        }
    }

    /// The voters of the membership in force; only their clocks count.
    pub(crate) fn set_voters(&self, ids: BTreeSet<NodeId>) {
        let mut voters = self.voters.lock().unwrap_or_else(PoisonError::into_inner);
        voters.heard.retain(|id, _| ids.contains(id));
        voters.ids = ids;
    }

    /// The stamp of the next proposal: never below one that was applied. Two that are under way
    /// may be out of order; `apply` takes the larger of an entry's and the log's.
    pub(crate) fn stamp(&self) -> LogTime {
        // Where a wall clock was set back, views go on with the monotonic one: so must stamps,
        // or `apply` would let live what a view holds for dead.
        let own_ms = self.clock.wall_ms().max(self.log_now().as_ms());
        let bound_ms = self.median_ms(own_ms).saturating_add(AHEAD_OF_MEDIAN_MAX_MS);
        LogTime::from_ms(own_ms.min(bound_ms).max(self.latest_ms.load(Ordering::Acquire)))
    }

    /// Takes note of a stamp that was applied: neither stamps nor log time go below it.
    pub(crate) fn applied(&self, stamp: LogTime) {
        if stamp == LogTime::default() {
            return;
        }
        if self.latest_ms.fetch_max(stamp.as_ms(), Ordering::AcqRel) < stamp.as_ms() {
            self.risen_at_ms.fetch_max(self.monotonic_ms(), Ordering::AcqRel);
        }
        self.not_before(stamp);
    }

    /// Takes in the time of a leader that a quorum confirmed just now. From here on this process
    /// knows the time.
    pub(crate) fn confirmed(&self, leaders: LogTime) {
        self.not_before(leaders);
        self.known.store(true, Ordering::Release);
    }

    /// Whether [`Self::log_now`] is the time: before that it may be late by as long as this
    /// process was not running.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// This leader has stamped just now. Where log time is ahead of the voters' clocks, as after
    /// they were set back, the stamp was no later than the last one, and the next would be none
    /// either: without this it would be stamped again at once, and again, until they catch up.
    pub(crate) fn stamped(&self) {
        self.risen_at_ms.fetch_max(self.monotonic_ms(), Ordering::AcqRel);
    }

    /// How long nothing later was applied, and this leader did not stamp; for ever when neither
    /// ever was.
    pub(crate) fn quiet_for(&self) -> Duration {
        let risen_at_ms = self.risen_at_ms.load(Ordering::Acquire);
        if risen_at_ms == i64::MIN {
            return Duration::MAX;
        }
        let quiet_ms = self.monotonic_ms().saturating_sub(risen_at_ms);
        Duration::from_millis(u64::try_from(quiet_ms).unwrap_or(0))
    }

    /// Log time is at least this now.
    fn not_before(&self, time: LogTime) {
        let lead_ms = to_signed(time.as_ms()).saturating_sub(self.monotonic_ms());
        self.lead_ms.fetch_max(lead_ms, Ordering::AcqRel);
    }

    /// [`Self::log_now`], after taking note of the stamp that the state is at: what was published
    /// may not have reached this clock yet.
    pub(crate) fn log_now_at(&self, applied: LogTime) -> LogTime {
        self.applied(applied);
        self.log_now()
    }

    /// The log's time now: the last applied stamp, or the last time that a leader told, plus the
    /// time since. Zero while there is neither.
    pub(crate) fn log_now(&self) -> LogTime {
        let lead_ms = self.lead_ms.load(Ordering::Acquire);
        if lead_ms == i64::MIN {
            return LogTime::default();
        }
        let now_ms = self.monotonic_ms().saturating_add(lead_ms);
        LogTime::from_ms(u64::try_from(now_ms).unwrap_or(0))
    }

    /// This node's wall clock, which nothing may be judged by (`Mutant::DestroyByWallClock`).
    pub(crate) fn own_wall(&self) -> LogTime {
        LogTime::from_ms(self.clock.wall_ms())
    }

    /// The largest skew that was seen between this node and a voter, in the last round of replies.
    pub(crate) fn skew_ms(&self) -> u64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    /// The lower median of the clocks of all voters that were heard lately, this node's included.
    /// The lower one, because a clock that is behind delays log time and one that is ahead
    /// expires tokens and secrets.
    fn median_ms(&self, own_ms: u64) -> u64 {
        let now = self.clock.monotonic();
        let voters = self.voters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut clocks_ms: Vec<u64> = voters
            .heard
            .values()
            .filter(|heard| now.saturating_sub(heard.at) <= HEARD_VALID)
            .map(|heard| heard.wall_ms.saturating_add(whole_ms(now.saturating_sub(heard.at))))
            .collect();
        clocks_ms.push(own_ms);
        clocks_ms.sort_unstable();
        clocks_ms[(clocks_ms.len() - 1) / 2]
    }

    fn monotonic_ms(&self) -> i64 {
        to_signed(whole_ms(self.clock.monotonic()))
    }

    /// Says once that a clock is off, and once that it is well again.
    fn watch_skew(&self, peer: NodeId, skew_ms: u64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
        let bad = skew_ms > SKEW_ALARM_MS;
        if bad != self.alarmed.swap(bad, Ordering::Relaxed) {
            if bad {
                tracing::warn!(peer, skew_ms, "wall clocks of two nodes are too far apart");
            } else {
                tracing::info!(peer, skew_ms, "wall clocks of the nodes agree again");
            }
        }
    }
}

impl VoterClocks for ClusterClock {
    fn heard(&self, peer: NodeId, wall_clock_ms: u64) {
        let at = self.clock.monotonic();
        let own_ms = self.clock.wall_ms();
        let mut voters = self.voters.lock().unwrap_or_else(PoisonError::into_inner);
        if peer == self.me || !voters.ids.contains(&peer) {
            return;
        }
        voters.heard.insert(peer, Heard { wall_ms: wall_clock_ms, at });
        let recent =
            voters.heard.values().filter(|heard| at.saturating_sub(heard.at) <= HEARD_VALID);
        let skew_ms = recent
            .map(|heard| {
                let since_ms = whole_ms(at.saturating_sub(heard.at));
                own_ms.abs_diff(heard.wall_ms.saturating_add(since_ms))
            })
            .max();
        drop(voters);
        self.watch_skew(peer, skew_ms.unwrap_or(0));
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn to_signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct HandClock {
        wall_ms: AtomicU64,
        monotonic_ms: AtomicU64,
    }

    impl Clock for HandClock {
        fn wall_ms(&self) -> u64 {
            self.wall_ms.load(Ordering::Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.monotonic_ms.load(Ordering::Relaxed))
        }
    }

    fn clock_at(wall_ms: u64) -> (Arc<HandClock>, ClusterClock) {
        let hand = Arc::new(HandClock::default());
        hand.wall_ms.store(wall_ms, Ordering::Relaxed);
        let cluster = ClusterClock::new(1, Arc::clone(&hand) as Arc<dyn Clock>);
        (hand, cluster)
    }

    #[test]
    fn stamps_follow_the_clock_and_never_go_back() {
        let (hand, cluster) = clock_at(1_000);
        assert_eq!(cluster.stamp().as_ms(), 1_000);
        cluster.applied(LogTime::from_ms(1_000));
        hand.wall_ms.store(400, Ordering::Relaxed);
        assert_eq!(cluster.stamp().as_ms(), 1_000);
        cluster.applied(LogTime::from_ms(5_000));
        assert_eq!(cluster.stamp().as_ms(), 5_000);
        hand.wall_ms.store(6_000, Ordering::Relaxed);
        assert_eq!(cluster.stamp().as_ms(), 6_000);
    }

    #[test]
    fn stamps_are_not_behind_what_views_are_judged_by() {
        let (hand, cluster) = clock_at(10_000);
        cluster.applied(LogTime::from_ms(10_000));
        hand.wall_ms.store(3_000, Ordering::Relaxed);
        hand.monotonic_ms.store(2_000, Ordering::Relaxed);
        assert_eq!(cluster.log_now().as_ms(), 12_000);
        assert_eq!(cluster.stamp().as_ms(), 12_000);
    }

    #[test]
    fn a_stamp_that_was_never_applied_is_forgotten() {
        let (_, lonely) = clock_at(1_000_000);
        lonely.set_voters([1, 2, 3].into());
        assert_eq!(lonely.stamp().as_ms(), 1_000_000);
        lonely.heard(2, 10_000);
        lonely.heard(3, 10_000);
        assert_eq!(lonely.stamp().as_ms(), 10_500);
    }

    #[test]
    fn a_fast_monotonic_clock_does_not_carry_stamps_past_the_median() {
        let (hand, cluster) = clock_at(10_000);
        cluster.set_voters([1, 2, 3].into());
        cluster.applied(LogTime::from_ms(10_000));
        hand.monotonic_ms.store(900_000, Ordering::Relaxed);
        cluster.heard(2, 20_000);
        cluster.heard(3, 20_000);
        assert_eq!(cluster.log_now().as_ms(), 910_000);
        assert_eq!(cluster.stamp().as_ms(), 20_500);
    }

    #[test]
    fn a_leaders_time_is_taken_in_and_makes_the_time_known() {
        let (hand, cluster) = clock_at(0);
        cluster.applied(LogTime::from_ms(10_000));
        assert!(!cluster.is_known(), "an old stamp says nothing of the present");
        cluster.confirmed(LogTime::from_ms(90_000));
        assert!(cluster.is_known());
        hand.monotonic_ms.store(50, Ordering::Relaxed);
        assert_eq!(cluster.log_now().as_ms(), 90_050);
        cluster.confirmed(LogTime::from_ms(80_000));
        assert_eq!(cluster.log_now().as_ms(), 90_050, "never back");
        assert_eq!(cluster.log_now_at(LogTime::from_ms(95_000)).as_ms(), 95_000);
    }

    #[test]
    fn quiet_is_the_time_since_a_stamp_rose() {
        let (hand, cluster) = clock_at(0);
        assert_eq!(cluster.quiet_for(), Duration::MAX);
        cluster.applied(LogTime::from_ms(10_000));
        hand.monotonic_ms.store(700, Ordering::Relaxed);
        cluster.applied(LogTime::from_ms(10_000));
        assert_eq!(cluster.quiet_for(), Duration::from_millis(700));
        cluster.applied(LogTime::from_ms(10_001));
        assert_eq!(cluster.quiet_for(), Duration::ZERO);
    }

    #[test]
    fn a_fast_leader_is_cut_to_the_median_and_a_slow_one_is_not_pushed() {
        let (_, fast) = clock_at(1_000_000);
        fast.set_voters([1, 2, 3].into());
        fast.heard(2, 10_000);
        fast.heard(3, 10_100);
        assert_eq!(fast.stamp().as_ms(), 10_600, "median of three, plus 500");
        assert_eq!(fast.skew_ms(), 990_000);
        let (_, slow) = clock_at(2_000);
        slow.set_voters([1, 2, 3].into());
        slow.heard(2, 10_000);
        slow.heard(3, 10_100);
        assert_eq!(slow.stamp().as_ms(), 2_000);
    }

    #[test]
    fn a_heard_clock_goes_on_and_grows_old() {
        let (hand, cluster) = clock_at(1_000_000);
        cluster.set_voters([1, 2].into());
        cluster.heard(2, 10_000);
        cluster.heard(7, 0);
        hand.monotonic_ms.store(3_000, Ordering::Relaxed);
        assert_eq!(cluster.stamp().as_ms(), 13_500);
        hand.monotonic_ms.store(60_000, Ordering::Relaxed);
        assert_eq!(cluster.stamp().as_ms(), 1_000_000, "nobody else is there");
    }

    #[test]
    fn log_time_goes_on_between_stamps_and_never_back() {
        let (hand, cluster) = clock_at(0);
        assert_eq!(cluster.log_now(), LogTime::default());
        cluster.applied(LogTime::from_ms(10_000));
        assert_eq!(cluster.log_now().as_ms(), 10_000);
        hand.monotonic_ms.store(250, Ordering::Relaxed);
        assert_eq!(cluster.log_now().as_ms(), 10_250);
        cluster.applied(LogTime::from_ms(10_100));
        assert_eq!(cluster.log_now().as_ms(), 10_250);
        cluster.applied(LogTime::from_ms(20_000));
        assert_eq!(cluster.log_now().as_ms(), 20_000);
    }
}
