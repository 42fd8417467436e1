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
use std::sync::Arc;

use crate::history::call::Call;
use crate::history::ids::OpId;
use crate::model::SecretState;
use crate::model::step::{clock_passed, step};

use super::hidden::Looks;
use super::order::Order;
use super::partition::{Move, SecretHistory};
use super::target::Target;
use super::ways::{Way, Ways};

/// Steps of the specification that a search may take on one secret: some tens of seconds. The
/// 30,818 secrets of an hour under faults took ten seconds together.
pub const STEPS_MAX: u64 = 20_000_000;

/// Bytes that the ways of a search may take at the same time, as `ways` estimates them.
const BYTES_MAX: usize = 2 << 30;

/// Steps of the second search for the answer that refutes a history: well below a second.
const SHARPER_STEPS_MAX: u64 = 200_000;

/// Comparisons of two ways that take as long as a step.
const COMPARISONS_OF_A_STEP: u64 = 32;

/// Versions of a secret that make a step on it take twice as long.
const VERSIONS_OF_A_STEP: u64 = 64;

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Searched {
    /// There is an order that explains every answer.
    Legal,
    /// There is none. Whatever happened before, this answer cannot be; or, where the second search
    /// was too long, no order that a list behind it allows comes past this answer.
    Illegal {
        /// The operation whose answer cannot be explained.
        op: OpId,
    },
    /// The steps or the memory ran out, or there are too many namings.
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
    // Of several namings the one that explains most, and the answer that it does not explain.
    let mut refuted: Option<(OpId, SecretHistory<'_>)> = None;
    let end_of = |op| history.moves.iter().find(|found| found.op.id == op).and_then(|it| it.to);
    for naming in &namings {
        let history = history.named(naming);
        match by_and_by(&history, &mut steps) {
            Searched::Illegal { op } => {
                if refuted.as_ref().is_none_or(|(other, _)| end_of(*other) < end_of(op)) {
                    refuted = Some((op, history));
                }
            }
            found @ (Searched::Legal | Searched::Unknown) => return found,
        }
    }
    refuted.map_or(Searched::Unknown, |(op, history)| sharper(&history, op))
}

/// What refutes a history that is refuted at this operation if the order is believed that lists
/// tell. Without it the answer that refutes may be the list's, where a reader looks for it.
fn sharper(history: &SecretHistory<'_>, op: OpId) -> Searched {
    let mut steps = SHARPER_STEPS_MAX;
    match Search::new(history, Allowed::All, &Order::default(), &mut steps).run() {
        Searched::Unknown => Searched::Illegal { op },
        // A way that explains everything would be a proof, whatever lists seem to tell.
        found @ (Searched::Illegal { .. } | Searched::Legal) => found,
    }
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
    let order = Order::of(&history.moves);
    let mut last = Searched::Unknown;
    for allowed in [Allowed::Seen, Allowed::Unseen, Allowed::All] {
        last = Search::new(history, allowed, &order, steps).run();
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
    order: &'h Order,
    bytes_max: usize,
}

/// What the search of one end goes through.
#[derive(Default)]
struct Front {
    /// Ways in which the move that ends has happened.
    next: Ways,
    /// Ways in which it has not.
    seen: Ways,
    /// Those of them that still have to go on. Where less has happened comes first, so that it
    /// stands for the others.
    waiting: VecDeque<Way>,
}

/// The steps ran out, or the ways became too many.
struct OutOfSteps;

impl<'h, 'a> Search<'h, 'a> {
    fn new(
        history: &'h SecretHistory<'a>,
        allowed: Allowed,
        order: &'h Order,
        steps: &'h mut u64,
    ) -> Self {
        let looks = Looks::of(&history.moves);
        Self { history, allowed, steps, open: Vec::new(), looks, order, bytes_max: BYTES_MAX }
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
        let mut ways = vec![Way { state: Arc::new(SecretState::Absent), happened: Vec::new() }];
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
        let target = Target::of(&self.history.moves[place]);
        let mut front = Front::default();
        for way in ways {
            self.admit(way, place, target.as_ref(), &mut front)?;
        }
        while let Some(way) = front.waiting.pop_front() {
            self.expand(&way, place, target.as_ref(), &mut front)?;
        }
        Ok(front.next.into_ways())
    }

    /// Puts a way where it belongs, unless one as good is there or nothing can come of it.
    fn admit(
        &mut self,
        mut way: Way,
        place: usize,
        target: Option<&Target<'_>>,
        front: &mut Front,
    ) -> Result<(), OutOfSteps> {
        let moves = &self.history.moves;
        let need_not_happen = |place: usize| moves[place].answer.is_none();
        self.take_what_fits(&mut way)?;
        if let Ok(at) = way.happened.binary_search(&place) {
            way.happened.remove(at);
            let inserted = front.next.insert(way, &need_not_happen);
            count(self.steps, inserted.compared as u64 / COMPARISONS_OF_A_STEP)?;
        } else if !target.is_some_and(|target| self.is_dead_end(&way, target)) {
            let inserted = front.seen.insert(way, &need_not_happen);
            count(self.steps, inserted.compared as u64 / COMPARISONS_OF_A_STEP)?;
            front.waiting.extend(inserted.way);
        }
        let kept = front.next.bytes() + front.seen.bytes();
        if kept > self.bytes_max { Err(OutOfSteps) } else { Ok(()) }
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
            count(self.steps, cost(&way.state))?;
            let step = step(&way.state, asked.subject.as_ref(), &asked.call, &found.named);
            if step.next.is_none() && step.answer.agrees(answer) {
                way.note(place);
            }
        }
        Ok(())
    }

    /// Lets one open move happen, each in its turn.
    fn expand(
        &mut self,
        way: &Way,
        place: usize,
        target: Option<&Target<'_>>,
        front: &mut Front,
    ) -> Result<(), OutOfSteps> {
        for at in 0..self.open.len() {
            let open = self.open[at];
            let found = &self.history.moves[open];
            if way.has(open) {
                continue;
            }
            count(self.steps, cost(&way.state))?;
            let adds = matches!(found.op.asked.call, Call::AddVersion(_));
            if adds && !self.order.may_be_made(&found.named.version, &way.state) {
                continue;
            }
            if let Some(state) = happens(found, &way.state) {
                self.admit(way.with(open, self.looks.forget(state)), place, target, front)?;
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

/// Steps that one step on this state counts for: what it takes grows with the versions.
fn cost(state: &SecretState) -> u64 {
    1 + state.live().map_or(0, |secret| secret.versions.len() as u64 / VERSIONS_OF_A_STEP)
}

const fn count(steps: &mut u64, taken: u64) -> Result<(), OutOfSteps> {
    match steps.checked_sub(taken) {
        Some(left) => {
            *steps = left;
            Ok(())
        }
        None => Err(OutOfSteps),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::partition::partition;
    use crate::check::script::{
        Script, add, create, entries, list, payload, secret, set_current, version, versions,
    };
    use crate::history::answer::Answer;
    use crate::history::makers::Makers;

    use super::*;

    /// Lost calls with an answer behind them that any of thousands of orders might explain.
    fn found_with(bytes_max: usize) -> Searched {
        let mut script = Script::new();
        let first = version("v0", "first", &["first"]);
        script.done(create(&[("first", 1)]), secret(Some(first)), 1);
        let keys = ["a", "b", "c", "d", "e", "f"];
        let adds = keys.iter().map(|key| add(key, &[(key, 2)]));
        let lost: Vec<_> = adds.chain([set_current("v0")]).map(|call| script.begin(call)).collect();
        for op in lost {
            script.info(op);
        }
        script.done(payload(None), entries("v9", &[("first", 1)]), 30);
        let history = script.history();
        let secrets = partition(&history, &Makers::find(&history));
        let mut steps = STEPS_MAX;
        let order = Order::of(&secrets[0].moves);
        let mut search = Search::new(&secrets[0], Allowed::All, &order, &mut steps);
        search.bytes_max = bytes_max;
        search.run()
    }

    #[test]
    fn ways_that_are_kept_are_bounded() {
        assert_eq!(found_with(BYTES_MAX), Searched::Illegal { op: OpId(8) });
        assert_eq!(found_with(500_000), Searched::Unknown);
    }

    /// Two lost adds could have made what was read, and a list says that the first was refused.
    #[test]
    fn the_answer_that_no_naming_explains_is_the_one_that_is_named() {
        let mut script = Script::new();
        let first = version("v0", "first", &["a"]);
        script.done(create(&[("a", 1)]), secret(Some(first.clone())), 1);
        let mut early = add("early", &[("a", 7)]);
        if let Call::AddVersion(call) = &mut early {
            call.if_version = Some("v0".into());
        }
        let early = script.begin(early);
        let second = version("v1", "second", &["a"]);
        script.done(add("second", &[("a", 2)]), Answer::Version(second.clone()), 2);
        script.done(list(), versions(&[second, first]), 3);
        let late = script.begin(add("late", &[("a", 7)]));
        script.done(payload(None), entries("v9", &[("a", 7)]), 4);
        let bad = script.done(payload(Some("v0")), entries("v0", &[("a", 9)]), 5);
        script.info(early);
        script.info(late);
        let history = script.history();
        let secrets = partition(&history, &Makers::find(&history));
        assert_eq!(search(&secrets[0], STEPS_MAX), Searched::Illegal { op: bad });
    }
}
