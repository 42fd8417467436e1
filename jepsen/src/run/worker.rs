//! One worker: asks one operation after another and records each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{Asker, Shared};
use crate::client::lockbox::LockboxClient;
use crate::client::request::Request;
use crate::history::ids::{NodeId, ProcessId};
use crate::history::op::Outcome;
use crate::random::Random;
use crate::workload::{Family, Generator};

/// How many of a hundred operations of a worker that uses the whole cluster go to a node that is
/// no member now: it was one, and must not answer as if it still were.
const FORMER_PERCENT: u64 = 5;
/// A client that dies does so within this time, in milliseconds.
const ABANDONED_MS_MAX: u64 = 30;

/// One secret at a time, or one folder, and those who ask about it.
pub struct Group {
    /// What it is for.
    pub family: Family,
    /// What is asked.
    pub generator: Mutex<Box<dyn Generator>>,
}

/// Where a worker sits, and whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In one group, and asks one node.
    Pinned {
        /// The group.
        group: usize,
        /// The seat in it.
        seat: usize,
        /// The node is the member with this number, among as many as there are.
        nth: usize,
    },
    /// In every group on the same seat, and asks every node.
    Roaming {
        /// The seat.
        seat: usize,
    },
}

/// See the file.
pub struct Worker {
    shared: Arc<Shared>,
    groups: Arc<[Group]>,
    number: usize,
    place: Place,
    process: u64,
    random: Random,
    clients: BTreeMap<NodeId, LockboxClient>,
    node: Option<NodeId>,
}

impl Worker {
    /// The worker with this number, which is its first process too.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        groups: Arc<[Group]>,
        number: usize,
        place: Place,
        seed: u64,
    ) -> Self {
        let random = Random::of_part(seed, &format!("worker-{number}"));
        let process = u64::try_from(number).unwrap_or(u64::MAX);
        let clients = BTreeMap::new();
        Self { shared, groups, number, place, process, random, clients, node: None }
    }

    /// Works until told to stop; the operation that is open then is ended.
    ///
    /// # Errors
    /// When something cannot be recorded, or a client cannot be made.
    pub async fn work(mut self, stop: CancellationToken) -> Result<()> {
        let mut due = Instant::now();
        while !stop.is_cancelled() {
            due = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                due = self.shared.pace.wait(due) => due,
            };
            let (group, seat) = self.seat();
            let Some(node) = self.choose_node() else { continue };
            let groups = Arc::clone(&self.groups);
            let Some(group) = groups.get(group) else { continue };
            let request = lock(&group.generator).next(seat);
            let Some(request) = request else { continue };
            self.ask(group, node, &request).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, group: &Group, node: NodeId, request: &Request) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let leaves_after = self.leaves_after(request);
        let asker = Asker { process: ProcessId(self.process), node, family: group.family };
        let client = self.client(node)?;
        let outcome = shared.attempt(client, asker, request, leaves_after).await?;
        lock(&group.generator).observe(request, &outcome);
        if matches!(outcome, Outcome::Info(_) | Outcome::Unexpected(_)) {
            self.process += shared.concurrency;
        }
        Ok(())
    }

    /// The group that it asks about now, and its seat there.
    fn seat(&mut self) -> (usize, usize) {
        match self.place {
            Place::Pinned { group, seat, .. } => (group, seat),
            Place::Roaming { seat } => {
                let groups = u64::try_from(self.groups.len()).unwrap_or(u64::MAX);
                (usize::try_from(self.random.below(groups)).unwrap_or(0), seat)
            }
        }
    }

    /// The node that it asks now.
    fn choose_node(&mut self) -> Option<NodeId> {
        let members = (self.shared.site.members)();
        match self.place {
            Place::Pinned { nth, .. } => {
                // It stays with its node for as long as that is a member.
                if self.node.is_none_or(|node| !members.contains(&node)) {
                    self.node = members.get(nth % members.len().max(1)).copied();
                }
                self.node
            }
            Place::Roaming { .. } if !self.mended() && self.random.chance(FORMER_PERCENT) => {
                let nodes = &self.shared.site.nodes;
                self.random.pick(nodes).map(|site| site.node)
            }
            Place::Roaming { .. } => self.random.pick(&members).copied(),
        }
    }

    fn mended(&self) -> bool {
        self.shared.mended.load(Ordering::Relaxed)
    }

    fn client(&mut self, node: NodeId) -> Result<&mut LockboxClient> {
        match self.clients.entry(node) {
            Entry::Occupied(client) => Ok(client.into_mut()),
            Entry::Vacant(place) => {
                let Shared { site, callers, deadline, .. } = self.shared.as_ref();
                Ok(place.insert(site.client(self.number, node, callers, *deadline)?))
            }
        }
    }

    /// When the client dies, if this is its last request. Only what is asked again under its key
    /// is worth dying for: else nothing but another unknown comes of it.
    fn leaves_after(&mut self, request: &Request) -> Option<Duration> {
        request.idempotency_key.as_ref()?;
        let permille = self.shared.abandoned_permille;
        let dies = !self.mended() && self.random.below(1000) < permille;
        dies.then(|| Duration::from_millis(self.random.between(1, ABANDONED_MS_MAX)))
    }
}

fn lock(generator: &Mutex<Box<dyn Generator>>) -> MutexGuard<'_, Box<dyn Generator>> {
    // A generator that has panicked ends the run through its worker, not here.
    generator.lock().unwrap_or_else(PoisonError::into_inner)
}
