//! The specification against the tables of the contract.

use lockbox_jepsen::history::answer::{
    Answer, Code, PayloadEntry, PayloadView, Refusal, VersionStatus, VersionView,
};
use lockbox_jepsen::history::call::{
    AddVersion, Call, ChangeBinding, CreateSecret, EntryChange, FirstVersion, GetPayload, OnSecret,
    OnVersion, ReadSecret, ScheduleDestruction, UpdateSecret,
};
use lockbox_jepsen::history::ids::{Subject, ValueHash};
use lockbox_jepsen::model::step::{VERSIONS_MAX, clock_passed};
use lockbox_jepsen::model::{Expected, Named, SecretState, step};

/// One secret and what happens to it.
struct World {
    state: SecretState,
    made: u64,
    subject: Option<Subject>,
}

fn change(key: &str, value: u8) -> EntryChange {
    EntryChange { key: key.into(), value: (value != 0).then_some(ValueHash([value; 16])) }
}

fn add(base: Option<&str>, changes: &[(&str, u8)]) -> Call {
    Call::AddVersion(AddVersion {
        secret: "s".into(),
        base: base.map(Into::into),
        changes: changes.iter().map(|(key, value)| change(key, *value)).collect(),
        description: String::new(),
        if_version: None,
    })
}

fn on_secret() -> OnSecret {
    OnSecret { secret: "s".into(), if_version: None }
}

fn on(version: &str) -> OnVersion {
    OnVersion { secret: "s".into(), version: version.into(), if_version: None }
}

fn schedule(version: &str) -> Call {
    let (secret, version) = ("s".into(), version.into());
    Call::ScheduleDestruction(ScheduleDestruction {
        secret,
        version,
        pending_ms: None,
        if_version: None,
    })
}

fn protect(deletion_protection: bool) -> Call {
    Call::UpdateSecret(UpdateSecret {
        secret: "s".into(),
        name: None,
        description: None,
        labels: None,
        deletion_protection: Some(deletion_protection),
        if_version: None,
    })
}

fn payload(version: Option<&str>) -> Call {
    Call::GetPayload(GetPayload { secret: "s".into(), version: version.map(Into::into) })
}

fn get() -> Call {
    Call::GetSecret(ReadSecret { secret: "s".into() })
}

impl World {
    /// A secret with version `v1` of the entries a=1, b=2.
    fn new() -> Self {
        let mut world = Self { state: SecretState::Absent, made: 0, subject: None };
        let entries = vec![change("a", 1), change("b", 2)];
        let first = Some(FirstVersion { description: String::new(), entries });
        let create = CreateSecret {
            folder: None,
            name: "n".into(),
            kms_key: None,
            deletion_protection: false,
            first,
        };
        assert!(matches!(world.run(&Call::CreateSecret(create)), Expected::Secret(_)));
        world
    }

    fn run(&mut self, call: &Call) -> Expected {
        self.made += 1;
        let named =
            Named { secret: "s".into(), version: format!("v{}", self.made).as_str().into() };
        let step = step(&self.state, self.subject.as_ref(), call, &named);
        if let Some(next) = step.next {
            self.state = next;
        } else if let Expected::Version(_) | Expected::Secret(_) | Expected::Refused(_) =
            step.answer
        {
            // Whatever was not made gives its number back, so that tests can count.
            self.made -= 1;
        }
        step.answer
    }

    fn refuses(&mut self, call: &Call, codes: &[Code]) {
        let before = self.state.clone();
        match self.run(call) {
            Expected::Refused(allowed) => assert_eq!(allowed, codes, "{call:?}"),
            other => panic!("{call:?}: {other:?}"),
        }
        assert_eq!(self.state, before, "a refusal changes nothing");
    }

    fn current(&self) -> Option<String> {
        let current = self.state.live()?.current()?;
        Some(current.content.id.to_string())
    }

