//! L14: there is a leader soon after a majority is connected, almost all operations succeed once
//! the healed cluster has settled, and all final reads and writes do.

use super::{Case, Law, LawReport, Violation};
use crate::check::liveness::{Bounds, Liveness, measure};
use crate::history::event::Phase;

/// Judges a case by the usual bounds.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    check_with(case, &Bounds::default())
}

/// Judges a case by others.
#[must_use]
pub fn check_with(case: &Case<'_>, bounds: &Bounds) -> LawReport {
    let measured = measure(case.history, bounds);
    let finished = case.history.phase(Phase::Done).is_some();
    let counts = [
        (
            "final operations",
            if finished { measured.final_reads + measured.final_writes } else { 0 },
        ),
        ("operations after healing", measured.healed_ops),
        ("of them answered", measured.healed_ok),
        ("stretches with a majority", measured.windows),
        ("longest time without a leader, ms", measured.leaderless_ns.0 / 1_000_000),
    ];
    let violation = violation(case, &measured, bounds, finished);
    LawReport::new(Law::L14, violation, &counts, "the run did not come to its final operations")
}

fn violation(
    case: &Case<'_>,
    measured: &Liveness,
    bounds: &Bounds,
    finished: bool,
) -> Option<Violation> {
    if let Some(op) = measured.final_failure {
        let name = case.history.op(op).asked.call.name();
        let sentence = format!("the final {name} #{op} did not succeed");
        return Some(Violation { ops: vec![op], sentence });
    }
    let (longest, began) = measured.leaderless_ns;
    // A history without any sample says nothing about leaders.
    if longest > bounds.leader_ms_max * 1_000_000 && !case.history.samples.is_empty() {
        let sentence = format!(
            "no leader was seen for {} ms from {} ms on, though a majority was connected; {} ms \
             are allowed",
            longest / 1_000_000,
            began / 1_000_000,
            bounds.leader_ms_max
        );
        return Some(Violation { ops: Vec::new(), sentence });
    }
    let (ok, all) = (measured.healed_ok, measured.healed_ops);
    if ok * 1000 < all * bounds.ok_of_thousand_min {
        let sentence = format!(
            "{ok} of {all} operations were answered from {} ms after healing on; {} of a thousand \
             are owed",
            bounds.settle_ms, bounds.ok_of_thousand_min
        );
        return Some(Violation { ops: Vec::new(), sentence });
    }
    let few = measured.final_reads.min(measured.final_writes);
    if finished && few < bounds.final_ops_min {
        let sentence = format!(
            "there were {} final reads and {} final writes, and {} of each are owed",
            measured.final_reads, measured.final_writes, bounds.final_ops_min
        );
        return Some(Violation { ops: Vec::new(), sentence });
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, add, get, secret, version};
    use crate::history::answer::{Answer, Code};
    use crate::history::fault::Edge;
    use crate::history::op::{Failure, Outcome};
    use crate::history::sample::RaftRole;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { leader_ms_max: 1000, settle_ms: 500, ok_of_thousand_min: 900, final_ops_min: 1 };

    /// Faults until 2 s, healed then, and in the end `last`.
    fn finding(change: impl FnOnce(&mut Script), last: impl FnOnce(&mut Script)) -> Finding {
        let mut script = Script::new();
        script.phase(Phase::Faults);
        script.sample(1, 1, RaftRole::Leader, 1);
        script.fault(1, Edge::Begin, false);
        script.wait_ms(2000);
        script.phase(Phase::Heal);
        script.fault(1, Edge::End, true);
        change(&mut script);
        script.phase(Phase::Final);
        last(&mut script);
        script.phase(Phase::Done);
        let history = script.history();
        check_with(&Case::new(&history, None), &BOUNDS).finding
    }

    fn recovers(script: &mut Script) {
        for term in 2..5 {
            script.wait_ms(800);
            script.sample(2, term, RaftRole::Leader, term);
            script.done(get(), secret(None), term);
        }
    }

    fn ends_well(script: &mut Script) {
        script.done(get(), secret(None), 9);
        script.done(add("op", &[("a", 1)]), Answer::Version(version("v1", "op", &["a"])), 10);
    }

    #[test]
    fn a_cluster_that_comes_back_holds() {
        assert_eq!(finding(recovers, ends_well), Finding::Holds);
    }

    #[test]
    fn a_long_time_without_a_leader_is_a_violation() {
        let slow = |script: &mut Script| {
            script.wait_ms(1500);
            script.sample(2, 2, RaftRole::Leader, 2);
        };
        let Finding::Violated { sentence, .. } = finding(slow, ends_well) else { panic!() };
        assert!(sentence.starts_with("no leader was seen for 150"), "{sentence}");
    }

    /// A power loss takes its nodes down long before it can be told that it is in force.
    #[test]
    fn nothing_is_owed_while_a_fault_takes_the_majority_down() {
        let down = |told: bool| {
            move |script: &mut Script| {
                if told {
                    script.majority(false);
                }
                script.wait_ms(1500);
                script.fault(2, Edge::Begin, false);
                script.fault(2, Edge::End, false);
                script.majority(true);
                recovers(script);
            }
        };
        assert_eq!(finding(down(true), ends_well), Finding::Holds);
        assert!(matches!(finding(down(false), ends_well), Finding::Violated { .. }));
    }

    #[test]
    fn operations_that_fail_after_healing_are_a_violation() {
        let failing = |script: &mut Script| {
            recovers(script);
            let op = script.begin(get());
            script.fail(op);
        };
        let Finding::Violated { sentence, .. } = finding(failing, ends_well) else { panic!() };
        assert!(sentence.starts_with("3 of 4 operations were answered"), "{sentence}");
    }

    #[test]
    fn a_final_operation_that_fails_or_is_missing_is_a_violation() {
        let fails = |script: &mut Script| {
            ends_well(script);
            let op = script.begin(get());
            script.info(op);
        };
        let Finding::Violated { sentence, .. } = finding(recovers, fails) else { panic!() };
        assert_eq!(sentence, "the final get_secret #5 did not succeed");
        let none = finding(recovers, |_| {});
        assert!(matches!(none, Finding::Violated { .. }), "{none:?}");
    }

    #[test]
    fn a_run_that_was_cut_short_is_not_called_checked() {
        let mut script = Script::new();
        script.phase(Phase::Faults);
        let history = script.history();
        let found = check_with(&Case::new(&history, None), &BOUNDS).finding;
        assert!(matches!(found, Finding::NotChecked { .. }), "{found:?}");
    }

    /// A client whose token was revoked is answered when it is turned away.
    #[test]
    fn a_token_that_may_be_revoked_is_answered_by_its_refusal() {
        let turned_away = |token: Option<&'static str>| {
            let change = |script: &mut Script| {
                recovers(script);
                for _ in 0..10 {
                    (script.subject, script.token) = (Some("ann"), token);
                    let read = script.begin(get());
                    (script.subject, script.token) = (None, None);
                    let failure = Failure { code: Code::Unauthenticated, message: "no".to_owned() };
                    script.end(read, Outcome::Fail(failure));
                }
            };
            finding(change, ends_well)
        };
        assert_eq!(turned_away(Some("ann/1")), Finding::Holds);
        assert!(matches!(turned_away(None), Finding::Violated { .. }));
    }
}
