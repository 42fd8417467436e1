//! Scheduled destruction, over the wire (`contract §2.3`, `§14` no. 7).

use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost_types::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};
use wire::version::Status as VersionStatus;

use crate::client::text;
use crate::fixture::{Node, WAIT, bearing};
use crate::messages::{binding, metadata, response};

const WEEK_S: i64 = 7 * 24 * 3600;

/// One version on its way out.
struct Going<'n> {
    node: &'n Node,
    secret: String,
    version: String,
}

impl Going<'_> {
    fn schedule(&self, seconds: Option<i64>) -> wire::ScheduleVersionDestructionRequest {
        wire::ScheduleVersionDestructionRequest {
            secret_id: self.secret.clone(),
            version_id: self.version.clone(),
            pending_period: seconds.map(|seconds| Duration { seconds, nanos: 0 }),
        }
    }

    fn cancel(&self) -> wire::CancelVersionDestructionRequest {
        wire::CancelVersionDestructionRequest {
            secret_id: self.secret.clone(),
            version_id: self.version.clone(),
        }
    }

    async fn run_schedule(&self, seconds: Option<i64>) -> Result<wire::Version, Status> {
        let mut secrets = self.node.secrets();
        let request = self.node.request(self.schedule(seconds));
        let operation = secrets.schedule_version_destruction(request).await?.into_inner();
        let told: wire::ScheduleVersionDestructionMetadata = metadata(&operation);
        let version: wire::Version = response(&operation);
        assert_eq!((&told.secret_id, &told.version_id), (&self.secret, &self.version));
        assert_eq!(told.destroy_at, version.destroy_at);
        let later = told.destroy_at.unwrap().seconds - operation.created_at.unwrap().seconds;
        assert_eq!(later, seconds.unwrap_or(WEEK_S));
        assert_eq!(version.status(), VersionStatus::ScheduledForDestruction);
        Ok(version)
    }

    async fn run_cancel(&self) -> Result<wire::Version, Status> {
        let mut secrets = self.node.secrets();
        let request = self.node.request(self.cancel());
        let operation = secrets.cancel_version_destruction(request).await?.into_inner();
        let told: wire::CancelVersionDestructionMetadata = metadata(&operation);
        assert_eq!((&told.secret_id, &told.version_id), (&self.secret, &self.version));
        Ok(response(&operation))
    }

    /// As the list of the secret's versions shows it.
    async fn look(&self) -> wire::Version {
        let request = wire::ListVersionsRequest {
            secret_id: self.secret.clone(),
            ..wire::ListVersionsRequest::default()
        };
        let listed = self.node.secrets().list_versions(self.node.request(request)).await;
        let mut versions = listed.unwrap().into_inner().versions.into_iter();
        versions.find(|version| version.id == self.version).unwrap()
    }

    async fn destroyed(&self) -> wire::Version {
        let until = Instant::now() + WAIT;
        loop {
            let version = self.look().await;
            if version.status() == VersionStatus::Destroyed {
                return version;
            }
            assert!(Instant::now() < until, "it is still {:?}", version.status());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    async fn read(&self, version: &str) -> Result<(), Code> {
        let request = wire::GetPayloadRequest {
            secret_id: self.secret.clone(),
            version_id: version.to_owned(),
        };
        let read = self.node.payloads().get(self.node.request(request)).await;
        read.map(drop).map_err(|status| status.code())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_goes_when_its_time_has_come_unless_it_is_called_off() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let version = secret.current_version.unwrap().id;
    let going = Going { node: &node, secret: secret.id.clone(), version: version.clone() };

    going.run_schedule(None).await.unwrap();
    // Not readable, whether by its id or as the current one, and no base any more.
    assert_eq!(going.read("").await, Err(Code::FailedPrecondition));
    assert_eq!(going.read(&version).await, Err(Code::FailedPrecondition));
    let back = going.run_cancel().await.unwrap();
    assert_eq!((back.status(), back.destroy_at), (VersionStatus::Active, None));
    going.read("").await.unwrap();
    let twice = going.run_cancel().await.unwrap_err();
    assert_eq!(twice.code(), Code::FailedPrecondition);

    // An inactive secret's versions too (`contract §2.2`).
    let off = wire::DeactivateSecretRequest { secret_id: secret.id.clone() };
    node.secrets().deactivate(node.request(off)).await.unwrap();
    going.run_schedule(Some(3600)).await.unwrap();
    going.run_schedule(Some(1)).await.unwrap();
    let gone = going.destroyed().await;
    assert_eq!((gone.destroy_at, &gone.payload_entry_keys[..]), (None, &["k".to_owned()][..]));
    let on = wire::ActivateSecretRequest { secret_id: secret.id.clone() };
    node.secrets().activate(node.request(on)).await.unwrap();
    assert_eq!(going.read(&version).await, Err(Code::FailedPrecondition));
    assert_eq!(going.run_cancel().await.unwrap_err().code(), Code::FailedPrecondition);
    let again = going.run_schedule(Some(1)).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);

    // The pointer stayed; an entry list without a base brings the secret back.
    let get = wire::GetSecretRequest { secret_id: secret.id.clone() };
    let shown = node.secrets().get(node.request(get)).await.unwrap().into_inner();
    let current = shown.current_version.unwrap();
    assert_eq!((&current.id, current.status()), (&version, VersionStatus::Destroyed));
    node.add(&secret.id, vec![text("k", "w")]).await;
    going.read("").await.unwrap();

    let list = wire::ListSecretOperationsRequest {
        secret_id: secret.id.clone(),
        ..wire::ListSecretOperationsRequest::default()
    };
    let listed = node.secrets().list_operations(node.request(list)).await.unwrap().into_inner();
    assert_eq!(listed.operations.len(), 8, "the destruction itself is nobody's operation");
    let audit = node.audit();
    let record = audit.lines().find(|line| line.contains("ScheduleVersionDestruction")).unwrap();
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    assert_eq!(record["details"]["secret_version_id"], version.as_str());
    assert_eq!(record["details"]["secret_version_status"], "SCHEDULED_FOR_DESTRUCTION");
    assert!(record["details"]["destroy_at"].is_string(), "{record}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_destroyed_is_refused_and_changes_nothing() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let other = node.create(vec![text("k", "v")], "").await;
    let version = secret.current_version.unwrap().id;
    let going = Going { node: &node, secret: secret.id.clone(), version };
    for (seconds, name) in [(0, "zero"), (-1, "negative"), (365 * 86_400 + 1, "too long")] {
        let request = node.request(going.schedule(Some(seconds)));
        let refused = node.secrets().schedule_version_destruction(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{name}");
    }
    let foreign = Going { node: &node, secret: other.id, version: going.version.clone() };
    assert_eq!(foreign.run_schedule(None).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(foreign.run_cancel().await.unwrap_err().code(), Code::NotFound);
    let nowhere = Going { node: &node, secret: "e6qnowhere".into(), version: "e6qv".into() };
    assert_eq!(nowhere.run_schedule(None).await.unwrap_err().code(), Code::NotFound);

    // Who reads everything destroys nothing (`contract §4.3`).
    let account = node.create_account("robot").await;
    let key = node.create_key(&account.id).await;
    let token = node.token_of(&account.id, &key).await;
    for role in ["lockbox.viewer", "lockbox.payloadViewer"] {
        node.bind(binding(role, "serviceAccount", &account.id)).await;
        let request = bearing(&token, going.schedule(None));
        let denied = node.secrets().schedule_version_destruction(request).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{role}");
        let request = bearing(&token, going.cancel());
        let denied = node.secrets().cancel_version_destruction(request).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{role}");
    }
    assert_eq!(going.look().await.status(), VersionStatus::Active);
    going.read("").await.unwrap();
    node.bind(binding("lockbox.editor", "serviceAccount", &account.id)).await;
    let request = bearing(&token, going.schedule(None));
    node.secrets().schedule_version_destruction(request).await.unwrap();
    node.stop().await;
}

/// `contract §13` no. 13: shown as destroyed for a while, and gone then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_version_is_forgotten_after_its_time() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let version = secret.current_version.clone().unwrap().id;
    let kept = node.add(&secret.id, vec![text("k", "w")]).await;
    let going = Going { node: &node, secret: secret.id.clone(), version: version.clone() };
    going.run_schedule(Some(1)).await.unwrap();
    assert_eq!(going.destroyed().await.payload_entry_keys, ["k"]);
    let days = std::time::Duration::from_secs(31 * 86_400);
    let mut node = node.restart_after(days).await;
    node.renew_token().await;
    let list = || wire::ListVersionsRequest { secret_id: secret.id.clone(), ..Default::default() };
    let until = Instant::now() + WAIT;
    loop {
        // What is due goes with an entry.
        let update = wire::ActivateSecretRequest { secret_id: secret.id.clone() };
        node.secrets().activate(node.request(update)).await.unwrap();
        let listed = node.secrets().list_versions(node.request(list())).await.unwrap();
        let ids: Vec<_> = listed.into_inner().versions.into_iter().map(|v| v.id).collect();
        if ids == [kept.id.as_str()] {
            break;
        }
        assert!(Instant::now() < until, "{ids:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let going = Going { node: &node, secret: secret.id.clone(), version: version.clone() };
    // What was destroyed is late, and a node that starts purges that before it serves payloads.
    let until = Instant::now() + WAIT;
    while going.read("").await == Err(Code::Unavailable) {
        assert!(Instant::now() < until, "it does not serve payloads");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(going.read(&version).await, Err(Code::NotFound));
    going.read("").await.unwrap();
    node.stop().await;
}
