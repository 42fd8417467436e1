//! openraft's own conformance suite, over both families of engines.

use std::sync::Arc;

use lockbox_raft::store::{
    Engines, LogStore, LogWriter, MemoryEngines, RocksEngines, StateMachine, Store,
};
use lockbox_raft::types::TypeConfig;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::harness::{open, threaded};

struct Builder<F>(F);

/// Dropped after the store: the writer first, then the directory.
struct Guard {
    _writer: LogWriter,
    _directory: TempDir,
}

impl<F> StoreBuilder<TypeConfig, LogStore, StateMachine, Guard> for Builder<F>
where
    F: Fn() -> Arc<dyn Engines> + Send + Sync,
{
    async fn build(
        &self,
    ) -> Result<(Guard, LogStore, StateMachine), openraft::StorageError<TypeConfig>> {
        let directory = TempDir::new().unwrap();
        let engines = (self.0)();
        let Store { log, state_machine, writer, .. } =
            open(directory.path(), &engines, &threaded());
        Ok((Guard { _writer: writer, _directory: directory }, log, state_machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rocksdb_passes_the_whole_suite() {
    Suite::test_all(Builder(|| Arc::new(RocksEngines::new()) as Arc<dyn Engines>)).await.unwrap();
}

#[tokio::test]
async fn memory_passes_the_whole_suite() {
    Suite::test_all(Builder(|| Arc::new(MemoryEngines::new()) as Arc<dyn Engines>)).await.unwrap();
}
