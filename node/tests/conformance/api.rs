//! What items are written in: calls by name with JSON, as the administrator or as somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockbox_core::Clock;
use lockbox_platform::authorized_key::{AuthorizedKeyFile, KeyAlgorithm, sign_jwt};
use lockbox_platform::jwt::AUDIENCE;
use lockbox_platform::system::SystemClock;
use lockbox_proto::OPERATION_TYPES;
use serde_json::{Value, json};

use crate::target::Target;
use crate::transport::{Asked, Refusal, Transport, method, send};

/// Names are unique within a run, whatever runs beside it.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The codes that items expect, by their numbers.
pub(crate) mod code {
    pub(crate) const INVALID_ARGUMENT: i64 = 3;
    pub(crate) const NOT_FOUND: i64 = 5;
    pub(crate) const PERMISSION_DENIED: i64 = 7;
    pub(crate) const FAILED_PRECONDITION: i64 = 9;
    pub(crate) const UNAUTHENTICATED: i64 = 16;
}

/// Calls of one subject to one target over one transport.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) target: Arc<Target>,
    pub(crate) transport: Transport,
    token: Option<String>,
    headers: Vec<(String, String)>,
}

/// A service account that can log in.
pub(crate) struct Robot {
    pub(crate) id: String,
    pub(crate) key: AuthorizedKeyFile,
}

impl Api {
    /// The administrator.
    pub(crate) fn new(target: Arc<Target>, transport: Transport) -> Self {
        let token = Some(target.token.clone());
        Self { target, transport, token, headers: Vec::new() }
    }

