//! A root key out of a passphrase: Argon2id (RFC 9106), with salt and cost as the store keeps them.
//!
//! Promises: the same passphrase and derivation give the same key; the memory that it took is
//! wiped; a derivation that is cheaper or more costly than any of ours is refused, so that an
//! altered row neither makes guessing easy nor takes the whole machine. Refuses to know where the
//! passphrase comes from.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use lockbox_core::{Randomness, SensitiveBytes};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::root_key::{ROOT_KEY_BYTES, RootKey};

/// The environment variable that can hold the passphrase.
pub const PASSPHRASE_VARIABLE: &str = "KMS_ROOT_PASSPHRASE";
/// Shortest passphrase accepted, in bytes. Whoever has the data can guess for years.
pub const PASSPHRASE_BYTES_MIN: usize = 16;
/// Longest passphrase accepted, in bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;

const SALT_BYTES: usize = 32;
/// The second of the recommended options of RFC 9106 §4: 64 MiB, three passes, four lanes.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// Most that a derivation of the store may cost: a later release may ask for more than this one.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// How a root key is derived. Nothing in it is secret; without it the passphrase is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Derivation {
    /// Random, made with the store.
    #[cbor(n(0), with = "minicbor::bytes")]
    salt: [u8; SALT_BYTES],
    /// Memory, in KiB.
    #[n(1)]
    memory_kib: u32,
    /// Passes over the memory.
    #[n(2)]
    passes: u32,
    /// Parts of the memory that can be filled at the same time.
    #[n(3)]
    lanes: u32,
}

/// The stored derivation is none that a release of ours has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store does not say how the root key is derived from the passphrase")]
pub struct DerivationError;

impl Derivation {
    /// A new one, with a random salt.
    #[must_use]
    pub fn fresh(random: &dyn Randomness) -> Self {
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt);
        Self { salt, memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES }
    }

    /// The root key of a passphrase. Takes a part of a second and 64 MiB, on purpose.
    ///
    /// # Errors
    /// [`DerivationError`].
    pub fn root_key(&self, passphrase: &SensitiveBytes) -> Result<RootKey, DerivationError> {
        let params = self.params()?;
        let mut blocks = Zeroizing::new(vec![Block::default(); params.block_count()]);
        let mut key = Zeroizing::new(vec![0; ROOT_KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                passphrase.expose(),
                &self.salt,
                &mut key,
                blocks.as_mut_slice(),
            )
            .map_err(|_| DerivationError)?;
        Ok(RootKey::from_zeroizing(key))
    }

    fn params(&self) -> Result<Params, DerivationError> {
        let Self { memory_kib, passes, lanes, .. } = *self;
        let known = (MEMORY_KIB..=MEMORY_KIB_MAX).contains(&memory_kib)
            && (PASSES..=PASSES_MAX).contains(&passes)
            && (1..=LANES_MAX).contains(&lanes);
        if !known {
            return Err(DerivationError);
        }
        Params::new(memory_kib, passes, lanes, Some(ROOT_KEY_BYTES)).map_err(|_| DerivationError)
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::Sensitive;
    use lockbox_platform::system::SystemRandom;

    use super::*;

    fn id(derivation: &Derivation, passphrase: &str) -> [u8; 8] {
        let passphrase = Sensitive::new(passphrase.as_bytes().to_vec());
        derivation.root_key(&passphrase).map(|key| key.id()).unwrap()
    }

    #[test]
    fn a_key_is_of_its_passphrase_and_its_salt() {
        let derivation = Derivation::fresh(&SystemRandom);
        let first = id(&derivation, "correct horse battery");
        assert_eq!(first, id(&derivation, "correct horse battery"));
        assert_ne!(first, id(&derivation, "correct horse batterz"));
        assert_ne!(first, id(&Derivation::fresh(&SystemRandom), "correct horse battery"));
    }

    #[test]
    fn a_derivation_that_costs_nothing_or_everything_is_refused() {
        let ours = Derivation::fresh(&SystemRandom);
        let passphrase = Sensitive::new(b"correct horse battery".to_vec());
        for altered in [
            Derivation { memory_kib: 8, ..ours.clone() },
            Derivation { memory_kib: u32::MAX, ..ours.clone() },
            Derivation { passes: 1, ..ours.clone() },
            Derivation { passes: u32::MAX, ..ours.clone() },
            Derivation { lanes: 0, ..ours.clone() },
            Derivation { lanes: u32::MAX, ..ours },
        ] {
            assert_eq!(altered.root_key(&passphrase).err(), Some(DerivationError), "{altered:?}");
        }
    }

    /// RFC 9106 §5.3: that what the crate calls Argon2id is Argon2id.
    #[test]
    fn the_published_vector_comes_out() {
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .output_len(32)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let secret = [3; 8];
        let argon = Argon2::new_with_secret(&secret, Algorithm::Argon2id, Version::V0x13, params);
        let (mut out, mut blocks) = ([0_u8; 32], vec![Block::default(); 32]);
        argon
            .unwrap()
            .hash_password_into_with_memory(&[1; 32], &[2; 16], &mut out, blocks.as_mut_slice())
            .unwrap();
        assert_eq!(
            hex::encode(out),
            "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
        );
    }
}
