//! Compares a history with the specification in the order of the log.
//!
//! Every answer says which index it reflects, so the order of effects is known: sort, run the
//! specification once, demand equal answers. Believes the index; whether that may be believed is
//! for the sweeps by real time (L5) and for the search ([`super::jit`]), which does not.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::History;
use crate::history::answer::{Answer, Code, SecretView};
use crate::history::call::Call;
use crate::history::ids::{OpId, SecretId, VersionId};
use crate::history::log_dump::{CommittedLog, EntryKind, EntryOutcome};
use crate::history::op::Op;
use crate::history::resolve::{Fate, Resolution};
use crate::model::expected::describe;
use crate::model::step::clock_passed;
use crate::model::{Expected, Named, SecretState, step};

/// What the comparison came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// Answers that were compared.
    pub compared: u64,
    /// Answers that could not be, for what became of another operation on the secret is unknown;
    /// only the search judges them.
    pub left_to_search: u64,
    /// Secrets.
    pub secrets: u64,
    /// The first difference of each secret that has one, in the order of the log.
    pub differences: Vec<Difference>,
}

/// An answer that is not the specification's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The operation.
    pub op: OpId,
    /// The last operation before it that changed the secret, if any did.
    pub after: Option<OpId>,
    /// The secret.
    pub secret: SecretId,
    /// The index that the answer claims.
    pub index: u64,
    /// What the specification answers there.
    pub expected: String,
    /// What the server answered.
    pub got: String,
}

/// Something at a place of the log.
struct Item<'a> {
    index: u64,
    /// Effects come before what observes them at the same index.
    observes: bool,
    order: u64,
    what: What<'a>,
}

enum What<'a> {
    /// An operation with an answer.
    Answered(&'a Op),
    /// One without, that the log has.
    Found(&'a Op, Named),
    /// How a page of its folder shows the secret.
    Shown(&'a Op, &'a SecretView),
    /// The clock destroyed a version.
    Destroyed(VersionId),
}

struct Progress {
    state: SecretState,
    changed_by: Option<OpId>,
}

impl Progress {
    const fn before_all() -> Self {
        Self { state: SecretState::Absent, changed_by: None }
    }
}

/// A secret as an entry of the log left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf {
    /// The secret.
    pub state: SecretState,
    /// The last operation that changed it, if any did.
    pub changed_by: Option<OpId>,
}

/// All secrets as an entry of the log left them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct States {
    /// Each that is told of anywhere; none where not all effects on it up to there are known, or
    /// answers contradict them.
    pub secrets: BTreeMap<SecretId, Option<AsOf>>,
    /// Whether no other creation can have happened up to there.
    pub all_known: bool,
}

/// The secrets as the specification has them after the entry of this index.
#[must_use]
pub fn states_at(
    history: &History,
    resolution: &Resolution,
    log: Option<&CommittedLog>,
    index: u64,
) -> States {
    let horizons = horizons(history, resolution);
    let mut secrets = BTreeMap::new();
    for (secret, mut items) in by_secret(history, resolution, log) {
        items.sort_by_key(|item| (item.index, item.observes, item.order));
        let (mut progress, mut compared) = (Progress::before_all(), 0);
        let mut is_known = horizons.of(&secret, &items) >= index;
        for item in items.iter().take_while(|item| item.index <= index) {
            is_known = is_known && advance(&mut progress, &item.what, &mut compared).is_none();
        }
        let Progress { state, changed_by } = progress;
        secrets.insert(secret, is_known.then_some(AsOf { state, changed_by }));
    }
    States { secrets, all_known: horizons.of_creations >= index }
}

