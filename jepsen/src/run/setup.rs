//! What has to be there before the first operation: a token, and a KMS key for the secrets that
//! have one of their own.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use lockbox_proto::yandex::cloud::kms::v1 as kms;
use lockbox_proto::yandex::cloud::operation::operation;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::site::Site;
use super::wall_clock::since_epoch;
use crate::client::account_key::{AccountKey, Token};
use crate::history::ids::KmsKeyId;

/// Where a ready token is found; an argument would show in the list of processes.
const TOKEN_VARIABLE: &str = "LOCKBOX_TOKEN";
/// Between two logins; a token lives twelve hours.
const RENEW_EVERY: Duration = Duration::from_secs(600);
/// Between two tries when nobody gives a token: then a fault is on.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Who the run is, and how it stays that.
#[derive(Debug)]
pub struct Login {
    /// What calls carry.
    pub token: Token,
    /// None when the token was given ready: then it is not ours to renew.
    administrator: Option<AccountKey>,
}

impl Login {
    /// Logs in with the administrator's key, or takes the token of `LOCKBOX_TOKEN`.
    ///
    /// # Errors
    /// When there is neither, or no node gives a token.
    pub async fn new(site: &Site) -> Result<Self> {
        if let Ok(token) = std::env::var(TOKEN_VARIABLE).map(Zeroizing::new) {
            return Ok(Self { token: Token::new(&token)?, administrator: None });
        }
        let administrator = AccountKey::from_file(&site.admin_key)?;
        let token = log_in(&administrator, site).await?;
        Ok(Self { token: Token::new(&token)?, administrator: Some(administrator) })
    }

    /// Renews the token until told to stop.
    ///
    /// # Errors
    /// When a new token is none, or the certificates cannot be used any more.
    pub async fn renew(self, site: Site, stop: CancellationToken) -> Result<()> {
        let Some(administrator) = self.administrator else { return Ok(()) };
        let mut pause = RENEW_EVERY;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep(pause) => {}
            }
            pause = match log_in(&administrator, &site).await {
                Ok(token) => {
                    self.token.replace(&token)?;
                    RENEW_EVERY
                }
                // A fault is on; the old token is good for hours.
                Err(_) => TRY_AGAIN,
            };
        }
    }
}

async fn log_in(administrator: &AccountKey, site: &Site) -> Result<Zeroizing<String>> {
    administrator.log_in(&site.login_dialers()?, since_epoch().as_secs()).await
}

/// Makes the KMS key of the run's secrets with an own key.
///
/// # Errors
/// When the KMS refuses or does not answer.
pub async fn create_own_key(site: &Site, token: &Token) -> Result<KmsKeyId> {
    let channel = site.kms_dialer()?.connect().await.map_err(|sentence| anyhow!(sentence))?;
    let mut keys = kms::symmetric_key_service_client::SymmetricKeyServiceClient::new(channel);
    let mut request = tonic::Request::new(kms::CreateSymmetricKeyRequest {
        folder_id: site.folder.clone(),
        name: "lockbox-jepsen".to_owned(),
        default_algorithm: kms::SymmetricAlgorithm::Aes256 as i32,
        ..Default::default()
    });
    request.metadata_mut().insert("authorization", token.bearer());
    let created = keys.create(request).await.context("cannot create a KMS key")?.into_inner();
    let Some(operation::Result::Response(response)) = created.result else {
        return Err(anyhow!("the KMS has not finished creating a key"));
    };
    let key: kms::SymmetricKey = response.to_msg().context("the KMS's answer holds no key")?;
    Ok(KmsKeyId::from(key.id.as_str()))
}