    /// Somebody else.
    pub(crate) fn bearing(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Nobody.
    pub(crate) fn nameless(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same with one more header.
    pub(crate) fn with_header(&self, name: &str, value: &str) -> Self {
        let mut api = self.clone();
        api.headers.push((name.to_owned(), value.to_owned()));
        api
    }

    /// A text that no other item uses.
    pub(crate) fn unique(&self, stem: &str) -> String {
        format!("{stem}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// Calls a method; what comes back is a message in JSON.
    ///
    /// Every refusal names its request, and every operation is done and has exactly the declared
    /// types (`contract §0.3`, `§5.1`): that is looked at here, for all items.
    pub(crate) async fn call(&self, name: &str, message: Value) -> Result<Value, Refusal> {
        let method = method(name);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if let Some(bearer) = &bearer {
            headers.push(("authorization", bearer));
        }
        let endpoint =
            if name.starts_with("kms.") { &self.target.kms } else { &self.target.lockbox };
        let asked = Asked { method, message: &message, headers: &headers };
        let answer = send(self.transport, &self.target, endpoint, &asked).await;
        match &answer {
            Ok(answer) => check_operation(method.grpc_path, answer),
            Err(refusal) => {
                let details = refusal.status["details"].as_array().cloned().unwrap_or_default();
                let names_it = details.iter().any(|detail| {
                    detail["@type"] == "type.googleapis.com/google.rpc.RequestInfo"
                        && detail["requestId"].as_str().is_some_and(|id| !id.is_empty())
                });
                assert!(names_it, "{name}: {}", refusal.status);
            }
        }
        answer
    }

    /// Calls a method that must succeed.
    #[track_caller]
    pub(crate) fn must(&self, name: &str, message: Value) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let answer = self.call(name, message).await;
            answer.unwrap_or_else(|refusal| panic!("{place}: {name}: {}", refusal.status))
        }
    }

    /// Calls a method that must be refused with this code.
    #[track_caller]
    pub(crate) fn refused(
        &self,
        expected: i64,
        name: &str,
        message: Value,
    ) -> impl Future<Output = Refusal> {
        let place = std::panic::Location::caller();
        async move {
            match self.call(name, message.clone()).await {
                Ok(answer) => panic!("{place}: {name} {message}: {answer}"),
                Err(refusal) => {
                    assert_eq!(refusal.code, expected, "{place}: {name} {message}: {refusal:?}");
                    refusal
                }
            }
        }
    }

    /// Creates a secret from these fields, in the folder unless they say otherwise; the operation.
    pub(crate) async fn create(&self, mut fields: Value) -> Value {
        if fields.get("folderId").is_none() {
            fields["folderId"] = json!(self.target.folder);
        }
        self.must("lockbox.v1.SecretService/Create", fields).await
    }

    /// Creates a secret with these text entries; its id.
    pub(crate) async fn secret(&self, entries: &[(&str, &str)]) -> String {
        let operation = self.create(json!({ "versionPayloadEntries": texts(entries) })).await;
        text(&operation["response"]["id"])
    }

    /// Adds a version with these fields; the new version.
    pub(crate) async fn add(&self, secret: &str, mut fields: Value) -> Value {
        fields["secretId"] = json!(secret);
        self.must("lockbox.v1.SecretService/AddVersion", fields).await["response"].clone()
    }

    pub(crate) async fn get(&self, secret: &str) -> Value {
        self.must("lockbox.v1.SecretService/Get", json!({ "secretId": secret })).await
    }

    /// The entries of a version, the current one when it is empty, as pairs.
    pub(crate) async fn entries(&self, secret: &str, version: &str) -> Vec<(String, String)> {
        let request = json!({ "secretId": secret, "versionId": version });
        let payload = self.must("lockbox.v1.PayloadService/Get", request).await;
        let entries = payload["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| (text(&entry["key"]), text(&entry["textValue"]))).collect()
    }

    /// Gives a role on a resource.
    pub(crate) async fn grant(&self, service: &str, on: &str, role: &str, whom: &Value) {
        let binding = json!({ "roleId": role, "subject": whom });
        let deltas = json!([{ "action": "ADD", "accessBinding": binding }]);
        let request = json!({ "resourceId": on, "accessBindingDeltas": deltas });
        self.must(service, request).await;
    }

    /// Makes an account with these roles on the folder, which can log in.
    pub(crate) async fn robot(&self, roles: &[&str]) -> Robot {
        let request = json!({ "folderId": self.target.folder, "name": self.unique("robot") });
        let made = self.must("iam.v1.ServiceAccountService/Create", request).await;
        let id = text(&made["response"]["id"]);
        let request = json!({ "serviceAccountId": id });
        let made = self.must("iam.v1.KeyService/Create", request).await;
        let key = AuthorizedKeyFile {
            id: text(&made["key"]["id"]),
            service_account_id: id.clone(),
            created_at: String::new(),
            key_algorithm: KeyAlgorithm::Rsa2048,
            public_key: String::new(),
            private_key: text(&made["privateKey"]).into(),
        };
        for role in roles {
            let folder = self.target.folder.clone();
            let service = "resourcemanager.v1.FolderService/UpdateAccessBindings";
            self.grant(service, &folder, role, &account(&id)).await;
        }
        Robot { id, key }
    }

    /// Logs in by the key's file, as an SDK does.
    pub(crate) async fn log_in(&self, robot: &Robot) -> Self {
        let now_ms = SystemClock::new().wall_ms();
        let jwt = sign_jwt(&robot.key, AUDIENCE, now_ms, Duration::from_secs(300)).unwrap();
        let request = json!({ "jwt": jwt.expose() });
        let made = self.nameless().must("iam.v1.IamTokenService/Create", request).await;
        self.bearing(&text(&made["iamToken"]))
    }

    /// A key of the KMS, in the folder.
    pub(crate) async fn kms_key(&self) -> String {
        let request = json!({
            "folderId": self.target.folder,
            "name": self.unique("key"),
            "defaultAlgorithm": "AES_256",
        });
        let made = self.must("kms.v1.SymmetricKeyService/Create", request).await;
        text(&made["response"]["id"])
    }
}

/// A service account as a subject.
pub(crate) fn account(id: &str) -> Value {
    json!({ "id": id, "type": "serviceAccount" })
}

/// Entries with text.
pub(crate) fn texts(entries: &[(&str, &str)]) -> Value {
    entries.iter().map(|(key, value)| json!({ "key": key, "textValue": value })).collect()
}

/// Pairs of text, as [`Api::entries`] gives them.
pub(crate) fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A text in an answer; what is absent is empty (`contract §0.4`).
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// An operation is done, says when and by whom, and its parts have the declared types.
fn check_operation(grpc_path: &str, answer: &Value) {
    let Some(types) = OPERATION_TYPES.iter().find(|types| types.grpc_path == grpc_path) else {
        return;
    };
    assert_eq!(answer["done"], true, "{grpc_path}: {answer}");
    for field in ["id", "createdAt", "modifiedAt", "createdBy", "description"] {
        assert!(!text(&answer[field]).is_empty(), "{grpc_path}: no {field}: {answer}");
    }
    let declared = [("metadata", types.metadata), ("response", types.response)];
    for (field, name) in declared {
        let expected = format!("type.googleapis.com/{name}");
        assert_eq!(answer[field]["@type"], expected, "{grpc_path}: {answer}");
    }
}
