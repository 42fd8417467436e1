//! What is remembered for the KMS: tombstones stay for good, and nobody else may tell any.

use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime, Subject};

use super::World;
use crate::domain::command::Command;
use crate::domain::kms_witness::{KmsAttestation, KmsStamp, KmsTombstone};
use crate::domain::outcome::{Outcome, Rejection};
use crate::state::{Space, keys, tables};

fn tombstone(key: &str, version: Option<&str>) -> KmsTombstone {
    KmsTombstone {
        key_id: KmsKeyId::parse(key).unwrap(),
        version_id: version.map(|text| KmsKeyVersionId::parse(text).unwrap()),
        destroyed_at: LogTime::from_ms(7),
    }
}

fn told(incarnation: u8, epoch: u64, tombstones: Vec<KmsTombstone>) -> KmsAttestation {
    KmsAttestation {
        store_id: KmsStamp::new([1; 16]),
        incarnation: KmsStamp::new([incarnation; 16]),
        epoch,
        head: 10,
        ahead: 5,
        time: LogTime::from_ms(3),
        tombstones,
    }
}

fn attest(world: &mut World, told: KmsAttestation) {
    let mut envelope = world.envelope(Command::AttestKms(Box::new(told)));
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    assert_eq!(world.apply(&envelope), Outcome::Nothing);
}

#[test]
fn tombstones_are_kept_once_and_in_order() {
    let mut world = World::new();
    let before = world.state.clone();
    let (whole, one) = (tombstone("b", None), tombstone("b", Some("v2")));
    let other = tombstone("a", Some("v1"));
    attest(&mut world, told(1, 1, vec![one.clone(), whole.clone()]));
    let later = KmsTombstone { destroyed_at: LogTime::from_ms(99), ..one.clone() };
    attest(&mut world, told(1, 1, vec![later, other.clone()]));
    let page = |after: Option<&KmsTombstone>, limit| {
        tables::kms_tombstones_page(&world.state, after, limit).unwrap()
    };
    assert_eq!(page(None, 10), [other.clone(), whole.clone(), one.clone()]);
    assert_eq!(page(None, 2), [other.clone(), whole.clone()]);
    assert_eq!(page(Some(&whole), 2), std::slice::from_ref(&one));
    assert!(page(Some(&one), 2).is_empty());
    let witness = tables::kms_witness(&world.state).unwrap().unwrap();
    assert_eq!((witness.tombstones, witness.reserved, witness.epoch), (3, 15, 1));
    let kept = world.state.clone();
    attest(&mut world, told(1, 1, vec![one.clone()]));
    assert_eq!(world.state, kept, "the same once more");

    let mut rest = world.state.clone();
    rest.0.remove(&(Space::Records, keys::KMS_WITNESS.to_vec())).unwrap();
    for kept in [&other, &whole, &one] {
        let key = keys::kms_tombstone(&kept.key_id, kept.version_id.as_ref());
        rest.0.remove(&(Space::Records, key)).unwrap();
    }
    assert_eq!(rest, before, "something else has changed");
}

#[test]
fn who_was_shut_out_leaves_no_trace() {
    let mut world = World::new();
    attest(&mut world, told(1, 1, Vec::new()));
    attest(&mut world, told(2, 2, Vec::new()));
    let kept = world.state.clone();
    attest(&mut world, told(1, 1, vec![tombstone("a", None)]));
    assert_eq!(world.state, kept);
}

#[test]
fn only_the_system_attests() {
    let mut world = World::new();
    let command = Command::AttestKms(Box::new(told(1, 1, Vec::new())));
    assert_eq!(world.refuse(command), Rejection::PermissionDenied);
}
