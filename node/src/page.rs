//! Page sizes and page tokens (`contract §2.11`).
//!
//! A token is a place in a list (keyset, not offset, so it stays right under inserts) with a tag of
//! the list it belongs to. It is short (≤ 100 bytes), holds no secret and needs no state.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockbox_platform::status::ApiError;
use sha2::{Digest, Sha256};

/// Items when the request leaves it open.
const DEFAULT_SIZE: usize = 100;
/// Items at most.
const SIZE_MAX: usize = 1000;
/// A page ends early at this size: clients refuse messages above 4 MiB (`contract §9`).
pub const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;

const TAG_BYTES: usize = 12;

/// A list: which method on which resource. A token of one list is refused by another.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// A name of the list's kind.
    pub kind: &'a str,
    /// The resource that it lists.
    pub of: &'a str,
}

impl List<'_> {
    fn tag(&self) -> [u8; TAG_BYTES] {
        let mut hash = Sha256::new();
        hash.update(self.kind.as_bytes());
        hash.update([0]);
        hash.update(self.of.as_bytes());
        let digest = hash.finalize();
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&digest[..TAG_BYTES]);
        tag
    }

    /// The token of the page behind `place`.
    #[must_use]
    pub fn token(&self, place: u64) -> String {
        let mut bytes = self.tag().to_vec();
        bytes.extend_from_slice(&place.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a token names; nothing for the first page.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a malformed token or one of another list.
    pub fn place(&self, token: &str) -> Result<Option<u64>, ApiError> {
        if token.is_empty() {
            return Ok(None);
        }
        let refused = || ApiError::invalid("page_token", "is not a token of this list");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let (tag, place) = bytes.split_at_checked(TAG_BYTES).ok_or_else(refused)?;
        let place = <[u8; 8]>::try_from(place).map_err(|_| refused())?;
        if tag != self.tag() {
            return Err(refused());
        }
        Ok(Some(u64::from_be_bytes(place)))
    }
}

/// The number of items that a `page_size` asks for; its range was validated before.
#[must_use]
pub fn size(page_size: i64) -> usize {
    match usize::try_from(page_size) {
        Ok(0) | Err(_) => DEFAULT_SIZE,
        Ok(size) => size.min(SIZE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_belong_to_one_list() {
        let list = List { kind: "secrets", of: "folder" };
        let token = list.token(u64::MAX);
        assert!(token.len() <= 100);
        assert_eq!(list.place(&token).unwrap(), Some(u64::MAX));
        assert_eq!(list.place("").unwrap(), None);
        assert!(List { kind: "secrets", of: "other" }.place(&token).is_err());
        assert!(List { kind: "versions", of: "folder" }.place(&token).is_err());
        assert!(list.place("!!").is_err());
        assert!(list.place(&token[..10]).is_err());
    }

    #[test]
    fn sizes_default_and_are_bounded() {
        assert_eq!([0, 1, 1000].map(size), [100, 1, 1000]);
    }
}
