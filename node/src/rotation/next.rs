//! What is to be done next, from what the state says: a function, for all of the protocol's order.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};

use super::Seen;
use crate::config::KeyringConfig;

/// When the leader does what it may choose the time of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// The age at which a key is replaced; never when absent.
    pub(super) rotate_after: Option<Duration>,
    /// How long a key still takes what was under way when its successor was activated.
    pub(super) close_after: Duration,
}

impl Policy {
    pub(super) fn of(config: &KeyringConfig) -> Self {
        Self { rotate_after: config.rotate_after(), close_after: config.close_after() }
    }
}

/// What going through all payloads has found for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finished {
    /// The stage that the key was at when it began.
    pub(super) stage: KeyStage,
    /// Data keys that were wrapped by it.
    pub(super) found: u64,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, or somebody else's.
    Nothing,
    /// A key is ready for its next stage.
    Step {
        /// The key.
        key_id: u32,
        /// That stage.
        to: KeyStage,
    },
    /// A key that stays is to be wrapped by the system key once more.
    RewrapKey(u32),
    /// Data keys are to be looked for that an old key has wrapped.
    Pass,
    /// A new key is due.
    Rotate,
}

/// What to do next.
pub(super) fn next(seen: &Seen, policy: &Policy, finished: &BTreeMap<u32, Finished>) -> Next {
    for key in &seen.keys {
        if let Some(to) = step(key, seen, policy, finished.get(&key.id).copied()) {
            return Next::Step { key_id: key.id, to };
        }
    }
    if let Some(key) = seen.keys.iter().find(|key| wrapped_before_the_newest(key, &seen.keys)) {
        return Next::RewrapKey(key.id);
    }
    let unknown = |key: &KeyringKeyRecord| match key.stage {
        KeyStage::Superseded | KeyStage::Closed => {
            finished.get(&key.id).is_none_or(|pass| pass.stage != key.stage || !pass.says_enough())
        }
        KeyStage::Added | KeyStage::Activated | KeyStage::Emptied | KeyStage::Retired => false,
    };
    if seen.keys.iter().any(unknown) {
        return Next::Pass;
    }
    if is_due(seen, policy) { Next::Rotate } else { Next::Nothing }
}

impl Finished {
    /// Whether another pass would be for nothing: of a superseded key whatever was there has been
    /// put under another one, and more may come all the time; a closed key is looked at until
    /// nothing is found.
    const fn says_enough(&self) -> bool {
        match self.stage {
            KeyStage::Closed => self.found == 0,
            KeyStage::Added
            | KeyStage::Activated
            | KeyStage::Superseded
            | KeyStage::Emptied
            | KeyStage::Retired => true,
        }
    }
}

/// The stage that a key is ready for.
fn step(
    key: &KeyringKeyRecord,
    seen: &Seen,
    policy: &Policy,
    finished: Option<Finished>,
) -> Option<KeyStage> {
    let confirmed = !seen.members.is_empty() && key.is_confirmed_by(&seen.members);
    let gone_through = finished.filter(|pass| pass.stage == key.stage);
    let (ready, to) = match key.stage {
        KeyStage::Added => (confirmed, KeyStage::Activated),
        KeyStage::Superseded => {
            let closes = key.staged_time.plus(policy.close_after);
            let late = seen.now.is_some_and(|now| closes <= now);
            (late && gone_through.is_some(), KeyStage::Closed)
        }
        KeyStage::Closed => (gone_through.is_some_and(|pass| pass.found == 0), KeyStage::Emptied),
        KeyStage::Emptied => (confirmed, KeyStage::Retired),
        KeyStage::Activated | KeyStage::Retired => return None,
    };
    ready.then_some(to)
}

/// The keys that stay through a rotation are wrapped anew with it: by the version of the system key
/// that wraps the new one.
fn wrapped_before_the_newest(key: &KeyringKeyRecord, keys: &[KeyringKeyRecord]) -> bool {
    let newest = keys.iter().map(|key| key.added_at).max().unwrap_or_default();
    let stays = match key.purpose {
        KeyPurpose::AuthenticateRequests | KeyPurpose::SignTokens => true,
        KeyPurpose::WrapDataKeys => false,
    };
    stays && key.stage != KeyStage::Retired && key.wrapped_at < newest
}

/// Whether the key that wraps new data keys is too old, and none is on its way to take its place.
/// One that cannot go, because a data key under it does not open or a member is away, keeps no
/// other from coming: the next key is as old one day.
pub(super) fn is_due(seen: &Seen, policy: &Policy) -> bool {
    let (Some(age), Some(now)) = (policy.rotate_after, seen.now) else { return false };
    let wrapping = || seen.keys.iter().filter(|key| key.purpose == KeyPurpose::WrapDataKeys);
    let under_way = wrapping().any(|key| match key.stage {
        KeyStage::Added | KeyStage::Superseded => true,
        KeyStage::Activated | KeyStage::Closed | KeyStage::Emptied | KeyStage::Retired => false,
    });
    let old = |key: &KeyringKeyRecord| {
        key.stage == KeyStage::Activated && key.created_at.plus(age) <= now
    };
    !under_way && wrapping().any(old)
}

#[cfg(test)]
mod tests {
    use lockbox_core::{ClusterId, LogTime, OrganizationId};
    use lockbox_raft::domain::identity::ClusterRecord;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const POLICY: Policy = Policy { rotate_after: Some(DAY), close_after: Duration::from_secs(60) };

    fn key(id: u32, stage: KeyStage) -> KeyringKeyRecord {
        let key = KeyringKeyRecord::new(id, KeyPurpose::WrapDataKeys, stage, vec![1], Vec::new());
        let (created_at, staged_time) = (LogTime::from_ms(1_000), LogTime::from_ms(1_000));
        KeyringKeyRecord { created_at, staged_time, ..key }
    }

