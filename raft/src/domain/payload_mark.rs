//! By which bytes a sealed payload is found in raw files, also after it was destroyed.
//!
//! Kept with the metadata of a destroyed version, so that an operator can have every file of a
//! node searched for what should not be there any more. It opens nothing, see [`PayloadMark`].

use std::fmt;

use minicbor::{Decode, Encode};

use super::version::{SealedPayload, WrappedDataKey};

/// Nothing else has so many bytes in common by chance.
const MARK_BYTES: usize = 16;

/// The last sixteen bytes of a wrapped data key: those by which it is told from all others.
///
/// Harmless to keep: in both forms of wrapping they are the tag of an AES-GCM message, which holds
/// no bit of the data key. Whoever had the wrapping key as well could check a guess of the 256-bit
/// data key by them, if the salt of the wrap were not gone with the rest, and could find none. The
/// end and not the beginning, for the KMS's ciphertexts begin with what they have in common.
///
/// Stored inverted: a search of raw files for the bytes must not find the note of them.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PayloadMark {
    #[cbor(n(0), with = "minicbor::bytes")]
    inverted: [u8; MARK_BYTES],
}

impl PayloadMark {
    /// Its length.
    pub const BYTES: usize = MARK_BYTES;

    /// That of a payload; nothing for a wrapped key that is too short to be one.
    #[must_use]
    pub fn of(payload: &SealedPayload) -> Option<Self> {
        let (WrappedDataKey::Keyring { ciphertext, .. } | WrappedDataKey::Kms { ciphertext, .. }) =
            &payload.wrapped_key;
        ciphertext.last_chunk().map(|pattern| Self::searching(*pattern))
    }

    /// The mark with this pattern.
    #[must_use]
    pub fn searching(pattern: [u8; MARK_BYTES]) -> Self {
        Self { inverted: pattern.map(|byte| !byte) }
    }

    /// What to look for.
    #[must_use]
    pub fn pattern(&self) -> [u8; MARK_BYTES] {
        self.inverted.map(|byte| !byte)
    }
}

impl fmt::Debug for PayloadMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payload mark")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::codec;

    fn payload(ciphertext: Vec<u8>) -> SealedPayload {
        let wrapped_key = WrappedDataKey::Keyring { keyring_key_id: 1, salt: [4; 32], ciphertext };
        let (commitment, nonce) = ([1; 32], [2; 12]);
        SealedPayload { format: 1, commitment, nonce, ciphertext: vec![3; 20], wrapped_key }
    }

    #[test]
    fn the_end_of_the_wrapped_key_is_found_in_the_payload_and_not_in_the_note_of_it() {
        let payload = payload((0..48).collect());
        let mark = PayloadMark::of(&payload).unwrap();
        let holds = |bytes: &[u8]| bytes.windows(16).any(|window| window == mark.pattern());
        assert!(holds(&codec::encode(&payload)));
        let note = codec::encode(&mark);
        assert!(!holds(&note));
        assert_eq!(codec::decode::<PayloadMark>(&note).unwrap(), mark);
        assert_eq!(PayloadMark::searching(mark.pattern()), mark);
    }

    #[test]
    fn what_is_too_short_has_none() {
        assert_eq!(PayloadMark::of(&payload(vec![7; 15])), None);
    }
}
