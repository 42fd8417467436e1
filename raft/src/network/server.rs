//! The answering side of consensus: checks who calls, converts, and hands over to openraft.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use futures::{Stream, StreamExt, stream};
use lockbox_core::Clock;
use lockbox_proto::lockbox::peer::v1 as wire;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::sync::Semaphore;
use tonic::{Extensions, Request, Response, Status, Streaming};
use wire::raft_service_server::RaftService;

use super::convert::{self, ConvertError};
use super::disk_room::DiskRoom;
use super::gate::{PeerGate, Sender};
use super::{PROTOCOL_MAX, PROTOCOL_MIN, Raft, snapshot_receive};
use crate::domain::feature_level::FEATURE_LEVEL_MAX;
use crate::store::{Manifest, SnapshotInbox, decode_snapshot_meta};
use crate::types::{Snapshot, TypeConfig};

/// Snapshots received at the same time; a second sender is a leader of the past.
const SNAPSHOTS_RECEIVED_AT_ONCE: usize = 1;

/// The service `lockbox.peer.v1.RaftService` of one node.
pub struct RaftRpc {
    raft: Raft,
    gate: Arc<PeerGate>,
    inbox: SnapshotInbox,
    clock: Arc<dyn Clock>,
    room: Arc<DiskRoom>,
    receiving: Semaphore,
}

impl RaftRpc {
    pub(crate) fn new(
        raft: Raft,
        gate: Arc<PeerGate>,
        inbox: SnapshotInbox,
        clock: Arc<dyn Clock>,
        room: Arc<DiskRoom>,
    ) -> Self {
        let receiving = Semaphore::new(SNAPSHOTS_RECEIVED_AT_ONCE);
        Self { raft, gate, inbox, clock, room, receiving }
    }
}

