//! Sealing: entries in, ciphertext out, and back (`design §6`).
//!
//! Every version has its own random 256-bit data key. From it HKDF-SHA256 derives the message key
//! and a commitment to the data key, so that one ciphertext cannot open to two messages under two
//! keys. The whole payload is one AES-256-GCM message (NIST SP 800-38D) whose associated data
//! names the place it belongs to; the wrapped data key is authenticated with the same place and
//! the wrapping key, so a rewrap leaves the message untouched.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload as AeadPayload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use lockbox_core::{
    CloudId, FolderId, Mutant, Randomness, SecretId, Sensitive, SensitiveBytes, VersionId, mutant,
    with_wiped_stack,
};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Format of the message, its associated data and its wraps.
pub const SEAL_FORMAT: u8 = 1;
/// Length of every symmetric key here, in bytes.
pub const KEY_BYTES: usize = 32;

const INFO_MESSAGE: &[u8] = b"lockbox payload v1 message key";
const INFO_COMMITMENT: &[u8] = b"lockbox payload v1 key commitment";
const INFO_WRAP: &[u8] = b"lockbox keyring v1 wrap key";

/// A 256-bit key: wiped when dropped, never printed. On the heap, for a move copies what it moves
/// and leaves the original on the stack.
#[derive(Clone)]
pub struct SymmetricKey(Box<[u8; KEY_BYTES]>);

impl SymmetricKey {
    /// A new random key.
    #[must_use]
    pub fn generate(random: &dyn Randomness) -> Self {
        let mut key = Self::blank();
        random.fill(key.0.as_mut_slice());
        key
    }

    fn blank() -> Self {
        Self(Box::new([0; KEY_BYTES]))
    }

    /// Takes 32 bytes as a key.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != KEY_BYTES {
            return None;
        }
        let mut key = Self::blank();
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    /// The key bytes. Whoever calls this must not log, store or format them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl Drop for SymmetricKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SymmetricKey {}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where a payload belongs. A ciphertext moved elsewhere does not open (`peers.md` S10).
#[derive(Debug, Clone, Copy)]
pub struct SealPlace<'a> {
    /// Its cloud.
    pub cloud: &'a CloudId,
    /// Its folder.
    pub folder: &'a FolderId,
    /// Its secret.
    pub secret: &'a SecretId,
    /// Its version.
    pub version: &'a VersionId,
}

impl SealPlace<'_> {
    /// The associated data of the payload: format and place, each length-prefixed.
    #[must_use]
    pub fn associated_data(&self) -> Vec<u8> {
        let mut data = vec![SEAL_FORMAT];
        let parts = [
            self.cloud.as_str(),
            self.folder.as_str(),
            self.secret.as_str(),
            self.version.as_str(),
        ];
        for part in parts {
            push_part(&mut data, part);
        }
        data
    }

    /// The associated data of the wrapped data key: the place, then the wrapping key.
    #[must_use]
    pub fn wrap_data(&self, wrapping_key: &str) -> Vec<u8> {
        let mut data = self.associated_data();
        push_part(&mut data, wrapping_key);
        data
    }
}

fn push_part(data: &mut Vec<u8>, part: &str) {
    // Ids are at most 50 characters, so the length always fits.
    data.extend_from_slice(&(part.len() as u32).to_be_bytes());
    data.extend_from_slice(part.as_bytes());
}

