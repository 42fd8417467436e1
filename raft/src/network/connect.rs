//! How a channel to a peer is made: the seam for mutual TLS and for the simulated network.

use std::time::Duration;

use lockbox_core::NodeId;
use tonic::transport::{Channel, Endpoint};

use crate::types::Member;

/// A dead connection is noticed within this time plus [`KEEPALIVE_TIMEOUT`].
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a peer may take to answer a keep-alive ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the TCP connection to a peer may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes that a peer may send before we have read them, for one stream and for a connection:
/// gRPC's 64 KiB would let one batch of the log wait for several round trips.
pub const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// As [`STREAM_WINDOW_BYTES`], for all streams of a connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Sets what every channel between nodes has in common: time limits, keep-alive, windows.
#[must_use]
pub fn peer_endpoint(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// What a channel is used for. Each has its own connection, so that bulk data cannot delay a
/// heartbeat (`openraft.md §2.5`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChannelPurpose {
    /// Log entries and votes.
    Replication,
    /// Heartbeats, which also confirm leadership for reads.
    Heartbeat,
    /// Snapshot files.
    Snapshot,
    /// Proposals and read points between replicas.
    Forward,
}

/// Why no channel can be made: a mistake in the address or in the TLS material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node {node_id} at {address}: {reason}")]
pub struct ConnectError {
    /// The peer.
    pub node_id: NodeId,
    /// Its address.
    pub address: String,
    /// What is wrong.
    pub reason: String,
}

/// Makes channels to peers.
pub trait PeerConnector: Send + Sync + 'static {
    /// A channel that connects when it is first used, and again after a failure.
    ///
    /// # Errors
    /// [`ConnectError`] when the address or the TLS material cannot be used at all.
    fn channel(
        &self,
        node_id: NodeId,
        member: &Member,
        purpose: ChannelPurpose,
    ) -> Result<Channel, ConnectError>;
}

/// Connects without TLS: for tests and development on loopback.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlaintextConnector;

impl PeerConnector for PlaintextConnector {
    fn channel(
        &self,
        node_id: NodeId,
        member: &Member,
        _purpose: ChannelPurpose,
    ) -> Result<Channel, ConnectError> {
        let endpoint = Endpoint::from_shared(format!("http://{}", member.peer_address));
        let endpoint = endpoint.map_err(|e| ConnectError {
            node_id,
            address: member.peer_address.clone(),
            reason: e.to_string(),
        })?;
        Ok(peer_endpoint(endpoint).connect_lazy())
    }
}
