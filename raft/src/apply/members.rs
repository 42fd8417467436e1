//! The register of members: what a membership entry leaves behind.

use std::collections::BTreeMap;

use lockbox_core::NodeId;

use crate::domain::codec;
use crate::domain::member::MemberRecord;
use crate::error::StorageError;
use crate::state::{Overlay, Space, keys, tables};

/// Takes a membership into the register: who is new in it, and who is no longer.
///
/// `members` are all nodes of the membership, voters or not, with their directories.
///
/// # Errors
/// [`StorageError`] when the store cannot answer; the node stops.
pub fn register_members(
    state: &mut Overlay<'_>,
    members: &BTreeMap<NodeId, [u8; 16]>,
    index: u64,
) -> Result<(), StorageError> {
    let known = tables::members(state)?;
    for mut record in known.iter().cloned() {
        if record.removed_at.is_none() && !members.contains_key(&record.node_id) {
            record.removed_at = Some(index);
            put(state, &record);
        }
    }
    for (node_id, store_id) in members {
        // INVARIANT: an id that was removed is refused by whoever proposes a membership.
        if known.iter().all(|record| record.node_id != *node_id) {
            let (node_id, store_id) = (*node_id, *store_id);
            put(state, &MemberRecord { node_id, store_id, added_at: index, removed_at: None });
        }
    }
    state.keep();
    Ok(())
}

fn put(state: &mut Overlay<'_>, record: &MemberRecord) {
    state.put(Space::Records, keys::member(record.node_id), codec::encode(record));
}
