//! A log of random commands with the outcomes that it had when it was recorded.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use lockbox_raft::apply::{EntryPosition, apply_entry, register_members};
use lockbox_raft::domain::{Command, Envelope, Outcome, Rejection, decode, encode};
use lockbox_raft::state::Overlay;
use lockbox_raft::store::{Store, decode_entry, encode_entry};
use lockbox_raft::types::{LogEntry, LogId, Member, Proposal};
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, Membership};
use sha2::{Digest as _, Sha256};

use crate::command_parts::{KINDS, one_in};
use crate::commands::Generator;
use crate::determinism::FLUSH_EVERY;
use crate::harness::{Random, apply, log_id};

/// SHA-256 of an encoded outcome.
pub(crate) type Digest = [u8; 32];

/// Entries of one leader.
const TERM_ENTRIES: u64 = 7_000;

pub(crate) fn digest(outcome: &Outcome) -> Digest {
    Sha256::digest(encode(outcome)).into()
}

/// The index behind the last applied one.
pub(crate) async fn next_index(store: &mut Store) -> u64 {
    let (applied, _) = store.state_machine.applied_state().await.unwrap();
    applied.map_or(0, |id| id.index + 1)
}

fn position(id: LogId) -> EntryPosition {
    EntryPosition { index: id.index, term: id.leader_id.term }
}

/// What the entries come to on the present state.
///
/// openraft alone can be answered by the state machine, so the outcomes are taken from the same
/// `apply` on the same view, right before the entries are applied for good.
pub(crate) fn outcomes(store: &Store, entries: &[LogEntry]) -> Vec<Outcome> {
    let decide = |overlay: &mut Overlay<'_>, entry: &LogEntry| match &entry.payload {
        EntryPayload::Normal(proposal) => {
            apply_entry(overlay, &proposal.0, position(entry.log_id)).unwrap()
        }
        EntryPayload::Blank => Outcome::Nothing,
        EntryPayload::Membership(members) => register(overlay, members, entry.log_id.index),
    };
    let on_view = |overlay: &mut Overlay<'_>| entries.iter().map(|e| decide(overlay, e)).collect();
    store.state.read(|view| on_view(&mut Overlay::new(view))).unwrap()
}

/// What a membership entry leaves behind: commands after it are decided by it.
fn register(
    overlay: &mut Overlay<'_>,
    membership: &Membership<u64, Member>,
    index: u64,
) -> Outcome {
    let stores = membership.nodes().map(|(id, member)| (*id, *member.store_id.as_bytes()));
    register_members(overlay, &stores.collect(), index).unwrap();
    Outcome::Nothing
}

/// How many commands of each kind were accepted, and how many refused, and why.
#[derive(Default)]
pub(crate) struct Tally {
    kinds: BTreeMap<&'static str, [u64; 2]>,
    refusals: BTreeMap<String, u64>,
    repeats: u64,
}

impl Tally {
    fn count(&mut self, index: u64, command: &Command, outcome: &Outcome) {
        let counts = self.kinds.entry(command.name()).or_default();
        match outcome {
            Outcome::Done(operation) => {
                counts[0] += 1;
                self.repeats += u64::from(operation.index != index);
            }
            Outcome::Rejected(rejection) => {
                counts[1] += 1;
                *self.refusals.entry(reason(rejection)).or_default() += 1;
            }
            Outcome::Nothing if !command.makes_operation() => counts[0] += 1,
            Outcome::Nothing => panic!("a command came to nothing"),
        }
    }

    pub(crate) fn commands(&self) -> u64 {
        self.kinds.values().flatten().sum()
    }

    /// Every kind was accepted and refused, and every refusal that the log can provoke was met.
    pub(crate) fn assert_complete(&self) {
        for kind in KINDS {
            let [accepted, refused] = self.kinds.get(kind).copied().unwrap_or_default();
            assert!(accepted > 0 && refused > 0, "{kind}: {accepted} accepted, {refused} refused");
        }
        assert!(self.repeats > 0, "nothing was repeated");
        for reason in [
            "Unauthenticated",
            "PermissionDenied",
            "NotFound",
            "AlreadyExists",
            "Precondition(SecretInactive",
            "Precondition(DeletionProtected",
            "Precondition(VersionNotActive",
            "Precondition(VersionNotScheduled",
            "Precondition(VersionDestroyed",
            "Precondition(AlreadyInitialised",
            "BaseMoved",
            "CurrentMismatch",
            "QuotaExceeded",
            "IdempotencyConflict",
            "InvalidArgument",
        ] {
            assert!(self.refusals.contains_key(reason), "never refused with {reason}");
        }
    }
}

/// The names of the variants, without ids.
fn reason(rejection: &Rejection) -> String {
    let debug = format!("{rejection:?}");
    let words = if matches!(rejection, Rejection::Precondition(_)) { 2 } else { 1 };
    let parts: Vec<&str> = debug.split(['(', ')', ' ']).take(words).collect();
    parts.join("(")
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, [accepted, refused]) in &self.kinds {
            writeln!(f, "{kind:24} {accepted:6} accepted {refused:6} refused")?;
        }
        for (reason, count) in &self.refusals {
            writeln!(f, "{reason:40} {count:6}")?;
        }
        write!(f, "{} commands, {} of them repeats", self.commands(), self.repeats)
    }
}

/// The log, encoded, and what came of it. What is loaded in another process has no outcomes.
pub(crate) struct Recording {
    generator: Generator,
    /// Whether an entry is a command is another matter than which one.
    random: Random,
    entries: Vec<Bytes>,
    digests: Vec<Digest>,
    accepted: Vec<u64>,
    tally: Tally,
}

