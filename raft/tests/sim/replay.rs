//! The oracle: the agreed log, applied once more by itself, must give what clients were told.
//!
//! Each effect has one index, so no search is needed: an answer is compared with what the log
//! comes to at the index that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lockbox_core::{RequestId, Subject};
use lockbox_raft::apply::{EntryPosition, apply_entry};
use lockbox_raft::domain::{Command, Envelope, Outcome, decode, encode};
use lockbox_raft::state::Overlay;
use lockbox_raft::store::{
    Blocking, Engines, MemoryEngines, NodeIdentity, Store, StoreOptions, WriterHost, decode_entry,
    open_store, state_hash,
};
use lockbox_raft::types::{LogEntry, LogId};
use openraft::EntryPayload;
use openraft::storage::RaftStateMachine;

use crate::clients::{Clients, Told, content};
use crate::ledger::Ledger;
use crate::trace::Trace;

/// By this name the oracle's own state is compared with those of the nodes.
const ORACLE: u64 = 0;

/// What was told, by the index that it was told of.
#[derive(Default)]
struct ByIndex<'a> {
    writes: BTreeMap<u64, Vec<(RequestId, &'a Outcome)>>,
    reads: BTreeMap<u64, Vec<[u8; 32]>>,
}

/// Kinds of commands that the log holds, and how many of each took effect.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

struct Oracle<'a> {
    store: Store,
    trace: &'a Trace,
    sent: BTreeSet<(RequestId, &'a [u8])>,
    effective: BTreeSet<RequestId>,
    tally: Tally,
}

/// Compares everything that clients were told with the agreed log.
pub(crate) async fn check(
    ledger: &Ledger,
    clients: &Clients,
    trace: &Trace,
    directory: &Path,
) -> Tally {
    let told = by_index(clients, trace);
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let identity = NodeIdentity { node_id: 1, fresh_store_id: [1; 16] };
    let options = StoreOptions {
        writer: WriterHost::Caller,
        blocking: Blocking::Inline,
        ..StoreOptions::default()
    };
    let store = open_store(directory, engines, &identity, &options).unwrap();
    let sent = clients.sent.iter().map(|(id, command)| (*id, command.as_slice())).collect();
    let mut oracle =
        Oracle { store, trace, sent, effective: BTreeSet::new(), tally: Tally::default() };
    let entries = ledger.entries();
    let end = ledger.end();
    for index in 0..=end {
        let Some(encoded) = entries.get(&index) else {
            trace.broken("the log has no hole", format_args!("nobody applied {index} of {end}"));
            break;
        };
        oracle.step(index, encoded, &told).await;
    }
    for index in told.writes.keys().chain(told.reads.keys()).filter(|index| **index > end) {
        trace.broken(
            "nothing acknowledged is lost",
            format_args!("{index} was told, the log ends at {end}"),
        );
    }
    let hash = oracle.store.state.read(|view| state_hash(view)).unwrap().unwrap();
    ledger.is_at(ORACLE, end, hash);
    oracle.tally
}

fn by_index<'a>(clients: &'a Clients, trace: &Trace) -> ByIndex<'a> {
    let mut told = ByIndex::default();
    for answer in &clients.told {
        match answer {
            Told::Wrote { request, told_before, applied } => {
                if applied.index <= *told_before {
                    let index = applied.index;
                    let how = format_args!("{request} is at {index}, sent after {told_before}");
                    trace.broken("an effect follows what was told before", how);
                }
                told.writes.entry(applied.index).or_default().push((*request, &applied.outcome));
            }
            Told::Read { index, seen } => told.reads.entry(*index).or_default().push(*seen),
        }
    }
    told
}

impl Oracle<'_> {
    async fn step(&mut self, index: u64, encoded: &Bytes, told: &ByIndex<'_>) {
        let entry = decode_entry(encoded).unwrap();
        let envelope: Option<Envelope> = match &entry.payload {
            EntryPayload::Normal(proposal) => Some(decode(&proposal.0).unwrap()),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        };
        let outcome = self.outcome(&entry);
        if let Some(envelope) = &envelope {
            self.check_origin(index, envelope);
            self.check_effect(index, envelope, &outcome);
        }
        let applied = futures::stream::iter([Ok((entry, None))]);
        self.store.state_machine.apply(applied).await.unwrap();
        for (request, told) in told.writes.get(&index).into_iter().flatten() {
            let proposed = envelope.as_ref().map(|envelope| envelope.request_id);
            if proposed != Some(*request) {
                let how = format_args!("{request} was told of {index}, which is {envelope:?}");
                self.trace.broken("nothing acknowledged is lost", how);
            } else if **told != outcome {
                let how = format_args!("{request} at {index}: told {told:?}, is {outcome:?}");
                self.trace.broken("answers are the log's", how);
            }
        }
        if let Some(reads) = told.reads.get(&index) {
            let is = self.store.state.read(|view| content(view)).unwrap().unwrap();
            if reads.iter().any(|seen| *seen != is) {
                let how = format_args!("a read at {index} saw something else");
                self.trace.broken("reads are the log's", how);
            }
        }
    }

    fn outcome(&self, entry: &LogEntry) -> Outcome {
        let EntryPayload::Normal(proposal) = &entry.payload else { return Outcome::Nothing };
        let LogId { leader_id, index } = entry.log_id;
        let at = EntryPosition { index, term: leader_id.term };
        let decide = |state: &mut Overlay<'_>| apply_entry(state, &proposal.0, at).unwrap();
        self.store.state.read(|view| decide(&mut Overlay::new(view))).unwrap()
    }

    /// Nothing is in the log that nobody has sent.
    fn check_origin(&self, index: u64, envelope: &Envelope) {
        let command = encode(&envelope.command);
        // The leader itself stamps the time, and destroys what was scheduled for it; every member
        // says what its state is when somebody asks.
        let by_itself = envelope.subject == Subject::internal()
            && matches!(
                envelope.command,
                Command::AdvanceTime | Command::DestroyVersion(_) | Command::ReportStateHash { .. }
            );
        if !by_itself && !self.sent.contains(&(envelope.request_id, command.as_slice())) {
            let how = format_args!("nobody sent {envelope:?}, which is at {index}");
            self.trace.broken("no effect is invented", how);
        }
    }

    /// A request takes effect once, however often it is in the log.
    fn check_effect(&mut self, index: u64, envelope: &Envelope, outcome: &Outcome) {
        if let (Command::DestroyVersion(due), Outcome::Done(_)) = (&envelope.command, outcome)
            && envelope.proposed_at < due.destroy_at
        {
            let how = format_args!("{due:?} at {index}, stamped {:?}", envelope.proposed_at);
            self.trace.broken("nothing is destroyed before its time", how);
        }
        let Outcome::Done(operation) = outcome else { return };
        if operation.index != index {
            return;
        }
        *self.tally.entry(envelope.command.name()).or_default() += 1;
        if !self.effective.insert(envelope.request_id) {
            let how = format_args!("{envelope:?} once more at {index}");
            self.trace.broken("a request takes effect once", how);
        }
    }
}
