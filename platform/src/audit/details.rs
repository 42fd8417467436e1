//! The events of the audit: one variant for each, with its details (`contract §6.1`, `§6.3`).
//!
//! INVARIANT: no variant holds the value of an entry, a plaintext, a ciphertext, a token or a
//! private key.

use std::collections::BTreeMap;

use serde::Serialize;

pub use crate::audit::key_details::{
    AccessBindingsDetails, AuthorizedKeyDetails, Binding, BindingAction, BindingDelta,
    CryptoDetails, IamTokenDetails, KeyVersionDetails, LedgerPlace, ReEncryptDetails,
    ServiceAccountDetails, SymmetricKeyDetails,
};
use crate::audit::record::EventSource;
pub use crate::audit::secret_details::{
    AddVersionDetails, DeltaType, EntryDelta, PayloadDetails, SecretDetails,
    SetCurrentVersionDetails, VersionDestructionDetails, VersionDetails,
};

/// A call that the contract lists no event for: reads of metadata, and what is not built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestDetails {
    /// The service.
    #[serde(skip)]
    pub source: EventSource,
    /// The event's name, for example `GetSecret`.
    #[serde(skip)]
    pub event_name: &'static str,
    /// The ids that the request named, by field.
    #[serde(flatten)]
    pub ids: BTreeMap<&'static str, String>,
}

/// What happened: one variant for each event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the variants are the event names of contract §6.1, and ours")]
pub enum AuditDetails {
    CreateSecret(SecretDetails),
    UpdateSecret(SecretDetails),
    DeleteSecret(SecretDetails),
    ActivateSecret(SecretDetails),
    DeactivateSecret(SecretDetails),
    AddVersion(AddVersionDetails),
    SetCurrentVersion(SetCurrentVersionDetails),
    ScheduleVersionDestruction(VersionDestructionDetails),
    CancelVersionDestruction(VersionDestructionDetails),
    SetSecretAccessBindings(AccessBindingsDetails),
    UpdateSecretAccessBindings(AccessBindingsDetails),
    GetPayload(PayloadDetails),
    GetPayloadEx(PayloadDetails),
    CreateSymmetricKey(SymmetricKeyDetails),
    UpdateSymmetricKey(SymmetricKeyDetails),
    RotateSymmetricKey(SymmetricKeyDetails),
    DeleteSymmetricKey(SymmetricKeyDetails),
    CancelDeleteSymmetricKey(SymmetricKeyDetails),
    SetPrimarySymmetricKeyVersion(KeyVersionDetails),
    ScheduleSymmetricKeyVersionDestruction(KeyVersionDetails),
    CancelSymmetricKeyVersionDestruction(KeyVersionDetails),
    Encrypt(CryptoDetails),
    Decrypt(CryptoDetails),
    ReEncrypt(ReEncryptDetails),
    GenerateDataKey(CryptoDetails),
    SetSymmetricKeyAccessBindings(AccessBindingsDetails),
    UpdateSymmetricKeyAccessBindings(AccessBindingsDetails),
    SetCloudAccessBindings(AccessBindingsDetails),
    UpdateCloudAccessBindings(AccessBindingsDetails),
    SetFolderAccessBindings(AccessBindingsDetails),
    UpdateFolderAccessBindings(AccessBindingsDetails),
    SetServiceAccountAccessBindings(AccessBindingsDetails),
    UpdateServiceAccountAccessBindings(AccessBindingsDetails),
    UpdateBindings(AccessBindingsDetails),
    CreateIamToken(IamTokenDetails),
    CreateServiceAccount(ServiceAccountDetails),
    CreateKey(AuthorizedKeyDetails),
    Request(RequestDetails),
}

