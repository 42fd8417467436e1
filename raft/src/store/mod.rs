//! The log and the state of one node on disk, behind openraft's storage traits.
//!
//! Promises: nothing is reported durable before it is; the state never gets ahead of the node's
//! own durable log; a state is replaced as a whole; the first storage error ends it. Knows nothing
//! of the network and of the meaning of a command beyond [`crate::apply`].

mod blocking;
pub mod codec;
mod directory_lock;
mod durable_files;
pub mod engine;
mod erased_record;
mod faults;
mod file_search;
mod identity;
mod install;
mod install_step;
mod layout;
mod locking;
mod log;
mod log_stats;
mod log_tail;
mod log_writer;
mod manifest;
mod memory;
mod memory_log;
mod memory_state;
mod open;
mod owned_directory;
mod rocks;
mod rocks_erase;
mod rocks_log;
mod rocks_state;
mod row_cache;
mod seeded;
mod snapshot;
mod snapshot_receive;
mod snapshot_renewal;
mod state_handle;
mod state_hash;
mod state_machine;
mod tail_cache;
mod write_queue;

pub use blocking::Blocking;
pub use codec::{
    decode_entry, decode_log_id, decode_membership, decode_snapshot_meta, decode_vote,
    encode_entry, encode_log_id, encode_membership, encode_snapshot_meta, encode_vote,
};
pub use engine::{Engines, LogEngine, StateEngine};
pub use erased_record::ErasedRecord;
pub(crate) use erased_record::{Erased, Recorded};
pub use faults::Faults;
pub use file_search::{FileReport, FileSearch, Finding};
pub use identity::{FORMAT_VERSION, NodeIdentity};
pub use log::{LogReader, LogStore};
pub use log_stats::{LogWriterStats, SYNC_BUCKETS_US};
pub use log_writer::{LogWriter, WriterHost};
pub use manifest::{Manifest, ManifestFile};
pub use memory::{MemoryEngines, MemoryFault};
pub use open::{Store, StoreOptions, open_store};
pub use rocks::RocksEngines;
pub use snapshot::SnapshotHandle;
pub use snapshot_receive::{SnapshotInbox, SnapshotReceiver};
pub use snapshot_renewal::SnapshotRenewal;
pub use state_handle::{Applied, AppliedIndex, StateHandle, View};
pub use state_hash::{FamilyHash, StateHashes, TableHash, state_hash, state_hashes};
pub use state_machine::{SnapshotBuilder, StateMachine};
