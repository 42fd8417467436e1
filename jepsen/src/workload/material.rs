//! Names and values that no other operation of the run uses.

use zeroize::Zeroizing;

use crate::client::request::Plaintext;
use crate::random::Random;

/// Bytes of a value (`verification §3.6.3`).
const VALUE_BYTES: usize = 32;

/// A stream of unique things for one key group.
#[derive(Debug, Clone)]
pub struct Material {
    /// What the generator draws its choices from.
    pub random: Random,
    prefix: String,
    count: u64,
}

impl Material {
    /// That of a group.
    #[must_use]
    pub fn of_group(seed: u64, group: usize) -> Self {
        let part = format!("workload-{group}");
        Self { random: Random::of_part(seed, &part), prefix: format!("g{group}"), count: 0 }
    }

    /// A name: of a secret, a version or a logical mutation.
    pub fn name(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.prefix, self.count)
    }

    /// A value: random bytes, as they are or as text.
    pub fn value(&mut self) -> Plaintext {
        if self.random.chance(50) { self.binary() } else { self.text() }
    }

    fn binary(&mut self) -> Plaintext {
        let mut bytes = Zeroizing::new(vec![0; VALUE_BYTES]);
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.random.next().to_be_bytes());
        }
        Plaintext::Binary(bytes)
    }

    fn text(&mut self) -> Plaintext {
        let words = (0..VALUE_BYTES / 8).map(|_| format!("{:016x}", self.random.next()));
        Plaintext::Text(Zeroizing::new(words.collect()))
    }

    /// `about`, a tenth more or less, so that secrets drift out of step.
    pub fn blurred(&mut self, about: u64) -> u64 {
        self.random.between(about - about / 10, about + about / 10)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nothing_is_given_twice() {
        let mut groups: Vec<_> = (0..4).map(|group| Material::of_group(7, group)).collect();
        let mut names = BTreeSet::new();
        let mut values = BTreeSet::new();
        for group in &mut groups {
            for _ in 0..500 {
                assert!(names.insert(group.name()));
                assert!(values.insert(group.value().hash()));
            }
        }
    }

    #[test]
    fn a_value_is_32_random_bytes() {
        let mut material = Material::of_group(7, 0);
        assert_eq!(material.binary().bytes().len(), 32);
        // In hex.
        assert_eq!(material.text().bytes().len(), 64);
    }
}