impl AuditDetails {
    /// The event's name (`contract §6.1`).
    #[must_use]
    pub const fn event_name(&self) -> &'static str {
        match self {
            Self::CreateSecret(_) => "CreateSecret",
            Self::UpdateSecret(_) => "UpdateSecret",
            Self::DeleteSecret(_) => "DeleteSecret",
            Self::ActivateSecret(_) => "ActivateSecret",
            Self::DeactivateSecret(_) => "DeactivateSecret",
            Self::AddVersion(_) => "AddVersion",
            Self::SetCurrentVersion(_) => "SetCurrentVersion",
            Self::ScheduleVersionDestruction(_) => "ScheduleVersionDestruction",
            Self::CancelVersionDestruction(_) => "CancelVersionDestruction",
            Self::SetSecretAccessBindings(_) => "SetSecretAccessBindings",
            Self::UpdateSecretAccessBindings(_) => "UpdateSecretAccessBindings",
            Self::GetPayload(_) => "GetPayload",
            Self::GetPayloadEx(_) => "GetPayloadEx",
            Self::CreateSymmetricKey(_) => "CreateSymmetricKey",
            Self::UpdateSymmetricKey(_) => "UpdateSymmetricKey",
            Self::RotateSymmetricKey(_) => "RotateSymmetricKey",
            Self::DeleteSymmetricKey(_) => "DeleteSymmetricKey",
            Self::CancelDeleteSymmetricKey(_) => "CancelDeleteSymmetricKey",
            Self::SetPrimarySymmetricKeyVersion(_) => "SetPrimarySymmetricKeyVersion",
            Self::ScheduleSymmetricKeyVersionDestruction(_) => {
                "ScheduleSymmetricKeyVersionDestruction"
            }
            Self::CancelSymmetricKeyVersionDestruction(_) => "CancelSymmetricKeyVersionDestruction",
            Self::Encrypt(_) => "Encrypt",
            Self::Decrypt(_) => "Decrypt",
            Self::ReEncrypt(_) => "ReEncrypt",
            Self::GenerateDataKey(_) => "GenerateDataKey",
            Self::SetSymmetricKeyAccessBindings(_) => "SetSymmetricKeyAccessBindings",
            Self::UpdateSymmetricKeyAccessBindings(_) => "UpdateSymmetricKeyAccessBindings",
            Self::SetCloudAccessBindings(_) => "SetCloudAccessBindings",
            Self::UpdateCloudAccessBindings(_) => "UpdateCloudAccessBindings",
            Self::SetFolderAccessBindings(_) => "SetFolderAccessBindings",
            Self::UpdateFolderAccessBindings(_) => "UpdateFolderAccessBindings",
            Self::SetServiceAccountAccessBindings(_) => "SetServiceAccountAccessBindings",
            Self::UpdateServiceAccountAccessBindings(_) => "UpdateServiceAccountAccessBindings",
            Self::UpdateBindings(_) => "UpdateBindings",
            Self::CreateIamToken(_) => "CreateIamToken",
            Self::CreateServiceAccount(_) => "CreateServiceAccount",
            Self::CreateKey(_) => "CreateKey",
            Self::Request(request) => request.event_name,
        }
    }

    /// The key of a crypto call; for a re-encryption the target.
    #[must_use]
    pub const fn crypto(&self) -> Option<&CryptoDetails> {
        match self {
            Self::Encrypt(details) | Self::Decrypt(details) | Self::GenerateDataKey(details) => {
                Some(details)
            }
            Self::ReEncrypt(details) => Some(&details.target),
            _ => None,
        }
    }

    /// The service that the event belongs to.
    #[must_use]
    pub const fn source(&self) -> EventSource {
        match self {
            Self::CreateSecret(_)
            | Self::UpdateSecret(_)
            | Self::DeleteSecret(_)
            | Self::ActivateSecret(_)
            | Self::DeactivateSecret(_)
            | Self::AddVersion(_)
            | Self::SetCurrentVersion(_)
            | Self::ScheduleVersionDestruction(_)
            | Self::CancelVersionDestruction(_)
            | Self::SetSecretAccessBindings(_)
            | Self::UpdateSecretAccessBindings(_)
            | Self::GetPayload(_)
            | Self::GetPayloadEx(_) => EventSource::Lockbox,
            Self::CreateSymmetricKey(_)
            | Self::UpdateSymmetricKey(_)
            | Self::RotateSymmetricKey(_)
            | Self::DeleteSymmetricKey(_)
            | Self::CancelDeleteSymmetricKey(_)
            | Self::SetPrimarySymmetricKeyVersion(_)
            | Self::ScheduleSymmetricKeyVersionDestruction(_)
            | Self::CancelSymmetricKeyVersionDestruction(_)
            | Self::Encrypt(_)
            | Self::Decrypt(_)
            | Self::ReEncrypt(_)
            | Self::GenerateDataKey(_)
            | Self::SetSymmetricKeyAccessBindings(_)
            | Self::UpdateSymmetricKeyAccessBindings(_) => EventSource::Kms,
            Self::SetCloudAccessBindings(_)
            | Self::UpdateCloudAccessBindings(_)
            | Self::SetFolderAccessBindings(_)
            | Self::UpdateFolderAccessBindings(_) => EventSource::ResourceManager,
            Self::SetServiceAccountAccessBindings(_)
            | Self::UpdateServiceAccountAccessBindings(_)
            | Self::UpdateBindings(_)
            | Self::CreateIamToken(_)
            | Self::CreateServiceAccount(_)
            | Self::CreateKey(_) => EventSource::Iam,
            Self::Request(request) => request.source,
        }
    }
}
