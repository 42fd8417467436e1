//! The sealed payloads as a table that is gone through from its first row to its last.

use lockbox_core::{SecretId, VersionId};

use super::{DELETED_SECRET, PAYLOAD};

/// Every sealed payload, in [`crate::state::Space::Payloads`].
#[must_use]
pub fn payloads() -> Vec<u8> {
    vec![PAYLOAD]
}

/// Of which version a payload is, by its key; nothing for a key of another table.
#[must_use]
pub fn payload_of(key: &[u8]) -> Option<(SecretId, VersionId)> {
    let rest = key.strip_prefix(&[PAYLOAD])?;
    let (secret, rest) = text(rest)?;
    let (version, rest) = text(rest)?;
    if !rest.is_empty() {
        return None;
    }
    Some((SecretId::parse(secret).ok()?, VersionId::parse(version).ok()?))
}

/// Of which secret the payloads are that begin with this; nothing for anything else.
#[must_use]
pub fn secret_of_payloads(prefix: &[u8]) -> Option<SecretId> {
    let (secret, rest) = text(prefix.strip_prefix(&[PAYLOAD])?)?;
    if rest.is_empty() { SecretId::parse(secret).ok() } else { None }
}

/// Every mark of a secret that was deleted, in [`crate::state::Space::Records`].
#[must_use]
pub fn deleted_secrets() -> Vec<u8> {
    vec![DELETED_SECRET]
}

/// Of which secret such a mark is, by its key.
#[must_use]
pub fn deleted_secret_of(key: &[u8]) -> Option<SecretId> {
    let (secret, rest) = text(key.strip_prefix(&[DELETED_SECRET])?)?;
    if rest.is_empty() { SecretId::parse(secret).ok() } else { None }
}

/// The text at the beginning, behind its length, and what follows it.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::keys::{deleted_secret, payload, payloads_of};

    #[test]
    fn what_is_of_a_whole_secret_says_of_which() {
        let secret = SecretId::parse("e6qsecret").unwrap();
        let version = VersionId::parse("e6qversion").unwrap();
        assert_eq!(secret_of_payloads(&payloads_of(&secret)), Some(secret.clone()));
        assert_eq!(secret_of_payloads(&payload(&secret, &version)), None);
        assert_eq!(payload_of(&payloads_of(&secret)), None);
        let mark = deleted_secret(&secret);
        assert!(mark.starts_with(&deleted_secrets()));
        assert_eq!(deleted_secret_of(&mark), Some(secret));
        assert_eq!(deleted_secret_of(b"d"), None);
    }

    #[test]
    fn a_key_says_whose_payload_it_is() {
        let (secret, version) =
            (SecretId::parse("e6qsecret").unwrap(), VersionId::parse("e6qversion").unwrap());
        let key = payload(&secret, &version);
        assert!(key.starts_with(&payloads()));
        assert_eq!(payload_of(&key), Some((secret, version)));
        let longer = [key.as_slice(), &[0]].concat();
        for wrong in [&key[1..], &key[..key.len() - 1], longer.as_slice(), b""] {
            assert_eq!(payload_of(wrong), None);
        }
    }
}
