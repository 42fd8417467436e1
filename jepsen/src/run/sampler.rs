//! Looks at every node five times a second, for L15 and for the report.
//!
//! Each node has a task of its own: one that does not answer must not make the others late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::site::{ProcessOf, Site};
use crate::client::operator::{Look, OperatorClient};
use crate::history::ids::NodeId;
use crate::history::recorder::Recorder;

/// Between two looks at a node (`verification §3.5`, L15).
const EVERY: Duration = Duration::from_millis(200);

/// How long a node may take to hash its whole state, all others doing the same.
const HASH_PATIENCE: Duration = Duration::from_secs(120);
/// How often all of them are asked until they have hashed the same index.
const HASH_ROUNDS: usize = 20;

/// The newest look at each node and how often it had been started; none of one that does not
/// answer.
#[derive(Debug, Clone, Default)]
pub struct Looks(Arc<Mutex<BTreeMap<NodeId, (Look, u64)>>>);

impl Looks {
    /// All of them.
    #[must_use]
    pub fn newest(&self) -> BTreeMap<NodeId, Look> {
        self.lock().iter().map(|(node, (look, _))| (*node, look.clone())).collect()
    }

    fn incarnation(&self, node: NodeId) -> u64 {
        self.lock().get(&node).map_or(0, |(_, incarnation)| *incarnation)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, (Look, u64)>> {
        // A map of whole values is whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks for as long as it lives.
pub struct Sampler {
    tasks: JoinSet<Result<()>>,
    stop: CancellationToken,
    looks: Looks,
}

impl Sampler {
    /// Begins to look at all nodes of the site, and writes what it sees.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub fn start(site: &Site, recorder: &Arc<Recorder>) -> Result<Self> {
        let (stop, looks) = (CancellationToken::new(), Looks::default());
        let mut tasks = JoinSet::new();
        for node in &site.nodes {
            let eye = Eye {
                client: site.operator_client(node)?,
                process_of: Arc::clone(&site.process_of),
                recorder: Arc::clone(recorder),
                looks: looks.clone(),
            };
            tasks.spawn(eye.watch(stop.clone()));
        }
        Ok(Self { tasks, stop, looks })
    }

    /// Looks at all members once more, and at the hashes of their state at one index.
    ///
    /// The log may move by itself meanwhile: a stamp of the time, an election, a destruction whose
    /// time has come. So all are asked at the same moment, for each hashes the state as it is then,
    /// and asked again until that was the same one.
    ///
    /// # Errors
    /// When a client cannot be made, or something cannot be recorded.
    pub async fn hash_all(&self, site: &Site, recorder: &Recorder) -> Result<()> {
        let members = (site.members)();
        let newest = self.looks.newest();
        let mut at = members.iter().filter_map(|node| newest.get(node)).map(Look::applied).max();
        let mut looks = Vec::new();
        for _ in 0..HASH_ROUNDS {
            let nodes = site.nodes.iter().filter(|node| members.contains(&node.node));
            let clients: Result<Vec<_>> = nodes.map(|node| site.operator_client(node)).collect();
            let asked = clients?.into_iter().map(|client| hashed(client, at.unwrap_or(0)));
            let asked: JoinSet<_> = asked.collect();
            looks = asked.join_all().await.into_iter().flatten().collect();
            let indexes: BTreeSet<u64> =
                looks.iter().filter_map(|(_, look)| look.hashed_at()).collect();
            let all = looks.iter().all(|(_, look)| look.hashed_at().is_some());
            if all && indexes.len() <= 1 {
                break;
            }
            at = indexes.last().copied();
        }
        for (node, look) in looks {
            let incarnation = self.looks.incarnation(node);
            recorder.sample(|at| look.sample(at, incarnation))?;
        }
        Ok(())
    }

    /// What it sees.
    #[must_use]
    pub const fn looks(&self) -> &Looks {
        &self.looks
    }

    /// Stops looking.
    ///
    /// # Errors
    /// When something could not be recorded.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a sampler has panicked")??;
        }
        Ok(())
    }
}

/// The hashes of a node's state once this index is applied, and a look at the node after that.
async fn hashed(client: OperatorClient, at: u64) -> Option<(NodeId, Look)> {
    let mut client = client.patient(HASH_PATIENCE);
    let hash = client.state_hash(at).await;
    let look = client.look().await?;
    Some((client.node(), look.with_state_hash(hash)))
}

struct Eye {
    client: OperatorClient,
    process_of: ProcessOf,
    recorder: Arc<Recorder>,
    looks: Looks,
}

impl Eye {
    async fn watch(mut self, stop: CancellationToken) -> Result<()> {
        let node = self.client.node();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut process, mut incarnation) = (None, 0);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            // Before and after: a look that a restart falls into belongs to no process.
            let before = (self.process_of)(node);
            let look = match before {
                Some(_) => self.client.look().await,
                None => None,
            };
            let Some(look) = look.filter(|_| (self.process_of)(node) == before) else {
                self.looks.lock().remove(&node);
                continue;
            };
            if process != before {
                (process, incarnation) = (before, incarnation + 1);
            }
            self.looks.lock().insert(node, (look.clone(), incarnation));
            self.recorder.sample(|at| look.sample(at, incarnation))?;
        }
    }
}
