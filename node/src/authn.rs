//! Who calls: from a bearer token to a subject (`design §7`).
//!
//! The signature is checked here, against the public keys of the state; whether the token still
//! counts (expiry, revocation, its credential, its account) is judged on a view by
//! [`lockbox_raft::apply::authenticate`], the same function that `apply` uses.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use lockbox_core::{ClusterId, Subject};
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::ApiError;
use lockbox_platform::token::{TokenVerifier, VerifiedTokens, mask};
use lockbox_raft::domain::command::TokenRef;
use lockbox_raft::domain::keyring::{KeyPurpose, KeyringKeyRecord};

/// Verified signatures that are remembered, so that a token is verified once and not per call.
const REMEMBERED_SIGNATURES: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// An authenticated caller. Holds nothing that could be used as a credential.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub subject: Subject,
    /// By which token.
    pub token: TokenRef,
    /// The token as audit records show it.
    pub masked_token: String,
}

/// Verifies tokens against the signing keys that the state holds.
pub struct Authenticator {
    verifier: ArcSwapOption<TokenVerifier>,
    signatures: VerifiedTokens,
}

impl Default for Authenticator {
    fn default() -> Self {
        Self {
            verifier: ArcSwapOption::empty(),
            signatures: VerifiedTokens::new(REMEMBERED_SIGNATURES),
        }
    }
}

impl Authenticator {
    /// Accepts signatures of these keys from now on; their public halves are in clear.
    pub fn trust(&self, cluster: &ClusterId, keyring: &[KeyringKeyRecord]) {
        let signing = keyring.iter().filter(|record| record.purpose == KeyPurpose::SignTokens);
        let keys = signing.filter_map(|record| {
            let public_key = <[u8; 32]>::try_from(record.public_key.as_slice()).ok()?;
            Some((record.id, public_key))
        });
        self.verifier.store(Some(Arc::new(TokenVerifier::new(cluster.clone(), keys))));
    }

    /// The caller of a request, by its bearer token.
    ///
    /// # Errors
    /// UNAUTHENTICATED without a token or with one that this cluster did not sign.
    pub fn caller(&self, context: &RequestContext) -> Result<Caller, ApiError> {
        let token = context.bearer()?;
        self.verify(token.expose())
    }

    /// The caller that a token names.
    ///
    /// # Errors
    /// UNAUTHENTICATED for a token that this cluster did not sign.
    pub fn verify(&self, token: &str) -> Result<Caller, ApiError> {
        let refused = || ApiError::unauthenticated("token is not valid");
        let verifier = self.verifier.load_full().ok_or_else(refused)?;
        let verified = self.signatures.verify(&verifier, token).map_err(|_| refused())?;
        let claims = &verified.claims;
        Ok(Caller {
            subject: claims.subject.clone(),
            token: TokenRef {
                token_id: claims.token_id.clone(),
                credential_id: claims.credential_id.clone(),
                expires_at: claims.expires_at,
                maker: claims.maker.clone(),
            },
            masked_token: mask(token),
        })
    }
}
