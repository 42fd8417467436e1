//! Heads of audits: kept for each node, and nothing else changes.

use lockbox_core::{LogTime, Subject};

use super::World;
use crate::domain::audit_head::{AnchoredHead, AuditHead};
use crate::domain::command::Command;
use crate::domain::outcome::{Outcome, Rejection};
use crate::state::{Space, keys, tables};

fn head(node_id: u64, sequence: u64) -> AuditHead {
    let hash = [u8::try_from(sequence).unwrap(); 32];
    AuditHead { node_id, sequence, hash, told_at: LogTime::from_ms(5), signature: None }
}

/// Anchors it as a node does; gives the index of the entry.
fn anchor(world: &mut World, head: AuditHead) -> u64 {
    let mut envelope = world.envelope(Command::AnchorAuditHead(head));
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    assert_eq!(world.apply(&envelope), Outcome::Nothing);
    world.index
}

#[test]
fn heads_are_kept_for_each_node() {
    let mut world = World::new();
    let before = world.state.clone();
    let first = anchor(&mut world, head(1, 3));
    let other = anchor(&mut world, head(2, 9));
    let second = anchor(&mut world, head(1, 4));
    let kept = world.state.clone();
    anchor(&mut world, head(1, 4));
    assert_eq!(world.state, kept, "the same head once more");
    let anchored = |head, index| AnchoredHead { head, index, anchored_at: world.now };
    let of = |node| tables::audit_heads(&world.state, node).unwrap();
    assert_eq!(of(1).newest, [anchored(head(1, 3), first), anchored(head(1, 4), second)]);
    assert_eq!(of(2).newest, [anchored(head(2, 9), other)]);
    assert!(of(3).newest.is_empty());
    assert_eq!(tables::all_audit_heads(&world.state).unwrap(), [of(1), of(2)]);

    let mut rest = world.state.clone();
    for node in [1, 2] {
        rest.0.remove(&(Space::Records, keys::audit_heads(node))).unwrap();
    }
    assert_eq!(rest, before, "something else has changed");
}

#[test]
fn a_chain_that_begins_again_does_not_hide_the_one_before() {
    let mut world = World::new();
    anchor(&mut world, head(1, 200));
    anchor(&mut world, head(1, 0));
    let heads = tables::audit_heads(&world.state, 1).unwrap();
    assert_eq!(heads.abandoned.len(), 1);
    assert_eq!(heads.abandoned[0].head, head(1, 200));
    assert_eq!(heads.newest.last().unwrap().head, head(1, 0));
}

#[test]
fn only_the_system_anchors_heads() {
    let mut world = World::new();
    assert_eq!(world.refuse(Command::AnchorAuditHead(head(1, 1))), Rejection::PermissionDenied);
}
