//! The keyring's protocol, and what a rewrap may change.

use minicbor::Encode;

use super::*;
use crate::apply::register_members;
use crate::domain::erasure::ErasurePoint;
use crate::domain::keyring::{
    DataKeyRewrap, KeyPurpose, KeyStage, KeyringKeyRecord, KeyringKeyRewrap,
};
use crate::domain::version::{Destruction, VersionRecord};

const OUT_OF_ORDER: Rejection = Rejection::Precondition(Precondition::KeyringStage);
const MEMBERS: [u64; 3] = [1, 2, 3];

fn key(id: u32, stage: KeyStage) -> KeyringKeyRecord {
    let wrapped = vec![id.to_le_bytes()[0]; 60];
    KeyringKeyRecord::new(id, KeyPurpose::WrapDataKeys, stage, wrapped, Vec::new())
}

fn add(id: u32) -> Command {
    Command::AddKeyringKey(Box::new(key(id, KeyStage::Added)))
}

const fn step(key_id: u32, to: KeyStage) -> Command {
    Command::StepKeyringKey { key_id, to }
}

const fn confirm(key_id: u32, stage: KeyStage, node_id: u64) -> Command {
    Command::ConfirmKeyringKey { key_id, stage, node_id }
}

/// The wrapping of every version that `new_version` makes, replaced by one under another key.
fn rewrap(secret: &str, version: &str, by: u32) -> DataKeyRewrap {
    let (keyring_key_id, salt, ciphertext) = (by, [9; 32], vec![8; 48]);
    DataKeyRewrap {
        secret_id: secret_id(secret),
        version_id: version_id(version),
        old_key_id: 1,
        old_salt: [3; 32],
        new: WrappedDataKey::Keyring { keyring_key_id, salt, ciphertext },
    }
}

/// A cluster of three members whose first key is activated.
fn world() -> World {
    let mut world = World::new();
    let first = codec::encode(&key(1, KeyStage::Activated));
    world.state.0.insert((Space::Records, keys::keyring_key(1)), first);
    world.join(&MEMBERS);
    world
}

impl World {
    fn join(&mut self, members: &[u64]) {
        let base = self.state.clone();
        let mut overlay = Overlay::new(&base);
        let members = members.iter().map(|id| (*id, [0; 16])).collect();
        register_members(&mut overlay, &members, self.index).unwrap();
        for write in overlay.into_writes() {
            self.state.0.insert((write.space, write.key), write.value.unwrap());
        }
    }

    /// What the cluster itself proposes.
    fn own(&mut self, command: Command) -> Envelope {
        let mut envelope = self.envelope(command);
        (envelope.subject, envelope.token) = (Subject::internal(), None);
        envelope
    }

    #[track_caller]
    fn runs(&mut self, command: Command) -> OperationRecord {
        let envelope = self.own(command);
        self.done(&envelope)
    }

    #[track_caller]
    fn is_out_of_order(&mut self, command: Command) {
        let envelope = self.own(command);
        assert_eq!(self.refused(&envelope), OUT_OF_ORDER);
    }

    fn key(&self, id: u32) -> KeyringKeyRecord {
        tables::keyring_key(&self.state, id).unwrap().unwrap()
    }

    fn confirm_all(&mut self, id: u32, stage: KeyStage) {
        for member in MEMBERS {
            self.runs(confirm(id, stage, member));
        }
    }

    /// Brings a second key to where it does the work.
    fn rotate(&mut self) {
        self.runs(add(2));
        self.confirm_all(2, KeyStage::Added);
        self.runs(step(2, KeyStage::Activated));
    }

    fn wrapped_by(&self, secret: &str, version: &str) -> u32 {
        let payload = tables::payload(&self.state, &secret_id(secret), &version_id(version));
        match payload.unwrap().unwrap().wrapped_key {
            WrappedDataKey::Keyring { keyring_key_id, .. } => keyring_key_id,
            WrappedDataKey::Kms { .. } => panic!("under an own key"),
        }
    }
}

