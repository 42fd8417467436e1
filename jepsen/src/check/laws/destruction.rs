//! L8: a version whose destruction is scheduled for a time T is not destroyed before T on the
//! clock of the log, a destruction that was called off does not happen, and a destroyed version
//! never comes back.
//!
//! By index; the time of the log comes from a dump. Still to come, with the calls that schedule
//! and call off, is the workload that steps the clocks of nodes meanwhile.

use std::collections::BTreeMap;

use crate::history::answer::{Answer, VersionStatus};
use crate::history::ids::{OpId, SecretId, VersionId};
use crate::history::log_dump::{CommittedLog, EntryKind, EntryOutcome};

use super::{Case, Law, LawReport, Violation};

/// One sighting of a version.
struct Seen {
    index: u64,
    observes: bool,
    op: OpId,
    status: VersionStatus,
    destroy_at_ns: Option<i64>,
}

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut versions: BTreeMap<(&SecretId, &VersionId), Vec<Seen>> = BTreeMap::new();
    for op in &case.history.ops {
        let (Some(secret), Some(reply)) = (op.secret(), op.success()) else { continue };
        let observes = !op.asked.call.is_mutation();
        let (op, index) = (op.id, reply.index);
        for view in reply.answer.versions() {
            let (status, destroy_at_ns) = (view.status, view.destroy_at_ns);
            let seen = Seen { index, observes, op, status, destroy_at_ns };
            versions.entry((secret, &view.id)).or_default().push(seen);
        }
        if let Answer::Payload(view) = &reply.answer {
            let (status, destroy_at_ns) = (VersionStatus::Active, None);
            let seen = Seen { index, observes, op, status, destroy_at_ns };
            versions.entry((secret, &view.version)).or_default().push(seen);
        }
    }
    let destructions = destructions(case.log);
    let changes = changes(case.log);
    let (mut scheduled, mut destroyed, mut timed) = (0, 0, 0);
    let mut violation = None;
    for ((secret, version), mut all) in versions {
        all.sort_by_key(|seen| (seen.index, seen.observes, seen.op));
        let is = |status| all.iter().any(|seen| seen.status == status);
        scheduled += u64::from(is(VersionStatus::Scheduled));
        destroyed += u64::from(is(VersionStatus::Destroyed));
        let at = destructions.get(&(secret, version)).copied();
        timed += u64::from(at.is_some());
        violation = violation.or_else(|| judge(secret, version, &all));
        let Some(at) = at else { continue };
        let Some(last) = all.iter().rfind(|seen| seen.index < at.0 && !seen.observes) else {
            continue;
        };
        // Nobody was answered by what the log has between them, so nobody knows the time.
        let between = last.index + 1..at.0;
        let mut changed = changes.get(&(secret, version)).into_iter().flatten();
        if !changed.any(|index| between.contains(index)) {
            violation = violation.or_else(|| too_early(secret, version, last, at));
        }
    }
    let counts = [
        ("versions seen scheduled or destroyed", scheduled + destroyed),
        ("of them destroyed", destroyed),
        ("destructions timed by the log", timed),
    ];
    LawReport::new(Law::L8, violation, &counts, "no version was scheduled for destruction")
}

/// By what was seen alone: destroyed is for good, and only what is scheduled is destroyed.
fn judge(secret: &SecretId, version: &VersionId, all: &[Seen]) -> Option<Violation> {
    for pair in all.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let what = match (before.status, after.status) {
            (VersionStatus::Destroyed, VersionStatus::Active | VersionStatus::Scheduled) => {
                "came back"
            }
            // The clock may pass between two sightings, but only of a destruction that somebody
            // scheduled between them; at one index nobody can have.
            (VersionStatus::Active, VersionStatus::Destroyed) if before.index == after.index => {
                "was destroyed without being scheduled"
            }
            _ => continue,
        };
        let sentence = format!(
            "version {version} of secret {secret} {what}: #{} shows it {:?} at index {} and #{} \
             {:?} at index {}",
            before.op, before.status, before.index, after.op, after.status, after.index
        );
        return Some(Violation { ops: vec![before.op, after.op], sentence });
    }
    None
}

/// Index and log time of the first entry that destroyed each version.
fn destructions(log: Option<&CommittedLog>) -> BTreeMap<(&SecretId, &VersionId), (u64, i64)> {
    let mut destructions = BTreeMap::new();
    for entry in log.into_iter().flat_map(CommittedLog::entries) {
        let destroys =
            entry.kind == EntryKind::DestroyVersion && entry.outcome == EntryOutcome::Done;
        if destroys
            && let (Some(secret), Some(version)) = (&entry.secret, &entry.version)
            && let Some(log_time_ns) = entry.log_time_ns
        {
            destructions.entry((secret, version)).or_insert((entry.index, log_time_ns));
        }
    }
    destructions
}

