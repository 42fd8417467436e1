//! Three replicas in one process, over real gRPC on loopback that can be cut.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lockbox_core::{Clock, ClusterId, NodeId, Randomness};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Server};

use crate::network::{AllowAllPeers, ChannelPurpose, ConnectError, PeerConnector, peer_endpoint};
use crate::replica::{Replica, ReplicaConfig, ReplicaParts, Timing, shutdown};
use crate::store::{Engines, MemoryEngines};
use crate::types::Member;

/// Nothing that the tests wait for takes longer on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// A clock that can be set wrong, in a world whose time can be made to pass.
pub(crate) struct TestClock {
    start: Instant,
    offset_ms: AtomicI64,
    passed_ms: Arc<AtomicU64>,
}

/// Where the wall clocks of all tests begin: 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;

impl TestClock {
    const fn new(start: Instant, passed_ms: Arc<AtomicU64>) -> Self {
        Self { start, offset_ms: AtomicI64::new(0), passed_ms }
    }

    /// Time since the cluster was made, on every clock that is right.
    fn elapsed(&self) -> Duration {
        self.start.elapsed() + Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn shift(&self, ms: i64) {
        self.offset_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.elapsed().as_millis()).unwrap();
        u64::try_from(EPOCH_MS + elapsed + self.offset_ms.load(Ordering::Relaxed)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }
}

/// Different bytes on every call, the same ones in every run.
pub(crate) struct TestRandom(AtomicU64);

impl TestRandom {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Randomness for TestRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed >> 56) as u8;
        }
    }
}

/// How a wire fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// It is cut: whoever uses it is told so.
    Cut,
    /// It swallows what is sent, as that of a frozen node or behind a firewall.
    Silent,
}

/// The wires between nodes; one that fails carries nothing in either direction.
#[derive(Clone, Default)]
pub(crate) struct Wires(Arc<Mutex<BTreeMap<(NodeId, NodeId), Failure>>>);

impl Wires {
    fn failure(&self, a: NodeId, b: NodeId) -> Option<Failure> {
        self.0.lock().unwrap().get(&(a.min(b), a.max(b))).copied()
    }

    pub(crate) fn isolate(&self, node: NodeId, others: impl IntoIterator<Item = NodeId>) {
        self.fail(node, others, Failure::Cut);
    }

    pub(crate) fn silence(&self, node: NodeId, others: impl IntoIterator<Item = NodeId>) {
        self.fail(node, others, Failure::Silent);
    }

    fn fail(&self, node: NodeId, others: impl IntoIterator<Item = NodeId>, failure: Failure) {
        let wires = others.into_iter().map(|other| (node.min(other), node.max(other)));
        self.0.lock().unwrap().extend(wires.map(|wire| (wire, failure)));
    }

