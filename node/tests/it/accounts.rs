//! Service accounts that are changed, suspended and deleted (`contract §1.11`).

use lockbox_proto::google::rpc;
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost::Message;
use prost_types::{FieldMask, Timestamp};
use tonic::Code;

use crate::client::{response, text};
use crate::fixture::{Node, bearing};
use crate::messages::{binding, metadata};

fn suspend(id: &str) -> iam::SuspendServiceAccountRequest {
    iam::SuspendServiceAccountRequest { service_account_id: id.into(), ..Default::default() }
}

fn reactivate(id: &str) -> iam::ReactivateServiceAccountRequest {
    iam::ReactivateServiceAccountRequest { service_account_id: id.into() }
}

fn delete(id: &str) -> iam::DeleteServiceAccountRequest {
    iam::DeleteServiceAccountRequest { service_account_id: id.into() }
}

fn update(id: &str, fields: &[&str]) -> iam::UpdateServiceAccountRequest {
    iam::UpdateServiceAccountRequest {
        service_account_id: id.into(),
        update_mask: Some(FieldMask { paths: fields.iter().map(|f| (*f).to_owned()).collect() }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_or_deleted_account_reads_nothing_from_that_commit_on() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let account = node.create_account("robot").await;
    let key = node.create_key(&account.id).await;
    node.bind(binding("lockbox.payloadViewer", "serviceAccount", &account.id)).await;
    let token = node.token_of(&account.id, &key).await;
    let read = async || {
        let request =
            wire::GetPayloadRequest { secret_id: secret.id.clone(), ..Default::default() };
        let read = node.payloads().get(bearing(&token, request)).await;
        read.map(drop).map_err(|status| status.code())
    };
    let id = key.key.clone().unwrap().id;
    let log_in = async || {
        let login = node.log_in(&account.id, &id, key.private_key.clone().into()).await;
        login.map(drop).map_err(|status| status.code())
    };
    read().await.unwrap();

    let mut accounts = node.accounts();
    let operation = accounts.suspend(node.request(suspend(&account.id))).await.unwrap();
    let about: iam::SuspendServiceAccountMetadata = metadata(operation.get_ref());
    assert_eq!(about.service_account_id, account.id);
    response::<iam::SuspendServiceAccountResponse>(operation.get_ref());
    assert_eq!(
        (read().await, log_in().await),
        (Err(Code::Unauthenticated), Err(Code::Unauthenticated))
    );
    let ends = iam::SuspendServiceAccountRequest {
        expires_at: Some(Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ..suspend(&account.id)
    };
    let refused = accounts.suspend(node.request(ends)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    accounts.reactivate(node.request(reactivate(&account.id))).await.unwrap();
    read().await.unwrap();

    let operation = accounts.delete(node.request(delete(&account.id))).await.unwrap().into_inner();
    response::<()>(&operation);
    assert_eq!(
        (read().await, log_in().await),
        (Err(Code::Unauthenticated), Err(Code::Unauthenticated))
    );
    let gone = iam::GetServiceAccountRequest { service_account_id: account.id.clone() };
    assert_eq!(accounts.get(node.request(gone)).await.unwrap_err().code(), Code::NotFound);
    let gone = node.keys().get(node.request(iam::GetKeyRequest { key_id: id, format: 0 })).await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    assert_eq!(
        accounts.delete(node.request(delete(&account.id))).await.unwrap_err().code(),
        Code::NotFound
    );
    // The name is free, and the new account has nothing of the old one's.
    let next = node.create_account("robot").await;
    assert_ne!(next.id, account.id);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_mask_names_changes_and_names_stay_unique() {
    let node = Node::start().await;
    let mut accounts = node.accounts();
    let account = node.create_account("robot").await;
    node.create_account("taken").await;
    let mut request = update(&account.id, &["name", "description"]);
    (request.name, request.description) = ("renamed".into(), "mine".into());
    request.labels.insert("not".into(), "listed".into());
    let operation = accounts.update(node.request(request)).await.unwrap().into_inner();
    let changed: iam::ServiceAccount = response(&operation);
    assert_eq!((changed.name.as_str(), changed.description.as_str()), ("renamed", "mine"));
    assert!(changed.labels.is_empty());
    let mut taken = update(&account.id, &["name"]);
    taken.name = "taken".into();
    let refused = accounts.update(node.request(taken)).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    // What was its name is free again.
    node.create_account("robot").await;
    let mut ends = update(&account.id, &["expires_at"]);
    ends.expires_at = Some(Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let operation = accounts.update(node.request(ends)).await.unwrap().into_inner();
    assert!(response::<iam::ServiceAccount>(&operation).expires_at.is_some());
    for wrong in [&[][..], &["id"], &["status"]] {
        let refused = accounts.update(node.request(update(&account.id, wrong))).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{wrong:?}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_locked_out_only_by_who_may_all_that_it_may() {
    let node = Node::start().await;
    let editor = node.create_account("editor").await;
    let key = node.create_key(&editor.id).await;
    let token = node.token_of(&editor.id, &key).await;
    let reader = node.create_account("reader").await;
    node.bind(binding("lockbox.payloadViewer", "serviceAccount", &reader.id)).await;
    node.bind(binding("editor", "serviceAccount", &editor.id)).await;
    let mut accounts = node.accounts();
    for id in [reader.id.as_str(), node.made.admin_id.as_str()] {
        let denied = accounts.suspend(bearing(&token, suspend(id))).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
        let denied = accounts.delete(bearing(&token, delete(id))).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
        let mut request = update(id, &["description"]);
        request.description = "x".into();
        let denied = accounts.update(bearing(&token, request)).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
    let missing = accounts.suspend(bearing(&token, suspend("ajenobody"))).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    node.stop().await;
}

/// Nothing brings back the only administrator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_ends_its_own_account() {
    let node = Node::start().await;
    let own = node.made.admin_id.as_str();
    let mut accounts = node.accounts();
    let refused = accounts.suspend(node.request(suspend(own))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let refused = accounts.delete(node.request(delete(own))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let mut ends = update(own, &["expires_at"]);
    ends.expires_at = Some(Timestamp { seconds: 1_000, nanos: 0 });
    let refused = accounts.update(node.request(ends)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let mut renamed = update(own, &["description"]);
    renamed.description = "still here".into();
    accounts.update(node.request(renamed)).await.unwrap();
    node.stop().await;
}

/// Each makes a pair, and an account's deletion takes all of them with it in one entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_only_so_many_keys() {
    let node = Node::limited("keys_per_service_account = 2\n").await;
    let robot = node.create_account("robot").await;
    let first = node.create_key(&robot.id).await;
    node.create_key(&robot.id).await;
    let create = || iam::CreateKeyRequest {
        service_account_id: robot.id.clone(),
        ..iam::CreateKeyRequest::default()
    };
    let refused = node.keys().create(node.request(create())).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let details = rpc::Status::decode(refused.details()).unwrap().details;
    let quota = details.iter().find_map(|any| any.to_msg::<rpc::QuotaFailure>().ok()).unwrap();
    assert_eq!(quota.violations[0].subject, "iam.authorizedKeys.count");
    node.delete_key(&first).await;
    node.create_key(&robot.id).await;
    node.stop().await;
}
