//! A rotation of the keyring on one node, from the operator's call to the end of the old key.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_proto::lockbox::cluster::v1 as admin;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_raft::domain::keyring::{KeyStage, KeyringKeyRecord};
use lockbox_raft::state::tables;
use tokio::time::Instant;
use tonic::Code;

use crate::client::{pairs, text};
use crate::fixture::{Node, WAIT};
use crate::peers::Peers;

/// The cluster's first key for data keys.
const FIRST: u32 = 1;
/// Those for request authenticators and for tokens.
const STAYING: [u32; 2] = [2, 3];
/// Between two looks, so that who looks leaves the processors to whom it waits for.
const PAUSE: Duration = Duration::from_millis(10);

impl Node {
    fn keyring_key(&self, id: u32) -> Option<KeyringKeyRecord> {
        let read = self.app.replica.read_stale(|view, _| tables::keyring_key(view, id));
        read.unwrap().value.unwrap()
    }

    fn stage(&self, id: u32) -> Option<KeyStage> {
        self.keyring_key(id).map(|key| key.stage)
    }

    /// Waits until a keyring key is at this stage.
    async fn reaches(&self, id: u32, stage: KeyStage) {
        let deadline = Instant::now() + WAIT;
        while self.stage(id) != Some(stage) {
            assert!(Instant::now() < deadline, "key {id} is {:?}", self.stage(id));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How many data keys each keyring key has wrapped.
    fn wrapped(&self) -> BTreeMap<u32, usize> {
        let read = self.app.replica.read_stale(|view, _| tables::wrapped_page(view, None, 1_000));
        let mut count = BTreeMap::new();
        for payload in read.unwrap().value.unwrap().payloads {
            *count.entry(payload.keyring_key_id).or_default() += 1;
        }
        count
    }

    /// What a client sees of a secret's metadata.
    async fn metadata_of(&self, secret: &str) -> (wire::Secret, wire::ListVersionsResponse) {
        let get = wire::GetSecretRequest { secret_id: secret.to_owned() };
        let list = wire::ListVersionsRequest { secret_id: secret.to_owned(), ..Default::default() };
        let found = self.secrets().get(self.request(get)).await.unwrap().into_inner();
        let listed = self.secrets().list_versions(self.request(list)).await.unwrap().into_inner();
        (found, listed)
    }
}

async fn status(peers: &Peers) -> admin::KeyringStatusResponse {
    let answer = peers.admin("operator").keyring_status(admin::KeyringStatusRequest {}).await;
    answer.unwrap().into_inner()
}

async fn rotate(peers: &Peers, active: u32) -> admin::RotateKeyringResponse {
    let request = admin::RotateKeyringRequest { active_key_id: active };
    peers.admin("operator").rotate_keyring(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_moves_to_the_new_key_and_nothing_else_changes() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let mut versions = Vec::new();
    for number in 0..3 {
        let secret = node.create(vec![text("k", &format!("{number}"))], "").await;
        versions.push((secret.id.clone(), secret.current_version.unwrap().id, number));
        let newer = node.add(&secret.id, vec![text("k", &format!("1{number}"))]).await;
        versions.push((secret.id, newer.id, 10 + number));
    }
    let own = node.create(vec![text("k", "own")], "abjownkey").await;
    let kept = wire::CreateSecretRequest {
        folder_id: node.made.folder_id.to_string(),
        version_payload_entries: vec![text("k", "kept")],
        ..Default::default()
    };
    let first = node.secrets().create(node.keyed("kept", kept.clone())).await.unwrap();
    let before = node.metadata_of(&versions[0].0).await;
    assert_eq!(node.wrapped(), BTreeMap::from([(FIRST, 7)]));
    let kms_calls = node.kms.used().len();

    let begun = rotate(&peers, FIRST).await;
    assert_eq!((begun.key_id, begun.begun), (4, true));
    node.reaches(FIRST, KeyStage::Retired).await;
    assert_eq!(node.wrapped(), BTreeMap::from([(4, 7)]));
    let retired = node.keyring_key(FIRST).unwrap();
    assert!(retired.wrapped.is_empty(), "the key is gone with its record's bytes");
    let replica = node.app.replica.status();
    // What the key had wrapped is in no entry of the log and in no snapshot.
    assert!(replica.purged > 0 && replica.snapshot >= replica.purged);
    // The keys that stay were wrapped anew by the system key, and do what they did.
    for id in STAYING {
        let key = node.keyring_key(id).unwrap();
        assert!(key.wrapped_at > 0 && key.stage == KeyStage::Activated, "{key:?}");
    }
    for (secret, version, value) in &versions {
        let found = node.read(secret, version).await.unwrap();
        assert_eq!(found, pairs(&[("k", value.to_string().as_bytes())]));
    }
    assert_eq!(node.kms.used().len(), kms_calls, "nobody's own key was used");
    assert_eq!(node.read(&own.id, "").await.unwrap(), pairs(&[("k", b"own")]));
    assert_eq!(node.metadata_of(&versions[0].0).await, before);
    let repeat = node.secrets().create(node.keyed("kept", kept)).await.unwrap();
    assert_eq!(repeat.into_inner(), first.into_inner(), "authenticators hold through a rotation");

    // The operator's call came twice: it does not replace the new key as well.
    let repeated = rotate(&peers, FIRST).await;
    assert_eq!((repeated.key_id, repeated.begun), (4, false));
    let keyring = status(&peers).await;
    assert!(keyring.leads && keyring.active_key_id == 4);
    let told = keyring.keys.iter().map(|key| (key.key_id, key.stage.as_str()));
    let expected = [(1, "retired"), (2, "activated"), (3, "activated"), (4, "activated")];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let progress = keyring.progress.unwrap();
    assert_eq!((progress.rewrapped, progress.unreadable, progress.versions), (7, 0, 8));
    let audit = node.audit();
    for event in ["RotateKeyring", "GetKeyringStatus"] {
        let line = audit.lines().find(|line| line.contains(event)).unwrap();
        assert!(line.contains("operator.lockbox.internal"), "{line}");
    }

    // A fresh start needs the keys that are there, and no other.
    let node = node.restart_after(Duration::ZERO).await;
    for (secret, version, value) in &versions {
        let found = node.read(secret, version).await.unwrap();
        assert_eq!(found, pairs(&[("k", value.to_string().as_bytes())]));
    }
    node.stop().await;
}

/// `design §6`: who has the keyring goes on; nothing is wrapped by what a member has not unwrapped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_waits_for_a_kms_that_is_away_and_nobody_else_does() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let secret = node.create(vec![text("k", "old")], "").await.id;
    node.kms.set_down(true);
    let request = admin::RotateKeyringRequest { active_key_id: FIRST };
    let refused = peers.admin("operator").rotate_keyring(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.metadata().get("lockbox-outcome").unwrap(), "not-proposed");
    assert_eq!(node.stage(4), None);

    // The KMS wraps the new key, and then opens nothing.
    node.kms.recover();
    node.kms.refuse("decrypt", Code::Unavailable);
    let begun = rotate(&peers, FIRST).await;
    assert_eq!((begun.key_id, begun.begun), (4, true));
    for value in ["1", "2", "3"] {
        node.add(&secret, vec![text("k", value)]).await;
        assert_eq!(node.read(&secret, "").await.unwrap(), pairs(&[("k", value.as_bytes())]));
    }
    assert_eq!(
        (node.stage(FIRST), node.stage(4)),
        (Some(KeyStage::Activated), Some(KeyStage::Added))
    );
    assert_eq!(node.wrapped(), BTreeMap::from([(FIRST, 4)]));
    let waits = status(&peers).await.keys.into_iter().find(|key| key.key_id == 4).unwrap();
    assert_eq!((waits.stage.as_str(), waits.waits_for), ("added", vec![1]));
    let again = rotate(&peers, FIRST).await;
    assert_eq!((again.key_id, again.begun), (4, false));

    node.kms.recover();
    node.reaches(FIRST, KeyStage::Retired).await;
    assert_eq!(node.read(&secret, "").await.unwrap(), pairs(&[("k", b"3")]));
    assert_eq!(node.wrapped(), BTreeMap::from([(4, 4)]));
    node.stop().await;
}

/// A rewrap meets versions that are destroyed, and secrets that are deleted, while it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_destroyed_or_deleted_meanwhile_does_not_come_back() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let mut secrets = Vec::new();
    for number in 0..6 {
        let secret = node.create(vec![text("k", "1")], "").await;
        node.add(&secret.id, vec![text("k", &format!("{number}"))]).await;
        secrets.push((secret.id, secret.current_version.unwrap().id));
    }
    rotate(&peers, FIRST).await;
    for (position, (secret_id, version_id)) in secrets.iter().cloned().enumerate() {
        if position % 2 == 0 {
            let delete = wire::DeleteSecretRequest { secret_id };
            node.secrets().delete(node.request(delete)).await.unwrap();
        } else {
            let pending_period = Some(prost_types::Duration { seconds: 0, nanos: 1 });
            let schedule =
                wire::ScheduleVersionDestructionRequest { secret_id, version_id, pending_period };
            node.secrets().schedule_version_destruction(node.request(schedule)).await.unwrap();
        }
    }
    node.reaches(FIRST, KeyStage::Retired).await;
    let deadline = Instant::now() + WAIT;
    while node.wrapped() != BTreeMap::from([(4, 3)]) {
        assert!(Instant::now() < deadline, "{:?}", node.wrapped());
        tokio::time::sleep(PAUSE).await;
    }
    for (position, (secret, version)) in secrets.iter().enumerate() {
        let gone = node.read(secret, version).await.unwrap_err().code();
        let expected = if position % 2 == 0 { Code::NotFound } else { Code::FailedPrecondition };
        assert_eq!(gone, expected);
        if position % 2 == 1 {
            let newest = position.to_string();
            assert_eq!(node.read(secret, "").await.unwrap(), pairs(&[("k", newest.as_bytes())]));
        }
    }
    node.stop().await;
}
