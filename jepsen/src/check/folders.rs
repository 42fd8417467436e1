//! What folders held and when: by the order of the log, and by what was acknowledged alone.
//!
//! Of the folders that creations name. Knows of no law; L16 and L17 judge by it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::answer::Answer;
use crate::history::call::Call;
use crate::history::ids::{FolderId, IdempotencyKey, OpId, SecretId};
use crate::history::log_dump::{CommittedLog, EntryKind, EntryOutcome, LogEntry};
use crate::history::op::Op;
use crate::history::resolve::{Fate, may_be_of};

use super::case::Case;
use super::fences::Span;

/// A folder.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// Creations and deletions in the order of the log, as far as they are known.
    pub effects: Vec<Effect>,
    /// Of each creation of which nobody knows whether it happened, the first index where it can
    /// have; ascending.
    pub doubtful_creations: Vec<u64>,
    /// Likewise of deletions, the least of each secret.
    pub doubtful_deletions: BTreeMap<SecretId, u64>,
    /// The secrets that answers to creations name.
    pub stays: BTreeMap<SecretId, Stay>,
    /// When the first creation without an answer began: since then there may be secrets that no
    /// answer to a creation names.
    pub lost_since: Option<u64>,
}

/// A secret comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The entry of the log.
    pub index: u64,
    /// Who asked for it.
    pub op: OpId,
    /// The secret.
    pub secret: SecretId,
    /// Whether it comes; else it goes.
    pub creates: bool,
}

/// When a secret was there, as far as acknowledgements tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// It came between the beginning of its creation and when that was acknowledged first.
    pub created: Span,
    /// It went not before the first deletion began, and had gone when one was acknowledged.
    pub deleted: Option<Span>,
}

/// All folders that creations of a history name.
#[must_use]
pub fn folders(case: &Case<'_>) -> BTreeMap<FolderId, Folder> {
    let mut folders: BTreeMap<FolderId, Folder> = BTreeMap::new();
    let mut homes: BTreeMap<SecretId, FolderId> = BTreeMap::new();
    let mut begun: BTreeMap<&IdempotencyKey, u64> = BTreeMap::new();
    let unseen = Unseen::new(case);
    for op in &case.history.ops {
        let Call::CreateSecret(call) = &op.asked.call else { continue };
        let Some(id) = &call.folder else { continue };
        let folder = folders.entry(id.clone()).or_default();
        let from = match &op.asked.idempotency_key {
            Some(key) => *begun.entry(key).or_insert(op.invoked.order),
            None => op.invoked.order,
        };
        folder.take(op, case, &unseen, true);
        if op.is_uncertain() {
            folder.lost_since.get_or_insert(op.invoked.order);
        }
        if let Some(secret) = made(op) {
            let acknowledged = Span { op: op.id, from, to: op.ended() };
            let stay = Stay { created: acknowledged, deleted: None };
            let known = folder.stays.entry(secret.clone()).or_insert(stay);
            if acknowledged.to < known.created.to {
                known.created = acknowledged;
            }
        }
        if let Some(effect) = folder.effects.last()
            && effect.op == op.id
        {
            homes.insert(effect.secret.clone(), id.clone());
        }
    }
    for op in &case.history.ops {
        let Call::DeleteSecret(call) = &op.asked.call else { continue };
        let Some(folder) = homes.get(&call.secret).and_then(|id| folders.get_mut(id)) else {
            continue;
        };
        folder.take(op, case, &unseen, false);
        if let Some(stay) = folder.stays.get_mut(&call.secret).filter(|_| op.may_have_effect()) {
            let to = if op.success().is_some() { op.ended() } else { u64::MAX };
            let known = stay.deleted.unwrap_or(Span { op: op.id, from: op.invoked.order, to });
            let first = if to < known.to { op.id } else { known.op };
            stay.deleted = Some(Span { op: first, to: to.min(known.to), ..known });
        }
    }
    for folder in folders.values_mut() {
        folder.effects.sort_by_key(|effect| effect.index);
        folder.doubtful_creations.sort_unstable();
    }
    folders
}

/// The secret that the answer to its creation names.
fn made(op: &Op) -> Option<&SecretId> {
    match &op.success()?.answer {
        Answer::Secret(view) => Some(&view.id),
        _ => None,
    }
}

impl Folder {
    /// How many creations may have happened by this index without anybody knowing.
    #[must_use]
    pub fn doubtful_births(&self, index: u64) -> usize {
        self.doubtful_creations.partition_point(|since| *since <= index)
    }

    /// Whether a secret may have been deleted by this index without anybody knowing.
    #[must_use]
    pub fn may_be_deleted(&self, secret: &SecretId, index: u64) -> bool {
        self.doubtful_deletions.get(secret).is_some_and(|since| *since <= index)
    }

    /// Takes in the effect of a creation or a deletion, if it has one of its own.
    fn take(&mut self, op: &Op, case: &Case<'_>, unseen: &Unseen<'_>, creates: bool) {
        if case.resolution.repeats(op.id) {
            return;
        }
        let (index, secret) = match (op.success(), case.resolution.fate(op.id)) {
            (Some(reply), _) => match op.secret() {
                Some(secret) => (reply.index, secret.clone()),
                None => return,
            },
            (None, Some(Fate::At { index, secret, .. })) => (*index, secret.clone()),
            (None, Some(Fate::Unknown { after })) => {
                let since = unseen.first_for(op, *after);
                match op.asked.call.secret() {
                    Some(secret) => {
                        let known = self.doubtful_deletions.entry(secret.clone()).or_insert(since);
                        *known = since.min(*known);
                    }
                    None => self.doubtful_creations.push(since),
                }
                return;
            }
            (None, Some(Fate::Never) | None) => return,
        };
        self.effects.push(Effect { index, op: op.id, secret, creates });
    }
}

