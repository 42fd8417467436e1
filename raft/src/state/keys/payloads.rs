//! The sealed payloads as a table that is gone through from its first row to its last.

use lockbox_core::{SecretId, VersionId};

use super::PAYLOAD;

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

/// The text at the beginning, behind its length, and what follows it.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::keys::payload;

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
