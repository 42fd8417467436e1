//! Commands of the keyring: whole rotations, and rewraps that find what they expect or do not.

use std::collections::VecDeque;

use lockbox_core::{SecretId, VersionId};
use lockbox_raft::domain::Command;
use lockbox_raft::domain::keyring::{
    DataKeyRewrap, KeyPurpose, KeyStage, KeyringKeyRecord, KeyringKeyRewrap,
};
use lockbox_raft::domain::version::WrappedDataKey;

use crate::command_parts::{WRAPPED, one_in};
use crate::harness::Random;

/// Members of any cluster of these tests have ids up to this one.
const NODE_ID_MAX: u64 = 8;
/// The keys of this number and below are the cluster's first ones: payloads are sealed under one of
/// them, so they stay.
const FIRST_KEYS: u32 = 3;

/// All steps that bring a key in, and the one before it out, in order.
pub(crate) fn rotation(id: u32) -> VecDeque<Command> {
    let purpose = KeyPurpose::WrapDataKeys;
    let new = KeyringKeyRecord::new(id, purpose, KeyStage::Added, WRAPPED.into(), Vec::new());
    let confirmed = |key_id: u32, stage: KeyStage| {
        (1..=NODE_ID_MAX).map(move |node_id| Command::ConfirmKeyringKey { key_id, stage, node_id })
    };
    let step = |key_id: u32, to: KeyStage| Command::StepKeyringKey { key_id, to };
    let mut steps = VecDeque::from([Command::AddKeyringKey(Box::new(new))]);
    // Twice, for some of them are lost or refused on their way.
    for _ in 0..2 {
        steps.extend(confirmed(id, KeyStage::Added));
        steps.push_back(step(id, KeyStage::Activated));
    }
    let before = id.saturating_sub(1);
    if before > FIRST_KEYS {
        steps.push_back(step(before, KeyStage::Closed));
        steps.push_back(step(before, KeyStage::Emptied));
        steps.extend(confirmed(before, KeyStage::Emptied));
        steps.push_back(step(before, KeyStage::Retired));
    }
    steps
}

/// A data key from the first keyring key to another one. No salt is ever what it expects: that a
/// wrapping is replaced is for the tests of `apply`.
pub(crate) fn rewrap_data_key(
    random: &mut Random,
    secret_id: SecretId,
    version_id: VersionId,
    newest: u32,
) -> Command {
    let keyring_key_id = if one_in(random, 4) { 1 } else { newest };
    let (salt, ciphertext) = ([5; 32], vec![6; 48]);
    let new = WrappedDataKey::Keyring { keyring_key_id, salt, ciphertext };
    let (old_key_id, old_salt) = (1, [4; 32]);
    Command::RewrapDataKeys(vec![DataKeyRewrap {
        secret_id,
        version_id,
        old_key_id,
        old_salt,
        new,
    }])
}

/// One of the first keys, from the wrapping that it has or from another one.
pub(crate) fn rewrap_keyring_key(random: &mut Random) -> Command {
    let key_id = u32::try_from(1 + random.below(u64::from(FIRST_KEYS))).unwrap();
    let old = if one_in(random, 3) { vec![0; 60] } else { WRAPPED.into() };
    Command::RewrapKeyringKey(Box::new(KeyringKeyRewrap { key_id, old, new: WRAPPED.into() }))
}
