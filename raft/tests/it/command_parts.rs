//! The parts that random commands are made of: kinds, ids, versions, specifications, bindings.

use std::collections::BTreeMap;

use lockbox_core::{
    AuthorizedKeyId, CloudId, ClusterId, FolderId, KmsKeyId, KmsKeyVersionId, LogTime,
    OrganizationId, Role, SecretId, ServiceAccountId, Subject, SubjectKind, TokenId, VersionId,
};
use lockbox_raft::domain::audit_head::{After, AuditHead, HeadSignature};
use lockbox_raft::domain::command::{
    CreateAuthorizedKey, CreateServiceAccount, InitCluster, NewVersion, RecoverAdmin,
};
use lockbox_raft::domain::feature_level::FEATURE_LEVEL_MAX;
use lockbox_raft::domain::identity::{ClusterRecord, KeyAlgorithm};
use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};
use lockbox_raft::domain::kms_witness::{KmsAttestation, KmsStamp, KmsTombstone};
use lockbox_raft::domain::read_report::{CloudReads, ReadReport};
use lockbox_raft::domain::secret::PasswordSpec;
use lockbox_raft::domain::version::{SealedPayload, WrappedDataKey};
use lockbox_raft::domain::{AccessBinding, Command, TokenRef, Versions};

use crate::harness::Random;

/// Keys of one account.
const KEYS_QUOTA: u32 = 4;
/// What every keyring key is wrapped as.
pub(crate) const WRAPPED: [u8; 60] = [7; 60];

/// Every kind of command, by [`Command::name`]; [`check_kind`] keeps it complete.
pub(crate) const KINDS: [&str; 38] = [
    "init_cluster",
    "create_secret",
    "add_version",
    "set_current_version",
    "update_secret",
    "delete_secret",
    "set_secret_status",
    "create_service_account",
    "create_authorized_key",
    "set_access_bindings",
    "update_access_bindings",
    "delete_authorized_key",
    "update_authorized_key",
    "schedule_version_destruction",
    "cancel_version_destruction",
    "update_service_account",
    "delete_service_account",
    "set_service_account_status",
    "revoke_token",
    "create_cloud",
    "update_cloud",
    "create_folder",
    "update_folder",
    "advance_time",
    "destroy_version",
    "recover_admin",
    "set_retention",
    "begin_state_check",
    "report_state_hash",
    "anchor_audit_head",
    "report_reads",
    "attest_kms",
    "raise_feature_level",
    "add_keyring_key",
    "confirm_keyring_key",
    "step_keyring_key",
    "rewrap_data_keys",
    "rewrap_keyring_key",
];

/// Does not compile while a kind of command is missing here, and with it in [`KINDS`] and in
/// the generator.
pub(crate) const fn check_kind(command: &Command) {
    match command {
        Command::InitCluster(_)
        | Command::CreateSecret(_)
        | Command::AddVersion(_)
        | Command::SetCurrentVersion { .. }
        | Command::UpdateSecret { .. }
        | Command::DeleteSecret { .. }
        | Command::SetSecretStatus { .. }
        | Command::CreateServiceAccount(_)
        | Command::CreateAuthorizedKey(_)
        | Command::SetAccessBindings { .. }
        | Command::UpdateAccessBindings { .. }
        | Command::DeleteAuthorizedKey { .. }
        | Command::UpdateAuthorizedKey { .. }
        | Command::ScheduleVersionDestruction { .. }
        | Command::CancelVersionDestruction { .. }
        | Command::UpdateServiceAccount { .. }
        | Command::DeleteServiceAccount { .. }
        | Command::SetServiceAccountStatus { .. }
        | Command::RevokeToken(_)
        | Command::CreateCloud(_)
        | Command::UpdateCloud { .. }
        | Command::CreateFolder(_)
        | Command::UpdateFolder { .. }
        | Command::AdvanceTime
        | Command::DestroyVersion(_)
        | Command::RecoverAdmin(_)
        | Command::SetRetention { .. }
        | Command::BeginStateCheck
        | Command::ReportStateHash { .. }
        | Command::AnchorAuditHead(_)
        | Command::ReportReads(_)
        | Command::AttestKms(_)
        | Command::RaiseFeatureLevel { .. }
        | Command::AddKeyringKey(_)
        | Command::ConfirmKeyringKey { .. }
        | Command::StepKeyringKey { .. }
        | Command::RewrapDataKeys(_)
        | Command::RewrapKeyringKey(_) => {}
    }
}

/// The only folder there is, and the administrator with the first key.
pub(crate) const FOLDER: &str = "folder";
pub(crate) const ADMIN: &str = "admin";
pub(crate) const ADMIN_KEY: &str = "admin-key";
const ADMIN_PEM: &str = "admin-pem";

pub(crate) fn secret_id(text: &str) -> SecretId {
    SecretId::parse(text).unwrap()
}

pub(crate) fn version_id(text: &str) -> VersionId {
    VersionId::parse(text).unwrap()
}

pub(crate) fn folder_id(text: &str) -> FolderId {
    FolderId::parse(text).unwrap()
}

