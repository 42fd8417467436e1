//! More calls than the node answers in time: those beyond its bound are refused before they begin,
//! and who operates the node is let in.

use lockbox_platform::admission::CALLS_AT_START;
use lockbox_platform::detach::{CALLS_MAX, detached};
use lockbox_proto::google::rpc;
use lockbox_proto::yandex::cloud::lockbox::v1::{GetSecretRequest, UpdateSecretRequest};
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status};

use crate::fixture::Node;
use crate::messages::text;

/// A call that ends when the test says so.
async fn held(stop: CancellationToken) -> Result<Response<()>, Status> {
    stop.cancelled_owned().await;
    Ok(Response::new(()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_beyond_the_bound_come_back_later_and_changes_go_on() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let get = || node.request(GetSecretRequest { secret_id: secret.id.clone() });
    node.secrets().get(get()).await.unwrap();
    let stop = CancellationToken::new();
    let mut calls = Vec::new();
    for _ in 0..CALLS_AT_START {
        let mut call = Box::pin(detached(&node.app.calls, held(stop.clone())));
        assert!(futures::poll!(call.as_mut()).is_pending());
        calls.push(call);
    }
    let before = node.audit().lines().count();
    let refused = node.secrets().get(get()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert_eq!(refused.metadata().get("lockbox-outcome").unwrap(), "not-proposed");
    let details = rpc::Status::decode(refused.details()).unwrap().details;
    assert!(details.iter().any(|any| any.to_msg::<rpc::RetryInfo>().is_ok()), "{details:?}");
    assert_eq!(node.audit().lines().count(), before, "a call that has not begun is recorded");
    let counted = "lockbox_calls_refused_total{kind=\"reads\"} 1\n";
    assert!(node.metrics.text().contains(counted), "{}", node.metrics.text());

    let update = UpdateSecretRequest {
        secret_id: secret.id.clone(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["description".to_owned()] }),
        description: "busy".to_owned(),
        ..Default::default()
    };
    node.secrets().update(node.request(update)).await.unwrap();
    // The operator's calls are counted, and never refused by this.
    let operators = node.app.calls.always_admitted();
    let answered = detached(&operators, async { Ok(Response::new(())) }).await;
    answered.unwrap();
    assert!(operators.len() >= CALLS_AT_START);

    stop.cancel();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(node.secrets().get(get()).await.unwrap().into_inner().description, "busy");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_bound_on_the_wait_only_the_number_of_calls_is_bounded() {
    let node = Node::limited("wait_ms_max = 0\n").await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let stop = CancellationToken::new();
    let mut calls = Vec::new();
    for _ in 0..CALLS_MAX / 2 {
        let mut call = Box::pin(detached(&node.app.calls, held(stop.clone())));
        assert!(futures::poll!(call.as_mut()).is_pending());
        calls.push(call);
    }
    let get = node.request(GetSecretRequest { secret_id: secret.id.clone() });
    node.secrets().get(get).await.unwrap();
    stop.cancel();
    for call in calls {
        call.await.unwrap();
    }
    node.stop().await;
}
