//! The ways to switch reading off, each with what it takes and how it is given back.

use anyhow::Result;
use clap::ValueEnum;
use lockbox_proto::yandex::cloud::access::AccessBindingAction;
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::kms::v1 as kms;
use lockbox_proto::yandex::cloud::lockbox::v1 as secrets;
use serde::Serialize;

use iam::iam_token_service_client::IamTokenServiceClient;
use iam::service_account_service_client::ServiceAccountServiceClient;
use kms::symmetric_key_service_client::SymmetricKeyServiceClient;
use secrets::secret_service_client::SecretServiceClient;

use super::administrator::Administrator;
use super::making::{
    Place, bind, create_account, create_key, create_secret, issue_token, set_status,
};
use crate::lockbox::{Bearer, finished};

/// Reads payloads.
const VIEWER: &str = "lockbox.payloadViewer";
/// Opens what a key has sealed.
const DECRYPTER: &str = "kms.keys.decrypter";

/// A way to switch reading off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The key is disabled.
    KeyDisabled,
    /// The key is deleted, which takes effect at once and is final three days later.
    KeyDeleted,
    /// The version of the key that the secret was sealed with is scheduled for destruction.
    KeyVersionScheduled,
    /// The reader loses its role on the key.
    KeyBindingRemoved,
    /// The reader loses its role on the secret.
    SecretBindingRemoved,
    /// The reader loses its role on the folder.
    FolderBindingRemoved,
    /// The reader's token is revoked.
    TokenRevoked,
    /// The reader's account is suspended.
    AccountSuspended,
    /// The secret is deactivated.
    SecretDeactivated,
}