/// Indexes of the entries that scheduled the destruction of each version, or called it off.
fn changes(log: Option<&CommittedLog>) -> BTreeMap<(&SecretId, &VersionId), Vec<u64>> {
    let mut changes: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for entry in log.into_iter().flat_map(CommittedLog::entries) {
        let changes_it =
            matches!(entry.kind, EntryKind::ScheduleDestruction | EntryKind::CancelDestruction)
                && entry.outcome != EntryOutcome::Refused;
        if let (true, Some(secret), Some(version)) = (changes_it, &entry.secret, &entry.version) {
            changes.entry((secret, version)).or_default().push(entry.index);
        }
    }
    changes
}

/// What the version last showed before it was destroyed has to have been a schedule whose time
/// had come.
fn too_early(
    secret: &SecretId,
    version: &VersionId,
    last: &Seen,
    (index, log_time_ns): (u64, i64),
) -> Option<Violation> {
    let sentence = match last.destroy_at_ns {
        Some(at) if at <= log_time_ns => return None,
        Some(at) => {
            let early_ms = (at - log_time_ns) / 1_000_000;
            format!(
                "version {version} of secret {secret} was destroyed at index {index}, {early_ms} \
                 ms before the time that #{} had set",
                last.op
            )
        }
        None => format!(
            "version {version} of secret {secret} was destroyed at index {index}, though #{} had \
             left it {:?} at index {}",
            last.op, last.status, last.index
        ),
    };
    Some(Violation { ops: vec![last.op], sentence })
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, log, on_version, payload, version, versions};
    use crate::check::script::{entries, list};
    use crate::history::call::{Call, ScheduleDestruction};

    use super::*;

    fn shown(status: VersionStatus, destroy_at_ns: Option<i64>) -> Answer {
        let mut view = version("v1", "", &["a"]);
        (view.status, view.destroy_at_ns) = (status, destroy_at_ns);
        Answer::Version(view)
    }

    fn schedule(script: &mut Script, index: u64, at_ns: i64) {
        let call = Call::ScheduleDestruction(ScheduleDestruction {
            secret: "s".into(),
            version: "v1".into(),
            pending_ms: Some(1),
            if_version: None,
        });
        script.done(call, shown(VersionStatus::Scheduled, Some(at_ns)), index);
    }

    fn cancel(script: &mut Script, index: u64) {
        let call = Call::CancelDestruction(on_version("v1"));
        script.done(call, shown(VersionStatus::Active, None), index);
    }

    fn look(script: &mut Script, index: u64, status: VersionStatus) {
        let Answer::Version(view) = shown(status, None) else { unreachable!() };
        script.done(list(), versions(&[view]), index);
    }

    /// The log destroys the version at index 4, when its time is 4000 ns.
    fn finding(script: Script) -> Finding {
        let history = script.history();
        let other = (EntryKind::Blank, None);
        let log = log(&[other, other, other, (EntryKind::DestroyVersion, Some("v1"))]);
        check(&Case::new(&history, Some(&log))).finding
    }

    #[test]
    fn a_destruction_at_its_time_holds() {
        let mut script = Script::new();
        schedule(&mut script, 1, 9000);
        cancel(&mut script, 2);
        schedule(&mut script, 3, 4000);
        look(&mut script, 5, VersionStatus::Destroyed);
        assert_eq!(finding(script), Finding::Holds);
    }

    #[test]
    fn a_destruction_before_its_time_is_a_violation() {
        let mut script = Script::new();
        schedule(&mut script, 1, 3_004_000);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        let expected = "version v1 of secret s was destroyed at index 4, 3 ms before the time \
                        that #0 had set";
        assert_eq!(sentence, expected);
    }

    #[test]
    fn a_destruction_that_was_called_off_is_a_violation() {
        let mut script = Script::new();
        schedule(&mut script, 1, 4000);
        cancel(&mut script, 2);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        assert!(sentence.contains("though #1 had left it Active"), "{sentence}");
    }

    #[test]
    fn a_schedule_that_nobody_was_told_of_may_have_set_another_time() {
        let found = |third| {
            let mut script = Script::new();
            schedule(&mut script, 1, 3_004_000);
            let history = script.history();
            let blank = (EntryKind::Blank, None);
            let log = log(&[blank, blank, third, (EntryKind::DestroyVersion, Some("v1"))]);
            check(&Case::new(&history, Some(&log))).finding
        };
        assert_eq!(found((EntryKind::ScheduleDestruction, Some("v1"))), Finding::Holds);
        let another = found((EntryKind::ScheduleDestruction, Some("v2")));
        assert!(matches!(another, Finding::Violated { .. }), "it was of another version");
    }

    #[test]
    fn a_destroyed_version_that_comes_back_is_a_violation() {
        let mut script = Script::new();
        schedule(&mut script, 1, 4000);
        look(&mut script, 5, VersionStatus::Destroyed);
        script.done(payload(Some("v1")), entries("v1", &[("a", 1)]), 6);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        assert!(sentence.contains("came back"), "{sentence}");
    }
}
