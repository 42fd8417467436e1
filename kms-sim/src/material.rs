//! Key material and its wrapping under the root key.
//!
//! Promises: material is wiped when dropped and cannot be printed; a wrap opens only at the key,
//! version and algorithm that it was made for, under the root key that made it. Each wrap has a
//! key of its own (fresh salt), so that no nonce budget is shared (`design §6`); the commitment
//! to the wrapping key is checked before anything is decrypted.

use lockbox_core::{KmsKeyId, KmsKeyVersionId, Randomness};
use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::algorithm::Algorithm;
use crate::gcm::{self, NONCE_BYTES, Parameters, push_part};
use crate::root_key::{RootKey, RootKeyId};

/// Format of wraps.
pub(crate) const WRAP_FORMAT: u8 = 1;
const SALT_BYTES: usize = 32;
const COMMITMENT_BYTES: usize = 32;
const INFO_WRAP_KEY: &[u8] = b"lockbox kms material v1 wrap key";
const INFO_WRAP_COMMITMENT: &[u8] = b"lockbox kms material v1 wrap commitment";

/// The secret bytes of one key version. No `Debug`, wiped when dropped.
pub struct KeyMaterial {
    algorithm: Algorithm,
    bytes: Zeroizing<Vec<u8>>,
}

impl KeyMaterial {
    /// New random material.
    #[must_use]
    pub fn generate(algorithm: Algorithm, random: &dyn Randomness) -> Self {
        let mut bytes = Zeroizing::new(vec![0; algorithm.key_bytes()]);
        random.fill(&mut bytes);
        Self { algorithm, bytes }
    }

    /// What the material is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The bytes. Whoever calls this must not log, store or format them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a wrap belongs to; all of it is authenticated.
#[derive(Debug, Clone, Copy)]
pub struct MaterialPlace<'a> {
    /// The key.
    pub key_id: &'a KmsKeyId,
    /// The version.
    pub version_id: &'a KmsKeyVersionId,
    /// The algorithm.
    pub algorithm: Algorithm,
}

impl MaterialPlace<'_> {
    fn associated_data(&self) -> Vec<u8> {
        let mut data = vec![WRAP_FORMAT, self.algorithm as u8];
        push_part(&mut data, self.key_id.as_str().as_bytes());
        push_part(&mut data, self.version_id.as_str().as_bytes());
        data
    }
}

/// Wrapped key material as it is stored. Without `PartialEq`: commitments are compared in constant
/// time, by [`unwrap`].
#[derive(Debug, Clone, Encode, Decode)]
pub struct WrappedMaterial {
    /// Which root key wraps it; a rotation of the root finds the old wraps by it.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub root_key_id: RootKeyId,
    /// Fresh for each wrap.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub salt: [u8; SALT_BYTES],
    /// Commitment to the wrapping key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub commitment: [u8; COMMITMENT_BYTES],
    /// GCM ciphertext and tag.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub ciphertext: Vec<u8>,
}

/// A wrap does not open: another root key, another place, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("wrapped key material does not open")]
pub struct UnwrapError;

/// Wraps material under the root key.
#[must_use]
pub fn wrap(
    root: &RootKey,
    material: &KeyMaterial,
    place: &MaterialPlace<'_>,
    random: &dyn Randomness,
) -> WrappedMaterial {
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt);
    let wrap_key = wrap_key(root, &salt);
    // The key is used for this one message, so a constant nonce never repeats under it.
    let ciphertext = gcm::seal(
        Parameters {
            algorithm: Algorithm::Aes256,
            key: wrap_key.as_slice(),
            nonce: &[0; NONCE_BYTES],
            associated_data: &place.associated_data(),
        },
        material.expose(),
    );
    WrappedMaterial {
        root_key_id: root.id(),
        salt,
        commitment: commitment(root, &salt),
        ciphertext,
    }
}

/// Opens a wrap.
///
/// # Errors
/// [`UnwrapError`], the same for every cause.
pub fn unwrap(
    root: &RootKey,
    wrapped: &WrappedMaterial,
    place: &MaterialPlace<'_>,
) -> Result<KeyMaterial, UnwrapError> {
    if !bool::from(commitment(root, &wrapped.salt).ct_eq(&wrapped.commitment)) {
        return Err(UnwrapError);
    }
    let wrap_key = wrap_key(root, &wrapped.salt);
    let opened = gcm::open(
        Parameters {
            algorithm: Algorithm::Aes256,
            key: wrap_key.as_slice(),
            nonce: &[0; NONCE_BYTES],
            associated_data: &place.associated_data(),
        },
        &wrapped.ciphertext,
    )
    .map_err(|_| UnwrapError)?;
    if opened.expose().len() != place.algorithm.key_bytes() {
        return Err(UnwrapError);
    }
    let bytes = Zeroizing::new(opened.expose().clone());
    Ok(KeyMaterial { algorithm: place.algorithm, bytes })
}

fn wrap_key(root: &RootKey, salt: &[u8; SALT_BYTES]) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(vec![0; Algorithm::Aes256.key_bytes()]);
    root.derive(Some(salt), &[INFO_WRAP_KEY], &mut key);
    key
}

fn commitment(root: &RootKey, salt: &[u8; SALT_BYTES]) -> [u8; COMMITMENT_BYTES] {
    let mut commitment = [0; COMMITMENT_BYTES];
    root.derive(Some(salt), &[INFO_WRAP_COMMITMENT], &mut commitment);
    commitment
}

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;

    use super::*;

    #[test]
    fn a_wrap_opens_only_at_its_place_under_its_root() {
        let root = RootKey::from_bytes(&[1; 32]);
        let key_id = KmsKeyId::parse("k1").unwrap();
        let version_id = KmsKeyVersionId::parse("v1").unwrap();
        let other_version = KmsKeyVersionId::parse("v2").unwrap();
        for algorithm in Algorithm::ALL {
            let place = MaterialPlace { key_id: &key_id, version_id: &version_id, algorithm };
            let material = KeyMaterial::generate(algorithm, &SystemRandom);
            let wrapped = wrap(&root, &material, &place, &SystemRandom);
            let opened = unwrap(&root, &wrapped, &place).ok().unwrap();
            assert_eq!(opened.expose(), material.expose());

            let moved = MaterialPlace { version_id: &other_version, ..place };
            assert!(unwrap(&root, &wrapped, &moved).is_err());
            assert!(unwrap(&RootKey::from_bytes(&[2; 32]), &wrapped, &place).is_err());
            let mut damaged = wrapped.clone();
            damaged.ciphertext[0] ^= 1;
            assert!(unwrap(&root, &damaged, &place).is_err());
            let mut damaged = wrapped;
            damaged.salt[0] ^= 1;
            assert!(unwrap(&root, &damaged, &place).is_err());
        }
    }
}
