//! L17: a cloud never has more secrets than its quota, and no creation is refused for it while
//! there is room; and on low disks only what makes the data grow is refused.
//!
//! By the log: creations and deletions in its order, and at each refusal as many secrets as the
//! quota allows. By acknowledgements alone: never more secrets whose creation was acknowledged and
//! that nobody wanted to be deleted.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::folders::{Folder, folders};
use crate::check::room::{grows, is_refused_for_room};
use crate::history::answer::{Answer, Code};
use crate::history::call::Call;
use crate::history::ids::{FolderId, OpId, SecretId};
use crate::history::op::Op;
use crate::model::quota::SECRETS_MAX;

use super::{Case, Law, LawReport, Violation};

/// For counts.
const QUOTA: usize = SECRETS_MAX as usize;

/// A creation that was refused, and the index of that.
type Refused = (u64, OpId);

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let folders = folders(case);
    let mut refusals: BTreeMap<&FolderId, Vec<Refused>> = BTreeMap::new();
    for op in &case.history.ops {
        if let Some((id, refused)) = refused(op) {
            refusals.entry(id).or_default().push(refused);
        }
    }
    let (mut judged, mut effects, mut violation) = (0, 0, None);
    for (id, folder) in &folders {
        let mut refusals = refusals.remove(id).unwrap_or_default();
        refusals.sort_unstable();
        // With a doubt there may have been more than is counted.
        let certain = |refused: &&Refused| folder.doubtful_births(refused.0) == 0;
        judged += refusals.iter().filter(certain).count() as u64;
        effects += folder.effects.len() as u64;
        violation = violation.or_else(|| by_log(id, folder, &refusals));
        violation = violation.or_else(|| by_time(id, folder));
    }
    let for_room: Vec<&Op> = case.history.ops.iter().filter(|op| is_refused_for_room(op)).collect();
    violation = violation.or_else(|| for_room.iter().find_map(|op| needs_none(op)));
    let counts = [
        ("refusals for a quota without a doubt", judged),
        ("creations and deletions", effects),
        ("folders", folders.len() as u64),
        ("refusals for want of room", for_room.len() as u64),
    ];
    LawReport::new(Law::L17, violation, &counts, "no creation was certainly refused for a quota")
}

/// What makes room, or needs none, is not to wait for a disk.
fn needs_none(op: &Op) -> Option<Violation> {
    if grows(&op.asked.call) {
        return None;
    }
    let (name, id) = (op.asked.call.name(), op.id);
    let sentence = format!("{name} #{id} was refused for want of room, and needs none");
    Some(Violation { ops: vec![id], sentence })
}

fn refused(op: &Op) -> Option<(&FolderId, Refused)> {
    let Call::CreateSecret(call) = &op.asked.call else { return None };
    let reply = op.reply()?;
    match &reply.answer {
        Answer::Refused(refusal) if refusal.code == Code::ResourceExhausted => {
            Some((call.folder.as_ref()?, (reply.index, op.id)))
        }
        _ => None,
    }
}

/// Counts in the order of the log: what nobody knows counts for the cloud, whichever way.
fn by_log(id: &FolderId, folder: &Folder, refusals: &[Refused]) -> Option<Violation> {
    let mut refusals = refusals.iter().peekable();
    let mut there: BTreeSet<&SecretId> = BTreeSet::new();
    let room = |(index, op): &Refused, there: &BTreeSet<&SecretId>| {
        let count = there.len() + folder.doubtful_births(*index);
        let sentence = format!(
            "create_secret #{op} was refused for the quota at index {index}, where folder {id} had \
             {count} secrets of {SECRETS_MAX}"
        );
        (count < QUOTA).then(|| Violation { ops: vec![*op], sentence })
    };
    for effect in &folder.effects {
        while let Some(refusal) = refusals.next_if(|(index, _)| *index < effect.index) {
            if let Some(violation) = room(refusal, &there) {
                return Some(violation);
            }
        }
        if !effect.creates {
            there.remove(&effect.secret);
            continue;
        }
        there.insert(&effect.secret);
        let gone = |secret: &&&SecretId| folder.may_be_deleted(secret, effect.index);
        let count = there.len() - there.iter().filter(gone).count();
        if count > QUOTA {
            let sentence = format!(
                "create_secret #{} made secret {} the {count}th of folder {id} at index {}, where \
                 {SECRETS_MAX} may be",
                effect.op, effect.secret, effect.index
            );
            return Some(Violation { ops: vec![effect.op], sentence });
        }
    }
    refusals.find_map(|refusal| room(refusal, &there))
}

