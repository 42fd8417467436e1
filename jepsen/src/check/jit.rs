//! The search that does not believe the index: whether the operations on one secret can have
//! happened one after another, each between its beginning and its end, with these answers.
//!
//! Just-in-time linearization: walk the beginnings and ends in real time and keep every way in
//! which things can be, each a state and the open operations that have happened in it. Only when
//! an operation ends does it have to have happened; operations that are open then may have
//! happened before it. A read or a refusal is taken as soon as its answer fits, for waiting can
//! gain nothing; a mutation that changes nothing now may be needed for what it changes later.
//! Memory follows concurrency, not length.
//!
//! Work is counted, not timed, so that the same history gets the same answer everywhere. A search
//! that runs out of steps says so; it never calls a history illegal that it has not refuted.

use std::collections::VecDeque;

use crate::history::call::Call;
use crate::history::ids::OpId;
use crate::model::SecretState;
use crate::model::step::{clock_passed, step};

use super::hidden::Looks;
use super::partition::{Move, SecretHistory};
use super::target::Target;
use super::ways::{Way, Ways};

/// Steps of the specification that a search may take on one secret: some tens of seconds. Of 16,000
/// secrets of an hour under faults one took more than two million.
pub const STEPS_MAX: u64 = 20_000_000;

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Searched {
    /// There is an order that explains every answer.
    Legal,
    /// There is none: whatever happened before, this answer cannot be.
    Illegal {
        /// The operation whose answer cannot be explained.
        op: OpId,
    },
    /// The steps ran out.
    Unknown,
}

/// Searches one secret.
///
/// Operations without an answer need not have happened, so a history that is legal without some
/// of them is legal; they are let in by and by.
#[must_use]
pub fn search(history: &SecretHistory<'_>, steps_max: u64) -> Searched {
    let mut steps = steps_max;
    let Some(namings) = history.namings() else { return Searched::Unknown };
    let mut refuted = None;
    for naming in &namings {
        let named;
        let history = if naming.is_empty() {
            history
        } else {
            named = history.named(naming);
            &named
        };
        match by_and_by(history, &mut steps) {
            Searched::Illegal { op } => refuted = refuted.or(Some(op)),
            found @ (Searched::Legal | Searched::Unknown) => return found,
        }
    }
    refuted.map_or(Searched::Unknown, |op| Searched::Illegal { op })
}

/// Which operations without an answer may happen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    /// Those whose version was seen: they did happen.
    Seen,
    /// And those that make no version.
    Unseen,
    /// And those whose version nobody saw.
    All,
}

fn by_and_by(history: &SecretHistory<'_>, steps: &mut u64) -> Searched {
    let mut last = Searched::Unknown;
    for allowed in [Allowed::Seen, Allowed::Unseen, Allowed::All] {
        last = Search::new(history, allowed, steps).run();
        if !matches!(last, Searched::Illegal { .. }) {
            return last;
        }
    }
    last
}

fn is_allowed(found: &Move<'_>, allowed: Allowed) -> bool {
    let adds = matches!(found.op.asked.call, Call::AddVersion(_));
    found.answer.is_some()
        || match allowed {
            Allowed::Seen => adds && !found.unnamed,
            Allowed::Unseen => !found.unnamed,
            Allowed::All => true,
        }
}

struct Search<'h, 'a> {
    history: &'h SecretHistory<'a>,
    allowed: Allowed,
    steps: &'h mut u64,
    open: Vec<usize>,
    looks: Looks,
}

/// The steps ran out.
struct OutOfSteps;

impl<'h, 'a> Search<'h, 'a> {
    fn new(history: &'h SecretHistory<'a>, allowed: Allowed, steps: &'h mut u64) -> Self {
        Self { history, allowed, steps, open: Vec::new(), looks: Looks::of(&history.moves) }
    }

