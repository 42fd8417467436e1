//! What authenticates a remembered request: an HMAC of it, compared in constant time alone.
//!
//! INVARIANT: there is no `PartialEq` here, so `==` on an authenticator, or on a record that holds
//! one, does not compile. Compared byte by byte until the first difference, an answer's time would
//! say how much of a guess is right (`peers.md` S7).

use std::fmt;

use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;

/// Length of an authenticator, in bytes.
pub const REQUEST_MAC_BYTES: usize = 32;

/// HMAC-SHA256 of a request as received, under a key that callers do not have (`design §8`).
///
/// ```compile_fail
/// let mac = lockbox_core::RequestMac::from([7; 32]);
/// assert!(mac == mac);
/// ```
#[derive(Clone, Copy, Encode, Decode)]
#[cbor(transparent)]
pub struct RequestMac(#[cbor(n(0), with = "minicbor::bytes")] [u8; REQUEST_MAC_BYTES]);

impl RequestMac {
    /// Whether it authenticates the same request; in a time that does not depend on the bytes.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The bytes, to derive from them or to store them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; REQUEST_MAC_BYTES] {
        &self.0
    }
}

impl From<[u8; REQUEST_MAC_BYTES]> for RequestMac {
    fn from(bytes: [u8; REQUEST_MAC_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for RequestMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authenticator_is_itself_and_no_other() {
        let mac = RequestMac::from([7; 32]);
        assert!(mac.is(&RequestMac::from([7; 32])));
        for bit in 0..8 * REQUEST_MAC_BYTES {
            let mut other = [7; 32];
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!mac.is(&RequestMac::from(other)), "bit {bit}");
        }
        assert_eq!(format!("{mac:?}"), "[redacted]");
    }

    /// Stored as the plain bytes that earlier builds wrote.
    #[test]
    fn its_form_at_rest_is_that_of_bytes() {
        #[derive(Encode)]
        struct Plain(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);
        #[derive(Encode, Decode)]
        struct Holder(#[n(0)] RequestMac);
        let plain = minicbor::to_vec(Plain([9; 32])).unwrap();
        assert_eq!(minicbor::to_vec(Holder(RequestMac::from([9; 32]))).unwrap(), plain);
        let read: Holder = minicbor::decode(&plain).unwrap();
        assert_eq!(read.0.as_bytes(), &[9; 32]);
    }
}
