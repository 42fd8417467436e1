//! Who may open a sealed file: an X25519 key pair, of which servers have the public half alone.

use std::fmt;

use lockbox_core::Sensitive;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

use super::heading::Wrap;
use super::{FileKey, SealedFileError};

/// What a recipient's text begins with.
const RECIPIENT: &str = "lockbox-recipient-1-";
/// What the text of a recipient's key begins with.
const RECIPIENT_KEY: &str = "lockbox-recipient-key-1-";
/// What HPKE binds a wrap to.
const INFO: &[u8] = b"lockbox sealed file v1 file key";

fn suite() -> &'static dyn Hpke {
    DH_KEM_X25519_HKDF_SHA256_AES_256
}

/// Somebody who may open a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient([u8; 32]);

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RECIPIENT}{}", hex::encode(self.0))
    }
}

impl Recipient {
    /// Reads what [`fmt::Display`] wrote.
    ///
    /// # Errors
    /// [`SealedFileError::Unreadable`].
    pub fn parse(text: &str) -> Result<Self, SealedFileError> {
        let unreadable = SealedFileError::Unreadable("recipient");
        match text.trim().strip_prefix(RECIPIENT).map(key_bytes) {
            Some(Some(key)) => Ok(Self(key)),
            Some(None) | None => Err(unreadable),
        }
    }

    /// The file's key, for this recipient alone.
    ///
    /// # Errors
    /// [`SealedFileError::Unreadable`] when the recipient is no point of the curve.
    pub fn wrap(&self, key: &FileKey) -> Result<Wrap, SealedFileError> {
        let public = HpkePublicKey(self.0.to_vec());
        let sealed = suite().seal(INFO, &[], key.expose(), &public);
        let (encapsulated, wrapped) =
            sealed.map_err(|_| SealedFileError::Unreadable("recipient"))?;
        Ok(Wrap::Recipient {
            recipient: self.to_string(),
            encapsulated: hex::encode(encapsulated.0),
            wrapped: hex::encode(wrapped),
        })
    }
}

/// What a recipient opens files with.
pub struct RecipientKey {
    secret: Sensitive<[u8; 32]>,
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl RecipientKey {
    /// A new key, and who can open files with it.
    ///
    /// # Errors
    /// [`SealedFileError::Unreadable`] when the library makes none.
    pub fn generate() -> Result<(Self, Recipient), SealedFileError> {
        let unreadable = || SealedFileError::Unreadable("recipient's key");
        let (public, private) = suite().generate_key_pair().map_err(|_| unreadable())?;
        let public = <[u8; 32]>::try_from(public.0.as_slice()).map_err(|_| unreadable())?;
        let secret = <[u8; 32]>::try_from(private.secret_bytes()).map_err(|_| unreadable())?;
        Ok((Self { secret: Sensitive::new(secret) }, Recipient(public)))
    }

    /// Reads a key file: lines that begin with `#` are for people.
    ///
    /// # Errors
    /// [`SealedFileError::Unreadable`], which quotes nothing.
    pub fn parse(text: &str) -> Result<Self, SealedFileError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines.find(|line| !line.starts_with('#'));
        match line.and_then(|line| line.strip_prefix(RECIPIENT_KEY)).map(key_bytes) {
            Some(Some(key)) => Ok(Self { secret: Sensitive::new(key) }),
            Some(None) | None => Err(SealedFileError::Unreadable("recipient's key")),
        }
    }

    /// The content of a key file.
    #[must_use]
    pub fn to_file(&self, recipient: &Recipient) -> Sensitive<String> {
        let secret = hex::encode(self.secret.expose());
        let note = "keep it where the backups are not";
        Sensitive::new(format!("# {recipient}\n# {note}\n{RECIPIENT_KEY}{secret}\n"))
    }

    /// The key that was wrapped for this recipient; nothing when it was for another one.
    #[must_use]
    pub fn unwrap(&self, wrap: &Wrap) -> Option<FileKey> {
        let Wrap::Recipient { encapsulated, wrapped, .. } = wrap else { return None };
        let encapsulated = EncapsulatedSecret(hex::decode(encapsulated).ok()?);
        let wrapped = hex::decode(wrapped).ok()?;
        let secret = HpkePrivateKey::from(self.secret.expose().to_vec());
        let opened = suite().open(&encapsulated, INFO, &[], &wrapped, &secret).ok()?;
        FileKey::from_slice(Sensitive::new(opened).expose())
    }
}

fn key_bytes(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).ok().map(|()| key)
}
