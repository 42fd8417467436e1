//! IAM tokens of the cluster: how they are signed, read and checked.
//!
//! A token is `t1.<payload>.<signature>`, both parts base64url without padding; the payload is
//! CBOR, the signature is Ed25519 over everything before the second dot. Promises: a token that
//! verifies was signed by this cluster and is exactly as signed. Refuses to judge expiry and
//! revocation: both depend on log time and state, which the caller has (`design §7`).

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockbox_core::{
    AuthorizedKeyId, ClusterId, LogTime, Randomness, Sensitive, SensitiveString, Subject, TokenId,
    TokenMaker,
};
use lru::LruCache;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::status::ApiError;

/// The longest token (`contract §9`), in bytes.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// The first part of every token: the format's version.
const PREFIX: &str = "t1";
/// How much of a token audit may show, in characters behind the prefix.
const MASK_VISIBLE_CHARS: usize = 8;
/// Bytes of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;

/// The secret half of a signing key.
pub type SigningSeed = Sensitive<[u8; 32]>;

/// Why a token is refused. Nothing of the token is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It is not of the form that the cluster issues.
    #[error("the token is malformed")]
    Malformed,
    /// It names a signing key that the cluster does not have.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the signature of the token is wrong")]
    BadSignature,
    /// It belongs to another cluster.
    #[error("the token belongs to another cluster")]
    OtherCluster,
    /// The seed is not a signing key.
    #[error("the token-signing key cannot be used")]
    BadKey,
}

impl From<TokenError> for ApiError {
    /// `contract §5.2`: whatever is wrong with a token, the call is not authenticated.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::TooLong
            | TokenError::Malformed
            | TokenError::UnknownKey
            | TokenError::BadSignature
            | TokenError::OtherCluster => Self::unauthenticated(error.to_string()),
            TokenError::BadKey => Self::internal(error.to_string()),
        }
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    /// Names the token in audit and in the revocation list.
    pub token_id: TokenId,
    /// Whom it speaks for.
    pub subject: Subject,
    /// The authorized key that made it; the token dies with it. Absent when no key did.
    pub credential_id: Option<AuthorizedKeyId>,
    /// When it was issued, on the log's clock.
    pub issued_at: LogTime,
    /// When it ends, on the log's clock.
    pub expires_at: LogTime,
    /// The cluster that issued it.
    pub cluster_id: ClusterId,
    /// Another account that had it made.
    pub maker: Option<TokenMaker>,
}

/// The payload as it travels. Fields are only ever added.
#[derive(Encode, Decode)]
struct Payload {
    #[n(0)]
    token_id: TokenId,
    #[n(1)]
    signing_key_id: u32,
    #[n(2)]
    subject: Subject,
    #[n(3)]
    credential_id: Option<AuthorizedKeyId>,
    #[n(4)]
    issued_at: LogTime,
    #[n(5)]
    expires_at: LogTime,
    #[n(6)]
    cluster_id: ClusterId,
    #[n(7)]
    maker: Option<TokenMaker>,
}

/// Makes a new signing key's seed.
#[must_use]
pub fn generate_seed(random: &dyn Randomness) -> SigningSeed {
    let mut seed = Sensitive::new([0_u8; 32]);
    random.fill(seed.expose_mut());
    seed
}

/// Signs tokens with one key.
pub struct TokenSigner {
    key_id: u32,
    key: Ed25519KeyPair,
    public_key: [u8; PUBLIC_KEY_BYTES],
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl TokenSigner {
    /// A signer from its seed.
    ///
    /// # Errors
    /// [`TokenError::BadKey`] when the seed cannot be used.
    pub fn from_seed(key_id: u32, seed: &SigningSeed) -> Result<Self, TokenError> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed.expose())
            .map_err(|_rejected| TokenError::BadKey)?;
        let public_key =
            key.public_key().as_ref().try_into().map_err(|_length| TokenError::BadKey)?;
        Ok(Self { key_id, key, public_key })
    }

    /// The key's id, which the tokens carry.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The half of the key that verifies.
    #[must_use]
    pub const fn public_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.public_key
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`TokenError::TooLong`] when the claims do not fit into a token.
    pub fn sign(&self, claims: &TokenClaims) -> Result<SensitiveString, TokenError> {
        let payload = Payload {
            token_id: claims.token_id.clone(),
            signing_key_id: self.key_id,
            subject: claims.subject.clone(),
            credential_id: claims.credential_id.clone(),
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            cluster_id: claims.cluster_id.clone(),
            maker: claims.maker.clone(),
        };
        let encoded = minicbor::to_vec(&payload).map_err(|_infallible| TokenError::Malformed)?;
        let signed = format!("{PREFIX}.{}", URL_SAFE_NO_PAD.encode(encoded));
        let signature = self.key.sign(signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        Ok(SensitiveString::new(token))
    }
}

