//! A disk that takes no audit record, or does not say, and a file that another program took away:
//! calls are refused in their time, before they do anything once that is known, and everything
//! else of the node goes on.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use lockbox_platform::audit::verify::verify;
use lockbox_platform::audit::{AuditFile, AuditFiles};
use lockbox_proto::yandex::cloud::access::{
    AccessBinding, AccessBindingAction, AccessBindingDelta, ListAccessBindingsRequest, Subject,
    UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::iam::v1 as wire_iam;
use lockbox_proto::yandex::cloud::iam::v1::create_iam_token_request::Identity;
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
    let timeout = Duration::from_secs(3);
    let reads = futures::future::join_all((0..20).map(|_| read(&node, &secret, timeout))).await;
    for refused in reads {
        let refused = refused.unwrap_err();
        // The node's own word, and not the client's clock.
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert_eq!(refused.message(), "the audit record was not written in time");
    }
    // Consensus needs no audit: reads pass the barrier, and nobody was elected meanwhile.
    let soon = Instant::now() + WAIT;
    node.app.replica.read(soon, |_view, _now| ()).await.unwrap();
    assert_eq!(node.app.replica.status().term, term);
    assert!(node.metrics.text().contains("lockbox_audit_healthy 0"));

    switch.set(Disk::IsFull);
    let refused = read(&node, &secret, WAIT).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "the audit record could not be written");

    // The record of one more refusal finds out that the disk is well again.
    switch.set(Disk::Takes);
    let refused = read(&node, &secret, WAIT).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.metadata().get("lockbox-outcome").unwrap(), "not-proposed");
    assert!(node.metrics.text().contains("lockbox_audit_healthy 1"));
    read(&node, &secret, WAIT).await.unwrap();
    node.stop().await;
}

/// Asks for changes and for what is billed: each is refused, and the caller knows that it did
/// nothing.
async fn refused_before_it_is_done(node: &Node, secret: &str, own: &str) {
    let asked = node.kms.used().len();
    let delete = wire::DeleteSecretRequest { secret_id: secret.to_owned() };
    let binding = AccessBinding {
        role_id: "lockbox.viewer".to_owned(),
        subject: Some(Subject { id: "allUsers".to_owned(), r#type: "system".to_owned() }),
    };
    let delta = AccessBindingDelta {
        action: AccessBindingAction::Add.into(),
        access_binding: Some(binding),
    };
    let bind = UpdateAccessBindingsRequest {
        resource_id: secret.to_owned(),
        access_binding_deltas: vec![delta],
    };
    let mut secrets = node.secrets();
    let login = wire_iam::CreateIamTokenRequest { identity: Some(Identity::Jwt(node.jwt())) };
    for refused in [
        secrets.delete(node.request(delete)).await.unwrap_err(),
        secrets.update_access_bindings(node.request(bind)).await.unwrap_err(),
        read(node, own, WAIT).await.unwrap_err(),
        node.tokens().create(login).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        let outcome = refused.metadata().get("lockbox-outcome");
        assert_eq!(outcome.unwrap(), "not-proposed", "{refused:?}");
    }
    assert_eq!(node.kms.used().len(), asked, "the KMS was asked");
    assert!(node.metrics.text().contains("lockbox_audit_healthy 0"));
}

/// The secret is as it was: it opens, and nobody was given a role.
async fn nothing_was_done(node: &Node, secret: &str) {
    read(node, secret, WAIT).await.unwrap();
    let list = ListAccessBindingsRequest { resource_id: secret.to_owned(), ..Default::default() };
    let bound = node.secrets().list_access_bindings(node.request(list)).await.unwrap();
    let bound = bound.into_inner().access_bindings;
    let is_new = |bound: &AccessBinding| bound.role_id == "lockbox.viewer";
    assert!(!bound.iter().any(is_new), "{bound:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_that_a_full_disk_would_not_record() {
    let switch = Switch::new();
    let node = Node::with_audit(Arc::clone(&switch) as Arc<dyn AuditFile>).await;
    let secret = node.create(vec![text("k", "v")], "").await.id;
    let own = node.create(vec![text("k", "v")], "abjownkey").await.id;
    switch.set(Disk::IsFull);
    // The first call finds out; whether it took effect its caller cannot know.
    let lost = read(&node, &own, WAIT).await.unwrap_err();
    assert_eq!(lost.code(), Code::Unavailable);
    assert!(lost.metadata().get("lockbox-outcome").is_none(), "{lost:?}");
    refused_before_it_is_done(&node, &secret, &own).await;
    switch.set(Disk::Takes);
    read(&node, &secret, WAIT).await.unwrap_err();
    nothing_was_done(&node, &secret).await;
    node.stop().await;
}

/// As logrotate does: what the node would write on is where nobody looks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_while_the_audit_file_is_not_in_its_place() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await.id;
    let own = node.create(vec![text("k", "v")], "abjownkey").await.id;
    let path = node.app.config.audit_path();
    let moved = path.with_extension("moved");
    std::fs::rename(&path, &moved).unwrap();
    let deadline = Instant::now() + WAIT;
    while read(&node, &secret, WAIT).await.is_ok() {
        assert!(Instant::now() < deadline, "nobody notices");
    }
    refused_before_it_is_done(&node, &secret, &own).await;
    std::fs::rename(&moved, &path).unwrap();
    while read(&node, &secret, WAIT).await.is_err() {
        assert!(Instant::now() < deadline + WAIT, "it does not go on");
    }
    nothing_was_done(&node, &secret).await;
    let findings = verify(&AuditFiles::of(&path), &[]).unwrap();
    assert_eq!(findings.problems_total, 0, "{:#?}", findings.problems);
    node.stop().await;
}
