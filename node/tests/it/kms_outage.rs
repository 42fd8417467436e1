//! A KMS that says nothing: secrets under the common key do not need it, the others fail fast.

use std::time::Duration;

use lockbox_proto::google::rpc::Status as RpcStatus;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost::Message;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::client::{pairs, text};
use crate::fixture::{Node, WAIT};

/// How long the callers wait for an answer; more than what tells a slow KMS from a hurried caller.
const PATIENT: Duration = Duration::from_millis(2_500);

impl Node {
    async fn read_patiently(&self, secret: &str) -> Result<wire::Payload, Status> {
        let message = wire::GetPayloadRequest { secret_id: secret.into(), ..Default::default() };
        let mut request = self.request(message);
        request.set_timeout(PATIENT);
        Ok(self.payloads().get(request).await?.into_inner())
    }
}

fn says_when_to_come_back(status: &Status) -> bool {
    let details = RpcStatus::decode(status.details()).unwrap().details;
    details.iter().any(|any| any.type_url.ends_with("google.rpc.RetryInfo"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_keys_fail_fast_while_the_kms_is_silent_and_work_again_by_themselves() {
    let node = Node::start().await;
    let own = node.create(vec![text("k", "own")], "abjownkey").await.id;
    let common = node.create(vec![text("k", "common")], "").await.id;
    node.kms.hang();
    // These find it out, all at once; on a slow machine the last ones come when it is known.
    let found_out = futures::future::join_all((0..5).map(|_| node.read_patiently(&own)));
    let refusals: Vec<_> = found_out.await.into_iter().map(Result::unwrap_err).collect();
    assert!(refusals.iter().all(|status| status.code() == Code::Unavailable), "{refusals:?}");
    assert_eq!(refusals[0].message(), "the KMS did not answer in time");
    // From here on nobody waits but the one call of a probe. What holds of two calls at once is
    // that one of them is no probe.
    let two = || async { tokio::join!(node.read_patiently(&own), node.read_patiently(&own)) };
    let (one, other) = two().await;
    let refusals = [one.unwrap_err(), other.unwrap_err()];
    assert!(refusals.iter().all(|status| status.code() == Code::Unavailable));
    let fast = refusals.iter().find(|status| status.message() == "the KMS is not available");
    assert!(says_when_to_come_back(fast.unwrap()), "{refusals:?}");
    assert_eq!(node.read(&common, "").await.unwrap(), pairs(&[("k", b"common")]));
    node.add(&common, vec![text("k", "newer")]).await;

    node.kms.recover();
    let deadline = Instant::now() + WAIT;
    loop {
        match node.read_patiently(&own).await {
            Ok(payload) => {
                assert_eq!(payload.entries.len(), 1);
                break;
            }
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
        assert!(Instant::now() < deadline, "the KMS is back, and nobody asks it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.stop().await;
}

/// What the KMS refuses is an answer, however often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_keep_nobody_from_the_kms() {
    let node = Node::start().await;
    let own = node.create(vec![text("k", "own")], "abjownkey").await.id;
    for code in [Code::PermissionDenied, Code::FailedPrecondition, Code::ResourceExhausted] {
        node.kms.refuse("decrypt", code);
        for _ in 0..12 {
            node.read(&own, "").await.unwrap_err();
        }
    }
    node.kms.recover();
    assert_eq!(node.read(&own, "").await.unwrap(), pairs(&[("k", b"own")]));
    node.stop().await;
}