/// A token taken apart. Nothing of it is verified.
struct Parts<'t> {
    /// What the signature is over.
    signed: &'t str,
    payload: Payload,
    signature: [u8; SIGNATURE_BYTES],
}

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let payload = signed
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix('.'))
            .ok_or(TokenError::Malformed)?;
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_bad| TokenError::Malformed);
        let payload = minicbor::decode(&decode(payload)?).map_err(|_bad| TokenError::Malformed)?;
        let signature = decode(signature)?.try_into().map_err(|_length| TokenError::Malformed)?;
        Ok(Self { signed, payload, signature })
    }
}

/// Whether a text has the form of a token, whoever signed it: of one that has not, nobody needs to
/// be asked whose it is.
#[must_use]
pub fn is_formed(token: &str) -> bool {
    Parts::of(token).is_ok()
}

/// A token whose signature was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// What it says.
    pub claims: TokenClaims,
    /// The key that signed it.
    pub signing_key_id: u32,
}

/// Checks signatures against the cluster's public keys.
#[derive(Debug, Clone)]
pub struct TokenVerifier {
    cluster_id: ClusterId,
    keys: BTreeMap<u32, [u8; PUBLIC_KEY_BYTES]>,
}

impl TokenVerifier {
    /// A verifier of the tokens of `cluster_id`, signed by one of `keys`.
    #[must_use]
    pub fn new(
        cluster_id: ClusterId,
        keys: impl IntoIterator<Item = (u32, [u8; PUBLIC_KEY_BYTES])>,
    ) -> Self {
        Self { cluster_id, keys: keys.into_iter().collect() }
    }

    /// Checks a token's form, signature and cluster; not its expiry.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        let Parts { signed, payload, signature } = Parts::of(token)?;
        let key = self.keys.get(&payload.signing_key_id).ok_or(TokenError::UnknownKey)?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_wrong| TokenError::BadSignature)?;
        if payload.cluster_id != self.cluster_id {
            return Err(TokenError::OtherCluster);
        }
        let claims = TokenClaims {
            token_id: payload.token_id,
            subject: payload.subject,
            credential_id: payload.credential_id,
            issued_at: payload.issued_at,
            expires_at: payload.expires_at,
            cluster_id: payload.cluster_id,
            maker: payload.maker,
        };
        Ok(VerifiedToken { claims, signing_key_id: payload.signing_key_id })
    }

    fn accepts(&self, verified: &VerifiedToken) -> bool {
        self.keys.contains_key(&verified.signing_key_id)
            && verified.claims.cluster_id == self.cluster_id
    }
}

/// SHA-256 of a token: what the cache knows it by.
type TokenHash = [u8; 32];

/// Signatures that were found right, by hash of the token; bounded, least recently used out.
///
/// INVARIANT: holds signatures only, never rights (`design §7`). A hit whose signing key is no
/// longer the verifier's is not a hit. The look-up is by a hash, so its time says nothing useful
/// about a token that an attacker does not have.
pub struct VerifiedTokens {
    verified: Mutex<LruCache<TokenHash, Arc<VerifiedToken>>>,
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokens").finish_non_exhaustive()
    }
}

impl VerifiedTokens {
    /// An empty cache of at most `capacity` tokens.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { verified: Mutex::new(LruCache::new(capacity)) }
    }

    /// Checks a token as [`TokenVerifier::verify`] does, once for each token.
    ///
    /// # Errors
    /// [`TokenError`]; refusals are not remembered.
    pub fn verify(
        &self,
        verifier: &TokenVerifier,
        token: &str,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let hash: TokenHash = Sha256::digest(token.as_bytes()).into();
        let known = self.lock().get(&hash).cloned();
        if let Some(known) = known
            && verifier.accepts(&known)
        {
            return Ok(known);
        }
        let verified = Arc::new(verifier.verify(token)?);
        self.lock().put(hash, Arc::clone(&verified));
        Ok(verified)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<TokenHash, Arc<VerifiedToken>>> {
        // A panic while it was held cannot leave the cache half-changed in a way that matters.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token as audit shows it: its beginning and stars. Other text is all stars.
#[must_use]
pub fn mask(token: &str) -> String {
    const STARS: &str = "*****";
    let visible = PREFIX.len() + 1 + MASK_VISIBLE_CHARS;
    // The signature is what makes a token usable, and it is never within the visible part.
    let ours = token.starts_with("t1.") && token.len() > 4 * visible && token.is_ascii();
    if ours { format!("{}{STARS}", &token[..visible]) } else { STARS.to_owned() }
}

#[cfg(test)]
mod tests;
