//! `IamTokenService`: a signed JWT of a service account for an IAM token (`contract §0.2`).
//!
//! Issuing writes nothing to the log: SDKs log in every 20 seconds (`design §7`).

use std::sync::Arc;

use lockbox_core::{
    AuthorizedKeyId, LogTime, Permission, ResourceKind, Sensitive, ServiceAccountId, Subject,
    TokenId, TokenMaker,
};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::IamTokenDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::jwt;
use lockbox_platform::rate::Counted;
use lockbox_platform::status::ApiError;
use lockbox_platform::token::{TokenClaims, TokenSigner};
use lockbox_proto::yandex::cloud::iam::v1 as wire;
use lockbox_raft::apply::{Refusal, account_path, identify, require_over_keys, require_own_token};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, RevokeToken, TokenRef};
use lockbox_raft::domain::identity::{AuthorizedKeyRecord, ClusterRecord};
use lockbox_raft::domain::keyring::KeyPurpose;
use lockbox_raft::domain::outcome::Precondition;
use lockbox_raft::state::{StateRead, tables};
use tonic::{Code, Request, Response, Status};
use wire::create_iam_token_request::Identity;
use wire::iam_token_service_server::IamTokenService;

use crate::app::App;
use crate::call::{Call, detached, validate};
use crate::refused::within;
use crate::{convert, describe};

/// The service over the node's parts.
#[derive(Clone)]
pub struct IamTokenGrpc {
    app: Arc<App>,
}