    fn payload(&mut self, version: Option<&str>) -> Vec<(String, u8)> {
        match self.run(&payload(version)) {
            Expected::Payload(content) => {
                let pair = |entry: &PayloadEntry| (entry.key.to_string(), entry.value.0[0]);
                content.entries.iter().map(pair).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn pairs(list: &[(&str, u8)]) -> Vec<(String, u8)> {
    list.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

/// `contract §2.6`.
#[test]
fn a_version_is_a_delta_on_its_base() {
    let mut world = World::new();
    world.run(&add(None, &[("c", 3), ("a", 9), ("b", 0)]));
    assert_eq!(world.payload(None), pairs(&[("a", 9), ("c", 3)]));
    // From an older base, without changes: a copy, and it becomes current.
    world.run(&add(Some("v1"), &[]));
    assert_eq!(world.payload(None), pairs(&[("a", 1), ("b", 2)]));
    assert_eq!(world.current().as_deref(), Some("v4"));
    world.refuses(&add(Some("nowhere"), &[("a", 1)]), &[Code::NotFound]);
    world.refuses(&add(None, &[("a", 0), ("b", 0)]), &[Code::InvalidArgument]);
    world.refuses(&add(None, &[("a", 1), ("a", 2)]), &[Code::InvalidArgument]);
}

/// `contract §2.2`.
#[test]
fn an_inactive_secret_shows_metadata_and_no_payload() {
    let mut world = World::new();
    world.run(&Call::Deactivate(on_secret()));
    assert!(matches!(world.run(&get()), Expected::Secret(_)));
    world.refuses(&payload(None), &[Code::FailedPrecondition]);
    world.refuses(&payload(Some("v1")), &[Code::FailedPrecondition]);
    world.refuses(&add(None, &[("c", 3)]), &[Code::FailedPrecondition]);
    assert!(matches!(world.run(&Call::SetCurrentVersion(on("v1"))), Expected::Version(_)));
    assert!(matches!(world.run(&Call::Deactivate(on_secret())), Expected::Secret(_)));
    world.run(&Call::Activate(on_secret()));
    assert_eq!(world.payload(None), pairs(&[("a", 1), ("b", 2)]));
}

/// `contract §2.3`, `§2.4`.
#[test]
fn the_pointer_stays_while_its_version_is_destroyed() {
    let mut world = World::new();
    world.refuses(&Call::CancelDestruction(on("v1")), &[Code::FailedPrecondition]);
    world.run(&schedule("v1"));
    assert_eq!(world.current().as_deref(), Some("v1"));
    world.refuses(&payload(None), &[Code::FailedPrecondition]);
    world.refuses(&Call::SetCurrentVersion(on("v1")), &[Code::FailedPrecondition]);
    world.refuses(&add(Some("v1"), &[]), &[Code::FailedPrecondition]);
    world.run(&Call::CancelDestruction(on("v1")));
    assert_eq!(world.payload(None).len(), 2);
    world.run(&schedule("v1"));
    world.state = world.state.destroyed(&"v1".into()).unwrap();
    assert_eq!(world.current().as_deref(), Some("v1"));
    for call in [schedule("v1"), Call::CancelDestruction(on("v1")), payload(Some("v1"))] {
        world.refuses(&call, &[Code::FailedPrecondition]);
    }
    // The default base is no longer active: the next version starts from nothing.
    world.run(&add(None, &[("z", 7)]));
    assert_eq!(world.payload(None), pairs(&[("z", 7)]));
}

/// `contract §2.7`, `§2.8`.
#[test]
fn protection_stops_the_deletion_and_nothing_else() {
    let mut world = World::new();
    world.run(&protect(true));
    world.refuses(&Call::DeleteSecret(on_secret()), &[Code::FailedPrecondition]);
    assert!(matches!(world.run(&add(None, &[("c", 3)])), Expected::Version(_)));
    world.run(&protect(false));
    assert!(matches!(world.run(&Call::DeleteSecret(on_secret())), Expected::Secret(_)));
    for call in [get(), payload(None), add(None, &[("a", 1)]), Call::Activate(on_secret())] {
        world.refuses(&call, &[Code::NotFound]);
    }
    let again = CreateSecret {
        folder: None,
        name: "n".into(),
        kms_key: None,
        deletion_protection: false,
        first: None,
    };
    assert!(matches!(world.run(&Call::CreateSecret(again)), Expected::Impossible(_)));
}

/// `x-if-version` (`design §8`), and what comes before it.
#[test]
fn a_condition_on_the_current_version_is_aborted() {
    let mut world = World::new();
    world.run(&add(None, &[("c", 3)]));
    let mut stale = on("v1");
    stale.if_version = Some("v1".into());
    world.refuses(&Call::SetCurrentVersion(stale.clone()), &[Code::Aborted]);
    stale.if_version = Some("v2".into());
    assert!(matches!(world.run(&Call::SetCurrentVersion(stale.clone())), Expected::Version(_)));
    world.run(&Call::DeleteSecret(on_secret()));
    world.refuses(&Call::SetCurrentVersion(stale), &[Code::NotFound]);
}

/// `contract §4.3`, `§5.2`: unknown, then forbidden, then conflicts.
#[test]
fn a_subject_has_what_is_bound_on_the_secret() {
    let mut world = World::new();
    let bind = |role: &str, grant| {
        let (role, member) = (role.to_owned(), "ann".into());
        Call::ChangeBinding(ChangeBinding { secret: "s".into(), role, member, grant })
    };
    let as_ann = |world: &mut World| world.subject = Some("ann".into());
    as_ann(&mut world);
    world.refuses(&payload(None), &[Code::PermissionDenied]);
    world.refuses(&bind("lockbox.admin", true), &[Code::PermissionDenied]);
    world.subject = None;
    assert_eq!(world.run(&bind("lockbox.payloadViewer", true)), Expected::Done);
    assert_eq!(world.run(&bind("lockbox.payloadViewer", true)), Expected::Done);
    as_ann(&mut world);
    assert_eq!(world.payload(None).len(), 2);
    world.refuses(&get(), &[Code::PermissionDenied]);
    world.subject = None;
    world.run(&bind("lockbox.payloadViewer", false));
    world.run(&bind("lockbox.editor", true));
    world.run(&Call::Deactivate(on_secret()));
    as_ann(&mut world);
    world.refuses(&payload(None), &[Code::PermissionDenied]);
    world.refuses(&add(None, &[("c", 3)]), &[Code::FailedPrecondition]);
}

/// `contract §9`.
#[test]
fn a_secret_has_a_thousand_live_versions() {
    let mut world = World::new();
    for n in 1..VERSIONS_MAX {
        let key = format!("k{}", n % 7);
        assert!(matches!(world.run(&add(None, &[(&key, 1)])), Expected::Version(_)));
    }
    world.refuses(&add(None, &[("a", 1)]), &[Code::ResourceExhausted]);
    world.run(&schedule("v1"));
    world.refuses(&add(None, &[("a", 1)]), &[Code::ResourceExhausted]);
    world.state = world.state.destroyed(&"v1".into()).unwrap();
    assert!(matches!(world.run(&add(None, &[("a", 1)])), Expected::Version(_)));
}

fn view(status: VersionStatus, destroy_at_ns: Option<i64>) -> Answer {
    Answer::Version(VersionView {
        id: "v1".into(),
        description: String::new(),
        status,
        keys: vec!["a".into(), "b".into()],
        created_at_ns: 7,
        destroy_at_ns,
    })
}

#[test]
fn an_answer_agrees_in_status_time_keys_and_entries() {
    let mut world = World::new();
    let scheduled = world.run(&schedule("v1"));
    assert!(scheduled.agrees(&view(VersionStatus::Scheduled, Some(9))));
    assert!(!scheduled.agrees(&view(VersionStatus::Scheduled, None)));
    assert!(!scheduled.agrees(&view(VersionStatus::Active, None)));
    world.run(&Call::CancelDestruction(on("v1")));
    let read = world.run(&payload(None));
    let entry = |key: &str, value| PayloadEntry { key: key.into(), value: ValueHash([value; 16]) };
    let shown = |entries| Answer::Payload(PayloadView { version: "v1".into(), entries });
    assert!(read.agrees(&shown(vec![entry("a", 1), entry("b", 2)])));
    assert!(!read.agrees(&shown(vec![entry("b", 2), entry("a", 1)])), "the order counts");
    assert!(!read.agrees(&shown(vec![entry("a", 1)])));
}

#[test]
fn only_an_answer_tells_that_the_clock_destroyed_something() {
    let mut world = World::new();
    let gone = view(VersionStatus::Destroyed, None);
    let call = schedule("v1");
    assert_eq!(clock_passed(&world.state, &call, &gone), None, "it was not scheduled");
    world.run(&call);
    let passed = clock_passed(&world.state, &get(), &gone).unwrap();
    assert_eq!(passed.live().unwrap().versions[0].status, VersionStatus::Destroyed);
    let refusal = Refusal { code: Code::FailedPrecondition, message: String::new() };
    let refused = Answer::Refused(refusal);
    assert!(clock_passed(&world.state, &Call::CancelDestruction(on("v1")), &refused).is_some());
    assert_eq!(clock_passed(&world.state, &payload(None), &refused), None);
}
