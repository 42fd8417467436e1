//! Histories that a correct service could have given, made by running the specification under
//! concurrency. For tests of the checkers, and for showing a reader what a violation looks like.

use std::collections::BTreeMap;

use crate::history::History;
use crate::history::event::{Event, FORMAT_VERSION, Header, Invoke, Phase, PhaseEvent};
use crate::history::ids::{NodeId, OpId, ProcessId, SecretId, VersionId};
use crate::history::log_dump::{EntryKind, EntryOutcome, LogDump, LogEntry, LogRange};
use crate::history::op::{Failure, Invocation, Outcome, Reply, Stamp};
use crate::history::recorded::{HistoryBuilder, HistoryError};
use crate::history::{answer::Answer, answer::Code, call::Call, event::Complete, makers};

use super::dice::Dice;
use super::step::{Named, step};
use super::synthetic_answer::answer;
use super::synthetic_calls::next_call;
use super::{Expected, SecretState};

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Decides everything.
    pub seed: u64,
    /// Operations.
    pub ops: u64,
    /// Workers.
    pub workers: u64,
    /// Secrets in use at a time.
    pub secrets: usize,
    /// Operations after which a secret gives way to a fresh one.
    pub ops_per_secret: u64,
    /// Of a thousand operations, how many end without an answer.
    pub info_of_thousand: u64,
}

/// A history and the log behind it.
#[derive(Debug, Clone)]
pub struct Synthetic {
    /// The history.
    pub history: History,
    /// The log of the one node there is.
    pub log: LogDump,
}

/// Makes one.
///
/// # Errors
/// [`HistoryError`], never for what this function makes; it saves a panic.
pub fn synthesize(wanted: &Wanted) -> Result<Synthetic, HistoryError> {
    let mut world = World::new(wanted)?;
    world.phase(Phase::Quiet)?;
    while world.begun < wanted.ops || world.workers.iter().any(|worker| worker.open.is_some()) {
        world.tick()?;
    }
    let range = LogRange { node: NodeId(1), first: 1, last: world.index };
    let log = LogDump { range, entries: world.entries };
    Ok(Synthetic { history: world.builder.finish(), log })
}

/// What clients know of a secret in use.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) secret: SecretId,
    pub(super) versions: Vec<VersionId>,
    asked: u64,
}

struct Worker {
    process: ProcessId,
    open: Option<Open>,
}

struct Open {
    op: OpId,
    call: Call,
    reply: Option<Reply>,
}

struct World {
    wanted: Wanted,
    dice: Dice,
    builder: HistoryBuilder,
    at: Stamp,
    begun: u64,
    index: u64,
    term: u64,
    entries: Vec<LogEntry>,
    states: BTreeMap<SecretId, SecretState>,
    known: Vec<Known>,
    workers: Vec<Worker>,
    /// Sent, given up, and perhaps still to happen.
    adrift: Vec<(OpId, Call)>,
    made: u64,
}

impl World {
    fn new(wanted: &Wanted) -> Result<Self, HistoryError> {
        let header = Header {
            format: FORMAT_VERSION,
            seed: wanted.seed,
            nodes: vec![NodeId(1)],
            started_at_ns: 0,
        };
        let worker = |n| Worker { process: ProcessId(n), open: None };
        Ok(Self {
            wanted: *wanted,
            dice: Dice::new(wanted.seed),
            builder: HistoryBuilder::new(header)?,
            at: Stamp { order: 0, ns: 0 },
            begun: 0,
            index: 0,
            term: 1,
            entries: Vec::new(),
            states: BTreeMap::new(),
            known: Vec::new(),
            workers: (0..wanted.workers).map(worker).collect(),
            adrift: Vec::new(),
            made: 0,
        })
    }

    fn stamp(&mut self) -> Stamp {
        self.at.order += 1;
        self.at.ns += 1 + self.dice.below(200_000);
        self.at
    }

    fn phase(&mut self, phase: Phase) -> Result<(), HistoryError> {
        let at = self.stamp();
        self.builder.push(Event::Phase(PhaseEvent { at, phase }))
    }

    /// One thing happens somewhere.
    fn tick(&mut self) -> Result<(), HistoryError> {
        if !self.adrift.is_empty() && self.dice.chance(30) {
            let place = self.dice.place(self.adrift.len());
            let (op, call) = self.adrift.swap_remove(place);
            // Of those that are given up, half happen late and half never.
            if self.dice.chance(500) {
                self.happen(op, &call);
            }
        }
        if self.dice.chance(2) {
            self.term += 1;
            self.enter(EntryKind::Blank, None, None, None, EntryOutcome::Done);
        }
        let place = self.dice.place(self.workers.len());
        match self.workers[place].open.take() {
            None if self.begun < self.wanted.ops => self.begin(place),
            None => Ok(()),
            Some(open) if open.reply.is_some() => self.end(place, open),
            Some(mut open) if self.dice.chance(700) => {
                open.reply = Some(self.happen(open.op, &open.call));
                self.workers[place].open = Some(open);
                Ok(())
            }
            Some(open) if self.dice.chance(self.wanted.info_of_thousand * 2) => {
                self.give_up(place, open)
            }
            open => {
                self.workers[place].open = open;
                Ok(())
            }
        }
    }