fn account_id(text: &str) -> ServiceAccountId {
    ServiceAccountId::parse(text).unwrap()
}

pub(crate) fn account(text: &str) -> Subject {
    Subject::service_account(&account_id(text))
}

pub(crate) fn token(credential: Option<&str>, expires_at: LogTime) -> TokenRef {
    let credential_id = credential.map(|text| AuthorizedKeyId::parse(text).unwrap());
    let token_id = TokenId::parse("token").unwrap();
    TokenRef { token_id, credential_id, expires_at, maker: None }
}

/// True in one of `n` cases.
pub(crate) fn one_in(random: &mut Random, n: u64) -> bool {
    random.below(n) == 0
}

/// One of a list that is not empty.
pub(crate) fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    &from[usize::try_from(random.below(from.len() as u64)).unwrap()]
}

fn bytes(random: &mut Random, max: u64) -> Vec<u8> {
    (0..random.below(max + 1)).map(|_| random.next().to_le_bytes()[0]).collect()
}

fn array<const N: usize>(random: &mut Random) -> [u8; N] {
    std::array::from_fn(|_| random.next().to_le_bytes()[0])
}

/// Text of one to four words, among them one outside ASCII.
pub(crate) fn text(random: &mut Random) -> String {
    const WORDS: [&str; 5] = ["alpha", "beta", "gamma", "delta", "секрет"];
    let words: Vec<&str> = (0..=random.below(4)).map(|_| *pick(random, &WORDS)).collect();
    words.join(" ")
}

pub(crate) fn labels(random: &mut Random) -> BTreeMap<String, String> {
    (0..random.below(4)).map(|_| (format!("label-{}", random.below(9)), text(random))).collect()
}

pub(crate) fn kms_key_id(random: &mut Random) -> Option<KmsKeyId> {
    one_in(random, 4).then(|| KmsKeyId::parse("own-key").unwrap())
}

pub(crate) fn password_spec(random: &mut Random) -> PasswordSpec {
    let choice = |random: &mut Random| match random.below(3) {
        0 => None,
        answer => Some(answer == 1),
    };
    PasswordSpec {
        password_key: "password".to_owned(),
        length: u32::try_from(random.below(64)).unwrap(),
        include_uppercase: choice(random),
        include_lowercase: choice(random),
        include_digits: choice(random),
        include_punctuation: choice(random),
        included_punctuation: "-_".to_owned(),
        excluded_punctuation: String::new(),
    }
}

fn sealed(random: &mut Random) -> SealedPayload {
    let wrapped_key = if one_in(random, 4) {
        WrappedDataKey::Kms {
            kms_key_id: KmsKeyId::parse("own-key").unwrap(),
            kms_key_version_id: KmsKeyVersionId::parse("own-key-version").unwrap(),
            ciphertext: bytes(random, 80),
        }
    } else {
        let ciphertext = bytes(random, 48);
        WrappedDataKey::Keyring { keyring_key_id: 1, salt: array(random), ciphertext }
    };
    SealedPayload {
        format: 1,
        commitment: array(random),
        nonce: array(random),
        ciphertext: bytes(random, 200),
        wrapped_key,
    }
}

pub(crate) fn new_version(
    random: &mut Random,
    id: &str,
    password_spec: Option<PasswordSpec>,
) -> NewVersion {
    NewVersion {
        id: version_id(id),
        description: text(random),
        entry_keys: (0..1 + random.below(4)).map(|n| format!("entry-{n}")).collect(),
        password_spec,
        payload: sealed(random),
    }
}

pub(crate) fn service_account(
    random: &mut Random,
    id: &str,
    expires_at: Option<LogTime>,
) -> CreateServiceAccount {
    CreateServiceAccount {
        id: account_id(id),
        folder_id: folder_id(FOLDER),
        name: format!("name of {id}"),
        description: text(random),
        labels: labels(random),
        expires_at,
    }
}

pub(crate) fn authorized_key(random: &mut Random, id: &str, owner: &str) -> CreateAuthorizedKey {
    let algorithm = if one_in(random, 2) { KeyAlgorithm::Rsa2048 } else { KeyAlgorithm::Rsa4096 };
    CreateAuthorizedKey {
        id: AuthorizedKeyId::parse(id).unwrap(),
        service_account_id: account_id(owner),
        description: text(random),
        algorithm,
        public_key_pem: hex::encode(bytes(random, 60)),
        keys_per_account_max: KEYS_QUOTA,
    }
}

/// A binding of some role to a known account or to a subject of another kind; one in twenty names
/// a role or a system subject that does not exist. A third has conditions, some of which do not fit
/// or have ended already.
pub(crate) fn binding(random: &mut Random, accounts: &[String], now: u64) -> AccessBinding {
    let mut binding = unconditional(random, accounts);
    if one_in(random, 8) {
        "lockbox.payloadViewer".clone_into(&mut binding.role_id);
    }
    if one_in(random, if binding.role_id == "lockbox.payloadViewer" { 2 } else { 40 }) {
        binding.versions = Some(Versions::Current);
    }
    if one_in(random, 4) {
        let end = now + random.below(60_000);
        binding.not_after = Some(LogTime::from_ms(end.saturating_sub(5_000)));
    }
    binding
}

