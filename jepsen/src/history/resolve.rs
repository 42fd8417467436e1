//! What became of operations without an answer, as the committed log tells.
//!
//! The history itself is never changed: the search judges the raw one, so that a wrong dump
//! cannot hide a loss.

use std::collections::{BTreeMap, BTreeSet};

use super::call::Call;
use super::ids::{IdempotencyKey, OpId, SecretId, VersionId};
use super::log_dump::{CommittedLog, EntryKind, EntryOutcome, LogEntry};
use super::makers::{self, Makers};
use super::op::Op;
use super::recorded::History;

/// What became of an operation without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is this entry of the log.
    At {
        /// Its index.
        index: u64,
        /// The secret that it makes or names.
        secret: SecretId,
        /// The version that it makes or names.
        version: Option<VersionId>,
    },
    /// It is in no entry, and all entries where it could be are known.
    Never,
    /// Nobody can tell. It had no effect at or before this index.
    Unknown {
        /// The index of what was known to have happened when it began.
        after: u64,
    },
}

/// The fates of all uncertain mutations of a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    fates: BTreeMap<OpId, Fate>,
    repeats: BTreeSet<OpId>,
}

impl Resolution {
    /// What became of an uncertain mutation.
    #[must_use]
    pub fn fate(&self, op: OpId) -> Option<&Fate> {
        self.fates.get(&op)
    }

    /// All of them.
    pub fn fates(&self) -> impl Iterator<Item = (OpId, &Fate)> {
        self.fates.iter().map(|(op, fate)| (*op, fate))
    }

    /// Whether an operation repeats another one under the same idempotency key, which has the
    /// effect in its place.
    #[must_use]
    pub fn repeats(&self, op: OpId) -> bool {
        self.repeats.contains(&op)
    }
}

/// Finds the fates.
#[must_use]
pub fn resolve(history: &History, makers: &Makers, log: Option<&CommittedLog>) -> Resolution {
    let repeats = repeats(history);
    let floors = floors(history);
    let mut waiting: Vec<&Op> = history
        .ops
        .iter()
        .filter(|op| changes_secrets(&op.asked.call) && op.is_uncertain())
        .filter(|op| !repeats.contains(&op.id))
        .collect();
    let mut fates = BTreeMap::new();
    let mut seen_last = 0;
    for op in &history.ops {
        seen_last = seen_last.max(op.reply().map_or(0, |reply| reply.index));
    }
    // Entries that some operation asked for, and nobody knows which.
    let mut nobodys = Vec::new();
    if let Some(log) = log {
        let mutations = history.ops.iter().filter(|op| op.asked.call.is_mutation());
        let claimed: BTreeSet<u64> = mutations.filter_map(|op| Some(op.success()?.index)).collect();
        for entry in log.entries().filter(|entry| may_be_effect(entry)) {
            if claimed.contains(&entry.index) {
                continue;
            }
            let Some(secret) = entry.secret.clone() else { continue };
            let Some(place) = author(&waiting, entry, &floors, makers) else {
                nobodys.push(entry);
                continue;
            };
            let op = waiting.remove(place);
            let version = entry.version.clone();
            fates.insert(op.id, Fate::At { index: entry.index, secret, version });
        }
    }
    let whole = log.map(|log| (log.whole_from(), log.last()));
    for op in waiting {
        let after = floors[&op.id];
        let told = whole.is_some_and(|(from, last)| {
            from <= after + 1
                && last >= seen_last
                && !nobodys.iter().any(|entry| entry.index > after && may_be_of(op, entry))
        });
        fates.insert(op.id, if told { Fate::Never } else { Fate::Unknown { after } });
    }
    Resolution { fates, repeats }
}

/// Whether its effect is one on a secret: of the others nobody asks what became of them.
const fn changes_secrets(call: &Call) -> bool {
    call.is_mutation() && !matches!(call, Call::RevokeToken(_))
}

/// All but one operation of each idempotency key: the first success, else the first one.
fn repeats(history: &History) -> BTreeSet<OpId> {
    let mut groups: BTreeMap<&IdempotencyKey, Vec<&Op>> = BTreeMap::new();
    for op in history.ops.iter().filter(|op| op.may_have_effect()) {
        if let Some(key) = &op.asked.idempotency_key {
            groups.entry(key).or_default().push(op);
        }
    }
    let mut repeats = BTreeSet::new();
    for group in groups.values() {
        let success = group.iter().find(|op| op.success().is_some());
        let kept = success.or(group.first()).map(|op| op.id);
        // A different request under the same key is no repeat; law L9 says whether it may be.
        let same = group.iter().filter(|op| op.asked.call == group[0].asked.call);
        repeats.extend(same.map(|op| op.id).filter(|id| Some(*id) != kept));
    }
    repeats
}

