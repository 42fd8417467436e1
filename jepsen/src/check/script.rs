//! Hand-written histories for the tests of the laws.

use crate::history::History;
use crate::history::answer::{
    Answer, Code, PayloadEntry, PayloadView, Refusal, SecretPage, SecretStatus, SecretView,
    VersionList, VersionStatus, VersionView,
};
use crate::history::call::{
    AddVersion, Call, ChangeBinding, CreateSecret, EntryChange, FirstVersion, GetPayload,
    ListSecrets, OnSecret, OnVersion, ReadSecret, RevokeToken,
};
use crate::history::event::{
    Complete, Event, FORMAT_VERSION, Header, Invoke, MajorityEvent, Phase, PhaseEvent,
};
use crate::history::fault::{Edge, FaultClass, FaultEvent, FaultOutcome};
use crate::history::ids::{FaultId, NodeId, OpId, ProcessId, ValueHash};
use crate::history::key_switch::{KeySwitch, SwitchStep};
use crate::history::ledger::{KmsUse, Ledger, LedgerLine};
use crate::history::log_dump::{
    CommittedLog, EntryKind, EntryOutcome, LogDump, LogEntry, LogRange,
};
use crate::history::op::{Failure, Invocation, Outcome, Reply, Stamp};
use crate::history::recorded::HistoryBuilder;
use crate::history::sample::{RaftRole, RaftSample};

/// Time between two events of a script, in nanoseconds.
pub(crate) const STEP_NS: u64 = 1_000_000;

/// A history in the making. Every event takes the next stamp.
pub(crate) struct Script {
    builder: HistoryBuilder,
    at: Stamp,
    ops: u64,
    /// Each operation gets a worker of its own unless a test cares.
    pub(crate) subject: Option<&'static str>,
    pub(crate) token: Option<&'static str>,
    pub(crate) key: Option<&'static str>,
}

impl Script {
    pub(crate) fn new() -> Self {
        let nodes = vec![NodeId(1), NodeId(2), NodeId(3)];
        let header = Header { format: FORMAT_VERSION, seed: 0, nodes, started_at_ns: 0 };
        let at = Stamp { order: 0, ns: 0 };
        let builder = HistoryBuilder::new(header).unwrap();
        Self { builder, at, ops: 0, subject: None, token: None, key: None }
    }

    pub(crate) fn stamp(&mut self) -> Stamp {
        self.at = Stamp { order: self.at.order + 1, ns: self.at.ns + STEP_NS };
        self.at
    }

