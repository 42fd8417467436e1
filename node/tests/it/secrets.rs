//! Secrets and payloads as a client sees them.

use std::time::Duration;

use lockbox_core::SecretId;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tokio::time::Instant;
use tonic::Code;

use crate::client::{binary, pairs, response, text};
use crate::fixture::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_merge_move_and_roll_back() {
    let node = Node::start().await;
    let secret = node.create(vec![text("user", "u"), binary("file", &[0, 255])], "").await;
    let first = secret.current_version.clone().unwrap().id;
    let second = node.add(&secret.id, vec![text("user", "v"), text("new", "n")]).await;
    let current = node.read(&secret.id, "").await.unwrap();
    assert_eq!(current, pairs(&[("user", b"v"), ("file", &[0, 255]), ("new", b"n")]));
    assert_eq!(
        node.read(&secret.id, &first).await.unwrap(),
        pairs(&[("user", b"u"), ("file", &[0, 255])])
    );

    let set = wire::SetCurrentVersionRequest { secret_id: secret.id.clone(), version_id: first };
    let moved = node.secrets().set_current_version(node.request(set)).await.unwrap();
    assert!(moved.metadata().get("lockbox-index").is_some());
    assert_eq!(node.read(&secret.id, "").await.unwrap()[0], ("user".to_owned(), b"u".to_vec()));

    let list = wire::ListVersionsRequest { secret_id: secret.id, ..Default::default() };
    let listed = node.secrets().list_versions(node.request(list)).await.unwrap().into_inner();
    assert_eq!(listed.versions.len(), 2);
    assert_eq!(listed.versions[0].id, second.id);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_key_costs_one_operation_an_access_under_the_caller() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    assert_eq!(node.read(&secret.id, "").await.unwrap(), pairs(&[("k", b"v")]));
    node.add(&secret.id, vec![text("l", "w")]).await;
    let used = node.kms.used();
    let operations: Vec<_> = used.iter().map(|u| u.operation).collect();
    // Create seals; the read opens; AddVersion opens its base and seals.
    assert_eq!(operations, ["generate_data_key", "decrypt", "decrypt", "generate_data_key"]);
    assert!(used.iter().all(|u| u.key_id == "abjownkey"));
    assert!(used.iter().all(|u| u.subject_id == node.made.admin_id.as_str()));

    let common = node.create(vec![text("k", "v")], "").await;
    node.kms.set_down(true);
    assert_eq!(node.read(&secret.id, "").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(node.read(&common.id, "").await.unwrap(), pairs(&[("k", b"v")]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_has_one_effect() {
    let node = Node::start().await;
    let request = |name: &str| wire::CreateSecretRequest {
        folder_id: node.made.folder_id.to_string(),
        name: name.into(),
        version_payload_entries: vec![text("k", "v")],
        ..Default::default()
    };
    let mut client = node.secrets();
    let first = client.create(node.keyed("one", request("a"))).await.unwrap().into_inner();
    let second = client.create(node.keyed("one", request("a"))).await.unwrap().into_inner();
    assert_eq!(first, second);
    let other = client.create(node.keyed("one", request("b"))).await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
    let list = wire::ListSecretsRequest {
        folder_id: node.made.folder_id.to_string(),
        ..Default::default()
    };
    let listed = client.list(node.request(list)).await.unwrap().into_inner();
    assert_eq!(listed.secrets.len(), 1);
    node.stop().await;
}

/// `design §9`: a mutation and its retries under one key are billed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_answered_without_the_kms() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    let request = || wire::AddVersionRequest {
        secret_id: secret.id.clone(),
        payload_entries: vec![text("l", "w")],
        ..Default::default()
    };
    let mut client = node.secrets();
    let first = client.add_version(node.keyed("one", request())).await.unwrap().into_inner();
    let used = node.kms.used();
    node.kms.set_down(true);
    let second = client.add_version(node.keyed("one", request())).await.unwrap();
    assert!(second.metadata().get("lockbox-index").is_some());
    assert_eq!(first, second.into_inner());
    assert_eq!(node.kms.used(), used);
    node.stop().await;
}

/// `design §3`: an index makes an error an observation, so an unknown outcome must not carry one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_decided_errors_carry_an_index() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    let missing = node.read("e6qnowhere", "").await.unwrap_err();
    assert!(missing.metadata().get("lockbox-index").is_some());
    node.kms.set_down(true);
    let unavailable = node.read(&secret.id, "").await.unwrap_err();
    assert_eq!(unavailable.code(), Code::Unavailable);
    assert!(unavailable.metadata().get("lockbox-index").is_none());
    assert!(unavailable.metadata().get("lockbox-outcome").is_some());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_codes_of_the_contract_and_change_nothing() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let code = |status: Result<_, tonic::Status>| status.map(|_: Vec<_>| ()).unwrap_err().code();
    assert_eq!(code(node.read("e6qnowhere", "").await), Code::NotFound);
    assert_eq!(code(node.read(&secret.id, "e6qnowhere").await), Code::NotFound);
    let get = wire::GetPayloadRequest { secret_id: secret.id.clone(), version_id: String::new() };
    let anonymous = node.payloads().get(get.clone()).await.unwrap_err();
    assert_eq!(anonymous.code(), Code::Unauthenticated);

    let off = wire::DeactivateSecretRequest { secret_id: secret.id.clone() };
    node.secrets().deactivate(node.request(off)).await.unwrap();
    assert_eq!(code(node.read(&secret.id, "").await), Code::FailedPrecondition);
    let on = wire::ActivateSecretRequest { secret_id: secret.id.clone() };
    node.secrets().activate(node.request(on)).await.unwrap();
    assert!(node.read(&secret.id, "").await.is_ok());

    let wrong = wire::AddVersionRequest {
        secret_id: secret.id.clone(),
        payload_entries: vec![text("with space", "v")],
        ..Default::default()
    };
    let refused = node.secrets().add_version(node.request(wrong)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(node.read(&secret.id, "").await.unwrap().len(), 1);

    let delete = wire::DeleteSecretRequest { secret_id: secret.id.clone() };
    node.secrets().delete(node.request(delete)).await.unwrap();
    assert_eq!(code(node.read(&secret.id, "").await), Code::NotFound);
    node.stop().await;
}

/// L12 of `verification.md`, for one node: no value and no token in any file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_holds_a_canary() {
    let node = Node::start().await;
    let canary = "canary-5c0ffee5-d00d-4b1d-8f00";
    let secret = node.create(vec![text("k", canary)], "").await;
    node.add(&secret.id, vec![binary("b", canary.as_bytes())]).await;
    assert_eq!(node.read(&secret.id, "").await.unwrap()[0].1, canary.as_bytes());
    assert!(node.audit().contains(&secret.id));
    let token = node.token().to_owned();
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    // The scan finds what is planted, so that its silence means something.
    let planted = node.data.path().join("planted");
    std::fs::write(&planted, format!("xx{canary}")).unwrap();
    let mut found = Vec::new();
    for file in node.files() {
        let bytes = std::fs::read(&file).unwrap();
        if holds(&bytes, canary) || holds(&bytes, &token) {
            found.push(file);
        }
    }
    assert_eq!(found, [planted]);
    node.stop().await;
}

/// Ids never return: an equal request under another key is another mutation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_equal_request_under_another_key_gets_other_ids() {
    let node = Node::start().await;
    let request = || wire::CreateSecretRequest {
        folder_id: node.made.folder_id.to_string(),
        version_payload_entries: vec![text("k", "v")],
        ..Default::default()
    };
    let mut client = node.secrets();
    let first = client.create(node.keyed("one", request())).await.unwrap().into_inner();
    let first: wire::Secret = response(&first);
    let delete = wire::DeleteSecretRequest { secret_id: first.id.clone() };
    client.delete(node.request(delete)).await.unwrap();
    let second = client.create(node.keyed("two", request())).await.unwrap().into_inner();
    let second: wire::Secret = response(&second);
    assert_ne!(first.id, second.id);
    assert_eq!(node.read(&first.id, "").await.unwrap_err().code(), Code::NotFound);
    node.stop().await;
}

