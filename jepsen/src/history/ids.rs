//! Names of the things that a history speaks of, each its own type, and the hash of a value.
//!
//! Texts are shared (`Arc`), for a long history names the same secret thousands of times.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self(Arc::from(String::deserialize(deserializer)?)))
            }
        }
    };
}

text_id! {
    /// A secret, as the server named it.
    SecretId
}
text_id! {
    /// A version of a secret, as the server named it.
    VersionId
}
text_id! {
    /// The key of a payload entry; public (`contract §2.1`).
    EntryKey
}
text_id! {
    /// A folder.
    FolderId
}
text_id! {
    /// A walk through a list, page by page. The run's own name for it, which no server is told.
    WalkId
}
text_id! {
    /// Where a list goes on, as the server named it.
    PageToken
}
text_id! {
    /// Who calls. Rights of a named subject come from bindings on secrets alone.
    Subject
}
text_id! {
    /// A token of a reader: the run's own name for it, by which nobody is let in.
    TokenId
}
text_id! {
    /// The `idempotency-key` of a call (`contract §10`).
    IdempotencyKey
}
text_id! {
    /// A KMS key.
    KmsKeyId
}
text_id! {
    /// A request from a node to the KMS, as both ledgers name it.
    KmsRequestId
}

impl TokenId {
    /// The token with this number of a reader.
    #[must_use]
    pub fn of(reader: &Subject, number: usize) -> Self {
        Self::from(format!("{reader}/{number}").as_str())
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id! {
    /// An operation: dense from 0 in the order of invocation.
    OpId
}
number_id! {
    /// A worker that calls one operation at a time. After an operation of unknown outcome it is
    /// dead, and its thread goes on as another process, as in Jepsen.
    ProcessId
}
number_id! {
    /// A node of the cluster.
    NodeId
}
number_id! {
    /// A fault: both of its events carry the same one.
    FaultId
}

/// Stands for a value: the first 16 bytes of SHA-256 over its kind (`t` or `b`) and its bytes.
///
/// Values in a run are unique random bytes, so equal hashes mean that one operation wrote them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueHash(pub [u8; 16]);

impl fmt::Display for ValueHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ValueHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ValueHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ValueHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("a value hash is 32 lowercase hex digits");
        let lowercase = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(lowercase) {
            return Err(wrong());
        }
        let number = u128::from_str_radix(&text, 16).map_err(|_| wrong())?;
        Ok(Self(number.to_be_bytes()))
    }
}
