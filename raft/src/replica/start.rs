//! The way up: identity, log, state, consensus, then the tasks of the replica.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockbox_core::{Clock, ClusterId, Randomness};
use openraft::errors::Fatal;
use openraft::storage::RaftLogStorage;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::ClusterClock;
use super::config::ReplicaConfig;
use super::eraser::Eraser;
use super::erasure::ErasureProgress;
use super::error::StartError;
use super::forward::Forwarder;
use super::integrity::Integrity;
use super::leadership::LeadershipWatch;
use super::measures::Elections;
use super::membership::finish::finish_left_over;
use super::observer::{self, Observer};
use super::proposer::Proposer;
use super::purge::Purger;
use super::purge_first::PurgeFirst;
use super::read_barrier::{Confirmer, ReadBarrier};
use super::read_point::{ReadPoints, TimeEntry};
use super::reaper::Reaper;
use super::scrubber::Scrubber;
use super::state_checker::StateChecker;
use super::timekeeper::{QUIET_MAX, Timekeeper};
use super::upkeep::Upkeep;
use super::{Inner, Replica};
use crate::error::StorageError;
use crate::network::{
    ClusterIdentity, GateParts, NetworkContext, PeerAuthorizer, PeerConnector, PeerGate, PeerLinks,
    PeerNetwork, Raft, SnapshotSends, VoterClocks,
};
use crate::state::tables;
use crate::store::{self, Engines, Erased, Faults, NodeIdentity, Recorded, Store};
use crate::types::TypeConfig;

/// What a node plugs into its replica.
#[derive(Clone)]
pub struct ReplicaParts {
    /// Opens the log and the state.
    pub engines: Arc<dyn Engines>,
    /// Makes channels to peers.
    pub connector: Arc<dyn PeerConnector>,
    /// Compares peers' transport identities with the nodes they claim to be.
    pub authorizer: Arc<dyn PeerAuthorizer>,
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub random: Arc<dyn Randomness>,
}

