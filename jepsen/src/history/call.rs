//! What a client asked for. A feature that lands later adds a variant here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{
    EntryKey, FolderId, KmsKeyId, PageToken, SecretId, Subject, TokenId, ValueHash, VersionId,
    WalkId,
};

/// One request, with hashes in place of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// `SecretService.Create`.
    CreateSecret(CreateSecret),
    /// `SecretService.AddVersion`.
    AddVersion(AddVersion),
    /// `SecretService.SetCurrentVersion`.
    SetCurrentVersion(OnVersion),
    /// `SecretService.ScheduleVersionDestruction`.
    ScheduleDestruction(ScheduleDestruction),
    /// `SecretService.CancelVersionDestruction`.
    CancelDestruction(OnVersion),
    /// `SecretService.Activate`.
    Activate(OnSecret),
    /// `SecretService.Deactivate`.
    Deactivate(OnSecret),
    /// `SecretService.Delete`.
    DeleteSecret(OnSecret),
    /// `SecretService.Update`.
    UpdateSecret(UpdateSecret),
    /// `SecretService.UpdateAccessBindings` with one delta.
    ChangeBinding(ChangeBinding),
    /// `IamTokenService.Revoke`.
    RevokeToken(RevokeToken),
    /// `SecretService.Get`.
    GetSecret(ReadSecret),
    /// `SecretService.ListVersions`, the first page only: pages reflect different indexes.
    ListVersions(ReadSecret),
    /// `PayloadService.Get`.
    GetPayload(GetPayload),
    /// `SecretService.List`, one page.
    ListSecrets(ListSecrets),
}

/// What a new secret is asked to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSecret {
    /// The folder; without one that of the run. Each folder that is named here is the only one of
    /// a cloud of its own, whose quota is [`crate::model::quota::SECRETS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderId>,
    /// Name; a run gives each secret its own, so that a creation without an answer can be found.
    pub name: String,
    /// Own KMS key; without it the common system key is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<KmsKeyId>,
    /// Whether deletion is refused until the flag is taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletion_protection: bool,
    /// The first version; without it the secret has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<FirstVersion>,
}

/// The version that is made together with its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstVersion {
    /// Description of the version; see [`AddVersion::description`].
    pub description: String,
    /// Entries in the order of the request; each must set a value (`contract §2.5`).
    pub entries: Vec<EntryChange>,
}

/// A delta on a base (`contract §2.6`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddVersion {
    /// The secret.
    pub secret: SecretId,
    /// Base version; without one the current version while it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<VersionId>,
    /// Changes in the order of the request.
    pub changes: Vec<EntryChange>,
    /// Description of the version, unique in the run (the client writes the operation's id): it
    /// tells which operation made a version when no answer arrived.
    pub description: String,
    /// `x-if-version`: refuse unless this version is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<VersionId>,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryChange {
    /// The key.
    pub key: EntryKey,
    /// Hash of the new value; absent removes the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueHash>,
}

/// A mutation that names a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnVersion {
    /// The secret.
    pub secret: SecretId,
    /// The version.
    pub version: VersionId,
    /// `x-if-version`: refuse unless this version is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<VersionId>,
}

/// A mutation that names a secret and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnSecret {
    /// The secret.
    pub secret: SecretId,
    /// `x-if-version`: refuse unless this version is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<VersionId>,
}

/// Asks for the destruction of a version after a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleDestruction {
    /// The secret.
    pub secret: SecretId,
    /// The version.
    pub version: VersionId,
    /// Pending period in milliseconds; absent asks for the default of seven days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_ms: Option<u64>,
    /// `x-if-version`: refuse unless this version is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<VersionId>,
}

/// Fields to change; an absent one is not in the mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateSecret {
    /// The secret.
    pub secret: SecretId,
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// New labels, all of them (`contract §2.7`: replaced, never merged).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// New protection against deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_protection: Option<bool>,
    /// `x-if-version`: refuse unless this version is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<VersionId>,
}

