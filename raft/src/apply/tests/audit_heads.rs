//! Heads of audits: kept for each node, and nothing else changes.

use lockbox_core::{KMS_AUDIT_ID, LogTime, Subject};

use super::World;
use crate::domain::audit_head::{After, AnchoredHead, AuditHead, HEADS_MAX, HeadMark};
use crate::domain::command::{Command, Envelope};
use crate::domain::outcome::{Outcome, Precondition, Rejection};
use crate::state::{Space, keys, tables};

fn head(node_id: u64, sequence: u64) -> AuditHead {
    AuditHead {
        node_id,
        sequence,
        hash: [u8::try_from(sequence % 251).unwrap(); 32],
        told_at: LogTime::from_ms(5),
        signature: None,
        removed_through: None,
        after: None,
    }
}

/// As a node proposes it.
fn proposal(world: &mut World, head: AuditHead) -> Envelope {
    let mut envelope = world.envelope(Command::AnchorAuditHead(head));
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    envelope
}

/// Anchors it as a node does; gives the index of the entry.
fn anchor(world: &mut World, head: AuditHead) -> u64 {
    let envelope = proposal(world, head);
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

/// Records were changed and chained anew, and padded beyond the last head, while the node did not
/// run: the next head has a larger number, and its node says that it does not follow.
#[test]
fn a_longer_chain_that_was_made_anew_does_not_hide_the_one_before() {
    let mut world = World::new();
    let known = head(1, 200);
    anchor(&mut world, known.clone());
    let forged = HeadMark { sequence: 201, hash: [255; 32] };
    let after = Some(After::Abandoned(known.mark()));
    anchor(&mut world, AuditHead { hash: forged.hash, after, ..head(1, 201) });
    let mut last = forged;
    for sequence in 202..203 + HEADS_MAX as u64 {
        let next = AuditHead { after: Some(After::Followed(last)), ..head(1, sequence) };
        last = next.mark();
        anchor(&mut world, next);
    }
    let heads = tables::audit_heads(&world.state, 1).unwrap();
    assert!(heads.newest.iter().all(|anchored| anchored.head != known));
    let abandoned: Vec<_> = heads.abandoned.into_iter().map(|anchored| anchored.head).collect();
    assert_eq!(abandoned, [known]);
}

/// A proposal of an earlier try, or of an earlier run, that is applied late.
#[test]
fn a_head_behind_another_one_than_its_node_has_read_is_refused() {
    let mut world = World::new();
    let (first, second) = (head(1, 3), head(1, 5));
    anchor(&mut world, AuditHead { after: Some(After::Nothing), ..first.clone() });
    let after = Some(After::Followed(first.mark()));
    anchor(&mut world, AuditHead { after, ..second.clone() });
    let moved = Rejection::Precondition(Precondition::AuditHeadMoved);
    for after in [After::Nothing, After::Followed(first.mark()), After::Abandoned(first.mark())] {
        let late = proposal(&mut world, AuditHead { after: Some(after), ..head(1, 4) });
        assert_eq!(world.refused(&late), moved, "{after:?}");
    }
    let heads = tables::audit_heads(&world.state, 1).unwrap();
    assert!(heads.abandoned.is_empty());
    assert_eq!(heads.newest.last().unwrap().head.mark(), second.mark());
}

/// Whoever has the KMS's disk, and has it say that nothing happened.
#[test]
fn a_head_of_the_kms_that_goes_backwards_or_contradicts_is_refused() {
    let mut world = World::new();
    let (of_node, first) = (head(1, 9), head(KMS_AUDIT_ID, 7));
    anchor(&mut world, AuditHead { after: Some(After::Nothing), ..of_node });
    anchor(&mut world, AuditHead { after: Some(After::Nothing), ..first.clone() });
    let before = world.state.clone();
    let after = Some(After::Followed(first.mark()));
    let contradicts = Rejection::Precondition(Precondition::AuditHeadContradicts);
    for wrong in [
        AuditHead { after, ..head(KMS_AUDIT_ID, 6) },
        AuditHead { after, hash: [9; 32], ..first.clone() },
    ] {
        let told = proposal(&mut world, wrong);
        assert_eq!(world.refused(&told), contradicts);
        assert_eq!(world.state, before);
    }
    // What is said not to follow is remembered: the record that is gone is missed for ever.
    let after = Some(After::Abandoned(first.mark()));
    anchor(&mut world, AuditHead { after, ..head(KMS_AUDIT_ID, 6) });
    let heads = tables::audit_heads(&world.state, KMS_AUDIT_ID).unwrap();
    assert_eq!(heads.abandoned[0].head.mark(), first.mark());
    assert!(tables::audit_heads(&world.state, 1).unwrap().abandoned.is_empty());
}

#[test]
fn the_state_keeps_what_retention_has_taken() {
    let mut world = World::new();
    anchor(&mut world, AuditHead { after: Some(After::Nothing), ..head(1, 3) });
    let after = Some(After::Followed(head(1, 3).mark()));
    anchor(&mut world, AuditHead { removed_through: Some(2), after, ..head(1, 3) });
    let heads = tables::audit_heads(&world.state, 1).unwrap();
    assert_eq!((heads.newest.len(), heads.removed_through()), (2, Some(2)));
}

#[test]
fn only_the_system_anchors_heads() {
    let mut world = World::new();
    assert_eq!(world.refuse(Command::AnchorAuditHead(head(1, 1))), Rejection::PermissionDenied);
}
