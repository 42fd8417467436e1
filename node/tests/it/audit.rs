//! What the audit says of calls that a view refuses.

use std::sync::Arc;

use lockbox::call::{Call, detached};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::authorized_key::{KeyAlgorithm, generate_key_pair};
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::Code;
use tonic::codegen::http::HeaderMap;

use crate::client::{response, text};
use crate::fixture::{Node, WAIT};

/// Path, authorization and the caller's name are known before the refusal, so they are recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_read_says_where_and_whether_it_was_allowed() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let off = wire::DeactivateSecretRequest { secret_id: secret.id.clone() };
    node.secrets().deactivate(node.request(off)).await.unwrap();
    assert_eq!(node.read(&secret.id, "").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(node.read("e6qnowhere", "").await.unwrap_err().code(), Code::NotFound);
    let audit = node.audit();
    let reads: Vec<&str> = audit.lines().filter(|line| line.contains("GetPayload")).collect();
    let [inactive, missing] = reads.as_slice() else { panic!("{reads:?}") };
    let leaf = format!("\"resource_type\":\"lockbox.secret\",\"resource_id\":\"{}\"", secret.id);
    assert!(inactive.contains(&leaf), "{inactive}");
    assert!(inactive.contains("\"authorized\":true"), "{inactive}");
    assert!(missing.contains("\"path\":[]"), "{missing}");
    assert!(missing.contains("\"authorized\":false"), "{missing}");
    for line in reads {
        assert!(line.contains("\"subject_name\":\"admin\""), "{line}");
    }
    node.stop().await;
}

/// What the events of versions say of the version and of its secret (`contract §6.3`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_versions_describe_their_secret() {
    let node = Node::start().await;
    let create = wire::CreateSecretRequest {
        folder_id: node.made.folder_id.to_string(),
        name: "described".into(),
        description: "what it is for".into(),
        labels: [("owner".to_owned(), "team".to_owned())].into(),
        version_payload_entries: vec![text("k", "v")],
        ..Default::default()
    };
    let mut secrets = node.secrets();
    let created = secrets.create(node.request(create)).await.unwrap().into_inner();
    let secret: wire::Secret = response(&created);
    let (secret_id, first) = (|| secret.id.clone(), secret.current_version.clone().unwrap().id);
    let second = node.add(&secret.id, vec![text("k", "w")]).await.id;
    let back = wire::SetCurrentVersionRequest { secret_id: secret_id(), version_id: first.clone() };
    secrets.set_current_version(node.request(back)).await.unwrap();
    let schedule = wire::ScheduleVersionDestructionRequest {
        secret_id: secret_id(),
        version_id: second.clone(),
        ..Default::default()
    };
    secrets.schedule_version_destruction(node.request(schedule)).await.unwrap();
    let cancel = wire::CancelVersionDestructionRequest {
        secret_id: secret_id(),
        version_id: second.clone(),
    };
    secrets.cancel_version_destruction(node.request(cancel)).await.unwrap();

    let audit = node.audit();
    for (event, field, version) in [
        ("AddVersion", "new_secret_version_id", &second),
        ("SetCurrentVersion", "new_current_version_id", &first),
        ("ScheduleVersionDestruction", "secret_version_id", &second),
        ("CancelVersionDestruction", "secret_version_id", &second),
    ] {
        let of_event = format!("lockbox.{event}\"");
        let line = audit.lines().find(|line| line.contains(&of_event)).unwrap();
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let details = &record["details"];
        assert_eq!(details["secret_id"], secret.id.as_str(), "{details}");
        assert_eq!(details["secret_name"], "described", "{details}");
        assert_eq!(details["status"], "ACTIVE", "{details}");
        assert_eq!(details["description"], "what it is for", "{details}");
        assert_eq!(details["labels"], serde_json::json!({ "owner": "team" }), "{details}");
        assert!(details["created_at"].is_string(), "{details}");
        assert!(details["secret_version_created_at"].is_string(), "{details}");
        assert_eq!(details[field], version.as_str(), "{details}");
        let is_scheduled = event == "ScheduleVersionDestruction";
        assert_eq!(details["destroy_at"].is_string(), is_scheduled, "{details}");
        assert_eq!(details["secret_version_destroy_at"].is_string(), is_scheduled, "{details}");
    }
    node.stop().await;
}

