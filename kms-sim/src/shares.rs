//! Recovery shares: any `need` of them give the root key back, fewer say nothing about it.
//!
//! Shamir's scheme over GF(256), byte by byte (Communications of the ACM 22 (1979) p. 612): the
//! key is the value at 0 of a random polynomial of degree `need - 1`, the share with number x its
//! value at x. Promises: a share that was miscopied, altered or made for another set is refused,
//! and never takes part in a key; what is secret is wiped when dropped and cannot be printed but by
//! [`Share::to_text`]. Refuses to know where shares are kept.

use lockbox_core::Randomness;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::gf256::{inverse, multiply};
use crate::root_key::{ROOT_KEY_BYTES, RootKey, RootKeyId};

/// The fewest shares that a set may need: with one, every share would be the key.
pub const NEED_MIN: u8 = 2;
/// Longest text of a share, in characters.
pub const TEXT_CHARS_MAX: usize = 160;

/// How every share begins: what it is, and its format.
const PREFIX: &str = "lockbox-root-share.1";
const SET_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;
/// Begins every checksum's computation, so that the hash fits no other use.
const CHECKSUM_DOMAIN: &[u8] = b"lockbox root share v1";
const PARTS: usize = 6;

type Value = Zeroizing<[u8; ROOT_KEY_BYTES]>;

/// Why shares are not made, not read or give no key. Nothing of a share's value is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// No set is like that.
    #[error("of {count} shares {need} cannot be needed: at least {NEED_MIN}, at most all of them")]
    Numbers {
        /// Shares of the set.
        count: u8,
        /// How many of them should be needed.
        need: u8,
    },
    /// It is no share.
    #[error("it is no recovery share")]
    Malformed,
    /// It is one, and was not copied as it was printed.
    #[error("the checksum of the recovery share does not fit: it was miscopied or altered")]
    Checksum,
    /// They were not made together.
    #[error("the recovery shares belong to different sets")]
    OtherSet,
    /// There are not enough.
    #[error("{need} recovery shares are needed, and {found} different ones are there")]
    TooFew {
        /// How many different ones there are.
        found: usize,
        /// How many are needed.
        need: u8,
    },
    /// They contradict each other, or the key that they give is not the one that they name.
    #[error("the recovery shares do not give the key that they name: one of them was altered")]
    Altered,
}

/// One share. No `Debug` and no `PartialEq`; its value is wiped when dropped.
pub struct Share {
    /// Tells shares of different sets apart, also of one key.
    set: [u8; SET_BYTES],
    /// The public name of the key.
    root: RootKeyId,
    need: u8,
    /// Where the polynomial has the value; never 0, where the key is.
    number: u8,
    value: Value,
}

impl Share {
    /// The share as one line: prefix, how many are needed, number, set, key's name, value and
    /// checksum, separated by dots.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // Enough at once: a growing string would leave copies of the value behind.
        let mut text = Zeroizing::new(String::with_capacity(TEXT_CHARS_MAX));
        text.push_str(PREFIX);
        let part = |text: &mut String, part: &str| {
            text.push('.');
            text.push_str(part);
        };
        part(&mut text, &self.need.to_string());
        part(&mut text, &self.number.to_string());
        part(&mut text, &hex::encode(self.set));
        part(&mut text, &hex::encode(self.root));
        part(&mut text, &Zeroizing::new(hex::encode(self.value.as_slice())));
        let checksum = checksum(&text);
        part(&mut text, &hex::encode(checksum));
        text
    }

    /// Reads a line that [`Share::to_text`] made.
    ///
    /// # Errors
    /// [`ShareError::Malformed`] or [`ShareError::Checksum`].
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let text = text.trim();
        if text.len() > TEXT_CHARS_MAX {
            return Err(ShareError::Malformed);
        }
        let rest = text.strip_prefix(PREFIX).ok_or(ShareError::Malformed)?;
        let rest = rest.strip_prefix('.').ok_or(ShareError::Malformed)?;
        let parts: Vec<&str> = rest.split('.').collect();
        let parts: [&str; PARTS] = parts.try_into().map_err(|_| ShareError::Malformed)?;
        let [need, number, set, root, value, found] = parts;
        let (whole, _) = text.rsplit_once('.').ok_or(ShareError::Malformed)?;
        let found: [u8; CHECKSUM_BYTES] = bytes(found)?;
        if !bool::from(checksum(whole).ct_eq(&found)) {
            return Err(ShareError::Checksum);
        }
        let count = |text: &str| text.parse::<u8>().map_err(|_| ShareError::Malformed);
        let (need, number) = (count(need)?, count(number)?);
        if need < NEED_MIN || number == 0 {
            return Err(ShareError::Malformed);
        }
        let mut share =
            Self { set: bytes(set)?, root: bytes(root)?, need, number, value: Value::default() };
        hex::decode_to_slice(value, share.value.as_mut_slice())
            .map_err(|_| ShareError::Malformed)?;
        Ok(share)
    }

    /// How many shares of its set are needed.
    #[must_use]
    pub const fn need(&self) -> u8 {
        self.need
    }

    fn is_of_set(&self, other: &Self) -> bool {
        self.set == other.set && self.root == other.root && self.need == other.need
    }

    fn has_value(&self, value: &Value) -> bool {
        self.value.ct_eq(value.as_slice()).into()
    }
}

