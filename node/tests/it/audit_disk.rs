//! A disk that takes no audit record, or does not say: calls are refused in their time, and
//! everything else of the node goes on.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use lockbox_platform::audit::AuditFile;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::client::text;
use crate::fixture::{Node, WAIT};

/// What the disk does with a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Takes,
    IsFull,
    Hangs,
}

/// Forgets what it takes, and counts what it has refused.
pub(crate) struct Switch {
    disk: Mutex<Disk>,
    changed: Condvar,
    refused: AtomicU64,
}

impl Switch {
    pub(crate) fn new() -> Arc<Self> {
        let (disk, changed) = (Mutex::new(Disk::Takes), Condvar::new());
        Arc::new(Self { disk, changed, refused: AtomicU64::new(0) })
    }

    /// Writes that it has refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, disk: Disk) {
        *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = disk;
        self.changed.notify_all();
    }
}

impl AuditFile for Switch {
    fn append(&self, _lines: &[u8]) -> io::Result<()> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = self.changed.wait_while(disk, |disk| *disk == Disk::Hangs);
        match *disk.unwrap_or_else(PoisonError::into_inner) {
            Disk::IsFull => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            Disk::Takes | Disk::Hangs => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
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

/// Reads a secret within this time, as the client counts it.
async fn read(node: &Node, secret: &str, timeout: Duration) -> Result<(), Status> {
    let message = wire::GetPayloadRequest { secret_id: secret.to_owned(), ..Default::default() };
    let mut request = node.request(message);
    request.set_timeout(timeout);
    node.payloads().get(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_refused_in_their_time_and_the_node_lives_on() {
    let switch = Switch::new();
    let node = Node::with_audit(Arc::clone(&switch) as Arc<dyn AuditFile>).await;
    let secret = node.create(vec![text("k", "v")], "").await.id;
    read(&node, &secret, WAIT).await.unwrap();

    switch.set(Disk::Hangs);
    let term = node.app.replica.status().term;
    let begun = Instant::now();
    let timeout = Duration::from_secs(3);
    let reads = futures::future::join_all((0..20).map(|_| read(&node, &secret, timeout))).await;
    for refused in reads {
        let refused = refused.unwrap_err();
        // The node's own word, and not the client's clock.
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert_eq!(refused.message(), "the audit record was not written in time");
    }
    assert!(begun.elapsed() < timeout + Duration::from_secs(2), "{:?}", begun.elapsed());
    // Consensus needs no audit: reads pass the barrier, and nobody was elected meanwhile.
    let soon = Instant::now() + WAIT;
    node.app.replica.read(soon, |_view, _now| ()).await.unwrap();
    assert_eq!(node.app.replica.status().term, term);
    assert!(node.metrics.text().contains("lockbox_audit_healthy 0"));

    switch.set(Disk::IsFull);
    let refused = read(&node, &secret, WAIT).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "the audit record could not be written");

    switch.set(Disk::Takes);
    read(&node, &secret, WAIT).await.unwrap();
    assert!(node.metrics.text().contains("lockbox_audit_healthy 1"));
    node.stop().await;
}
