//! Looks at every node five times a second, for L15 and for the report.
//!
//! Each node has a task of its own: one that does not answer must not make the others late.

use std::collections::BTreeMap;
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

/// The newest look at each node; none of one that does not answer.
#[derive(Debug, Clone, Default)]
pub struct Looks(Arc<Mutex<BTreeMap<NodeId, Look>>>);

impl Looks {
    /// All of them.
    #[must_use]
    pub fn newest(&self) -> BTreeMap<NodeId, Look> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Look>> {
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
            self.looks.lock().insert(node, look.clone());
            self.recorder.sample(|at| look.sample(at, incarnation))?;
        }
    }
}
