//! What the kill switch is tried on: accounts, keys, secrets, and the roles that join them.

use anyhow::{Context, Result};
use lockbox_proto::yandex::cloud::access::{
    AccessBinding, AccessBindingAction, AccessBindingDelta, Subject, UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::kms::v1 as kms;
use lockbox_proto::yandex::cloud::lockbox::v1 as secrets;
use lockbox_proto::yandex::cloud::resourcemanager::v1::folder_service_client::FolderServiceClient;
use prost_types::FieldMask;

use iam::iam_token_service_client::IamTokenServiceClient;
use iam::service_account_service_client::ServiceAccountServiceClient;
use kms::symmetric_key_service_client::SymmetricKeyServiceClient;
use secrets::secret_service_client::SecretServiceClient;

use super::administrator::Administrator;
use crate::lockbox::{finished, set_value};

/// Length of the value that is read, in bytes.
const VALUE_BYTES: usize = 64;

/// Where a role is bound.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// On a secret.
    Secret(&'a str),
    /// On a folder.
    Folder(&'a str),
    /// On a key of the KMS.
    Key(&'a str),
}

/// Gives an account a role, or takes it.
///
/// # Errors
/// What the administrator was refused.
pub(super) async fn bind(
    by: &Administrator,
    stopped: Option<usize>,
    place: Place<'_>,
    role: &str,
    account_id: &str,
    action: AccessBindingAction,
) -> Result<()> {
    let resource_id = match place {
        Place::Secret(id) | Place::Folder(id) | Place::Key(id) => id.to_owned(),
    };
    let subject = Subject { id: account_id.to_owned(), r#type: "serviceAccount".to_owned() };
    let binding = AccessBinding { role_id: role.to_owned(), subject: Some(subject) };
    let delta = AccessBindingDelta { action: action.into(), access_binding: Some(binding) };
    let request = UpdateAccessBindingsRequest { resource_id, access_binding_deltas: vec![delta] };
    let done = match place {
        Place::Secret(_) => {
            by.ask(stopped, async |to| {
                let mut secrets = SecretServiceClient::new(to);
                finished(secrets.update_access_bindings(request.clone()).await?.into_inner())
            })
            .await
        }
        Place::Folder(_) => {
            by.ask(stopped, async |to| {
                let mut folders = FolderServiceClient::new(to);
                finished(folders.update_access_bindings(request.clone()).await?.into_inner())
            })
            .await
        }
        Place::Key(_) => {
            by.ask_kms(async |to| {
                let mut keys = SymmetricKeyServiceClient::new(to);
                finished(keys.update_access_bindings(request.clone()).await?.into_inner())
            })
            .await
        }
    };
    done.map(drop)
}

/// Enables or disables a key.
///
/// # Errors
/// What the administrator was refused.
pub(super) async fn set_status(
    by: &Administrator,
    key_id: String,
    status: kms::symmetric_key::Status,
) -> Result<()> {
    let request = kms::UpdateSymmetricKeyRequest {
        key_id,
        update_mask: Some(FieldMask { paths: vec!["status".to_owned()] }),
        status: status.into(),
        ..Default::default()
    };
    let done = by.ask_kms(async |to| {
        finished(SymmetricKeyServiceClient::new(to).update(request.clone()).await?.into_inner())
    });
    done.await.map(drop)
}

/// A service account without rights; its id.
///
/// # Errors
/// What the administrator was refused.
pub(super) async fn create_account(by: &Administrator, name: &str) -> Result<String> {
    let (folder_id, name) = (by.folder_id().to_owned(), name.to_owned());
    let request = iam::CreateServiceAccountRequest { folder_id, name, ..Default::default() };
    let done = by.ask(None, async |to| {
        finished(ServiceAccountServiceClient::new(to).create(request.clone()).await?.into_inner())
    });
    let metadata = done.await?.metadata.context("the operation has no metadata")?;
    let metadata: iam::CreateServiceAccountMetadata = metadata.to_msg()?;
    Ok(metadata.service_account_id)
}

/// A key and its first version.
///
/// # Errors
/// What the administrator was refused.
pub(super) async fn create_key(by: &Administrator, name: &str) -> Result<(String, String)> {
    let request = kms::CreateSymmetricKeyRequest {
        folder_id: by.folder_id().to_owned(),
        name: name.to_owned(),
        default_algorithm: kms::SymmetricAlgorithm::Aes256 as i32,
        ..Default::default()
    };
    let done = by.ask_kms(async |to| {
        finished(SymmetricKeyServiceClient::new(to).create(request.clone()).await?.into_inner())
    });
    let metadata = done.await?.metadata.context("the operation has no metadata")?;
    let metadata: kms::CreateSymmetricKeyMetadata = metadata.to_msg()?;
    Ok((metadata.key_id, metadata.primary_version_id))
}

/// A secret with a version, sealed under this key; its id.
///
/// # Errors
/// What the administrator was refused.
pub(super) async fn create_secret(by: &Administrator, name: &str, key_id: &str) -> Result<String> {
    let request = secrets::CreateSecretRequest {
        folder_id: by.folder_id().to_owned(),
        name: name.to_owned(),
        kms_key_id: key_id.to_owned(),
        version_payload_entries: set_value(crate::sample::value(VALUE_BYTES)),
        ..Default::default()
    };
    let done = by.ask(None, async |to| {
        finished(SecretServiceClient::new(to).create(request.clone()).await?.into_inner())
    });
    let metadata = done.await?.metadata.context("the operation has no metadata")?;
    let metadata: secrets::CreateSecretMetadata = metadata.to_msg()?;
    Ok(metadata.secret_id)
}

/// A token of an account.
///
/// # Errors
/// What the administrator was refused.
pub(super) async fn issue_token(by: &Administrator, account_id: &str) -> Result<String> {
    let service_account_id = account_id.to_owned();
    let request = iam::CreateIamTokenForServiceAccountRequest { service_account_id };
    let issued = by.ask(None, async |to| {
        IamTokenServiceClient::new(to).create_for_service_account(request.clone()).await
    });
    Ok(issued.await?.into_inner().iam_token)
}
