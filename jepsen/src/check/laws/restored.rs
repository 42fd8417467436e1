//! L18: a cluster that was restored from a backup has the state of the last entry in the backup,
//! all of it and nothing later; but what was destroyed or deleted since stays so.
//!
//! By the specification, run up to that entry: L1 on a prefix. The lists of destructions beside a
//! backup go up to its restoring, so what the log has ever destroyed shows no payload, and what it
//! has ever deleted is not there. A version whose destruction somebody asked for may have met its
//! time in the restored cluster, whose clock goes on.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::replay::{AsOf, States, states_at};
use crate::history::answer::{Answer, Code, VersionStatus};
use crate::history::call::{Call, ReadSecret};
use crate::history::ids::{OpId, SecretId, VersionId};
use crate::history::log_dump::{CommittedLog, EntryKind, EntryOutcome};
use crate::history::restored::RestoredAnswer;
use crate::model::expected::describe;
use crate::model::secret::Version;
use crate::model::{Named, SecretState, step};

use super::{Case, Law, LawReport, Violation};

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut clusters: BTreeMap<(u64, u64), Vec<&RestoredAnswer>> = BTreeMap::new();
    for answer in &case.history.restored {
        clusters.entry((answer.cluster, answer.index)).or_default().push(answer);
    }
    let (mut tally, mut violation) = (Tally::default(), None);
    let since = (!clusters.is_empty()).then(|| Since::of(case));
    for ((_, index), answers) in &clusters {
        let Some(since) = &since else { break };
        let states = states_at(case.history, &case.resolution, case.log, *index);
        let restored = Restored { index: *index, states, since };
        for answer in answers {
            let found = restored.compare(answer, &mut tally);
            violation = violation.or(found);
        }
        violation = violation.or_else(|| restored.lacks(answers));
        tally.gone += restored.gone();
    }
    let counts = [
        ("answers compared", tally.compared),
        ("restored clusters", clusters.len() as u64),
        ("destroyed or deleted since", tally.gone),
        ("answers that nobody can judge", tally.unknown),
    ];
    LawReport::new(Law::L18, violation, &counts, "no backup was restored")
}

#[derive(Default)]
struct Tally {
    compared: u64,
    unknown: u64,
    gone: u64,
}

type Versions<'a> = BTreeMap<&'a SecretId, BTreeSet<&'a VersionId>>;

/// What happened up to the end, when the backups were restored.
struct Since<'a> {
    states: States,
    /// Destroyed, as the log tells.
    destroyed: Versions<'a>,
    /// Somebody asked for their destruction.
    scheduled: Versions<'a>,
}

impl<'a> Since<'a> {
    fn of(case: &Case<'a>) -> Self {
        let states = states_at(case.history, &case.resolution, case.log, u64::MAX);
        let (mut destroyed, mut scheduled) = (Versions::new(), Versions::new());
        for entry in case.log.into_iter().flat_map(CommittedLog::entries) {
            let destroys =
                entry.kind == EntryKind::DestroyVersion && entry.outcome == EntryOutcome::Done;
            if let (true, Some(secret), Some(version)) = (destroys, &entry.secret, &entry.version) {
                destroyed.entry(secret).or_default().insert(version);
            }
        }
        for op in &case.history.ops {
            if let Call::ScheduleDestruction(call) = &op.asked.call {
                scheduled.entry(&call.secret).or_default().insert(&call.version);
            }
        }
        Self { states, destroyed, scheduled }
    }
}

/// What a restored cluster has to be.
struct Restored<'a> {
    index: u64,
    /// As the backup has them.
    states: States,
    since: &'a Since<'a>,
}

