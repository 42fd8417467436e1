//! Exchanging an authorized key for a token, and a token for that of another account.

use std::time::Duration;

use lockbox_core::{Clock, SensitiveString};
use lockbox_platform::authorized_key::{AuthorizedKeyFile, sign_jwt};
use lockbox_platform::jwt::AUDIENCE;
use lockbox_platform::system::SystemClock;
use lockbox_proto::yandex::cloud::iam::v1::create_iam_token_request::Identity;
use lockbox_proto::yandex::cloud::iam::v1::iam_token_service_client::IamTokenServiceClient;
use lockbox_proto::yandex::cloud::iam::v1::{
    CreateIamTokenForServiceAccountRequest, CreateIamTokenRequest, CreateIamTokenResponse,
};

use super::{Kind, Session};
use crate::cli::failure::Failure;

/// Life of the JWT that a login shows; it is used at once.
const JWT_LIFETIME: Duration = Duration::from_secs(300);

/// A token that a server has given.
#[derive(Debug, Clone)]
pub(crate) struct IssuedToken {
    /// The token.
    pub(crate) token: SensitiveString,
    /// When it ends, by the wall clock; 0 when the server does not say.
    pub(crate) expires_at_ms: u64,
}

impl From<CreateIamTokenResponse> for IssuedToken {
    fn from(answer: CreateIamTokenResponse) -> Self {
        let seconds = answer.expires_at.map_or(0, |at| at.seconds);
        let expires_at_ms = u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
        Self { token: SensitiveString::new(answer.iam_token), expires_at_ms }
    }
}

impl Session {
    /// Exchanges a signed JWT for a token. Another token does no harm, so this may be repeated.
    pub(super) async fn log_in(&self, key: &AuthorizedKeyFile) -> Result<IssuedToken, Failure> {
        let now_ms = SystemClock::new().wall_ms();
        let jwt = sign_jwt(key, AUDIENCE, now_ms, JWT_LIFETIME).map_err(Failure::usage)?;
        let identity = Some(Identity::Jwt(jwt.expose().clone()));
        let request = CreateIamTokenRequest { identity };
        let send =
            async |channel, request| IamTokenServiceClient::new(channel).create(request).await;
        Ok(self.call(Kind::Repeatable, &request, send).await?.into())
    }

    /// A token of this account, which the caller makes. Another one does no harm either.
    pub(super) async fn impersonate(&self, account: &str) -> Result<IssuedToken, Failure> {
        let service_account_id = account.to_owned();
        let request = CreateIamTokenForServiceAccountRequest { service_account_id };
        let send = async |channel, request| {
            IamTokenServiceClient::new(channel).create_for_service_account(request).await
        };
        Ok(self.call(Kind::Repeatable, &request, send).await?.into())
    }
}
