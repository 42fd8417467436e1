//! A store in a temporary directory, entries with known content, and a repeatable random source.

use std::path::Path;
use std::sync::Arc;

use lockbox_core::{LogTime, OperationId, RequestId, SecretId, Subject};
use lockbox_raft::StorageError;
use lockbox_raft::domain::{Command, Envelope, encode};
use lockbox_raft::store::{
    Blocking, Engines, NodeIdentity, Store, StoreOptions, WriterHost, open_store, state_hash,
};
use lockbox_raft::types::{LogEntry, LogId, Proposal, TypeConfig};
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::OneshotReceiverOf;

pub(crate) const NODE: NodeIdentity = NodeIdentity { node_id: 1, fresh_store_id: [9; 16] };

/// Everything in place and on this thread.
pub(crate) const INLINE: StoreOptions = StoreOptions {
    tail_cache_bytes_max: 4 << 10,
    apply_entries_max: 7,
    apply_bytes_max: 64 << 10,
    writer: WriterHost::Caller,
    blocking: Blocking::Inline,
};

/// As in production, with a cache so small that reads reach the engine.
pub(crate) fn threaded() -> StoreOptions {
    StoreOptions { tail_cache_bytes_max: 2 << 10, ..StoreOptions::default() }
}

pub(crate) fn open(directory: &Path, engines: &Arc<dyn Engines>, options: &StoreOptions) -> Store {
    open_store(directory, Arc::clone(engines), &NODE, options).unwrap()
}

/// A repeatable random source (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// An entry whose whole content follows from its id.
pub(crate) fn entry(term: u64, index: u64) -> LogEntry {
    let command = Command::DeleteSecret { secret_id: SecretId::parse("absent").unwrap() };
    let mut request = [0; 16];
    request[..8].copy_from_slice(&index.to_be_bytes());
    request[8..].copy_from_slice(&term.to_be_bytes());
    let envelope = Envelope {
        request_id: RequestId::from_bytes(request),
        subject: Subject::internal(),
        token: None,
        operation_id: OperationId::parse(&format!("operation-{index}")).unwrap(),
        idempotency: None,
        if_version: None,
        // Every entry moves the log time, so every entry changes the state.
        proposed_at: LogTime::from_ms(1_000 + index * 10 + term),
        command,
    };
    let payload = EntryPayload::Normal(Proposal(encode(&envelope).into()));
    LogEntry { log_id: log_id(term, index), payload }
}

pub(crate) type Ack = OneshotReceiverOf<TypeConfig, Result<(), std::io::Error>>;

/// Appends entries and returns the promise that they are durable.
pub(crate) async fn append(store: &mut Store, entries: Vec<LogEntry>) -> std::io::Result<Ack> {
    let (sender, ack) = TypeConfig::oneshot();
    store.log.append(entries, IOFlushed::signal(sender)).await?;
    Ok(ack)
}

/// Appends entries and waits until they are durable.
pub(crate) async fn append_durably(store: &mut Store, entries: Vec<LogEntry>) {
    append(store, entries).await.unwrap().await.unwrap().unwrap();
}

/// Applies entries as openraft's worker would.
pub(crate) async fn apply(store: &mut Store, entries: Vec<LogEntry>) -> std::io::Result<()> {
    let stream = futures::stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
    store.state_machine.apply(stream).await
}

/// Every entry of the log.
pub(crate) async fn entries(store: &mut Store) -> Vec<LogEntry> {
    store.log.get_log_reader().await.try_get_log_entries(..).await.unwrap()
}

/// The hash of the present state.
pub(crate) fn hash(store: &Store) -> Result<[u8; 32], StorageError> {
    store.state.read(|view| state_hash(view))?
}
