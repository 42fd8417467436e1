//! The log and the state of one node on disk, behind openraft's storage traits.
//!
//! Promises: nothing is reported durable before it is; the state never gets ahead of the node's
//! own durable log; a state is replaced as a whole; the first storage error ends it. Knows nothing
//! of the network and of the meaning of a command beyond [`crate::apply`].

mod blocking;
pub mod codec;
mod damage;
mod directory_lock;
mod durable_files;
pub mod engine;
mod engine_stats;
mod epoch_file;
mod erased_record;
mod export;
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
mod own_hash;
mod owned_directory;
mod pace;
mod recover_quorum;
mod restore;
mod rocks;
mod rocks_erase;
mod rocks_log;
mod rocks_scrub;
mod rocks_state;
mod row_cache;
mod seeded;
mod snapshot;
mod snapshot_files;
mod snapshot_receive;
mod snapshot_renewal;
mod state_handle;
mod state_hash;
mod state_machine;
mod tail_cache;
mod write_queue;

pub use blocking::Blocking;
pub use codec::{
    ENTRY_FORMAT, decode_entry, decode_log_id, decode_membership, decode_snapshot_meta,
    decode_vote, encode_entry, encode_log_id, encode_membership, encode_snapshot_meta, encode_vote,
};
pub use damage::DamageMark;
pub use engine::{Engines, LogEngine, StateEngine};
pub use engine_stats::EngineStats;
pub use epoch_file::EpochFile;
pub use erased_record::ErasedRecord;
pub(crate) use erased_record::{Erased, Recorded};
pub use export::{ExportPoint, ExportSink};
pub use faults::Faults;
pub use file_search::{FileReport, FileSearch, Finding};
pub use identity::{FORMAT_VERSION, NodeIdentity};
pub use log::{LogReader, LogStore};
pub use log_stats::{LogWriterStats, SYNC_BUCKETS_US};
pub use log_writer::{LogWriter, WriterHost};
pub use manifest::{FORMAT_VERSION as MANIFEST_FORMAT, Manifest, ManifestFile};
pub use memory::{MemoryEngines, MemoryFault};
pub use open::{Store, StoreOptions, open_store};
pub use own_hash::OwnHash;
pub use pace::Pace;
pub use recover_quorum::{Survivor, SurvivorMember, begin_epoch, survey};
pub use restore::{Founded, Founder, RestoreError, Restoring};
pub use rocks::RocksEngines;
pub use snapshot::SnapshotHandle;
pub use snapshot_files::SnapshotFiles;
pub use snapshot_receive::{SnapshotInbox, SnapshotReceiver};
pub use snapshot_renewal::SnapshotRenewal;
pub use state_handle::{Applied, AppliedIndex, StateHandle, View};
pub use state_hash::{FamilyHash, StateHashes, TableHash, state_hash, state_hashes};
pub use state_machine::{SnapshotBuilder, StateMachine};
