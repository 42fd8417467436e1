//! `lockbox.watch.v1.WatchService`: in order, without gaps, and only for who may see it.

use std::time::Duration;

use lockbox_proto::lockbox::iam::v1 as own;
use lockbox_proto::lockbox::watch::v1::change::Type;
use lockbox_proto::lockbox::watch::v1::watch_request::Begin;
use lockbox_proto::lockbox::watch::v1::watch_service_client::WatchServiceClient;
use lockbox_proto::lockbox::watch::v1::{Change, WatchRequest, WatchResponse};
use lockbox_proto::yandex::cloud::access::{
    AccessBindingAction, AccessBindingDelta, UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::iam::v1::RevokeIamTokenRequest;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::{Code, Status, Streaming};

use crate::client::text;
use crate::conditions::{add, bound};
use crate::fixture::{Node, WAIT, bearing};
use crate::messages::binding;

async fn watch(
    node: &Node,
    token: &str,
    after_index: Option<u64>,
) -> Result<Streaming<WatchResponse>, Status> {
    let begin = after_index.map(Begin::AfterIndex);
    let request = WatchRequest { folder_id: node.made.folder_id.to_string(), begin };
    let mut client = WatchServiceClient::new(node.channel.clone());
    Ok(client.watch(bearing(token, request)).await?.into_inner())
}

async fn next(stream: &mut Streaming<WatchResponse>) -> Result<WatchResponse, Status> {
    let answer = tokio::time::timeout(WAIT, stream.message()).await.expect("an answer in time");
    Ok(answer?.expect("streams end with a status"))
}

/// The next change, with its index.
async fn change(stream: &mut Streaming<WatchResponse>) -> (u64, Change) {
    loop {
        let answer = next(stream).await.unwrap();
        if let Some(change) = answer.change {
            return (answer.index, change);
        }
    }
}

/// How the stream ends, whatever it tells before.
async fn end(stream: &mut Streaming<WatchResponse>) -> Status {
    loop {
        if let Err(status) = next(stream).await {
            return status;
        }
    }
}

async fn changes(stream: &mut Streaming<WatchResponse>, count: usize) -> Vec<(u64, Change)> {
    let mut changes = Vec::new();
    for _ in 0..count {
        changes.push(change(stream).await);
    }
    changes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_told_once_in_order_and_can_be_asked_for_again() {
    let node = Node::start().await;
    node.create(vec![text("k", "v")], "").await;
    let mut live = watch(&node, node.token(), None).await.unwrap();
    let begin = next(&mut live).await.unwrap();
    assert!(begin.index > 0 && begin.change.is_none(), "{begin:?}");

    let secret = node.create(vec![text("k", "v")], "").await;
    let first = secret.current_version.clone().unwrap().id;
    // What is not on a secret is not told.
    node.create_account("robot").await;
    let second = node.add(&secret.id, vec![text("k", "w")]).await.id;
    let secret_id = || secret.id.clone();
    let mut secrets = node.secrets();
    let set = wire::SetCurrentVersionRequest { secret_id: secret_id(), version_id: first.clone() };
    let set = secrets.set_current_version(node.request(set)).await.unwrap().into_inner();
    let off = wire::DeactivateSecretRequest { secret_id: secret_id() };
    secrets.deactivate(node.request(off)).await.unwrap();
    let delete = wire::DeleteSecretRequest { secret_id: secret_id() };
    secrets.delete(node.request(delete)).await.unwrap();

    let told = changes(&mut live, 5).await;
    let expected = [
        (Type::SecretCreated, first.as_str()),
        (Type::VersionAdded, &second),
        (Type::CurrentVersionSet, &first),
        (Type::SecretDeactivated, ""),
        (Type::SecretDeleted, ""),
    ];
    let seen: Vec<_> = told.iter().map(|(_, c)| (c.r#type(), c.version_id.as_str())).collect();
    assert_eq!(seen, expected);
    assert!(told.is_sorted_by(|a, b| a.0 < b.0), "{told:?}");
    assert!(told[0].0 > begin.index);
    for (_, change) in &told {
        assert_eq!(change.secret_id, secret.id);
        let by = change.changed_by.clone().unwrap();
        assert_eq!(
            (by.id.as_str(), by.r#type.as_str()),
            (node.made.admin_id.as_str(), "serviceAccount")
        );
        assert!(change.changed_at.is_some());
    }
    assert_eq!(told[2].1.operation_id, set.id);

    let mut again = watch(&node, node.token(), Some(told[1].0)).await.unwrap();
    assert_eq!(changes(&mut again, 3).await, told[2..]);
    // All that there is, for the cluster is new.
    let mut all = watch(&node, node.token(), Some(0)).await.unwrap();
    let all = changes(&mut all, 6).await;
    assert_eq!(all[1..], told);
    let audit = node.audit();
    let records = audit.lines().filter(|line| line.contains("WatchSecrets")).count();
    assert_eq!(records, 3, "one for each stream");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_right_to_it() {
    let node = Node::start().await;
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await;
    let token = node.token_of(&robot.id, &key).await;
    let refused = watch(&node, &token, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // Values are another right than metadata.
    node.bind(binding("lockbox.payloadViewer", "serviceAccount", &robot.id)).await;
    let refused = watch(&node, &token, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let viewer = || binding("lockbox.viewer", "serviceAccount", &robot.id);
    node.bind(viewer()).await;
    let mut stream = watch(&node, &token, None).await.unwrap();
    node.create(vec![text("k", "v")], "").await;
    assert_eq!(change(&mut stream).await.1.r#type(), Type::SecretCreated);
    let take = UpdateAccessBindingsRequest {
        resource_id: node.made.folder_id.to_string(),
        access_binding_deltas: vec![AccessBindingDelta {
            action: AccessBindingAction::Remove.into(),
            access_binding: Some(viewer()),
        }],
    };
    node.folders().update_access_bindings(node.request(take)).await.unwrap();
    node.create(vec![text("k", "v")], "").await;
    loop {
        match next(&mut stream).await {
            Ok(answer) => assert_eq!(answer.change, None, "told after the right was taken"),
            Err(status) => {
                assert_eq!(status.code(), Code::PermissionDenied);
                assert!(status.metadata().contains_key("x-request-id"));
                break;
            }
        }
    }

    node.bind(viewer()).await;
    let mut stream = watch(&node, &token, None).await.unwrap();
    let revoke = RevokeIamTokenRequest { iam_token: token.clone() };
    node.tokens().revoke(bearing(&token, revoke)).await.unwrap();
    assert_eq!(end(&mut stream).await.code(), Code::Unauthenticated);
    node.stop().await;
}

/// A right that ends by itself ends a stream that nothing happens on, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_a_right_that_ends() {
    let node = Node::start().await;
    let robot = node.robot("robot").await;
    let now = node.app.replica.log_time().unwrap();
    let end = lockbox::convert::timestamp(now.plus(Duration::from_secs(3600)));
    let until = own::Conditions { not_after: Some(end), only_current_version: false };
    let viewer = bound("lockbox.viewer", &robot.id, Some(until));
    node.change(node.made.folder_id.as_str(), add(viewer)).await.unwrap();
    let mut stream = watch(&node, &robot.token, None).await.unwrap();
    let secret = node.create(vec![text("k", "v")], "").await;
    assert_eq!(change(&mut stream).await.1.secret_id, secret.id);
    node.pass(Duration::from_secs(3600));
    assert_eq!(self::end(&mut stream).await.code(), Code::PermissionDenied);
    let refused = watch(&node, &robot.token, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    node.stop().await;
}

/// Bindings of a version are told as those of its secret; who holds one is told nothing by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_of_a_version_are_told_and_show_nothing() {
    let node = Node::start().await;
    let robot = node.robot("robot").await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let version = secret.current_version.unwrap().id;
    let mut stream = watch(&node, node.token(), None).await.unwrap();
    let reader = bound("lockbox.payloadViewer", &robot.id, None);
    let operation = node.change(&version, add(reader)).await.unwrap();
    let told = change(&mut stream).await.1;
    assert_eq!(told.r#type(), Type::AccessBindingsChanged);
    assert_eq!((told.secret_id, told.version_id), (secret.id, version));
    assert_eq!(told.operation_id, operation.id);
    let refused = watch(&node, &robot.token, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_followed_is_refused_and_a_stop_is_told() {
    let node = Node::start().await;
    let index = next(&mut watch(&node, node.token(), None).await.unwrap()).await.unwrap().index;
    let ahead = watch(&node, node.token(), Some(index + 1_000)).await.unwrap_err();
    assert_eq!(ahead.code(), Code::InvalidArgument);
    assert!(ahead.message().contains("after_index"), "{ahead:?}");
    let nobody = watch(&node, "nobody", None).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    let mut client = WatchServiceClient::new(node.channel.clone());
    for (folder_id, code) in [
        ("", Code::InvalidArgument),
        ("no id at all", Code::InvalidArgument),
        ("b1gnowhere", Code::NotFound),
    ] {
        let request = WatchRequest { folder_id: folder_id.into(), begin: None };
        let refused = client.watch(node.request(request)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{folder_id}");
    }
    let mut stream = watch(&node, node.token(), None).await.unwrap();
    next(&mut stream).await.unwrap();
    node.stop().await;
    assert_eq!(end(&mut stream).await.code(), Code::Unavailable);
}

/// Longer than operations are kept: who was away for so long must begin with a list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_not_passed_over_in_silence() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let mut node = node.restart_after(Duration::from_secs(31 * 24 * 3600)).await;
    node.renew_token().await;
    // The queue is worked off by later entries.
    for value in ["w", "x"] {
        node.add(&secret.id, vec![text("k", value)]).await;
    }
    let gap = watch(&node, node.token(), Some(0)).await.unwrap_err();
    assert_eq!(gap.code(), Code::FailedPrecondition, "{gap:?}");
    let mut now = watch(&node, node.token(), None).await.unwrap();
    next(&mut now).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_subject_does_not_take_all_streams() {
    let node = Node::start().await;
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await;
    let token = node.token_of(&robot.id, &key).await;
    node.bind(binding("lockbox.viewer", "serviceAccount", &robot.id)).await;
    let mut open = Vec::new();
    let refused = loop {
        match watch(&node, &token, None).await {
            Ok(stream) => open.push(stream),
            Err(status) => break status,
        }
    };
    assert_eq!((refused.code(), open.len()), (Code::ResourceExhausted, 32));
    let mut other = watch(&node, node.token(), None).await.unwrap();
    next(&mut other).await.unwrap();
    node.stop().await;
}