    pub(crate) fn heal(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// A connection over a wire: breaks when it is used while the wire is cut, and hears nothing
/// more once that was silent.
struct Wire {
    stream: TcpStream,
    wires: Wires,
    ends: (NodeId, NodeId),
}

impl Wire {
    /// Whether the wire carries; an error when it is cut.
    fn carries(&self) -> io::Result<bool> {
        match self.wires.failure(self.ends.0, self.ends.1) {
            Some(Failure::Cut) => Err(io::ErrorKind::ConnectionReset.into()),
            Some(Failure::Silent) => Ok(false),
            None => Ok(true),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.carries()? {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.carries()? {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

struct WireConnector {
    me: NodeId,
    wires: Wires,
}

impl PeerConnector for WireConnector {
    fn channel(
        &self,
        node_id: NodeId,
        member: &Member,
        _purpose: ChannelPurpose,
    ) -> Result<Channel, ConnectError> {
        let (wires, ends, address) =
            (self.wires.clone(), (self.me, node_id), member.peer_address.clone());
        let connect = tower::service_fn(move |_uri: tonic::codegen::http::Uri| {
            let (wires, address) = (wires.clone(), address.clone());
            async move {
                match wires.failure(ends.0, ends.1) {
                    Some(Failure::Cut) => {
                        return Err(io::Error::from(io::ErrorKind::HostUnreachable));
                    }
                    Some(Failure::Silent) => std::future::pending().await,
                    None => {}
                }
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(TokioIo::new(Wire { stream, wires, ends }))
            }
        });
        // Nobody notices by himself that the other end is silent.
        let endpoint = peer_endpoint(Endpoint::from_static("http://peer"));
        let endpoint = endpoint.keep_alive_timeout(Duration::from_secs(3600));
        Ok(endpoint.connect_with_connector_lazy(connect))
    }
}

/// One running node.
pub(crate) struct Node {
    pub(crate) replica: Replica,
    pub(crate) clock: Arc<TestClock>,
    stop_serving: CancellationToken,
    serving: JoinHandle<()>,
}

/// A cluster of replicas.
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) members: BTreeMap<NodeId, Member>,
    pub(crate) wires: Wires,
    engines: Arc<dyn Engines>,
    directory: TempDir,
    configure: fn(&mut ReplicaConfig),
    start: Instant,
    passed_ms: Arc<AtomicU64>,
    /// Nodes that were started: no two lives of a node see the same random bytes.
    lives: AtomicU64,
}

pub(crate) fn cluster_id() -> ClusterId {
    ClusterId::parse("lbctestcluster").unwrap()
}

impl Cluster {
    /// Starts nodes 1 to `size` and makes node 1 initialise the cluster of all.
    pub(crate) async fn start(size: NodeId, configure: fn(&mut ReplicaConfig)) -> Self {
        let mut cluster = Self::blank(size, configure).await;
        cluster.initialize().await;
        cluster
    }

    /// Makes node 1 initialise the cluster of all nodes.
    pub(crate) async fn initialize(&mut self) {
        let first = &self.nodes[&1].replica;
        first.initialize(cluster_id(), self.members.clone()).await.unwrap();
        self.settle().await;
    }

    /// Starts nodes that belong to no cluster yet.
    pub(crate) async fn blank(size: NodeId, configure: fn(&mut ReplicaConfig)) -> Self {
        Self::blank_on(Arc::new(MemoryEngines::new()), size, configure).await
    }

    /// As [`Self::blank`], on engines of the caller's choice.
    pub(crate) async fn blank_on(
        engines: Arc<dyn Engines>,
        size: NodeId,
        configure: fn(&mut ReplicaConfig),
    ) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            members: BTreeMap::new(),
            wires: Wires::default(),
            engines,
            directory: tempfile::tempdir().unwrap(),
            configure,
            start: Instant::now(),
            passed_ms: Arc::default(),
            lives: AtomicU64::new(0),
        };
        let mut listeners = BTreeMap::new();
        for id in 1..=size {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let peer_address = listener.local_addr().unwrap().to_string();
            let api_address = format!("node-{id}:8443");
            cluster.members.insert(id, Member::at(peer_address, api_address));
            listeners.insert(id, listener);
        }
        for (id, listener) in listeners {
            cluster.start_node(id, listener, 0).await;
        }
        cluster
    }

    /// Starts a fresh node that belongs to no cluster yet, and says where it is.
    pub(crate) async fn start_fresh(&mut self, id: NodeId) -> Member {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer_address = listener.local_addr().unwrap().to_string();
        let member = Member::at(peer_address, format!("node-{id}:8443"));
        self.members.insert(id, member.clone());
        self.start_node(id, listener, 0).await;
        member
    }

    /// Removes the directory of a node that does not run. For engines on real files.
    pub(crate) fn wipe(&self, id: NodeId) {
        std::fs::remove_dir_all(self.node_directory(id)).unwrap();
    }

    async fn start_node(&mut self, id: NodeId, listener: TcpListener, wrong_by_ms: i64) {
        let clock = Arc::new(TestClock::new(self.start, Arc::clone(&self.passed_ms)));
        clock.shift(wrong_by_ms);
        let replica = self.open_replica(id, &clock).await;
        let services = replica.peer_services();
        let stop_serving = CancellationToken::new();
        let stopped = stop_serving.clone().cancelled_owned();
        let serving = tokio::task::spawn(async move {
            Server::builder()
                .add_service(services.raft)
                .add_service(services.replica)
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped)
                .await
                .unwrap();
        });
        self.nodes.insert(id, Node { replica, clock, stop_serving, serving });
    }

    /// Opens a replica; again, while the tasks of its last life still hold the directory.
    async fn open_replica(&self, id: NodeId, clock: &Arc<TestClock>) -> Replica {
        let until = soon();
        let seed = (self.lives.fetch_add(1, Ordering::Relaxed) << 8) + id;
        loop {
            let mut config = ReplicaConfig::new(id, self.node_directory(id));
            config.timing = Timing {
                heartbeat_ms: 100,
                election_timeout_min_ms: 500,
                election_timeout_max_ms: 900,
            };
            (self.configure)(&mut config);
            let parts = ReplicaParts {
                engines: Arc::clone(&self.engines),
                connector: Arc::new(WireConnector { me: id, wires: self.wires.clone() }),
                authorizer: Arc::new(AllowAllPeers),
                clock: Arc::clone(clock) as Arc<dyn Clock>,
                random: Arc::new(TestRandom::new(seed)),
            };
            match Replica::start(config, parts).await {
                Ok(replica) => return replica,
                Err(error) if Instant::now() > until => panic!("node {id}: {error}"),
                Err(_still_open) => tokio::task::yield_now().await,
            }
        }
    }

    /// What the nodes' stores are opened with.
    pub(crate) fn engines(&self) -> Arc<dyn Engines> {
        Arc::clone(&self.engines)
    }

    /// Where a node keeps its data.
    pub(crate) fn node_directory(&self, id: NodeId) -> std::path::PathBuf {
        Path::new(self.directory.path()).join(id.to_string())
    }

    /// Which generation of the state counts on a node.
    pub(crate) fn state_generation(&self, id: NodeId) -> String {
        std::fs::read_to_string(self.node_directory(id).join("CURRENT")).unwrap()
    }

    /// Stops a node as a crash of its process would, as far as the others can tell.
    pub(crate) async fn kill(&mut self, id: NodeId) {
        let node = self.nodes.remove(&id).unwrap();
        node.replica.0.raft.shutdown().await.unwrap();
        shutdown::stop_storage(&node.replica.0).await;
        node.leave().await;
    }

    /// Stops a node in order.
    pub(crate) async fn shut_down(&mut self, id: NodeId) {
        let node = self.nodes.remove(&id).unwrap();
        node.replica.shutdown().await;
        node.leave().await;
    }

    /// Starts a stopped node again, at its old address and with its old directory.
    pub(crate) async fn restart(&mut self, id: NodeId) {
        self.restart_with_clock(id, 0).await;
    }

    /// As [`Self::restart`], with a wall clock that is wrong.
    pub(crate) async fn restart_with_clock(&mut self, id: NodeId, wrong_by_ms: i64) {
        let address = &self.members[&id].peer_address;
        let listener = TcpListener::bind(address).await.unwrap();
        self.start_node(id, listener, wrong_by_ms).await;
    }

    /// Time goes by for every node, running or not, and for no timer.
    pub(crate) fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.passed_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Waits until all running nodes agree on a leader that is running, and returns it.
    pub(crate) async fn settle(&mut self) -> NodeId {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        self.settle_among(&ids).await
    }

    /// Waits until these nodes agree on a leader among themselves, and returns it.
    pub(crate) async fn settle_among(&self, ids: &[NodeId]) -> NodeId {
        let mut watches: Vec<_> =
            ids.iter().map(|id| self.nodes[id].replica.watch_leadership()).collect();
        let until = soon();
        loop {
            let seen: Vec<_> = watches.iter().map(|watch| watch.current()).collect();
            let leader = seen[0].leader.filter(|leader| ids.contains(leader));
            if let Some(leader) = leader
                && seen.iter().all(|view| (view.leader, view.term) == (Some(leader), seen[0].term))
            {
                return leader;
            }
            let changes = watches.iter_mut().map(|watch| Box::pin(watch.changed()));
            let changed = futures::future::select_all(changes);
            let changed = tokio::time::timeout_at(until, changed).await;
            assert!(changed.is_ok(), "no common leader: {seen:?}");
        }
    }

    pub(crate) fn replica(&self, id: NodeId) -> &Replica {
        &self.nodes[&id].replica
    }

    /// A running node that is not this one.
    pub(crate) fn other_than(&self, id: NodeId) -> NodeId {
        *self.nodes.keys().find(|other| **other != id).unwrap()
    }

    pub(crate) async fn end(mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.kill(id).await;
        }
    }
}

impl Replica {
    /// Waits until the replicated record has told this node which cluster it belongs to.
    pub(crate) async fn wait_identity(&self) {
        let until = soon();
        while !self.0.identity.is_confirmed() {
            assert!(Instant::now() < until, "the cluster record was not seen");
            tokio::task::yield_now().await;
        }
    }
}

impl Node {
    async fn leave(self) {
        self.stop_serving.cancel();
        // Idle connections of peers would keep a graceful end waiting.
        if tokio::time::timeout(Duration::from_millis(200), self.serving).await.is_err() {
            tracing::debug!("peers keep their connections open");
        }
    }
}
