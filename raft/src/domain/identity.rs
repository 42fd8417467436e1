//! Who and where: the cluster itself, clouds, folders, service accounts and their keys.

use std::collections::BTreeMap;

use lockbox_core::{
    AuthorizedKeyId, CloudId, ClusterId, FolderId, LogTime, OrganizationId, ServiceAccountId,
};
use minicbor::{Decode, Encode};

/// What `cluster init` made; written once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClusterRecord {
    /// The cluster's id, checked on every peer call.
    #[n(0)]
    pub id: ClusterId,
    /// When it was initialised, on the log's clock.
    #[n(1)]
    pub created_at: LogTime,
    /// The organization that owns everything in it.
    #[n(2)]
    pub organization_id: OrganizationId,
    /// The KMS key that wraps the keyring ("the common key").
    #[n(3)]
    pub system_key_id: String,
    /// The cluster whose backup this one was restored from, the first one of them: its id is in the
    /// associated data of the keyring's wraps. Absent in a cluster that was formed.
    #[n(4)]
    pub keyring_cluster: Option<ClusterId>,
}

impl ClusterRecord {
    /// The id that the wraps of the keyring are bound to.
    #[must_use]
    pub fn keyring_scope(&self) -> &ClusterId {
        self.keyring_cluster.as_ref().unwrap_or(&self.id)
    }
}

/// The ids that `cluster init` gave out, so that its repeat can answer the same.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FirstResources {
    /// The first cloud.
    #[n(0)]
    pub cloud_id: CloudId,
    /// The first folder.
    #[n(1)]
    pub folder_id: FolderId,
    /// The bootstrap administrator.
    #[n(2)]
    pub admin_id: ServiceAccountId,
    /// The administrator's first authorized key.
    #[n(3)]
    pub admin_key_id: AuthorizedKeyId,
}

/// A cloud.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CloudRecord {
    /// Its id.
    #[n(0)]
    pub id: CloudId,
    /// The organization that it belongs to.
    #[n(1)]
    pub organization_id: OrganizationId,
    /// Its name.
    #[n(2)]
    pub name: String,
    /// When it was created.
    #[n(3)]
    pub created_at: LogTime,
    /// Secrets in all its folders: what the quota of `contract §9` counts.
    #[n(4)]
    pub secrets: u32,
    /// Free text.
    #[n(5)]
    #[cbor(default)]
    pub description: String,
    /// Labels, ordered by key.
    #[n(6)]
    #[cbor(default)]
    pub labels: BTreeMap<String, String>,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FolderRecord {
    /// Its id.
    #[n(0)]
    pub id: FolderId,
    /// The cloud that it belongs to.
    #[n(1)]
    pub cloud_id: CloudId,
    /// Its name.
    #[n(2)]
    pub name: String,
    /// When it was created.
    #[n(3)]
    pub created_at: LogTime,
    /// Free text.
    #[n(4)]
    #[cbor(default)]
    pub description: String,
    /// Labels, ordered by key.
    #[n(5)]
    #[cbor(default)]
    pub labels: BTreeMap<String, String>,
}

/// `ServiceAccount.Status` of the contract, as far as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ServiceAccountStatus {
    /// May log in.
    #[n(2)]
    Active,
    /// Its tokens and keys do not work.
    #[n(3)]
    Suspended,
}

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ServiceAccountRecord {
    /// Its id.
    #[n(0)]
    pub id: ServiceAccountId,
    /// The folder that it lives in.
    #[n(1)]
    pub folder_id: FolderId,
    /// When it was created.
    #[n(2)]
    pub created_at: LogTime,
    /// Its name, unique within the cloud (`contract §1.11`).
    #[n(3)]
    pub name: String,
    /// Free text.
    #[n(4)]
    pub description: String,
    /// Labels, ordered by key.
    #[n(5)]
    pub labels: BTreeMap<String, String>,
    /// Whether it may log in.
    #[n(6)]
    pub status: ServiceAccountStatus,
    /// After this point it may not log in.
    #[n(7)]
    pub expires_at: Option<LogTime>,
    /// The log index that created it: its place in lists.
    #[n(8)]
    pub sequence: u64,
}

/// `Key.Algorithm` of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyAlgorithm {
    /// RSA with a 2048-bit modulus.
    #[n(1)]
    Rsa2048,
    /// RSA with a 4096-bit modulus.
    #[n(2)]
    Rsa4096,
}

/// The public half of an authorized key; the private half is returned once and never stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuthorizedKeyRecord {
    /// Its id, the `kid` of JWTs.
    #[n(0)]
    pub id: AuthorizedKeyId,
    /// Whose it is.
    #[n(1)]
    pub service_account_id: ServiceAccountId,
    /// When it was created.
    #[n(2)]
    pub created_at: LogTime,
    /// Free text.
    #[n(3)]
    pub description: String,
    /// How it signs.
    #[n(4)]
    pub algorithm: KeyAlgorithm,
    /// SubjectPublicKeyInfo in PEM.
    #[n(5)]
    pub public_key_pem: String,
    /// The log index that created it: its place in lists.
    #[n(6)]
    pub sequence: u64,
}
