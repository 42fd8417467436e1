//! The heads of the nodes' audits, for whoever checks the files.

use std::collections::BTreeMap;

use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::domain::audit_head::{AnchoredHead, AuditHeads};
use lockbox_raft::state::tables;

use super::Work;
use crate::call::Call;
use crate::errors::{DecidedAt, unread};

impl Work for wire::ListAuditHeadsRequest {
    type Answer = wire::ListAuditHeadsResponse;
    const EVENT: &'static str = "ListAuditHeads";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("node_id", self.node_id.to_string())])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let replica = &call.app.replica;
        let read = replica.read(call.context.deadline, |view, _| tables::all_audit_heads(view));
        let reading = read.await.map_err(unread)?;
        call.observe(DecidedAt { index: reading.index, term: reading.term });
        let nodes = reading.value.map_err(|error| ApiError::internal(error.to_string()))?;
        let cluster_id = replica.status().cluster_id;
        let heads = nodes.iter().flat_map(|heads| of_node(heads, &cluster_id));
        let wanted = |head: &wire::AuditHead| self.node_id == 0 || self.node_id == head.node_id;
        Ok(wire::ListAuditHeadsResponse { heads: heads.filter(wanted).collect() })
    }
}

fn of_node(heads: &AuditHeads, cluster_id: &str) -> Vec<wire::AuditHead> {
    let abandoned = heads.abandoned.iter().map(|anchored| (anchored, true));
    let newest = heads.newest.iter().map(|anchored| (anchored, false));
    let to_wire = |(anchored, abandoned)| to_wire(anchored, abandoned, cluster_id);
    let mut all: Vec<wire::AuditHead> = abandoned.chain(newest).map(to_wire).collect();
    // One that was abandoned lately is among the newest, too; it counts as abandoned.
    all.sort_by_key(|head| (head.index, !head.abandoned));
    all.dedup_by_key(|head| head.index);
    all
}

fn to_wire(anchored: &AnchoredHead, abandoned: bool, cluster_id: &str) -> wire::AuditHead {
    let AnchoredHead { head, index, anchored_at } = anchored;
    let signature = head.signature.as_ref();
    wire::AuditHead {
        node_id: head.node_id,
        sequence: head.sequence,
        hash: hex::encode(head.hash),
        told_at_ms: head.told_at.as_ms(),
        index: *index,
        anchored_at_ms: anchored_at.as_ms(),
        abandoned,
        cluster_id: cluster_id.to_owned(),
        signer: signature.map(|signed| hex::encode(signed.signer)).unwrap_or_default(),
        signature: signature.map(|signed| hex::encode(&signed.signature)).unwrap_or_default(),
        removed_before: head.removed_through.map_or(0, |through| through.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::LogTime;
    use lockbox_raft::domain::audit_head::AuditHead;

    use super::*;

    #[test]
    fn heads_are_told_once_in_the_order_of_the_log() {
        let mut heads = AuditHeads::default();
        for (index, sequence) in [(10, 5), (20, 9), (30, 2), (40, 3)] {
            let head = AuditHead {
                node_id: 1,
                sequence,
                hash: [7; 32],
                told_at: LogTime::from_ms(1),
                signature: None,
                removed_through: (index == 40).then_some(0),
                after: None,
            };
            let anchored = AnchoredHead { head, index, anchored_at: LogTime::from_ms(2) };
            assert_eq!(heads.anchor(anchored), Ok(true));
        }
        let removed = of_node(&heads, "cluster").iter().map(|head| head.removed_before).max();
        assert_eq!(removed, Some(1));
        let told: Vec<_> = of_node(&heads, "cluster")
            .iter()
            .map(|head| (head.index, head.sequence, head.abandoned))
            .collect();
        assert_eq!(told, [(10, 5, false), (20, 9, true), (30, 2, false), (40, 3, false)]);
    }
}