    /// Lets time pass.
    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.at.ns += ms * 1_000_000;
    }

    pub(crate) fn push(&mut self, event: impl FnOnce(Stamp) -> Event) {
        let at = self.stamp();
        self.builder.push(event(at)).unwrap();
    }

    pub(crate) fn begin(&mut self, call: Call) -> OpId {
        let op = OpId(self.ops);
        self.ops += 1;
        let asked = Invocation {
            process: ProcessId(op.0),
            node: NodeId(1),
            subject: self.subject.map(Into::into),
            token: self.token.map(Into::into),
            idempotency_key: self.key.map(Into::into),
            call,
        };
        self.push(|at| Event::Invoke(Invoke { op, at, asked }));
        op
    }

    pub(crate) fn end(&mut self, op: OpId, outcome: Outcome) {
        self.push(|at| Event::Complete(Complete { op, at, outcome }));
    }

    pub(crate) fn ok(&mut self, op: OpId, answer: Answer, index: u64) {
        let served_by = NodeId(1);
        self.end(op, Outcome::Ok(Reply { answer, index, term: 1, served_by }));
    }

    pub(crate) fn info(&mut self, op: OpId) {
        let message = "no answer".to_owned();
        self.end(op, Outcome::Info(Failure { code: Code::DeadlineExceeded, message }));
    }

    pub(crate) fn fail(&mut self, op: OpId) {
        self.fail_with(op, Code::Unavailable);
    }

    pub(crate) fn fail_with(&mut self, op: OpId, code: Code) {
        let message = "not proposed".to_owned();
        self.end(op, Outcome::Fail(Failure { code, message }));
    }

    /// A whole operation with nothing beside it.
    pub(crate) fn done(&mut self, call: Call, answer: Answer, index: u64) -> OpId {
        let op = self.begin(call);
        self.ok(op, answer, index);
        op
    }

    pub(crate) fn phase(&mut self, phase: Phase) {
        self.push(|at| Event::Phase(PhaseEvent { at, phase }));
    }

    pub(crate) fn fault(&mut self, id: u64, edge: Edge, majority_reachable: bool) {
        self.push(|at| {
            Event::Fault(FaultEvent {
                id: FaultId(id),
                at,
                edge,
                class: FaultClass::Kill,
                variant: String::new(),
                target: vec![NodeId(1)],
                outcome: FaultOutcome::Installed,
                leader: Some(NodeId(1)),
                majority_reachable,
            })
        });
    }

    pub(crate) fn majority(&mut self, reachable: bool) {
        self.push(|at| Event::Majority(MajorityEvent { at, reachable }));
    }

    pub(crate) fn sample(&mut self, node: u64, term: u64, role: RaftRole, applied: u64) {
        self.sample_with(node, |sample| {
            (sample.term, sample.role, sample.applied) = (term, role, applied);
            (sample.last, sample.committed) = (applied, applied);
        });
    }

    pub(crate) fn sample_with(&mut self, node: u64, change: impl FnOnce(&mut RaftSample)) {
        let at = self.stamp();
        let mut sample = RaftSample {
            at,
            node: NodeId(node),
            store: String::new(),
            generation: 1,
            incarnation: 1,
            term: 1,
            role: RaftRole::Follower,
            vote: None,
            last: 0,
            committed: 0,
            applied: 0,
            snapshot: 0,
            purged: 0,
            voters: vec![NodeId(1), NodeId(2), NodeId(3)],
            learners: Vec::new(),
            state_hash: None,
        };
        change(&mut sample);
        self.builder.push(Event::Sample(sample)).unwrap();
    }

    /// A line of a ledger; whoever kept it knows of an answer.
    pub(crate) fn ledger(
        &mut self,
        ledger: Ledger,
        request: &str,
        op: Option<OpId>,
        used: Option<KmsUse>,
    ) {
        let (request, answered) = (request.into(), ledger != Ledger::KmsBilled);
        let line = |at| LedgerLine { at, ledger, request, op, used, answered };
        self.push(|at| Event::Ledger(line(at)));
    }

    /// The key `key` is switched.
    pub(crate) fn key_switch(&mut self, on: bool, step: SwitchStep) {
        self.push(|at| Event::KeySwitch(KeySwitch { at, key: "key".into(), on, step }));
    }

    pub(crate) fn history(self) -> History {
        self.builder.finish()
    }
}

// === Calls ===

pub(crate) fn create(entries: &[(&str, u8)]) -> Call {
    let first = FirstVersion { description: "first".into(), entries: changes(entries) };
    Call::CreateSecret(CreateSecret {
        folder: None,
        name: "name".into(),
        kms_key: None,
        deletion_protection: false,
        first: (!entries.is_empty()).then_some(first),
    })
}

fn changes(entries: &[(&str, u8)]) -> Vec<EntryChange> {
    let change = |(key, value): &(&str, u8)| EntryChange {
        key: (*key).into(),
        value: (*value != 0).then_some(ValueHash([*value; 16])),
    };
    entries.iter().map(change).collect()
}

/// A delta; the value 0 removes the key.
pub(crate) fn add(description: &str, entries: &[(&str, u8)]) -> Call {
    Call::AddVersion(AddVersion {
        secret: "s".into(),
        base: None,
        changes: changes(entries),
        description: description.into(),
        if_version: None,
    })
}

pub(crate) fn set_current(version: &str) -> Call {
    Call::SetCurrentVersion(on_version(version))
}

pub(crate) fn on_version(version: &str) -> OnVersion {
    OnVersion { secret: "s".into(), version: version.into(), if_version: None }
}

pub(crate) fn on_secret() -> OnSecret {
    OnSecret { secret: "s".into(), if_version: None }
}

pub(crate) fn get() -> Call {
    Call::GetSecret(ReadSecret { secret: "s".into() })
}

pub(crate) fn list() -> Call {
    Call::ListVersions(ReadSecret { secret: "s".into() })
}

/// A secret of this name in a folder; it has no version.
pub(crate) fn create_in(folder: &str, name: &str) -> Call {
    Call::CreateSecret(CreateSecret {
        folder: Some(folder.into()),
        name: name.into(),
        kms_key: None,
        deletion_protection: false,
        first: None,
    })
}

pub(crate) fn delete(secret: &str) -> Call {
    Call::DeleteSecret(OnSecret { secret: secret.into(), if_version: None })
}

