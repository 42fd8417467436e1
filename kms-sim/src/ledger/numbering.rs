//! Whether the numbers of an audit's lines follow each other.
//!
//! One change is one problem: behind it, what follows the line that was changed is in place, and so
//! is what would have followed the line that was there before.

use std::ops::RangeInclusive;

/// What comes next.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// Of what the line before gives; anything at the begin. More than one number behind lines that
    /// say none: they were records, or somebody has put them there.
    next: Option<RangeInclusive<u64>>,
    /// Of what those before it gave, should its number be the one that is wrong.
    or: Option<u64>,
    last: u64,
}

impl Numbering {
    /// The next line has this number; the number of the last one before it when it does not follow.
    pub(super) fn number(&mut self, number: u64) -> Result<(), u64> {
        let follows = self.next.as_ref().is_none_or(|next| next.contains(&number));
        let is_in_place = follows || self.or == Some(number);
        let before = std::mem::replace(&mut self.last, number);
        let passed = self.next.take().map(|next| next.end().saturating_add(1));
        self.or = passed.filter(|_| !is_in_place);
        let behind = number.saturating_add(1);
        self.next = Some(behind..=behind);
        if is_in_place { Ok(()) } else { Err(before) }
    }

    /// The next line says no number; the number of the last one that did.
    pub(super) fn unreadable(&mut self) -> u64 {
        self.next = self.next.take().map(|next| *next.start()..=next.end().saturating_add(1));
        self.or = self.or.map(|number| number.saturating_add(1));
        self.last
    }

    /// Nobody knows how many lines were between the last one and the next.
    pub(super) fn unknown(&mut self) {
        (self.next, self.or) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of lines with these numbers; 0 says none.
    fn told(numbers: &[u64]) -> Vec<(u64, u64)> {
        let mut numbering = Numbering::default();
        let mut told = Vec::new();
        for &number in numbers {
            match number {
                0 => told.push((numbering.unreadable(), 0)),
                number => {
                    told.extend(numbering.number(number).err().map(|before| (before, number)));
                }
            }
        }
        told
    }

    #[test]
    fn one_change_is_one_problem() {
        assert_eq!(told(&[7, 8, 9]), []);
        assert_eq!(told(&[7, 8, 10, 11, 12]), [(8, 10)], "one is missing");
        assert_eq!(told(&[7, 8, 8, 9, 10]), [(8, 8)], "one is there twice");
        assert_eq!(told(&[7, 8, 99, 10, 11]), [(8, 99)], "one has another number");
        assert_eq!(told(&[99, 8, 9]), [(99, 8)], "the first has another number");
        assert_eq!(told(&[7, 8, 1]), [(8, 1)], "the last has another number");
        assert_eq!(told(&[7, 0, 9, 10]), [(7, 0)], "one is not readable");
        assert_eq!(told(&[7, 0, 8, 9]), [(7, 0)], "a line was put in");
        assert_eq!(told(&[7, 0, 0, 8, 9]), [(7, 0), (7, 0)]);
        assert_eq!(told(&[7, 8, 99, 0, 11]), [(8, 99), (99, 0)], "two changes");
        assert_eq!(told(&[7, 9, 8, 10]), [(7, 9), (9, 8), (8, 10)], "two are swapped");
        assert_eq!(told(&[u64::MAX, u64::MAX]), []);
    }

    #[test]
    fn behind_what_nobody_knows_everything_is_in_place() {
        let mut numbering = Numbering::default();
        assert_eq!(numbering.number(7), Ok(()));
        numbering.unknown();
        assert_eq!(numbering.number(70), Ok(()));
        assert_eq!(numbering.number(72), Err(70));
    }
}
