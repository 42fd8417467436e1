//! The ciphertext that clients hold: `magic | format | version id | nonce | commitment | body`.
//!
//! Owns the layout (`contract §3.3`) and its cryptography. Promises: the header, the key's id and
//! the caller's context are all authenticated; the commitment to the key is checked before
//! anything is decrypted, so that one ciphertext cannot open to two messages under two keys; every
//! ciphertext that does not open fails in the same way. Refuses to know who may use a key.

use lockbox_core::{KmsKeyId, KmsKeyVersionId, Randomness, SensitiveBytes};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::gcm::{self, NONCE_BYTES, Parameters, TAG_BYTES, push_part};
use crate::material::KeyMaterial;

/// Longest ciphertext accepted, in bytes (`contract §3.3`: 64 KiB).
pub const CIPHERTEXT_BYTES_MAX: usize = 64 * 1024;

/// The first bytes of every ciphertext.
const MAGIC: &[u8; 3] = b"LKC";
/// The only layout so far.
pub(crate) const FORMAT: u8 = 1;
const COMMITMENT_BYTES: usize = 32;
const INFO_MESSAGE_KEY: &[u8] = b"lockbox kms ciphertext v1 message key";
const INFO_COMMITMENT: &[u8] = b"lockbox kms ciphertext v1 key commitment";

/// A ciphertext is not ours, is damaged, or belongs to another key or context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext cannot be decrypted with this key and context")]
pub struct CiphertextError;

/// A ciphertext taken apart. Nothing in it is to be trusted before it has been opened.
#[derive(Debug, Clone)]
pub struct Ciphertext<'a> {
    /// The version that claims to have made it.
    pub version_id: KmsKeyVersionId,
    /// Magic, format and version id, as they are authenticated.
    header: &'a [u8],
    nonce: &'a [u8; NONCE_BYTES],
    commitment: &'a [u8; COMMITMENT_BYTES],
    body: &'a [u8],
}

impl<'a> Ciphertext<'a> {
    /// Takes a ciphertext apart.
    ///
    /// # Errors
    /// [`CiphertextError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CiphertextError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(CiphertextError)?;
        let rest = rest.strip_prefix(&[FORMAT]).ok_or(CiphertextError)?;
        let (&id_bytes, rest) = rest.split_first().ok_or(CiphertextError)?;
        let (version_id, rest) =
            rest.split_at_checked(usize::from(id_bytes)).ok_or(CiphertextError)?;
        let header = &bytes[..bytes.len() - rest.len()];
        let (nonce, rest) = rest.split_first_chunk().ok_or(CiphertextError)?;
        let (commitment, body) = rest.split_first_chunk().ok_or(CiphertextError)?;
        if body.len() < TAG_BYTES {
            return Err(CiphertextError);
        }
        let version_id = std::str::from_utf8(version_id).map_err(|_| CiphertextError)?;
        let version_id = KmsKeyVersionId::parse(version_id).map_err(|_| CiphertextError)?;
        Ok(Self { version_id, header, nonce, commitment, body })
    }

    /// Decrypts it.
    ///
    /// # Errors
    /// [`CiphertextError`], the same for every cause.
    pub fn open(
        &self,
        material: &KeyMaterial,
        key_id: &KmsKeyId,
        context: &[u8],
    ) -> Result<SensitiveBytes, CiphertextError> {
        let commitment = commitment(material, key_id, &self.version_id);
        if !bool::from(commitment.ct_eq(self.commitment)) {
            return Err(CiphertextError);
        }
        let parameters = Parameters {
            algorithm: material.algorithm(),
            key: &message_key(material),
            nonce: self.nonce,
            associated_data: &associated_data(self.header, key_id, context),
        };
        gcm::open(parameters, self.body).map_err(|_| CiphertextError)
    }
}

/// Encrypts under one version of a key. The nonce is fresh: equal plaintexts look different.
#[must_use]
pub fn seal(
    material: &KeyMaterial,
    key_id: &KmsKeyId,
    version_id: &KmsKeyVersionId,
    context: &[u8],
    plaintext: &[u8],
    random: &dyn Randomness,
) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    random.fill(&mut nonce);
    let id = version_id.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(128 + plaintext.len());
    bytes.extend_from_slice(MAGIC);
    bytes.push(FORMAT);
    // INVARIANT: an id has at most 50 characters (`lockbox_core::id`).
    bytes.push(u8::try_from(id.len()).expect("an id has at most 50 characters"));
    bytes.extend_from_slice(id);
    let body = gcm::seal(
        Parameters {
            algorithm: material.algorithm(),
            key: &message_key(material),
            nonce: &nonce,
            associated_data: &associated_data(&bytes, key_id, context),
        },
        plaintext,
    );
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&commitment(material, key_id, version_id));
    bytes.extend_from_slice(&body);
    bytes
}

