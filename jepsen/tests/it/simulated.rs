//! A service of one folder by the specification, or with one thing wrong, under the concurrency of
//! a group of workers: answers get lost, and what nobody was answered may happen late.

use std::collections::BTreeMap;

use lockbox_jepsen::client::request::Request;
use lockbox_jepsen::history::History;
use lockbox_jepsen::history::answer::{Answer, Code, Refusal, SecretPage, SecretView, VersionView};
use lockbox_jepsen::history::call::{Call, ListSecrets};
use lockbox_jepsen::history::event::{
    Complete, Event, FORMAT_VERSION, Header, Invoke, Phase, PhaseEvent,
};
use lockbox_jepsen::history::ids::{
    FolderId, IdempotencyKey, NodeId, OpId, ProcessId, SecretId, VersionId,
};
use lockbox_jepsen::history::log_dump::{
    CommittedLog, EntryKind, EntryOutcome, LogDump, LogEntry, LogRange,
};
use lockbox_jepsen::history::op::{Failure, Invocation, Outcome, Reply, Stamp};
use lockbox_jepsen::history::recorded::HistoryBuilder;
use lockbox_jepsen::model::dice::Dice;
use lockbox_jepsen::model::expected::SecretShape;
use lockbox_jepsen::model::quota::SECRETS_MAX;
use lockbox_jepsen::model::{Expected, Named, SecretState, step};
use lockbox_jepsen::random::Random;
use lockbox_jepsen::workload::{Family, Generator, Mix, Premises, SEATS_MAX, generator};

/// Births that a mutant takes for simultaneous.
const SECOND: u64 = 5;

/// What is wrong with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    Nothing,
    /// A token is how many secrets were shown.
    Offset,
    /// A token is the second of the last secret's birth.
    Time,
    /// Behind a secret that is gone the list begins again.
    Restarts,
    /// Room is looked for when a creation begins, and never again.
    JudgedEarly,
    /// A deletion makes no room.
    NotGivenBack,
}

struct Seat {
    process: ProcessId,
    open: Option<Open>,
}

struct Open {
    op: OpId,
    request: Request,
    /// Whether there was room when it began.
    had_room: bool,
    reply: Option<Reply>,
}

struct World {
    bug: Bug,
    dice: Dice,
    builder: HistoryBuilder,
    at: Stamp,
    /// Operations that are still to begin.
    left: u64,
    begun: u64,
    index: u64,
    entries: Vec<LogEntry>,
    states: BTreeMap<SecretId, SecretState>,
    /// The secrets that are there, by the entries that made them.
    births: BTreeMap<u64, SecretId>,
    /// How many count against the quota.
    counted: u32,
    recorded: BTreeMap<IdempotencyKey, (Answer, u64)>,
    seats: Vec<Seat>,
    adrift: Vec<Open>,
}

/// What a group of this family saw of a service, in so many operations, and the log behind it.
pub(crate) fn simulate(family: Family, bug: Bug, seed: u64, ops: u64) -> (History, CommittedLog) {
    let mix = Mix { keyed_percent: 30, ..Mix::draw(&mut Random::new(seed)) };
    let premises = Premises { folders: vec![FolderId::from("f")], ..Premises::default() };
    let mut generator = generator(family, 0, seed, &mix, &premises);
    let header = Header { format: FORMAT_VERSION, seed, nodes: vec![NodeId(1)], started_at_ns: 0 };
    let seat = |number| Seat { process: ProcessId(number), open: None };
    let mut world = World {
        bug,
        dice: Dice::new(seed),
        builder: HistoryBuilder::new(header).unwrap(),
        at: Stamp { order: 0, ns: 0 },
        left: ops,
        begun: 0,
        index: 0,
        entries: Vec::new(),
        states: BTreeMap::new(),
        births: BTreeMap::new(),
        counted: 0,
        recorded: BTreeMap::new(),
        seats: (0..SEATS_MAX as u64).map(seat).collect(),
        adrift: Vec::new(),
    };
    world.push(|at| Event::Phase(PhaseEvent { at, phase: Phase::Quiet }));
    while world.left > 0 || world.seats.iter().any(|seat| seat.open.is_some()) {
        world.tick(generator.as_mut());
    }
    world.last_look();
    let range = LogRange { node: NodeId(1), first: 1, last: world.index };
    let log = CommittedLog::join([LogDump { range, entries: world.entries }]).unwrap();
    (world.builder.finish(), log)
}

impl World {
    fn push(&mut self, event: impl FnOnce(Stamp) -> Event) {
        self.at = Stamp { order: self.at.order + 1, ns: self.at.ns + 1000 };
        self.builder.push(event(self.at)).unwrap();
    }