fn checksum(text: &str) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    hash.update(CHECKSUM_DOMAIN);
    hash.update(text.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn bytes<const N: usize>(digits: &str) -> Result<[u8; N], ShareError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| ShareError::Malformed)?;
    Ok(bytes)
}

/// Splits a root key into `count` shares, of which any `need` give it back.
///
/// # Errors
/// [`ShareError::Numbers`].
pub fn split(
    root: &RootKey,
    count: u8,
    need: u8,
    random: &dyn Randomness,
) -> Result<Vec<Share>, ShareError> {
    if need < NEED_MIN || need > count {
        return Err(ShareError::Numbers { count, need });
    }
    let mut set = [0; SET_BYTES];
    random.fill(&mut set);
    // Of each byte's polynomial, from the highest power down to the first.
    let mut coefficients = Vec::with_capacity(usize::from(need) - 1);
    for _ in 1..need {
        let mut row = Value::default();
        random.fill(row.as_mut_slice());
        coefficients.push(row);
    }
    let share = |number: u8| {
        let mut value = Value::default();
        // Horner's rule; the key itself comes last.
        let rows = coefficients.iter().map(|row| row.as_slice());
        for row in rows.chain([root.expose()]) {
            for (byte, coefficient) in value.iter_mut().zip(row.iter()) {
                *byte = multiply(*byte, number) ^ coefficient;
            }
        }
        Share { set, root: root.id(), need, number, value }
    };
    Ok((1..=count).map(share).collect())
}

/// The root key that the shares are of. More than are needed may be given, and some of them twice:
/// all are checked against each other.
///
/// # Errors
/// [`ShareError::OtherSet`], [`ShareError::TooFew`] or [`ShareError::Altered`].
pub fn combine(shares: &[Share]) -> Result<RootKey, ShareError> {
    let Some(first) = shares.first() else {
        return Err(ShareError::TooFew { found: 0, need: NEED_MIN });
    };
    let mut different: Vec<&Share> = Vec::new();
    for share in shares {
        if !share.is_of_set(first) {
            return Err(ShareError::OtherSet);
        }
        match different.iter().find(|known| known.number == share.number) {
            Some(known) if known.has_value(&share.value) => {}
            Some(_) => return Err(ShareError::Altered),
            None => different.push(share),
        }
    }
    let (need, found) = (first.need, different.len());
    if found < usize::from(need) {
        return Err(ShareError::TooFew { found, need });
    }
    let (points, others) = different.split_at(usize::from(need));
    if others.iter().any(|share| !share.has_value(&value_at(share.number, points))) {
        return Err(ShareError::Altered);
    }
    let root = RootKey::from_bytes(&value_at(0, points));
    // A share whose checksum was made to fit still gives another key, with another name.
    if root.id() != first.root {
        return Err(ShareError::Altered);
    }
    Ok(root)
}

/// The value at `place` of the polynomial through the points (Lagrange).
fn value_at(place: u8, points: &[&Share]) -> Value {
    let mut value = Value::default();
    for point in points {
        let (mut above, mut below) = (1, 1);
        for other in points.iter().filter(|other| other.number != point.number) {
            above = multiply(above, place ^ other.number);
            below = multiply(below, point.number ^ other.number);
        }
        let weight = multiply(above, inverse(below));
        for (byte, part) in value.iter_mut().zip(point.value.iter()) {
            *byte ^= multiply(weight, *part);
        }
    }
    value
}

#[cfg(test)]
mod tests;