fn associated_data(header: &[u8], key_id: &KmsKeyId, context: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(128 + context.len());
    push_part(&mut data, header);
    push_part(&mut data, key_id.as_str().as_bytes());
    push_part(&mut data, context);
    data
}

/// Not the material itself: the commitment must say nothing about the key that encrypts.
fn message_key(material: &KeyMaterial) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(vec![0; material.algorithm().key_bytes()]);
    gcm::derive(material.expose(), None, &[INFO_MESSAGE_KEY], &mut key);
    key
}

fn commitment(
    material: &KeyMaterial,
    key_id: &KmsKeyId,
    version_id: &KmsKeyVersionId,
) -> [u8; COMMITMENT_BYTES] {
    let mut place = Vec::with_capacity(64);
    push_part(&mut place, key_id.as_str().as_bytes());
    push_part(&mut place, version_id.as_str().as_bytes());
    let mut commitment = [0; COMMITMENT_BYTES];
    gcm::derive(material.expose(), None, &[INFO_COMMITMENT, &place], &mut commitment);
    commitment
}

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;
    use proptest::prelude::*;

    use super::*;
    use crate::algorithm::Algorithm;

    struct Fixture {
        material: KeyMaterial,
        key_id: KmsKeyId,
        version_id: KmsKeyVersionId,
    }

    impl Fixture {
        fn new(algorithm: Algorithm) -> Self {
            Self {
                material: KeyMaterial::generate(algorithm, &SystemRandom),
                key_id: KmsKeyId::generate(&SystemRandom),
                version_id: KmsKeyVersionId::generate(&SystemRandom),
            }
        }

        fn seal(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
            let Self { material, key_id, version_id } = self;
            seal(material, key_id, version_id, context, plaintext, &SystemRandom)
        }

        fn open(&self, bytes: &[u8], context: &[u8]) -> Result<Vec<u8>, CiphertextError> {
            let parsed = Ciphertext::parse(bytes)?;
            let opened = parsed.open(&self.material, &self.key_id, context)?;
            Ok(opened.expose().clone())
        }
    }

    #[test]
    fn every_algorithm_opens_what_it_sealed_and_nothing_else_does() {
        for algorithm in Algorithm::ALL {
            let fixture = Fixture::new(algorithm);
            let sealed = fixture.seal(b"context", b"value");
            assert_eq!(fixture.open(&sealed, b"context"), Ok(b"value".to_vec()));
            assert_ne!(fixture.seal(b"context", b"value"), sealed);
            assert_eq!(fixture.open(&sealed, b"contexT"), Err(CiphertextError));
            assert_eq!(fixture.open(&sealed, b""), Err(CiphertextError));

            let other =
                Fixture { version_id: fixture.version_id.clone(), ..Fixture::new(algorithm) };
            assert_eq!(other.open(&sealed, b"context"), Err(CiphertextError));
            // The same material under another key id: only the binding to the id refuses it.
            let renamed = Fixture { key_id: KmsKeyId::generate(&SystemRandom), ..fixture };
            assert_eq!(renamed.open(&sealed, b"context"), Err(CiphertextError));
        }
    }

    #[test]
    fn a_largest_plaintext_stays_below_the_largest_ciphertext() {
        let fixture = Fixture::new(Algorithm::Aes256);
        assert!(fixture.seal(&[0; 8192], &[0; 32_768]).len() <= CIPHERTEXT_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn every_flipped_bit_and_every_cut_is_noticed(
            plaintext in proptest::collection::vec(any::<u8>(), 1..200),
            context in proptest::collection::vec(any::<u8>(), 0..40),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let fixture = Fixture::new(Algorithm::Aes256);
            let sealed = fixture.seal(&context, &plaintext);
            prop_assert_eq!(fixture.open(&sealed, &context), Ok(plaintext));
            let mut damaged = sealed.clone();
            damaged[at.index(sealed.len())] ^= 1 << bit;
            prop_assert_eq!(fixture.open(&damaged, &context), Err(CiphertextError));
            let cut = &sealed[..at.index(sealed.len())];
            prop_assert_eq!(fixture.open(cut, &context), Err(CiphertextError));
            let mut longer = sealed;
            longer.push(bit);
            prop_assert_eq!(fixture.open(&longer, &context), Err(CiphertextError));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let fixture = Fixture::new(Algorithm::Aes128);
            let mut framed = b"LKC\x01".to_vec();
            framed.extend_from_slice(&bytes);
            prop_assert!(fixture.open(&bytes, b"").is_err());
            prop_assert!(fixture.open(&framed, b"").is_err());
        }
    }
}
