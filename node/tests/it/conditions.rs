//! Conditions on bindings, over the wire: an end, and the current version alone (`docs/access.md`).

use std::time::Duration;

use axum::body::{Body, to_bytes};
use lockbox::router;
use lockbox_core::LogTime;
use lockbox_proto::lockbox::iam::v1 as own;
use lockbox_proto::lockbox::iam::v1::access_service_client::AccessServiceClient;
use lockbox_proto::yandex::cloud::access::{self, AccessBindingAction};
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use prost_types::Timestamp;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};
use wire::get_ex_request::Identifier;

use crate::client::text;
use crate::fixture::{Node, WAIT, bearing};
use crate::messages::{binding, metadata, response};

const HOUR: Duration = Duration::from_secs(3600);

/// An account and its token.
pub(crate) struct Robot {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Node {
    pub(crate) fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn robot(&self, name: &str) -> Robot {
        let account = self.create_account(name).await;
        let key = self.create_key(&account.id).await;
        let token = self.token_of(&account.id, &key).await;
        Robot { id: account.id, token }
    }

    /// The log's time.
    fn now(&self) -> LogTime {
        self.app.replica.log_time().unwrap()
    }

    /// A point that lies so far ahead on the log's clock.
    fn ahead(&self, time: Duration) -> Timestamp {
        lockbox::convert::timestamp(self.now().plus(time))
    }

    pub(crate) async fn change(
        &self,
        resource_id: &str,
        deltas: Vec<own::BindingDelta>,
    ) -> Result<Operation, Status> {
        let request = own::UpdateBindingsRequest { resource_id: resource_id.into(), deltas };
        Ok(self.access().update_bindings(self.request(request)).await?.into_inner())
    }

    pub(crate) async fn bindings(&self, resource_id: &str) -> Vec<own::Binding> {
        let request =
            own::ListBindingsRequest { resource_id: resource_id.into(), ..Default::default() };
        let listed = self.access().list_bindings(self.request(request)).await.unwrap();
        listed.into_inner().bindings
    }

    async fn listed(&self, secret: &str) -> Vec<access::AccessBinding> {
        let request =
            access::ListAccessBindingsRequest { resource_id: secret.into(), ..Default::default() };
        let listed = self.secrets().list_access_bindings(self.request(request)).await.unwrap();
        listed.into_inner().access_bindings
    }

    /// What a read of a payload comes to: by Get, by GetEx, and by REST.
    pub(crate) async fn reads(&self, token: &str, secret: &str, version: &str) -> [Code; 3] {
        let code = |status: Option<Status>| status.map_or(Code::Ok, |status| status.code());
        let (secret_id, version_id) = (secret.to_owned(), version.to_owned());
        let get = wire::GetPayloadRequest { secret_id: secret_id.clone(), version_id };
        let get = self.payloads().get(bearing(token, get)).await.err();
        let identifier = Some(Identifier::SecretId(secret_id));
        let get_ex = wire::GetExRequest { identifier, version_id: version.to_owned() };
        let get_ex = self.payloads().get_ex(bearing(token, get_ex)).await.err();
        let uri = format!("/lockbox/v1/secrets/{secret}/payload?versionId={version}");
        let (_, body) = self.rest(token, "GET", &uri, "").await;
        let rest =
            body["code"].as_i64().map_or(Code::Ok, |code| Code::from(i32::try_from(code).unwrap()));
        [code(get), code(get_ex), rest]
    }