/// Grants or takes a role on a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeBinding {
    /// The secret.
    pub secret: SecretId,
    /// Role id, such as `lockbox.payloadViewer`.
    pub role: String,
    /// Who gets or loses it.
    pub member: Subject,
    /// Whether it is granted; else taken.
    pub grant: bool,
}

/// Ends a token before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// The token.
    pub token: TokenId,
}

/// A metadata read of one secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadSecret {
    /// The secret.
    pub secret: SecretId,
}

/// A payload read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetPayload {
    /// The secret.
    pub secret: SecretId,
    /// The version; absent asks for the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
}

/// A page of a folder's secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListSecrets {
    /// The folder.
    pub folder: FolderId,
    /// The walk whose next page this is.
    pub walk: WalkId,
    /// The most secrets of the page; from 1 to 1000 (`contract §2.11`).
    pub page_size: u32,
    /// Where the page before it ended; absent asks for the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<PageToken>,
}

impl Call {
    /// Name of the call as the history writes it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateSecret(_) => "create_secret",
            Self::AddVersion(_) => "add_version",
            Self::SetCurrentVersion(_) => "set_current_version",
            Self::ScheduleDestruction(_) => "schedule_destruction",
            Self::CancelDestruction(_) => "cancel_destruction",
            Self::Activate(_) => "activate",
            Self::Deactivate(_) => "deactivate",
            Self::DeleteSecret(_) => "delete_secret",
            Self::UpdateSecret(_) => "update_secret",
            Self::ChangeBinding(_) => "change_binding",
            Self::RevokeToken(_) => "revoke_token",
            Self::GetSecret(_) => "get_secret",
            Self::ListVersions(_) => "list_versions",
            Self::GetPayload(_) => "get_payload",
            Self::ListSecrets(_) => "list_secrets",
        }
    }

    /// Whether the call may change the state.
    #[must_use]
    pub const fn is_mutation(&self) -> bool {
        !matches!(
            self,
            Self::GetSecret(_) | Self::ListVersions(_) | Self::GetPayload(_) | Self::ListSecrets(_)
        )
    }

    /// The secret that the call names; none for a creation, whose answer names it, for a list of
    /// secrets, and for the end of a token.
    #[must_use]
    pub const fn secret(&self) -> Option<&SecretId> {
        match self {
            Self::CreateSecret(_) | Self::RevokeToken(_) | Self::ListSecrets(_) => None,
            Self::AddVersion(call) => Some(&call.secret),
            Self::SetCurrentVersion(call) | Self::CancelDestruction(call) => Some(&call.secret),
            Self::ScheduleDestruction(call) => Some(&call.secret),
            Self::Activate(call) | Self::Deactivate(call) | Self::DeleteSecret(call) => {
                Some(&call.secret)
            }
            Self::UpdateSecret(call) => Some(&call.secret),
            Self::ChangeBinding(call) => Some(&call.secret),
            Self::GetSecret(call) | Self::ListVersions(call) => Some(&call.secret),
            Self::GetPayload(call) => Some(&call.secret),
        }
    }

    /// The version whose being current the call demands (`x-if-version`).
    #[must_use]
    pub const fn if_version(&self) -> Option<&VersionId> {
        match self {
            Self::AddVersion(call) => call.if_version.as_ref(),
            Self::SetCurrentVersion(call) | Self::CancelDestruction(call) => {
                call.if_version.as_ref()
            }
            Self::ScheduleDestruction(call) => call.if_version.as_ref(),
            Self::Activate(call) | Self::Deactivate(call) | Self::DeleteSecret(call) => {
                call.if_version.as_ref()
            }
            Self::UpdateSecret(call) => call.if_version.as_ref(),
            Self::CreateSecret(_)
            | Self::ChangeBinding(_)
            | Self::RevokeToken(_)
            | Self::GetSecret(_)
            | Self::ListVersions(_)
            | Self::GetPayload(_)
            | Self::ListSecrets(_) => None,
        }
    }
}
