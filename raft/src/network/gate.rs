//! Who may speak to this node: checked on every request of a peer before anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockbox_core::{ClusterId, NodeId};
use lockbox_proto::lockbox::peer::v1::PeerHeader;
use tonic::{Extensions, Status};

use super::cluster_identity::ClusterIdentity;
use super::{PROTOCOL_MAX, PROTOCOL_MIN};
use crate::error::StorageError;
use crate::store::Faults;
use crate::types::{StoreId, StoredMembership};

/// Why a connection may not speak for the node that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connection's identity is not that of node {claimed}")]
pub struct IdentityMismatch {
    /// The node that the request named as its sender.
    pub claimed: NodeId,
}

/// Compares the transport's identity with the node that a request names as its sender.
pub trait PeerAuthorizer: Send + Sync + 'static {
    /// Whether the connection that carried these extensions may speak for `source`.
    ///
    /// # Errors
    /// [`IdentityMismatch`] when it may not.
    fn authorize(&self, extensions: &Extensions, source: NodeId) -> Result<(), IdentityMismatch>;
}

/// Lets every connection speak for every node: for plaintext on loopback only.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAllPeers;

impl PeerAuthorizer for AllowAllPeers {
    fn authorize(&self, _extensions: &Extensions, _source: NodeId) -> Result<(), IdentityMismatch> {
        Ok(())
    }
}

/// What a request does, as far as it matters to who may send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A leader that replicates. It may be a member that this node has not heard of: a node that
    /// was away learns the new membership from exactly these requests.
    Leader,
    /// A member that this node must know: candidates and replicas that forward.
    Member,
    /// Anyone whose transport identity holds: a peer that only asks who this node is.
    Peer,
}

/// Reads the membership that this node has last seen.
pub(crate) type MembershipSource = dyn Fn() -> Arc<StoredMembership> + Send + Sync;

/// The check itself, shared by all services of the peer listener.
pub struct PeerGate {
    me: NodeId,
    store_id: StoreId,
    identity: Arc<ClusterIdentity>,
    authorizer: Arc<dyn PeerAuthorizer>,
    membership: Box<MembershipSource>,
    faults: Faults,
    /// Whether somebody was told that another cluster calls: a leader calls many times a second.
    told: AtomicBool,
}

/// What a gate checks with.
pub(crate) struct GateParts {
    /// This node.
    pub(crate) me: NodeId,
    /// The directory that it runs on.
    pub(crate) store_id: StoreId,
    /// Its cluster.
    pub(crate) identity: Arc<ClusterIdentity>,
    /// Reads transport identities.
    pub(crate) authorizer: Arc<dyn PeerAuthorizer>,
    /// The membership in force.
    pub(crate) membership: Box<MembershipSource>,
    /// Ends the process of a node that was wiped.
    pub(crate) faults: Faults,
}

impl PeerGate {
    pub(crate) fn new(parts: GateParts) -> Self {
        let GateParts { me, store_id, identity, authorizer, membership, faults } = parts;
        let told = AtomicBool::new(false);
        Self { me, store_id, identity, authorizer, membership, faults, told }
    }

    pub(crate) const fn me(&self) -> NodeId {
        self.me
    }

    /// The directory that this node runs on.
    pub(crate) const fn store_id(&self) -> StoreId {
        self.store_id
    }

    pub(crate) fn cluster_id_to_wire(&self) -> String {
        self.identity.to_wire()
    }

    /// Checks the sender of a request; the wrong process is refused before it can do harm
    /// (`openraft.md §2.5`).
    pub(crate) fn check(
        &self,
        header: Option<&PeerHeader>,
        extensions: &Extensions,
        sender: Sender,
    ) -> Result<(), Status> {
        let Some(header) = header else {
            return Err(Status::invalid_argument("field header is missing"));
        };
        let source = header.source_node_id;
        self.authorizer
            .authorize(extensions, source)
            .map_err(|mismatch| Status::permission_denied(mismatch.to_string()))?;
        self.check_address(header, sender)?;
        let known = (self.membership)();
        let somebody_known = known.membership().nodes().next().is_some();
        if sender == Sender::Member && somebody_known && known.get_node(&source).is_none() {
            return Err(Status::permission_denied(format!("node {source} is not a member")));
        }
        // A learner that is being added may not be known here yet; who is known is compared.
        let claimed = StoreId::from_wire(&header.source_store_id);
        let wiped = known
            .get_node(&source)
            .is_some_and(|member| member.store_id.is_known() && member.store_id != claimed);
        if wiped && sender != Sender::Peer {
            return Err(Status::permission_denied(format!(
                "node {source} runs on another directory than the member of that id"
            )));
        }
        Ok(())
    }

