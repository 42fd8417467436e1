//! Verification of the JWTs that service accounts exchange for tokens (`contract §0.2`).
//!
//! Promises: PS256 and nothing else; lifetime, audience and times judged by the time that the
//! caller gives, for the system clock is not the cluster's. Refuses to know accounts and keys:
//! that `kid` names a key of `iss` is the caller's check.

use std::collections::BTreeSet;

use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation};
use serde::Deserialize;

use crate::status::ApiError;

/// The audience of most SDKs, whatever endpoint they use (`contract §0.2`).
pub const AUDIENCE: &str = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
/// The longest JWT (`contract §1.10`), in bytes.
pub const JWT_BYTES_MAX: usize = 8000;
/// The longest time from `iat` to `exp`, in seconds.
const LIFETIME_MAX_S: u64 = 3600;
/// How far a client's clock may be ahead, in seconds.
const SKEW_MAX_S: u64 = 60;
/// An RSA key of 2048 bits, whose other half was thrown away when it was made.
const DECOY_PEM: &str = include_str!("jwt/decoy.pem");

/// Why a JWT is refused. Nothing of the JWT is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is longer than [`JWT_BYTES_MAX`].
    #[error("the JWT is longer than {JWT_BYTES_MAX} bytes")]
    TooLong,
    /// It is not a JWT with the claims that are needed.
    #[error("the JWT is malformed or lacks one of kid, iss, aud, iat, exp")]
    Malformed,
    /// It is signed with another algorithm than PS256.
    #[error("the JWT is not signed with PS256")]
    Algorithm,
    /// The key on record cannot be used.
    #[error("the public key on record cannot be used")]
    BadKey,
    /// The signature does not fit the key.
    #[error("the signature of the JWT is wrong")]
    BadSignature,
    /// From `iat` to `exp` is longer than an hour, or negative.
    #[error("the JWT's lifetime is not between 1 and {LIFETIME_MAX_S} seconds")]
    Lifetime,
    /// It has ended.
    #[error("the JWT has expired")]
    Expired,
    /// It has not begun.
    #[error("the JWT is issued in the future")]
    NotYetValid,
    /// It is meant for somebody else.
    #[error("the JWT's audience is not accepted here")]
    Audience,
}

impl From<JwtError> for ApiError {
    /// `contract §5.2`: a JWT that is refused is UNAUTHENTICATED.
    fn from(error: JwtError) -> Self {
        match error {
            JwtError::TooLong
            | JwtError::Malformed
            | JwtError::Algorithm
            | JwtError::BadSignature
            | JwtError::Lifetime
            | JwtError::Expired
            | JwtError::NotYetValid
            | JwtError::Audience => Self::unauthenticated(error.to_string()),
            JwtError::BadKey => Self::internal(error.to_string()),
        }
    }
}

/// What a JWT claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtHeaderClaims {
    /// The authorized key.
    pub kid: String,
    /// The service account.
    pub iss: String,
    /// Whom it is meant for.
    pub aud: Vec<String>,
    /// When it was issued, in seconds since the epoch.
    pub iat: u64,
    /// When it ends, in seconds since the epoch.
    pub exp: u64,
}

/// Go's SDK writes the audience as a list of one, others as a string (`contract §0.2`).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: u64,
    exp: u64,
}

/// The audiences that are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedAudiences(BTreeSet<String>);

impl AcceptedAudiences {
    /// [`AUDIENCE`], that of each advertised `host:port`, and `extra` as it stands.
    #[must_use]
    pub fn new(advertised: &[String], extra: &[String]) -> Self {
        let own = advertised.iter().map(|address| format!("https://iam.{address}/iam/v1/tokens"));
        let constant = std::iter::once(AUDIENCE.to_owned());
        Self(constant.chain(own).chain(extra.iter().cloned()).collect())
    }

    /// Whether `audience` is one of them.
    #[must_use]
    pub fn accepts(&self, audience: &str) -> bool {
        self.0.contains(audience)
    }
}

/// Reads a JWT without believing it, to find the key that should verify it.
///
/// # Errors
/// [`JwtError`] when it is too long, malformed or not PS256.
pub fn parse_unverified(jwt: &str) -> Result<JwtHeaderClaims, JwtError> {
    check_header(jwt)?;
    let data = jsonwebtoken::dangerous::insecure_decode::<Claims>(jwt)
        .map_err(|_malformed| JwtError::Malformed)?;
    into_claims(data)
}

/// Checks a JWT completely against the key that its `kid` names.
///
/// # Errors
/// [`JwtError`].
pub fn verify(
    jwt: &str,
    public_key_pem: &str,
    audiences: &AcceptedAudiences,
    now_ms: u64,
) -> Result<JwtHeaderClaims, JwtError> {
    check_header(jwt)?;
    let key = DecodingKey::from_rsa_pem(public_key_pem.as_bytes())
        .map_err(|_unusable| JwtError::BadKey)?;
    let mut signature_only = Validation::new(Algorithm::PS256);
    // The library judges time by the system clock, so everything but the signature is ours.
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    signature_only.required_spec_claims.clear();
    let data = jsonwebtoken::decode::<Claims>(jwt, &key, &signature_only)
        .map_err(|_wrong| JwtError::BadSignature)?;
    let claims = into_claims(data)?;
    check_times(&claims, now_ms / 1_000)?;
    if !claims.aud.iter().any(|audience| audiences.accepts(audience)) {
        return Err(JwtError::Audience);
    }
    Ok(claims)
}

/// Takes the time of [`verify`] for a JWT whose key is not on record: how long a refusal takes must
/// not say whether the key is (`peers.md` S7).
pub fn verify_in_vain(jwt: &str) {
    let nobody = AcceptedAudiences(BTreeSet::new());
    let refused = verify(jwt, DECOY_PEM, &nobody, 0);
    drop(std::hint::black_box(refused));
}

fn check_header(jwt: &str) -> Result<(), JwtError> {
    if jwt.len() > JWT_BYTES_MAX {
        return Err(JwtError::TooLong);
    }
    let header = jsonwebtoken::decode_header(jwt).map_err(|_malformed| JwtError::Malformed)?;
    if header.alg != Algorithm::PS256 {
        return Err(JwtError::Algorithm);
    }
    // RFC 7515 §4.1.11: critical extensions that are not understood make it invalid.
    if header.crit.is_some() {
        return Err(JwtError::Malformed);
    }
    Ok(())
}

fn into_claims(data: TokenData<Claims>) -> Result<JwtHeaderClaims, JwtError> {
    let TokenData { header, claims, .. } = data;
    let aud = match claims.aud {
        Audience::One(audience) => vec![audience],
        Audience::Many(audiences) => audiences,
    };
    let kid = header.kid.filter(|kid| !kid.is_empty()).ok_or(JwtError::Malformed)?;
    Ok(JwtHeaderClaims { kid, iss: claims.iss, aud, iat: claims.iat, exp: claims.exp })
}

fn check_times(claims: &JwtHeaderClaims, now_s: u64) -> Result<(), JwtError> {
    match claims.exp.checked_sub(claims.iat) {
        Some(1..=LIFETIME_MAX_S) => {}
        Some(_) | None => return Err(JwtError::Lifetime),
    }
    if now_s >= claims.exp {
        return Err(JwtError::Expired);
    }
    if claims.iat > now_s + SKEW_MAX_S {
        return Err(JwtError::NotYetValid);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
