//! Values and choices that look random and are the same in every run.
//!
//! Two systems that are compared get the same bytes and the same order of keys.

/// A small generator (xorshift64). Fit for choosing keys, not for cryptography.
#[derive(Debug, Clone)]
pub struct Sequence(u64);

impl Sequence {
    /// The sequence with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        // Any odd start is good: zero alone would stay zero for ever.
        Self(0xD1B5_4A32_D192_ED03_u64.wrapping_mul(number.wrapping_add(1)) | 1)
    }

    /// The next number below `limit`, which must be positive.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A value of this length that does not compress.
#[must_use]
pub fn value(bytes: usize) -> Vec<u8> {
    let mut sequence = Sequence::new(0);
    // Below 256 by the limit, so the cast keeps the number.
    (0..bytes).map(|_| sequence.below(256) as u8).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_value_is_long_enough_and_not_one_repeated_byte() {
        let bytes = value(1024);
        assert_eq!(bytes.len(), 1024);
        assert!(bytes.iter().collect::<BTreeSet<_>>().len() > 200);
        assert_eq!(bytes, value(1024));
    }

    #[test]
    fn sequences_of_two_clients_differ() {
        let numbers = |n| {
            let mut sequence = Sequence::new(n);
            (0..8).map(|_| sequence.below(1000)).collect::<Vec<_>>()
        };
        assert_ne!(numbers(0), numbers(1));
    }
}