/// What a request only asks for does not fill the audit: neither by its length nor as a delta.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_without_effect_are_bounded_and_are_no_deltas() {
    let node = Node::start().await;
    let secret = node.create(vec![text("kept", "v"), text("gone", "v")], "").await;
    let removals = |count: u32| (0..count).map(|n| text(&format!("absent-{n}"), ""));
    let request = |payload_entries| wire::AddVersionRequest {
        secret_id: secret.id.clone(),
        payload_entries,
        ..Default::default()
    };
    let refused = node.secrets().add_version(node.request(request(removals(2001).collect()))).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), "payload_entries: there are more than 2000 changes");
    let create = wire::CreateSecretRequest {
        folder_id: node.made.folder_id.to_string(),
        version_payload_entries: removals(2001).collect(),
        ..Default::default()
    };
    let refused = node.secrets().create(node.request(create)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), "version_payload_entries: there are more than 2000 changes");
    assert!(!node.audit().contains("absent-"));

    let mut changes: Vec<_> = removals(1997).collect();
    changes.extend([text("kept", "w"), text("new", "v"), text("gone", "")]);
    node.add(&secret.id, changes).await;
    let audit = node.audit();
    let line = audit.lines().rfind(|line| line.contains("AddVersion")).unwrap();
    let record: serde_json::Value = serde_json::from_str(line).unwrap();
    let expected = serde_json::json!([
        { "key": "kept", "delta_type": "UPDATED" },
        { "key": "new", "delta_type": "ADDED" },
        { "key": "gone", "delta_type": "REMOVED" },
    ]);
    assert_eq!(record["details"]["payload_entry_deltas"], expected);
    node.stop().await;
}

/// Who logged in is on record, and so is what somebody tried who did not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_says_who_it_was_and_a_refused_one_what_was_tried() {
    let mut node = Node::start().await;
    node.renew_token().await;
    let (account, key) = (node.made.admin_id.to_string(), node.made.admin_key_id.to_string());
    let last = |node: &Node| -> serde_json::Value {
        let audit = node.audit();
        let line = audit.lines().rfind(|line| line.contains("CreateIamToken")).unwrap();
        serde_json::from_str(line).unwrap()
    };
    let record = last(&node);
    let expected = serde_json::json!({
        "authenticated": true,
        "subject_type": "SERVICE_ACCOUNT",
        "subject_id": account,
        "subject_name": "admin",
    });
    assert_eq!(record["authentication"], expected);
    assert_eq!(record["authorization"]["authorized"], true);
    assert_eq!(record["details"]["key_id"], *key);
    assert_eq!(record["details"]["service_account_id"], *account);
    assert!(record["details"]["iam_token_id"].is_string());

    let other = generate_key_pair(KeyAlgorithm::Rsa2048).unwrap().private_key_pem;
    let absent = "ajeabsentkey00000000";
    for key in [&*key, absent] {
        let refused = node.log_in(&account, key, other.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        let record = last(&node);
        assert_eq!(record["authentication"], serde_json::json!({ "authenticated": false }));
        assert_eq!(record["authorization"]["authorized"], false);
        assert_eq!(record["event_status"], "ERROR");
        let tried = serde_json::json!({ "key_id": key, "service_account_id": account });
        assert_eq!(record["details"], tried);
    }
    node.stop().await;
}

fn broken() -> Result<(), ApiError> {
    panic!("broken")
}

/// What a call had done when it broke is done: there is a record of it, also when its caller has
/// gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_breaks_is_on_record() {
    let node = Node::start().await;
    let before = node.audit().lines().count();
    let breaks = |key: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", node.token()).parse().unwrap());
        let context = RequestContext::take("/a.B/C", &mut headers, None, node.app.random.as_ref());
        let ids = [("secret_id", key.to_owned())].into();
        let source = EventSource::Lockbox;
        let details = RequestDetails { source, event_name: "GetSecret", ids };
        let app = Arc::clone(&node.app);
        async move {
            let mut call = Call::of(&app, Arc::new(context), AuditDetails::Request(details));
            call.recognise();
            tokio::task::yield_now().await;
            let result = broken();
            call.finish(result).await
        }
    };
    let answer = detached(&node.app.calls, breaks("answered")).await;
    assert_eq!(answer.unwrap_err().code(), Code::Internal);
    let mut gone = Box::pin(detached(&node.app.calls, breaks("gone")));
    assert!(futures::poll!(gone.as_mut()).is_pending());
    drop(gone);
    let deadline = tokio::time::Instant::now() + WAIT;
    while node.audit().lines().count() < before + 2 {
        assert!(tokio::time::Instant::now() < deadline, "there is no record");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for key in ["answered", "gone"] {
        let audit = node.audit();
        let line = audit.lines().skip(before).find(|line| line.contains(key)).unwrap();
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["event_type"], "yandex.cloud.audit.lockbox.GetSecret");
        assert_eq!(record["event_status"], "ERROR");
        assert_eq!(record["error"]["code"], i32::from(Code::Internal));
        assert_eq!(record["authentication"]["subject_id"], node.made.admin_id.as_str());
    }
    assert_eq!(node.audit().lines().count(), before + 2);
    node.stop().await;
}