fn malformed(error: &ConvertError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Consensus has stopped here, by a shutdown or a broken disk: the caller goes elsewhere.
fn stopped(fatal: &Fatal<TypeConfig>) -> Status {
    Status::aborted(format!("consensus has stopped: {fatal}"))
}

/// The same for calls whose only failure is that.
fn failed(error: &RaftError<TypeConfig>) -> Status {
    match error {
        RaftError::Fatal(fatal) => stopped(fatal),
        RaftError::APIError(infallible) => match *infallible {},
    }
}

type AppendReplies = Pin<Box<dyn Stream<Item = Result<wire::AppendReply, Status>> + Send>>;

#[tonic::async_trait]
impl RaftService for RaftRpc {
    type AppendStreamStream = AppendReplies;

    async fn hello(
        &self,
        request: Request<wire::HelloRequest>,
    ) -> Result<Response<wire::HelloReply>, Status> {
        let (_, extensions, hello) = request.into_parts();
        self.gate.check(hello.header.as_ref(), &extensions, Sender::Peer)?;
        let version = hello.protocol_max.min(PROTOCOL_MAX);
        if version < hello.protocol_min.max(PROTOCOL_MIN) {
            let (min, max) = (hello.protocol_min, hello.protocol_max);
            return Err(Status::failed_precondition(format!(
                "no common protocol: {min}..{max} there, {PROTOCOL_MIN}..{PROTOCOL_MAX} here"
            )));
        }
        Ok(Response::new(wire::HelloReply {
            cluster_id: self.gate.cluster_id_to_wire(),
            node_id: self.gate.me(),
            protocol_version: version,
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            store_id: self.gate.store_id().to_wire(),
            blank: self.raft.metrics().borrow_watched().last_log_index.is_none(),
            cluster_epoch: self.gate.cluster_epoch(),
            feature_level: FEATURE_LEVEL_MAX,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn append_stream(
        &self,
        request: Request<Streaming<wire::AppendRequest>>,
    ) -> Result<Response<AppendReplies>, Status> {
        let (_, extensions, messages) = request.into_parts();
        // Why the input ended early; told to the peer behind the answers that are still due.
        let refusal = Arc::new(OnceLock::new());
        let inbound = Inbound {
            gate: Arc::clone(&self.gate),
            extensions,
            messages,
            checked: false,
            refusal: Arc::clone(&refusal),
        };
        let batches = stream::unfold(inbound, Inbound::next);
        let (clock, room) = (Arc::clone(&self.clock), Arc::clone(&self.room));
        let replies = self.raft.stream_append(batches).map(move |result| match result {
            Ok(appended) => {
                let reply = AppendEntriesResponse::<TypeConfig>::from(appended);
                Ok(convert::append_reply_to_wire(&reply, clock.wall_ms(), room.own_is_low()))
            }
            Err(fatal) => Err(stopped(&fatal)),
        });
        let last = stream::once(async move { refusal.get().cloned() })
            .filter_map(|refusal| async move { refusal.map(Err) });
        Ok(Response::new(replies.chain(last).boxed()))
    }

    async fn append(
        &self,
        request: Request<wire::AppendRequest>,
    ) -> Result<Response<wire::AppendReply>, Status> {
        let (_, extensions, message) = request.into_parts();
        self.gate.check(message.header.as_ref(), &extensions, Sender::Leader)?;
        let request = convert::append_from_wire(&message).map_err(|e| malformed(&e))?;
        let reply = self.raft.append_entries(request).await.map_err(|e| failed(&e))?;
        let (wall_ms, is_low) = (self.clock.wall_ms(), self.room.own_is_low());
        Ok(Response::new(convert::append_reply_to_wire(&reply, wall_ms, is_low)))
    }

    async fn vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteReply>, Status> {
        let (_, extensions, message) = request.into_parts();
        self.gate.check(message.header.as_ref(), &extensions, Sender::Member)?;
        let request = convert::vote_request_from_wire(&message).map_err(|e| malformed(&e))?;
        let reply = self.raft.vote(request).await.map_err(|e| failed(&e))?;
        Ok(Response::new(convert::vote_reply_to_wire(&reply)))
    }

    async fn pre_vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteReply>, Status> {
        let (_, extensions, message) = request.into_parts();
        self.gate.check(message.header.as_ref(), &extensions, Sender::Member)?;
        let request = convert::vote_request_from_wire(&message).map_err(|e| malformed(&e))?;
        let reply = self.raft.pre_vote(request).await.map_err(|e| failed(&e))?;
        Ok(Response::new(convert::vote_reply_to_wire(&reply)))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderReply>, Status> {
        let (_, extensions, message) = request.into_parts();
        self.gate.check(message.header.as_ref(), &extensions, Sender::Leader)?;
        let request = convert::transfer_from_wire(&message).map_err(|e| malformed(&e))?;
        let result = self.raft.handle_transfer_leader(request).await.map_err(|e| stopped(&e))?;
        let vote = self.raft.metrics().borrow_watched().vote;
        Ok(Response::new(wire::TransferLeaderReply {
            vote: Some(convert::vote_to_wire(&vote)),
            accepted: result.is_ok(),
        }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotChunk>>,
    ) -> Result<Response<wire::SnapshotReply>, Status> {
        let (_, extensions, mut stream) = request.into_parts();
        let opening = snapshot_receive::opening(&mut stream).await?;
        self.gate.check(opening.header.as_ref(), &extensions, Sender::Leader)?;
        let _turn = self
            .receiving
            .try_acquire()
            .map_err(|_| Status::resource_exhausted("another snapshot is being received"))?;
        let vote = convert::required_vote(opening.vote.as_ref()).map_err(|e| malformed(&e))?;
        let refuse = |e: crate::error::StorageError| Status::invalid_argument(e.to_string());
        let meta = decode_snapshot_meta(&opening.meta).map_err(refuse)?;
        let manifest = Manifest::from_json(&opening.manifest).map_err(refuse)?;
        if *manifest.meta() != meta {
            return Err(Status::invalid_argument("snapshot header and manifest differ"));
        }
        let snapshot = snapshot_receive::files(&self.inbox, manifest, &mut stream).await?;
        let snapshot = Snapshot { meta, snapshot };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        let reply = installed.map_err(|fatal| stopped(&fatal))?;
        let vote = Some(convert::vote_to_wire(&reply.vote));
        Ok(Response::new(wire::SnapshotReply { vote }))
    }
}

/// The batches of one replication stream, checked one by one.
struct Inbound {
    gate: Arc<PeerGate>,
    extensions: Extensions,
    messages: Streaming<wire::AppendRequest>,
    /// The connection's identity was compared; it cannot change within a stream.
    checked: bool,
    refusal: Arc<OnceLock<Status>>,
}

impl Inbound {
    async fn next(mut self) -> Option<(AppendEntriesRequest<TypeConfig>, Self)> {
        let message = match self.messages.message().await {
            Ok(Some(message)) => message,
            // The peer ended the stream, or its connection broke: nobody is left to be told.
            Ok(None) | Err(_) => return None,
        };
        match self.admit(&message) {
            Ok(batch) => Some((batch, self)),
            Err(status) => {
                // The stream ends here, so the slot is empty.
                self.refusal.get_or_init(|| status);
                None
            }
        }
    }

    fn admit(
        &mut self,
        message: &wire::AppendRequest,
    ) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
        match &message.header {
            Some(header) if self.checked => self.gate.check_address(header, Sender::Leader)?,
            header => self.gate.check(header.as_ref(), &self.extensions, Sender::Leader)?,
        }
        self.checked = true;
        convert::append_from_wire(message).map_err(|e| malformed(&e))
    }
}
