//! A draw among things that are not equally likely.

use crate::random::Random;

/// One of the choices, each as likely as its weight says. The first one when all weigh nothing.
///
/// # Panics
/// When there is no choice at all.
pub fn draw<T: Copy>(random: &mut Random, choices: &[(u64, T)]) -> T {
    let total = choices.iter().map(|(weight, _)| weight).sum();
    let mut drawn = random.below(total);
    for (weight, choice) in choices {
        if drawn < *weight {
            return *choice;
        }
        drawn -= weight;
    }
    choices[0].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_as_likely_as_it_weighs() {
        let mut random = Random::new(1);
        let mut drawn = [0_u32; 3];
        for _ in 0..4000 {
            drawn[draw(&mut random, &[(1, 0), (0, 1), (3, 2)])] += 1;
        }
        assert_eq!(drawn[1], 0);
        assert!((800..1200).contains(&drawn[0]), "{drawn:?}");
    }
}
