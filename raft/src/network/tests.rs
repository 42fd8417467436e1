//! Who may speak to a node: requests of the wrong cluster, for the wrong node, from the wrong
//! sender and in the wrong protocol are refused before they reach consensus.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::{StreamExt, stream};
use hyper_util::rt::TokioIo;
use lockbox_core::NodeId;
use lockbox_proto::lockbox::peer::v1 as wire;
use openraft::RPCTypes;
use openraft::errors::RPCError;
use openraft::raft::AppendEntriesRequest;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Extensions, Status};
use wire::raft_service_client::RaftServiceClient;

use super::append_stream::{self, AppendPipeline};
use super::failure::Call;
use super::{
    ChannelPurpose, ConnectError, IdentityMismatch, NetworkContext, PROTOCOL_MAX, PeerAuthorizer,
    PeerConnector, PeerLinks, PlaintextConnector, SnapshotSends, Target, VoterClocks,
};
use crate::error::StorageFailure;
use crate::replica::tests::commands::init_cluster;
use crate::replica::tests::harness::{Cluster, TestRandom, cluster_id, soon};
use crate::store::{Blocking, Faults};
use crate::types::{Member, StoreId, StoredMembership, TypeConfig, Vote};

fn header(source: NodeId, target: NodeId) -> wire::PeerHeader {
    wire::PeerHeader {
        cluster_id: cluster_id().as_str().to_owned(),
        source_node_id: source,
        target_node_id: target,
        protocol_version: PROTOCOL_MAX,
        ..wire::PeerHeader::default()
    }
}

fn append(header: wire::PeerHeader) -> wire::AppendRequest {
    wire::AppendRequest {
        header: Some(header),
        vote: Some(wire::RaftVote { term: 1_000, node_id: 2, committed: true }),
        ..wire::AppendRequest::default()
    }
}

fn vote(header: wire::PeerHeader) -> wire::VoteRequest {
    wire::VoteRequest {
        header: Some(header),
        vote: Some(wire::RaftVote { term: 1_000, node_id: 2, committed: false }),
        ..wire::VoteRequest::default()
    }
}