    /// One thing happens somewhere.
    fn tick(&mut self, generator: &mut dyn Generator) {
        if !self.adrift.is_empty() && self.dice.chance(50) {
            let place = self.dice.place(self.adrift.len());
            let late = self.adrift.swap_remove(place);
            if self.dice.chance(500) {
                self.happen(&late);
            }
        }
        let place = self.dice.place(self.seats.len());
        match self.seats[place].open.take() {
            None if self.left > 0 => self.begin(place, generator),
            None => {}
            Some(mut open) if open.reply.is_none() && self.dice.chance(700) => {
                open.reply = Some(self.happen(&open));
                self.seats[place].open = Some(open);
            }
            Some(open) => match open.reply.clone() {
                Some(reply) if !self.dice.chance(40) => {
                    self.complete(place, generator, &open, Outcome::Ok(reply));
                }
                Some(_) => self.lose(place, generator, open),
                None if self.dice.chance(100) => self.lose(place, generator, open),
                None => self.seats[place].open = Some(open),
            },
        }
    }

    fn begin(&mut self, place: usize, generator: &mut dyn Generator) {
        let Some(request) = generator.next(place) else { return };
        let (op, process) = (OpId(self.begun), self.seats[place].process);
        self.begun += 1;
        self.left -= 1;
        let asked = Invocation {
            idempotency_key: request.idempotency_key.clone(),
            ..Invocation::by_administrator(process, NodeId(1), request.call().clone())
        };
        self.push(|at| Event::Invoke(Invoke { op, at, asked }));
        let had_room = self.counted < SECRETS_MAX;
        self.seats[place].open = Some(Open { op, request, had_room, reply: None });
    }

    /// All that is left, on one page: so every creation that nobody was answered is known.
    fn last_look(&mut self) {
        let (folder, walk) = ("f".into(), "last".into());
        let call = ListSecrets { folder, walk, page_size: 1000, token: None };
        let (op, process) = (OpId(self.begun), ProcessId(u64::MAX));
        let asked =
            Invocation::by_administrator(process, NodeId(1), Call::ListSecrets(call.clone()));
        self.push(|at| Event::Invoke(Invoke { op, at, asked }));
        let (answer, index) = (self.page(&call), self.index);
        let outcome = Outcome::Ok(Reply { answer, index, term: 1, served_by: NodeId(1) });
        self.push(|at| Event::Complete(Complete { op, at, outcome }));
    }

    /// Nobody is answered; what has not happened may still happen.
    fn lose(&mut self, place: usize, generator: &mut dyn Generator, open: Open) {
        let failure = Failure { code: Code::DeadlineExceeded, message: "lost".to_owned() };
        if open.request.call().is_mutation() {
            self.complete(place, generator, &open, Outcome::Info(failure));
            if open.reply.is_none() {
                self.adrift.push(open);
            }
        } else {
            self.complete(place, generator, &open, Outcome::Fail(failure));
        }
    }

    fn complete(
        &mut self,
        place: usize,
        generator: &mut dyn Generator,
        open: &Open,
        outcome: Outcome,
    ) {
        if matches!(outcome, Outcome::Info(_)) {
            self.seats[place].process.0 += SEATS_MAX as u64;
        }
        generator.observe(&open.request, &outcome);
        let op = open.op;
        self.push(|at| Event::Complete(Complete { op, at, outcome }));
    }

    /// The one moment at which an operation happens.
    fn happen(&mut self, open: &Open) -> Reply {
        let call = open.request.call();
        let key = open.request.idempotency_key.clone();
        let known = key.as_ref().and_then(|key| self.recorded.get(key)).cloned();
        if let Some((answer, index)) = known {
            return Reply { answer, index, term: 1, served_by: NodeId(1) };
        }
        let answer = match call {
            Call::ListSecrets(call) => self.page(call),
            Call::CreateSecret(_) if self.is_full(open) => refused(Code::ResourceExhausted),
            call => self.run(call, key.clone()),
        };
        let (term, served_by) = (1, NodeId(1));
        if let Some(key) = key.filter(|_| answer.is_success()) {
            self.recorded.insert(key, (answer.clone(), self.index));
        }
        Reply { answer, index: self.index, term, served_by }
    }

    const fn is_full(&self, open: &Open) -> bool {
        match self.bug {
            Bug::JudgedEarly => !open.had_room,
            _ => self.counted >= SECRETS_MAX,
        }
    }