/// A sealed message without its wrapped key. Without `PartialEq`: commitments are compared in
/// constant time, by [`open`].
#[derive(Clone)]
pub struct SealedMessage {
    /// Commitment to the data key.
    pub commitment: [u8; 32],
    /// GCM nonce.
    pub nonce: [u8; 12],
    /// GCM ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// A ciphertext does not open: wrong key, wrong place or damage. Uniform on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed data does not open")]
pub struct OpenError;

/// Seals an encoded payload under a data key that is used for nothing else.
#[must_use]
pub fn seal(
    data_key: &SymmetricKey,
    place: &SealPlace<'_>,
    plaintext: &SensitiveBytes,
    random: &dyn Randomness,
) -> SealedMessage {
    let mut nonce = [0; 12];
    random.fill(&mut nonce);
    let (commitment, mut ciphertext) = with_wiped_stack(|| {
        let message_key = derive(data_key, None, &[INFO_MESSAGE]);
        let commitment = *derive(data_key, None, &[INFO_COMMITMENT]).expose();
        let data = place.associated_data();
        (commitment, encrypt(&message_key, &nonce, plaintext.expose(), &data))
    });
    if mutant(Mutant::PlaintextAtRest) {
        ciphertext.clone_from(plaintext.expose());
    }
    SealedMessage { commitment, nonce, ciphertext }
}

/// Opens a sealed payload; the commitment is checked before anything is decrypted.
///
/// # Errors
/// [`OpenError`], the same for every cause.
pub fn open(
    data_key: &SymmetricKey,
    place: &SealPlace<'_>,
    message: &SealedMessage,
) -> Result<SensitiveBytes, OpenError> {
    with_wiped_stack(|| {
        let commitment = derive(data_key, None, &[INFO_COMMITMENT]);
        if !bool::from(commitment.expose().ct_eq(&message.commitment)) {
            return Err(OpenError);
        }
        if mutant(Mutant::PlaintextAtRest) {
            return Ok(Sensitive::new(message.ciphertext.clone()));
        }
        let message_key = derive(data_key, None, &[INFO_MESSAGE]);
        decrypt(&message_key, &message.nonce, &message.ciphertext, &place.associated_data())
    })
}

/// Wraps a data key under a keyring key. A fresh salt gives every wrap its own key, so the nonce
/// can be constant and no budget of nonces is shared (`design §6`).
#[must_use]
pub fn wrap(
    keyring_key: &SymmetricKey,
    data_key: &SymmetricKey,
    associated_data: &[u8],
    random: &dyn Randomness,
) -> ([u8; 32], Vec<u8>) {
    let mut salt = [0; 32];
    random.fill(&mut salt);
    let wrapped = with_wiped_stack(|| {
        let wrap_key = derive(keyring_key, Some(&salt), &[INFO_WRAP]);
        encrypt(&wrap_key, &[0; 12], data_key.expose(), associated_data)
    });
    (salt, wrapped)
}

/// Unwraps a data key.
///
/// # Errors
/// [`OpenError`], the same for every cause.
pub fn unwrap(
    keyring_key: &SymmetricKey,
    salt: &[u8; 32],
    wrapped: &[u8],
    associated_data: &[u8],
) -> Result<SymmetricKey, OpenError> {
    let key = with_wiped_stack(|| {
        let wrap_key = derive(keyring_key, Some(salt), &[INFO_WRAP]);
        decrypt(&wrap_key, &[0; 12], wrapped, associated_data)
    })?;
    SymmetricKey::from_slice(key.expose()).ok_or(OpenError)
}

fn derive(key: &SymmetricKey, salt: Option<&[u8]>, info: &[&[u8]]) -> SymmetricKey {
    let mut output = SymmetricKey::blank();
    let hkdf = Hkdf::<Sha256>::new(salt, key.expose());
    let expanded = hkdf.expand_multi_info(info, output.0.as_mut_slice());
    // INVARIANT: HKDF-SHA256 gives up to 8160 bytes (RFC 5869 §2.3); 32 always fit.
    assert!(expanded.is_ok(), "HKDF output is too long");
    output
}

fn encrypt(key: &SymmetricKey, nonce: &[u8; 12], plain: &[u8], data: &[u8]) -> Vec<u8> {
    let cipher = Aes256Gcm::new(key.expose().into());
    let sealed = cipher.encrypt(&Nonce::from(*nonce), AeadPayload { msg: plain, aad: data });
    // INVARIANT: GCM refuses only messages near 64 GiB; payloads are bounded at 64 KiB.
    let Ok(ciphertext) = sealed else { unreachable!("payload exceeds the GCM message limit") };
    ciphertext
}

fn decrypt(
    key: &SymmetricKey,
    nonce: &[u8; 12],
    ciphertext: &[u8],
    data: &[u8],
) -> Result<SensitiveBytes, OpenError> {
    let cipher = Aes256Gcm::new(key.expose().into());
    let opened = cipher.decrypt(&Nonce::from(*nonce), AeadPayload { msg: ciphertext, aad: data });
    opened.map(Sensitive::new).map_err(|_| OpenError)
}

#[cfg(test)]
mod two_keys;

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;

