//! The id of the cluster that this node belongs to, from the moment at which it is known.
//!
//! The replicated cluster record is the only durable copy. Until this node has applied it, the id
//! that a leader sends is adopted in memory, so that a blank node can be brought up by its peers;
//! from then on the record decides, and a request of another cluster is refused.

use arc_swap::ArcSwapOption;
use lockbox_core::ClusterId;
use std::sync::{Arc, OnceLock};

/// Which cluster this node belongs to.
#[derive(Debug, Default)]
pub(crate) struct ClusterIdentity {
    confirmed: OnceLock<ClusterId>,
    adopted: ArcSwapOption<ClusterId>,
}

impl ClusterIdentity {
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