impl Recording {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            generator: Generator::new(seed),
            random: Random(!seed),
            entries: Vec::new(),
            digests: Vec::new(),
            accepted: Vec::new(),
            tally: Tally::default(),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn entries(&self, range: Range<u64>) -> Vec<LogEntry> {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        self.entries[range].iter().map(|encoded| decode_entry(encoded).unwrap()).collect()
    }

    pub(crate) fn digest(&self, index: u64) -> Digest {
        self.digests[usize::try_from(index).unwrap()]
    }

    /// Indexes of the commands that took effect.
    pub(crate) fn accepted(&self) -> &[u64] {
        &self.accepted
    }

    pub(crate) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Makes and applies entries until there are `end`, `batch` at a time.
    pub(crate) async fn extend(&mut self, store: &mut Store, end: u64, batch: u64) {
        while self.len() < end {
            let count = batch.min(end - self.len());
            let made = store.state.read(|view| {
                let mut overlay = Overlay::new(view);
                (0..count).map(|_| self.make(&mut overlay)).collect::<Vec<_>>()
            });
            apply(store, made.unwrap()).await.unwrap();
            if self.random.below(FLUSH_EVERY) == 0 {
                store.state.flush().unwrap();
            }
        }
    }

    fn make(&mut self, overlay: &mut Overlay<'_>) -> LogEntry {
        let index = self.len();
        let (payload, outcome) = match self.random.below(200) {
            0 => (EntryPayload::Blank, Outcome::Nothing),
            1 if one_in(&mut self.random, 10) => {
                let members = membership();
                let outcome = register(overlay, &members, index);
                (EntryPayload::Membership(members), outcome)
            }
            _ => {
                let (proposal, outcome) = self.make_command(overlay, index);
                (EntryPayload::Normal(proposal), outcome)
            }
        };
        let log_id = log_id(1 + index / TERM_ENTRIES, index);
        let entry = LogEntry { log_id, payload };
        self.entries.push(encode_entry(&entry));
        self.digests.push(digest(&outcome));
        entry
    }

    fn make_command(&mut self, overlay: &mut Overlay<'_>, index: u64) -> (Proposal, Outcome) {
        let envelope: Envelope = self.generator.next();
        let encoded = encode(&envelope);
        let outcome =
            apply_entry(overlay, &encoded, position(log_id(1 + index / TERM_ENTRIES, index)))
                .unwrap();
        self.generator.learn(index, &outcome);
        self.tally.count(index, &envelope.command, &outcome);
        if matches!(&outcome, Outcome::Done(operation) if operation.index == index) {
            self.accepted.push(index);
        }
        (Proposal(encoded.into()), outcome)
    }

    /// The same log with another entry in this place.
    fn changed(&self, change: impl FnOnce(&mut Vec<Bytes>)) -> Self {
        let mut entries = self.entries.clone();
        change(&mut entries);
        Self { entries, ..Self::new(0) }
    }

    /// Without the command at this index: a blank is there instead.
    pub(crate) fn without(&self, index: u64) -> Self {
        let blank =
            LogEntry { payload: EntryPayload::Blank, ..self.entries(index..index + 1)[0].clone() };
        self.changed(|entries| entries[usize::try_from(index).unwrap()] = encode_entry(&blank))
    }

    /// With the command at this index behind the one that follows it.
    pub(crate) fn swapped(&self, index: u64) -> Self {
        let mut pair = self.entries(index..index + 2);
        let (one, two) = pair.split_at_mut(1);
        std::mem::swap(&mut one[0].payload, &mut two[0].payload);
        let at = usize::try_from(index).unwrap();
        self.changed(|entries| {
            entries[at] = encode_entry(&pair[0]);
            entries[at + 1] = encode_entry(&pair[1]);
        })
    }

    /// Writes the entries where another process finds them.
    pub(crate) fn save(&self, directory: &Path) {
        let mut file = Vec::new();
        for encoded in &self.entries {
            file.extend_from_slice(&u32::try_from(encoded.len()).unwrap().to_be_bytes());
            file.extend_from_slice(encoded);
        }
        std::fs::write(directory.join("entries"), file).unwrap();
    }

    /// Reads what another process saved.
    pub(crate) fn load(directory: &Path) -> Self {
        let mut rest = Bytes::from(std::fs::read(directory.join("entries")).unwrap());
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let length = rest.split_to(4);
            let length = u32::from_be_bytes(length.as_ref().try_into().unwrap());
            entries.push(rest.split_to(usize::try_from(length).unwrap()));
        }
        Self { entries, ..Self::new(0) }
    }

    /// Compares the outcomes of another process with these.
    pub(crate) fn compare_digests(&self, others: &[u8]) {
        assert_eq!(others.len(), self.digests.len() * size_of::<Digest>());
        for (index, (other, own)) in
            others.chunks(size_of::<Digest>()).zip(&self.digests).enumerate()
        {
            assert!(other == own, "outcome of entry {index}");
        }
    }

    /// The command at this index, for messages.
    pub(crate) fn describe(&self, index: u64) -> String {
        match &self.entries(index..index + 1)[0].payload {
            EntryPayload::Normal(proposal) => format!("{:?}", decode::<Envelope>(&proposal.0)),
            other => format!("{other:?}"),
        }
    }
}

pub(crate) fn membership() -> Membership<u64, Member> {
    let member = |id: u64| (id, Member::at(format!("node-{id}:9000"), format!("node-{id}:8443")));
    let members: BTreeMap<u64, Member> = (1..=3).map(member).collect();
    let voters = members.keys().copied().collect();
    Membership::new(vec![voters], members).unwrap()
}
