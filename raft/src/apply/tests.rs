//! The laws of `apply`, on a state that is a plain map.

mod advance_time;
mod pages;

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::{
    AuthorizedKeyId, CloudId, ClusterId, FolderId, LogTime, OperationId, OrganizationId, RequestId,
    ResourceKind, ResourceRef, SecretId, ServiceAccountId, Subject, TokenId, VersionId,
};

use super::apply_entry;
use crate::domain::command::{
    AddVersion, Command, CreateAuthorizedKey, CreateSecret, CreateServiceAccount, Envelope,
    IdempotencyClaim, InitCluster, MergeBase, NewVersion, SecretChanges, TokenRef,
};
use crate::domain::identity::{ClusterRecord, FolderRecord, KeyAlgorithm};
use crate::domain::operation::{OperationMetadata, OperationRecord, OperationResult};
use crate::domain::outcome::{Outcome, Precondition, Rejection};
use crate::domain::secret::{SecretRecord, SecretStatus};
use crate::domain::version::{SealedPayload, WrappedDataKey};
use crate::domain::{AccessBinding, BindingDelta, DeltaAction, codec};
use crate::error::StorageError;
use crate::state::{Direction, Overlay, Row, Scan, Space, StateRead, keys, tables};

/// The state as a map.
#[derive(Default, Clone, PartialEq, Debug)]
struct Map(BTreeMap<(Space, Vec<u8>), Vec<u8>>);

impl StateRead for Map {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.0.get(&(space, key.to_vec())).cloned())
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
        let range = (scan.space, scan.from.clone())..(scan.space, scan.to.clone());
        let rows = self.0.range(range).map(|((_, k), v)| (k.clone(), v.clone()));
        Ok(match scan.direction {
            Direction::Ascending => rows.take(scan.limit).collect(),
            Direction::Descending => rows.rev().take(scan.limit).collect(),
        })
    }
}

/// An initialised cluster of one folder, and its administrator.
struct World {
    state: Map,
    index: u64,
    now: LogTime,
}

fn id<T>(parse: impl Fn(&str) -> Result<T, lockbox_core::IdError>, text: &str) -> T {
    parse(text).unwrap()
}

fn secret_id(text: &str) -> SecretId {
    id(SecretId::parse, text)
}

fn version_id(text: &str) -> VersionId {
    id(VersionId::parse, text)
}

fn folder_id() -> FolderId {
    id(FolderId::parse, "folder")
}

fn account(text: &str) -> Subject {
    Subject::service_account(&id(ServiceAccountId::parse, text))
}

fn token(credential: Option<&str>) -> TokenRef {
    TokenRef {
        token_id: id(TokenId::parse, "token"),
        credential_id: credential.map(|c| id(AuthorizedKeyId::parse, c)),
        expires_at: LogTime::from_ms(u64::MAX),
    }
}

fn new_version(text: &str) -> NewVersion {
    NewVersion {
        id: version_id(text),
        description: String::new(),
        entry_keys: vec!["password".into()],
        password_spec: None,
        payload: SealedPayload {
            format: 1,
            commitment: [1; 32],
            nonce: [2; 12],
            ciphertext: text.as_bytes().to_vec(),
            wrapped_key: WrappedDataKey::Keyring {
                keyring_key_id: 1,
                salt: [3; 32],
                ciphertext: vec![4],
            },
        },
    }
}

fn create_secret(text: &str, version: Option<&str>) -> CreateSecret {
    CreateSecret {
        id: secret_id(text),
        folder_id: folder_id(),
        name: format!("name of {text}"),
        description: String::new(),
        labels: BTreeMap::new(),
        kms_key_id: None,
        deletion_protection: false,
        password_spec: None,
        version: version.map(new_version),
        secrets_per_cloud_max: 3,
        unique_name: false,
    }
}

fn add_version(secret: &str, version: &str, base: MergeBase) -> Command {
    Command::AddVersion(Box::new(AddVersion {
        secret_id: secret_id(secret),
        version: new_version(version),
        base,
        versions_per_secret_max: 3,
    }))
}

