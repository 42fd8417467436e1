//! The laws of `apply`, on a state that is a plain map.

mod access;
mod advance_time;
mod audit_heads;
mod bound;
mod changes;
mod conditions;
mod destroyed;
mod destruction;
mod expiry;
mod feature_level;
mod keyring;
mod kms_witness;
mod limits;
mod members;
mod metering;
#[cfg(feature = "mutants")]
mod mutants;
mod pages;
mod policies;
mod recovery;
mod repeats;
mod secrets;
mod state_check;
mod tokens;
mod trim;
mod version_bindings;

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::{
    AuthorizedKeyId, CloudId, ClusterId, FolderId, LogTime, OperationId, OrganizationId, RequestId,
    ResourceKind, ResourceRef, SecretId, ServiceAccountId, Subject, SubjectKind, TokenId,
    VersionId,
};

use super::{
    CreationLimits, EntryPosition, Refusal, apply_entry, recall_or_room, room_for_secret,
    secret_id_taken,
};
use crate::domain::command::{
    AddVersion, Command, CreateAuthorizedKey, CreateSecret, CreateServiceAccount, Envelope,
    IdempotencyClaim, InitCluster, MergeBase, NewVersion, SecretChanges, TokenRef,
};
use crate::domain::feature_level::FEATURE_LEVEL_MAX;
use crate::domain::idempotency::IDEMPOTENCY_RECORDS_MAX;
use crate::domain::identity::{ClusterRecord, FolderRecord, KeyAlgorithm};
use crate::domain::operation::{OperationMetadata, OperationRecord, OperationResult};
use crate::domain::outcome::{Outcome, Precondition, Rejection};
use crate::domain::secret::{SecretRecord, SecretStatus};
use crate::domain::version::{SealedPayload, WrappedDataKey};
use crate::domain::{AccessBinding, BindingDelta, BindingSet, DeltaAction, Versions, codec};
use crate::error::StorageError;
use crate::state::{
    Direction, Overlay, Row, Scan, Space, StateRead, TimedView, holdings, keys, tables,
};

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

/// The entry at this index, of a term that changes now and then.
const fn position(index: u64) -> EntryPosition {
    EntryPosition { index, term: 1 + index / 10 }
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
        maker: None,
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
                ciphertext: vec![4; 48],
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
                keyring_cluster: None,
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
                keys_per_account_max: 0,
            },
            keyring: Vec::new(),
            feature_level: FEATURE_LEVEL_MAX,
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
        let outcome =
            apply_entry(&mut overlay, &codec::encode(envelope), position(self.index)).unwrap();
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
        for mark in [keys::SYSTEM_LOG_TIME, keys::SYSTEM_EXPIRY_NEXT] {
            let key = (Space::System, mark.to_vec());
            before.0.insert(key.clone(), self.state.0[&key].clone());
        }
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
