//! Rules that no option can express, at their edges: sums, counts, one field against another, and
//! headers (`contract §2.5` to `§2.11`, `§9`, `§13`).

use lockbox::router;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::{REST_ROUTES, descriptor_pool};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use tonic::Code;

use super::tables;
use super::wire::{Verdict, by_grpc, by_rest};
use crate::client::text;
use crate::fixture::Node;

const SECRETS: &str = "yandex.cloud.lockbox.v1.SecretService";
const ENTRIES: &str = "version_payload_entries";
const PASSWORD: &str = "password_payload_specification";

/// The last request of its kind that is taken, the first that is not, and the field that is wrong.
struct Case {
    /// `Service.Method`.
    method: String,
    field: String,
    taken: Value,
    refused: Value,
}

fn method(name: &str) -> MethodDescriptor {
    let (service, method) = name.rsplit_once('.').unwrap();
    let service = descriptor_pool().get_service_by_name(service).unwrap();
    service.methods().find(|known| known.name() == method).unwrap()
}

fn entries(values: &[(String, String)]) -> Value {
    let entry = |(key, value): &(String, String)| json!({ "key": key, "textValue": value });
    Value::Array(values.iter().map(entry).collect())
}

/// Entries with keys of a number and of a length, a letter each.
fn keyed(count: usize, length: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("{n:0length$}"), "v".to_owned())).collect()
}

fn sized(sizes: &[usize]) -> Value {
    let entry = |(n, size): (usize, &usize)| (format!("k{n}"), "x".repeat(*size));
    entries(&sizes.iter().enumerate().map(entry).collect::<Vec<_>>())
}

/// Cases of a new secret: each sends these fields beside the folder.
fn of_create(folder: &str) -> Vec<Case> {
    let case = |field: &str, taken: Value, refused: Value| {
        let in_folder = |mut request: Value| {
            request["folderId"] = json!(folder);
            request
        };
        let (method, field) = (format!("{SECRETS}.Create"), field.to_owned());
        Case { method, field, taken: in_folder(taken), refused: in_folder(refused) }
    };
    let made_of = |entries: Value| json!({ "versionPayloadEntries": entries });
    let of_entries = |field: &str, taken, refused| case(field, made_of(taken), made_of(refused));
    let spec = |field: &str, taken: Value, refused: Value| {
        let of = |mut spec: Value| {
            spec["passwordKey"] = json!("p");
            json!({ "passwordPayloadSpecification": spec })
        };
        let field = if field.is_empty() { PASSWORD.into() } else { format!("{PASSWORD}.{field}") };
        case(&field, of(taken), of(refused))
    };
    let letters = |n: usize| entries(&[("k".to_owned(), "ж".repeat(n))]);
    // 256 keys of 256 letters are 64 KiB of keys.
    let (full, over) = (keyed(256, 256), keyed(257, 256));
    let twice = [("k".to_owned(), "v".to_owned()), ("k".to_owned(), "w".to_owned())];
    let off = json!({
        "includeUppercase": false, "includeLowercase": false, "includeDigits": false,
        "includePunctuation": false,
    });
    let digits = json!({
        "includeUppercase": false, "includeLowercase": false, "includePunctuation": false,
    });
    vec![
        of_entries(ENTRIES, sized(&[65_535, 1]), sized(&[65_535, 2])),
        // Bytes count, not characters.
        of_entries(ENTRIES, letters(32_768), letters(32_769)),
        of_entries(ENTRIES, entries(&full), entries(&over)),
        of_entries(ENTRIES, entries(&keyed(1_000, 4)), entries(&keyed(1_001, 4))),
        of_entries("version_payload_entries[1].key", sized(&[1, 1]), entries(&twice)),
        of_entries("version_payload_entries[0].value", sized(&[1]), sized(&[0])),
        of_entries("version_payload_entries[0].value", sized(&[1]), json!([{ "key": "k" }])),
        case("create_version", json!({ "createVersion": false }), json!({ "createVersion": true })),
        case(
            ENTRIES,
            made_of(sized(&[1])),
            json!({
                "versionPayloadEntries": sized(&[1]),
                "passwordPayloadSpecification": { "passwordKey": "p" },
            }),
        ),
        spec("length", json!({ "length": "4" }), json!({ "length": "3" })),
        spec("", digits, off),
        spec(
            "included_punctuation",
            json!({ "includedPunctuation": "-" }),
            json!({ "includedPunctuation": "-", "excludedPunctuation": "_" }),
        ),
        spec(
            "included_punctuation",
            json!({ "includedPunctuation": "~" }),
            json!({ "includedPunctuation": "~a" }),
        ),
        spec(
            "excluded_punctuation",
            json!({ "excludedPunctuation": "~" }),
            json!({ "excludedPunctuation": "~ " }),
        ),
        spec(
            "excluded_punctuation",
            json!({ "includePunctuation": false }),
            json!({ "includePunctuation": false, "excludedPunctuation": "-" }),
        ),
        spec(
            "included_punctuation",
            json!({ "includePunctuation": false }),
            json!({ "includePunctuation": false, "includedPunctuation": "-" }),
        ),
    ]
}

