//! One simulated node: the product's replica on a runtime, a disk and clocks of its own.
//!
//! A crash drops the runtime with every task in it, as the end of a process does.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockbox_core::{Clock, NodeId};
use lockbox_raft::network::AllowAllPeers;
use lockbox_raft::replica::{Replica, ReplicaConfig, ReplicaParts, StartError};
use lockbox_raft::store::{Blocking, Engines, StoreOptions, WriterHost};
use tokio::runtime::Runtime;
use tonic::transport::Server;

use crate::connector::SimConnector;
use crate::disk::Disk;
use crate::harness::{NodeRandom, Random};
use crate::network::{Network, Presence};
use crate::plan::Plan;
use crate::time::{NodeClock, WorldTime};
use crate::wire::Incoming;

/// What the tasks of a life tell the driver.
#[derive(Default)]
struct Signs {
    started: Mutex<Option<Result<Replica, StartError>>>,
    /// Why the process would have ended.
    fatal: Mutex<Option<String>>,
    shut_down: Mutex<bool>,
}

/// What one process of the node holds.
struct Life {
    runtime: Runtime,
    signs: Arc<Signs>,
    replica: Option<Replica>,
}

/// What a step of a node brought to light.
pub(crate) enum Sign {
    Started,
    /// The process ends because of this.
    Failed(String),
    ShutDown,
}

/// A machine of the cluster.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<NodeClock>,
    network: Arc<Network>,
    plan: Arc<Plan>,
    directory: PathBuf,
    random: Random,
    life: Option<Life>,
    was_started: bool,
    /// The process is frozen; so much time has passed it by.
    frozen: bool,
    missed_ms: u64,
}

impl Node {
    pub(crate) fn new(
        id: NodeId,
        plan: &Arc<Plan>,
        disk: Disk,
        network: &Arc<Network>,
        time: &WorldTime,
        root: &Path,
        random: Random,
    ) -> Self {
        Self {
            id,
            disk,
            clock: Arc::new(NodeClock::new(time.clone())),
            network: Arc::clone(network),
            plan: Arc::clone(plan),
            directory: root.join(id.to_string()),
            random,
            life: None,
            was_started: false,
            frozen: false,
            missed_ms: 0,
        }
    }

    /// Starts a process; whether it comes up shows in a later step.
    pub(crate) fn start(&mut self) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let signs = Arc::new(Signs::default());
        let (config, parts) = (self.config(), self.parts());
        let (told, incoming) = (Arc::clone(&signs), self.incoming());
        runtime.spawn(async move {
            match Box::pin(Replica::start(config, parts)).await {
                Ok(replica) => serve(replica, incoming, &told).await,
                Err(error) => *told.started.lock().unwrap() = Some(Err(error)),
            }
        });
        self.life = Some(Life { runtime, signs, replica: None });
        (self.frozen, self.missed_ms) = (false, 0);
        self.was_started = true;
    }

    fn config(&self) -> ReplicaConfig {
        let mut config = ReplicaConfig::new(self.id, self.directory.clone());
        config.timing = self.plan.timing;
        config.snapshots = self.plan.snapshots;
        config.store = StoreOptions {
            tail_cache_bytes_max: 16 << 10,
            apply_entries_max: self.plan.apply_entries_max,
            apply_bytes_max: 64 << 10,
            writer: WriterHost::Task,
            blocking: Blocking::Inline,
        };
        config
    }

    fn parts(&mut self) -> ReplicaParts {
        let network = Arc::clone(&self.network);
        ReplicaParts {
            engines: Arc::new(self.disk.clone()) as Arc<dyn Engines>,
            connector: Arc::new(SimConnector { me: self.id, network }),
            authorizer: Arc::new(AllowAllPeers),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            random: Arc::new(NodeRandom::new(self.random.fork())),
        }
    }

    fn incoming(&self) -> Incoming {
        Incoming { network: Arc::clone(&self.network), node: self.id }
    }

    /// Lets the process run for one step.
    pub(crate) fn step(&mut self, step_ms: u64) -> Option<Sign> {
        let life = self.life.as_mut()?;
        if self.frozen {
            self.missed_ms += step_ms;
            return None;
        }
        let missed = Duration::from_millis(std::mem::take(&mut self.missed_ms));
        life.runtime.block_on(async {
            if !missed.is_zero() {
                // All timers of the frozen time ring at once.
                tokio::time::advance(missed).await;
            }
            tokio::time::sleep(Duration::from_millis(step_ms)).await;
        });
        if let Some(failure) = life.signs.fatal.lock().unwrap().take() {
            return Some(Sign::Failed(failure));
        }
        if std::mem::take(&mut *life.signs.shut_down.lock().unwrap()) {
            return Some(Sign::ShutDown);
        }
        match life.signs.started.lock().unwrap().take()? {
            Ok(replica) => {
                life.replica = Some(replica);
                self.network.set_presence(self.id, Presence::Listening);
                Some(Sign::Started)
            }
            Err(error) => Some(Sign::Failed(format!("it does not start: {error}"))),
        }
    }

    /// The replica, when it runs.
    pub(crate) fn replica(&self) -> Option<&Replica> {
        self.life.as_ref()?.replica.as_ref()
    }

    /// Whether it ever had a process.
    pub(crate) const fn was_started(&self) -> bool {
        self.was_started
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.life.is_some()
    }

    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen
    }

    pub(crate) const fn freeze(&mut self) {
        self.frozen = true;
    }

    pub(crate) const fn thaw(&mut self) {
        self.frozen = false;
    }

    /// Runs a task in the node's process; it ends with that.
    pub(crate) fn spawn<F>(&self, task: impl FnOnce(Replica) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(life) = &self.life
            && let Some(replica) = &life.replica
        {
            life.runtime.spawn(task(replica.clone()));
        }
    }

    /// Begins to stop the process in order.
    pub(crate) fn shut_down(&self) {
        let Some(life) = &self.life else { return };
        let signs = Arc::clone(&life.signs);
        self.spawn(|replica| async move {
            replica.shutdown().await;
            *signs.shut_down.lock().unwrap() = true;
        });
    }

    /// Ends the process; the disk keeps everything that was written.
    pub(crate) fn kill(&mut self) {
        self.life = None;
        self.network.set_presence(self.id, Presence::Refusing);
    }

    /// Takes the machine's power away.
    pub(crate) fn cut_power(&mut self, seed: u64) {
        self.network.cut_power(self.id);
        self.disk.cut_power(seed);
        self.life = None;
    }
}

/// Serves the peers and watches over the replica, to the end of the process.
async fn serve(replica: Replica, incoming: Incoming, signs: &Arc<Signs>) {
    let services = replica.peer_services();
    let server = Server::builder()
        .add_service(services.raft)
        .add_service(services.replica)
        .serve_with_incoming(incoming);
    let watched = replica.clone();
    *signs.started.lock().unwrap() = Some(Ok(replica));
    let (served, ()) = tokio::join!(server, async {
        let failure = watched.fatal().await;
        *signs.fatal.lock().unwrap() = Some(failure.to_string());
    });
    served.unwrap();
}
