//! A process that appends and votes is killed at random moments; nothing that it was told was
//! durable may be missing afterwards.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use lockbox_raft::store::{Engines, RocksEngines};
use lockbox_raft::types::Vote;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use tempfile::TempDir;

use crate::harness::{Random, append, entries, entry, open, threaded};
use crate::oracle::{Told, check};

const DIRECTORY: &str = "LOCKBOX_KILL_TEST_DIRECTORY";
const KILLS: u64 = 50;
/// Appends in flight in the child.
const IN_FLIGHT: usize = 4;

/// The child's part: does nothing unless this test started it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let engines: Arc<dyn Engines> = Arc::new(RocksEngines::new());
    let mut store = open(directory.as_ref(), &engines, &threaded());
    let mut end = entries(&mut store).await.len() as u64;
    let vote = store.log.get_log_reader().await.read_vote().await.unwrap();
    let mut term = vote.map_or(0, |vote| vote.leader_id.term);
    let mut random = Random(end);
    let mut in_flight = std::collections::VecDeque::new();
    loop {
        if random.below(8) == 0 {
            term += 1;
            store.log.save_vote(&Vote::new(term, 1)).await.unwrap();
            println!("voted {term}");
        }
        let run = end..end + 1 + random.below(8);
        end = run.end;
        let ack = append(&mut store, run.map(|index| entry(1, index)).collect()).await.unwrap();
        in_flight.push_back((end, ack));
        if in_flight.len() == IN_FLIGHT {
            let (end, ack) = in_flight.pop_front().unwrap();
            ack.await.unwrap().unwrap();
            println!("acked {end}");
        }
    }
}

fn start(directory: &TempDir) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let directory = TempDir::new().unwrap();
    let mut told = Told::default();
    let mut random = Random(7);
    for kill in 0..KILLS {
        let (mut child, output) = start(&directory);
        let mut lines = output.lines();
        let mut acks_left = 1 + random.below(25);
        while acks_left > 0 {
            let line = lines.next().expect("the child ended by itself").unwrap();
            acks_left -= u64::from(told.note(&line));
        }
        // Somewhere inside the next write or sync.
        let turns = random.below(200_000);
        assert_eq!((0..turns).map(std::hint::black_box).count() as u64, turns);
        child.kill().unwrap();
        for line in lines {
            told.note(&line.unwrap());
        }
        child.wait().unwrap();
        let engines: Arc<dyn Engines> = Arc::new(RocksEngines::new());
        let mut store = open(directory.path(), &engines, &threaded());
        check(&mut store, &told).await.unwrap_or_else(|lost| panic!("kill {kill}: {lost}"));
    }
    assert!(told.acked > KILLS && told.voted > 0);
}
