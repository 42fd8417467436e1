//! Readers beside a writer that appends, truncates and purges: never a hole, never a mix.

use std::sync::Arc;

use lockbox_raft::store::{Engines, RocksEngines};
use lockbox_raft::types::LogEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::harness::{Random, append, entry, log_id, open, threaded};

const OPERATIONS: u64 = 600;

fn check(run: &[LogEntry]) {
    for pair in run.windows(2) {
        let (first, second) = (&pair[0].log_id, &pair[1].log_id);
        assert_eq!(first.index + 1, second.index, "a hole");
        // Every truncation begins a new term.
        assert!(first.leader_id.term <= second.leader_id.term, "an old entry behind a new one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_a_whole_log_at_every_moment() {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(RocksEngines::new());
    let mut store = open(directory.path(), &engines, &threaded());
    let mut reader = store.log.get_log_reader().await;
    let (stop, stopped) = watch::channel(false);
    let reading = tokio::spawn(async move {
        let mut reads = 0_u64;
        while !*stopped.borrow() {
            let run = reader.try_get_log_entries(..).await.unwrap();
            check(&run);
            reads += u64::from(!run.is_empty());
            tokio::task::yield_now().await;
        }
        reads
    });
    let mut random = Random(11);
    let (mut term, mut start, mut end) = (1, 0, 0);
    let mut terms = Vec::new();
    for _ in 0..OPERATIONS {
        match random.below(8) {
            0 if end > start + 1 => {
                end = start + 1 + random.below(end - start);
                terms.truncate(usize::try_from(end).unwrap());
                let last = log_id(terms[terms.len() - 1], end - 1);
                store.log.truncate_after(Some(last)).await.unwrap();
                term += 1;
            }
            1 if end > start + 40 => {
                let upto = start + random.below(30);
                let id = log_id(terms[usize::try_from(upto).unwrap()], upto);
                store.log.purge(id).await.unwrap();
                start = upto + 1;
            }
            _ => {
                let run: Vec<_> = (end..end + 6).map(|index| entry(term, index)).collect();
                terms.extend(std::iter::repeat_n(term, 6));
                end += 6;
                drop(append(&mut store, run).await.unwrap());
            }
        }
    }
    stop.send_replace(true);
    assert!(reading.await.unwrap() > 10, "the reader hardly read");
    assert!(store.faults.current().is_none());
}
