//! Asks a node who it is before anything depends on it.
//!
//! The connection itself proves the certificate's name; the answer tells the rest. Changes
//! nothing on the node that is asked.

use std::time::Duration;

use lockbox_core::NodeId;
use tokio::time::Instant;

use super::failure::describe;
use super::link::{PeerLinks, Target};
use crate::types::{Member, StoreId};

/// How long a node may take to say who it is.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probed {
    /// The cluster it belongs to; empty while it knows none.
    pub(crate) cluster_id: String,
    /// Its data directory.
    pub(crate) store_id: StoreId,
    /// Its log is empty.
    pub(crate) blank: bool,
    /// The highest feature level that it understands.
    pub(crate) feature_level: u32,
    /// The version of its program; empty of builds that do not say.
    pub(crate) version: String,
}

/// Why a node could not be asked, or is not the one that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node {node_id} at {address} does not answer as it should: {reason}")]
pub struct ProbeError {
    /// The node that was meant.
    pub node_id: NodeId,
    /// Where it was called.
    pub address: String,
    /// What went wrong, in words.
    pub reason: String,
}

/// Asks the node at a member's peer address who it is. With a store id in `member`, a node on
/// another directory is an error.
///
/// # Errors
/// [`ProbeError`] when nobody answers there in time, or somebody else does.
pub(crate) async fn probe(
    links: &PeerLinks,
    node_id: NodeId,
    member: &Member,
    by: Instant,
) -> Result<Probed, ProbeError> {
    let failed =
        |reason: String| ProbeError { node_id, address: member.peer_address.clone(), reason };
    let target = Target { id: node_id, member: member.clone() };
    let link = links.fresh(&target).map_err(|error| failed(error.reason))?;
    let by = by.min(Instant::now() + PROBE_TIMEOUT);
    let Ok(answered) = tokio::time::timeout_at(by, link.hello()).await else {
        return Err(failed("no answer in time".to_owned()));
    };
    let reply = answered.map_err(|status| failed(describe(&status)))?;
    if reply.node_id != node_id {
        return Err(failed(format!("this is node {}", reply.node_id)));
    }
    let store_id = StoreId::from_wire(&reply.store_id);
    if !store_id.is_known() {
        return Err(failed("it does not say which directory it runs on".to_owned()));
    }
    if member.store_id.is_known() && member.store_id != store_id {
        return Err(failed("it runs on another directory than the member".to_owned()));
    }
    Ok(Probed {
        cluster_id: reply.cluster_id,
        store_id,
        blank: reply.blank,
        feature_level: reply.feature_level,
        version: reply.version,
    })
}
