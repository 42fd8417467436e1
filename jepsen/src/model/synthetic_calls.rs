//! What the workers of a synthetic history ask for.

use crate::history::call::{
    AddVersion, Call, CreateSecret, EntryChange, FirstVersion, GetPayload, OnSecret, OnVersion,
    ReadSecret, ScheduleDestruction, UpdateSecret,
};
use crate::history::ids::{OpId, ValueHash, VersionId};

use super::dice::Dice;
use super::synthetic::Known;

const KEYS: u64 = 5;

/// The next call: on a secret that is in use, else a creation.
pub(super) fn next_call(dice: &mut Dice, op: OpId, known: Option<&Known>) -> Call {
    let Some(known) = known else { return create(dice, op) };
    let secret = known.secret.clone();
    let on_secret = || OnSecret { secret: known.secret.clone(), if_version: None };
    match (dice.below(100), some_version(dice, known)) {
        (0..30, _) => Call::GetPayload(GetPayload { secret, version: None }),
        (30..36, version) => Call::GetPayload(GetPayload { secret, version }),
        (36..51, _) => Call::GetSecret(ReadSecret { secret }),
        (51..58, _) => Call::ListVersions(ReadSecret { secret }),
        (58..80, version) => Call::AddVersion(AddVersion {
            secret,
            base: version.clone().filter(|_| dice.chance(150)),
            changes: changes(dice, op),
            description: format!("op {op}"),
            if_version: version.filter(|_| dice.chance(150)),
        }),
        (80..88, Some(version)) => Call::SetCurrentVersion(OnVersion {
            secret,
            if_version: some_version(dice, known).filter(|_| dice.chance(200)),
            version,
        }),
        (88..90, Some(version)) => Call::ScheduleDestruction(ScheduleDestruction {
            secret,
            version,
            pending_ms: None,
            if_version: None,
        }),
        (90..92, Some(version)) => {
            Call::CancelDestruction(OnVersion { secret, version, if_version: None })
        }
        (92..94, _) => Call::Deactivate(on_secret()),
        (94..98, _) => Call::Activate(on_secret()),
        (98, _) if dice.chance(150) => Call::DeleteSecret(on_secret()),
        _ => Call::UpdateSecret(UpdateSecret {
            secret,
            name: None,
            description: Some(format!("op {op}")),
            labels: None,
            deletion_protection: dice.chance(200).then(|| dice.chance(300)),
            if_version: None,
        }),
    }
}

fn some_version(dice: &mut Dice, known: &Known) -> Option<VersionId> {
    if known.versions.is_empty() {
        return None;
    }
    // Mostly a new one: those are the ones that change.
    let newest = known.versions.len().min(4);
    let back = dice.place(newest);
    Some(known.versions[known.versions.len() - 1 - back].clone())
}

fn create(dice: &mut Dice, op: OpId) -> Call {
    let first = dice.chance(700).then(|| FirstVersion {
        description: format!("op {op}"),
        entries: vec![set("k0", op, 0), set("k1", op, 1)],
    });
    Call::CreateSecret(CreateSecret {
        folder: None,
        name: format!("secret {op}"),
        kms_key: None,
        deletion_protection: dice.chance(50),
        first,
    })
}

fn changes(dice: &mut Dice, op: OpId) -> Vec<EntryChange> {
    let mut changes = Vec::new();
    for key in 0..KEYS {
        let name = format!("k{key}");
        match dice.below(10) {
            0..3 => changes.push(set(&name, op, key)),
            3 => changes.push(EntryChange { key: name.as_str().into(), value: None }),
            _ => {}
        }
    }
    changes
}

/// A value that no other operation writes.
fn set(key: &str, op: OpId, nth: u64) -> EntryChange {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&Dice::new(op.0).next().to_be_bytes());
    hash[8..].copy_from_slice(&(op.0 * KEYS + nth).to_be_bytes());
    EntryChange { key: key.into(), value: Some(ValueHash(hash)) }
}
