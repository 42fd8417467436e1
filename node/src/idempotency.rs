//! The authenticator of a keyed request (`design §8`, `contract §10`).
//!
//! Stored beside the operation is an HMAC of the request as received, under a keyring key: a bare
//! hash of a weak secret would let whoever reads the state guess it.

use hmac::{Hmac, KeyInit, Mac};
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::ApiError;
use lockbox_raft::domain::command::IdempotencyClaim;
use lockbox_raft::domain::keyring::KeyPurpose;
use prost::Message;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::authn::Caller;
use crate::keyring::Keyring;

/// The longest key accepted; a UUID has 36 characters.
const KEY_CHARS_MAX: usize = 100;

/// The claim of a mutating request, when it carries an `idempotency-key`.
///
/// # Errors
/// INVALID_ARGUMENT for a key that is too long, UNAVAILABLE while the node is sealed.
pub fn claim(
    context: &RequestContext,
    caller: &Caller,
    keyring: &Keyring,
    request: &impl Message,
) -> Result<Option<IdempotencyClaim>, ApiError> {
    let Some(key) = context.idempotency_key.clone().filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    if key.len() > KEY_CHARS_MAX {
        return Err(ApiError::invalid("idempotency-key", "is longer than 100 characters"));
    }
    let ring = keyring.ring().map_err(|sealed| ApiError::unavailable(sealed.to_string()))?;
    let (mac_key_id, mac_key) = ring
        .active(KeyPurpose::AuthenticateRequests)
        .ok_or_else(|| ApiError::internal("the keyring has no key to authenticate requests"))?;
    // Maps are ordered in the generated types, so equal requests have equal bytes.
    let canonical = Zeroizing::new(request.encode_to_vec());
    let if_version = context.if_version.as_deref().unwrap_or_default();
    // Subject and key belong to it: ids are derived from the authenticator, and another caller's
    // or another key's equal request must get other ids.
    let subject = caller.subject.to_string();
    let parts = [
        subject.as_bytes(),
        context.method.as_bytes(),
        key.as_bytes(),
        if_version.as_bytes(),
        canonical.as_slice(),
    ];
    let request_mac = authenticate(mac_key.expose(), &parts).into();
    Ok(Some(IdempotencyClaim { method: context.method.clone(), key, request_mac, mac_key_id }))
}

fn authenticate(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // INVARIANT: HMAC takes keys of every length (RFC 2104 §2).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes every key")
    };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authenticator_depends_on_every_part_and_on_the_key() {
        let base = authenticate(&[1; 32], &[b"a", b"bc"]);
        assert_eq!(base, authenticate(&[1; 32], &[b"a", b"bc"]));
        assert_ne!(base, authenticate(&[1; 32], &[b"ab", b"c"]));
        assert_ne!(base, authenticate(&[2; 32], &[b"a", b"bc"]));
    }
}