    fn run(&mut self) -> Searched {
        let mut edges: Vec<(u64, bool, usize)> = Vec::new();
        for (place, found) in self.history.moves.iter().enumerate() {
            if is_allowed(found, self.allowed) {
                edges.push((found.from, false, place));
                edges.extend(found.to.map(|to| (to, true, place)));
            }
        }
        edges.sort_unstable();
        let mut ways = vec![Way { state: SecretState::Absent, happened: Vec::new() }];
        for (_, ends, place) in edges {
            if !ends {
                self.open.push(place);
                continue;
            }
            match self.end(ways, place) {
                Err(OutOfSteps) => return Searched::Unknown,
                Ok(next) if next.is_empty() => {
                    return Searched::Illegal { op: self.history.op(place) };
                }
                Ok(next) => ways = next,
            }
            self.open.retain(|open| *open != place);
        }
        Searched::Legal
    }

    /// The ways in which a move has happened, now that it ends.
    fn end(&mut self, ways: Vec<Way>, place: usize) -> Result<Vec<Way>, OutOfSteps> {
        let moves = &self.history.moves;
        let need_not_happen = |place: usize| moves[place].answer.is_none();
        let target = Target::of(&moves[place]);
        let (mut next, mut seen) = (Ways::default(), Ways::default());
        // Ways in which less has happened come first, so that they stand for the others.
        let mut waiting = VecDeque::from(ways);
        while let Some(mut way) = waiting.pop_front() {
            self.take_what_fits(&mut way)?;
            if let Ok(at) = way.happened.binary_search(&place) {
                way.happened.remove(at);
                next.insert(&way, &need_not_happen);
            } else if target.as_ref().is_some_and(|target| self.is_dead_end(&way, target)) {
                continue;
            } else if seen.insert(&way, &need_not_happen) {
                self.expand(&way, &mut waiting)?;
            }
        }
        Ok(next.into_ways())
    }

    /// Whether nothing that is open leads from this way to what an answer shows.
    fn is_dead_end(&self, way: &Way, target: &Target<'_>) -> bool {
        let open = self.open.iter().filter(|place| !way.has(**place));
        let open: Vec<_> = open.map(|place| &self.history.moves[*place]).collect();
        !target.may_come(&way.state, &open)
    }

    /// Lets every open read and refusal happen whose answer fits the state.
    fn take_what_fits(&mut self, way: &mut Way) -> Result<(), OutOfSteps> {
        for &place in &self.open {
            let found = &self.history.moves[place];
            let Some(answer) = found.answer else { continue };
            let asked = &found.op.asked;
            if (asked.call.is_mutation() && answer.is_success()) || way.has(place) {
                continue;
            }
            count(self.steps)?;
            let step = step(&way.state, asked.subject.as_ref(), &asked.call, &found.named);
            if step.next.is_none() && step.answer.agrees(answer) {
                way.note(place);
            }
        }
        Ok(())
    }

    /// Lets one open move happen, each in its turn.
    fn expand(&mut self, way: &Way, waiting: &mut VecDeque<Way>) -> Result<(), OutOfSteps> {
        for &place in &self.open {
            if way.has(place) {
                continue;
            }
            count(self.steps)?;
            if let Some(state) = happens(&self.history.moves[place], &way.state) {
                waiting.push_back(way.with(place, self.looks.forget(state)));
            }
        }
        Ok(())
    }
}

/// The state after a move, if the move can happen there. One without an answer that changes
/// nothing might as well not happen.
fn happens(found: &Move<'_>, state: &SecretState) -> Option<SecretState> {
    let asked = &found.op.asked;
    let (subject, call) = (asked.subject.as_ref(), &asked.call);
    let Some(answer) = found.answer else {
        return step(state, subject, call, &found.named).next;
    };
    let passed = clock_passed(state, call, answer);
    let step = step(passed.as_ref().unwrap_or(state), subject, call, &found.named);
    let agrees = step.answer.agrees(answer);
    agrees.then(|| step.next.or(passed).unwrap_or_else(|| state.clone()))
}

const fn count(steps: &mut u64) -> Result<(), OutOfSteps> {
    match steps.checked_sub(1) {
        Some(left) => {
            *steps = left;
            Ok(())
        }
        None => Err(OutOfSteps),
    }
}
