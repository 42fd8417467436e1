//! Who a run is: the key of an account, and the token that its calls carry.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use lockbox_proto::yandex::cloud::iam::v1 as wire;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use wire::create_iam_token_request::Identity;
use wire::iam_token_service_client::IamTokenServiceClient;
use zeroize::Zeroizing;

use super::connection::Dialer;

/// The audience that every installation accepts (`contract §0.2`).
const AUDIENCE: &str = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
/// How long a JWT may be used; clocks that faults have stepped still find it good.
const JWT_LIFETIME_S: u64 = 3600;
/// What comes before a token in a header.
const SCHEME: &str = "Bearer ";
/// What comes before the key proper, at times behind a warning.
const PEM_BEGINS: &str = "-----BEGIN";
/// How long one node may take to give a token.
const LOGIN_PATIENCE: Duration = Duration::from_secs(5);

/// The token that an account's calls carry; it can be replaced while they go on. Never printed.
#[derive(Clone)]
pub struct Token(Arc<RwLock<MetadataValue<Ascii>>>);

impl Token {
    /// A token as text.
    ///
    /// # Errors
    /// When no header can hold it. The text is not repeated.
    pub fn new(token: &str) -> Result<Self> {
        Ok(Self(Arc::new(RwLock::new(header(token)?))))
    }

    /// The header `authorization`.
    #[must_use]
    pub fn bearer(&self) -> MetadataValue<Ascii> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What [`Self::new`] or the last [`Self::replace`] was given: for a call that is about it.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let bearer = self.bearer();
        // Made of text, so it is text.
        let text = bearer.to_str().unwrap_or_default();
        Zeroizing::new(text.strip_prefix(SCHEME).unwrap_or(text).to_owned())
    }

    /// Takes this one from now on.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn replace(&self, token: &str) -> Result<()> {
        let header = header(token)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = header;
        Ok(())
    }
}

fn header(token: &str) -> Result<MetadataValue<Ascii>> {
    let text = Zeroizing::new(format!("{SCHEME}{token}"));
    let value = text.parse::<MetadataValue<Ascii>>();
    // The parser's error could repeat what it was given.
    let mut value = value.map_err(|_| anyhow!("the token holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An authorized key of an account (`contract §0.2`).
#[derive(Clone)]
pub struct AccountKey {
    key_id: String,
    account_id: String,
    signing: EncodingKey,
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The file that `lockbox cluster init` writes.
#[derive(Deserialize)]
struct KeyFile {
    id: String,
    service_account_id: String,
    private_key: Zeroizing<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

impl AccountKey {
    /// Reads the key file.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        // A parser's message could repeat what it has read.
        let file: KeyFile = serde_json::from_str(&text)
            .map_err(|_| anyhow!("{} is no authorized key", path.display()))?;
        Self::new(file.id, file.service_account_id, &file.private_key)
            .with_context(|| format!("cannot use {}", path.display()))
    }

    /// A key of this id, of that account.
    ///
    /// # Errors
    /// When it is no RSA key.
    pub fn new(key_id: String, account_id: String, private_key: &str) -> Result<Self> {
        let begins = private_key.find(PEM_BEGINS).unwrap_or(0);
        let signing = EncodingKey::from_rsa_pem(&private_key.as_bytes()[begins..])
            .map_err(|_| anyhow!("the private key is no RSA key"))?;
        Ok(Self { key_id, account_id, signing })
    }

    /// Gets a token from the first node that gives one. `now_s` is the time in seconds since 1970.
    ///
    /// # Errors
    /// What the last node said, when none gives one.
    pub async fn log_in(&self, nodes: &[Dialer], now_s: u64) -> Result<Zeroizing<String>> {
        let jwt = self.sign(now_s)?;
        let mut last = anyhow!("there is no node to log in to");
        for node in nodes {
            match timeout(LOGIN_PATIENCE, exchange(node, &jwt)).await {
                Ok(Ok(token)) => return Ok(token),
                Ok(Err(error)) => last = error,
                Err(_elapsed) => last = anyhow!("no answer to the login in time"),
            }
        }
        Err(last.context(format!("cannot log in as {}", self.account_id)))
    }

    fn sign(&self, now_s: u64) -> Result<Zeroizing<String>> {
        let mut header = Header::new(Algorithm::PS256);
        header.kid = Some(self.key_id.clone());
        let (iat, exp) = (now_s, now_s + JWT_LIFETIME_S);
        let claims = Claims { iss: &self.account_id, aud: AUDIENCE, iat, exp };
        let jwt = encode(&header, &claims, &self.signing);
        jwt.map(Zeroizing::new).context("cannot sign the JWT")
    }
}

async fn exchange(node: &Dialer, jwt: &str) -> Result<Zeroizing<String>> {
    let channel = node.connect().await.map_err(|sentence| anyhow!(sentence))?;
    let identity = Some(Identity::Jwt(jwt.to_owned()));
    let request = wire::CreateIamTokenRequest { identity };
    let answer = IamTokenServiceClient::new(channel).create(request).await?;
    Ok(Zeroizing::new(answer.into_inner().iam_token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed_and_can_be_replaced() {
        let token = Token::new("canary-1").unwrap();
        let other = token.clone();
        token.replace("canary-2").unwrap();
        assert_eq!(other.bearer().to_str().unwrap(), "Bearer canary-2");
        assert!(!format!("{token:?} {:?}", token.bearer()).contains("canary"));
        assert_eq!(*other.text(), "canary-2");
        let error = Token::new("canary\n").unwrap_err();
        assert!(!format!("{error:?}").contains("canary"));
    }
}