impl Restored<'_> {
    /// A secret as it has to be; none where nobody knows.
    fn owed(&self, secret: &SecretId) -> Option<AsOf> {
        let at = match self.states.secrets.get(secret) {
            Some(known) => known.clone()?,
            None if self.states.all_known => {
                return Some(AsOf { state: SecretState::Absent, changed_by: None });
            }
            None => return None,
        };
        let Some(mut live) = at.state.live().cloned() else { return Some(at) };
        // Whether it was deleted since has to be known.
        let last = self.since.states.secrets.get(secret)?.as_ref()?;
        if last.state == SecretState::Deleted {
            return Some(last.clone());
        }
        for version in self.since.destroyed.get(secret).into_iter().flatten() {
            if let Some(place) = live.place_of(version) {
                live.versions[place].status = VersionStatus::Destroyed;
            }
        }
        Some(AsOf { state: SecretState::Live(live), changed_by: at.changed_by })
    }

    fn compare(&self, answer: &RestoredAnswer, tally: &mut Tally) -> Option<Violation> {
        let RestoredAnswer { call, answer, .. } = answer;
        let Answer::Secrets(page) = answer else {
            return self.compare_one(call.name(), call, answer, tally);
        };
        // A page shows each secret as a read of it would.
        page.secrets.iter().find_map(|view| {
            let read = Call::GetSecret(ReadSecret { secret: view.id.clone() });
            self.compare_one(call.name(), &read, &Answer::Secret(view.clone()), tally)
        })
    }

    fn compare_one(
        &self,
        name: &str,
        call: &Call,
        got: &Answer,
        tally: &mut Tally,
    ) -> Option<Violation> {
        let secret = call.secret()?;
        let owed = self.owed(secret).filter(|_| !self.may_be_for_the_clock(call, got));
        let Some(AsOf { state, changed_by }) = owed else {
            tally.unknown += 1;
            return None;
        };
        tally.compared += 1;
        let state = self.passed(state, secret, got);
        let expected = step(&state, None, call, &Named::unknown(OpId(u64::MAX))).answer;
        if expected.agrees(got) {
            return None;
        }
        let sentence = format!(
            "the cluster restored from a backup of index {} answers {name} on secret {secret} with \
             {}, where the specification has {expected}",
            self.index,
            describe(got)
        );
        Some(Violation { ops: changed_by.into_iter().collect(), sentence })
    }

    /// Whether a payload may be refused for its version has met its time in the restored cluster.
    fn may_be_for_the_clock(&self, call: &Call, got: &Answer) -> bool {
        let (Call::GetPayload(call), Answer::Refused(refusal)) = (call, got) else { return false };
        let scheduled = self.since.scheduled.get(&call.secret);
        refusal.code == Code::FailedPrecondition
            && scheduled.is_some_and(|scheduled| {
                call.version.as_ref().is_none_or(|version| scheduled.contains(version))
            })
    }

    /// The state with those versions destroyed that the answer shows so and that may be.
    fn passed(&self, state: SecretState, secret: &SecretId, got: &Answer) -> SecretState {
        let (Some(mut live), Some(scheduled)) =
            (state.live().cloned(), self.since.scheduled.get(secret))
        else {
            return state;
        };
        for view in got.versions().filter(|view| view.status == VersionStatus::Destroyed) {
            if let Some(place) = live.place_of(&view.id).filter(|_| scheduled.contains(&view.id)) {
                live.versions[place].status = VersionStatus::Destroyed;
            }
        }
        SecretState::Live(live)
    }

    /// A secret that is in no list, though all lists came to their end.
    fn lacks(&self, answers: &[&RestoredAnswer]) -> Option<Violation> {
        let (mut shown, mut ended) = (BTreeSet::new(), BTreeMap::new());
        for answer in answers {
            if let (Call::ListSecrets(call), Answer::Secrets(page)) = (&answer.call, &answer.answer)
            {
                shown.extend(page.secrets.iter().map(|view| &view.id));
                *ended.entry(&call.folder).or_insert(false) |= page.next.is_none();
            }
        }
        if ended.is_empty() || ended.values().any(|has_ended| !has_ended) {
            return None;
        }
        let absent = self.states.secrets.keys().filter(|secret| !shown.contains(secret));
        let owed = absent.filter_map(|secret| Some((secret, self.owed(secret)?)));
        let mut lacking = owed.filter(|(_, owed)| owed.state.live().is_some());
        let (secret, owed) = lacking.next()?;
        let sentence = format!(
            "the cluster restored from a backup of index {} lacks secret {secret}, which is in it",
            self.index
        );
        Some(Violation { ops: owed.changed_by.into_iter().collect(), sentence })
    }

    /// How much of what the backup has was destroyed or deleted since.
    fn gone(&self) -> u64 {
        let mut gone = 0;
        for (secret, at) in &self.states.secrets {
            let Some(live) = at.as_ref().and_then(|at| at.state.live()) else { continue };
            let last = self.since.states.secrets.get(secret).and_then(Option::as_ref);
            if last.is_some_and(|last| last.state == SecretState::Deleted) {
                gone += 1;
                continue;
            }
            let destroyed = self.since.destroyed.get(secret);
            let is_gone = |version: &&Version| {
                version.status != VersionStatus::Destroyed
                    && destroyed.is_some_and(|destroyed| destroyed.contains(&version.content.id))
            };
            gone += live.versions.iter().filter(is_gone).count() as u64;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{
        Script, add, create, delete, entries, get, list, log, page, payload, refused, secret,
        version, versions,
    };
    use crate::history::answer::{SecretPage, VersionView};
    use crate::history::call::ScheduleDestruction;
    use crate::history::event::Event;

    use super::*;

    fn first() -> VersionView {
        version("v1", "first", &["a"])
    }

    fn second() -> VersionView {
        version("v2", "second", &["a"])
    }

    fn destroyed() -> VersionView {
        VersionView { status: VersionStatus::Destroyed, ..first() }
    }

    fn all(shown: Vec<Answer>) -> (Call, Answer) {
        let views = shown.into_iter().map(|answer| {
            let Answer::Secret(view) = answer else { unreachable!() };
            view
        });
        (page("w", None), Answer::Secrets(SecretPage { secrets: views.collect(), next: None }))
    }

    /// A secret with a version at index 1 and another at index 2, whatever comes after that, and a
    /// cluster that is restored from a backup of an index.
    fn report(
        after: impl FnOnce(&mut Script),
        index: u64,
        answers: Vec<(Call, Answer)>,
    ) -> LawReport {
        let mut script = Script::new();
        script.done(create(&[("a", 1)]), secret(Some(first())), 1);
        script.done(add("second", &[("a", 2)]), Answer::Version(second()), 2);
        after(&mut script);
        for (call, answer) in answers {
            let cluster = 1;
            script.push(|at| Event::Restored(RestoredAnswer { at, cluster, index, call, answer }));
        }
        let history = script.history();
        // The first version is destroyed at index 4.
        let other = (EntryKind::Other, None);
        let log = log(&[other, other, other, (EntryKind::DestroyVersion, Some("v1"))]);
        let destroys = history.ops.iter().any(|op| op.asked.call.name() == "schedule_destruction");
        check(&Case::new(&history, destroys.then_some(&log)))
    }

    fn sentence(report: LawReport) -> String {
        let Finding::Violated { sentence, .. } = report.finding else { panic!("{report:?}") };
        sentence
    }

    fn nothing(_: &mut Script) {}

    fn deletes(script: &mut Script) {
        script.done(delete("s"), secret(Some(second())), 3);
    }

    fn schedules(script: &mut Script) {
        let call = Call::ScheduleDestruction(ScheduleDestruction {
            secret: "s".into(),
            version: "v1".into(),
            pending_ms: Some(1),
            if_version: None,
        });
        let (status, destroy_at_ns) = (VersionStatus::Scheduled, Some(2000));
        let shown = VersionView { status, destroy_at_ns, ..first() };
        script.done(call, Answer::Version(shown), 3);
    }

    #[test]
    fn the_state_of_the_backup_holds() {
        let answers = vec![
            all(vec![secret(Some(first()))]),
            (list(), versions(&[first()])),
            (payload(None), entries("v1", &[("a", 1)])),
        ];
        let report = report(nothing, 1, answers);
        assert_eq!(report.finding, Finding::Holds);
        assert_eq!(report.counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3, 1, 0, 0]);
    }

    #[test]
    fn what_came_later_what_was_lost_and_what_nobody_made_are_violations() {
        let later = report(nothing, 1, vec![(list(), versions(&[second(), first()]))]);
        let expected = "the cluster restored from a backup of index 1 answers list_versions on \
                        secret s with 2 versions (v2, v1), where the specification has 1 versions \
                        (v1)";
        assert_eq!(sentence(later), expected);
        let lost = report(nothing, 2, vec![(payload(None), entries("v1", &[("a", 1)]))]);
        assert!(sentence(lost).contains("with 1 entries of version v1"));
        let lacks = report(nothing, 1, vec![all(Vec::new())]);
        assert!(sentence(lacks).ends_with("of index 1 lacks secret s, which is in it"));
        let Answer::Secret(view) = secret(None) else { unreachable!() };
        let other = crate::history::answer::SecretView { id: "t".into(), ..view };
        let made_up = all(vec![secret(Some(second())), Answer::Secret(other)]);
        let made_up = sentence(report(nothing, 2, vec![made_up]));
        assert!(made_up.contains("list_secrets on secret t"), "{made_up}");
    }

    #[test]
    fn what_was_deleted_since_is_not_there() {
        let gone = vec![all(Vec::new()), (get(), refused(Code::NotFound))];
        let gone = report(deletes, 2, gone);
        assert_eq!((&gone.finding, gone.counts[2].1), (&Finding::Holds, 1));
        let back = report(deletes, 2, vec![(get(), secret(Some(second())))]);
        assert!(sentence(back).contains("answers get_secret on secret s"));
    }

    #[test]
    fn what_was_destroyed_since_does_not_come_back() {
        let gone = vec![
            (list(), versions(&[second(), destroyed()])),
            (payload(Some("v1")), refused(Code::FailedPrecondition)),
        ];
        let gone = report(schedules, 2, gone);
        assert_eq!((&gone.finding, gone.counts[2].1), (&Finding::Holds, 1));
        let listed = report(schedules, 2, vec![(list(), versions(&[second(), first()]))]);
        assert!(matches!(listed.finding, Finding::Violated { .. }), "{listed:?}");
        let opened = vec![(payload(Some("v1")), entries("v1", &[("a", 1)]))];
        let opened = sentence(report(schedules, 2, opened));
        assert!(opened.contains("get_payload on secret s with 1 entries"), "{opened}");
    }

    #[test]
    fn a_version_that_nobody_wanted_destroyed_is_there() {
        let shown = report(nothing, 2, vec![(list(), versions(&[second(), destroyed()]))]);
        assert!(matches!(shown.finding, Finding::Violated { .. }), "{shown:?}");
    }

    #[test]
    fn without_a_backup_nothing_was_looked_at() {
        let why = "no backup was restored".to_owned();
        assert_eq!(report(nothing, 1, Vec::new()).finding, Finding::NotChecked { why });
    }
}
