//! Arithmetic in GF(256), the field of AES (FIPS 197 §4): addition is `^`.
//!
//! Promises: no table and no branch depends on an operand, so neither the cache nor the time says
//! anything about it. Refuses to know what is computed.

/// x⁸ + x⁴ + x³ + x + 1 without its first term.
const REDUCTION: u8 = 0x1b;
/// a²⁵⁵ = 1 for every a but 0, so a²⁵⁴ is the inverse.
const INVERSE_EXPONENT: u8 = 254;

/// The product.
pub(crate) const fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    let mut bit = 0;
    while bit < u8::BITS {
        product ^= a & 0_u8.wrapping_sub(b & 1);
        let carry = 0_u8.wrapping_sub(a >> 7);
        a = (a << 1) ^ (carry & REDUCTION);
        b >>= 1;
        bit += 1;
    }
    product
}

/// The inverse; 0 for 0.
pub(crate) const fn inverse(a: u8) -> u8 {
    let mut result = 1;
    let mut times = 0;
    while times < INVERSE_EXPONENT {
        result = multiply(result, a);
        times += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_standard() {
        // FIPS 197 §4.2 and §4.2.1.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        for a in 0..=u8::MAX {
            assert_eq!(multiply(a, 1), a);
            assert_eq!(multiply(a, 0), 0);
            for b in 0..=u8::MAX {
                assert_eq!(multiply(a, b), multiply(b, a));
                assert_eq!(multiply(a, b ^ 0x35), multiply(a, b) ^ multiply(a, 0x35));
            }
        }
    }

    #[test]
    fn everything_but_zero_has_an_inverse() {
        assert_eq!(inverse(0), 0);
        for a in 1..=u8::MAX {
            assert_eq!(multiply(a, inverse(a)), 1, "{a}");
        }
    }
}
