//! What faults work on: the cluster, who has which server, which links are cut, and whether the
//! run is to end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::action::Means;
use super::claims::Claims;
use super::event::FaultLog;
use super::filter;
use super::reach::majority_reachable;
use crate::cluster::Cluster;
use crate::cluster::addresses::{Host, Link};
use crate::cluster::part::Part;
use crate::cluster::server::Life;
use crate::cluster::switch::LinkRule;
use crate::moment::{now, until};

/// How long a fault waits for a leader that it is meant for.
const LEADER: Duration = Duration::from_secs(1);

/// Everything that faults share.
pub struct Scene {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// Who is told.
    pub log: Arc<dyn FaultLog>,
    pub(crate) claims: Claims,
    /// Ids of nodes that never were members.
    spares: Mutex<VecDeque<u16>>,
    cuts: Mutex<Cuts>,
    owners: AtomicU64,
    ending: Arc<Ending>,
}

#[derive(Default)]
struct Cuts {
    by_switch: BTreeMap<u64, Vec<Link>>,
    by_filter: BTreeMap<u64, Vec<Link>>,
    by_door: BTreeMap<u64, Vec<Link>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is whole before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scene {
    /// The scene of a cluster that runs, which ends when it is told so by `ending`.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, log: Arc<dyn FaultLog>, ending: Arc<Ending>) -> Self {
        let spec = cluster.spec();
        let spares = (spec.nodes + 1..=spec.nodes + spec.spares).collect();
        Self {
            log,
            claims: Claims::default(),
            spares: Mutex::new(spares),
            cuts: Mutex::default(),
            owners: AtomicU64::new(1),
            ending,
            cluster,
        }
    }

    /// What cuts links where the cluster is.
    pub(crate) fn means(&self) -> Means {
        if self.cluster.spec().enclosed { Means::Switch } else { Means::Door }
    }

    /// The node that leads. Waits a little for one: a busy node answers late, and an election takes
    /// a moment, but a fault that is meant for the leader is to hit it.
    pub(crate) fn leader(&self) -> Option<u16> {
        until(LEADER, || self.cluster.leader())
    }

    /// A number for what a fault installs.
    pub(crate) fn owner(&self) -> u64 {
        self.owners.fetch_add(1, Ordering::Relaxed)
    }

    /// The id of a node that never was a member; none when they are used up.
    pub(crate) fn take_spare(&self) -> Option<u16> {
        lock(&self.spares).pop_front()
    }

    /// Whether there is an id that never was a member's.
    pub(crate) fn has_spare(&self) -> bool {
        !lock(&self.spares).is_empty()
    }

    /// Lets nothing pass these links. Returns since when.
    pub(crate) fn cut(&self, owner: u64, links: Vec<Link>, means: Means) -> Result<Instant> {
        let mut cuts = lock(&self.cuts);
        match means {
            Means::Switch => {
                let rules = links.iter().map(|link| (*link, LinkRule::BLOCKED)).collect();
                let since = self.cluster.switch()?.install(owner, rules);
                cuts.by_switch.insert(owner, links);
                Ok(since)
            }
            Means::Filter => {
                let servers = receivers(&links);
                cuts.by_filter.insert(owner, links);
                self.filter(&cuts, &servers)?;
                Ok(now())
            }
            Means::Door => {
                for part in receivers(&links) {
                    self.cluster.door(part)?.shut();
                }
                cuts.by_door.insert(owner, links);
                Ok(now())
            }
        }
    }

    /// Lets everything pass that this owner has cut.
    pub(crate) fn mend(&self, owner: u64) -> Result<()> {
        let mut cuts = lock(&self.cuts);
        if cuts.by_switch.remove(&owner).is_some() {
            self.cluster.switch()?.remove(owner);
        }
        if let Some(links) = cuts.by_filter.remove(&owner) {
            self.filter(&cuts, &receivers(&links))?;
        }
        if let Some(links) = cuts.by_door.remove(&owner) {
            let still = receivers_of(cuts.by_door.values().flatten());
            for part in receivers(&links).iter().filter(|part| !still.contains(part)) {
                self.cluster.door(*part)?.reopen();
            }
        }
        Ok(())
    }

    fn filter(&self, cuts: &Cuts, servers: &[Part]) -> Result<()> {
        let links: BTreeSet<Link> = cuts.by_filter.values().flatten().copied().collect();
        filter::install(&self.cluster, &links, servers)
    }

    /// Lets everything pass, whoever has cut it.
    pub(crate) fn mend_all(&self) -> Result<()> {
        let mut cuts = lock(&self.cuts);
        let filtered: Vec<Link> = cuts.by_filter.values().flatten().copied().collect();
        for part in receivers_of(cuts.by_door.values().flatten()) {
            self.cluster.door(part)?.reopen();
        }
        *cuts = Cuts::default();
        if let Ok(switch) = self.cluster.switch() {
            switch.clear();
        }
        self.filter(&cuts, &receivers(&filtered))
    }

    /// Whether a majority of the voters is up and can talk now.
    #[must_use]
    pub fn majority_reachable(&self) -> bool {
        let voters = self.cluster.members();
        let runs = |node: &u16| {
            let server = self.cluster.server(Part::Node(*node));
            server.is_ok_and(|server| matches!(server.life(), Ok(Life::Runs)))
        };
        let up = voters.iter().copied().filter(runs).collect();
        let cuts = lock(&self.cuts);
        let blocked = [&cuts.by_switch, &cuts.by_filter, &cuts.by_door];
        let blocked = blocked.into_iter().flat_map(BTreeMap::values).flatten();
        majority_reachable(&voters, &up, &blocked.copied().collect())
    }

    /// How the run is told to end.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.ending
    }
}

/// The servers that these links lead to.
pub(super) fn receivers(links: &[Link]) -> Vec<Part> {
    receivers_of(links.iter())
}

fn receivers_of<'a>(links: impl Iterator<Item = &'a Link>) -> Vec<Part> {
    let part = |link: &Link| match link.to {
        Host::Node(id) => Some(Part::Node(id)),
        Host::Kms => Some(Part::Kms),
        Host::Client(_) | Host::Observer | Host::Door(_) => None,
    };
    let parts: BTreeSet<Part> = links.filter_map(part).collect();
    parts.into_iter().collect()
}

/// Whether the run is to end, and why.
#[derive(Default)]
pub struct Ending {
    reason: Mutex<Option<String>>,
    told: Condvar,
}

impl Ending {
    /// Ends the run; the first reason counts.
    pub fn tell(&self, reason: String) {
        lock(&self.reason).get_or_insert(reason);
        self.told.notify_all();
    }

    /// Why the run is to end; none while it is not.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        lock(&self.reason).clone()
    }

    /// Waits until this moment. False when the run is to end before.
    #[must_use]
    pub fn wait_until(&self, moment: Instant) -> bool {
        let mut reason = lock(&self.reason);
        loop {
            if reason.is_some() {
                return false;
            }
            let left = moment.saturating_duration_since(now());
            if left.is_zero() {
                return true;
            }
            let waited = self.told.wait_timeout(reason, left);
            reason = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits so long. False when the run is to end before.
    #[must_use]
    pub fn wait(&self, duration: Duration) -> bool {
        self.wait_until(now() + duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_the_run_is_to_end() {
        let ending = Ending::default();
        assert!(ending.wait(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ending.wait(Duration::from_secs(600)));
            ending.tell("ctrl-C".to_owned());
            ending.tell("too late".to_owned());
            assert!(!waiting.join().unwrap());
        });
        assert_eq!(ending.reason().as_deref(), Some("ctrl-C"));
    }
}
