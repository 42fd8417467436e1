//! Ways in which things can be, as the search goes through them, and which of them need no look.

use std::collections::HashMap;

use crate::model::SecretState;

/// One way: a state, and the open operations that have happened in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) state: SecretState,
    /// Places of the open moves that have happened, ascending.
    pub(super) happened: Vec<usize>,
}

impl Way {
    /// This way with one more move, which led to that state.
    pub(super) fn with(&self, place: usize, state: SecretState) -> Self {
        let mut next = Self { state, happened: self.happened.clone() };
        next.note(place);
        next
    }

    /// A move has happened that changes nothing.
    pub(super) fn note(&mut self, place: usize) {
        if let Err(at) = self.happened.binary_search(&place) {
            self.happened.insert(at, place);
        }
    }

    pub(super) fn has(&self, place: usize) -> bool {
        self.happened.binary_search(&place).is_ok()
    }
}

/// Ways of which none is worse than another: with the same state, and the same of what has to
/// happen, the one in which less has happened of what need not can go on as the other can, and in
/// more ways.
#[derive(Default)]
pub(super) struct Ways {
    /// By their states, in the order in which these came: work is counted, so it must not depend
    /// on the order of a map.
    all: Vec<(SecretState, Vec<Vec<usize>>)>,
    place_of: HashMap<SecretState, usize>,
}

impl Ways {
    /// Takes a way in, and whatever is worse out. False when there is one as good.
    pub(super) fn insert(&mut self, way: &Way, need_not_happen: &dyn Fn(usize) -> bool) -> bool {
        let place = *self.place_of.entry(way.state.clone()).or_insert(self.all.len());
        if place == self.all.len() {
            self.all.push((way.state.clone(), Vec::new()));
        }
        let (_, known) = &mut self.all[place];
        if known.iter().any(|other| is_as_good(other, &way.happened, need_not_happen)) {
            return false;
        }
        known.retain(|other| !is_as_good(&way.happened, other, need_not_happen));
        known.push(way.happened.clone());
        true
    }

    pub(super) fn into_ways(self) -> Vec<Way> {
        let of_state = |(state, all): (SecretState, Vec<Vec<usize>>)| {
            all.into_iter().map(move |happened| Way { state: state.clone(), happened })
        };
        self.all.into_iter().flat_map(of_state).collect()
    }
}

/// Whether everything in `one` is in `other`, and the rest of `other` need not have happened.
fn is_as_good(one: &[usize], other: &[usize], need_not_happen: &dyn Fn(usize) -> bool) -> bool {
    let mut left = one.iter().peekable();
    for place in other {
        if left.peek() == Some(&place) {
            left.next();
        } else if !need_not_happen(*place) {
            return false;
        }
    }
    left.peek().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_with_less_of_what_need_not_happen_stands_for_the_others() {
        let way =
            |happened: &[usize]| Way { state: SecretState::Absent, happened: happened.into() };
        // The even ones have no answer.
        let even = |place: usize| place.is_multiple_of(2);
        let mut ways = Ways::default();
        assert!(ways.insert(&way(&[1, 2, 4]), &even));
        assert!(!ways.insert(&way(&[1, 2, 4]), &even));
        assert!(!ways.insert(&way(&[1, 2, 4, 6]), &even), "it can do less");
        assert!(ways.insert(&way(&[1, 2, 3, 4]), &even), "it has done what it had to");
        assert!(ways.insert(&way(&[2, 4]), &even), "so has the first one, which stays");
        assert!(ways.insert(&way(&[1, 4]), &even));
        let other = Way { state: SecretState::Deleted, happened: vec![1, 2, 4, 6] };
        assert!(ways.insert(&other, &even), "another state is another future");
        let states: Vec<_> = ways.all.iter().map(|(state, _)| state.clone()).collect();
        assert_eq!(states, [SecretState::Absent, SecretState::Deleted], "as they came");
        let mut left: Vec<_> = ways.into_ways().into_iter().map(|way| way.happened).collect();
        left.sort_unstable();
        assert_eq!(left, [vec![1, 2, 3, 4], vec![1, 2, 4, 6], vec![1, 4], vec![2, 4]]);
    }
}