#[test]
fn a_key_comes_takes_over_and_goes_in_order_and_never_comes_back() {
    let mut world = world();
    for wrong in [key(1, KeyStage::Added), key(3, KeyStage::Added), key(2, KeyStage::Activated)] {
        world.is_out_of_order(Command::AddKeyringKey(Box::new(wrong)));
    }
    let operation = world.runs(add(2));
    assert!(!operation.metadata.is_listed());
    let added = world.key(2);
    assert_eq!((added.added_at, added.created_at), (world.index, world.now));
    world.is_out_of_order(add(3));

    // Every member has to have unwrapped it; one that is none does not count.
    world.is_out_of_order(confirm(2, KeyStage::Added, 9));
    world.is_out_of_order(confirm(2, KeyStage::Emptied, 1));
    world.is_out_of_order(confirm(1, KeyStage::Activated, 1));
    for member in [3, 1] {
        world.runs(confirm(2, KeyStage::Added, member));
        world.runs(confirm(2, KeyStage::Added, member));
        world.is_out_of_order(step(2, KeyStage::Activated));
    }
    assert_eq!(world.key(2).confirmed_by, [1, 3]);
    world.runs(confirm(2, KeyStage::Added, 2));
    world.is_out_of_order(step(2, KeyStage::Retired));
    world.runs(step(2, KeyStage::Activated));
    assert_eq!(
        (world.key(1).stage, world.key(2).stage),
        (KeyStage::Superseded, KeyStage::Activated)
    );
    assert_eq!(world.key(1).staged_at, world.index);

    for wrong in [KeyStage::Added, KeyStage::Activated, KeyStage::Emptied, KeyStage::Retired] {
        world.is_out_of_order(step(1, wrong));
    }
    world.runs(step(1, KeyStage::Closed));
    world.is_out_of_order(step(1, KeyStage::Retired));
    world.runs(step(1, KeyStage::Emptied));
    assert!(world.key(1).confirmed_by.is_empty(), "an earlier stage's do not count");
    world.is_out_of_order(step(1, KeyStage::Retired));
    world.confirm_all(1, KeyStage::Emptied);
    world.runs(step(1, KeyStage::Retired));
    let retired = world.key(1);
    assert_eq!((retired.stage, retired.wrapped.len()), (KeyStage::Retired, 0));
    world.is_out_of_order(step(1, KeyStage::Activated));
    world.is_out_of_order(add(1));
    world.runs(add(3));
}

#[test]
fn who_joined_meanwhile_has_to_confirm_and_who_left_has_not() {
    let mut world = world();
    world.runs(add(2));
    world.confirm_all(2, KeyStage::Added);
    world.join(&[1, 2, 4]);
    world.is_out_of_order(step(2, KeyStage::Activated));
    world.is_out_of_order(confirm(2, KeyStage::Added, 3));
    world.runs(confirm(2, KeyStage::Added, 4));
    world.runs(step(2, KeyStage::Activated));
}

#[test]
fn nothing_is_stored_under_a_key_that_is_not_activated_yet_or_is_closed() {
    let mut world = world();
    world.create("s", Some("v1"));
    let under = |id: u32, version: &str| {
        let Command::AddVersion(mut add) =
            add_version("s", version, MergeBase::Named(version_id("v1")))
        else {
            panic!("no addition")
        };
        let (keyring_key_id, salt, ciphertext) = (id, [3; 32], vec![4]);
        add.version.payload.wrapped_key =
            WrappedDataKey::Keyring { keyring_key_id, salt, ciphertext };
        Command::AddVersion(add)
    };
    world.runs(add(2));
    assert_eq!(world.refuse(under(2, "v2")), OUT_OF_ORDER);
    world.confirm_all(2, KeyStage::Added);
    world.runs(step(2, KeyStage::Activated));
    // What was under way when the other key took over.
    world.run(under(1, "v2"));
    world.runs(step(1, KeyStage::Closed));
    assert_eq!(world.refuse(under(1, "v3")), OUT_OF_ORDER);
    world.run(under(2, "v3"));
    let create = || Command::CreateSecret(Box::new(create_secret("t", Some("w1"))));
    assert_eq!(world.refuse(create()), OUT_OF_ORDER);
    world.runs(step(1, KeyStage::Emptied));
    world.confirm_all(1, KeyStage::Emptied);
    world.runs(step(1, KeyStage::Retired));
    assert_eq!(world.refuse(create()), OUT_OF_ORDER);
}

