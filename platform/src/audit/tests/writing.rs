//! The writer over a disk that is full, broken, or does not answer.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use tonic::Code;

use super::*;
use crate::status::Outcome;

/// A disk in memory that can be made to fail, or to keep its callers waiting.
#[derive(Default)]
struct Disk {
    written: Mutex<Vec<u8>>,
    full: AtomicBool,
    unsyncable: AtomicBool,
    append_held: Hold,
    sync_held: Hold,
}

/// Keeps threads waiting.
#[derive(Default)]
struct Hold {
    held: Mutex<bool>,
    changed: Condvar,
}

impl Hold {
    fn set(&self, held: bool) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(held, |held| *held));
    }
}

impl AuditFile for Disk {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        self.append_held.pass();
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(lines);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_held.pass();
        if self.unsyncable.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad sector"));
        }
        Ok(())
    }

    fn length(&self) -> u64 {
        0
    }

    fn finish(&self, _last_sequence: u64) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn finished(&self) -> io::Result<Vec<u64>> {
        Ok(Vec::new())
    }

    fn remove(&self, _last_sequence: u64) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl Disk {
    fn lines(&self) -> Vec<String> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(written).expect("UTF-8").lines().map(str::to_owned).collect()
    }
}

fn on(disk: &Arc<Disk>, sync: AuditSync, tasks: &Tasks) -> AuditorHandle {
    open_on(Arc::clone(disk) as Arc<dyn AuditFile>, sync, clock(), tasks, metrics())
}

/// Writes until the answer is this.
async fn until(auditor: &AuditorHandle, expected: Result<(), AuditError>) {
    let written = async {
        while write(auditor, "again").await != expected {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, written).await.is_ok(), "never {expected:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_calls_until_there_is_room() {
    let (tasks, disk) = (tasks(), Arc::new(Disk::default()));
    let auditor = on(&disk, AuditSync::Batched, &tasks);
    assert_eq!(write(&auditor, "a").await, Ok(()));
    disk.full.store(true, Ordering::SeqCst);
    assert_eq!(write(&auditor, "b").await, Err(AuditError::Failed));
    assert_eq!(write(&auditor, "c").await, Err(AuditError::Failed));
    disk.full.store(false, Ordering::SeqCst);
    assert_eq!(write(&auditor, "d").await, Ok(()));
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    let lines = disk.lines();
    let records: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ids: Vec<Value> =
        records.iter().map(|line| json!([line["sequence"], line["event_id"]])).collect();
    assert_eq!(ids, [json!([0, "a"]), json!([1, "d"])]);
    // What was refused is not in the chain either.
    let first = LineHash::of(lines[0].as_bytes()).to_string();
    assert_eq!(records[1]["previous_hash"], first.as_str());
}

/// A call is refused when its time is over, the runtime goes on, and what the disk takes later is
/// in the chain.
#[tokio::test]
async fn a_disk_that_hangs_refuses_calls_at_their_deadlines() {
    let (tasks, disk) = (tasks(), Arc::new(Disk::default()));
    let metrics = metrics();
    let file = Arc::clone(&disk) as Arc<dyn AuditFile>;
    let auditor = open_on(file, AuditSync::Batched, clock(), &tasks, metrics.clone());
    assert_eq!(write(&auditor, "a").await, Ok(()));
    disk.append_held.set(true);
    let begun = Instant::now();
    let calls = (0..100).map(|call| {
        let auditor = auditor.clone();
        async move {
            let deadline = begun + Duration::from_millis(700);
            auditor.record(&encrypt(&format!("held-{call}")), deadline).await
        }
    });
    // Everything else of the process runs meanwhile, on the very thread that the calls wait on.
    let ticks = AtomicU64::new(0);
    let others = async {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ticks.fetch_add(1, Ordering::Relaxed);
        }
    };
    let answers = tokio::select! {
        answers = futures::future::join_all(calls) => answers,
        () = others => Vec::new(),
    };
    assert_eq!(answers, vec![Err(AuditError::Late); 100]);
    assert!(begun.elapsed() >= Duration::from_millis(700));
    assert!(ticks.load(Ordering::Relaxed) > 0, "the runtime stood still");
    assert_eq!(metrics.healthy.get(), 0);
    // One that comes when its time is over is not let in either.
    let late = auditor.record(&encrypt("late"), Instant::now()).await;
    assert_eq!(late, Err(AuditError::Late));

    disk.append_held.set(false);
    until(&auditor, Ok(())).await;
    assert_eq!(metrics.healthy.get(), 1);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    let mut before: Option<String> = None;
    for (sequence, line) in disk.lines().into_iter().enumerate() {
        let record: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(record["sequence"], sequence);
        if let Some(before) = before {
            assert_eq!(record["previous_hash"], LineHash::of(before.as_bytes()).to_string());
        }
        before = Some(line);
    }
}

#[tokio::test]
async fn a_full_mailbox_refuses_at_once() {
    let (tasks, disk) = (tasks(), Arc::new(Disk::default()));
    let auditor = on(&disk, AuditSync::Batched, &tasks);
    disk.append_held.set(true);
    let record = encrypt("a");
    let calls = (0..10_000).map(|_| auditor.record(&record, Instant::now()));
    let answers = futures::future::join_all(calls).await;
    let busy = answers.iter().filter(|answer| **answer == Err(AuditError::Busy)).count();
    let late = answers.iter().filter(|answer| **answer == Err(AuditError::Late)).count();
    // Beside those in the mailbox, one batch is in the writer's hands.
    assert!(busy >= 10_000 - 4096 - 512 && busy + late == 10_000, "{busy} busy, {late} late");
    assert!(auditor.demand_writable().is_err(), "the next one would not be recorded either");
    disk.append_held.set(false);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
}

