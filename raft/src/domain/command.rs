//! Commands: every change of state, complete before it is proposed.
//!
//! Ids, random values and ciphertext are decided by the node that received the request; only the
//! time is stamped by the leader (`design §5`). A command holds no plaintext.

mod envelope;
mod growth;
mod parts;
mod secrets;

use lockbox_core::{
    AuthorizedKeyId, CloudId, FolderId, NodeId, ResourceRef, SecretId, ServiceAccountId, VersionId,
};
use minicbor::{Decode, Encode};

pub use self::envelope::{Envelope, IdempotencyClaim, TokenRef};
pub use self::parts::{
    AddVersion, ContainerChanges, CreateAuthorizedKey, CreateCloud, CreateFolder, CreateSecret,
    CreateServiceAccount, InitCluster, MergeBase, NewVersion, RecoverAdmin, RevokeToken,
    SecretChanges, ServiceAccountChanges,
};
use super::audit_head::AuditHead;
use super::binding::{AccessBinding, BindingDelta};
use super::identity::ServiceAccountStatus;
use super::keyring::{DataKeyRewrap, KeyStage, KeyringKeyRecord, KeyringKeyRewrap};
use super::kms_witness::KmsAttestation;
use super::read_report::ReadReport;
use super::secret::SecretStatus;
use super::state_check::StateReport;
use super::version::Destruction;

