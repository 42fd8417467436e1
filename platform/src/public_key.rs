//! Public keys that were made elsewhere: checked, and in one spelling.
//!
//! Promises: what is accepted can verify the JWTs of `contract §0.2`, and equal keys have equal
//! texts. Refuses to know whose a key is.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use crate::authorized_key::{KeyAlgorithm, to_pem};

/// The text is no public key that an account can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an RSA public key of 2048 or 4096 bits in PEM")]
pub struct PublicKeyError;

/// The public half of an authorized key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    pem: String,
}

impl PublicKey {
    /// Reads X.509 SubjectPublicKeyInfo in PEM.
    ///
    /// # Errors
    /// [`PublicKeyError`] when it is anything but an RSA key of 2048 or 4096 bits.
    pub fn parse(pem: &str) -> Result<Self, PublicKeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|_malformed| PublicKeyError)?;
        let key = PublicEncryptingKey::from_der(der.as_ref()).map_err(|_refused| PublicKeyError)?;
        let algorithm = match key.key_size_bits() {
            2048 => KeyAlgorithm::Rsa2048,
            4096 => KeyAlgorithm::Rsa4096,
            _ => return Err(PublicKeyError),
        };
        // Encoded anew, so that two spellings of one key cannot pass for two keys.
        let canonical: PublicKeyX509Der<'_> = key.as_der().map_err(|_| PublicKeyError)?;
        let pem = to_pem("PUBLIC KEY", canonical.as_ref()).to_string();
        Ok(Self { algorithm, pem })
    }

    /// Its kind.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The key in PEM, lines of 64 characters.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::PublicKeyX509Der;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::KeyPair as _;

    use super::*;
    use crate::authorized_key::generate_key_pair;

    #[test]
    fn our_own_keys_are_read_in_every_spelling() {
        let made = generate_key_pair(KeyAlgorithm::Rsa2048).expect("a key");
        let read = PublicKey::parse(&made.public_key_pem).expect("a public key");
        assert_eq!((read.algorithm(), read.pem()), (KeyAlgorithm::Rsa2048, &*made.public_key_pem));
        let dos = format!("a remark\r\n{}", made.public_key_pem.replace('\n', "\r\n"));
        assert_eq!(PublicKey::parse(&dos), Ok(read));
    }

    #[test]
    fn other_sizes_and_other_things_are_refused() {
        let odd = KeyPair::generate(KeySize::Rsa3072).expect("a key");
        let der: PublicKeyX509Der<'_> = odd.public_key().as_der().expect("its encoding");
        let made = generate_key_pair(KeyAlgorithm::Rsa2048).expect("a key");
        let cut = made.public_key_pem.replacen("MII", "MIJ", 1);
        for wrong in [
            "",
            "canary",
            "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n",
            made.private_key_pem.expose(),
            &cut,
            &to_pem("PUBLIC KEY", der.as_ref()),
        ] {
            assert_eq!(PublicKey::parse(wrong), Err(PublicKeyError));
        }
    }
}
