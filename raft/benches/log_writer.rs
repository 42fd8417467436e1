//! How many entries become durable in a second: `cargo bench -p lockbox-raft --bench log_writer`.
//!
//! Entries of 1 KiB are appended one by one to a RocksDB log on a real disk, so many at a time
//! without waiting; an iteration ends when the last of them is durable. One in flight pays a whole
//! sync; more share syncs as far as the writer batches them. The temporary directory decides which
//! disk is measured: set `TMPDIR`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lockbox_raft::store::{NodeIdentity, RocksEngines, Store, StoreOptions, open_store};
use lockbox_raft::types::{LogEntry, LogId, Proposal, TypeConfig};
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use tempfile::TempDir;

const VALUE_BYTES: usize = 1024;
const IN_FLIGHT: [u64; 4] = [1, 16, 64, 256];

/// A log that grows as the benchmark goes on.
struct Log {
    store: Store,
    next: u64,
}

impl Log {
    fn open(directory: &TempDir) -> Self {
        let identity = NodeIdentity { node_id: 1, fresh_store_id: [9; 16] };
        let engines = Arc::new(RocksEngines::new());
        let options = StoreOptions::default();
        let store = open_store(directory.path(), engines, &identity, &options);
        Self { store: store.expect("the directory is new"), next: 0 }
    }

    /// Appends `count` entries without waiting in between, then waits for all of them.
    async fn append(&mut self, count: u64, value: &Bytes) {
        let mut acks = VecDeque::new();
        for _ in 0..count {
            let payload = EntryPayload::Normal(Proposal(value.clone()));
            let log_id = LogId::new_term_index(1, self.next);
            self.next += 1;
            let (sender, ack) = TypeConfig::oneshot();
            let appended =
                self.store.log.append([LogEntry { log_id, payload }], IOFlushed::signal(sender));
            appended.await.expect("the log takes it");
            acks.push_back(ack);
        }
        for ack in acks {
            ack.await.expect("it is answered").expect("it is durable");
        }
    }
}

fn benchmark(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
    let runtime = runtime.expect("a runtime starts");
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    let mut group = criterion.benchmark_group("log_writer");
    for count in IN_FLIGHT {
        let directory = TempDir::new().expect("there is room for a directory");
        let mut log = Log::open(&directory);
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("append", count), |bencher| {
            bencher.iter(|| runtime.block_on(log.append(count, &value)));
        });
        log.store.writer.stop();
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20);
    targets = benchmark
}
criterion_main!(benches);