/// Every change of state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Makes the cluster.
    #[n(0)]
    InitCluster(#[n(0)] Box<InitCluster>),
    /// Creates a secret.
    #[n(1)]
    CreateSecret(#[n(0)] Box<CreateSecret>),
    /// Adds a version and makes it current.
    #[n(2)]
    AddVersion(#[n(0)] Box<AddVersion>),
    /// Moves the current pointer.
    #[n(3)]
    SetCurrentVersion {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// The version that becomes current.
        #[n(1)]
        version_id: VersionId,
    },
    /// Changes a secret's attributes.
    #[n(4)]
    UpdateSecret {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// What changes.
        #[n(1)]
        changes: SecretChanges,
    },
    /// Deletes a secret with all that belongs to it.
    #[n(5)]
    DeleteSecret {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
    },
    /// Activates or deactivates a secret.
    #[n(6)]
    SetSecretStatus {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// Its new status.
        #[n(1)]
        status: SecretStatus,
    },
    /// Creates a service account.
    #[n(7)]
    CreateServiceAccount(#[n(0)] CreateServiceAccount),
    /// Creates an authorized key.
    #[n(8)]
    CreateAuthorizedKey(#[n(0)] CreateAuthorizedKey),
    /// Replaces the bindings of a resource.
    #[n(9)]
    SetAccessBindings {
        /// The resource.
        #[n(0)]
        resource: ResourceRef,
        /// The whole new set.
        #[n(1)]
        bindings: Vec<AccessBinding>,
    },
    /// Changes the bindings of a resource.
    #[n(10)]
    UpdateAccessBindings {
        /// The resource.
        #[n(0)]
        resource: ResourceRef,
        /// Changes, applied in order and as a whole.
        #[n(1)]
        deltas: Vec<BindingDelta>,
    },
    /// Deletes an authorized key; its tokens die with it (`design §7`).
    #[n(11)]
    DeleteAuthorizedKey {
        /// The key.
        #[n(0)]
        key_id: AuthorizedKeyId,
    },
    /// Schedules the destruction of a version, from the entry's time on.
    #[n(12)]
    ScheduleVersionDestruction {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// The version.
        #[n(1)]
        version_id: VersionId,
        /// How long it can be called off, in milliseconds.
        #[n(2)]
        pending_ms: u64,
        /// How long the metadata stay after it, in milliseconds; configured on the node that
        /// received the request (`contract §13` no. 13).
        #[n(3)]
        retained_ms: u64,
    },
    /// Calls the destruction of a version off.
    #[n(13)]
    CancelVersionDestruction {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// The version.
        #[n(1)]
        version_id: VersionId,
    },
    /// Makes a token worthless.
    #[n(14)]
    RevokeToken(#[n(0)] RevokeToken),
    /// Changes a service account's attributes.
    #[n(15)]
    UpdateServiceAccount {
        /// The account.
        #[n(0)]
        service_account_id: ServiceAccountId,
        /// What changes.
        #[n(1)]
        changes: ServiceAccountChanges,
    },
    /// Deletes a service account with its keys.
    #[n(16)]
    DeleteServiceAccount {
        /// The account.
        #[n(0)]
        service_account_id: ServiceAccountId,
    },
    /// Suspends or reactivates a service account.
    #[n(17)]
    SetServiceAccountStatus {
        /// The account.
        #[n(0)]
        service_account_id: ServiceAccountId,
        /// Its new status.
        #[n(1)]
        status: ServiceAccountStatus,
    },
    /// Changes the description of an authorized key.
    #[n(18)]
    UpdateAuthorizedKey {
        /// The key.
        #[n(0)]
        key_id: AuthorizedKeyId,
        /// Its new description.
        #[n(1)]
        description: String,
    },
    /// Creates a cloud.
    #[n(19)]
    CreateCloud(#[n(0)] CreateCloud),
    /// Changes a cloud's attributes.
    #[n(20)]
    UpdateCloud {
        /// The cloud.
        #[n(0)]
        cloud_id: CloudId,
        /// What changes.
        #[n(1)]
        changes: ContainerChanges,
    },
    /// Creates a folder.
    #[n(21)]
    CreateFolder(#[n(0)] CreateFolder),
    /// Changes a folder's attributes.
    #[n(22)]
    UpdateFolder {
        /// The folder.
        #[n(0)]
        folder_id: FolderId,
        /// What changes.
        #[n(1)]
        changes: ContainerChanges,
    },
    /// Stamps the time and does nothing else; only the system proposes it. Numbers from here on
    /// are for what the system does by itself.
    #[n(64)]
    AdvanceTime,
    /// Destroys a version that is still scheduled for this time; only the system proposes it.
    #[n(65)]
    DestroyVersion(#[n(0)] Box<Destruction>),
    /// Makes the bootstrap administrator able to log in again; only the system proposes it, for
    /// who holds the certificate that formed the cluster.
    #[n(66)]
    RecoverAdmin(#[n(0)] Box<RecoverAdmin>),
    /// Caps what operations and idempotency records take; only the system proposes it, with what is
    /// configured on the node that leads.
    #[n(67)]
    SetRetention {
        /// The cap, in bytes.
        #[n(0)]
        bytes_max: u64,
    },
    /// Has all members compare the state that this entry leaves; only the system proposes it.
    #[n(68)]
    BeginStateCheck,
    /// What a member has found; of another comparison than the newest one it comes to nothing.
    #[n(69)]
    ReportStateHash {
        /// The entry of the comparison.
        #[n(0)]
        index: u64,
        /// What the member found.
        #[n(1)]
        report: StateReport,
    },
    /// Adds a key to the keyring; only the leader makes one (`design §6`: KeyAdded). Numbers from
    /// here on are the keyring's.
    #[n(80)]
    AddKeyringKey(#[n(0)] Box<KeyringKeyRecord>),
    /// A member has done what the key's stage waits for.
    #[n(81)]
    ConfirmKeyringKey {
        /// The key.
        #[n(0)]
        key_id: u32,
        /// The stage that is confirmed; refused when the key is at another one.
        #[n(1)]
        stage: KeyStage,
        /// The member.
        #[n(2)]
        node_id: NodeId,
    },
    /// Takes a key to its next stage (`design §6`: KeyActivated ... KeyRetired).
    #[n(82)]
    StepKeyringKey {
        /// The key.
        #[n(0)]
        key_id: u32,
        /// The stage that follows the one that it is at.
        #[n(1)]
        to: KeyStage,
    },
    /// Puts data keys under the activated key; those that were wrapped anew, destroyed or deleted
    /// meanwhile are passed over.
    #[n(83)]
    RewrapDataKeys(#[n(0)] Vec<DataKeyRewrap>),
    /// Wraps a keyring key by the system key once more.
    #[n(84)]
    RewrapKeyringKey(#[n(0)] Box<KeyringKeyRewrap>),
    /// Anchors the head of a node's audit (`design §10`); only the system proposes it.
    #[n(90)]
    AnchorAuditHead(#[n(0)] AuditHead),
    /// Notes what the KMS says of itself; only the system proposes it, for who holds the KMS's
    /// certificate.
    #[n(96)]
    AttestKms(#[n(0)] Box<KmsAttestation>),
    /// Every member understands the commands of this level; only the system proposes it
    /// (`docs/upgrading.md`).
    #[n(97)]
    RaiseFeatureLevel {
        /// The new level; a lower one than the cluster's changes nothing.
        #[n(0)]
        level: u32,
    },
    /// Counts payload reads that a node has answered (`contract §7`); only the system proposes it.
    /// Numbers from here on are the meters'.
    #[n(100)]
    ReportReads(#[n(0)] Box<ReadReport>),
}

impl Command {
    /// A short name for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InitCluster(_) => "init_cluster",
            Self::CreateSecret(_) => "create_secret",
            Self::AddVersion(_) => "add_version",
            Self::SetCurrentVersion { .. } => "set_current_version",
            Self::UpdateSecret { .. } => "update_secret",
            Self::DeleteSecret { .. } => "delete_secret",
            Self::SetSecretStatus { .. } => "set_secret_status",
            Self::CreateServiceAccount(_) => "create_service_account",
            Self::CreateAuthorizedKey(_) => "create_authorized_key",
            Self::SetAccessBindings { .. } => "set_access_bindings",
            Self::UpdateAccessBindings { .. } => "update_access_bindings",
            Self::DeleteAuthorizedKey { .. } => "delete_authorized_key",
            Self::UpdateAuthorizedKey { .. } => "update_authorized_key",
            Self::ScheduleVersionDestruction { .. } => "schedule_version_destruction",
            Self::CancelVersionDestruction { .. } => "cancel_version_destruction",
            Self::UpdateServiceAccount { .. } => "update_service_account",
            Self::DeleteServiceAccount { .. } => "delete_service_account",
            Self::SetServiceAccountStatus { .. } => "set_service_account_status",
            Self::RevokeToken(_) => "revoke_token",
            Self::CreateCloud(_) => "create_cloud",
            Self::UpdateCloud { .. } => "update_cloud",
            Self::CreateFolder(_) => "create_folder",
            Self::UpdateFolder { .. } => "update_folder",
            Self::AdvanceTime => "advance_time",
            Self::DestroyVersion(_) => "destroy_version",
            Self::RecoverAdmin(_) => "recover_admin",
            Self::SetRetention { .. } => "set_retention",
            Self::BeginStateCheck => "begin_state_check",
            Self::ReportStateHash { .. } => "report_state_hash",
            Self::AnchorAuditHead(_) => "anchor_audit_head",
            Self::ReportReads(_) => "report_reads",
            Self::AttestKms(_) => "attest_kms",
            Self::RaiseFeatureLevel { .. } => "raise_feature_level",
            Self::AddKeyringKey(_) => "add_keyring_key",
            Self::ConfirmKeyringKey { .. } => "confirm_keyring_key",
            Self::StepKeyringKey { .. } => "step_keyring_key",
            Self::RewrapDataKeys(_) => "rewrap_data_keys",
            Self::RewrapKeyringKey(_) => "rewrap_keyring_key",
        }
    }

    /// Whether it makes an operation: what the cluster notes of itself does not.
    #[must_use]
    pub const fn makes_operation(&self) -> bool {
        !matches!(
            self,
            Self::AdvanceTime
                | Self::SetRetention { .. }
                | Self::BeginStateCheck
                | Self::ReportStateHash { .. }
                | Self::AnchorAuditHead(_)
                | Self::ReportReads(_)
                | Self::AttestKms(_)
                | Self::RaiseFeatureLevel { .. }
        )
    }
}
