//! Whether a destroyed payload is out of the files of a node: what the operator is told of it.

use std::time::Duration;

use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_proto::yandex::cloud::lockbox::v1 as lockbox;
use lockbox_proto::yandex::cloud::lockbox::v1::version::Status as VersionStatus;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::client::text;
use crate::fixture::{Node, WAIT};
use crate::peers::Peers;

/// Longer than a node waits for more to come.
const LATER: Duration = Duration::from_secs(400);

/// Who asks the node about a version.
struct Operator<'n> {
    node: &'n Node,
    peers: Peers,
    secret: String,
    version: String,
}

impl Operator<'_> {
    async fn ask(&self, stem: &str) -> Result<wire::VerifyDestroyedResponse, Status> {
        let request = wire::VerifyDestroyedRequest {
            secret_id: self.secret.clone(),
            version_id: self.version.clone(),
            mark: String::new(),
        };
        let answer = self.peers.admin(stem).verify_destroyed(request).await?;
        Ok(answer.into_inner())
    }

    async fn destroy(&self) {
        let request = lockbox::ScheduleVersionDestructionRequest {
            secret_id: self.secret.clone(),
            version_id: self.version.clone(),
            pending_period: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        };
        let mut secrets = self.node.secrets();
        secrets.schedule_version_destruction(self.node.request(request)).await.unwrap();
        let until = Instant::now() + WAIT;
        while self.status().await != VersionStatus::Destroyed {
            assert!(Instant::now() < until, "it is not destroyed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn status(&self) -> VersionStatus {
        let request =
            lockbox::ListVersionsRequest { secret_id: self.secret.clone(), ..Default::default() };
        let listed = self.node.secrets().list_versions(self.node.request(request)).await;
        let versions = listed.unwrap().into_inner().versions;
        versions.iter().find(|version| version.id == self.version).unwrap().status()
    }
}

fn holding(answer: &wire::VerifyDestroyedResponse) -> Vec<&str> {
    let holding = answer.files.iter().filter(|file| file.finding == "holds");
    holding.map(|file| file.path.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_payload_is_found_until_its_time_and_by_nobody_after_it() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let version = secret.current_version.unwrap().id;
    let operator = Operator { node: &node, peers, secret: secret.id, version };
    let refused = operator.ask("operator").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert_eq!(operator.ask("kms").await.unwrap_err().code(), Code::PermissionDenied);

    operator.destroy().await;
    let before = operator.ask("operator").await.unwrap();
    assert!(holding(&before).iter().any(|path| path.starts_with("raft/")), "{before:?}");
    assert_eq!((before.node_id, before.pending), (1, 1));
    node.pass(LATER);
    let until = Instant::now() + WAIT;
    let after = loop {
        let answer = operator.ask("operator").await.unwrap();
        if answer.pending == 0 {
            break answer;
        }
        assert!(Instant::now() < until, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(holding(&after), Vec::<&str>::new());
    assert!(after.files.iter().all(|file| file.finding == "clean" && file.reason.is_empty()));
    assert!(after.files.iter().any(|file| file.path == "audit.jsonl" && file.bytes > 0));
    assert_eq!(after.mark, before.mark);

    // Of a version that nobody knows, by what was told of it.
    let mut request = wire::VerifyDestroyedRequest {
        secret_id: "e6qdeleted".into(),
        version_id: "e6qforgotten".into(),
        mark: before.mark,
    };
    let mut client = operator.peers.admin("operator");
    let found = client.verify_destroyed(request.clone()).await.unwrap().into_inner();
    assert_eq!(holding(&found), Vec::<&str>::new());
    request.mark.clear();
    let unknown = client.verify_destroyed(request.clone()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    request.mark = "no mark".into();
    let wrong = client.verify_destroyed(request).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    drop(operator);
    node.stop().await;
}
