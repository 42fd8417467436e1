//! Channels to peers, kept and shared: one for each peer and purpose, with the protocol version
//! that both sides speak.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lockbox_core::NodeId;
use lockbox_proto::lockbox::peer::v1 as wire;
use tonic::transport::Channel;
use tonic::{Code, Status};
use wire::raft_service_client::RaftServiceClient;
use wire::replica_service_client::ReplicaServiceClient;

use super::cluster_identity::ClusterIdentity;
use super::connect::{ChannelPurpose, ConnectError, PeerConnector};
use super::disk_room::DiskRoom;
use super::{MESSAGE_BYTES_MAX, PROTOCOL_MAX, PROTOCOL_MIN};
use crate::types::{Member, StoreId};

/// No version has been agreed on.
const VERSION_UNKNOWN: u32 = 0;

/// A peer to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its node id.
    pub(crate) id: NodeId,
    /// Its addresses.
    pub(crate) member: Member,
}

struct Kept {
    member: Member,
    channel: Channel,
    version: Arc<AtomicU32>,
    silent: Arc<AtomicBool>,
}

/// All channels of this node to its peers.
pub(crate) struct PeerLinks {
    me: NodeId,
    store_id: StoreId,
    identity: Arc<ClusterIdentity>,
    connector: Arc<dyn PeerConnector>,
    room: Arc<DiskRoom>,
    kept: Mutex<BTreeMap<(NodeId, ChannelPurpose), Kept>>,
}

impl PeerLinks {
    pub(crate) fn new(
        me: NodeId,
        store_id: StoreId,
        identity: Arc<ClusterIdentity>,
        connector: Arc<dyn PeerConnector>,
    ) -> Self {
        let (room, kept) = (Arc::default(), Mutex::default());
        Self { me, store_id, identity, connector, room, kept }
    }

    /// How much room the disks at both ends have.
    pub(crate) const fn room(&self) -> &Arc<DiskRoom> {
        &self.room
    }

    /// This node's id.
    pub(crate) const fn me(&self) -> NodeId {
        self.me
    }

    /// A connection that is not kept, to ask a node who it is.
    ///
    /// # Errors
    /// [`ConnectError`] when the connector cannot make a channel at all.
    pub(super) fn fresh(&self, target: &Target) -> Result<PeerLink, ConnectError> {
        let purpose = ChannelPurpose::Forward;
        let channel = self.connector.channel(target.id, &target.member, purpose)?;
        Ok(self.with_channel(target, purpose, channel, Arc::default(), Arc::default()))
    }

    fn with_channel(
        &self,
        target: &Target,
        purpose: ChannelPurpose,
        channel: Channel,
        version: Arc<AtomicU32>,
        silent: Arc<AtomicBool>,
    ) -> PeerLink {
        let identity = Arc::clone(&self.identity);
        let stores = Stores { source: self.store_id, target: target.member.store_id };
        let target = target.id;
        PeerLink { me: self.me, target, stores, purpose, identity, channel, version, silent }
    }

    /// The link to a peer; a new one if there is none or the peer has moved.
    ///
    /// # Errors
    /// [`ConnectError`] when the connector cannot make a channel at all.
    pub(crate) fn link(
        &self,
        target: &Target,
        purpose: ChannelPurpose,
    ) -> Result<PeerLink, ConnectError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = (target.id, purpose);
        if kept.get(&slot).is_none_or(|kept| kept.member != target.member) {
            let channel = self.connector.channel(target.id, &target.member, purpose)?;
            let version = Arc::new(AtomicU32::new(VERSION_UNKNOWN));
            let (member, silent) = (target.member.clone(), Arc::default());
            kept.insert(slot, Kept { member, channel, version, silent });
        }
        let found = &kept[&slot];
        let (version, silent) = (Arc::clone(&found.version), Arc::clone(&found.silent));
        Ok(self.with_channel(target, purpose, found.channel.clone(), version, silent))
    }
}

/// The data directories at both ends of a link.
#[derive(Debug, Clone, Copy)]
struct Stores {
    source: StoreId,
    /// As the membership has it.
    target: StoreId,
}

/// One channel to one peer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PeerLink {
    me: NodeId,
    target: NodeId,
    stores: Stores,
    purpose: ChannelPurpose,
    identity: Arc<ClusterIdentity>,
    channel: Channel,
    version: Arc<AtomicU32>,
    /// Whether the last call failed; what a log has room for is the change, not each call.
    silent: Arc<AtomicBool>,
}

impl PeerLink {
    /// A client for consensus, with its message sizes set.
    pub(crate) fn raft(&self) -> RaftServiceClient<Channel> {
        RaftServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A client for forwarding, with its message sizes set.
    pub(crate) fn replica(&self) -> ReplicaServiceClient<Channel> {
        ReplicaServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The header of the next request. Agrees on a protocol version first if none is known.
    ///
    /// # Errors
    /// The status of the failed `Hello`; nothing else was sent.
    pub(crate) async fn header(&self) -> Result<wire::PeerHeader, Status> {
        let known = self.version.load(Ordering::Relaxed);
        if known != VERSION_UNKNOWN {
            return Ok(self.header_with(known));
        }
        let agreed = self.hello().await?.protocol_version;
        self.version.store(agreed, Ordering::Relaxed);
        Ok(self.header_with(agreed))
    }

    /// Asks the peer who it is and which protocol version it chooses.
    ///
    /// # Errors
    /// The status of the failed call; FAILED_PRECONDITION when no version fits.
    pub(super) async fn hello(&self) -> Result<wire::HelloReply, Status> {
        let hello = wire::HelloRequest {
            header: Some(self.header_with(PROTOCOL_MAX)),
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
        };
        let reply = self.raft().hello(hello).await?.into_inner();
        let agreed = reply.protocol_version;
        if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&agreed) {
            let message = format!("node {} chose protocol version {agreed}", self.target);
            return Err(Status::failed_precondition(message));
        }
        self.identity.heard_epoch(&reply.cluster_id, reply.cluster_epoch, self.target);
        Ok(reply)
    }

    /// Learns from a failure: a peer that came back with another build agrees on a version anew.
    pub(crate) fn saw(&self, status: &Status) {
        if status.code() == Code::FailedPrecondition {
            self.version.store(VERSION_UNKNOWN, Ordering::Relaxed);
        }
    }

    /// Notes a failed call, and gives its error back. The first after an answer is logged.
    pub(crate) fn silent<E: Display>(&self, error: E) -> E {
        if !self.silent.swap(true, Ordering::Relaxed) {
            let (peer, purpose) = (self.target, self.purpose);
            tracing::warn!(peer, ?purpose, %error, "a peer does not answer");
        }
        error
    }

    /// Notes an answer. The first after a failure is logged.
    pub(crate) fn answered(&self) {
        // The load is what an answer costs; the swap decides who logs.
        if self.silent.load(Ordering::Relaxed) && self.silent.swap(false, Ordering::Relaxed) {
            tracing::info!(peer = self.target, purpose = ?self.purpose, "the peer answers again");
        }
    }

    fn header_with(&self, protocol_version: u32) -> wire::PeerHeader {
        wire::PeerHeader {
            cluster_id: self.identity.to_wire(),
            source_node_id: self.me,
            target_node_id: self.target,
            protocol_version,
            source_store_id: self.stores.source.to_wire(),
            target_store_id: self.stores.target.to_wire(),
            cluster_epoch: self.identity.epoch(),
        }
    }
}