/// For each uncertain operation the highest index that was told to anybody before it began.
fn floors(history: &History) -> BTreeMap<OpId, u64> {
    let mut told: Vec<(u64, u64)> =
        history.ops.iter().filter_map(|op| Some((op.ended(), op.reply()?.index))).collect();
    told.sort_unstable();
    let mut floors = BTreeMap::new();
    let (mut next, mut highest) = (0, 0);
    // Operations are in the order of their beginnings.
    for op in &history.ops {
        while next < told.len() && told[next].0 < op.invoked.order {
            highest = highest.max(told[next].1);
            next += 1;
        }
        if op.is_uncertain() {
            floors.insert(op.id, highest);
        }
    }
    floors
}

fn may_be_effect(entry: &LogEntry) -> bool {
    matches!(entry.outcome, EntryOutcome::Done | EntryOutcome::Unknown)
}

/// The place of the operation that an entry is of, if it can be told.
fn author(
    waiting: &[&Op],
    entry: &LogEntry,
    floors: &BTreeMap<OpId, u64>,
    makers: &Makers,
) -> Option<usize> {
    let fits = |op: &&Op| could_be(op, entry) && floors[&op.id] < entry.index;
    if let Some(description) = &entry.description {
        let described = |op: &&Op| makers::description(&op.asked.call) == Some(description);
        return waiting.iter().position(|op| fits(op) && described(op));
    }
    if let (Some(secret), Some(version)) = (&entry.secret, &entry.version)
        && let Some(maker) = makers.maker_of(secret, version)
        && matches!(entry.kind, EntryKind::AddVersion | EntryKind::CreateSecret)
    {
        return waiting.iter().position(|op| fits(op) && op.id == maker);
    }
    let mut fitting = waiting.iter().enumerate().filter(|(_, op)| fits(op));
    let (place, first) = fitting.next()?;
    // Equal requests have equal effects: it does not matter which of them it was.
    fitting.all(|(_, other)| other.asked.call == first.asked.call).then_some(place)
}

/// Whether an entry is what an operation could have asked for.
#[must_use]
pub fn could_be(op: &Op, entry: &LogEntry) -> bool {
    if op.asked.idempotency_key != entry.key {
        return false;
    }
    let names_secret = |secret: &SecretId| entry.secret.as_ref() == Some(secret);
    let names_version = |version: &VersionId| entry.version.as_ref() == Some(version);
    match (&op.asked.call, entry.kind) {
        (Call::CreateSecret(call), EntryKind::CreateSecret) => call.folder == entry.folder,
        (Call::AddVersion(call), EntryKind::AddVersion) => names_secret(&call.secret),
        (Call::SetCurrentVersion(call), EntryKind::SetCurrentVersion)
        | (Call::CancelDestruction(call), EntryKind::CancelDestruction) => {
            names_secret(&call.secret) && names_version(&call.version)
        }
        (Call::ScheduleDestruction(call), EntryKind::ScheduleDestruction) => {
            names_secret(&call.secret) && names_version(&call.version)
        }
        (Call::Activate(call), EntryKind::Activate)
        | (Call::Deactivate(call), EntryKind::Deactivate)
        | (Call::DeleteSecret(call), EntryKind::DeleteSecret) => names_secret(&call.secret),
        (Call::UpdateSecret(call), EntryKind::UpdateSecret) => names_secret(&call.secret),
        (Call::ChangeBinding(call), EntryKind::ChangeBinding) => names_secret(&call.secret),
        _ => false,
    }
}

/// Whether an entry without an author could be this operation's.
#[must_use]
pub fn may_be_of(op: &Op, entry: &LogEntry) -> bool {
    let described = makers::description(&op.asked.call);
    let another = entry.description.is_some() && entry.description.as_deref() != described;
    could_be(op, entry) && !another
}

#[cfg(test)]
mod tests {
    use crate::check::script::{
        Script, add, create, dump, get, log, on_secret, secret, set_current, version,
    };
    use crate::history::log_dump::CommittedLog;

    use super::*;

    const ADD: (EntryKind, Option<&str>) = (EntryKind::AddVersion, Some("v2"));
    const SET: (EntryKind, Option<&str>) = (EntryKind::SetCurrentVersion, Some("v1"));
    const BLANK: (EntryKind, Option<&str>) = (EntryKind::Blank, None);
    const CREATE: (EntryKind, Option<&str>) = (EntryKind::CreateSecret, Some("v1"));