/// Opens everything and starts consensus.
pub(super) async fn start(
    config: ReplicaConfig,
    parts: ReplicaParts,
) -> Result<Replica, StartError> {
    let openraft = Arc::new(config.to_openraft()?);
    let store = open_store(&config, &parts).await?;
    let Store {
        mut log,
        state_machine,
        state,
        snapshots,
        renewal,
        erased,
        hashes,
        snapshot_files,
        damage,
        epoch,
        faults,
        writer,
        store_id,
    } = store;

    let recorded = erased.read()?;
    let erasure = Arc::new(ErasureProgress::new(recorded.done));
    // ORDER: before consensus, which may install a snapshot as soon as it runs. So is the record of
    // what is known: whatever this life learns of counts only once it serves payloads.
    let purge_first = Arc::new(PurgeFirst::new(&state, recorded, config.destroy.purge_within)?);
    let generation = state.generation_number();
    let is_of_it = recorded.done.generation == generation;
    let done = if is_of_it { recorded.done } else { Erased { generation, count: 0 } };
    let recorded = Recorded { done, known: purge_first.known_in(generation) };
    erased.write(recorded)?;
    let me = config.node_id;
    let identity = Arc::new(ClusterIdentity::open(epoch, faults.clone())?);
    if let Some(cluster) = state.read(|view| tables::cluster(view))?? {
        demand_cluster(&config, &cluster.id)?;
        identity.confirm(&cluster.id);
    }
    let clock = Arc::new(ClusterClock::new(me, Arc::clone(&parts.clock)));
    clock.applied(state.applied().borrow().log_time);
    let links = Arc::new(PeerLinks::new(me, store_id, Arc::clone(&identity), parts.connector));
    let sends = Arc::new(SnapshotSends::new());
    let network = NetworkContext::new(
        Arc::clone(&links),
        Arc::clone(&clock) as Arc<dyn VoterClocks>,
        Arc::clone(&sends),
        config.store.blocking,
    );
    let network = PeerNetwork(Arc::new(network));
    let log_reader = log.get_log_reader().await;
    // Boxed: openraft's start-up future is large, and this one is awaited once.
    let raft = Box::pin(Raft::new(me, openraft, network, log, state_machine))
        .await
        .map_err(|fatal| not_started(&fatal, &faults))?;

    let leadership = LeadershipWatch::new(me, &raft);
    clock.set_voters(leadership.voters());
    let forwarder = Forwarder::new(Arc::clone(&links));
    let draining = CancellationToken::new();
    let proposer = Arc::new(Proposer {
        raft: raft.clone(),
        leadership: leadership.clone(),
        forwarder: forwarder.clone(),
        clock: Arc::clone(&clock),
        state: state.clone(),
        me,
        room: Arc::clone(links.room()),
        random: Arc::clone(&parts.random),
        faults: faults.clone(),
        in_flight: Semaphore::new(config.limits.proposals_in_flight_max),
        draining: draining.clone(),
    });
    let membership = leadership.clone();
    let gate = PeerGate::new(GateParts {
        me,
        store_id,
        identity: Arc::clone(&identity),
        authorizer: parts.authorizer,
        membership: Box::new(move || membership.membership()),
        faults: faults.clone(),
    });
    let (stamped, stamps) = watch::channel(TimeEntry::default());
    let read_points = Arc::new(ReadPoints {
        raft: raft.clone(),
        clock: Arc::clone(&clock),
        applied: state.applied(),
        stamped: stamps,
    });
    let confirmer = Confirmer {
        read_points: Arc::clone(&read_points),
        leadership: leadership.clone(),
        forwarder,
        clock: Arc::clone(&clock),
        state: state.clone(),
        round_timeout: Duration::from_millis(config.timing.election_timeout_max_ms),
    };
    let (barrier, rounds) = ReadBarrier::new(confirmer, config.limits.reads_waiting_max);

    let (tasks, stop, ended) =
        (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let elections = Arc::new(Elections::default());
    let observer = Observer {
        state: state.clone(),
        leadership: leadership.clone(),
        clock: Arc::clone(&clock),
        identity: Arc::clone(&identity),
        elections: Arc::clone(&elections),
    };
    supervise(&tasks, &ended, rounds.run(stop.clone()));
    supervise(&tasks, &ended, observer.run(stop.clone()));
    let timekeeper = Timekeeper {
        proposer: Arc::clone(&proposer),
        leadership: leadership.clone(),
        clock: Arc::clone(&clock),
        quiet_max: QUIET_MAX,
        stamped,
    };
    supervise(&tasks, &ended, timekeeper.run(stop.clone()));
    let reaper = Reaper {
        proposer: Arc::clone(&proposer),
        leadership: leadership.clone(),
        clock: Arc::clone(&clock),
        state: state.clone(),
        faults: faults.clone(),
    };
    supervise(&tasks, &ended, reaper.run(stop.clone()));
    let integrity = Arc::new(Integrity::default());
    let upkeep = Upkeep {
        proposer: Arc::clone(&proposer),
        leadership: leadership.clone(),
        clock: Arc::clone(&clock),
        state: state.clone(),
        settings: config.integrity,
        faults: faults.clone(),
    };
    supervise(&tasks, &ended, upkeep.run(stop.clone()));
    let checker = StateChecker {
        me,
        proposer: Arc::clone(&proposer),
        hashes,
        state: state.clone(),
        integrity: Arc::clone(&integrity),
        damage: damage.clone(),
        faults: faults.clone(),
    };
    supervise(&tasks, &ended, checker.run(stop.clone()));
    let scrubber = Scrubber {
        state: state.clone(),
        log: log_reader.clone(),
        snapshot_files,
        settings: config.integrity,
        wall: Arc::clone(&parts.clock),
        integrity: Arc::clone(&integrity),
        damage,
        blocking: config.store.blocking,
        faults: faults.clone(),
    };
    supervise(&tasks, &ended, scrubber.run(stop.clone()));
    supervise(
        &tasks,
        &ended,
        observer::flush_regularly(state.clone(), config.store.blocking, stop.clone()),
    );

    let purger = Arc::new(Purger {
        raft: raft.clone(),
        sends,
        settings: config.snapshots,
        asked: AtomicU64::new(0),
    });
    supervise(&tasks, &ended, Arc::clone(&purger).run(stop.clone()));
    let eraser = Eraser {
        raft: raft.clone(),
        purger: Arc::clone(&purger),
        state: state.clone(),
        log: log_reader.clone(),
        renewal,
        erased,
        recorded,
        progress: Arc::clone(&erasure),
        purge_first: Arc::clone(&purge_first),
        clock: Arc::clone(&clock),
        wall: Arc::clone(&parts.clock),
        root: config.data_dir.clone(),
        purge_within: config.destroy.purge_within,
        blocking: config.store.blocking,
        faults: faults.clone(),
    };
    supervise(&tasks, &ended, eraser.run(stop.clone()));

    let replica = Replica(Arc::new(Inner {
        config,
        raft,
        proposer,
        barrier,
        read_points,
        links,
        purger,
        erasure,
        purge_first,
        integrity,
        log_reader,
        changing: tokio::sync::Mutex::new(()),
        hashing: tokio::sync::Mutex::new(()),
        exporting: tokio::sync::Mutex::new(()),
        searching: tokio::sync::Mutex::new(()),
        leadership,
        clock,
        identity,
        gate: Arc::new(gate),
        state,
        inbox: snapshots,
        faults,
        wall: parts.clock,
        random: parts.random,
        draining,
        stop,
        ended,
        tasks,
        log_stats: writer.stats(),
        elections,
        engines: parts.engines,
        writer: Mutex::new(Some(writer)),
    }));
    let inner = &replica.0;
    let finishing = finish_left_over(Arc::downgrade(inner), inner.stop.clone());
    supervise(&inner.tasks, &inner.ended, finishing);
    inner.tasks.close();
    Ok(replica)
}

/// Runs a task that must not end before it is told to: `ended` fires when it does, by a panic too.
fn supervise(
    tasks: &TaskTracker,
    ended: &CancellationToken,
    task: impl Future<Output = ()> + Send + 'static,
) {
    let guard = ended.clone().drop_guard();
    tasks.spawn(async move {
        let _guard = guard;
        task.await;
    });
}

/// Demands that the data are of the cluster that the operator means, before anybody is called: of
/// the others' answers none would say what is wrong.
fn demand_cluster(config: &ReplicaConfig, found: &ClusterId) -> Result<(), StorageError> {
    match &config.cluster_id {
        Some(meant) if meant != found => Err(StorageError::wrong_identity(format!(
            "{} belongs to cluster {found}, not to cluster {meant}; check cluster id and data \
             directory",
            config.data_dir.display()
        ))),
        Some(_) | None => Ok(()),
    }
}

async fn open_store(config: &ReplicaConfig, parts: &ReplicaParts) -> Result<Store, StorageError> {
    let mut fresh_store_id = [0; 16];
    parts.random.fill(&mut fresh_store_id);
    let identity = NodeIdentity { node_id: config.node_id, fresh_store_id };
    let (directory, options) = (config.data_dir.clone(), config.store);
    let engines = Arc::clone(&parts.engines);
    let open = move || store::open_store(&directory, engines, &identity, &options);
    config.store.blocking.run(open).await
}

/// Consensus found at start that it cannot go on from what is stored.
fn not_started(fatal: &Fatal<TypeConfig>, faults: &Faults) -> StorageError {
    faults.current().unwrap_or_else(|| StorageError::corrupt("start consensus", fatal.to_string()))
}