    fn run(&mut self, call: &Call, key: Option<IdempotencyKey>) -> Answer {
        let next = self.index + 1;
        let made = |of: &str| format!("{of}{next}");
        let secret = call.secret().cloned().unwrap_or_else(|| made("s").as_str().into());
        let named = Named { secret: secret.clone(), version: made("v").as_str().into() };
        let state = self.states.entry(secret.clone()).or_insert(SecretState::Absent);
        let step = step(state, None, call, &named);
        let Some(after) = step.next else { return self.answer(&secret, &step.answer) };
        *state = after;
        self.index = next;
        let (kind, version) = match call {
            Call::CreateSecret(_) => {
                self.births.insert(next, secret.clone());
                self.counted += 1;
                (EntryKind::CreateSecret, Some(named.version))
            }
            Call::DeleteSecret(_) => {
                let answer = self.answer(&secret, &step.answer);
                self.births.retain(|_, other| *other != secret);
                if self.bug != Bug::NotGivenBack {
                    self.counted -= 1;
                }
                self.enter(EntryKind::DeleteSecret, secret, None, key);
                return answer;
            }
            Call::UpdateSecret(_) => (EntryKind::UpdateSecret, None),
            other => panic!("no family about folders asks {}", other.name()),
        };
        self.enter(kind, secret.clone(), version, key);
        self.answer(&secret, &step.answer)
    }

    fn enter(
        &mut self,
        kind: EntryKind,
        secret: SecretId,
        version: Option<VersionId>,
        key: Option<IdempotencyKey>,
    ) {
        let folder = (kind == EntryKind::CreateSecret).then(|| FolderId::from("f"));
        self.entries.push(LogEntry {
            index: self.index,
            term: 1,
            kind,
            secret: Some(secret),
            folder,
            version,
            // Nodes do not tell it.
            description: None,
            key,
            outcome: EntryOutcome::Done,
            log_time_ns: i64::try_from(self.index).ok(),
        });
    }

    fn answer(&self, secret: &SecretId, expected: &Expected) -> Answer {
        match expected {
            Expected::Secret(shape) => Answer::Secret(self.view(secret, shape)),
            Expected::Refused(codes) => refused(codes[0]),
            other => panic!("no family about folders is answered {other}"),
        }
    }

    fn view(&self, secret: &SecretId, shape: &SecretShape) -> SecretView {
        let birth = self.births.iter().find(|(_, other)| *other == secret).map(|(birth, _)| *birth);
        let facts = &shape.facts;
        let current = shape.current.as_ref().map(|version| VersionView {
            id: version.content.id.clone(),
            description: version.content.description.clone(),
            status: version.status,
            keys: version.content.entries.iter().map(|entry| entry.key.clone()).collect(),
            created_at_ns: 1,
            destroy_at_ns: None,
        });
        SecretView {
            id: facts.id.clone(),
            folder: facts.folder.clone(),
            name: facts.name.clone(),
            description: facts.description.clone(),
            labels: facts.labels.clone(),
            kms_key: facts.kms_key.clone(),
            status: shape.status,
            deletion_protection: facts.deletion_protection,
            created_at_ns: birth.and_then(|birth| i64::try_from(birth).ok()).unwrap(),
            current,
        }
    }

    fn page(&self, call: &ListSecrets) -> Answer {
        let mut place: u64 = call.token.as_ref().map_or(0, |token| token.as_str().parse().unwrap());
        if self.bug == Bug::Restarts && !self.births.contains_key(&place) {
            place = 0;
        }
        let births: Vec<u64> = self.births.keys().copied().collect();
        let second = |birth: u64| birth / SECOND + 1;
        let mut behind: Vec<u64> = match self.bug {
            Bug::Offset => births.into_iter().skip(usize::try_from(place).unwrap()).collect(),
            Bug::Time => births.into_iter().filter(|birth| second(*birth) > place).collect(),
            _ => births.into_iter().filter(|birth| *birth > place).collect(),
        };
        let size = usize::try_from(call.page_size).unwrap();
        let more = behind.len() > size;
        behind.truncate(size);
        let next = behind.last().filter(|_| more).map(|last| match self.bug {
            Bug::Offset => place + behind.len() as u64,
            Bug::Time => second(*last),
            _ => *last,
        });
        let view = |birth: &u64| {
            let secret = &self.births[birth];
            let live = self.states[secret].live().unwrap();
            self.view(secret, &SecretShape::from(live))
        };
        let secrets = behind.iter().map(view).collect();
        Answer::Secrets(SecretPage { secrets, next: next.map(|n| n.to_string().as_str().into()) })
    }
}

fn refused(code: Code) -> Answer {
    Answer::Refused(Refusal { code, message: String::new() })
}