    /// An answer of REST: its status and its body.
    pub(crate) async fn rest(
        &self,
        token: &str,
        method: &str,
        uri: &str,
        body: &str,
    ) -> (u16, serde_json::Value) {
        let router = router::public(&self.app, self.metrics.rpc.clone()).unwrap();
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(body.to_owned()));
        let answer = router.answer(request.unwrap()).await;
        let status = answer.status().as_u16();
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

pub(crate) fn bound(
    role: &str,
    account: &str,
    conditions: Option<own::Conditions>,
) -> own::Binding {
    let subject = binding(role, "serviceAccount", account).subject;
    own::Binding { role_id: role.into(), subject, conditions }
}

pub(crate) fn delta(action: AccessBindingAction, binding: own::Binding) -> Vec<own::BindingDelta> {
    vec![own::BindingDelta { action: action.into(), binding: Some(binding) }]
}

pub(crate) fn add(binding: own::Binding) -> Vec<own::BindingDelta> {
    delta(AccessBindingAction::Add, binding)
}

fn until(not_after: Timestamp) -> Option<own::Conditions> {
    Some(own::Conditions { not_after: Some(not_after), only_current_version: false })
}

pub(crate) fn current() -> Option<own::Conditions> {
    Some(own::Conditions { not_after: None, only_current_version: true })
}

/// Nobody calls and nobody writes while the time passes: the right has ended all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_ends_on_an_idle_cluster() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.robot("robot").await;
    let end = node.ahead(2 * HOUR);
    let reader = bound("lockbox.payloadViewer", &robot.id, until(end));
    node.change(&secret.id, add(reader.clone())).await.unwrap();
    assert_eq!(node.bindings(&secret.id).await, std::slice::from_ref(&reader));
    assert_eq!(node.reads(&robot.token, &secret.id, "").await, [Code::Ok; 3]);
    node.pass(HOUR);
    assert_eq!(node.reads(&robot.token, &secret.id, "").await, [Code::Ok; 3]);
    node.pass(HOUR);
    assert_eq!(node.reads(&robot.token, &secret.id, "").await, [Code::PermissionDenied; 3]);
    assert!(node.bindings(&secret.id).await.is_empty());
    assert!(node.listed(&secret.id).await.is_empty());
    let again = node.change(&secret.id, add(reader)).await.unwrap_err();
    assert_eq!(again.code(), Code::InvalidArgument);
    assert!(again.message().contains("deltas[0].binding.conditions.not_after"), "{again:?}");
    node.stop().await;
}

/// The last read that is allowed began before the end, and the first that is refused ended behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_allowed_after_the_end_and_none_refused_before() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.robot("robot").await;
    let end = node.ahead(Duration::from_millis(1_500));
    let reader = bound("lockbox.payloadViewer", &robot.id, until(end));
    node.change(node.made.folder_id.as_str(), add(reader)).await.unwrap();
    let end = lockbox::convert::log_time(&end).unwrap();
    let deadline = Instant::now() + WAIT;
    let mut refused = 0;
    while refused < 3 {
        assert!(Instant::now() < deadline, "the right does not end");
        let before = node.now();
        let [code, ..] = node.reads(&robot.token, &secret.id, "").await;
        let after = node.now();
        match code {
            Code::Ok => assert!(before < end && refused == 0, "allowed at {before}, {end}"),
            Code::PermissionDenied => {
                assert!(after >= end, "refused at {after}, {end}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_to_the_current_version_goes_with_the_pointer() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let first = secret.current_version.clone().unwrap().id;
    let second = node.add(&secret.id, vec![text("k", "w")]).await.id;
    let robot = node.robot("robot").await;
    let reader = bound("lockbox.payloadViewer", &robot.id, current());
    node.change(node.made.folder_id.as_str(), add(reader.clone())).await.unwrap();
    let (may, may_not) = ([Code::Ok; 3], [Code::PermissionDenied; 3]);
    let reads = async |version: &str| node.reads(&robot.token, &secret.id, version).await;
    assert_eq!([reads("").await, reads(&first).await, reads(&second).await], [may, may_not, may]);
    let back =
        wire::SetCurrentVersionRequest { secret_id: secret.id.clone(), version_id: first.clone() };
    node.secrets().set_current_version(node.request(back)).await.unwrap();
    assert_eq!([reads("").await, reads(&first).await, reads(&second).await], [may, may, may_not]);
    // A version that is not there is not told from one that may not be read.
    assert_eq!(reads("e6qnowhere").await, may_not);
    let get = wire::GetSecretRequest { secret_id: secret.id.clone() };
    let metadata = node.secrets().get(bearing(&robot.token, get)).await.unwrap_err();
    assert_eq!(metadata.code(), Code::PermissionDenied);
    let removal = delta(AccessBindingAction::Remove, reader);
    node.change(node.made.folder_id.as_str(), removal).await.unwrap();
    assert_eq!(reads("").await, may_not);
    node.stop().await;
}

/// The cloud's API has no place for conditions, and loses none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clouds_api_shows_conditions_and_takes_them_back() {
    let node = Node::start().await;
    let mut secrets = node.secrets();
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.robot("robot").await;
    let mut end = node.ahead(HOUR);
    end.nanos = 0;
    let both = own::Conditions { not_after: Some(end), only_current_version: true };
    let conditional = bound("lockbox.payloadViewer", &robot.id, Some(both));
    let plain = bound("lockbox.viewer", &robot.id, None);
    for binding in [&conditional, &plain] {
        node.change(&secret.id, add(binding.clone())).await.unwrap();
    }
    let mut listed = node.listed(&secret.id).await;
    listed.sort_by(|a, b| a.role_id.cmp(&b.role_id));
    let noted = format!("lockbox.payloadViewer;until={end};current");
    let roles: Vec<&str> = listed.iter().map(|binding| binding.role_id.as_str()).collect();
    assert_eq!(roles, [noted.as_str(), "lockbox.viewer"]);

    // Read, written back: nothing has changed, and no right has grown.
    let set = |access_bindings: Vec<access::AccessBinding>| access::SetAccessBindingsRequest {
        resource_id: secret.id.clone(),
        access_bindings,
    };
    secrets.set_access_bindings(node.request(set(listed.clone()))).await.unwrap();
    let mut own = node.bindings(&secret.id).await;
    own.sort_by(|a, b| a.role_id.cmp(&b.role_id));
    assert_eq!(own, [conditional.clone(), plain.clone()]);
    // What the set does not name is gone, whatever its conditions.
    secrets.set_access_bindings(node.request(set(listed[1..].to_vec()))).await.unwrap();
    assert_eq!(node.bindings(&secret.id).await, std::slice::from_ref(&plain));
    secrets.set_access_bindings(node.request(set(listed.clone()))).await.unwrap();
    assert_eq!(node.reads(&robot.token, &secret.id, "").await, [Code::Ok; 3]);

    // Who knows of no conditions takes the role, and with it every way in which it was given.
    let remove = |role: &str| access::UpdateAccessBindingsRequest {
        resource_id: secret.id.clone(),
        access_binding_deltas: vec![access::AccessBindingDelta {
            action: AccessBindingAction::Remove.into(),
            access_binding: Some(binding(role, "serviceAccount", &robot.id)),
        }],
    };
    node.change(&secret.id, add(bound("lockbox.payloadViewer", &robot.id, None))).await.unwrap();
    assert_eq!(node.bindings(&secret.id).await.len(), 3);
    let request = node.request(remove("lockbox.payloadViewer"));
    secrets.update_access_bindings(request).await.unwrap();
    assert_eq!(node.bindings(&secret.id).await, [plain]);
    assert_eq!(node.reads(&robot.token, &secret.id, "").await, [Code::PermissionDenied; 3]);

    for wrong in [
        "lockbox.payloadViewer;until=tomorrow",
        "lockbox.payloadViewer;until=1999-12-31T00:00:00Z",
        "lockbox.viewer;current",
        "lockbox.viewer;",
        "lockbox.god;current",
    ] {
        let role = vec![binding(wrong, "serviceAccount", &robot.id)];
        let refused = secrets.set_access_bindings(node.request(set(role))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_that_make_no_sense_are_refused_with_their_field() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.robot("robot").await;
    let (folder, cloud) = (node.made.folder_id.as_str(), node.made.cloud_id.as_str());
    let late = Timestamp { seconds: 4_291_747_200, nanos: 0 };
    let early = Timestamp { seconds: -1, nanos: 0 };
    let end = node.ahead(HOUR);
    let owner = "resource-manager.clouds.owner";
    let reader = "lockbox.payloadViewer";
    for (on, role, conditions, field) in [
        (secret.id.as_str(), "lockbox.viewer", current(), "conditions.only_current_version"),
        (folder, "kms.keys.decrypter", current(), "conditions.only_current_version"),
        (cloud, owner, until(end), "conditions"),
        (folder, reader, until(node.ahead(Duration::ZERO)), "conditions.not_after"),
        (folder, reader, until(late), "conditions.not_after"),
        (folder, reader, until(early), "conditions.not_after"),
        (folder, "lockbox.payloadViewer;current", None, "role_id"),
        (folder, "lockbox.god", until(end), "role_id"),
    ] {
        let refused = node.change(on, add(bound(role, &robot.id, conditions))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{role}: {refused:?}");
        assert!(refused.message().contains(field), "{role}: {refused:?}");
    }
    // The last second that there is.
    let last = until(Timestamp { seconds: late.seconds - 1, nanos: 999_999_999 });
    node.change(folder, add(bound(reader, &robot.id, last))).await.unwrap();
    let audit = node.audit();
    let record = audit.lines().rev().find(|line| line.contains(".UpdateBindings")).unwrap();
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    assert_eq!(record["event_status"], "DONE");
    assert_eq!(record["details"]["resource_id"], folder);
    let bound = &record["details"]["access_binding_deltas"][0]["access_binding"];
    assert_eq!(bound["not_after"], "2105-12-31T23:59:59.999Z", "{record}");
    assert!(bound.get("only_current_version").is_none(), "{record}");
    node.stop().await;
}

/// What ends must not leave behind what does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_for_an_hour_grants_nothing() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let (robot, other) = (node.robot("robot").await, node.robot("other").await);
    let folder = node.made.folder_id.as_str();
    let end = node.ahead(HOUR);
    node.change(folder, add(bound("admin", &robot.id, until(end)))).await.unwrap();
    assert_eq!(node.reads(&robot.token, &secret.id, "").await, [Code::Ok; 3]);
    let create = wire::CreateSecretRequest { folder_id: folder.into(), ..Default::default() };
    node.secrets().create(bearing(&robot.token, create)).await.unwrap();

    let version = secret.current_version.clone().unwrap().id;
    for on in [folder, &secret.id, &version, &other.id] {
        let deltas = add(bound("lockbox.payloadViewer", &robot.id, None));
        let request = own::UpdateBindingsRequest { resource_id: on.into(), deltas };
        let refused = node.access().update_bindings(bearing(&robot.token, request)).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied, "{on}");
    }
    let key = iam::CreateKeyRequest { service_account_id: other.id.clone(), ..Default::default() };
    let refused = node.keys().create(bearing(&robot.token, key)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let service_account_id = other.id.clone();
    let token = iam::CreateIamTokenForServiceAccountRequest { service_account_id };
    let refused = node.tokens().create_for_service_account(bearing(&robot.token, token)).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);

    // And that is what it is told.
    let asked = async |permission: &str, on: &str| {
        let request = own::ExplainRequest {
            subject: None,
            permission: permission.into(),
            resource_id: on.into(),
        };
        let answer = node.access().explain(bearing(&robot.token, request)).await.unwrap();
        answer.into_inner()
    };
    for (permission, on, allowed) in [
        ("secrets.setAccessBindings", secret.id.as_str(), false),
        ("serviceAccounts.createToken", &other.id, false),
        ("resourceManager.administer", folder, true),
    ] {
        let told = asked(permission, on).await;
        assert_eq!(told.allowed, allowed, "{told:?}");
        assert!(told.remarks.iter().any(|remark| remark.contains("has an end")), "{told:?}");
    }
    assert!(asked("secrets.update", &secret.id).await.remarks.is_empty());
    node.pass(HOUR);
    let late = asked("secrets.update", &secret.id).await;
    assert!(!late.allowed, "{late:?}");
    assert_eq!(late.held[0].unmet, "has ended");
    assert!(!late.held[0].grants);
    let role = late.held[0].access_binding.clone().unwrap().role_id;
    assert!(role.starts_with("admin;until="), "{role}");
    node.stop().await;
}

/// The KMS knows of no conditions, so it is told of roles as they are at the read's own moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kms_is_told_of_a_role_until_it_ends() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    let robot = node.robot("robot").await;
    let folder = node.made.folder_id.as_str();
    let end = node.ahead(HOUR);
    let reader = bound("lockbox.payloadViewer", &robot.id, None);
    node.change(&secret.id, add(reader)).await.unwrap();
    for role in ["kms.keys.decrypter", "kms.admin"] {
        node.change(folder, add(bound(role, &robot.id, until(end)))).await.unwrap();
    }
    let told = async || {
        node.reads(&robot.token, &secret.id, "").await;
        let mut roles = node.kms.used().pop().unwrap().roles;
        roles.sort();
        roles
    };
    assert_eq!(told().await, ["kms.editor", "kms.keys.decrypter"]);
    node.pass(HOUR);
    assert!(told().await.is_empty());
    node.stop().await;
}

/// The operation is that of the resource's own service, and a repeat finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_an_operation_that_a_repeat_finds() {
    let node = Node::start().await;
    let robot = node.robot("robot").await;
    let folder = node.made.folder_id.as_str();
    let end = node.ahead(HOUR);
    let request = || own::UpdateBindingsRequest {
        resource_id: folder.into(),
        deltas: add(bound("viewer", &robot.id, until(end))),
    };
    let first = node.access().update_bindings(node.keyed("once", request())).await.unwrap();
    let first = first.into_inner();
    let about: access::UpdateAccessBindingsMetadata = metadata(&first);
    assert_eq!(about.resource_id, folder);
    let result: access::AccessBindingsOperationResult = response(&first);
    let added = result.effective_deltas[0].access_binding.clone().unwrap();
    assert_eq!(added.role_id, format!("viewer;until={end}"));
    // Behind the end, too.
    node.pass(2 * HOUR);
    let again = node.access().update_bindings(node.keyed("once", request())).await.unwrap();
    assert_eq!(again.into_inner(), first);
    let mut other = request();
    other.deltas[0].binding.as_mut().unwrap().conditions = None;
    let other = node.access().update_bindings(node.keyed("once", other)).await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
    node.stop().await;
}

/// `contract §0.4`: what is there over gRPC is there by REST, where it has a route.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_with_conditions_answer_to_rest() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.robot("robot").await;
    let at = format!("/lockbox/iam/v1/resources/{}", secret.id);
    let binding = serde_json::json!({
        "roleId": "lockbox.payloadViewer",
        "subject": { "id": robot.id, "type": "serviceAccount" },
        "conditions": { "notAfter": "2100-01-01T00:00:00Z", "onlyCurrentVersion": true },
    });
    let body = serde_json::json!({ "deltas": [{ "action": "ADD", "binding": binding }] });
    let update = format!("{at}:updateBindings");
    let (status, operation) = node.rest(node.token(), "POST", &update, &body.to_string()).await;
    assert_eq!(status, 200, "{operation}");
    assert_eq!(operation["done"], true);
    let (_, listed) = node.rest(node.token(), "GET", &format!("{at}/bindings"), "").await;
    assert_eq!(listed, serde_json::json!({ "bindings": [binding] }));
    let question = serde_json::json!({ "permission": "payload.get", "resourceId": secret.id });
    let explain = "/lockbox/iam/v1/access:explain";
    let (_, told) = node.rest(&robot.token, "POST", explain, &question.to_string()).await;
    assert_eq!(told["allowed"], true, "{told}");
    let (status, refused) = node.rest(&robot.token, "GET", &format!("{at}/bindings"), "").await;
    assert_eq!((status, refused["code"].as_i64()), (403, Some(7)));
    node.stop().await;
}