/// The page of two secrets of the folder `f` behind a token.
pub(crate) fn page(walk: &str, token: Option<&str>) -> Call {
    let (folder, walk, token) = ("f".into(), walk.into(), token.map(Into::into));
    Call::ListSecrets(ListSecrets { folder, walk, page_size: 2, token })
}

pub(crate) fn payload(version: Option<&str>) -> Call {
    Call::GetPayload(GetPayload { secret: "s".into(), version: version.map(Into::into) })
}

pub(crate) fn bind(member: &str, grant: bool) -> Call {
    let role = "lockbox.payloadViewer".to_owned();
    Call::ChangeBinding(ChangeBinding { secret: "s".into(), role, member: member.into(), grant })
}

pub(crate) fn revoke(token: &str) -> Call {
    Call::RevokeToken(RevokeToken { token: token.into() })
}

// === Answers ===

pub(crate) fn version(id: &str, description: &str, keys: &[&str]) -> VersionView {
    VersionView {
        id: id.into(),
        description: description.into(),
        status: VersionStatus::Active,
        keys: keys.iter().map(|key| (*key).into()).collect(),
        created_at_ns: 1000,
        destroy_at_ns: None,
    }
}

pub(crate) fn secret(current: Option<VersionView>) -> Answer {
    Answer::Secret(SecretView {
        id: "s".into(),
        folder: None,
        name: "name".into(),
        description: String::new(),
        labels: std::collections::BTreeMap::new(),
        kms_key: None,
        status: SecretStatus::Active,
        deletion_protection: false,
        created_at_ns: 1000,
        current,
    })
}

fn view_in(folder: &str, id: &str, created_at_ns: i64) -> SecretView {
    let Answer::Secret(view) = secret(None) else { unreachable!() };
    let folder = Some(folder.into());
    SecretView { id: id.into(), folder, name: id.to_owned(), created_at_ns, ..view }
}

/// A secret in a folder, called as its id, and its time of creation.
pub(crate) fn secret_in(folder: &str, id: &str, created_at_ns: i64) -> Answer {
    Answer::Secret(view_in(folder, id, created_at_ns))
}

/// A page of secrets of the folder `f`, each with its time of creation.
pub(crate) fn secrets(shown: &[(&str, i64)], next: Option<&str>) -> Answer {
    let secrets = shown.iter().map(|(id, created_at_ns)| view_in("f", id, *created_at_ns));
    Answer::Secrets(SecretPage { secrets: secrets.collect(), next: next.map(Into::into) })
}

pub(crate) fn inactive(current: Option<VersionView>) -> Answer {
    let Answer::Secret(view) = secret(current) else { unreachable!() };
    Answer::Secret(SecretView { status: SecretStatus::Inactive, ..view })
}

/// A whole list, newest first.
pub(crate) fn versions(versions: &[VersionView]) -> Answer {
    Answer::Versions(VersionList { versions: versions.to_vec(), complete: true })
}

pub(crate) fn entries(version: &str, entries: &[(&str, u8)]) -> Answer {
    let entry = |(key, value): &(&str, u8)| PayloadEntry {
        key: (*key).into(),
        value: ValueHash([*value; 16]),
    };
    let entries = entries.iter().map(entry).collect();
    Answer::Payload(PayloadView { version: version.into(), entries })
}

pub(crate) fn refused(code: Code) -> Answer {
    Answer::Refused(Refusal { code, message: String::new() })
}

// === Logs ===

/// A log of entries on the secret `s`, from index 1 on.
pub(crate) fn log(kinds: &[(EntryKind, Option<&str>)]) -> CommittedLog {
    CommittedLog::join([dump(1, kinds)]).unwrap()
}

pub(crate) fn dump(node: u64, kinds: &[(EntryKind, Option<&str>)]) -> LogDump {
    let entry = |(index, (kind, version)): (u64, &(EntryKind, Option<&str>))| LogEntry {
        index,
        term: 1,
        kind: *kind,
        secret: Some("s".into()),
        folder: None,
        version: version.map(Into::into),
        description: None,
        key: None,
        outcome: EntryOutcome::Done,
        log_time_ns: Some(i64::try_from(index).unwrap() * 1000),
    };
    let entries: Vec<LogEntry> = (1..).zip(kinds).map(entry).collect();
    let last = entries.len() as u64;
    LogDump { range: LogRange { node: NodeId(node), first: 1, last }, entries }
}
