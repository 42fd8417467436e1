//! Identifiers: one newtype for each kind, so that two ids cannot be confused.
//!
//! A generated id is 20 characters, lowercase letters and digits: a 3-character prefix of the
//! kind and 17 characters that hold 85 random bits (`contract §2.1`). Ids are opaque: nothing
//! here or elsewhere reads a meaning out of one, and no id carries a node (`design §12`).

use std::fmt;

use minicbor::{Decode, Encode};

use crate::clock::Randomness;

/// Digits of the identifier alphabet: 32 characters, five bits each.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// Random characters behind the prefix.
const RANDOM_CHARS: usize = 17;
/// Longest identifier that a request may carry (`contract §9`: ids in requests ≤ 50).
pub const ID_CHARS_MAX: usize = 50;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("identifier is empty")]
    Empty,
    /// The text is longer than [`ID_CHARS_MAX`].
    #[error("identifier is longer than {ID_CHARS_MAX} characters")]
    TooLong,
    /// The text holds a character outside `[a-zA-Z0-9._-]`.
    #[error("identifier holds a character outside [a-zA-Z0-9._-]")]
    BadCharacter,
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > ID_CHARS_MAX {
        return Err(IdError::TooLong);
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.bytes().all(allowed) { Ok(()) } else { Err(IdError::BadCharacter) }
}

fn generate_text(prefix: &str, random: &dyn Randomness) -> String {
    let mut bytes = [0_u8; RANDOM_CHARS];
    random.fill(&mut bytes);
    let mut text = String::with_capacity(prefix.len() + RANDOM_CHARS);
    text.push_str(prefix);
    // 256 is a multiple of 32, so taking five bits of each byte is uniform.
    text.extend(bytes.iter().map(|b| char::from(ALPHABET[usize::from(b & 31)])));
    text
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] String);

        impl $name {
            /// The three characters that a generated id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes a new id from 85 random bits.
            #[must_use]
            pub fn generate(random: &dyn Randomness) -> Self {
                Self(generate_text($prefix, random))
            }

            /// Takes an id from a request or a file.
            ///
            /// # Errors
            /// [`IdError`] when the text is empty, too long or has a character that no id has.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

text_id!(
    /// A secret.
    SecretId, "e6q");
text_id!(
    /// A version of a secret. Unique across all kinds of ids, not only within its secret.
    VersionId, "e6q");
text_id!(
    /// A folder: holds secrets, keys and service accounts.
    FolderId, "b1g");
text_id!(
    /// A cloud: holds folders.
    CloudId, "b1g");
text_id!(
    /// An organization: holds clouds.
    OrganizationId, "bpf");
text_id!(
    /// A service account.
    ServiceAccountId, "aje");
text_id!(
    /// An authorized key of a service account; the `kid` of its JWTs.
    AuthorizedKeyId, "ajk");
text_id!(
    /// A symmetric key of the KMS.
    KmsKeyId, "abj");
text_id!(
    /// A version of a symmetric key of the KMS.
    KmsKeyVersionId, "abj");
text_id!(
    /// An operation: the record of one mutation.
    OperationId, "e6o");
text_id!(
    /// An issued IAM token; names it in audit and in the revocation list, without giving it away.
    TokenId, "ait");
text_id!(
    /// A cluster: made once at `cluster init`, checked on every peer call.
    ClusterId, "lbc");

/// A Raft node. Never reused within a cluster (`openraft.md §6`).
pub type NodeId = u64;

/// The largest id of a node: what is above is for servers that are none.
pub const NODE_ID_MAX: NodeId = u32::MAX as NodeId;

/// Stands for the KMS where an audit is named by the node that it is of: no node has this id.
pub const KMS_AUDIT_ID: NodeId = NODE_ID_MAX + 1;

/// Names one attempt to change state; retries of the same attempt keep it.
///
/// 16 random bytes, printed as a UUID. Exactly-once within a proposal's retries rests on it
/// (`openraft.md §7.3`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RequestId(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl RequestId {
    /// Makes a new random id.
    #[must_use]
    pub fn generate(random: &dyn Randomness) -> Self {
        let mut bytes = [0_u8; 16];
        random.fill(&mut bytes);
        // RFC 9562 §5.4: version 4, variant 10.
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// Takes 16 bytes as an id.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the UUID form (with or without hyphens), in either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 16];
        let mut digits = 0_usize;
        for c in text.chars() {
            if c == '-' {
                continue;
            }
            let digit = u8::try_from(c.to_digit(16)?).ok()?;
            let byte = bytes.get_mut(digits / 2)?;
            *byte = (*byte << 4) | digit;
            digits += 1;
        }
        (digits == 32).then_some(Self(bytes))
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);

    impl Randomness for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for b in bytes {
                *b = self.0.fetch_add(7, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn generated_ids_have_the_published_shape() {
        let random = Counting(0.into());
        let id = SecretId::generate(&random);
        assert_eq!(id.as_str().len(), 20);
        assert!(id.as_str().starts_with("e6q"));
        let shape = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        assert!(id.as_str().bytes().all(shape));
        assert_ne!(id, SecretId::generate(&random));
    }

    #[test]
    fn parse_refuses_what_no_id_holds() {
        assert_eq!(SecretId::parse(""), Err(IdError::Empty));
        assert_eq!(SecretId::parse(&"a".repeat(51)), Err(IdError::TooLong));
        assert_eq!(SecretId::parse("a/b"), Err(IdError::BadCharacter));
        assert_eq!(SecretId::parse("b1gsecret").map(String::from), Ok("b1gsecret".to_owned()));
    }

    #[test]
    fn request_id_survives_its_text_form() {
        let id = RequestId::generate(&Counting(3.into()));
        assert_eq!(RequestId::parse(&id.to_string()), Some(id));
        assert_eq!(RequestId::parse("not-a-uuid"), None);
        assert_eq!(RequestId::parse(&"a".repeat(34)), None);
    }
}