/// A caller who hangs up does not make a committed mutation go unrecorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_is_audited_all_the_same() {
    let node = Node::start().await;
    let mut deleted = Vec::new();
    for wait_us in [0_u64, 200, 400, 800, 1600, 3200, 6400] {
        let secret = node.create(vec![text("k", "v")], "").await;
        let delete = wire::DeleteSecretRequest { secret_id: secret.id.clone() };
        let mut client = node.secrets();
        let call = client.delete(node.request(delete));
        // Whether it came back in time does not matter, only what is left behind.
        drop(tokio::time::timeout(std::time::Duration::from_micros(wait_us), call).await);
        deleted.push(secret.id);
    }
    // A call can be taken up long after its caller left. So first what is gone, then the end of
    // the calls that made it so, which began before it was, and only then what they recorded.
    let mut gone = Vec::new();
    for id in deleted {
        match node.read(&id, "").await {
            Ok(_payload) => {}
            Err(error) if error.code() == Code::NotFound => gone.push(id),
            Err(error) => panic!("a node that was there all the time: {error}"),
        }
    }
    let app = std::sync::Arc::clone(&node.app);
    app.calls.close();
    app.calls.wait().await;
    app.calls.reopen();
    let audit = node.audit();
    for id in gone {
        let recorded = audit.lines().any(|l| l.contains("DeleteSecret") && l.contains(&id));
        assert!(recorded, "secret {id} was deleted and nobody knows by whom");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_id_does_not_reach_the_audit() {
    let node = Node::start().await;
    let secret_id = "pasted-by-mistake ".repeat(1000);
    let get = wire::GetPayloadRequest { secret_id, version_id: String::new() };
    assert!(node.payloads().get(get).await.is_err());
    let audit = node.audit();
    assert!(!audit.contains("pasted-by-mistake"));
    assert!(audit.contains("GetPayload"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_judges_and_changes_only_what_its_mask_lists() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let request = |paths: &[&str]| {
        let spec = wire::PasswordPayloadSpecification {
            length: 5000,
            password_key: "k".into(),
            ..Default::default()
        };
        wire::UpdateSecretRequest {
            secret_id: secret.id.clone(),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|&path| path.to_owned()).collect(),
            }),
            name: "n".repeat(101),
            description: "right".to_owned(),
            labels: [("Not A Key".to_owned(), "value".to_owned())].into(),
            deletion_protection: true,
            payload_specification: Some(
                wire::update_secret_request::PayloadSpecification::PasswordPayloadSpecification(
                    spec,
                ),
            ),
        }
    };
    let updated = node.secrets().update(node.request(request(&["description"]))).await.unwrap();
    let updated: wire::Secret = response(&updated.into_inner());
    assert_eq!((updated.name.as_str(), updated.description.as_str()), ("s", "right"));
    assert!(!updated.deletion_protection && updated.labels.is_empty());
    assert!(updated.payload_specification.is_none());

    for field in ["name", "labels", "password_payload_specification"] {
        let refused = node.secrets().update(node.request(request(&["description", field]))).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        assert!(refused.message().contains(field), "{refused:?}");
    }
    node.stop().await;
}

/// What waits for its turn is in memory meanwhile: what fits into no version does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_are_too_large_are_refused_before_any_waiting() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let long = Duration::from_secs(600);
    let id = SecretId::parse(&secret.id).unwrap();
    let _others = node.app.turns.take(&id, Instant::now() + long).await.unwrap();
    let half = "x".repeat(32_769);
    let request = wire::AddVersionRequest {
        secret_id: secret.id.clone(),
        payload_entries: vec![text("k", &half), text("l", &half)],
        ..Default::default()
    };
    let mut request = node.request(request);
    request.set_timeout(long);
    let begun = Instant::now();
    let refused = node.secrets().add_version(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("values are larger"), "{refused:?}");
    assert!(begun.elapsed() < long / 10);
    node.stop().await;
}
