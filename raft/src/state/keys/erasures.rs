//! What nodes have yet to erase: a point and a ring of places. Overwritten and never deleted, for
//! the store would keep a mark for each deleted row.

use crate::domain::erasure::ERASURES_KEPT;

/// [`crate::state::Space::System`]: how many erasures there were; absent before the first.
pub const SYSTEM_ERASURES: &[u8] = b"erasures";
/// What the keys of the ring begin with.
pub(super) const RING: &[u8] = b"erasure/";

/// [`crate::state::Space::System`]: the erasure of this number, until another one takes its place.
#[must_use]
pub fn erasure(number: u64) -> Vec<u8> {
    [RING, &(number % ERASURES_KEPT).to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_the_ring_is_taken_again_once_round() {
        assert_eq!(erasure(1), erasure(1 + ERASURES_KEPT));
        assert_ne!(erasure(1), erasure(ERASURES_KEPT));
        assert!(!erasure(1).starts_with(SYSTEM_ERASURES));
    }
}
