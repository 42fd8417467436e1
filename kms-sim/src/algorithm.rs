//! The algorithms that key versions can have, and how many bytes of key each takes.
//!
//! Refuses to know what needs hardware or a certified library: AES_256_HSM and GOST stay on the
//! wire and are answered UNIMPLEMENTED there (`contract §13` no. 31).

use minicbor::{Decode, Encode};

/// An algorithm of a key version; all are GCM with a 96-bit nonce and a 128-bit tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Algorithm {
    /// AES-128-GCM.
    #[n(1)]
    Aes128,
    /// AES-192-GCM.
    #[n(2)]
    Aes192,
    /// AES-256-GCM.
    #[n(3)]
    Aes256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Aes128, Self::Aes192, Self::Aes256];

    /// Length of the key, in bytes.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// The name on the wire and in audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes128 => "AES_128",
            Self::Aes192 => "AES_192",
            Self::Aes256 => "AES_256",
        }
    }
}
