//! A node is ready while a read passes its barrier, whatever leader it still believes in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockbox::readiness::{self, LeaderHeard};
use lockbox_core::ClusterId;
use lockbox_platform::exit::FatalExit;
use lockbox_platform::health::Readiness;
use lockbox_platform::listener::{BoundListener, ListenerLimits, Security, Serving, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::tasks::{TaskKind, Tasks};
use lockbox_raft::Replica;
use lockbox_raft::network::{AllowAllPeers, PlaintextConnector};
use lockbox_raft::replica::{ReplicaConfig, ReplicaParts, Role, Timing};
use lockbox_raft::store::MemoryEngines;
use lockbox_raft::types::Member;
use tempfile::TempDir;
use tonic::service::Routes;

use crate::fixture::{WAIT, loopback};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
const TIMING: Timing =
    Timing { heartbeat_ms: 100, election_timeout_min_ms: 500, election_timeout_max_ms: 900 };

/// A replica that peers can call, and what is said of its readiness.
struct Served {
    replica: Replica,
    peers: Serving,
    readiness: Readiness,
    heard: LeaderHeard,
    tasks: Tasks,
    _data: TempDir,
}

impl Served {
    async fn start(id: u64, listener: BoundListener) -> Self {
        let data = TempDir::new().unwrap();
        let mut config = ReplicaConfig::new(id, data.path().to_owned());
        config.timing = TIMING;
        let parts = ReplicaParts {
            engines: Arc::new(MemoryEngines::new()),
            connector: Arc::new(PlaintextConnector),
            authorizer: Arc::new(AllowAllPeers),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
        };
        let replica = Replica::start(config, parts).await.unwrap();
        let (tasks, services) = (Tasks::new(FatalExit::new()), replica.peer_services());
        let router = Routes::new(services.raft).add_service(services.replica).into_axum_router();
        let tls = Metrics::new(Prefix::Lockbox).unwrap().tls;
        let peers = listener.start(router, &tasks, ListenerLimits::default(), tls);
        let (readiness, heard) = (Readiness::new(), LeaderHeard::default());
        let election = Duration::from_millis(TIMING.election_timeout_max_ms);
        let component = readiness.component("replica");
        let token = tasks.token();
        let following =
            readiness::follow(replica.clone(), component, heard.clone(), election, token);
        tasks.spawn(TaskKind::Critical, "readiness", following);
        Self { replica, peers, readiness, heard, tasks, _data: data }
    }

    async fn stop(self) {
        self.replica.shutdown().await;
        self.peers.stop(Duration::ZERO).await;
        self.tasks.shutdown(WAIT).await.unwrap();
    }

    async fn says(&self, ready: bool) {
        let both = async {
            // One may have changed back by the time that the other has come.
            loop {
                self.readiness.wait_for(ready).await;
                if self.heard.get() == ready {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(WAIT, both).await.unwrap();
    }
}

async fn three() -> BTreeMap<u64, Served> {
    let (mut members, mut listeners) = (BTreeMap::new(), Vec::new());
    for id in 1..=3 {
        let listener = bind("peers", loopback(), Security::PlaintextLoopback).await.unwrap();
        let peer_address = listener.local_addr().to_string();
        members.insert(id, Member::at(peer_address, "localhost:1".to_owned()));
        listeners.push((id, listener));
    }
    let mut nodes = BTreeMap::new();
    for (id, listener) in listeners {
        nodes.insert(id, Served::start(id, listener).await);
    }
    nodes[&1].replica.initialize(ClusterId::parse("lbctest").unwrap(), members).await.unwrap();
    for node in nodes.values() {
        node.says(true).await;
    }
    nodes
}

async fn leader_of(nodes: &BTreeMap<u64, Served>) -> u64 {
    let leads = |node: &Served| node.replica.status().role == Role::Leader;
    let found = async {
        loop {
            if let Some((id, _)) = nodes.iter().find(|(_, node)| leads(node)) {
                return *id;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(WAIT, found).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_is_not_ready() {
    let mut nodes = three().await;
    let leader = nodes.remove(&leader_of(&nodes).await).unwrap();
    for (_, node) in nodes {
        node.stop().await;
    }
    leader.says(false).await;
    assert_eq!(leader.readiness.reasons().len(), 1);
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_alone_is_not_ready() {
    let mut nodes = three().await;
    let (leader, follower) = (leader_of(&nodes).await, leader_of(&nodes).await % 3 + 1);
    let left = nodes.remove(&follower).unwrap();
    nodes.remove(&leader).unwrap().stop().await;
    for (_, node) in nodes {
        node.stop().await;
    }
    left.says(false).await;
    left.stop().await;
}
