//! What is left of destroyed versions, and until when (`contract §13` no. 13).

use super::*;
use crate::apply::destructions_due;
use crate::domain::keyring::DataKeyRewrap;
use crate::domain::version::{DESTROYED_VERSIONS_MAX, VersionStatus};

const PENDING_MS: u64 = 7_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

impl World {
    /// Schedules a version and destroys it, as the reaper does; its metadata stay for ten days.
    fn destroy(&mut self, version: &str) {
        self.run(Command::ScheduleVersionDestruction {
            secret_id: secret_id("s"),
            version_id: version_id(version),
            pending_ms: PENDING_MS,
            retained_ms: 10 * DAY_MS,
        });
        self.now = self.now.plus(Duration::from_millis(PENDING_MS));
        let due = destructions_due(&self.state, self.now, 10).unwrap();
        let [due] = <[_; 1]>::try_from(due).unwrap();
        let mut envelope = self.envelope(Command::DestroyVersion(Box::new(due)));
        (envelope.subject, envelope.token) = (Subject::internal(), None);
        self.done(&envelope);
    }

    fn add(&mut self, version: &str) {
        let base = self.current("s").filter(|current| {
            let found = tables::version(&self.state, &secret_id("s"), current).unwrap();
            found.is_some_and(|version| version.status == VersionStatus::Active)
        });
        self.run(add_version("s", version, MergeBase::Default(base)));
    }

    /// Lets so many days pass, and an entry that carries out what is due.
    fn days(&mut self, days: u64) {
        self.now = self.now.plus(Duration::from_millis(days * DAY_MS));
        self.run(Command::SetSecretStatus {
            secret_id: secret_id("s"),
            status: SecretStatus::Active,
        });
    }

    fn listed(&self) -> Vec<String> {
        let page = tables::versions_page(&self.state, &secret_id("s"), u64::MAX, 10).unwrap().0;
        page.iter().rev().map(|version| version.id.to_string()).collect()
    }
}

#[test]
fn a_destroyed_version_is_shown_for_its_time_and_then_forgotten() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.add("v2");
    world.destroy("v1");
    assert_eq!(world.listed(), ["v1", "v2"]);
    assert_eq!(world.secret("s").destroyed_versions, 1);
    world.days(9);
    assert_eq!(world.listed(), ["v1", "v2"]);
    world.days(2);
    assert_eq!(world.listed(), ["v2"]);
    assert!(tables::version(&world.state, &secret_id("s"), &version_id("v1")).unwrap().is_none());
    let secret = world.secret("s");
    assert_eq!((secret.live_versions, secret.destroyed_versions), (1, 0));
}

/// Its log entry holds a wrapped key of what is gone, though nobody knows of the version any more.
#[test]
fn a_rewrap_of_what_is_forgotten_is_noted() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.add("v2");
    world.destroy("v1");
    world.days(11);
    assert_eq!(world.listed(), ["v2"]);
    let salt = [9; 32];
    let rewrap = |version: &str| DataKeyRewrap {
        secret_id: secret_id("s"),
        version_id: version_id(version),
        old_key_id: 1,
        old_salt: [3; 32],
        new: WrappedDataKey::Keyring { keyring_key_id: 2, salt, ciphertext: vec![8; 48] },
    };
    let mut noted = |version: &str| {
        let mut envelope = world.envelope(Command::RewrapDataKeys(vec![rewrap(version)]));
        (envelope.subject, envelope.token) = (Subject::internal(), None);
        world.apply(&envelope);
        tables::erasures(&world.state).unwrap().count
    };
    assert_eq!(noted("v2"), 1, "it is there");
    assert_eq!(noted("v1"), 2);
}

/// `contract §2.4`: the pointer stays, and shows the version that it names.
#[test]
fn what_is_current_stays_until_another_one_is() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.destroy("v1");
    for _ in 0..3 {
        world.days(11);
        assert_eq!(world.listed(), ["v1"]);
    }
    world.add("v2");
    assert_eq!(world.listed(), ["v1", "v2"]);
    world.days(11);
    assert_eq!(world.listed(), ["v2"]);
    assert_eq!(world.secret("s").destroyed_versions, 0);
}

#[test]
fn a_deleted_secret_leaves_nothing_to_forget() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.add("v2");
    world.destroy("v1");
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    world.create("t", None);
    world.now = world.now.plus(Duration::from_millis(11 * DAY_MS));
    world.create("u", None);
    assert!(tables::secret(&world.state, &secret_id("s")).unwrap().is_none());
}

/// So one entry can delete a secret with all that is left of it.
#[test]
fn a_secret_keeps_only_so_many_destroyed_versions() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.add("v2");
    world.destroy("v1");
    world.add("v3");
    // As many more as there may be, without their rows.
    let mut secret = world.secret("s");
    secret.destroyed_versions = DESTROYED_VERSIONS_MAX;
    world.state.0.insert((Space::Records, keys::secret(&secret.id)), codec::encode(&secret));
    world.destroy("v2");
    assert_eq!(world.listed(), ["v2", "v3"], "the oldest one made room");
    assert_eq!(world.secret("s").destroyed_versions, DESTROYED_VERSIONS_MAX);
    // What was forgotten early is not looked for again.
    world.days(11);
    assert_eq!(world.listed(), ["v3"]);
}

/// `contract §9` names no number; without one an account's keys, and what its deletion takes with
/// it, are without bound.
#[test]
fn an_account_has_only_so_many_keys() {
    let mut world = World::new();
    let make = |number: usize| {
        Command::CreateAuthorizedKey(CreateAuthorizedKey {
            id: id(AuthorizedKeyId::parse, &format!("key-{number}")),
            service_account_id: id(ServiceAccountId::parse, "admin"),
            description: String::new(),
            algorithm: KeyAlgorithm::Rsa2048,
            public_key_pem: "pem".into(),
            keys_per_account_max: 3,
        })
    };
    // It came with one.
    world.run(make(1));
    world.run(make(2));
    let refused = world.refuse(make(3));
    let quota = "iam.authorizedKeys.count".to_owned();
    assert_eq!(refused, Rejection::QuotaExceeded { quota, limit: 3 });
    world.run(Command::DeleteAuthorizedKey { key_id: id(AuthorizedKeyId::parse, "key-1") });
    world.run(make(3));
}
