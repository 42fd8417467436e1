//! The calling side of consensus: openraft's network over gRPC.
//!
//! Never waits for a connection when a client is made; a peer that is down shows in the first
//! call. Every call has a deadline of its own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use lockbox_core::NodeId;
use openraft::RPCTypes;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tonic::{Response, Status};

use super::VoterClocks;
use super::append_stream::{self, AppendPipeline};
use super::connect::{ChannelPurpose, ConnectError};
use super::convert;
use super::disk_room::DiskRoom;
use super::failure::Call;
use super::link::{PeerLink, PeerLinks, Target};
use super::snapshot_send::{self, Transfer};
use super::snapshot_sends::SnapshotSends;
use crate::store::{Blocking, SnapshotHandle};
use crate::types::{Member, Snapshot, TypeConfig, Vote};

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;

/// What all clients of this node share.
pub(crate) struct NetworkContext {
    links: Arc<PeerLinks>,
    clocks: Arc<dyn VoterClocks>,
    sends: Arc<SnapshotSends>,
    blocking: Blocking,
}

impl NetworkContext {
    pub(crate) fn new(
        links: Arc<PeerLinks>,
        clocks: Arc<dyn VoterClocks>,
        sends: Arc<SnapshotSends>,
        blocking: Blocking,
    ) -> Self {
        Self { links, clocks, sends, blocking }
    }

    pub(super) fn clocks(&self) -> &dyn VoterClocks {
        self.clocks.as_ref()
    }

    pub(super) fn room(&self) -> &DiskRoom {
        self.links.room()
    }

    pub(super) const fn sends(&self) -> &Arc<SnapshotSends> {
        &self.sends
    }

    /// Where file work has to run.
    pub(super) const fn blocking(&self) -> Blocking {
        self.blocking
    }
}

/// Makes clients for openraft.
pub(crate) struct PeerNetwork(pub(crate) Arc<NetworkContext>);

impl PeerNetwork {
    fn client(&self, id: NodeId, member: &Member, purpose: ChannelPurpose) -> PeerClient {
        let target = Target { id, member: member.clone() };
        let link = self.0.links.link(&target, purpose);
        if let Err(error) = &link {
            tracing::error!(peer = id, %error, "peer cannot be called");
        }
        PeerClient { context: Arc::clone(&self.0), target: id, purpose, link }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerNetwork {
    type Network = PeerClient;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> PeerClient {
        self.client(target, node, ChannelPurpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Member) -> PeerClient {
        self.client(target, node, ChannelPurpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Member) -> PeerClient {
        self.client(target, node, ChannelPurpose::Snapshot)
    }
}

/// A client for one peer and purpose.
pub(crate) struct PeerClient {
    context: Arc<NetworkContext>,
    target: NodeId,
    purpose: ChannelPurpose,
    link: Result<PeerLink, ConnectError>,
}

impl PeerClient {
    fn call(&self, action: RPCTypes) -> Call {
        Call { source: self.context.links.me(), target: self.target, action }
    }

    fn link(&self, call: Call) -> RpcResult<PeerLink> {
        self.link.clone().map_err(|error| call.unreachable(&error.to_string()))
    }

    /// Runs one call to its deadline.
    async fn unary<T>(
        &self,
        call: Call,
        budget: Duration,
        exchange: impl Future<Output = Result<Response<T>, Status>>,
    ) -> RpcResult<T> {
        let link = self.link(call)?;
        match tokio::time::timeout(budget, exchange).await {
            Ok(Ok(response)) => {
                link.answered();
                Ok(response.into_inner())
            }
            Ok(Err(status)) => {
                link.saw(&status);
                Err(link.silent(call.failed(&status)))
            }
            Err(_elapsed) => Err(link.silent(call.timed_out(budget))),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotHandle;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<TypeConfig>> {
        let call = self.call(RPCTypes::AppendEntries);
        let link = self.link(call)?;
        let exchange = async {
            let header = link.header().await?;
            link.raft().append(convert::append_to_wire(&request, header)).await
        };
        let reply = self.unary(call, option.soft_ttl(), exchange).await?;
        self.context.clocks().heard(self.target, reply.wall_clock_ms);
        self.context.room().heard(self.target, reply.disk_is_low);
        convert::append_reply_from_wire(&reply).map_err(|error| call.malformed(&error))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        // openraft opens a new stream for each heartbeat: a unary call costs less there.
        if self.purpose == ChannelPurpose::Heartbeat {
            return stream_append_sequential(self, input, option);
        }
        let call = self.call(RPCTypes::AppendEntries);
        let context = Arc::clone(&self.context);
        Box::pin(async move {
            let link = self.link(call)?;
            let pipeline = AppendPipeline { context, link, call, budget: option.soft_ttl() };
            append_stream::open(pipeline, input).await
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let call = self.call(RPCTypes::Vote);
        let link = self.link(call)?;
        let exchange = async {
            let header = link.header().await?;
            link.raft().vote(convert::vote_request_to_wire(&request, header)).await
        };
        let reply = self.unary(call, option.soft_ttl(), exchange).await?;
        convert::vote_reply_from_wire(&reply).map_err(|error| call.malformed(&error))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let call = self.call(RPCTypes::Vote);
        let link = self.link(call)?;
        let exchange = async {
            let header = link.header().await?;
            link.raft().pre_vote(convert::vote_request_to_wire(&request, header)).await
        };
        let reply = self.unary(call, option.soft_ttl(), exchange).await?;
        convert::vote_reply_from_wire(&reply).map_err(|error| call.malformed(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let call = self.call(RPCTypes::InstallSnapshot);
        let link = self.link(call)?;
        let transfer = Transfer { link, call, vote, budget: option.hard_ttl() };
        snapshot_send::send(&self.context, transfer, snapshot, cancel).await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        let call = self.call(RPCTypes::TransferLeader);
        let link = self.link(call)?;
        let exchange = async {
            let header = link.header().await?;
            link.raft().transfer_leader(convert::transfer_to_wire(&request, header)).await
        };
        let reply = self.unary(call, option.soft_ttl(), exchange).await?;
        convert::transfer_reply_from_wire(&reply, &request).map_err(|error| call.malformed(&error))
    }
}
