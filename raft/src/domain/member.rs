//! Who was ever a member: ids of nodes are never used again.

use lockbox_core::NodeId;
use minicbor::{Decode, Encode};

/// One node id and what became of it. Kept for ever (`openraft.md §6`: a node id that comes back
/// on an empty disk can lose committed data).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MemberRecord {
    /// The node.
    #[n(0)]
    pub node_id: NodeId,
    /// The data directory on which it became a member; zeros when nobody asked.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub store_id: [u8; 16],
    /// The log entry that made it a member.
    #[n(2)]
    pub added_at: u64,
    /// The log entry that removed it; absent while it is a member.
    #[n(3)]
    pub removed_at: Option<u64>,
}