    use super::*;

    struct Ids(CloudId, FolderId, SecretId, VersionId);

    impl Ids {
        fn new() -> Self {
            let parse = "x1";
            Self(
                CloudId::parse(parse).unwrap(),
                FolderId::parse(parse).unwrap(),
                SecretId::parse(parse).unwrap(),
                VersionId::parse("v1").unwrap(),
            )
        }

        fn place(&self) -> SealPlace<'_> {
            SealPlace { cloud: &self.0, folder: &self.1, secret: &self.2, version: &self.3 }
        }
    }

    /// `peers.md` S10: nothing opens anywhere else than where it was sealed.
    #[test]
    fn security_s10_a_payload_opens_only_at_its_place_under_its_key() {
        let ids = Ids::new();
        let key = SymmetricKey::generate(&SystemRandom);
        let plain = Sensitive::new(b"value".to_vec());
        let sealed = seal(&key, &ids.place(), &plain, &SystemRandom);
        assert_eq!(open(&key, &ids.place(), &sealed).unwrap().expose(), b"value");

        let others = Ids(
            CloudId::parse("x2").unwrap(),
            FolderId::parse("x2").unwrap(),
            SecretId::parse("x2").unwrap(),
            VersionId::parse("v2").unwrap(),
        );
        let other = others.place();
        for moved in [
            SealPlace { cloud: other.cloud, ..ids.place() },
            SealPlace { folder: other.folder, ..ids.place() },
            SealPlace { secret: other.secret, ..ids.place() },
            SealPlace { version: other.version, ..ids.place() },
        ] {
            assert_eq!(open(&key, &moved, &sealed).err(), Some(OpenError), "{moved:?}");
            let (salt, wrapped) = wrap(&key, &key, &ids.place().wrap_data("k"), &SystemRandom);
            assert!(unwrap(&key, &salt, &wrapped, &moved.wrap_data("k")).is_err(), "{moved:?}");
        }
        // Two payloads of one place under their own keys: neither part fits the other.
        let second = seal(&key, &ids.place(), &Sensitive::new(b"other".to_vec()), &SystemRandom);
        let mixed = SealedMessage { nonce: second.nonce, ..sealed.clone() };
        assert_eq!(open(&key, &ids.place(), &mixed).err(), Some(OpenError));
        let other_key = SymmetricKey::generate(&SystemRandom);
        assert_eq!(open(&other_key, &ids.place(), &sealed).err(), Some(OpenError));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let ids = Ids::new();
        let key = SymmetricKey::generate(&SystemRandom);
        let sealed = seal(&key, &ids.place(), &Sensitive::new(vec![1, 2, 3]), &SystemRandom);
        for bit in 0..sealed.ciphertext.len() * 8 {
            let mut damaged = sealed.clone();
            damaged.ciphertext[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key, &ids.place(), &damaged).is_err());
        }
        let mut damaged = sealed.clone();
        damaged.commitment[0] ^= 1;
        assert!(open(&key, &ids.place(), &damaged).is_err());
        let mut damaged = sealed;
        damaged.nonce[0] ^= 1;
        assert!(open(&key, &ids.place(), &damaged).is_err());
    }

    #[test]
    fn a_wrapped_key_is_bound_to_place_and_wrapping_key() {
        let ids = Ids::new();
        let keyring = SymmetricKey::generate(&SystemRandom);
        let data_key = SymmetricKey::generate(&SystemRandom);
        let data = ids.place().wrap_data("keyring/1");
        let (salt, wrapped) = wrap(&keyring, &data_key, &data, &SystemRandom);
        assert_eq!(unwrap(&keyring, &salt, &wrapped, &data).unwrap().expose(), data_key.expose());
        let other = ids.place().wrap_data("keyring/2");
        assert!(unwrap(&keyring, &salt, &wrapped, &other).is_err());
        let (other_salt, _) = wrap(&keyring, &data_key, &data, &SystemRandom);
        assert_ne!(salt, other_salt);
        assert!(unwrap(&keyring, &other_salt, &wrapped, &data).is_err());
    }
}