    fn begin(&mut self, place: usize) -> Result<(), HistoryError> {
        self.known.retain(|known| known.asked < self.wanted.ops_per_secret);
        let op = OpId(self.begun);
        self.begun += 1;
        let place_of_secret = self.dice.place(self.wanted.secrets);
        let known = self.known.get_mut(place_of_secret);
        let call = next_call(&mut self.dice, op, known.as_deref());
        if let Some(known) = known {
            known.asked += 1;
        }
        let at = self.stamp();
        let process = self.workers[place].process;
        let asked = Invocation::by_administrator(process, NodeId(1), call.clone());
        self.workers[place].open = Some(Open { op, call, reply: None });
        self.builder.push(Event::Invoke(Invoke { op, at, asked }))
    }

    fn end(&mut self, place: usize, open: Open) -> Result<(), HistoryError> {
        let Some(reply) = open.reply else { return Ok(()) };
        if self.dice.chance(self.wanted.info_of_thousand / 2) {
            return self.complete(place, open.op, lost("the answer was lost"));
        }
        self.learn(&open.call, &reply.answer);
        self.complete(place, open.op, Outcome::Ok(reply))
    }

    fn give_up(&mut self, place: usize, open: Open) -> Result<(), HistoryError> {
        if self.dice.chance(300) {
            let failure = Failure { code: Code::Unavailable, message: "not proposed".into() };
            return self.complete(place, open.op, Outcome::Fail(failure));
        }
        self.adrift.push((open.op, open.call));
        self.complete(place, open.op, lost("deadline"))
    }

    fn complete(&mut self, place: usize, op: OpId, outcome: Outcome) -> Result<(), HistoryError> {
        if matches!(outcome, Outcome::Info(_)) {
            self.workers[place].process.0 += self.wanted.workers;
        }
        let at = self.stamp();
        self.builder.push(Event::Complete(Complete { op, at, outcome }))
    }

    fn learn(&mut self, call: &Call, answer: &Answer) {
        if let (Call::CreateSecret(_), Answer::Secret(view)) = (call, answer) {
            let versions = view.current.iter().map(|version| version.id.clone()).collect();
            self.known.push(Known { secret: view.id.clone(), versions, asked: 0 });
        }
        let Some(secret) = call.secret() else { return };
        let Some(known) = self.known.iter_mut().find(|known| known.secret == *secret) else {
            return;
        };
        for version in answer.versions() {
            if !known.versions.contains(&version.id) {
                known.versions.push(version.id.clone());
            }
        }
    }

    /// The one moment at which an operation happens.
    fn happen(&mut self, op: OpId, call: &Call) -> Reply {
        self.made += 1;
        let named = Named {
            secret: call
                .secret()
                .cloned()
                .unwrap_or_else(|| format!("s{}", self.made).as_str().into()),
            version: format!("v{}", self.made).as_str().into(),
        };
        let secret = named.secret.clone();
        let state = self.states.entry(secret.clone()).or_insert(SecretState::Absent);
        let step = step(state, None, call, &named);
        let made_secret = matches!(call, Call::CreateSecret(_));
        let refused = matches!(step.answer, Expected::Refused(_) | Expected::Impossible(_));
        if let Some(next) = step.next {
            *state = next;
        } else if made_secret {
            self.states.remove(&secret);
        }
        // A view may refuse a mutation as well as its entry.
        if call.is_mutation() && (!refused || self.dice.chance(500)) {
            let version = match call {
                Call::AddVersion(_) => Some(named.version),
                Call::CreateSecret(call) => call.first.as_ref().map(|_| named.version),
                Call::SetCurrentVersion(call) | Call::CancelDestruction(call) => {
                    Some(call.version.clone())
                }
                Call::ScheduleDestruction(call) => Some(call.version.clone()),
                _ => None,
            };
            let description = makers::description(call).map(str::to_owned);
            let outcome = if refused { EntryOutcome::Refused } else { EntryOutcome::Done };
            self.enter(kind_of(call), Some(secret), version, description, outcome);
        }
        debug_assert!(op.0 < self.begun, "an operation happens after it began");
        let answer = answer(&step.answer);
        Reply { answer, index: self.index, term: self.term, served_by: NodeId(1) }
    }

    fn enter(
        &mut self,
        kind: EntryKind,
        secret: Option<SecretId>,
        version: Option<VersionId>,
        description: Option<String>,
        outcome: EntryOutcome,
    ) {
        self.index += 1;
        let (index, term) = (self.index, self.term);
        let log_time_ns = Some(i64::try_from(self.at.ns).unwrap_or(i64::MAX));
        self.entries.push(LogEntry {
            index,
            term,
            kind,
            secret,
            folder: None,
            version,
            description,
            // Its operations have no keys.
            key: None,
            outcome,
            log_time_ns,
        });
    }
}

fn lost(message: &str) -> Outcome {
    Outcome::Info(Failure { code: Code::DeadlineExceeded, message: message.to_owned() })
}

fn kind_of(call: &Call) -> EntryKind {
    match call {
        Call::CreateSecret(_) => EntryKind::CreateSecret,
        Call::AddVersion(_) => EntryKind::AddVersion,
        Call::SetCurrentVersion(_) => EntryKind::SetCurrentVersion,
        Call::ScheduleDestruction(_) => EntryKind::ScheduleDestruction,
        Call::CancelDestruction(_) => EntryKind::CancelDestruction,
        Call::Activate(_) => EntryKind::Activate,
        Call::Deactivate(_) => EntryKind::Deactivate,
        Call::DeleteSecret(_) => EntryKind::DeleteSecret,
        Call::UpdateSecret(_) => EntryKind::UpdateSecret,
        Call::ChangeBinding(_) => EntryKind::ChangeBinding,
        Call::RevokeToken(_) => EntryKind::RevokeToken,
        Call::GetSecret(_) | Call::ListVersions(_) | Call::GetPayload(_) | Call::ListSecrets(_) => {
            EntryKind::Other
        }
    }
}
