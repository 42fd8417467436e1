//! By which bytes a sealed payload is found in raw files, also after it was destroyed.
//!
//! Kept with the metadata of a destroyed version, so that an operator can have every file of a
//! node searched for what should not be there any more. They open nothing, see [`PayloadMark`].

use std::fmt;

use minicbor::{Decode, Encode};

use super::version::{SealedPayload, WrappedDataKey};

/// Nothing else has so many bytes in common by chance.
const MARK_BYTES: usize = 16;
/// Wrappings of one data key of which the marks are kept, the newest ones: by the time that there
/// are more, the keyring keys of the first ones are retired, and nothing opens these any more.
const WRAPPINGS_KEPT: usize = 16;

/// The last sixteen bytes of a wrapped data key, or of a sealed message: those by which it is told
/// from all others.
///
/// Harmless to keep: they are the tag of an AES-GCM message, which holds no bit of what is in it.
/// Whoever had the wrapping key as well could check a guess of the 256-bit data key by them, if the
/// salt of the wrap were not gone with the rest, and could find none; for the message it takes the
/// data key itself. The end and not the beginning, for the KMS's ciphertexts begin with what they
/// have in common.
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

    /// That of a message; nothing for one that is too short to be one.
    fn of_message(payload: &SealedPayload) -> Option<Self> {
        Self::at_end(&payload.ciphertext)
    }

    /// That of a wrapped data key; nothing for one that is too short to be one.
    fn of_wrapping(wrapped: &WrappedDataKey) -> Option<Self> {
        let (WrappedDataKey::Keyring { ciphertext, .. } | WrappedDataKey::Kms { ciphertext, .. }) =
            wrapped;
        Self::at_end(ciphertext)
    }

    fn at_end(ciphertext: &[u8]) -> Option<Self> {
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

/// All that a payload could be found by: its message, which stays the same while its data key is
/// wrapped anew, and each wrapping, for a rewrap leaves the one before in older files and brings the
/// next one in a log entry of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct PayloadMarks {
    #[n(0)]
    message: Option<PayloadMark>,
    #[n(1)]
    wrappings: Vec<PayloadMark>,
}

impl PayloadMarks {
    /// The most marks that there can be.
    pub const MAX: usize = WRAPPINGS_KEPT + 1;

    /// Notes a wrapping of the data key, stored or only proposed.
    pub fn note_wrapping(&mut self, wrapped: &WrappedDataKey) {
        let Some(mark) = PayloadMark::of_wrapping(wrapped) else { return };
        if self.wrappings.contains(&mark) {
            return;
        }
        if self.wrappings.len() >= WRAPPINGS_KEPT {
            self.wrappings.remove(0);
        }
        self.wrappings.push(mark);
    }

    /// Notes the message and its wrapping of now.
    pub fn note(&mut self, payload: &SealedPayload) {
        self.message = PayloadMark::of_message(payload);
        self.note_wrapping(&payload.wrapped_key);
    }

    /// Marks that somebody else has told of; nothing when these are none, or more than there can be.
    #[must_use]
    pub fn told(marks: Vec<PayloadMark>) -> Option<Self> {
        let fits = !marks.is_empty() && marks.len() <= Self::MAX;
        fits.then_some(Self { message: None, wrappings: marks })
    }

    /// What to look for, each by itself.
    #[must_use]
    pub fn patterns(&self) -> Vec<[u8; PayloadMark::BYTES]> {
        self.message.iter().chain(&self.wrappings).map(PayloadMark::pattern).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::codec;

    fn wrapped(ciphertext: Vec<u8>) -> WrappedDataKey {
        WrappedDataKey::Keyring { keyring_key_id: 1, salt: [4; 32], ciphertext }
    }

    fn payload(ciphertext: Vec<u8>) -> SealedPayload {
        let (commitment, nonce) = ([1; 32], [2; 12]);
        let wrapped_key = wrapped(ciphertext);
        SealedPayload { format: 1, commitment, nonce, ciphertext: vec![3; 20], wrapped_key }
    }

    #[test]
    fn both_ends_are_found_in_the_payload_and_not_in_the_note_of_them() {
        let payload = payload((0..48).collect());
        let mut marks = PayloadMarks::default();
        marks.note(&payload);
        let (stored, note) = (codec::encode(&payload), codec::encode(&marks));
        assert_eq!(marks.patterns().len(), 2);
        for pattern in marks.patterns() {
            let holds = |bytes: &[u8]| bytes.windows(16).any(|window| window == pattern);
            assert!(holds(&stored) && !holds(&note));
            assert_eq!(PayloadMark::searching(pattern).pattern(), pattern);
        }
        assert_eq!(codec::decode::<PayloadMarks>(&note).unwrap(), marks);
    }

    #[test]
    fn what_is_too_short_has_none() {
        let mut marks = PayloadMarks::default();
        marks.note_wrapping(&wrapped(vec![7; 15]));
        assert_eq!(marks, PayloadMarks::default());
    }

    #[test]
    fn of_many_wrappings_the_newest_are_kept_and_the_message_always() {
        let mut marks = PayloadMarks::default();
        marks.note(&payload(vec![0; 16]));
        for number in 1..=u8::try_from(WRAPPINGS_KEPT).unwrap() {
            marks.note_wrapping(&wrapped(vec![number; 16]));
            marks.note_wrapping(&wrapped(vec![number; 16]));
        }
        let patterns = marks.patterns();
        assert_eq!(patterns.len(), PayloadMarks::MAX);
        assert_eq!((patterns[0], patterns[1], patterns[16]), ([3; 16], [1; 16], [16; 16]));
    }

    #[test]
    fn what_is_told_is_looked_for() {
        let mark = PayloadMark::searching([9; 16]);
        assert_eq!(PayloadMarks::told(vec![mark; 2]).unwrap().patterns(), [[9; 16]; 2]);
        assert_eq!(PayloadMarks::told(Vec::new()), None);
        assert_eq!(PayloadMarks::told(vec![mark; PayloadMarks::MAX + 1]), None);
    }
}
