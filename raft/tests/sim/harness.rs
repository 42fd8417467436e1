//! The repeatable random source, under the name by which the shared generator of commands
//! (`tests/it/commands.rs`) knows it.

use lockbox_core::Randomness;
use std::sync::Mutex;

/// A repeatable random source (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number of the range.
    pub(crate) fn within(&mut self, range: &std::ops::Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// A source of its own for one part of the simulation: how often another part draws does not
    /// change it.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// One of a list that is not empty.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    /// A part of a list, with at least one element and not all of them.
    pub(crate) fn part<T: Copy>(&mut self, of: &[T]) -> Vec<T> {
        let mut rest = of.to_vec();
        let count = 1 + self.below(of.len() as u64 - 1);
        let take = |rest: &mut Vec<T>, at: u64| rest.remove(usize::try_from(at).unwrap());
        (0..count)
            .map(|_| {
                let at = self.below(rest.len() as u64);
                take(&mut rest, at)
            })
            .collect()
    }
}

/// The random bytes of one node in one life.
pub(crate) struct NodeRandom(Mutex<Random>);

impl NodeRandom {
    pub(crate) const fn new(random: Random) -> Self {
        Self(Mutex::new(random))
    }
}

impl Randomness for NodeRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock().unwrap();
        for byte in bytes {
            *byte = random.next().to_le_bytes()[7];
        }
    }
}
