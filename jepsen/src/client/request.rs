//! What a worker sends: the call as the history shows it, and the values that it does not show.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::history::call::{Call, EntryChange};
use crate::history::ids::{EntryKey, IdempotencyKey, Subject, TokenId, ValueHash};

/// A value of an entry. Never printed; wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub enum Plaintext {
    /// Sent as `text_value`.
    Text(Zeroizing<String>),
    /// Sent as `binary_value`.
    Binary(Zeroizing<Vec<u8>>),
}

impl Plaintext {
    /// What the history shows in its place.
    #[must_use]
    pub fn hash(&self) -> ValueHash {
        match self {
            Self::Text(text) => hash_text(text),
            Self::Binary(bytes) => hash_binary(bytes),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The hash of a text value.
#[must_use]
pub fn hash_text(text: &str) -> ValueHash {
    hash(b't', text.as_bytes())
}

/// The hash of a binary value.
#[must_use]
pub fn hash_binary(bytes: &[u8]) -> ValueHash {
    hash(b'b', bytes)
}

fn hash(kind: u8, bytes: &[u8]) -> ValueHash {
    let digest = Sha256::new().chain_update([kind]).chain_update(bytes).finalize();
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    ValueHash(short)
}

/// One change of one key, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: EntryKey,
    /// The new value; absent removes the key.
    pub value: Option<Plaintext>,
}

/// One request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    call: Call,
    /// Beside the entries of the call, in their order.
    values: Vec<Option<Plaintext>>,
    /// Sent as `idempotency-key` (`contract §10`).
    pub idempotency_key: Option<IdempotencyKey>,
    /// Who asks; nobody is the run's administrator.
    pub subject: Option<Subject>,
    /// By which of its tokens; none is the one that it keeps.
    pub token: Option<TokenId>,
}

impl Request {
    /// A call that carries no values.
    #[must_use]
    pub const fn new(call: Call) -> Self {
        Self { call, values: Vec::new(), idempotency_key: None, subject: None, token: None }
    }

    /// A call that carries these changes; it is made of their hashes.
    #[must_use]
    pub fn with_values(changes: Vec<Change>, call: impl FnOnce(Vec<EntryChange>) -> Call) -> Self {
        let hashed = changes.iter().map(|change| EntryChange {
            key: change.key.clone(),
            value: change.value.as_ref().map(Plaintext::hash),
        });
        let call = call(hashed.collect());
        let values = changes.into_iter().map(|change| change.value).collect();
        Self { call, values, idempotency_key: None, subject: None, token: None }
    }

    /// The same, asked by this one.
    #[must_use]
    pub fn by(self, subject: Option<Subject>) -> Self {
        Self { subject, ..self }
    }

    /// The same, by this one of the asker's tokens.
    #[must_use]
    pub fn with_token(self, token: Option<TokenId>) -> Self {
        Self { token, ..self }
    }

    /// What the history shows.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// The values of its entries, in their order.
    #[must_use]
    pub fn values(&self) -> &[Option<Plaintext>] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::call::AddVersion;

    #[test]
    fn the_kind_of_a_value_is_part_of_its_hash() {
        let text = Plaintext::Text(Zeroizing::new("canary".to_owned()));
        let binary = Plaintext::Binary(Zeroizing::new(b"canary".to_vec()));
        assert_eq!(text.bytes(), binary.bytes());
        assert_ne!(text.hash(), binary.hash());
        // SHA-256 of "tcanary", by sha256sum.
        assert_eq!(text.hash().to_string(), "e3881598905d7e442940619267c53da3");
    }

    #[test]
    fn a_request_prints_no_value() {
        let value = Some(Plaintext::Text(Zeroizing::new("canary".to_owned())));
        let change = Change { key: EntryKey::from("k"), value };
        let request = Request::with_values(vec![change], |changes| {
            Call::AddVersion(AddVersion {
                secret: "s".into(),
                base: None,
                changes,
                description: String::new(),
                if_version: None,
            })
        });
        assert!(!format!("{request:?}").contains("canary"));
    }
}