/// Who reads what.
pub(super) struct Subject {
    account_id: String,
    key_id: String,
    key_version_id: String,
    /// What is read.
    pub(super) secret_id: String,
    token: String,
    /// The reader's token, for its calls.
    pub(super) bearer: Bearer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::KeyDisabled,
        Self::KeyDeleted,
        Self::KeyVersionScheduled,
        Self::KeyBindingRemoved,
        Self::SecretBindingRemoved,
        Self::FolderBindingRemoved,
        Self::TokenRevoked,
        Self::AccountSuspended,
        Self::SecretDeactivated,
    ];

    /// The name in names and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyDisabled => "key-disabled",
            Self::KeyDeleted => "key-deleted",
            Self::KeyVersionScheduled => "key-version-scheduled",
            Self::KeyBindingRemoved => "key-binding-removed",
            Self::SecretBindingRemoved => "secret-binding-removed",
            Self::FolderBindingRemoved => "folder-binding-removed",
            Self::TokenRevoked => "token-revoked",
            Self::AccountSuspended => "account-suspended",
            Self::SecretDeactivated => "secret-deactivated",
        }
    }

    /// Makes a reader with the two rights that reading takes, its key and its secret.
    ///
    /// # Errors
    /// What the administrator was refused.
    pub(super) async fn prepare(self, by: &Administrator, number: usize) -> Result<Subject> {
        let name = by.name(self.name(), number);
        let account_id = create_account(by, &name).await?;
        let (key_id, key_version_id) = create_key(by, &name).await?;
        let secret_id = create_secret(by, &name, &key_id).await?;
        if self == Self::KeyVersionScheduled {
            // A primary version cannot be destroyed.
            let request = kms::RotateSymmetricKeyRequest { key_id: key_id.clone() };
            by.ask_kms(async |to| {
                finished(
                    SymmetricKeyServiceClient::new(to).rotate(request.clone()).await?.into_inner(),
                )
            })
            .await?;
        }
        let viewed = self.viewed(by, &secret_id);
        bind(by, None, viewed, VIEWER, &account_id, AccessBindingAction::Add).await?;
        let key = Place::Key(&key_id);
        bind(by, None, key, DECRYPTER, &account_id, AccessBindingAction::Add).await?;
        let token = issue_token(by, &account_id).await?;
        let bearer = Bearer::new(&token)?;
        Ok(Subject { account_id, key_id, key_version_id, secret_id, token, bearer })
    }

    /// Where the reader holds the right to the payload.
    fn viewed<'a>(self, by: &'a Administrator, secret_id: &'a str) -> Place<'a> {
        match self {
            Self::FolderBindingRemoved => Place::Folder(by.folder_id()),
            Self::KeyDisabled
            | Self::KeyDeleted
            | Self::KeyVersionScheduled
            | Self::KeyBindingRemoved
            | Self::SecretBindingRemoved
            | Self::TokenRevoked
            | Self::AccountSuspended
            | Self::SecretDeactivated => Place::Secret(secret_id),
        }
    }

    /// Switches reading off, while the node with this number is stopped.
    ///
    /// # Errors
    /// What the administrator was refused.
    pub(super) async fn take(
        self,
        by: &Administrator,
        subject: &Subject,
        stopped: usize,
    ) -> Result<()> {
        let key_id = subject.key_id.clone();
        let stopped = Some(stopped);
        match self {
            Self::KeyDisabled => set_status(by, key_id, kms::symmetric_key::Status::Inactive).await,
            Self::KeyDeleted => {
                let request = kms::DeleteSymmetricKeyRequest { key_id };
                let done = by.ask_kms(async |to| {
                    let mut keys = SymmetricKeyServiceClient::new(to);
                    finished(keys.delete(request.clone()).await?.into_inner())
                });
                done.await.map(drop)
            }
            Self::KeyVersionScheduled => {
                let request = kms::ScheduleSymmetricKeyVersionDestructionRequest {
                    key_id,
                    version_id: subject.key_version_id.clone(),
                    pending_period: None,
                };
                let done = by.ask_kms(async |to| {
                    let mut keys = SymmetricKeyServiceClient::new(to);
                    finished(keys.schedule_version_destruction(request.clone()).await?.into_inner())
                });
                done.await.map(drop)
            }
            Self::KeyBindingRemoved | Self::SecretBindingRemoved | Self::FolderBindingRemoved => {
                self.rebind(by, subject, stopped, AccessBindingAction::Remove).await
            }
            Self::TokenRevoked => {
                let request = iam::RevokeIamTokenRequest { iam_token: subject.token.clone() };
                let done = by.ask(stopped, async |to| {
                    IamTokenServiceClient::new(to).revoke(request.clone()).await
                });
                done.await.map(drop)
            }
            Self::AccountSuspended => {
                let request = iam::SuspendServiceAccountRequest {
                    service_account_id: subject.account_id.clone(),
                    ..Default::default()
                };
                let done = by.ask(stopped, async |to| {
                    let mut accounts = ServiceAccountServiceClient::new(to);
                    finished(accounts.suspend(request.clone()).await?.into_inner())
                });
                done.await.map(drop)
            }
            Self::SecretDeactivated => {
                let secret_id = subject.secret_id.clone();
                let request = secrets::DeactivateSecretRequest { secret_id };
                let done = by.ask(stopped, async |to| {
                    let mut secrets = SecretServiceClient::new(to);
                    finished(secrets.deactivate(request.clone()).await?.into_inner())
                });
                done.await.map(drop)
            }
        }
    }

    /// Switches reading on again; nothing where that cannot be.
    ///
    /// # Errors
    /// What the administrator was refused.
    pub(super) async fn give_back(
        self,
        by: &Administrator,
        mut subject: Subject,
    ) -> Result<Option<Subject>> {
        let key_id = subject.key_id.clone();
        match self {
            Self::KeyDisabled => set_status(by, key_id, kms::symmetric_key::Status::Active).await?,
            // Only an operator could restore it.
            Self::KeyDeleted => return Ok(None),
            Self::KeyVersionScheduled => {
                let version_id = subject.key_version_id.clone();
                let request =
                    kms::CancelSymmetricKeyVersionDestructionRequest { key_id, version_id };
                by.ask_kms(async |to| {
                    let mut keys = SymmetricKeyServiceClient::new(to);
                    finished(keys.cancel_version_destruction(request.clone()).await?.into_inner())
                })
                .await?;
            }
            Self::KeyBindingRemoved | Self::SecretBindingRemoved | Self::FolderBindingRemoved => {
                self.rebind(by, &subject, None, AccessBindingAction::Add).await?;
            }
            Self::TokenRevoked => {}
            Self::AccountSuspended => {
                let service_account_id = subject.account_id.clone();
                let request = iam::ReactivateServiceAccountRequest { service_account_id };
                by.ask(None, async |to| {
                    let mut accounts = ServiceAccountServiceClient::new(to);
                    finished(accounts.reactivate(request.clone()).await?.into_inner())
                })
                .await?;
            }
            Self::SecretDeactivated => {
                let request =
                    secrets::ActivateSecretRequest { secret_id: subject.secret_id.clone() };
                by.ask(None, async |to| {
                    let mut secrets = SecretServiceClient::new(to);
                    finished(secrets.activate(request.clone()).await?.into_inner())
                })
                .await?;
            }
        }
        if matches!(self, Self::TokenRevoked | Self::AccountSuspended) {
            subject.token = issue_token(by, &subject.account_id).await?;
            subject.bearer = Bearer::new(&subject.token)?;
        }
        Ok(Some(subject))
    }

    /// Takes the role that this is about, or gives it.
    async fn rebind(
        self,
        by: &Administrator,
        subject: &Subject,
        stopped: Option<usize>,
        action: AccessBindingAction,
    ) -> Result<()> {
        let (place, role) = match self {
            Self::KeyBindingRemoved => (Place::Key(&subject.key_id), DECRYPTER),
            Self::KeyDisabled
            | Self::KeyDeleted
            | Self::KeyVersionScheduled
            | Self::SecretBindingRemoved
            | Self::FolderBindingRemoved
            | Self::TokenRevoked
            | Self::AccountSuspended
            | Self::SecretDeactivated => (self.viewed(by, &subject.secret_id), VIEWER),
        };
        bind(by, stopped, place, role, &subject.account_id, action).await
    }
}
