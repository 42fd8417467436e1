//! L5: if one operation ended before another began, its index is not above the other's, and it is
//! below it if the other one is a mutation that took effect.

use super::{Case, Law, LawReport, Violation, ms};
use crate::check::realtime::{Inversion, sweep};

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let swept = sweep(case.history);
    let violation = swept.inversions.first().map(|found| violation(case, *found));
    let counts =
        [("operations compared", swept.compared), ("inversions", swept.inversions.len() as u64)];
    LawReport::new(Law::L5, violation, &counts, "no operation has an answer with an index")
}

fn violation(case: &Case<'_>, Inversion { earlier, later }: Inversion) -> Violation {
    let (before, after) = (case.history.op(earlier), case.history.op(later));
    let index = |op: &crate::history::op::Op| op.reply().map_or(0, |reply| reply.index);
    let ended = before.completed.as_ref().map_or(0, |(at, _)| at.ns);
    let sentence = format!(
        "{} #{later} answered at index {}, but {} #{earlier} at index {} had completed {} before \
         it began",
        after.asked.call.name(),
        index(after),
        before.asked.call.name(),
        index(before),
        ms(ended, after.invoked.ns)
    );
    Violation { ops: vec![earlier, later], sentence }
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, add, get, secret, version};
    use crate::history::answer::Answer;

    use super::*;

    fn added() -> Answer {
        Answer::Version(version("v1", "", &["a"]))
    }

    fn finding(script: Script) -> Finding {
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    #[test]
    fn indexes_in_the_order_of_time_hold_and_overlapping_ones_may_be_in_any() {
        let mut script = Script::new();
        let slow = script.begin(get());
        script.done(add("one", &[("a", 1)]), added(), 5);
        script.done(get(), secret(None), 5);
        script.ok(slow, secret(None), 2);
        assert_eq!(finding(script), Finding::Holds);
    }

    #[test]
    fn a_read_from_before_a_write_that_had_ended_is_a_violation() {
        let mut script = Script::new();
        script.done(add("one", &[("a", 1)]), added(), 5);
        script.wait_ms(30);
        script.done(get(), secret(None), 4);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        let expected = "get_secret #1 answered at index 4, but add_version #0 at index 5 had \
                        completed 31.000 ms before it began";
        assert_eq!(sentence, expected);
    }

    #[test]
    fn a_write_needs_an_index_of_its_own() {
        let mut script = Script::new();
        script.done(get(), secret(None), 5);
        script.done(add("one", &[("a", 1)]), added(), 5);
        assert!(matches!(finding(script), Finding::Violated { .. }));
    }
}