    fn seen(keys: &[KeyringKeyRecord], now_ms: u64) -> Seen {
        Seen {
            cluster: ClusterRecord {
                id: ClusterId::parse("cluster").unwrap(),
                created_at: LogTime::default(),
                organization_id: OrganizationId::parse("organization").unwrap(),
                system_key_id: "system".into(),
                keyring_cluster: None,
            },
            keys: keys.to_vec(),
            members: vec![1, 2],
            now: Some(LogTime::from_ms(now_ms)),
        }
    }

    fn found(key_id: u32, stage: KeyStage, found: u64) -> BTreeMap<u32, Finished> {
        BTreeMap::from([(key_id, Finished { stage, found })])
    }

    fn what(keys: &[KeyringKeyRecord], now_ms: u64, passes: &BTreeMap<u32, Finished>) -> Next {
        next(&seen(keys, now_ms), &POLICY, passes)
    }

    #[test]
    fn a_stage_that_waits_for_members_waits_for_all_of_them() {
        let none = BTreeMap::new();
        for (stage, to) in
            [(KeyStage::Added, KeyStage::Activated), (KeyStage::Emptied, KeyStage::Retired)]
        {
            let mut waits = key(2, stage);
            waits.confirmed_by = vec![1];
            assert_eq!(what(std::slice::from_ref(&waits), 2_000, &none), Next::Nothing);
            waits.confirmed_by = vec![1, 2];
            let ready = Next::Step { key_id: 2, to };
            assert_eq!(what(std::slice::from_ref(&waits), 2_000, &none), ready);
            let mut nobody = seen(&[waits], 2_000);
            nobody.members.clear();
            assert_eq!(next(&nobody, &POLICY, &none), Next::Nothing);
        }
    }

    #[test]
    fn an_old_key_is_gone_through_closed_gone_through_again_and_emptied() {
        let (old, new) = (key(1, KeyStage::Superseded), key(2, KeyStage::Activated));
        let keys = [old, new.clone()];
        assert_eq!(what(&keys, 2_000, &BTreeMap::new()), Next::Pass);
        let pass = found(1, KeyStage::Superseded, 7);
        assert_eq!(what(&keys, 2_000, &pass), Next::Nothing, "what is under way may still come");
        let close = Next::Step { key_id: 1, to: KeyStage::Closed };
        assert_eq!(what(&keys, 61_000, &pass), close);

        let keys = [key(1, KeyStage::Closed), new];
        assert_eq!(what(&keys, 61_000, &pass), Next::Pass, "that was before it was closed");
        assert_eq!(what(&keys, 61_000, &found(1, KeyStage::Closed, 1)), Next::Pass);
        let empty = Next::Step { key_id: 1, to: KeyStage::Emptied };
        assert_eq!(what(&keys, 61_000, &found(1, KeyStage::Closed, 0)), empty);
    }

    #[test]
    fn keys_that_stay_are_wrapped_anew_with_each_rotation() {
        let mut signing = key(2, KeyStage::Activated);
        signing.purpose = KeyPurpose::SignTokens;
        let first = [key(1, KeyStage::Activated), signing.clone()];
        assert_eq!(what(&first, 2_000, &BTreeMap::new()), Next::Nothing);
        let mut added = key(3, KeyStage::Added);
        (added.added_at, added.wrapped_at) = (9, 9);
        let keys = [key(1, KeyStage::Activated), signing.clone(), added.clone()];
        assert_eq!(what(&keys, 2_000, &BTreeMap::new()), Next::RewrapKey(2));
        signing.wrapped_at = 10;
        let keys = [key(1, KeyStage::Activated), signing, added];
        assert_eq!(what(&keys, 2_000, &BTreeMap::new()), Next::Nothing);
    }

    #[test]
    fn a_key_is_replaced_when_it_is_old_and_no_other_is_under_way() {
        let now_ms = 1_000 + 24 * 3_600_000;
        let none = BTreeMap::new();
        let only = [key(1, KeyStage::Activated)];
        assert_eq!(what(&only, now_ms - 1, &none), Next::Nothing);
        assert_eq!(what(&only, now_ms, &none), Next::Rotate);
        let never = Policy { rotate_after: None, ..POLICY };
        assert_eq!(next(&seen(&only, now_ms), &never, &none), Next::Nothing);
        let after = [key(1, KeyStage::Retired), key(2, KeyStage::Activated)];
        assert_eq!(what(&after, now_ms, &none), Next::Rotate);
        let under_way = [key(1, KeyStage::Activated), key(2, KeyStage::Added)];
        assert_eq!(what(&under_way, now_ms, &none), Next::Nothing);
        // What holds an old key up holds up nothing else.
        let away = [key(1, KeyStage::Emptied), key(2, KeyStage::Activated)];
        assert_eq!(what(&away, now_ms, &none), Next::Rotate);
        let closed = [key(1, KeyStage::Closed), key(2, KeyStage::Activated)];
        assert_eq!(what(&closed, now_ms, &found(1, KeyStage::Closed, 1)), Next::Pass);
        assert!(is_due(&seen(&closed, now_ms), &POLICY), "for when the passes rest");
        let taking_over = [key(1, KeyStage::Superseded), key(2, KeyStage::Activated)];
        assert!(!is_due(&seen(&taking_over, now_ms), &POLICY));
        let mut unknown = seen(&only, now_ms);
        unknown.now = None;
        assert_eq!(next(&unknown, &POLICY, &none), Next::Nothing);
    }
}
