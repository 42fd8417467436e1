//! AES-GCM under any key size, and the derivation of keys by HKDF-SHA256 (RFC 5869).
//!
//! Promises one uniform failure for whatever does not open. Refuses to know formats and ids.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use hkdf::Hkdf;
use lockbox_core::{Sensitive, SensitiveBytes, with_wiped_stack};
use sha2::Sha256;

use crate::algorithm::Algorithm;

/// Length of the GCM nonce, in bytes (NIST SP 800-38D §5.2.1.1).
pub(crate) const NONCE_BYTES: usize = 12;
/// Length of the GCM tag, in bytes.
pub(crate) const TAG_BYTES: usize = 16;

type Aes192Gcm = AesGcm<Aes192, U12>;

/// The message does not open: wrong key, nonce or associated data, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DoesNotOpen;

/// One GCM message's parameters besides its content.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<'a> {
    /// Selects the cipher.
    pub(crate) algorithm: Algorithm,
    /// Exactly [`Algorithm::key_bytes`] long.
    pub(crate) key: &'a [u8],
    /// Never used twice with one key.
    pub(crate) nonce: &'a [u8; NONCE_BYTES],
    /// Authenticated, not stored.
    pub(crate) associated_data: &'a [u8],
}

/// Encrypts; the tag is behind the ciphertext.
pub(crate) fn seal(parameters: Parameters<'_>, plaintext: &[u8]) -> Vec<u8> {
    let sealed = with_wiped_stack(|| match parameters.algorithm {
        Algorithm::Aes128 => seal_with::<Aes128Gcm>(parameters, plaintext),
        Algorithm::Aes192 => seal_with::<Aes192Gcm>(parameters, plaintext),
        Algorithm::Aes256 => seal_with::<Aes256Gcm>(parameters, plaintext),
    });
    // INVARIANT: GCM refuses only messages near 64 GiB, and the key length is the algorithm's.
    let Ok(ciphertext) = sealed else { unreachable!("the message is within the limits of GCM") };
    ciphertext
}

/// Decrypts what [`seal`] made.
pub(crate) fn open(
    parameters: Parameters<'_>,
    ciphertext: &[u8],
) -> Result<SensitiveBytes, DoesNotOpen> {
    with_wiped_stack(|| match parameters.algorithm {
        Algorithm::Aes128 => open_with::<Aes128Gcm>(parameters, ciphertext),
        Algorithm::Aes192 => open_with::<Aes192Gcm>(parameters, ciphertext),
        Algorithm::Aes256 => open_with::<Aes256Gcm>(parameters, ciphertext),
    })
}

fn seal_with<C>(parameters: Parameters<'_>, plaintext: &[u8]) -> Result<Vec<u8>, DoesNotOpen>
where
    C: KeyInit + Aead<NonceSize = U12>,
{
    let cipher = C::new_from_slice(parameters.key).map_err(|_| DoesNotOpen)?;
    let payload = Payload { msg: plaintext, aad: parameters.associated_data };
    cipher.encrypt(&(*parameters.nonce).into(), payload).map_err(|_| DoesNotOpen)
}

fn open_with<C>(
    parameters: Parameters<'_>,
    ciphertext: &[u8],
) -> Result<SensitiveBytes, DoesNotOpen>
where
    C: KeyInit + Aead<NonceSize = U12>,
{
    let cipher = C::new_from_slice(parameters.key).map_err(|_| DoesNotOpen)?;
    let payload = Payload { msg: ciphertext, aad: parameters.associated_data };
    cipher
        .decrypt(&(*parameters.nonce).into(), payload)
        .map(Sensitive::new)
        .map_err(|_| DoesNotOpen)
}

/// Derives as many bytes as `output` takes; at most 8160 (RFC 5869 §2.3). An output that is secret
/// lies on the heap: nothing of it is left on the stack.
pub(crate) fn derive(key: &[u8], salt: Option<&[u8]>, info: &[&[u8]], output: &mut [u8]) {
    let expanded =
        with_wiped_stack(|| Hkdf::<Sha256>::new(salt, key).expand_multi_info(info, output));
    // INVARIANT: every caller asks for at most 32 bytes.
    assert!(expanded.is_ok(), "HKDF output is too long");
}

/// Appends a part behind its length, so that two lists of parts never read as the same bytes.
pub(crate) fn push_part(data: &mut Vec<u8>, part: &[u8]) {
    data.extend_from_slice(&(part.len() as u64).to_be_bytes());
    data.extend_from_slice(part);
}
