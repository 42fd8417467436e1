//! Operations: the record of one mutation, kept so that it can be read again and repeated.

use std::fmt;

use lockbox_core::{
    AuthorizedKeyId, CloudId, FolderId, LogTime, OperationId, RequestId, ResourceRef, SecretId,
    ServiceAccountId, Subject, TokenId, VersionId,
};
use minicbor::{Decode, Encode};

use super::binding::BindingDelta;
use super::identity::{AuthorizedKeyRecord, CloudRecord, FolderRecord, ServiceAccountRecord};
use super::secret::SecretRecord;
use super::version::VersionRecord;

/// Which mutation, with the ids that the operation's metadata carries (`contract §1`).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum OperationMetadata {
    /// `SecretService.Create`.
    #[n(0)]
    CreateSecret {
        /// The new secret.
        #[n(0)]
        secret_id: SecretId,
        /// Its first version, when one was made.
        #[n(1)]
        version_id: Option<VersionId>,
    },
    /// `SecretService.Update`.
    #[n(1)]
    UpdateSecret {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
    },
    /// `SecretService.Delete`.
    #[n(2)]
    DeleteSecret {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
    },
    /// `SecretService.Activate`.
    #[n(3)]
    ActivateSecret {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
    },
    /// `SecretService.Deactivate`.
    #[n(4)]
    DeactivateSecret {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
    },
    /// `SecretService.AddVersion`.
    #[n(5)]
    AddVersion {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// The new version.
        #[n(1)]
        version_id: VersionId,
        /// The version that was current before; for the audit record.
        #[n(2)]
        previous_version_id: Option<VersionId>,
    },
    /// `SecretService.SetCurrentVersion`.
    #[n(6)]
    SetCurrentVersion {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// The version that is current now.
        #[n(1)]
        version_id: VersionId,
        /// The version that was current before; for the audit record.
        #[n(2)]
        previous_version_id: Option<VersionId>,
    },
    /// `ServiceAccountService.Create`.
    #[n(7)]
    CreateServiceAccount {
        /// The new service account.
        #[n(0)]
        service_account_id: ServiceAccountId,
    },
    /// `KeyService.Create`; answers without an operation on the wire.
    #[n(8)]
    CreateAuthorizedKey {
        /// The new key.
        #[n(0)]
        key_id: AuthorizedKeyId,
    },
    /// `SetAccessBindings` on any resource.
    #[n(9)]
    SetAccessBindings {
        /// The resource.
        #[n(0)]
        resource: ResourceRef,
    },
    /// `UpdateAccessBindings` on any resource.
    #[n(10)]
    UpdateAccessBindings {
        /// The resource.
        #[n(0)]
        resource: ResourceRef,
    },
    /// `cluster init`.
    #[n(11)]
    InitCluster,
    /// `cluster recover-admin`.
    #[n(40)]
    RecoverAdmin {
        /// The administrator's key.
        #[n(0)]
        key_id: AuthorizedKeyId,
        /// The keys that it had before, and has no more.
        #[n(1)]
        deleted_key_ids: Vec<AuthorizedKeyId>,
    },
    /// A step of the keyring's protocol.
    #[n(12)]
    ChangeKeyring {
        /// The keyring key.
        #[n(0)]
        keyring_key_id: u32,
    },
    /// `KeyService.Delete`.
    #[n(13)]
    DeleteAuthorizedKey {
        /// The key that is gone.
        #[n(0)]
        key_id: AuthorizedKeyId,
    },
    /// `SecretService.ScheduleVersionDestruction`.
    #[n(14)]
    ScheduleVersionDestruction {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// The version.
        #[n(1)]
        version_id: VersionId,
        /// When it will be destroyed, on the log's clock.
        #[n(2)]
        destroy_at: LogTime,
    },
    /// `SecretService.CancelVersionDestruction`.
    #[n(15)]
    CancelVersionDestruction {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// The version.
        #[n(1)]
        version_id: VersionId,
    },
    /// The destruction that was scheduled; the cluster's own doing.
    #[n(16)]
    DestroyVersion {
        /// The secret.
        #[n(0)]
        secret_id: SecretId,
        /// The version that is no more.
        #[n(1)]
        version_id: VersionId,
    },
    /// `ServiceAccountService.Update`.
    #[n(18)]
    UpdateServiceAccount {
        /// The account.
        #[n(0)]
        service_account_id: ServiceAccountId,
    },
    /// `ServiceAccountService.Delete`.
    #[n(19)]
    DeleteServiceAccount {
        /// The account.
        #[n(0)]
        service_account_id: ServiceAccountId,
    },
    /// `ServiceAccountService.Suspend`.
    #[n(20)]
    SuspendServiceAccount {
        /// The account.
        #[n(0)]
        service_account_id: ServiceAccountId,
    },
    /// `ServiceAccountService.Reactivate`.
    #[n(21)]
    ReactivateServiceAccount {
        /// The account.
        #[n(0)]
        service_account_id: ServiceAccountId,
    },
    /// `KeyService.Update`.
    #[n(22)]
    UpdateAuthorizedKey {
        /// The key.
        #[n(0)]
        key_id: AuthorizedKeyId,
    },
    /// `FolderService.Create`.
    #[n(23)]
    CreateFolder {
        /// The new folder.
        #[n(0)]
        folder_id: FolderId,
    },
    /// `FolderService.Update`.
    #[n(24)]
    UpdateFolder {
        /// The folder.
        #[n(0)]
        folder_id: FolderId,
    },
    /// `CloudService.Create`.
    #[n(25)]
    CreateCloud {
        /// The new cloud.
        #[n(0)]
        cloud_id: CloudId,
    },
    /// `CloudService.Update`.
    #[n(26)]
    UpdateCloud {
        /// The cloud.
        #[n(0)]
        cloud_id: CloudId,
    },
    /// `IamTokenService.Revoke`; answers without an operation on the wire.
    #[n(17)]
    RevokeToken {
        /// The token.
        #[n(0)]
        token_id: TokenId,
    },
}