fn unconditional(random: &mut Random, accounts: &[String]) -> AccessBinding {
    let subject = match random.below(10) {
        0 => Subject { kind: SubjectKind::UserAccount, id: format!("user-{}", random.below(20)) },
        1 => Subject { kind: SubjectKind::Group, id: format!("group-{}", random.below(5)) },
        2 => Subject { kind: SubjectKind::System, id: "allAuthenticatedUsers".to_owned() },
        _ if accounts.is_empty() => account(ADMIN),
        _ => account(pick::<String>(random, accounts)),
    };
    match random.below(40) {
        0 => AccessBinding::new("lockbox.nobody", subject),
        1 => {
            let unknown = Subject { kind: SubjectKind::System, id: "unknown".to_owned() };
            AccessBinding::new("viewer", unknown)
        }
        2..12 => AccessBinding::new("lockbox.editor", subject),
        _ => AccessBinding::new(pick(random, Role::ALL).as_str(), subject),
    }
}

/// The head of some node's audit; each tenth is of a chain that begins again, each third of a node
/// that was sealed, and each seventh of one that has read no head before it.
pub(crate) fn audit_head(number: u64) -> AuditHead {
    let sequence = if number.is_multiple_of(10) { number / 2 } else { number };
    let hash = [number.to_le_bytes()[0]; 32];
    let signed = HeadSignature { signer: hash, signature: vec![hash[0]; 64] };
    let signature = (!number.is_multiple_of(3)).then_some(signed);
    let told_at = LogTime::from_ms(number);
    AuditHead {
        node_id: 1 + number % 3,
        sequence,
        hash,
        told_at,
        signature,
        removed_through: number.checked_sub(90),
        after: number.is_multiple_of(7).then_some(After::Nothing),
    }
}

/// Reads of the only cloud and of another one, by some start of some node; some of the numbers come
/// again.
pub(crate) fn read_report(random: &mut Random, number: u64) -> ReadReport {
    let of = |cloud: &str, reads| CloudReads { cloud_id: CloudId::parse(cloud).unwrap(), reads };
    ReadReport {
        node_id: 1 + number % 3,
        incarnation: [(number / 1_000).to_le_bytes()[0]; 16],
        sequence: number - random.below(50).min(number),
        reads: vec![of("cloud", random.below(1_000)), of("another-cloud", 1)],
    }
}

/// Of a KMS that is restored now and then, and destroys a version each time.
pub(crate) fn attestation(number: u64) -> KmsAttestation {
    let epoch = 1 + number / 50;
    let tombstone = KmsTombstone {
        key_id: KmsKeyId::parse("own-key").unwrap(),
        version_id: KmsKeyVersionId::parse(&format!("v{}", number % 7)).ok(),
        destroyed_at: LogTime::from_ms(number),
    };
    KmsAttestation {
        store_id: KmsStamp::new([7; 16]),
        incarnation: KmsStamp::new([epoch.to_le_bytes()[0]; 16]),
        epoch,
        head: number,
        ahead: 10,
        time: LogTime::from_ms(number),
        tombstones: vec![tombstone],
    }
}

/// Brings the first key again, so that the administrator goes on as before; one in four times
/// another one, under an id that is taken while the first is there.
pub(crate) fn recover_admin(random: &mut Random) -> RecoverAdmin {
    let pem = if one_in(random, 4) { "other-pem" } else { ADMIN_PEM };
    RecoverAdmin {
        key_id: AuthorizedKeyId::parse(ADMIN_KEY).unwrap(),
        algorithm: KeyAlgorithm::Rsa2048,
        public_key_pem: pem.to_owned(),
        keep_keys: one_in(random, 2),
        name: format!("name of {ADMIN}"),
        replacement_id: account_id("second-admin"),
    }
}

pub(crate) fn init_cluster(random: &mut Random) -> InitCluster {
    let organization_id = OrganizationId::parse("organization").unwrap();
    let purposes =
        [KeyPurpose::WrapDataKeys, KeyPurpose::AuthenticateRequests, KeyPurpose::SignTokens];
    let key = |(id, purpose)| {
        KeyringKeyRecord::new(id, purpose, KeyStage::Activated, WRAPPED.into(), Vec::new())
    };
    InitCluster {
        cluster: ClusterRecord {
            id: ClusterId::parse("cluster").unwrap(),
            created_at: LogTime::default(),
            organization_id: organization_id.clone(),
            system_key_id: "system".to_owned(),
            keyring_cluster: None,
        },
        organization_id,
        cloud_id: CloudId::parse("cloud").unwrap(),
        folder_id: folder_id(FOLDER),
        folder_name: "default".to_owned(),
        admin: service_account(random, ADMIN, None),
        admin_key: CreateAuthorizedKey {
            public_key_pem: ADMIN_PEM.to_owned(),
            ..authorized_key(random, ADMIN_KEY, ADMIN)
        },
        keyring: (1..).zip(purposes).map(key).collect(),
        feature_level: FEATURE_LEVEL_MAX,
    }
}
