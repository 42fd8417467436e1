//! The readers: so many reads begin in a second on each node, answered or not, while the gate is
//! open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tonic::Code;
use tonic::transport::Channel;

use crate::lockbox::{Api, Bearer};

/// Reads that may be under way: those of some seconds on a node that is stopped.
const PLACES: u32 = 4_096;

/// What is read, and in whose name.
pub(super) struct Target {
    secret_id: String,
    bearer: Bearer,
}

impl Target {
    pub(super) fn new(secret_id: &str, bearer: &Bearer) -> Self {
        Self { secret_id: secret_id.to_owned(), bearer: bearer.clone() }
    }
}

/// A read that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    /// The number of the node.
    pub(super) node: usize,
    /// When it began: before anything was sent.
    pub(super) began: Instant,
    /// Whether there was a payload, or why not.
    pub(super) ended: Result<(), Code>,
}

struct Shared {
    places: Arc<Semaphore>,
    reads: Mutex<Vec<Read>>,
    over: AtomicBool,
}

impl Shared {
    fn reads(&self) -> MutexGuard<'_, Vec<Read>> {
        // A list is whole at any moment.
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the file.
pub(super) struct Readers {
    /// Nothing: the gate is closed.
    target: watch::Sender<Option<Arc<Target>>>,
    shared: Arc<Shared>,
    nodes: usize,
    pumps: JoinSet<()>,
}

impl Readers {
    /// Begins, with a closed gate.
    pub(super) fn start(channels: Vec<Channel>, every: Duration) -> Self {
        let (target, watched) = watch::channel(None);
        let shared = Arc::new(Shared {
            places: Arc::new(Semaphore::new(PLACES as usize)),
            reads: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let mut pumps = JoinSet::new();
        let nodes = channels.len();
        for (node, channel) in channels.into_iter().enumerate() {
            let pump = Pump { node, channel, target: watched.clone(), shared: Arc::clone(&shared) };
            pumps.spawn(pump.run(every));
        }
        Self { target, shared, nodes, pumps }
    }

    /// Opens the gate.
    pub(super) fn read(&self, target: Target) {
        self.target.send_replace(Some(Arc::new(target)));
    }

    /// Closes the gate: what begins from now on is nothing.
    pub(super) fn close(&self) {
        self.target.send_replace(None);
    }

    /// Whether every node has given the secret out since the gate was opened.
    pub(super) fn all_succeed(&self) -> bool {
        let reads = self.shared.reads();
        let succeeded = reads.iter().filter(|read| read.ended.is_ok()).map(|read| read.node);
        succeeded.collect::<BTreeSet<_>>().len() == self.nodes
    }

    /// What each node said last.
    pub(super) fn complaint(&self) -> String {
        let reads = self.shared.reads();
        let last: BTreeMap<_, _> = reads.iter().map(|read| (read.node, read.ended)).collect();
        format!("{last:?}")
    }

    /// Waits until no read is under way, and gives all since the gate was opened. The gate must be
    /// closed.
    pub(super) async fn drained(&self) -> Vec<Read> {
        // Nobody closes the semaphore, and without it there would be nothing to wait for.
        let all = self.shared.places.acquire_many(PLACES).await;
        let reads = std::mem::take(&mut *self.shared.reads());
        drop(all);
        reads
    }

    /// Ends them.
    ///
    /// # Errors
    /// When one of them has panicked.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.shared.over.store(true, Relaxed);
        while let Some(ended) = self.pumps.join_next().await {
            ended.context("a reader has panicked")?;
        }
        Ok(())
    }
}

/// The reads of one node.
struct Pump {
    node: usize,
    channel: Channel,
    target: watch::Receiver<Option<Arc<Target>>>,
    shared: Arc<Shared>,
}

impl Pump {
    async fn run(self, every: Duration) {
        // One that comes late is made up for: the rate is what is promised.
        let mut ticks = interval(every);
        let mut under_way = JoinSet::new();
        while !self.shared.over.load(Relaxed) {
            ticks.tick().await;
            while under_way.try_join_next().is_some() {}
            let place = Arc::clone(&self.shared.places).try_acquire_owned();
            let Ok(place) = place else { continue };
            // ORDER: the place first. Whoever has waited for all places has closed the gate before,
            // and no read can slip through between the two.
            let Some(target) = self.target.borrow().clone() else { continue };
            let api = Api::new(self.channel.clone(), &target.bearer);
            under_way.spawn(read(self.node, api, target, place, Arc::clone(&self.shared)));
        }
        while under_way.join_next().await.is_some() {}
    }
}

async fn read(
    node: usize,
    mut api: Api,
    target: Arc<Target>,
    place: OwnedSemaphorePermit,
    shared: Arc<Shared>,
) {
    let began = Instant::now();
    let answer = api.payload(&target.secret_id).await;
    let ended = answer.map(drop).map_err(|status| status.code());
    shared.reads().push(Read { node, began, ended });
    drop(place);
}
