//! Log time while nobody writes: after a downtime, across terms, and on nodes whose own clock or
//! log says something else.

use std::time::Duration;

use lockbox_core::{LogTime, NodeId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::harness::soon;
use super::{initialised, unchanged};
use crate::replica::Replica;
use crate::replica::read_point::TimeEntry;
use crate::replica::timekeeper::{QUIET_MAX, Timekeeper};
use crate::state::tables;

const NIGHT: Duration = Duration::from_secs(9 * 3600);
const NIGHT_MS: i64 = 9 * 3_600_000;
const DAY_MS: i64 = 24 * 3_600_000;
/// More than a test takes, less than anything it looks for.
const MOMENT: Duration = Duration::from_secs(300);

/// The time that a linearizable read is judged by, and the largest stamp in its view.
async fn read_times(replica: &Replica) -> (LogTime, LogTime) {
    let times = |view: &crate::store::View<'_>, now| (now, tables::log_time(view).unwrap());
    replica.read(soon(), times).await.unwrap().value
}

async fn read_time(replica: &Replica) -> LogTime {
    read_times(replica).await.0
}

/// Waits until a stamp of at least this is applied.
async fn stamped(replica: &Replica, at_least: LogTime) {
    let mut applied = replica.0.state.applied();
    let reached = applied.wait_for(|applied| applied.log_time >= at_least);
    tokio::time::timeout_at(soon(), reached).await.unwrap().unwrap();
}

fn assert_a_night_later(later: LogTime, before: LogTime) {
    let passed = later.since(before);
    assert!(passed >= NIGHT && passed < NIGHT + MOMENT, "{passed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_down_for_a_night_knows_it_at_its_first_read() {
    let (mut cluster, _) = initialised(1, unchanged).await;
    let before = read_time(cluster.replica(1)).await;
    cluster.shut_down(1).await;
    cluster.pass(NIGHT);
    cluster.restart(1).await;
    let replica = cluster.replica(1);
    // Nothing was confirmed yet: the hour in the store is last evening's, and nobody gets it.
    assert_eq!(replica.log_time(), None);
    assert_eq!(replica.read_stale(|_, now| now).unwrap().value, None);
    let (now, stamp) = read_times(replica).await;
    assert_a_night_later(now, before);
    assert_a_night_later(stamp, before);
    assert!(replica.log_time().unwrap() >= now);
    assert!(replica.read_stale(|_, later| later).unwrap().value.unwrap() >= now);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_down_for_a_night_knows_it_on_every_node() {
    let (mut cluster, _) = initialised(3, unchanged).await;
    let before = read_time(cluster.replica(1)).await;
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    cluster.pass(NIGHT);
    for id in 1..=3 {
        cluster.restart(id).await;
    }
    for id in 1..=3 {
        let (now, stamp) = read_times(cluster.replica(id)).await;
        assert_a_night_later(now, before);
        assert_a_night_later(stamp, before);
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_follower_judges_by_the_leaders_time() {
    let (mut cluster, _) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let follower = cluster.other_than(leader);
    let before = read_time(cluster.replica(leader)).await;
    cluster.kill(follower).await;
    // Unless the term changes, nothing is stamped meanwhile: only the leader's reply can tell.
    cluster.pass(NIGHT);
    cluster.restart_with_clock(follower, -NIGHT_MS).await;
    let leaders = cluster.replica(leader).log_time().unwrap();
    let now = read_time(cluster.replica(follower)).await;
    assert!(now >= leaders, "{now} is behind the leader's {leaders}");
    assert_a_night_later(now, before);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_term_stamps_the_time_without_a_write() {
    let (mut cluster, _) = initialised(3, unchanged).await;
    let old = cluster.settle().await;
    let before = read_time(cluster.replica(old)).await;
    let survivors: Vec<NodeId> = (1..=3).filter(|id| *id != old).collect();
    cluster.pass(NIGHT);
    cluster.kill(old).await;
    for id in &survivors {
        stamped(cluster.replica(*id), before.plus(NIGHT)).await;
    }
    let leader = cluster.settle_among(&survivors).await;
    let term = cluster.replica(leader).watch_leadership().current().term;
    let mut entries = cluster.replica(leader).0.read_points.stamped.clone();
    let stamped = entries.wait_for(|entry| entry.term >= term);
    tokio::time::timeout_at(soon(), stamped).await.unwrap().unwrap();
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_whose_clock_is_slow_does_not_turn_the_time_back() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let old = cluster.settle().await;
    let (_, before) = read_times(cluster.replica(old)).await;
    let survivors: Vec<NodeId> = (1..=3).filter(|id| *id != old).collect();
    for id in &survivors {
        cluster.nodes[id].clock.shift(-NIGHT_MS);
    }
    cluster.kill(old).await;
    let leader = cluster.settle_among(&survivors).await;
    let named = super::create_secret(&random, "after");
    let applied = super::propose(cluster.replica(leader), named).await;
    let created_at = super::operation(&applied).created_at;
    assert!(created_at >= before, "{created_at} is before {before}");
    for id in survivors {
        assert!(read_time(cluster.replica(id)).await >= created_at);
    }
    cluster.end().await;
}

/// A second timekeeper of a node, with its own patience; returns what it has stamped.
fn another(
    replica: &Replica,
    quiet_max: Duration,
    stop: &CancellationToken,
) -> watch::Receiver<TimeEntry> {
    let (stamped, stamps) = watch::channel(TimeEntry::default());
    let timekeeper = Timekeeper {
        proposer: replica.0.proposer.clone(),
        leadership: replica.watch_leadership(),
        clock: replica.0.clock.clone(),
        quiet_max,
        stamped,
    };
    tokio::task::spawn(timekeeper.run(stop.clone()));
    stamps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_leader_stamps_the_time_again_and_a_follower_never_does() {
    const { assert!(QUIET_MAX.as_secs() <= 60, "tokens outlive their time by up to this") };
    let (mut cluster, _) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let follower = cluster.other_than(leader);
    let stop = CancellationToken::new();
    let brief = Duration::from_millis(20);
    let idle = another(cluster.replica(follower), brief, &stop);
    let mut busy = another(cluster.replica(leader), brief, &stop);
    let first = cluster.replica(leader).status().last_log;
    let again = busy.wait_for(|entry| entry.index > first + 3);
    tokio::time::timeout_at(soon(), again).await.unwrap().unwrap();
    assert_eq!(cluster.settle().await, leader, "the test wants one leader throughout");
    assert_eq!(*idle.borrow(), TimeEntry::default());
    stop.cancel();
    cluster.end().await;
}

/// After clocks that were fast have been set right, no stamp is later than the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_stamps_change_nothing_does_not_fill_the_log_with_them() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    for id in 1..=3 {
        cluster.nodes[&id].clock.shift(NIGHT_MS);
    }
    let (_, before) = read_times(cluster.replica(1)).await;
    let ahead = before.plus(NIGHT / 2);
    let until = soon();
    // Once the leader has heard the voters' clocks.
    while read_times(cluster.replica(1)).await.1 < ahead {
        assert!(tokio::time::Instant::now() < until, "log time did not follow the clocks");
        let named = super::create_secret(&random, "any");
        super::propose(cluster.replica(1), named).await;
    }
    for id in 1..=3 {
        cluster.nodes[&id].clock.shift(-NIGHT_MS);
    }
    let leader = cluster.settle().await;
    let stop = CancellationToken::new();
    cluster.pass(NIGHT / 9);
    let replica = cluster.replica(leader);
    // Until the leader has heard clocks that are right, it goes on with its own.
    let until = soon();
    while replica.0.clock.stamp() > replica.0.state.applied().borrow().log_time {
        assert!(tokio::time::Instant::now() < until, "the voters' clocks were not heard");
        tokio::task::yield_now().await;
    }
    let mut stamps = another(replica, NIGHT / 18, &stop);
    let first = tokio::time::timeout_at(soon(), stamps.wait_for(|entry| entry.index > 0)).await;
    drop(first.unwrap().unwrap());
    let quiet = replica.0.clock.quiet_for();
    assert!(quiet < NIGHT / 18, "it stamps again at once: {quiet:?} count as quiet");
    stop.cancel();
    cluster.end().await;
}

/// `peers.md` S9: tokens end by the cluster's time, which one clock moves neither forth nor back,
/// whether its node follows or leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s09_one_clock_that_jumps_by_a_day_moves_no_nodes_time() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let follower = cluster.other_than(leader);
    let before = read_time(cluster.replica(leader)).await;
    for node in [follower, leader] {
        // A day ahead, a day behind, and right again.
        for (step, jump_ms) in [DAY_MS, -2 * DAY_MS, DAY_MS].into_iter().enumerate() {
            cluster.nodes[&node].clock.shift(jump_ms);
            for id in 1..=3 {
                let named = super::create_secret(&random, &format!("{node}-{step}-{id}"));
                super::propose(cluster.replica(id), named).await;
            }
            for id in 1..=3 {
                let (now, stamp) = read_times(cluster.replica(id)).await;
                for time in [now, stamp] {
                    let passed = time.since(before);
                    assert!(passed < MOMENT, "{passed:?} at node {id}, the clock of {node} jumped");
                }
                assert!(now >= before && now >= stamp, "{now} at node {id}");
            }
        }
    }
    cluster.end().await;
}