/// Where in the log something can be that nobody knows of.
struct Unseen<'a> {
    /// Stretches of which no dump holds an entry: the first index and the last one of each.
    gaps: Vec<(u64, u64)>,
    /// Creations and deletions that nobody is known to have asked for.
    nobodys: Vec<&'a LogEntry>,
}

impl<'a> Unseen<'a> {
    fn new(case: &Case<'a>) -> Self {
        let mut claimed: BTreeSet<u64> = BTreeSet::new();
        for (_, fate) in case.resolution.fates() {
            if let Fate::At { index, .. } = fate {
                claimed.insert(*index);
            }
        }
        let mutations = case.history.ops.iter().filter(|op| op.asked.call.is_mutation());
        claimed.extend(mutations.filter_map(|op| Some(op.success()?.index)));
        let mut unseen = Self { gaps: Vec::new(), nobodys: Vec::new() };
        let mut next = 1;
        for entry in case.log.into_iter().flat_map(CommittedLog::entries) {
            if entry.index > next {
                unseen.gaps.push((next, entry.index - 1));
            }
            next = entry.index + 1;
            let had_effect = matches!(entry.outcome, EntryOutcome::Done | EntryOutcome::Unknown);
            let matters = matches!(entry.kind, EntryKind::CreateSecret | EntryKind::DeleteSecret);
            if had_effect && matters && !claimed.contains(&entry.index) {
                unseen.nobodys.push(entry);
            }
        }
        unseen.gaps.push((next, u64::MAX));
        unseen
    }

    /// The first index behind this one where an operation can have happened.
    fn first_for(&self, op: &Op, after: u64) -> u64 {
        let gap = self.gaps.partition_point(|(_, last)| *last <= after);
        let missing = self.gaps.get(gap).map_or(u64::MAX, |(first, _)| *first.max(&(after + 1)));
        let behind = self.nobodys.partition_point(|entry| entry.index <= after);
        let fitting = self.nobodys[behind..].iter().find(|entry| may_be_of(op, entry));
        fitting.map_or(missing, |entry| missing.min(entry.index))
    }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, create_in, delete, dump, secret_in};
    use crate::history::History;
    use crate::history::log_dump::{LogDump, LogRange};

    use super::*;

    fn folder(history: &History, log: Option<&CommittedLog>) -> Folder {
        folders(&Case::new(history, log)).remove(&"f".into()).unwrap()
    }

    /// Lost twice and answered at last; deleted once for certain and once perhaps.
    fn history() -> History {
        let mut script = Script::new();
        script.key = Some("k");
        let lost = script.begin(create_in("f", "one"));
        script.info(lost);
        script.done(create_in("f", "one"), secret_in("f", "s", 1), 1);
        script.key = None;
        let perhaps = script.begin(delete("s"));
        script.info(perhaps);
        script.done(delete("s"), secret_in("f", "s", 1), 2);
        script.history()
    }

    #[test]
    fn a_secret_is_there_from_its_first_creation_to_its_first_deletion() {
        let history = history();
        let folder = folder(&history, None);
        let order = |place: usize| history.ops[place].invoked.order;
        let stay = folder.stays[&"s".into()];
        let created = Span { op: OpId(1), from: order(0), to: history.ops[1].ended() };
        assert_eq!(stay.created, created);
        let deleted = Span { op: OpId(3), from: order(2), to: history.ops[3].ended() };
        assert_eq!(stay.deleted, Some(deleted));
        assert_eq!(folder.lost_since, Some(order(0)));
        assert!(folder.may_be_deleted(&"s".into(), 2) && !folder.may_be_deleted(&"s".into(), 1));
        assert_eq!(folder.doubtful_births(9), 0, "the lost creation was repeated");
        let effects: Vec<_> = folder.effects.iter().map(|e| (e.index, e.op.0, e.creates)).collect();
        assert_eq!(effects, [(1, 1, true), (2, 3, false)]);
    }

    #[test]
    fn the_log_tells_what_became_of_the_lost() {
        let mut dump = dump(1, &[(EntryKind::CreateSecret, None), (EntryKind::DeleteSecret, None)]);
        dump.entries[0].key = Some("k".into());
        dump.entries[0].folder = Some("f".into());
        let log = CommittedLog::join([dump]).unwrap();
        let folder = folder(&history(), Some(&log));
        assert_eq!((folder.doubtful_deletions.len(), folder.effects.len()), (0, 2));
    }

    /// Where the log is whole it tells that the lost creation is not there.
    #[test]
    fn what_is_not_known_can_only_be_where_no_dump_has_been() {
        let mut script = Script::new();
        script.done(create_in("f", "one"), secret_in("f", "s", 1), 1);
        let lost = script.begin(create_in("f", "two"));
        script.info(lost);
        script.done(delete("s"), secret_in("f", "s", 1), 5);
        let history = script.history();
        let mut dump = dump(1, &[(EntryKind::Blank, None); 5]);
        (dump.entries[0].kind, dump.entries[4].kind) =
            (EntryKind::CreateSecret, EntryKind::DeleteSecret);
        let late = LogDump {
            range: LogRange { first: 5, ..dump.range },
            entries: dump.entries.split_off(4),
        };
        dump.entries.pop();
        dump.range.last = 3;
        // Of the entry 4 there is none.
        let log = CommittedLog::join([dump, late]).unwrap();
        let folder = folder(&history, Some(&log));
        assert_eq!(folder.doubtful_creations, [4]);
        assert_eq!((folder.doubtful_births(3), folder.doubtful_births(4)), (0, 1));
    }
}