#[test]
fn a_rewrap_changes_the_wrapping_that_was_seen_and_nothing_else() {
    let mut world = world();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Named(version_id("v1"))));
    world.create("t", Some("w1"));
    world.is_out_of_order(Command::RewrapDataKeys(vec![rewrap("s", "v1", 2)]));
    world.runs(add(2));
    world.is_out_of_order(Command::RewrapDataKeys(vec![rewrap("s", "v1", 2)]));
    world.confirm_all(2, KeyStage::Added);
    world.runs(step(2, KeyStage::Activated));
    world.is_out_of_order(Command::RewrapDataKeys(Vec::new()));
    world
        .is_out_of_order(Command::RewrapDataKeys(vec![rewrap("s", "v1", 2), rewrap("s", "v2", 1)]));

    // One is destroyed and one deleted between the look and the entry, one was never there.
    let destroy_at = world.now;
    let schedule = Command::ScheduleVersionDestruction {
        secret_id: secret_id("s"),
        version_id: version_id("v2"),
        pending_ms: 0,
        retained_ms: 86_400_000,
    };
    world.run(schedule);
    let (secret, version) = (secret_id("s"), version_id("v2"));
    let due =
        Destruction { secret_id: secret, version_id: version, destroy_at, retained_ms: 86_400_000 };
    world.runs(Command::DestroyVersion(Box::new(due)));
    world.run(Command::DeleteSecret { secret_id: secret_id("t") });
    let before = world.state.clone();
    let all = [("s", "v1"), ("s", "v2"), ("t", "w1"), ("u", "x1")];
    let rewraps = all.map(|(secret, version)| rewrap(secret, version, 2));
    world.runs(Command::RewrapDataKeys(rewraps.into()));
    assert_eq!(world.wrapped_by("s", "v1"), 2);

    // Of all records only the operation and what belongs to it are new; of all payloads one. Of a
    // version nothing but what its payload is found by.
    let found = |state: &dyn StateRead, version: &str| {
        tables::version(state, &secret_id("s"), &version_id(version)).unwrap().unwrap()
    };
    let shown = |state: &dyn StateRead, version: &str| VersionRecord {
        payload_marks: None,
        ..found(state, version)
    };
    for version in ["v1", "v2"] {
        assert_eq!(shown(&world.state, version), shown(&before, version));
    }
    let marked = ["v1", "v2"].map(|version| keys::version(&version_id(version)));
    let payload = (Space::Payloads, keys::payload(&secret_id("s"), &version_id("v1")));
    let differs =
        |(place, value): &(&(Space, Vec<u8>), &Vec<u8>)| before.0.get(*place) != Some(*value);
    let changed: Vec<_> = world.state.0.iter().filter(differs).map(|(place, _)| place).collect();
    let of_payloads: Vec<_> =
        changed.iter().filter(|(space, _)| *space == Space::Payloads).collect();
    assert_eq!(of_payloads, [&&payload]);
    for (space, place) in &changed {
        let existed = before.0.contains_key(&(*space, place.clone()));
        let is_time = *space == Space::System;
        let is_marks = marked.contains(place);
        assert!(!existed || is_time || is_marks || *place == payload.1, "{place:?}");
    }
    assert!(before.0.keys().all(|place| world.state.0.contains_key(place)));

    // The wrapping of before is in older files, and the one that came late is in the log.
    let patterns = |version| found(&world.state, version).payload_marks.unwrap().patterns();
    assert_eq!(patterns("v1"), [[4; 16]]);
    assert_eq!(patterns("v2"), [[4; 16], [8; 16]]);
    let noted = ErasurePoint { count: 3, index: world.index, at: world.now };
    assert_eq!(tables::erasures(&world.state).unwrap(), noted);

    // The same once more finds another wrapping, and so leaves it alone.
    let mut again = rewrap("s", "v1", 2);
    again.new = WrappedDataKey::Keyring { keyring_key_id: 2, salt: [7; 32], ciphertext: vec![] };
    world.runs(Command::RewrapDataKeys(vec![again]));
    let sealed = tables::payload(&world.state, &secret_id("s"), &version_id("v1"));
    let WrappedDataKey::Keyring { salt, .. } = sealed.unwrap().unwrap().wrapped_key else {
        panic!("under an own key")
    };
    assert_eq!(salt, [9; 32]);
}