    /// Checks what can differ from message to message of one stream.
    pub(crate) fn check_address(&self, header: &PeerHeader, sender: Sender) -> Result<(), Status> {
        if header.target_node_id != self.me {
            let (meant, me) = (header.target_node_id, self.me);
            return Err(Status::permission_denied(format!(
                "node {meant} was called, this is {me}"
            )));
        }
        if !self.identity.accepts(&header.cluster_id) {
            self.tell_of_another_cluster(header, sender);
            return Err(Status::permission_denied("the request names another cluster"));
        }
        self.check_store(header)?;
        self.check_epoch(header, sender)?;
        let version = header.protocol_version;
        if sender != Sender::Peer && !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&version) {
            let message = format!("protocol version {version} is not spoken here");
            return Err(Status::failed_precondition(message));
        }
        if sender == Sender::Leader && !header.cluster_id.is_empty() {
            let id = ClusterId::parse(&header.cluster_id)
                .map_err(|e| Status::invalid_argument(format!("header.cluster_id: {e}")))?;
            self.identity.adopt(id);
        }
        Ok(())
    }

    /// The epoch of the cluster that this node belongs to.
    pub(crate) fn cluster_epoch(&self) -> u64 {
        self.identity.epoch()
    }

    /// Whether the sender belongs to the same epoch of the cluster.
    ///
    /// One of an epoch that was left is refused, so that what it has acknowledged since cannot mix
    /// with what the cluster has; it is told to ask anew who this is, and then stops. A leader of a
    /// later epoch calls its own members alone: this node is one, and enters it.
    fn check_epoch(&self, header: &PeerHeader, sender: Sender) -> Result<(), Status> {
        let (theirs, own) = (header.cluster_epoch, self.identity.epoch());
        if sender == Sender::Peer {
            return Ok(());
        }
        if theirs < own {
            let source = header.source_node_id;
            return Err(Status::failed_precondition(format!(
                "node {source} belongs to epoch {theirs} of the cluster, which was left for \
                 epoch {own}"
            )));
        }
        if theirs > own && sender == Sender::Leader {
            self.identity
                .enter_epoch(theirs)
                .map_err(|error| Status::aborted(error.to_string()))?;
        }
        Ok(())
    }

    /// Of a node that runs on another cluster's data this is the only sign: nobody answers it, and
    /// it answers nobody. It does not end by itself, for who is mistaken it cannot know.
    fn tell_of_another_cluster(&self, header: &PeerHeader, sender: Sender) {
        if sender == Sender::Leader && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                source = header.source_node_id,
                theirs = ?header.cluster_id,
                ours = %self.identity.to_wire(),
                "a leader of another cluster calls this node: check its address, and whose data \
                 this node runs on"
            );
        }
    }

    /// Whether this node is the one that is meant, and not one that was set up anew in its place.
    ///
    /// A node without its disk has forgotten what it voted for and acknowledged; taking part under
    /// its id it could lose committed data. It stops, and says what to do.
    fn check_store(&self, header: &PeerHeader) -> Result<(), Status> {
        let meant = StoreId::from_wire(&header.target_store_id);
        if !meant.is_known() || meant == self.store_id {
            return Ok(());
        }
        let me = self.me;
        // Who knows itself to be a member on this very directory is not the one that is mistaken.
        let known = (self.membership)();
        let registered = known.get_node(&me).is_some_and(|own| own.store_id == self.store_id);
        if !registered {
            self.faults.report(&StorageError::store_lost(format!(
                "node {me} is a member of the cluster on another data directory than this one: \
                 its disk was wiped or replaced, and what it acknowledged is forgotten. It cannot \
                 come back under its id: remove node {me} from the cluster and add it under a new \
                 id, with an empty directory (`lockbox cluster replace`)"
            )));
        }
        Err(Status::permission_denied(format!("node {me} does not run on the directory meant")))
    }
}