/// Cases of a secret that there is.
fn of_secret(secret: &wire::Secret) -> Vec<Case> {
    let case = |method: &str, field: &str, taken: Value, refused: Value| {
        let of = |mut request: Value| {
            request["secretId"] = json!(secret.id);
            request
        };
        let (method, field) = (format!("{SECRETS}.{method}"), field.to_owned());
        Case { method, field, taken: of(taken), refused: of(refused) }
    };
    let removals = |count: usize| {
        let key = |n: usize| json!({ "key": format!("nowhere-{n}") });
        json!({ "payloadEntries": (0..count).map(key).collect::<Vec<_>>() })
    };
    let version = &secret.current_version.as_ref().unwrap().id;
    let pending = |taken: &str, refused: &str| {
        let of = |period: &str| json!({ "versionId": version, "pendingPeriod": period });
        let method = "ScheduleVersionDestruction";
        case(method, "pending_period", of(taken), of(refused))
    };
    vec![
        // What is asked of a version that goes is asked last.
        case("AddVersion", "payload_entries", removals(2_000), removals(2_001)),
        case(
            "AddVersion",
            "payload_entries",
            json!({ "payloadEntries": [{ "key": "k", "textValue": "w" }] }),
            json!({ "payloadEntries": [{ "key": "k", "textValue": "" }] }),
        ),
        pending("31536000s", "31536000.000000001s"),
        pending("3600s", "-3600s"),
        pending("0.000000001s", "0s"),
    ]
}

/// What a mask may list, and that it lists something (`contract §2.7`).
fn of_masks(node: &Node, secret: &str, account: &str, key: &str) -> Vec<Case> {
    let (cloud, folder) = (node.made.cloud_id.as_str(), node.made.folder_id.as_str());
    let updates = [
        (SECRETS, "secretId", secret),
        ("yandex.cloud.iam.v1.ServiceAccountService", "serviceAccountId", account),
        ("yandex.cloud.iam.v1.KeyService", "keyId", key),
        ("yandex.cloud.resourcemanager.v1.CloudService", "cloudId", cloud),
        ("yandex.cloud.resourcemanager.v1.FolderService", "folderId", folder),
    ];
    let mut cases = Vec::new();
    for (service, field, id) in updates {
        for refused in [None, Some(""), Some("description,createdAt"), Some("labels.env")] {
            let request = |mask: Option<&str>| {
                let mut request = json!({ field: id });
                if service.ends_with("ServiceAccountService") {
                    request["name"] = json!("required");
                }
                if let Some(mask) = mask {
                    request["updateMask"] = json!(mask);
                }
                request
            };
            let (taken, refused) = (request(Some("description")), request(refused));
            let (method, field) = (format!("{service}.Update"), "update_mask".to_owned());
            cases.push(Case { method, field, taken, refused });
        }
    }
    cases
}

/// Roles and subjects are words of lists; the request's place of a wrong one is named.
fn of_bindings(secret: &str) -> Vec<Case> {
    let binding = |role: &str, kind: &str, id: &str| json!({ "roleId": role, "subject": { "type": kind, "id": id } });
    let set = |second: Value| {
        let first = binding("viewer", "serviceAccount", "aje1");
        json!({ "resourceId": secret, "accessBindings": [first, second] })
    };
    let update = |binding: Value| {
        let delta = json!({ "action": "ADD", "accessBinding": binding });
        json!({ "resourceId": secret, "accessBindingDeltas": [delta] })
    };
    let good = || binding("viewer", "system", "allUsers");
    let mut cases = Vec::new();
    for (leaf, wrong) in [
        ("role_id", binding("god", "system", "allUsers")),
        ("role_id", binding("resource-manager.clouds.owner", "serviceAccount", "aje1")),
        ("subject.type", binding("viewer", "robot", "aje1")),
        ("subject.id", binding("viewer", "system", "nobody")),
    ] {
        cases.push(Case {
            method: format!("{SECRETS}.SetAccessBindings"),
            field: format!("access_bindings[1].{leaf}"),
            taken: set(good()),
            refused: set(wrong.clone()),
        });
        cases.push(Case {
            method: format!("{SECRETS}.UpdateAccessBindings"),
            field: format!("access_binding_deltas[0].access_binding.{leaf}"),
            taken: update(good()),
            refused: update(wrong),
        });
    }
    cases
}