/// Compares.
#[must_use]
pub fn replay(history: &History, resolution: &Resolution, log: Option<&CommittedLog>) -> Replay {
    let horizons = horizons(history, resolution);
    let mut replay = Replay::default();
    for (secret, mut items) in by_secret(history, resolution, log) {
        items.sort_by_key(|item| (item.index, item.observes, item.order));
        let horizon = horizons.of(&secret, &items);
        replay.secrets += 1;
        let mut progress = Progress::before_all();
        for item in &items {
            if item.index > horizon {
                replay.left_to_search += u64::from(item.what.is_answer());
                continue;
            }
            if let Some(wrong) = advance(&mut progress, &item.what, &mut replay.compared) {
                replay.differences.push(Difference {
                    op: wrong.op.id,
                    after: progress.changed_by,
                    secret: secret.clone(),
                    index: item.index,
                    expected: wrong.expected.to_string(),
                    got: describe(&wrong.got),
                });
                // What follows on this secret differs for the same reason.
                break;
            }
        }
    }
    refused_creations(history, &mut replay);
    replay.differences.sort_by_key(|difference| (difference.index, difference.op));
    replay
}

/// A creation that was refused names no secret: it is compared by itself, for nothing that is there
/// can be in its way.
fn refused_creations(history: &History, replay: &mut Replay) {
    for op in &history.ops {
        let (Call::CreateSecret(call), Some(reply), None) =
            (&op.asked.call, op.reply(), op.secret())
        else {
            continue;
        };
        if call.folder.is_some() && is_exhausted(&reply.answer) {
            // The other secrets of the folder decide that, and law L17 knows them.
            continue;
        }
        let (subject, named) = (op.asked.subject.as_ref(), Named::unknown(op.id));
        let expected = step(&SecretState::Absent, subject, &op.asked.call, &named).answer;
        replay.compared += 1;
        if !expected.agrees(&reply.answer) {
            replay.differences.push(Difference {
                op: op.id,
                after: None,
                secret: named.secret,
                index: reply.index,
                expected: expected.to_string(),
                got: describe(&reply.answer),
            });
        }
    }
}

fn is_exhausted(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(refusal) if refusal.code == Code::ResourceExhausted)
}

impl What<'_> {
    /// Whether it is a creation of the secret.
    const fn creates(&self) -> bool {
        match self {
            Self::Answered(op) | Self::Found(op, _) => {
                matches!(op.asked.call, Call::CreateSecret(_))
            }
            Self::Shown(..) | Self::Destroyed(_) => false,
        }
    }

    /// Whether there is something to compare.
    const fn is_answer(&self) -> bool {
        match self {
            Self::Answered(_) | Self::Shown(..) => true,
            Self::Found(..) | Self::Destroyed(_) => false,
        }
    }
}

/// An answer that is not the specification's.
struct Wrong<'a> {
    op: &'a Op,
    expected: Expected,
    got: Answer,
}

/// A page shows the secret as a read of it would.
fn compare_shown<'a>(progress: &mut Progress, op: &'a Op, view: &SecretView) -> Option<Wrong<'a>> {
    let got = Answer::Secret(view.clone());
    if let Some(next) = clock_passed(&progress.state, &op.asked.call, &got) {
        progress.state = next;
    }
    let expected = match progress.state.live() {
        Some(secret) => Expected::Secret(secret.into()),
        None => Expected::Refused(&[Code::NotFound]),
    };
    (!expected.agrees(&got)).then_some(Wrong { op, expected, got })
}

/// Applies one item; gives what was expected when the answer is another one.
fn advance<'a>(progress: &mut Progress, what: &What<'a>, compared: &mut u64) -> Option<Wrong<'a>> {
    let (op, named) = match what {
        What::Shown(op, view) => {
            *compared += 1;
            return compare_shown(progress, op, view);
        }
        What::Destroyed(version) => {
            if let Some(next) = progress.state.destroyed(version) {
                progress.state = next;
            }
            return None;
        }
        What::Found(op, named) => (*op, named.clone()),
        What::Answered(op) => (*op, Named::by_answer(op)),
    };
    let (subject, call) = (op.asked.subject.as_ref(), &op.asked.call);
    if let Some(reply) = op.reply() {
        *compared += 1;
        if let Some(next) = clock_passed(&progress.state, call, &reply.answer) {
            progress.state = next;
        }
        let step = step(&progress.state, subject, call, &named);
        if !step.answer.agrees(&reply.answer) {
            return Some(Wrong { op, expected: step.answer, got: reply.answer.clone() });
        }
        if let Some(next) = step.next {
            progress.state = next;
            progress.changed_by = Some(op.id);
        }
        return None;
    }
    if let Some(next) = step(&progress.state, subject, call, &named).next {
        progress.state = next;
        progress.changed_by = Some(op.id);
    }
    None
}