impl IamTokenGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl IamTokenService for IamTokenGrpc {
    async fn create(
        &self,
        request: Request<wire::CreateIamTokenRequest>,
    ) -> Result<Response<wire::CreateIamTokenResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = AuditDetails::CreateIamToken(IamTokenDetails::default());
            let mut call = Call::begin(&app, &request, details)?;
            let result = create(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn create_for_service_account(
        &self,
        request: Request<wire::CreateIamTokenForServiceAccountRequest>,
    ) -> Result<Response<wire::CreateIamTokenResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = AuditDetails::CreateIamToken(IamTokenDetails {
                service_account_id: describe::named_id(&request.get_ref().service_account_id),
                ..IamTokenDetails::default()
            });
            let mut call = Call::begin(&app, &request, details)?;
            let result = impersonate(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn revoke(
        &self,
        request: Request<wire::RevokeIamTokenRequest>,
    ) -> Result<Response<wire::RevokeIamTokenResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            // Never the token itself, which the request is all about.
            let mut call = Call::begin(&app, &request, revocation(""))?;
            let result = revoke(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }
}

/// One text for every cause, so that a caller learns nothing about keys or accounts.
fn refused() -> ApiError {
    ApiError::unauthenticated("the JWT is not valid")
}

async fn create(
    call: &mut Call<'_>,
    request: &wire::CreateIamTokenRequest,
) -> Result<wire::CreateIamTokenResponse, ApiError> {
    validate(request)?;
    let text = match &request.identity {
        Some(Identity::Jwt(text)) => text,
        Some(Identity::YandexPassportOauthToken(_)) => {
            return Err(ApiError::unauthenticated("OAuth tokens are not accepted here"));
        }
        None => return Err(ApiError::invalid("identity", "exactly one is required")),
    };
    call.demand_unsealed()?;
    call.app.auditor.demand_writable()?;
    let named = jwt::parse_unverified(text).map_err(|_| refused())?;
    let key_id = AuthorizedKeyId::parse(&named.kid).map_err(|_| refused())?;
    // What was tried, also when it is refused: whoever tries many is seen in the audit.
    let mut details = IamTokenDetails { key_id: key_id.to_string(), ..IamTokenDetails::default() };
    call.details = AuditDetails::CreateIamToken(details.clone());
    let account = ServiceAccountId::parse(&named.iss).map_err(|_| refused())?;
    details.service_account_id = account.to_string();
    call.details = AuditDetails::CreateIamToken(details.clone());
    let subject = Subject::service_account(&account);
    let token_id = TokenId::generate(call.app.random.as_ref());
    let lifetime = call.app.config.identity.token_lifetime();
    // The token's life begins behind the barrier: before it, this node may not know the time.
    let found = call.look(|view, now| {
        let expires_at = now.plus(lifetime);
        let credential_id = Some(key_id);
        let token = TokenRef { token_id, credential_id, expires_at, maker: None };
        Ok((credential(view, &subject, &token, now)?, token, now))
    });
    let (found, token, issued_at) = match found.await {
        Ok(found) => found,
        // Whether the key or the account exists must not show, in the time neither.
        Err(error) if error.code() == Code::Unauthenticated => {
            jwt::verify_in_vain(text);
            return Err(refused());
        }
        Err(error) => return Err(error),
    };
    // A clock of its own judges the JWT's times: its maker has no log time to go by.
    let wall_ms = call.app.clock.wall_ms();
    let key_pem = &found.key.public_key_pem;
    jwt::verify(text, key_pem, &call.app.audiences, wall_ms).map_err(|_| refused())?;
    call.log_in(subject.clone(), found.account_name);
    call.app.rate.admit(&Counted::Logins(subject.clone()))?;
    call.demand_min_index()?;

    let claims = TokenClaims {
        token_id: token.token_id,
        subject,
        credential_id: token.credential_id,
        issued_at,
        expires_at: token.expires_at,
        cluster_id: found.cluster.id,
        maker: None,
    };
    issue(call, details, &claims)
}

/// Signs a token and tells of it, in the audit by its id.
fn issue(
    call: &mut Call<'_>,
    mut details: IamTokenDetails,
    claims: &TokenClaims,
) -> Result<wire::CreateIamTokenResponse, ApiError> {
    let ring = call.app.keyring.ring();
    let ring = ring.map_err(|sealed| ApiError::unavailable(sealed.to_string()))?;
    let (signing_id, seed) = ring
        .active(KeyPurpose::SignTokens)
        .ok_or_else(|| ApiError::internal("the keyring has no signing key"))?;
    let signer = TokenSigner::from_seed(signing_id, &Sensitive::new(*seed.expose()))
        .map_err(|error| ApiError::internal(error.to_string()))?;
    details.iam_token_id = claims.token_id.to_string();
    call.details = AuditDetails::CreateIamToken(details);
    let signed = signer.sign(claims).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(wire::CreateIamTokenResponse {
        iam_token: signed.expose().clone(),
        expires_at: Some(convert::timestamp(claims.expires_at)),
    })
}

/// A token of another account, for who may do on folders and above all that it may: the same rule as
/// for making a key of it. It dies with the key, the token and the account that asked for it, lives
/// no longer than that token, and makes neither keys nor further tokens.
async fn impersonate(
    call: &mut Call<'_>,
    request: &wire::CreateIamTokenForServiceAccountRequest,
) -> Result<wire::CreateIamTokenResponse, ApiError> {
    let caller = call.admit(request)?;
    let account_id = ServiceAccountId::parse(&request.service_account_id)
        .map_err(|error| ApiError::invalid("service_account_id", error.to_string()))?;
    let subject = Subject::service_account(&account_id);
    let (cluster, path) = call
        .read(&caller, |view| {
            let kind = ResourceKind::ServiceAccount;
            let account = tables::service_account(view, &account_id)?
                .ok_or_else(|| Rejection::not_found(kind, account_id.as_str()))?;
            let cluster = tables::cluster(view)?.ok_or(Precondition::NotInitialised)?;
            require_own_token(Some(&caller.token))?;
            let permission = Permission::ServiceAccountsCreateToken;
            let ((), path) = within(account_path(view, &account)?, |path| {
                require_over_keys(view, &caller.subject, permission, &account_id, path)
            })?;
            Ok((cluster, path))
        })
        .await?;
    call.path = Some(path);
    // Known, for the read went through the barrier.
    let issued_at = call.app.replica.log_time();
    let issued_at = issued_at.ok_or_else(|| ApiError::unavailable("the time is not known yet"))?;
    let claims = TokenClaims {
        token_id: TokenId::generate(call.app.random.as_ref()),
        subject,
        credential_id: caller.token.credential_id.clone(),
        issued_at,
        expires_at: caller.token.expires_at,
        cluster_id: cluster.id,
        maker: Some(TokenMaker { subject: caller.subject, token_id: caller.token.token_id }),
    };
    let service_account_id = account_id.to_string();
    issue(call, IamTokenDetails { service_account_id, ..IamTokenDetails::default() }, &claims)
}

/// The audit details of a revocation.
fn revocation(token_id: &str) -> AuditDetails {
    describe::request_event(EventSource::Iam, "RevokeIamToken", "iam_token_id", token_id)
}

async fn revoke(
    call: &mut Call<'_>,
    request: &wire::RevokeIamTokenRequest,
) -> Result<wire::RevokeIamTokenResponse, ApiError> {
    let caller = call.admit(request)?;
    let named = call.app.authenticator.verify(&request.iam_token);
    let named = named.map_err(|_| ApiError::invalid("iam_token", "is no token of this cluster"))?;
    call.details = revocation(named.token.token_id.as_str());
    let subject_id = named.subject.id.clone();
    let command = Command::RevokeToken(RevokeToken {
        token_id: named.token.token_id,
        subject: named.subject,
        expires_at: named.token.expires_at,
    });
    call.propose(&caller, None, command).await?;
    Ok(wire::RevokeIamTokenResponse { subject_id })
}

/// What the state has about a login.
struct Credential {
    cluster: ClusterRecord,
    key: AuthorizedKeyRecord,
    account_name: String,
}

/// The key that the JWT names, if a token made from it would count.
fn credential(
    view: &dyn StateRead,
    subject: &Subject,
    token: &TokenRef,
    now: LogTime,
) -> Result<Credential, Refusal> {
    let cluster =
        tables::cluster(view)?.ok_or_else(|| Refusal::from(Precondition::NotInitialised))?;
    let account = identify(view, subject, Some(token), now)?.ok_or(Rejection::Unauthenticated)?;
    let key = match &token.credential_id {
        Some(id) => tables::authorized_key(view, id)?,
        None => None,
    };
    let key = key.ok_or(Rejection::Unauthenticated)?;
    Ok(Credential { cluster, key, account_name: account.name })
}
