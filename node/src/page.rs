//! Page sizes and page tokens (`contract §2.11`).
//!
//! A token is a place in a list (keyset, not offset, so it stays right under inserts) with a tag of
//! the list it belongs to. It is short (≤ 100 bytes), holds no secret and needs no state.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockbox_platform::status::ApiError;
use prost::Message;
use sha2::{Digest, Sha256};

/// Items when the request leaves it open.
const DEFAULT_SIZE: usize = 100;
/// Items at most.
const SIZE_MAX: usize = 1000;
/// A page ends early at this size: clients refuse messages above 4 MiB (`contract §9`).
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;

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
        self.sealed(&place.to_be_bytes())
    }

    /// The token of the page behind the id `place`, for lists that are sorted by id.
    #[must_use]
    pub fn id_token(&self, place: &str) -> String {
        self.sealed(place.as_bytes())
    }

    fn sealed(&self, place: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([&self.tag()[..], place].concat())
    }

    /// The place that a token names; nothing for the first page.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a malformed token or one of another list.
    pub fn place(&self, token: &str) -> Result<Option<u64>, ApiError> {
        let Some(place) = self.opened(token)? else { return Ok(None) };
        let place = <[u8; 8]>::try_from(place.as_slice()).map_err(|_| refused())?;
        Ok(Some(u64::from_be_bytes(place)))
    }

    /// The id that a token names; nothing for the first page.
    ///
    /// # Errors
    /// As [`List::place`].
    pub fn id_place(&self, token: &str) -> Result<Option<String>, ApiError> {
        let Some(place) = self.opened(token)? else { return Ok(None) };
        String::from_utf8(place).map(Some).map_err(|_| refused())
    }

    fn opened(&self, token: &str) -> Result<Option<Vec<u8>>, ApiError> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let (tag, place) = bytes.split_at_checked(TAG_BYTES).ok_or_else(refused)?;
        if tag != self.tag() {
            return Err(refused());
        }
        Ok(Some(place.to_vec()))
    }
}

/// Makes the messages of a page one by one and ends it early before they grow past what clients
/// accept. Takes records with their place in the list, and where the list goes on behind them.
///
/// Inside a view, so that what `make` reads for a message is not held for the whole page.
///
/// # Errors
/// Those of `make`.
pub fn fill<T, M: Message, E>(
    records: Vec<T>,
    next: Option<u64>,
    mut make: impl FnMut(T) -> Result<(u64, M), E>,
) -> Result<(Vec<M>, Option<u64>), E> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    let mut last = None;
    for record in records {
        let (place, message) = make(record)?;
        bytes += message.encoded_len();
        // A single item is far smaller than a page; were it not, a list could not get past it.
        if bytes > PAGE_BYTES_MAX && !messages.is_empty() {
            return Ok((messages, last));
        }
        messages.push(message);
        last = Some(place);
    }
    Ok((messages, next))
}

/// Ends a page before it grows past what clients accept; whether something was cut off. For lists
/// whose places are ids.
#[must_use]
pub fn cut<M: Message>(messages: &mut Vec<M>) -> bool {
    let mut bytes = 0;
    let too_far = messages.iter().position(|message| {
        bytes += message.encoded_len();
        bytes > PAGE_BYTES_MAX
    });
    // A single item is far smaller than a page; were it not, a list could not get past it.
    let fitting = too_far.unwrap_or(messages.len());
    let whole = messages.len();
    messages.truncate(fitting.max(1));
    messages.len() < whole
}

fn refused() -> ApiError {
    ApiError::invalid("page_token", "is not a token of this list")
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
    use lockbox_proto::yandex::cloud::lockbox::v1::Version;

    use super::*;

    #[test]
    fn a_page_of_ids_is_cut_before_it_grows_too_large_and_never_to_nothing() {
        let cut_to = |sizes: &[usize]| {
            let version = |bytes: &usize| Version { id: "x".repeat(*bytes), ..Version::default() };
            let mut messages: Vec<_> = sizes.iter().map(version).collect();
            let cut = cut(&mut messages);
            (messages.len(), cut)
        };
        let half = PAGE_BYTES_MAX / 2;
        assert_eq!(cut_to(&[]), (0, false));
        assert_eq!(cut_to(&[1, 1, 1]), (3, false));
        assert_eq!(cut_to(&[half - 100, half - 100, 1000, 1]), (2, true));
        assert_eq!(cut_to(&[2 * PAGE_BYTES_MAX]), (1, false));
        assert_eq!(cut_to(&[2 * PAGE_BYTES_MAX, 1]), (1, true));
    }

    fn filled(sizes: &[usize], next: Option<u64>) -> (usize, Option<u64>) {
        let records = (7_u64..).zip(sizes.iter().copied()).collect();
        let make = |(place, bytes): (u64, usize)| {
            let version = Version { description: "x".repeat(bytes), ..Version::default() };
            Ok::<_, std::convert::Infallible>((place, version))
        };
        let Ok((messages, next)) = fill(records, next, make);
        (messages.len(), next)
    }

    #[test]
    fn a_page_ends_by_bytes_at_the_right_place() {
        let sizes = [PAGE_BYTES_MAX / 2, PAGE_BYTES_MAX / 3, 1 << 20];
        assert_eq!(filled(&sizes, None), (2, Some(8)));
        assert_eq!(filled(&sizes[..2], Some(8)), (2, Some(8)));
        assert_eq!(filled(&sizes[..2], None), (2, None));
        assert_eq!(filled(&[PAGE_BYTES_MAX + 1, 1], None), (1, Some(7)));
    }

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
    fn the_longest_id_fits_into_a_token() {
        let list = List { kind: "folders", of: "cloud" };
        let id = "b".repeat(lockbox_core::id::ID_CHARS_MAX);
        let token = list.id_token(&id);
        assert!(token.len() <= 100);
        assert_eq!(list.id_place(&token).unwrap(), Some(id));
        assert_eq!(list.id_place("").unwrap(), None);
        assert!(List { kind: "folders", of: "other" }.id_place(&token).is_err());
    }

    #[test]
    fn sizes_default_and_are_bounded() {
        assert_eq!([0, 1, 1000].map(size), [100, 1, 1000]);
    }
}
