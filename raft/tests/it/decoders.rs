//! Fuzz targets: what the disk and other nodes hand over is a record or an error, never a panic.
//!
//! `cargo test` runs each on random input; `cargo bolero test` fuzzes them (README).

use bolero::check;
use lockbox_core::{AuthorizedKeyId, LogTime, OperationId, RequestId, SecretId, Subject};
use lockbox_raft::domain::audit_head::AuditHeads;
use lockbox_raft::domain::binding::BindingSet;
use lockbox_raft::domain::codec::{FORMAT_VERSION, decode, encode};
use lockbox_raft::domain::command::{Command, Envelope, SecretChanges};
use lockbox_raft::domain::identity::{AuthorizedKeyRecord, ServiceAccountRecord};
use lockbox_raft::domain::keyring::KeyringKeyRecord;
use lockbox_raft::domain::kms_witness::{KmsTombstone, KmsWitness};
use lockbox_raft::domain::member::MemberRecord;
use lockbox_raft::domain::operation::OperationRecord;
use lockbox_raft::domain::outcome::Outcome;
use lockbox_raft::domain::secret::SecretRecord;
use lockbox_raft::domain::version::{SealedPayload, VersionRecord};

/// A good record with these bytes in these places, cut or made longer.
fn changed(good: &[u8], changes: &[(u16, u8)], keep: u16, tail: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for (place, byte) in changes {
        let place = usize::from(*place) % bytes.len();
        bytes[place] = *byte;
    }
    bytes.truncate(usize::from(keep));
    bytes.extend(tail);
    bytes
}

#[test]
fn a_log_entry_is_read_or_refused() {
    let envelope = Envelope {
        request_id: RequestId::from_bytes([7; 16]),
        subject: Subject::internal(),
        token: None,
        operation_id: OperationId::parse("e6qoperation").unwrap(),
        idempotency: None,
        if_version: None,
        proposed_at: LogTime::from_ms(1),
        command: Command::UpdateSecret {
            secret_id: SecretId::parse("e6qsecret").unwrap(),
            changes: SecretChanges { name: Some("new".into()), ..SecretChanges::default() },
        },
    };
    let good = encode(&envelope);
    check!().with_type::<(Vec<(u16, u8)>, u16, Vec<u8>)>().for_each(|(changes, keep, tail)| {
        let bytes = changed(&good, changes, *keep, tail);
        if let Ok(read) = decode::<Envelope>(&bytes) {
            assert_eq!(decode::<Envelope>(&encode(&read)).unwrap(), read);
        }
    });
}

#[test]
fn a_key_is_read_or_refused() {
    let command =
        Command::DeleteAuthorizedKey { key_id: AuthorizedKeyId::parse("ajekey").unwrap() };
    let good = encode(&command);
    check!().with_type::<(Vec<(u16, u8)>, u16, Vec<u8>)>().for_each(|(changes, keep, tail)| {
        decode::<Command>(&changed(&good, changes, *keep, tail)).ok();
    });
}

/// Every kind of record that is stored, from bytes that nobody wrote.
#[test]
fn a_record_is_read_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        let bytes = [&[FORMAT_VERSION], bytes].concat();
        decode::<OperationRecord>(&bytes).ok();
        decode::<SecretRecord>(&bytes).ok();
        decode::<VersionRecord>(&bytes).ok();
        decode::<SealedPayload>(&bytes).ok();
        decode::<BindingSet>(&bytes).ok();
        decode::<ServiceAccountRecord>(&bytes).ok();
        decode::<AuthorizedKeyRecord>(&bytes).ok();
        decode::<KeyringKeyRecord>(&bytes).ok();
        decode::<MemberRecord>(&bytes).ok();
        decode::<AuditHeads>(&bytes).ok();
        decode::<KmsWitness>(&bytes).ok();
        decode::<KmsTombstone>(&bytes).ok();
        decode::<Outcome>(&bytes).ok();
    });
}