#[test]
fn a_keyring_key_is_wrapped_anew_from_the_wrapping_that_was_seen() {
    let mut world = world();
    let to = |old: Vec<u8>, new: Vec<u8>| {
        Command::RewrapKeyringKey(Box::new(KeyringKeyRewrap { key_id: 1, old, new }))
    };
    world.is_out_of_order(to(vec![0; 60], vec![5; 60]));
    world.is_out_of_order(to(vec![1; 60], Vec::new()));
    world.runs(to(vec![1; 60], vec![5; 60]));
    let key = world.key(1);
    assert_eq!(
        (key.wrapped, key.wrapped_at, key.stage),
        (vec![5; 60], world.index, KeyStage::Activated)
    );
    world.is_out_of_order(to(vec![1; 60], vec![6; 60]));
    world.rotate();
    world.runs(to(vec![5; 60], vec![6; 60]));
}

#[test]
fn all_payloads_are_gone_through_page_by_page() {
    let mut world = world();
    for (secret, version) in [("s", "v1"), ("t", "w1"), ("u", "x1")] {
        world.create(secret, Some(version));
    }
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = tables::wrapped_page(&world.state, from.as_deref(), 2).unwrap();
        assert_eq!(page.examined, page.payloads.len());
        found.extend(page.payloads.into_iter().map(|p| (p.version_id, p.keyring_key_id)));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(found, ["v1", "w1", "x1"].map(|id| (version_id(id), 1)));
    assert_eq!(tables::live_versions(&world.state).unwrap(), 3);
}

#[test]
fn the_keyring_is_changed_by_the_cluster_alone() {
    let mut world = world();
    let rewrap_key = KeyringKeyRewrap { key_id: 1, old: vec![1; 60], new: vec![2; 60] };
    for command in [
        add(2),
        confirm(1, KeyStage::Added, 1),
        step(1, KeyStage::Closed),
        Command::RewrapDataKeys(vec![rewrap("s", "v1", 1)]),
        Command::RewrapKeyringKey(Box::new(rewrap_key)),
    ] {
        assert_eq!(world.refuse(command), Rejection::PermissionDenied);
    }
}

/// As builds before the rotation wrote it.
#[derive(Encode)]
struct FirstRecord {
    #[n(0)]
    id: u32,
    #[n(1)]
    purpose: KeyPurpose,
    #[n(2)]
    stage: KeyStage,
    #[n(3)]
    created_at: LogTime,
    #[cbor(n(4), with = "minicbor::bytes")]
    wrapped: Vec<u8>,
    #[cbor(n(5), with = "minicbor::bytes")]
    public_key: Vec<u8>,
}

#[test]
fn a_record_of_an_earlier_build_is_read() {
    let wanted = key(1, KeyStage::Activated);
    let first = FirstRecord {
        id: wanted.id,
        purpose: wanted.purpose,
        stage: wanted.stage,
        created_at: wanted.created_at,
        wrapped: wanted.wrapped.clone(),
        public_key: wanted.public_key.clone(),
    };
    let read: KeyringKeyRecord = codec::decode(&codec::encode(&first)).unwrap();
    assert_eq!(read, wanted);
}