fn service_account(text: &str) -> CreateServiceAccount {
    CreateServiceAccount {
        id: id(ServiceAccountId::parse, text),
        folder_id: folder_id(),
        name: text.to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        expires_at: None,
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self { state: Map::default(), index: 0, now: LogTime::from_ms(1_000_000) };
        let init = InitCluster {
            cluster: ClusterRecord {
                id: id(ClusterId::parse, "cluster"),
                created_at: LogTime::default(),
                organization_id: id(OrganizationId::parse, "organization"),
                system_key_id: "system".into(),
            },
            organization_id: id(OrganizationId::parse, "organization"),
            cloud_id: id(CloudId::parse, "cloud"),
            folder_id: folder_id(),
            folder_name: "default".into(),
            admin: service_account("admin"),
            admin_key: CreateAuthorizedKey {
                id: id(AuthorizedKeyId::parse, "admin-key"),
                service_account_id: id(ServiceAccountId::parse, "admin"),
                description: String::new(),
                algorithm: KeyAlgorithm::Rsa2048,
                public_key_pem: "pem".into(),
            },
            keyring: Vec::new(),
        };
        let mut envelope = world.envelope(Command::InitCluster(Box::new(init)));
        envelope.subject = Subject::internal();
        envelope.token = None;
        world.done(&envelope);
        world
    }

    fn envelope(&mut self, command: Command) -> Envelope {
        let number = self.index + 1;
        let mut request = [0; 16];
        request[..8].copy_from_slice(&number.to_be_bytes());
        Envelope {
            request_id: RequestId::from_bytes(request),
            subject: account("admin"),
            token: Some(token(Some("admin-key"))),
            operation_id: id(OperationId::parse, &format!("operation-{number}")),
            idempotency: None,
            if_version: None,
            proposed_at: self.now,
            command,
        }
    }

    fn apply(&mut self, envelope: &Envelope) -> Outcome {
        self.index += 1;
        let base = self.state.clone();
        let mut overlay = Overlay::new(&base);
        let outcome = apply_entry(&mut overlay, &codec::encode(envelope), self.index).unwrap();
        for write in overlay.into_writes() {
            match write.value {
                Some(value) => drop(self.state.0.insert((write.space, write.key), value)),
                None => drop(self.state.0.remove(&(write.space, write.key))),
            }
        }
        outcome
    }

    #[track_caller]
    fn done(&mut self, envelope: &Envelope) -> OperationRecord {
        match self.apply(envelope) {
            Outcome::Done(operation) => *operation,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn run(&mut self, command: Command) -> OperationRecord {
        let envelope = self.envelope(command);
        self.done(&envelope)
    }

    #[track_caller]
    fn refused(&mut self, envelope: &Envelope) -> Rejection {
        // A refusal may move the log time and expire records, and nothing else.
        let mut before = self.state.clone();
        let outcome = self.apply(envelope);
        let key = (Space::System, keys::SYSTEM_LOG_TIME.to_vec());
        before.0.insert(key.clone(), self.state.0[&key].clone());
        assert_eq!(before, self.state, "a refused command left a trace");
        match outcome {
            Outcome::Rejected(rejection) => rejection,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refuse(&mut self, command: Command) -> Rejection {
        let envelope = self.envelope(command);
        self.refused(&envelope)
    }

    fn create(&mut self, secret: &str, version: Option<&str>) -> OperationRecord {
        self.run(Command::CreateSecret(Box::new(create_secret(secret, version))))
    }

    fn secret(&self, text: &str) -> SecretRecord {
        tables::secret(&self.state, &secret_id(text)).unwrap().unwrap()
    }

    fn current(&self, text: &str) -> Option<VersionId> {
        self.secret(text).current_version
    }
}

#[test]
fn a_cluster_is_initialised_once() {
    let mut world = World::new();
    let cluster = tables::cluster(&world.state).unwrap().unwrap();
    assert_eq!(cluster.created_at, world.now);
    let init = InitCluster {
        cluster,
        organization_id: id(OrganizationId::parse, "other"),
        cloud_id: id(CloudId::parse, "other"),
        folder_id: id(FolderId::parse, "other"),
        folder_name: String::new(),
        admin: service_account("other"),
        admin_key: CreateAuthorizedKey {
            id: id(AuthorizedKeyId::parse, "other"),
            service_account_id: id(ServiceAccountId::parse, "other"),
            description: String::new(),
            algorithm: KeyAlgorithm::Rsa4096,
            public_key_pem: String::new(),
        },
        keyring: Vec::new(),
    };
    let rejection = world.refuse(Command::InitCluster(Box::new(init)));
    assert_eq!(rejection, Precondition::AlreadyInitialised.into());
}

#[test]
fn every_new_version_becomes_current_whatever_its_base() {
    let mut world = World::new();
    let created = world.create("s", Some("v1"));
    let OperationResult::Secret(snapshot) = &created.result else { panic!("{created:?}") };
    assert_eq!(snapshot.current_version.as_ref().unwrap().id, version_id("v1"));
    world.run(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    world.run(add_version("s", "v3", MergeBase::Named(version_id("v1"))));
    assert_eq!(world.current("s"), Some(version_id("v3")));
    let set =
        Command::SetCurrentVersion { secret_id: secret_id("s"), version_id: version_id("v1") };
    world.run(set);
    assert_eq!(world.current("s"), Some(version_id("v1")));
    let (versions, next) =
        tables::versions_page(&world.state, &secret_id("s"), u64::MAX, 2).unwrap();
    assert_eq!(versions.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(), ["v3", "v2"]);
    let (rest, end) =
        tables::versions_page(&world.state, &secret_id("s"), next.unwrap(), 2).unwrap();
    assert_eq!(rest.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(), ["v1"]);
    assert_eq!(end, None);
}

#[test]
fn a_merge_on_a_moved_base_is_refused_and_never_loses_a_version() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    let stale = add_version("s", "v3", MergeBase::Default(Some(version_id("v1"))));
    let current = Some(version_id("v2"));
    assert_eq!(world.refuse(stale), Rejection::BaseMoved { current });
    let generated = add_version("s", "v3", MergeBase::Generated);
    assert!(matches!(world.refuse(generated), Rejection::BaseMoved { .. }));
    let foreign = add_version("s", "v3", MergeBase::Named(version_id("nowhere")));
    assert!(matches!(world.refuse(foreign), Rejection::NotFound { .. }));
}

#[test]
fn quotas_are_exact() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    for (version, base) in [("v2", "v1"), ("v3", "v2")] {
        world.run(add_version("s", version, MergeBase::Default(Some(version_id(base)))));
    }
    let fourth = add_version("s", "v4", MergeBase::Default(Some(version_id("v3"))));
    assert!(matches!(world.refuse(fourth), Rejection::QuotaExceeded { limit: 3, .. }));
    world.create("t", None);
    world.create("u", None);
    let fourth = Command::CreateSecret(Box::new(create_secret("w", None)));
    assert!(matches!(world.refuse(fourth), Rejection::QuotaExceeded { limit: 3, .. }));
    world.run(Command::DeleteSecret { secret_id: secret_id("t") });
    world.create("w", None);
}

#[test]
fn an_inactive_secret_takes_no_version_but_moves_its_pointer() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    let off =
        Command::SetSecretStatus { secret_id: secret_id("s"), status: SecretStatus::Inactive };
    world.run(off.clone());
    world.run(off);
    let add = add_version("s", "v3", MergeBase::Default(Some(version_id("v2"))));
    assert_eq!(world.refuse(add), Precondition::SecretInactive.into());
    let set =
        Command::SetCurrentVersion { secret_id: secret_id("s"), version_id: version_id("v1") };
    world.run(set);
    assert_eq!(world.current("s"), Some(version_id("v1")));
}

#[test]
fn deletion_leaves_nothing_of_the_secret_behind() {
    let mut world = World::new();
    let before: Vec<_> = world.state.0.keys().cloned().collect();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    let bind = Command::SetAccessBindings {
        resource: ResourceRef::new(ResourceKind::Secret, "s"),
        bindings: vec![AccessBinding::new("lockbox.viewer", account("reader"))],
    };
    world.run(bind);
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    let names_it = |value: &[u8]| value.windows(2).any(|w| w == b"v1" || w == b"v2");
    for ((space, key), value) in &world.state.0 {
        let new = !before.contains(&(*space, key.clone()));
        // Operations, request ids and their expiries stay for their retention.
        let retained = matches!(key.first(), Some(b'o' | b'O' | b'q' | b'x'));
        assert!(!new || retained, "left behind: {space:?} {key:?}");
        assert!(*space != Space::Payloads || !names_it(value));
    }
}

#[test]
fn protection_blocks_deletion_and_only_that() {
    let mut world = World::new();
    world.create("s", None);
    let protect = |on| Command::UpdateSecret {
        secret_id: secret_id("s"),
        changes: SecretChanges { deletion_protection: Some(on), ..SecretChanges::default() },
    };
    world.run(protect(true));
    let delete = Command::DeleteSecret { secret_id: secret_id("s") };
    assert_eq!(world.refuse(delete.clone()), Precondition::DeletionProtected.into());
    world.run(add_version("s", "v1", MergeBase::Default(None)));
    world.run(protect(false));
    world.run(delete);
}

#[test]
fn a_rename_moves_the_name_index() {
    let mut world = World::new();
    world.create("s", None);
    let changes = SecretChanges { name: Some("new".into()), ..SecretChanges::default() };
    world.run(Command::UpdateSecret { secret_id: secret_id("s"), changes });
    let named = |name: &str| tables::secrets_named(&world.state, &folder_id(), name).unwrap();
    assert_eq!(named("new"), [secret_id("s")]);
    assert!(named("name of s").is_empty());
}

#[test]
fn rights_are_judged_where_the_command_applies() {
    let mut world = World::new();
    world.run(Command::CreateServiceAccount(service_account("editor")));
    let as_editor = |world: &mut World, command: Command| {
        let mut envelope = world.envelope(command);
        envelope.subject = account("editor");
        envelope.token = Some(token(None));
        envelope
    };
    let create = || Command::CreateSecret(Box::new(create_secret("s", Some("v1"))));
    let envelope = as_editor(&mut world, create());
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
    let grant = |action| Command::UpdateAccessBindings {
        resource: ResourceRef::new(ResourceKind::Folder, "folder"),
        deltas: vec![BindingDelta {
            action,
            binding: AccessBinding::new("lockbox.editor", account("editor")),
        }],
    };
    world.run(grant(DeltaAction::Add));
    let envelope = as_editor(&mut world, create());
    let operation = world.done(&envelope);
    assert_eq!(operation.created_by, account("editor"));
    let envelope = as_editor(&mut world, grant(DeltaAction::Add));
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
    world.run(grant(DeltaAction::Remove));
    let add = add_version("s", "v2", MergeBase::Default(Some(version_id("v1"))));
    let envelope = as_editor(&mut world, add);
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
}

#[test]
fn dead_credentials_are_refused() {
    let mut world = World::new();
    let create = || Command::CreateSecret(Box::new(create_secret("s", None)));
    let mut expired = world.envelope(create());
    expired.token = Some(TokenRef { expires_at: world.now, ..token(Some("admin-key")) });
    assert_eq!(world.refused(&expired), Rejection::Unauthenticated);
    let mut unknown_key = world.envelope(create());
    unknown_key.token = Some(token(Some("other-key")));
    assert_eq!(world.refused(&unknown_key), Rejection::Unauthenticated);
    let mut no_token = world.envelope(create());
    no_token.token = None;
    assert_eq!(world.refused(&no_token), Rejection::Unauthenticated);
    let mut stranger = world.envelope(create());
    stranger.subject = account("stranger");
    stranger.token = Some(token(None));
    assert_eq!(world.refused(&stranger), Rejection::Unauthenticated);
    // The system itself may initialise, and nothing else.
    let mut internal = world.envelope(create());
    internal.subject = Subject::internal();
    internal.token = None;
    assert_eq!(world.refused(&internal), Rejection::PermissionDenied);
}

/// `design §7`: a token dies with its credential.
#[test]
fn a_deleted_key_takes_its_tokens_along() {
    let mut world = World::new();
    let key_id = |text: &str| id(AuthorizedKeyId::parse, text);
    let delete = |text: &str| Command::DeleteAuthorizedKey { key_id: key_id(text) };
    world.run(Command::CreateServiceAccount(service_account("robot")));
    world.run(Command::CreateServiceAccount(service_account("other")));
    for key in ["robot-key", "second-key"] {
        world.run(Command::CreateAuthorizedKey(CreateAuthorizedKey {
            id: key_id(key),
            service_account_id: id(ServiceAccountId::parse, "robot"),
            description: String::new(),
            algorithm: KeyAlgorithm::Rsa2048,
            public_key_pem: "pem".into(),
        }));
    }
    let mut by_other = world.envelope(delete("robot-key"));
    by_other.subject = account("other");
    by_other.token = Some(token(None));
    assert_eq!(world.refused(&by_other), Rejection::PermissionDenied);
    let operation = world.run(delete("robot-key"));
    assert_eq!(
        operation.metadata,
        OperationMetadata::DeleteAuthorizedKey { key_id: key_id("robot-key") }
    );
    assert_eq!(world.refuse(delete("robot-key")), Rejection::KeyNotFound("robot-key".into()));
    let robot = id(ServiceAccountId::parse, "robot");
    let (left, next) = tables::authorized_keys_page(&world.state, &robot, 0, 9).unwrap();
    assert_eq!((left.len(), left[0].id.as_str(), next), (1, "second-key", None));
    // The account may give up what it has; with the dead key it may nothing any more.
    let mut with_dead_key = world.envelope(delete("second-key"));
    with_dead_key.subject = account("robot");
    with_dead_key.token = Some(token(Some("robot-key")));
    assert_eq!(world.refused(&with_dead_key), Rejection::Unauthenticated);
    let mut own = world.envelope(delete("second-key"));
    own.subject = account("robot");
    own.token = Some(token(Some("second-key")));
    world.done(&own);
}

/// `contract §1.14` no. 12: a folder's operations name the changes, a secret's answer `Empty`.
#[test]
fn bindings_of_folders_answer_with_what_changed() {
    let mut world = World::new();
    world.create("s", None);
    let viewer = AccessBinding::new("lockbox.viewer", account("a"));
    let editor = AccessBinding::new("lockbox.editor", account("a"));
    let delta = |action, binding: &AccessBinding| BindingDelta { action, binding: binding.clone() };
    let set = |kind, on: &str, bindings: &[&AccessBinding]| Command::SetAccessBindings {
        resource: ResourceRef::new(kind, on),
        bindings: bindings.iter().map(|b| (*b).clone()).collect(),
    };
    let folder = ResourceKind::Folder;
    let first = world.run(set(folder, "folder", &[&viewer]));
    assert_eq!(first.result, OperationResult::Bindings(vec![delta(DeltaAction::Add, &viewer)]));
    let second = world.run(set(folder, "folder", &[&editor]));
    let changes = [(DeltaAction::Remove, &viewer), (DeltaAction::Add, &editor)];
    let changes = changes.map(|(action, binding)| delta(action, binding)).to_vec();
    assert_eq!(second.result, OperationResult::Bindings(changes));
    let third = world.run(Command::UpdateAccessBindings {
        resource: ResourceRef::new(folder, "folder"),
        deltas: vec![delta(DeltaAction::Add, &editor), delta(DeltaAction::Remove, &viewer)],
    });
    assert_eq!(third.result, OperationResult::Bindings(Vec::new()));
    let on_secret = world.run(set(ResourceKind::Secret, "s", &[&viewer]));
    assert_eq!(on_secret.result, OperationResult::Empty);
}

#[test]
fn folders_come_in_pages() {
    let world = World::new();
    let mut state = world.state;
    let record = tables::folder(&state, &folder_id()).unwrap().unwrap();
    for name in ["a", "bb", "zz"] {
        let folder = FolderRecord { id: id(FolderId::parse, name), ..record.clone() };
        state.0.insert((Space::Records, keys::folder(&folder.id)), codec::encode(&folder));
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = tables::folders_page(&state, after.as_ref(), 1).unwrap();
        found.extend(page.iter().map(|f| f.id.to_string()));
        after = page.last().map(|f| f.id.clone());
        if !more {
            break;
        }
    }
    assert_eq!(found, ["a", "bb", "zz", "folder"]);
    let first = tables::first_resources(&state).unwrap().unwrap();
    assert_eq!((first.admin_id.as_str(), first.admin_key_id.as_str()), ("admin", "admin-key"));
}

#[test]
fn a_repeated_proposal_has_one_effect() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    let add = add_version("s", "v2", MergeBase::Default(Some(version_id("v1"))));
    let envelope = world.envelope(add);
    let first = world.done(&envelope);
    let second = world.done(&envelope);
    assert_eq!(first, second);
    assert_eq!(world.secret("s").live_versions, 2);
}

#[test]
fn an_idempotency_key_returns_the_first_operation_and_refuses_another_request() {
    let mut world = World::new();
    let claim = |mac: u8| {
        Some(IdempotencyClaim {
            method: "Create".into(),
            key: "key".into(),
            request_mac: [mac; 32],
            mac_key_id: 1,
        })
    };
    let keyed = |world: &mut World, secret: &str, mac: u8| {
        let command = Command::CreateSecret(Box::new(create_secret(secret, None)));
        let mut envelope = world.envelope(command);
        envelope.idempotency = claim(mac);
        envelope
    };
    let envelope = keyed(&mut world, "s", 1);
    let first = world.done(&envelope);
    let envelope = keyed(&mut world, "t", 1);
    let second = world.done(&envelope);
    assert_eq!(first, second);
    assert!(matches!(first.metadata, OperationMetadata::CreateSecret { .. }));
    assert!(tables::secret(&world.state, &secret_id("t")).unwrap().is_none());
    let envelope = keyed(&mut world, "t", 2);
    assert_eq!(world.refused(&envelope), Rejection::IdempotencyConflict);
    // After its retention the key is free again, and its count is gone.
    world.now = world.now.plus(Duration::from_secs(26 * 3600));
    let envelope = world.envelope(Command::CreateSecret(Box::new(create_secret("u", None))));
    world.done(&envelope);
    let admin = account("admin");
    assert_eq!(tables::idempotency_count(&world.state, &admin).unwrap(), 0);
    let envelope = keyed(&mut world, "t", 2);
    assert_ne!(world.done(&envelope).id, first.id);
}

#[test]
fn a_refused_first_call_is_not_remembered() {
    let mut world = World::new();
    let command = add_version("s", "v1", MergeBase::Default(None));
    let mut envelope = world.envelope(command);
    envelope.idempotency = Some(IdempotencyClaim {
        method: "AddVersion".into(),
        key: "key".into(),
        request_mac: [1; 32],
        mac_key_id: 1,
    });
    assert!(matches!(world.refused(&envelope), Rejection::NotFound { .. }));
    world.create("s", None);
    assert_eq!(world.done(&envelope).created_by, account("admin"));
}

#[test]
fn x_if_version_compares_with_the_current_version() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    let command = || add_version("s", "v2", MergeBase::Named(version_id("v1")));
    let mut envelope = world.envelope(command());
    envelope.if_version = Some(version_id("v0"));
    let expected =
        Rejection::CurrentMismatch { expected: version_id("v0"), current: Some(version_id("v1")) };
    assert_eq!(world.refused(&envelope), expected);
    let mut envelope = world.envelope(command());
    envelope.if_version = Some(version_id("v1"));
    world.done(&envelope);
}

#[test]
fn log_time_never_goes_back() {
    let mut world = World::new();
    let start = world.now;
    world.now = LogTime::from_ms(5);
    let operation = world.create("s", None);
    assert_eq!(operation.created_at, start);
    world.now = start.plus(Duration::from_secs(1));
    assert_eq!(world.create("t", None).created_at, world.now);
}

#[test]
fn bindings_name_known_roles_and_subjects() {
    let mut world = World::new();
    let set = |role: &str, subject: Subject| Command::SetAccessBindings {
        resource: ResourceRef::new(ResourceKind::Folder, "folder"),
        bindings: vec![AccessBinding::new(role, subject)],
    };
    let unknown_role = world.refuse(set("lockbox.god", account("a")));
    assert!(matches!(unknown_role, Rejection::InvalidArgument { .. }));
    world.run(Command::CreateServiceAccount(service_account("other-admin")));
    world.run(set("admin", account("other-admin")));
    let mut envelope = world.envelope(set("resource-manager.clouds.owner", account("a")));
    envelope.subject = account("other-admin");
    envelope.token = Some(token(None));
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
    world.run(set("resource-manager.clouds.owner", account("a")));
    world.run(set("lockbox.viewer", account("a")));
}
