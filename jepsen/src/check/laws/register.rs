//! L1: every answer is what the specification says at the index that the answer claims.
//!
//! Payload and metadata reads return the state at their index; the current version moves only by
//! AddVersion and SetCurrentVersion, and everything else by what the contract says.

use super::{Case, Law, LawReport, Violation};
use crate::check::replay::Difference;

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let replay = &case.replay;
    let violation = replay.differences.first().map(|found| violation(case, found));
    let counts = [
        ("answers compared", replay.compared),
        ("answers left to the search", replay.left_to_search),
        ("secrets", replay.secrets),
        ("secrets with a difference", replay.differences.len() as u64),
    ];
    LawReport::new(Law::L1, violation, &counts, "no operation has an answer with an index")
}

fn violation(case: &Case<'_>, found: &Difference) -> Violation {
    let name = case.history.op(found.op).asked.call.name();
    let Difference { op, secret, index, expected, got, .. } = found;
    let mut sentence = format!(
        "{name} #{op} on secret {secret} answered {got} at index {index}, where the \
         specification has {expected}"
    );
    let mut ops = vec![*op];
    if let Some(after) = found.after {
        let changed = case.history.op(after);
        let name = changed.asked.call.name();
        sentence = format!("{sentence} since {name} #{after}");
        ops.insert(0, after);
    }
    Violation { ops, sentence }
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{
        Script, add, create, entries, get, payload, refused, secret, version,
    };
    use crate::history::answer::{Answer, Code};
    use crate::history::ids::OpId;

    use super::*;

    fn script() -> Script {
        let mut script = Script::new();
        let first = version("v1", "first", &["a"]);
        script.done(create(&[("a", 1)]), secret(Some(first)), 1);
        let second = version("v2", "second", &["a", "b"]);
        script.done(add("second", &[("b", 2)]), Answer::Version(second), 2);
        script
    }

    #[test]
    fn answers_of_the_specification_hold() {
        let mut script = script();
        script.done(payload(None), entries("v2", &[("a", 1), ("b", 2)]), 2);
        script.done(payload(Some("v1")), entries("v1", &[("a", 1)]), 5);
        let history = script.history();
        let report = check(&Case::new(&history, None));
        assert_eq!(report.finding, Finding::Holds);
        assert_eq!(report.counts[0], ("answers compared".to_owned(), 4));
    }

    #[test]
    fn a_stale_read_is_a_violation_whatever_index_it_claims() {
        let mut script = script();
        script.done(get(), secret(Some(version("v1", "first", &["a"]))), 3);
        let history = script.history();
        let report = check(&Case::new(&history, None));
        let Finding::Violated { ops, sentence } = report.finding else { panic!("{report:?}") };
        assert_eq!(ops.iter().map(|op| op.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(
            sentence,
            "get_secret #2 on secret s answered an active secret with current version v1 at \
             index 3, where the specification has an active secret with current version v2 \
             since add_version #1"
        );
    }

    #[test]
    fn a_creation_that_is_refused_without_reason_is_a_violation() {
        let mut script = script();
        script.done(create(&[("a", 1)]), refused(Code::NotFound), 3);
        let history = script.history();
        let Finding::Violated { ops, .. } = check(&Case::new(&history, None)).finding else {
            panic!()
        };
        assert_eq!(ops, [OpId(2)]);
    }

    #[test]
    fn a_lost_key_is_a_violation() {
        let mut script = script();
        script.done(payload(None), entries("v2", &[("b", 2)]), 2);
        let history = script.history();
        let report = check(&Case::new(&history, None));
        assert!(matches!(report.finding, Finding::Violated { .. }));
    }
}
