//! Commands for the tests: a cluster with one folder, and secrets in it.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::{
    AuthorizedKeyId, CloudId, FolderId, LogTime, OperationId, OrganizationId, RequestId, SecretId,
    ServiceAccountId, Subject, TokenId, VersionId,
};

use super::harness::{TestRandom, cluster_id};
use crate::domain::command::{
    Command, CreateAuthorizedKey, CreateSecret, CreateServiceAccount, Envelope, InitCluster,
    NewVersion, TokenRef,
};
use crate::domain::feature_level::FEATURE_LEVEL_MAX;
use crate::domain::identity::{ClusterRecord, KeyAlgorithm};
use crate::domain::keyring::DataKeyRewrap;
use crate::domain::read_report::{CloudReads, ReadReport};
use crate::domain::version::{SealedPayload, WrappedDataKey};

pub(crate) fn folder_id() -> FolderId {
    FolderId::parse("b1gfolder").unwrap()
}

pub(crate) fn cloud_id() -> CloudId {
    CloudId::parse("b1gcloud").unwrap()
}

fn admin_id() -> ServiceAccountId {
    ServiceAccountId::parse("ajeadmin").unwrap()
}

fn envelope(random: &TestRandom, subject: Subject, command: Command) -> Envelope {
    let by_admin = subject != Subject::internal();
    let token = by_admin.then(|| TokenRef {
        token_id: TokenId::parse("aittoken").unwrap(),
        credential_id: None,
        expires_at: LogTime::from_ms(u64::MAX),
        maker: None,
    });
    Envelope {
        request_id: RequestId::generate(random),
        subject,
        token,
        operation_id: OperationId::generate(random),
        idempotency: None,
        if_version: None,
        proposed_at: LogTime::default(),
        command,
    }
}

/// `cluster init`.
pub(crate) fn init_cluster(random: &TestRandom) -> Envelope {
    init_cluster_at(random, FEATURE_LEVEL_MAX)
}

/// `cluster init` of members that all understand this level.
pub(crate) fn init_cluster_at(random: &TestRandom, feature_level: u32) -> Envelope {
    let admin = CreateServiceAccount {
        id: admin_id(),
        folder_id: folder_id(),
        name: "admin".to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        expires_at: None,
    };
    let admin_key = CreateAuthorizedKey {
        id: AuthorizedKeyId::parse("ajkadmin").unwrap(),
        service_account_id: admin_id(),
        description: String::new(),
        algorithm: KeyAlgorithm::Rsa2048,
        public_key_pem: String::new(),
        keys_per_account_max: 0,
    };
    let organization_id = OrganizationId::parse("bpforganization").unwrap();
    let init = InitCluster {
        cluster: ClusterRecord {
            id: cluster_id(),
            created_at: LogTime::default(),
            organization_id: organization_id.clone(),
            system_key_id: "abjsystem".to_owned(),
            keyring_cluster: None,
        },
        organization_id,
        cloud_id: cloud_id(),
        folder_id: folder_id(),
        folder_name: "default".to_owned(),
        admin,
        admin_key,
        keyring: Vec::new(),
        feature_level,
    };
    envelope(random, Subject::internal(), Command::InitCluster(Box::new(init)))
}

/// A secret without a version, by the administrator.
pub(crate) fn create_secret(random: &TestRandom, name: &str) -> Envelope {
    create_secret_in(random, name, folder_id())
}

/// The same in another folder, which need not exist.
pub(crate) fn create_secret_in(random: &TestRandom, name: &str, folder_id: FolderId) -> Envelope {
    let create = CreateSecret {
        id: SecretId::generate(random),
        folder_id,
        name: name.to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        kms_key_id: None,
        deletion_protection: false,
        password_spec: None,
        version: None,
        secrets_per_cloud_max: 1_000_000,
        unique_name: false,
    };
    let admin = Subject::service_account(&admin_id());
    envelope(random, admin, Command::CreateSecret(Box::new(create)))
}

/// A secret with one version, by the administrator; its id and that of the version.
pub(crate) fn create_secret_with_version(random: &TestRandom) -> (Envelope, SecretId, VersionId) {
    let mut envelope = create_secret(random, "with a version");
    let version_id = VersionId::generate(random);
    let Command::CreateSecret(create) = &mut envelope.command else { panic!("not a creation") };
    create.version = Some(NewVersion {
        id: version_id.clone(),
        description: String::new(),
        entry_keys: vec!["key".to_owned()],
        password_spec: None,
        payload: SealedPayload {
            format: 1,
            commitment: [1; 32],
            nonce: [2; 12],
            ciphertext: vec![3; 32],
            wrapped_key: WrappedDataKey::Keyring {
                keyring_key_id: 1,
                salt: [4; 32],
                ciphertext: vec![5; 48],
            },
        },
    });
    let secret_id = create.id.clone();
    (envelope, secret_id, version_id)
}

/// The destruction of a version, by the administrator.
pub(crate) fn schedule_destruction(
    random: &TestRandom,
    (secret_id, version_id): (&SecretId, &VersionId),
    pending: Duration,
) -> Envelope {
    let command = Command::ScheduleVersionDestruction {
        secret_id: secret_id.clone(),
        version_id: version_id.clone(),
        pending_ms: u64::try_from(pending.as_millis()).unwrap(),
        retained_ms: 86_400_000,
    };
    envelope(random, Subject::service_account(&admin_id()), command)
}

/// The deletion of a secret, by the administrator.
pub(crate) fn delete_secret(random: &TestRandom, secret_id: &SecretId) -> Envelope {
    let command = Command::DeleteSecret { secret_id: secret_id.clone() };
    envelope(random, Subject::service_account(&admin_id()), command)
}

/// A rewrap of the data key of a version, by the cluster itself.
pub(crate) fn rewrap_data_key(
    random: &TestRandom,
    (secret_id, version_id): (&SecretId, &VersionId),
    new: WrappedDataKey,
) -> Envelope {
    let rewrap = DataKeyRewrap {
        secret_id: secret_id.clone(),
        version_id: version_id.clone(),
        old_key_id: 1,
        old_salt: [4; 32],
        new,
    };
    envelope(random, Subject::internal(), Command::RewrapDataKeys(vec![rewrap]))
}

/// A report of reads of the only cloud's secrets, by one start of node 1.
pub(crate) fn report_reads(random: &TestRandom, sequence: u64, reads: u64) -> Envelope {
    let reads = vec![CloudReads { cloud_id: cloud_id(), reads }];
    let report = ReadReport { node_id: 1, incarnation: [7; 16], sequence, reads };
    envelope(random, Subject::internal(), Command::ReportReads(Box::new(report)))
}