/// Counts what was certainly there.
fn by_time(id: &FolderId, folder: &Folder) -> Option<Violation> {
    let mut changes: Vec<(u64, bool, OpId)> = Vec::new();
    for stay in folder.stays.values() {
        let ends = stay.deleted.map_or(u64::MAX, |deleted| deleted.from);
        if stay.created.to < ends {
            changes.push((stay.created.to, true, stay.created.op));
            changes.push((ends, false, stay.created.op));
        }
    }
    changes.sort_unstable();
    let mut count = 0_usize;
    for (_, comes, op) in changes {
        count = if comes { count + 1 } else { count.saturating_sub(1) };
        if count > QUOTA {
            let sentence = format!(
                "folder {id} had {count} secrets when create_secret #{op} was acknowledged, where \
                 {SECRETS_MAX} may be"
            );
            return Some(Violation { ops: vec![op], sentence });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, create_in, delete, refused as refusal, secret_in};
    use crate::history::op::{Failure, Outcome};

    use super::*;

    /// So many secrets, by the first entries of the log.
    fn filled(count: u32) -> Script {
        let mut script = Script::new();
        for index in 1..=u64::from(count) {
            let name = format!("s{index}");
            script.done(create_in("f", &name), secret_in("f", &name, 1), index);
        }
        script
    }

    fn exhausted() -> Answer {
        refusal(Code::ResourceExhausted)
    }

    fn report(script: Script) -> LawReport {
        let history = script.history();
        check(&Case::new(&history, None))
    }

    fn sentence(script: Script) -> String {
        let report = report(script);
        let Finding::Violated { sentence, .. } = report.finding else { panic!("{report:?}") };
        sentence
    }

    #[test]
    fn a_full_cloud_refuses_until_something_goes() {
        let mut script = filled(SECRETS_MAX);
        let full = u64::from(SECRETS_MAX);
        script.done(create_in("f", "more"), exhausted(), full);
        script.done(create_in("f", "more"), exhausted(), full + 1);
        script.done(delete("s1"), secret_in("f", "s1", 1), full + 2);
        script.done(create_in("f", "more"), secret_in("f", "more", 1), full + 3);
        script.done(create_in("f", "much"), exhausted(), full + 3);
        let report = report(script);
        assert_eq!(report.finding, Finding::Holds);
        assert_eq!(report.counts[0].1, 3);
    }

    #[test]
    fn a_cloud_that_never_was_full_shows_nothing() {
        let report = report(filled(SECRETS_MAX));
        assert!(matches!(report.finding, Finding::NotChecked { .. }), "{report:?}");
    }

    #[test]
    fn one_too_many_is_a_violation_by_the_log_and_by_time() {
        let expected = "create_secret #24 made secret s25 the 25th of folder f at index 25, where \
                        24 may be";
        assert_eq!(sentence(filled(SECRETS_MAX + 1)), expected);
        let history = filled(SECRETS_MAX + 1).history();
        let case = Case::new(&history, None);
        let (id, folder) = folders(&case).pop_first().unwrap();
        let found = by_time(&id, &folder).unwrap();
        let expected = "folder f had 25 secrets when create_secret #24 was acknowledged, where 24 \
                        may be";
        assert_eq!(found.sentence, expected);
    }

    #[test]
    fn a_refusal_while_there_is_room_is_a_violation() {
        let mut script = filled(SECRETS_MAX);
        let full = u64::from(SECRETS_MAX);
        script.done(delete("s1"), secret_in("f", "s1", 1), full + 1);
        script.done(create_in("f", "more"), exhausted(), full + 1);
        let expected = "create_secret #25 was refused for the quota at index 25, where folder f \
                        had 23 secrets of 24";
        assert_eq!(sentence(script), expected);
    }

    #[test]
    fn low_disks_refuse_what_grows_and_nothing_else() {
        let refused_for_room = |call, message: &str| {
            let mut script = filled(SECRETS_MAX);
            script.done(create_in("f", "more"), exhausted(), u64::from(SECRETS_MAX));
            let op = script.begin(call);
            let message = message.to_owned();
            script.end(op, Outcome::Fail(Failure { code: Code::ResourceExhausted, message }));
            script
        };
        let low = "not proposed: the disks of the cluster have too little room left";
        let grown = report(refused_for_room(create_in("f", "other"), low));
        assert_eq!(grown.finding, Finding::Holds);
        assert_eq!(grown.counts[3].1, 1);
        let busy = report(refused_for_room(delete("s1"), "too many requests are under way"));
        assert_eq!((busy.finding, busy.counts[3].1), (Finding::Holds, 0));
        let expected = "delete_secret #25 was refused for want of room, and needs none";
        assert_eq!(sentence(refused_for_room(delete("s1"), low)), expected);
    }

    /// Whether there was room nobody knows: the lost creation may have taken it.
    #[test]
    fn a_refusal_behind_what_is_not_known_is_not_judged() {
        let mut script = filled(SECRETS_MAX - 1);
        let lost = script.begin(create_in("f", "lost"));
        script.info(lost);
        script.done(create_in("f", "more"), exhausted(), u64::from(SECRETS_MAX));
        assert!(matches!(report(script).finding, Finding::NotChecked { .. }));
    }
}