/// Up to which index effects are known.
struct Horizons {
    /// All of those on a secret.
    of_secret: BTreeMap<SecretId, u64>,
    /// All creations.
    of_creations: u64,
}

impl Horizons {
    /// That of a secret with these items.
    fn of(&self, secret: &SecretId, items: &[Item<'_>]) -> u64 {
        let horizon = self.of_secret.get(secret).copied().unwrap_or(u64::MAX);
        if items.iter().any(|item| item.what.creates()) {
            return horizon;
        }
        // A page shows what a creation without an answer may have made.
        horizon.min(self.of_creations)
    }
}

fn horizons(history: &History, resolution: &Resolution) -> Horizons {
    let mut horizons = Horizons { of_secret: BTreeMap::new(), of_creations: u64::MAX };
    for (op, fate) in resolution.fates() {
        let Fate::Unknown { after } = fate else { continue };
        let horizon = match history.op(op).asked.call.secret() {
            Some(secret) => horizons.of_secret.entry(secret.clone()).or_insert(u64::MAX),
            // A creation without an answer: nobody knows the secret's id.
            None => &mut horizons.of_creations,
        };
        *horizon = (*horizon).min(*after);
    }
    horizons
}

fn by_secret<'a>(
    history: &'a History,
    resolution: &Resolution,
    log: Option<&CommittedLog>,
) -> BTreeMap<SecretId, Vec<Item<'a>>> {
    let mut items: BTreeMap<SecretId, Vec<Item<'a>>> = BTreeMap::new();
    for op in &history.ops {
        if resolution.repeats(op.id) {
            continue;
        }
        let order = op.invoked.order;
        if let Some(reply) = op.reply()
            && let Answer::Secrets(page) = &reply.answer
        {
            for view in &page.secrets {
                let what = What::Shown(op, view);
                let item = Item { index: reply.index, observes: true, order, what };
                items.entry(view.id.clone()).or_default().push(item);
            }
        }
        match (op.reply(), op.secret(), resolution.fate(op.id)) {
            (Some(reply), Some(secret), _) => {
                let observes = !(op.asked.call.is_mutation() && reply.answer.is_success());
                let what = What::Answered(op);
                let item = Item { index: reply.index, observes, order, what };
                items.entry(secret.clone()).or_default().push(item);
            }
            (None, _, Some(Fate::At { index, secret, version })) => {
                let mut named = Named::unknown(op.id);
                named.secret = secret.clone();
                if let Some(version) = version {
                    named.version = version.clone();
                }
                let what = What::Found(op, named);
                let item = Item { index: *index, observes: false, order, what };
                items.entry(secret.clone()).or_default().push(item);
            }
            // Refused creations and what a page leaves out are judged elsewhere, and what never
            // happened is in no order.
            _ => {}
        }
    }
    let destructions = log.into_iter().flat_map(CommittedLog::entries).filter(|entry| {
        entry.kind == EntryKind::DestroyVersion && entry.outcome == EntryOutcome::Done
    });
    for entry in destructions {
        if let (Some(secret), Some(version)) = (&entry.secret, &entry.version)
            && let Some(items) = items.get_mut(secret)
        {
            let what = What::Destroyed(version.clone());
            items.push(Item { index: entry.index, observes: false, order: 0, what });
        }
    }
    items
}

/// The operations that a replay found wrong.
impl Replay {
    /// Their ids.
    #[must_use]
    pub fn wrong(&self) -> BTreeSet<OpId> {
        self.differences.iter().map(|difference| difference.op).collect()
    }
}