impl OperationMetadata {
    /// Whether callers see it as an operation: not what answers with something else, nor what the
    /// cluster does by itself.
    #[must_use]
    pub const fn is_listed(&self) -> bool {
        !matches!(
            self,
            Self::CreateAuthorizedKey { .. }
                | Self::InitCluster
                | Self::RecoverAdmin { .. }
                | Self::DestroyVersion { .. }
                | Self::RevokeToken { .. }
                | Self::ChangeKeyring { .. }
        )
    }

    /// The authorized key that it is about.
    #[must_use]
    pub const fn key_id(&self) -> Option<&AuthorizedKeyId> {
        match self {
            Self::CreateAuthorizedKey { key_id }
            | Self::UpdateAuthorizedKey { key_id }
            | Self::DeleteAuthorizedKey { key_id } => Some(key_id),
            _ => None,
        }
    }
}

/// A secret together with its current version, as responses show it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SecretSnapshot {
    /// The secret.
    #[n(0)]
    pub secret: SecretRecord,
    /// Its current version, when it has one.
    #[n(1)]
    pub current_version: Option<VersionRecord>,
}

/// What the mutation answered with: resources as they were at that index.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum OperationResult {
    /// `google.protobuf.Empty`.
    #[n(0)]
    Empty,
    /// A secret.
    #[n(1)]
    Secret(#[n(0)] Box<SecretSnapshot>),
    /// A version.
    #[n(2)]
    Version(#[n(0)] Box<VersionRecord>),
    /// A service account.
    #[n(3)]
    ServiceAccount(#[n(0)] Box<ServiceAccountRecord>),
    /// An authorized key.
    #[n(4)]
    AuthorizedKey(#[n(0)] Box<AuthorizedKeyRecord>),
    /// The changes of bindings that had an effect.
    #[n(5)]
    Bindings(#[n(0)] Vec<BindingDelta>),
    /// A folder.
    #[n(6)]
    Folder(#[n(0)] Box<FolderRecord>),
    /// A cloud.
    #[n(7)]
    Cloud(#[n(0)] Box<CloudRecord>),
}

/// The stored form of an operation. Holds no value.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct OperationRecord {
    /// Its id.
    #[n(0)]
    pub id: OperationId,
    /// One line for people.
    #[n(1)]
    pub description: String,
    /// When it was applied, on the log's clock; mutations complete at once.
    #[n(2)]
    pub created_at: LogTime,
    /// Who asked for it.
    #[n(3)]
    pub created_by: Subject,
    /// The resource whose readers may read it.
    #[n(4)]
    pub resource: ResourceRef,
    /// Which mutation.
    #[n(5)]
    pub metadata: OperationMetadata,
    /// What it answered with.
    #[n(6)]
    pub result: OperationResult,
    /// The log index that it was applied at.
    #[n(7)]
    pub index: u64,
    /// The proposal that made it: another copy of the same proposal has no second effect.
    #[n(8)]
    pub request_id: RequestId,
    /// The term of the entry that it was applied from: with the index, what a repeat is answered
    /// with as its place in the log.
    #[n(9)]
    pub term: u64,
}

impl fmt::Debug for OperationRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {} at {} ({:?})", self.id, self.index, self.metadata)
    }
}