    fn resolved(script: Script, log: Option<&CommittedLog>) -> Resolution {
        let history = script.history();
        resolve(&history, &Makers::find(&history), log)
    }

    fn script() -> Script {
        let mut script = Script::new();
        let first = version("v1", "first", &["a"]);
        script.done(create(&[("a", 1)]), secret(Some(first)), 1);
        script
    }

    fn lose(script: &mut Script, call: Call) -> OpId {
        let op = script.begin(call);
        script.info(op);
        op
    }

    fn at(index: u64, version: Option<&str>) -> Fate {
        Fate::At { index, secret: "s".into(), version: version.map(Into::into) }
    }

    #[test]
    fn the_log_tells_what_happened_and_what_never_did() {
        let mut script = script();
        let happened = lose(&mut script, add("second", &[("a", 2)]));
        let never = lose(&mut script, set_current("v1"));
        script.done(get(), secret(None), 1);
        let resolution = resolved(script, Some(&log(&[CREATE, ADD, BLANK])));
        assert_eq!(resolution.fate(happened), Some(&at(2, Some("v2"))));
        assert_eq!(resolution.fate(never), Some(&Fate::Never));
    }

    #[test]
    fn an_entry_from_before_an_operation_began_is_not_its_own() {
        let mut script = script();
        script.done(get(), secret(None), 2);
        let lost = lose(&mut script, set_current("v1"));
        let resolution = resolved(script, Some(&log(&[CREATE, SET])));
        assert_eq!(resolution.fate(lost), Some(&Fate::Never));
    }

    #[test]
    fn equal_requests_may_stand_for_each_other_and_different_ones_may_not() {
        let mut equal = script();
        let one = lose(&mut equal, set_current("v1"));
        let other = lose(&mut equal, set_current("v1"));
        let resolution = resolved(equal, Some(&log(&[CREATE, SET])));
        let fates = [resolution.fate(one), resolution.fate(other)];
        assert_eq!(fates, [Some(&at(2, Some("v1"))), Some(&Fate::Never)]);

        let mut different = script();
        let one = lose(&mut different, add("one", &[("a", 2)]));
        let other = lose(&mut different, add("other", &[("b", 2)]));
        let history = different.history();
        let makers = Makers::find(&history);
        let resolution = resolve(&history, &makers, Some(&log(&[CREATE, ADD])));
        let unknown = Fate::Unknown { after: 1 };
        assert_eq!([resolution.fate(one), resolution.fate(other)], [Some(&unknown); 2]);
        // The description of the version tells them apart.
        let mut dump = dump(1, &[CREATE, ADD]);
        dump.entries[1].description = Some("other".to_owned());
        let log = CommittedLog::join([dump]).unwrap();
        let resolution = resolve(&history, &makers, Some(&log));
        assert_eq!(resolution.fate(one), Some(&Fate::Never));
        assert_eq!(resolution.fate(other), Some(&at(2, Some("v2"))));
    }

    #[test]
    fn what_a_dump_does_not_cover_stays_unknown() {
        let mut script = script();
        let lost = lose(&mut script, Call::Deactivate(on_secret()));
        script.done(get(), secret(None), 4);
        let history = script.history();
        let makers = Makers::find(&history);
        let unknown = Fate::Unknown { after: 1 };
        // It ends before what was answered; it begins after what could be it.
        let mut late = dump(1, &[CREATE, BLANK, BLANK, BLANK]);
        late.range.first = 3;
        late.entries.drain(..2);
        for log in [log(&[CREATE, BLANK]), CommittedLog::join([late]).unwrap()] {
            let resolution = resolve(&history, &makers, Some(&log));
            assert_eq!(resolution.fate(lost), Some(&unknown));
        }
        assert_eq!(resolve(&history, &makers, None).fate(lost), Some(&unknown));
    }

    #[test]
    fn one_operation_of_a_key_has_the_effect() {
        let mut script = script();
        script.key = Some("k");
        let lost = lose(&mut script, add("second", &[("a", 2)]));
        let made = version("v2", "second", &["a"]);
        let kept =
            script.done(add("second", &[("a", 2)]), super::super::answer::Answer::Version(made), 2);
        let resolution = resolved(script, None);
        assert!(resolution.repeats(lost) && !resolution.repeats(kept));
        assert_eq!(resolution.fate(lost), None);
    }
}
