//! Consensus and forwarding between nodes: openraft's requests over gRPC.
//!
//! Owns the channels to peers, the conversion between wire and openraft, and the check of who
//! speaks to whom. Promises that no request is served whose cluster, target or sender is not what
//! this node expects. Knows neither TLS (a [`PeerConnector`] makes channels, a [`PeerAuthorizer`]
//! reads identities) nor what a proposal means.

mod append_stream;
mod client;
mod cluster_identity;
mod connect;
mod convert;
mod disk_room;
mod failure;
mod gate;
mod link;
mod probe;
mod server;
mod snapshot_receive;
mod snapshot_send;
mod snapshot_sends;
#[cfg(test)]
mod tests;

pub(crate) use client::{NetworkContext, PeerNetwork};
pub(crate) use cluster_identity::ClusterIdentity;
pub use connect::{
    CONNECTION_WINDOW_BYTES, ChannelPurpose, ConnectError, PeerConnector, PlaintextConnector,
    STREAM_WINDOW_BYTES, peer_endpoint,
};
pub(crate) use convert::{log_id_from_wire, log_id_to_wire};
pub(crate) use disk_room::DiskRoom;
pub(crate) use failure::was_never_sent;
pub use gate::{AllowAllPeers, IdentityMismatch, PeerAuthorizer, PeerGate};
pub(crate) use gate::{GateParts, Sender};
pub(crate) use link::{PeerLink, PeerLinks, Target};
pub use probe::ProbeError;
pub(crate) use probe::{Probed, probe};
pub use server::RaftRpc;
pub(crate) use snapshot_sends::SnapshotSends;

/// Consensus over our store.
pub(crate) type Raft = openraft::Raft<crate::types::TypeConfig, crate::store::StateMachine>;

/// The oldest protocol between nodes that this build speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// The newest protocol between nodes that this build speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// Longest message between nodes. The log reader ends a batch at 2 MiB, so that this is reached by
/// one oversized entry at most; set here because gRPC's own default is 4 MiB for one side only.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where the wall clocks of peers go: the leader keeps log time from them (`design §5`).
pub(crate) trait VoterClocks: Send + Sync {
    /// A peer has just answered, and its wall clock showed this.
    fn heard(&self, peer: lockbox_core::NodeId, wall_clock_ms: u64);
}