#[tokio::test]
async fn a_failing_sync_refuses_calls_until_it_works() {
    let (tasks, disk) = (tasks(), Arc::new(Disk::default()));
    disk.unsyncable.store(true, Ordering::SeqCst);
    let each = on(&disk, AuditSync::Each, &tasks);
    assert_eq!(write(&each, "a").await, Err(AuditError::Failed));
    assert_eq!(*each.synced_head().borrow(), None);

    let batched = on(&disk, AuditSync::Batched, &tasks);
    // The first record reached the kernel before the sync failed; soon no other is taken.
    until(&batched, Err(AuditError::Failed)).await;
    assert_eq!(*batched.synced_head().borrow(), None);
    disk.unsyncable.store(false, Ordering::SeqCst);
    until(&batched, Ok(())).await;
    drop((each, batched));
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
}

/// Whoever asks before it does anything is told so as soon as it is known, and until a record is
/// written again.
#[tokio::test]
async fn what_cannot_be_recorded_is_refused_before_it_is_done() {
    for sync in [AuditSync::Batched, AuditSync::Each] {
        let (tasks, disk) = (tasks(), Arc::new(Disk::default()));
        let auditor = on(&disk, sync, &tasks);
        assert_eq!(auditor.demand_writable(), Ok(()));
        disk.full.store(true, Ordering::SeqCst);
        assert_eq!(write(&auditor, "a").await, Err(AuditError::Failed));
        let refused = auditor.demand_writable().expect_err("a full disk");
        assert_eq!((refused.code(), refused.outcome()), (Code::Unavailable, Outcome::NotProposed));
        disk.full.store(false, Ordering::SeqCst);
        assert!(auditor.demand_writable().is_err(), "nobody has tried");
        assert_eq!(write(&auditor, "b").await, Ok(()));
        assert_eq!(auditor.demand_writable(), Ok(()));

        disk.unsyncable.store(true, Ordering::SeqCst);
        until(&auditor, Err(AuditError::Failed)).await;
        assert!(auditor.demand_writable().is_err(), "a broken disk");
        disk.unsyncable.store(false, Ordering::SeqCst);
        until(&auditor, Ok(())).await;
        assert_eq!(auditor.demand_writable(), Ok(()));
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    }
}

/// Neither a write nor a sync that does not end is waited for by calls that come later.
#[tokio::test]
async fn a_disk_that_hangs_for_long_is_known_until_it_goes_on() {
    for is_append in [true, false] {
        let (tasks, disk) = (tasks(), Arc::new(Disk::default()));
        let hours = Arc::new(Hours::default());
        let (file, clock) = (Arc::clone(&disk) as Arc<dyn AuditFile>, Arc::clone(&hours));
        let auditor = open_on(file, AuditSync::Batched, clock, &tasks, metrics());
        let held = if is_append { &disk.append_held } else { &disk.sync_held };
        held.set(true);
        let first = auditor.record(&encrypt("a"), Instant::now()).await;
        assert_eq!(first, if is_append { Err(AuditError::Late) } else { Ok(()) });
        assert_eq!(auditor.demand_writable(), Ok(()), "that is not long yet");
        hours.0.fetch_add(1, Ordering::SeqCst);
        assert!(auditor.demand_writable().is_err());
        let begun = Instant::now();
        let refused = write(&auditor, "b").await;
        let expected = if is_append { AuditError::Late } else { AuditError::Failed };
        assert_eq!(refused, Err(expected));
        assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
        held.set(false);
        until(&auditor, Ok(())).await;
        assert_eq!(auditor.demand_writable(), Ok(()));
        drop(auditor);
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    }
}

/// A clock whose hours pass when they are told to.
#[derive(Default)]
struct Hours(AtomicU64);

impl Clock for Hours {
    fn wall_ms(&self) -> u64 {
        1_800_000_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(3600 * self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_sync_that_does_not_end_refuses_calls_until_it_does() {
    let (tasks, disk) = (tasks(), Arc::new(Disk::default()));
    let hours = Arc::new(Hours::default());
    let (file, clock) = (Arc::clone(&disk) as Arc<dyn AuditFile>, Arc::clone(&hours));
    let auditor = open_on(file, AuditSync::Batched, clock, &tasks, metrics());
    disk.sync_held.set(true);
    assert_eq!(write(&auditor, "a").await, Ok(()));
    let refused = async {
        // Once the sync has begun, an hour is too long for it.
        while write(&auditor, "b").await != Err(AuditError::Failed) {
            hours.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, refused).await.is_ok());
    disk.sync_held.set(false);
    until(&auditor, Ok(())).await;
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
}

/// A head that is told of is on disk.
#[tokio::test]
async fn the_head_follows_the_syncs() {
    for sync in [AuditSync::Batched, AuditSync::Each] {
        let (tasks, disk) = (tasks(), Arc::new(Disk::default()));
        let auditor = on(&disk, sync, &tasks);
        let mut head = auditor.synced_head();
        if sync == AuditSync::Batched {
            disk.sync_held.set(true);
            assert_eq!(write(&auditor, "a").await, Ok(()));
            assert_eq!(*head.borrow(), None);
            disk.sync_held.set(false);
        } else {
            assert_eq!(write(&auditor, "a").await, Ok(()));
        }
        let told = tokio::time::timeout(PATIENCE, head.wait_for(Option::is_some)).await;
        let told = *told.expect("in time").expect("a writer");
        let line = disk.lines().remove(0);
        let expected = ChainHead { sequence: 0, hash: LineHash::of(line.as_bytes()) };
        assert_eq!(told, Some(expected));
        drop((head, auditor));
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    }
}
