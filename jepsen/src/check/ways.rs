//! Ways in which things can be, as the search goes through them, and which of them need no look.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::SecretState;

/// Bytes of a way with a state of its own, and of each version of that, as measured.
const WAY_BYTES: usize = 900;
const VERSION_BYTES: usize = 32;

/// One way: a state, which many ways share, and the open operations that have happened in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) state: Arc<SecretState>,
    /// Places of the open moves that have happened, ascending.
    pub(super) happened: Vec<usize>,
}

impl Way {
    /// This way with one more move, which led to that state.
    pub(super) fn with(&self, place: usize, state: SecretState) -> Self {
        let mut next = Self { state: Arc::new(state), happened: self.happened.clone() };
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
    all: Vec<(Arc<SecretState>, Vec<Vec<usize>>)>,
    place_of: HashMap<Arc<SecretState>, usize>,
    len: usize,
    versions: usize,
}

/// What became of a way that was to be taken in.
pub(super) struct Inserted {
    /// The way, if there was none as good, with the state that others share.
    pub(super) way: Option<Way>,
    /// Ways that it was compared with.
    pub(super) compared: usize,
}

impl Ways {
    /// Takes a way in, and whatever is worse out.
    pub(super) fn insert(
        &mut self,
        mut way: Way,
        need_not_happen: &dyn Fn(usize) -> bool,
    ) -> Inserted {
        let place = *self.place_of.entry(Arc::clone(&way.state)).or_insert(self.all.len());
        if place == self.all.len() {
            self.versions += way.state.live().map_or(0, |secret| secret.versions.len());
            self.all.push((Arc::clone(&way.state), Vec::new()));
        }
        let (state, known) = &mut self.all[place];
        let compared = known.len();
        if known.iter().any(|other| is_as_good(other, &way.happened, need_not_happen)) {
            return Inserted { way: None, compared };
        }
        known.retain(|other| !is_as_good(&way.happened, other, need_not_happen));
        known.push(way.happened.clone());
        self.len = self.len + known.len() - compared;
        way.state = Arc::clone(state);
        Inserted { way: Some(way), compared }
    }

    /// What they take, roughly: with hundreds of calls that nobody answered, some times as much.
    pub(super) const fn bytes(&self) -> usize {
        self.len * WAY_BYTES + self.versions * VERSION_BYTES
    }

    pub(super) fn into_ways(self) -> Vec<Way> {
        let of_state = |(state, all): (Arc<SecretState>, Vec<Vec<usize>>)| {
            all.into_iter().map(move |happened| Way { state: Arc::clone(&state), happened })
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
        let in_state =
            |state, happened: &[usize]| Way { state: Arc::new(state), happened: happened.into() };
        let way = |happened| in_state(SecretState::Absent, happened);
        // The even ones have no answer.
        let even = |place: usize| place.is_multiple_of(2);
        let mut ways = Ways::default();
        let mut is_new = |way| ways.insert(way, &even).way.is_some();
        assert!(is_new(way(&[1, 2, 4])));
        assert!(!is_new(way(&[1, 2, 4])));
        assert!(!is_new(way(&[1, 2, 4, 6])), "it can do less");
        assert!(is_new(way(&[1, 2, 3, 4])), "it has done what it had to");
        assert!(is_new(way(&[2, 4])), "so has the first one, which stays");
        assert!(is_new(way(&[1, 4])));
        let other = in_state(SecretState::Deleted, &[1, 2, 4, 6]);
        assert!(is_new(other), "another state is another future");
        assert_eq!(ways.len, 4);
        let states: Vec<_> = ways.all.iter().map(|(state, _)| SecretState::clone(state)).collect();
        assert_eq!(states, [SecretState::Absent, SecretState::Deleted], "as they came");
        let mut left: Vec<_> = ways.into_ways().into_iter().map(|way| way.happened).collect();
        left.sort_unstable();
        assert_eq!(left, [vec![1, 2, 3, 4], vec![1, 2, 4, 6], vec![1, 4], vec![2, 4]]);
    }
}
