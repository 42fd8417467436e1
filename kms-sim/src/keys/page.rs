//! Pages of listings: tokens that stay right while rows are inserted.
//!
//! A token names the last row shown, not an offset, and what was listed; one for other parameters
//! is refused (`contract §2.11`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockbox_core::{FolderId, KmsKeyId, KmsKeyVersionId, LogTime};
use minicbor::{Decode, Encode};

use crate::error::KmsError;
use lockbox_core::codec;

/// Rows of a page when the request does not say (`contract §2.11`).
const PAGE_SIZE_DEFAULT: usize = 100;
/// Rows of a page at most.
const PAGE_SIZE_MAX: usize = 1000;
/// The page ends early when its rows take this many bytes: clients refuse messages over 4 MiB.
pub const PAGE_BYTES_MAX: usize = 3 << 20;

/// What a page request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows at most.
    pub size: usize,
    /// The token; empty for the first page.
    pub token: String,
}

/// Where a listing of keys goes on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyPosition {
    /// The listed folder.
    #[n(0)]
    pub folder_id: FolderId,
    /// Creation time of the last key shown.
    #[n(1)]
    pub created_at: LogTime,
    /// The last key shown.
    #[n(2)]
    pub key_id: KmsKeyId,
}

/// Where a listing of versions goes on; a version belongs to one key, so it names the listing too.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct VersionPosition {
    /// The last version shown.
    #[n(0)]
    pub version_id: KmsKeyVersionId,
}

/// Where a listing of a key's operations goes on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OperationPosition {
    /// The listed key.
    #[n(0)]
    pub key_id: KmsKeyId,
    /// Commit sequence of the last operation shown.
    #[n(1)]
    pub sequence: u64,
}

/// Where a listing of a key's bindings goes on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BindingPosition {
    /// The listed key.
    #[n(0)]
    pub key_id: KmsKeyId,
    /// Place of the last binding shown.
    #[n(1)]
    pub place: u64,
}

impl PageRequest {
    /// Takes the two fields of a list request.
    ///
    /// # Errors
    /// [`KmsError::Invalid`] when the size is out of range.
    pub fn new(page_size: i64, token: &str) -> Result<Self, KmsError> {
        let size = match usize::try_from(page_size) {
            Ok(0) => PAGE_SIZE_DEFAULT,
            Ok(size) if size <= PAGE_SIZE_MAX => size,
            Ok(_) | Err(_) => return Err(KmsError::invalid("page_size", "must be 0 to 1000")),
        };
        Ok(Self { size, token: token.to_owned() })
    }

    /// The position in the token; none for the first page.
    ///
    /// # Errors
    /// [`KmsError::Invalid`] when the token was not made here.
    pub fn position<P>(&self) -> Result<Option<P>, KmsError>
    where
        P: for<'b> Decode<'b, ()>,
    {
        if self.token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(&self.token).map_err(|_| bad_token())?;
        codec::decode(&bytes).map(Some).map_err(|_| bad_token())
    }
}

/// The token of a position.
#[must_use]
pub fn token<P: Encode<()>>(position: &P) -> String {
    URL_SAFE_NO_PAD.encode(codec::encode(position))
}

/// The token was not made here, or for another listing.
#[must_use]
pub fn bad_token() -> KmsError {
    KmsError::invalid("page_token", "is not a token of this listing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_out_of_range_are_refused() {
        assert_eq!(PageRequest::new(0, "").map(|page| page.size).ok(), Some(100));
        assert_eq!(PageRequest::new(1000, "").map(|page| page.size).ok(), Some(1000));
        assert!(PageRequest::new(1001, "").is_err());
        assert!(PageRequest::new(-1, "").is_err());
    }

    #[test]
    fn a_position_travels_in_a_token_of_the_allowed_length() {
        let key = "k".repeat(50);
        let position = KeyPosition {
            folder_id: FolderId::parse(&"f".repeat(50)).unwrap(),
            created_at: LogTime::from_ms(u64::MAX),
            key_id: KmsKeyId::parse(&key).unwrap(),
        };
        let made = token(&position);
        assert!(made.len() <= 256, "{}", made.len());
        let page = PageRequest::new(5, &made).unwrap();
        assert_eq!(page.position().unwrap(), Some(position));
        let version = VersionPosition { version_id: KmsKeyVersionId::parse(&key).unwrap() };
        assert!(token(&version).len() <= 100);
        let key_id = KmsKeyId::parse(&key).unwrap();
        let binding = BindingPosition { key_id: key_id.clone(), place: u64::MAX };
        assert!(token(&binding).len() <= 100);
        assert!(token(&OperationPosition { key_id, sequence: u64::MAX }).len() <= 100);
        for garbled in ["!", "AAAA", &made[..10]] {
            let page = PageRequest::new(5, garbled).unwrap();
            assert!(page.position::<KeyPosition>().is_err(), "{garbled}");
        }
    }
}
