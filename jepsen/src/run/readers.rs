//! The accounts whose rights come and go in a run: made before the first operation.

use anyhow::{Context, Result, anyhow};
use lockbox_proto::yandex::cloud::iam::v1 as wire;
use lockbox_proto::yandex::cloud::operation::operation;
use tonic::transport::Channel;
use wire::key_service_client::KeyServiceClient;
use wire::service_account_service_client::ServiceAccountServiceClient;
use zeroize::Zeroizing;

use super::site::Site;
use super::wall_clock::since_epoch;
use crate::client::account_key::{AccountKey, Token};
use crate::client::callers::Readers;
use crate::history::ids::{Subject, TokenId};
use crate::workload::rights::SPARE_TOKENS;

/// How many there are: few, so that each meets its rights often.
const READERS: usize = 3;

/// Makes the readers, who hold nothing, each with a token that outlives the run and with those
/// that may be revoked.
///
/// # Errors
/// When no node that a login would go to makes them.
pub async fn create_readers(site: &Site, token: &Token) -> Result<Readers> {
    let mut last = anyhow!("there is no node to make readers on");
    for node in site.login_dialers()? {
        let made = match node.connect().await {
            Ok(channel) => create_on(&channel, site, token).await,
            Err(sentence) => Err(anyhow!(sentence)),
        };
        match made {
            Ok(readers) => return Ok(readers),
            Err(error) => last = error,
        }
    }
    Err(last.context("cannot make the readers of the run"))
}

async fn create_on(channel: &Channel, site: &Site, token: &Token) -> Result<Readers> {
    // Names are unique in a cloud, which may have seen a run before.
    let mark = since_epoch().as_nanos();
    let mut readers = Readers::default();
    for number in 0..READERS {
        let id = create_account(channel, site, token, format!("reader-{mark}-{number}")).await?;
        let key = create_key(channel, token, &id).await?;
        let reader = Subject::from(id.as_str());
        for spare in 0..SPARE_TOKENS {
            readers.spare.insert(TokenId::of(&reader, spare), log_in(site, &key).await?);
        }
        readers.kept.insert(reader, log_in(site, &key).await?);
    }
    Ok(readers)
}

/// Each login makes another token.
async fn log_in(site: &Site, key: &AccountKey) -> Result<Token> {
    let token = key.log_in(&site.login_dialers()?, since_epoch().as_secs()).await?;
    Token::new(&token)
}

async fn create_account(
    channel: &Channel,
    site: &Site,
    token: &Token,
    name: String,
) -> Result<String> {
    let mut accounts = ServiceAccountServiceClient::new(channel.clone());
    let folder_id = site.folder.clone();
    let request = wire::CreateServiceAccountRequest { folder_id, name, ..Default::default() };
    let answer = accounts.create(by(token, request)).await;
    let operation = answer.context("cannot create a service account")?.into_inner();
    let Some(operation::Result::Response(response)) = operation.result else {
        return Err(anyhow!("a node has not finished creating a service account"));
    };
    let account: wire::ServiceAccount =
        response.to_msg().context("the answer to a creation holds no service account")?;
    Ok(account.id)
}

async fn create_key(channel: &Channel, token: &Token, account: &str) -> Result<AccountKey> {
    let service_account_id = account.to_owned();
    let request = wire::CreateKeyRequest { service_account_id, ..Default::default() };
    let answer = KeyServiceClient::new(channel.clone()).create(by(token, request)).await;
    let made = answer.context("cannot create a reader's key")?.into_inner();
    let private_key = Zeroizing::new(made.private_key);
    let key = made.key.context("the answer to the creation of a key holds none")?;
    AccountKey::new(key.id, account.to_owned(), &private_key)
}

/// A request with a token.
pub(super) fn by<M>(token: &Token, message: M) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", token.bearer());
    request
}
