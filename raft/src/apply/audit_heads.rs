//! Heads of audits: kept, and nothing else comes of them.

use lockbox_core::Subject;

use super::{Application, Refusal};
use crate::domain::audit_head::{AnchoredHead, AuditHead, HeadRefused};
use crate::domain::command::Envelope;
use crate::domain::outcome::{Precondition, Rejection};
use crate::state::{Space, keys, tables};

/// Anchors a head; the system's alone. One that comes behind another head than its node has read is
/// refused: the node reads again, and says anew whether its files go on from there. So is one that
/// cannot follow the last one, and is said to. Which node it is of, or whether it is the KMS's, is
/// what the proposing node says: nodes are trusted for that, as they are for the subjects of calls.
pub(super) fn anchor(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    head: &AuditHead,
) -> Result<(), Refusal> {
    if envelope.subject != Subject::internal() {
        return Err(Rejection::PermissionDenied.into());
    }
    let mut heads = tables::audit_heads(application.state, head.node_id)?;
    let (index, anchored_at) = (application.index, application.now);
    let anchored = heads.anchor(AnchoredHead { head: head.clone(), index, anchored_at });
    let anchored = anchored.map_err(|refused| match refused {
        HeadRefused::Moved => Precondition::AuditHeadMoved,
        HeadRefused::Contradicts => Precondition::AuditHeadContradicts,
    })?;
    if anchored {
        application.put(Space::Records, keys::audit_heads(head.node_id), &heads);
    }
    Ok(())
}
