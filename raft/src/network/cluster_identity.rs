//! The id of the cluster that this node belongs to, from the moment at which it is known, and the
//! epoch of the cluster.
//!
//! The replicated cluster record is the only durable copy of the id. Until this node has applied
//! it, the id that a leader sends is adopted in memory, so that a blank node can be brought up by
//! its peers; from then on the record decides, and a request of another cluster is refused. The
//! epoch is in a file of its own, for it holds before anything is applied.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use lockbox_core::{ClusterId, NodeId};

use crate::error::StorageError;
use crate::store::{EpochFile, Faults};

/// Which cluster this node belongs to.
#[derive(Debug, Default)]
pub(crate) struct ClusterIdentity {
    confirmed: OnceLock<ClusterId>,
    adopted: ArcSwapOption<ClusterId>,
    epoch: AtomicU64,
    keeper: Option<EpochKeeper>,
}

/// Where the epoch is kept, and who is told that this node was left out of a later one.
#[derive(Debug)]
struct EpochKeeper {
    file: EpochFile,
    faults: Faults,
}

impl ClusterIdentity {
    /// With the epoch of this file.
    ///
    /// # Errors
    /// [`StorageError`] when it cannot be read.
    pub(crate) fn open(file: EpochFile, faults: Faults) -> Result<Self, StorageError> {
        let epoch = AtomicU64::new(file.read()?);
        Ok(Self { epoch, keeper: Some(EpochKeeper { file, faults }), ..Self::default() })
    }

    /// The epoch that this node belongs to; 0 is the first.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Enters a later epoch, durably before anything of it is taken.
    ///
    /// # Errors
    /// [`StorageError`]; the process ends.
    pub(crate) fn enter_epoch(&self, epoch: u64) -> Result<(), StorageError> {
        if let Some(EpochKeeper { file, faults }) = &self.keeper {
            // ORDER: on disk first: a node that comes back must not fall behind again.
            file.write(epoch).inspect_err(|error| faults.report(error))?;
        }
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
        tracing::info!(epoch, "entered a later epoch of the cluster");
        Ok(())
    }

    /// Takes in which epoch a peer of this cluster belongs to. To be behind means to have been left
    /// out: this node ends, and what it has acknowledged since is not what the cluster has.
    pub(crate) fn heard_epoch(&self, cluster_id: &str, epoch: u64, peer: NodeId) {
        let own = self.epoch();
        let is_ours = self.confirmed.get().is_some_and(|id| id.as_str() == cluster_id);
        if !is_ours || epoch <= own {
            return;
        }
        if let Some(EpochKeeper { faults, .. }) = &self.keeper {
            faults.report(&StorageError::store_lost(format!(
                "the cluster has gone on in epoch {epoch} without this node, which belongs to \
                 epoch {own}, as node {peer} says: its quorum was recovered elsewhere. This node \
                 cannot come back under its id: set it up anew, with a new id and an empty \
                 directory, and add it (`lockbox cluster add`)"
            )));
        }
    }

    /// Takes the id from the replicated record; it never changes again.
    pub(crate) fn confirm(&self, id: &ClusterId) {
        let kept = self.confirmed.get_or_init(|| id.clone());
        // INVARIANT: `apply` refuses a second cluster record.
        assert_eq!(kept, id, "the cluster record changed its id");
    }

    /// Takes the id that `cluster init` chose or a leader sent, until the record is applied.
    pub(crate) fn adopt(&self, id: ClusterId) {
        if !self.is_confirmed() {
            self.adopted.store(Some(Arc::new(id)));
        }
    }

    /// Whether the replicated record has been applied.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.get().is_some()
    }

    /// The id as requests carry it; empty while nothing is known.
    pub(crate) fn to_wire(&self) -> String {
        if let Some(id) = self.confirmed.get() {
            return id.as_str().to_owned();
        }
        self.adopted.load().as_ref().map_or_else(String::new, |id| id.as_str().to_owned())
    }

    /// Whether a request that names this cluster is meant for this node.
    ///
    /// An empty name is a member that has not applied the record yet: refusing its vote could
    /// leave a cluster without a leader while another node is down. Its membership and its
    /// transport identity are checked all the same.
    pub(crate) fn accepts(&self, named: &str) -> bool {
        named.is_empty() || self.confirmed.get().is_none_or(|id| id.as_str() == named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ClusterId {
        ClusterId::parse(text).unwrap()
    }

    #[test]
    fn an_adopted_id_yields_to_the_record_and_the_record_to_nothing() {
        let identity = ClusterIdentity::default();
        assert_eq!(identity.to_wire(), "");
        assert!(identity.accepts("lbcone"));
        identity.adopt(id("lbcone"));
        assert_eq!(identity.to_wire(), "lbcone");
        assert!(identity.accepts("lbctwo"), "an adopted id is not proof");
        identity.confirm(&id("lbctwo"));
        identity.adopt(id("lbcthree"));
        assert_eq!(identity.to_wire(), "lbctwo");
        assert!(identity.accepts("lbctwo"));
        assert!(identity.accepts(""));
        assert!(!identity.accepts("lbcone"));
    }
}