/// A one-node cluster with its record applied, and a client that anybody could be.
async fn target() -> (Cluster, RaftServiceClient<Channel>) {
    let cluster = Cluster::start(1, |_| {}).await;
    let random = TestRandom::new(5);
    cluster.replica(1).propose(init_cluster(&random), soon()).await.unwrap();
    cluster.replica(1).wait_identity().await;
    let member = &cluster.members[&1];
    let channel = PlaintextConnector.channel(1, member, ChannelPurpose::Replication).unwrap();
    (cluster, RaftServiceClient::new(channel))
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>, with: Code) -> String {
    let status = result.unwrap_err();
    assert_eq!(status.code(), with, "{status:?}");
    status.message().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_not_for_this_node_are_refused() {
    let (cluster, mut client) = target().await;
    let term = || cluster.replica(1).status().term;
    let before = term();

    let mut foreign = header(1, 1);
    foreign.cluster_id = "lbcanother".to_owned();
    let message = refused(client.append(append(foreign.clone())).await, Code::PermissionDenied);
    assert!(message.contains("another cluster"), "{message}");
    refused(client.vote(vote(foreign.clone())).await, Code::PermissionDenied);
    refused(client.pre_vote(vote(foreign)).await, Code::PermissionDenied);

    let message = refused(client.append(append(header(1, 7))).await, Code::PermissionDenied);
    assert!(message.contains("node 7 was called, this is 1"), "{message}");
    let message = refused(client.vote(vote(header(9, 1))).await, Code::PermissionDenied);
    assert!(message.contains("node 9 is not a member"), "{message}");

    let mut future = header(1, 1);
    future.protocol_version = PROTOCOL_MAX + 1;
    refused(client.append(append(future)).await, Code::FailedPrecondition);
    let headless = wire::AppendRequest::default();
    refused(client.append(headless).await, Code::InvalidArgument);

    assert_eq!(term(), before, "none of them reached consensus");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_refused_as_a_call_is() {
    let (cluster, mut client) = target().await;
    let mut foreign = header(1, 1);
    foreign.cluster_id = "lbcanother".to_owned();
    let requests = tokio_stream::iter([append(foreign)]);
    let mut replies = client.append_stream(requests).await.unwrap().into_inner();
    refused(replies.message().await, Code::PermissionDenied);

    let chunk = |part| wire::SnapshotChunk { part: Some(part) };
    let commit = wire::snapshot_chunk::Part::Commit(wire::SnapshotCommit {});
    let headless = tokio_stream::iter([chunk(commit)]);
    refused(client.install_snapshot(headless).await, Code::InvalidArgument);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_agrees_on_a_version_or_says_why_not() {
    let (cluster, mut client) = target().await;
    let hello = |min, max| wire::HelloRequest {
        header: Some(header(2, 1)),
        protocol_min: min,
        protocol_max: max,
    };
    let reply = client.hello(hello(1, 9)).await.unwrap().into_inner();
    assert_eq!((reply.node_id, reply.protocol_version), (1, PROTOCOL_MAX));
    assert_eq!(reply.cluster_id, cluster_id().as_str());
    refused(client.hello(hello(PROTOCOL_MAX + 1, 9)).await, Code::FailedPrecondition);
    cluster.end().await;
}

/// Only node 1 may come over this connection.
struct OnlyNodeOne;

impl PeerAuthorizer for OnlyNodeOne {
    fn authorize(&self, _extensions: &Extensions, source: NodeId) -> Result<(), IdentityMismatch> {
        if source == 1 { Ok(()) } else { Err(IdentityMismatch { claimed: source }) }
    }
}

#[tokio::test]
async fn a_sender_whose_connection_is_not_its_own_is_refused() {
    let gate = gate(&StoredMembership::default(), &Faults::new());
    let check = |source, sender| gate.check(Some(&header(source, 3)), &Extensions::new(), sender);
    check(1, super::Sender::Leader).unwrap();
    check(1, super::Sender::Member).unwrap();
    for sender in [super::Sender::Leader, super::Sender::Member, super::Sender::Peer] {
        let message = refused(check(2, sender), Code::PermissionDenied);
        assert!(message.contains("node 2"), "{message}");
    }
}

/// The gate of node 3, which runs on the directory 3.
fn gate(membership: &StoredMembership, faults: &Faults) -> super::PeerGate {
    let membership = Arc::new(membership.clone());
    super::PeerGate::new(super::GateParts {
        me: 3,
        store_id: StoreId::from_bytes([3; 16]),
        identity: Arc::default(),
        authorizer: Arc::new(OnlyNodeOne),
        membership: Box::new(move || Arc::clone(&membership)),
        faults: faults.clone(),
    })
}

fn from_store(byte: u8, to: u8) -> wire::PeerHeader {
    let (source_store_id, target_store_id) = (vec![byte; 16], vec![to; 16]);
    wire::PeerHeader { source_store_id, target_store_id, ..header(1, 3) }
}

#[tokio::test]
async fn a_member_on_another_directory_is_refused_and_one_that_is_meant_to_be_another_stops() {
    let member = |byte| Member {
        store_id: StoreId::from_bytes([byte; 16]),
        ..Member::at("peer:1".to_owned(), "peer:2".to_owned())
    };
    let voters = vec![BTreeSet::from([1, 3])];
    let nodes = BTreeMap::from([(1, member(1)), (3, member(3))]);
    let known = openraft::Membership::new(voters, nodes).unwrap();
    let known = openraft::StoredMembership::new(None, known);
    let faults = Faults::new();
    let member_gate = gate(&known, &faults);
    let check = |gate: &super::PeerGate, header: &wire::PeerHeader, sender| {
        gate.check(Some(header), &Extensions::new(), sender)
    };
    for sender in [super::Sender::Leader, super::Sender::Member] {
        check(&member_gate, &from_store(1, 3), sender).unwrap();
        let wiped = refused(check(&member_gate, &from_store(9, 3), sender), Code::PermissionDenied);
        assert!(wiped.contains("node 1 runs on another directory"), "{wiped}");
        // Who knows itself to be the member that it is only refuses.
        refused(check(&member_gate, &from_store(1, 9), sender), Code::PermissionDenied);
    }
    assert!(faults.current().is_none());
    // A fresh node is asked by whoever has not met it, and stops when it is taken for another.
    let fresh = gate(&StoredMembership::default(), &faults);
    check(&fresh, &header(1, 3), super::Sender::Peer).unwrap();
    check(&fresh, &from_store(1, 3), super::Sender::Leader).unwrap();
    assert!(faults.current().is_none());
    refused(check(&fresh, &from_store(1, 9), super::Sender::Member), Code::PermissionDenied);
    let fault = faults.current().unwrap();
    assert_eq!(fault.failure, StorageFailure::StoreLost);
}

#[tokio::test]
async fn an_epoch_that_was_left_is_refused_and_a_leader_takes_its_members_into_a_later_one() {
    let gate = gate(&StoredMembership::default(), &Faults::new());
    let of = |epoch| wire::PeerHeader { cluster_epoch: epoch, ..header(1, 3) };
    let check = |epoch, sender| gate.check(Some(&of(epoch)), &Extensions::new(), sender);
    check(0, super::Sender::Leader).unwrap();
    // Only a leader knows that this node is of its epoch, too.
    check(2, super::Sender::Member).unwrap();
    assert_eq!(gate.cluster_epoch(), 0);
    check(2, super::Sender::Leader).unwrap();
    assert_eq!(gate.cluster_epoch(), 2);
    for sender in [super::Sender::Leader, super::Sender::Member] {
        // The code with which a caller asks anew who this is.
        let left = refused(check(1, sender), Code::FailedPrecondition);
        assert!(left.contains("belongs to epoch 1 of the cluster, which was left"), "{left}");
    }
    check(1, super::Sender::Peer).unwrap();
}

/// A peer that is down; counts how often somebody tries.
#[derive(Clone, Default)]
struct Down(Arc<AtomicUsize>);

impl PeerConnector for Down {
    fn channel(&self, _: NodeId, _: &Member, _: ChannelPurpose) -> Result<Channel, ConnectError> {
        let tries = Arc::clone(&self.0);
        let refuse = tower::service_fn(move |_| {
            tries.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Err::<TokioIo<TcpStream>, _>(io::Error::other("down")))
        });
        Ok(Endpoint::from_static("http://peer").connect_with_connector_lazy(refuse))
    }
}

struct NoClocks;

impl VoterClocks for NoClocks {
    fn heard(&self, _peer: NodeId, _wall_clock_ms: u64) {}
}

fn pipeline_to(peer: &Down) -> AppendPipeline {
    let links = Arc::new(PeerLinks::new(
        1,
        StoreId::from_bytes([1; 16]),
        Arc::default(),
        Arc::new(peer.clone()),
    ));
    let member = Member::at("peer:1".to_owned(), "peer:2".to_owned());
    let target = Target { id: 2, member };
    let link = links.link(&target, ChannelPurpose::Replication).unwrap();
    let call = Call { source: 1, target: 2, action: RPCTypes::AppendEntries };
    let sends = Arc::new(SnapshotSends::new());
    let context = NetworkContext::new(links, Arc::new(NoClocks), sends, Blocking::Pool);
    let context = Arc::new(context);
    AppendPipeline { context, link, call, budget: Duration::from_secs(5) }
}

/// openraft's backoff sleeps inside the stream of batches.
#[tokio::test]
async fn a_peer_is_called_only_when_there_is_a_batch_for_it() {
    let peer = Down::default();
    let (batches, input) = tokio::sync::mpsc::channel(1);
    let input = tokio_stream::wrappers::ReceiverStream::new(input);
    let mut opening = std::pin::pin!(append_stream::open(pipeline_to(&peer), input));
    for _ in 0..100 {
        assert!(matches!(futures::poll!(opening.as_mut()), Poll::Pending));
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.0.load(Ordering::Relaxed), 0, "called while the backoff sleeps");

    let request = AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new_committed(1, 1),
        prev_log_id: None,
        entries: vec![],
        leader_commit: None,
    };
    batches.send(request).await.unwrap();
    let refused = tokio::time::timeout_at(soon(), opening).await.unwrap().err().unwrap();
    assert!(matches!(refused, RPCError::Unreachable(_)), "{refused}");
    assert_eq!(peer.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_cancelled_input_calls_nobody() {
    let peer = Down::default();
    let mut answers = append_stream::open(pipeline_to(&peer), stream::empty()).await.unwrap();
    assert!(answers.next().await.is_none());
    assert_eq!(peer.0.load(Ordering::Relaxed), 0);
}