fn of_lists(folder: &str) -> Vec<Case> {
    let case = |service: &str, field: &str, taken: Value, refused: Value| Case {
        method: format!("{service}.List"),
        field: field.to_owned(),
        taken,
        refused,
    };
    let accounts = "yandex.cloud.iam.v1.ServiceAccountService";
    let filtered = |filter: &str| json!({ "folderId": folder, "filter": filter });
    vec![
        case(accounts, "filter", filtered("name=\"a\""), filtered("name=\"a")),
        case(
            SECRETS,
            "page_token",
            json!({ "folderId": folder, "pageToken": "" }),
            json!({ "folderId": folder, "pageToken": "AAAA" }),
        ),
    ]
}

/// Both ways: by gRPC, and by REST where the method has a route.
async fn ask(node: &Node, case: &Case, request: &Value) -> Vec<Verdict> {
    let router = router::public(&node.app, node.metrics.rpc.clone()).unwrap();
    let method = method(&case.method);
    let message = DynamicMessage::deserialize(method.input(), request).unwrap();
    let mut verdicts = vec![by_grpc(node, &method, &message).await];
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    for route in REST_ROUTES.iter().filter(|route| route.grpc_path == path) {
        verdicts.push(by_rest(node, &router, route, &message).await);
    }
    assert!(verdicts.len() > 1, "{path} has no route");
    verdicts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_between_fields_hold_at_their_edges_and_a_refusal_changes_nothing() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await.key.unwrap();
    let folder = node.made.folder_id.as_str();
    let cases: Vec<_> = [
        of_masks(&node, &secret.id, &robot.id, &key.id),
        of_lists(folder),
        of_bindings(&secret.id),
        of_secret(&secret),
        of_create(folder),
    ]
    .into_iter()
    .flatten()
    .collect();
    let before = tables(&node).await;
    for case in &cases {
        for verdict in ask(&node, case, &case.refused).await {
            let named = verdict.of(&case.field).is_some();
            let right = verdict.code == Code::InvalidArgument && named;
            assert!(right, "{} for {}: {verdict:?}", case.method, case.field);
        }
    }
    assert_eq!(tables(&node).await, before, "a refused request has changed something");
    for case in &cases {
        for verdict in ask(&node, case, &case.taken).await {
            // The fixture's quotas are small, and a version that went in a nanosecond is gone:
            // both are judged behind all that is malformed.
            let behind = [Code::Ok, Code::ResourceExhausted, Code::FailedPrecondition];
            let right = behind.contains(&verdict.code);
            assert!(right, "{} for {}: {verdict:?}", case.method, case.field);
        }
    }
    node.stop().await;
}

/// Headers are no fields, but a refusal names them all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_hold_at_their_edges() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let activate = |name: &'static str, value: &str| {
        let message = wire::ActivateSecretRequest { secret_id: secret.id.clone() };
        let mut request = node.request(message);
        request.metadata_mut().insert(name, value.parse().unwrap());
        request
    };
    let (hundred, more) = ("i".repeat(100), "i".repeat(101));
    let (fifty, longer) = ("v".repeat(50), "v".repeat(51));
    let current = secret.current_version.as_ref().unwrap().id.as_str();
    for (name, taken, refused) in [
        ("idempotency-key", hundred.as_str(), more.as_str()),
        ("x-if-version", current, longer.as_str()),
        ("x-if-version", current, "a version"),
        ("x-consistency", "linearizable", "stale"),
        ("lockbox-min-index", "1", "one"),
    ] {
        let before = tables(&node).await;
        let status = node.secrets().activate(activate(name, refused)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status:?}");
        assert!(status.message().starts_with(name), "{name}: {status:?}");
        assert_eq!(tables(&node).await, before, "{name}");
        node.secrets().activate(activate(name, taken)).await.unwrap();
    }
    // The longest that an id may be is an id, of nothing that exists.
    let other = node.secrets().activate(activate("x-if-version", &fifty)).await.unwrap_err();
    assert_eq!(other.code(), Code::Aborted, "{other:?}");
    node.stop().await;
}
