//! Roles by methods (`contract §4.4`): each role is let through exactly where the table says.

use std::sync::atomic::{AtomicU64, Ordering};

use lockbox_proto::yandex::cloud::access::{
    AccessBinding, AccessBindingAction, AccessBindingDelta, ListAccessBindingsRequest,
    SetAccessBindingsRequest, Subject, UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::kms::v1::{
    CancelSymmetricKeyVersionDestructionRequest, CreateSymmetricKeyRequest,
    DeleteSymmetricKeyRequest, GenerateDataKeyRequest, GetSymmetricKeyRequest,
    ListSymmetricKeyOperationsRequest, ListSymmetricKeyVersionsRequest, ListSymmetricKeysRequest,
    RotateSymmetricKeyRequest, ScheduleSymmetricKeyVersionDestructionRequest,
    SetPrimarySymmetricKeyVersionRequest, SymmetricAlgorithm, SymmetricDecryptRequest,
    SymmetricEncryptRequest, SymmetricKey, SymmetricReEncryptRequest, UpdateSymmetricKeyRequest,
    symmetric_key,
};
use lockbox_proto::yandex::cloud::operation::operation;
use tonic::{Code, Response, Status};

use crate::server_support::{Asserted, CryptoClient, KeyClient, ServerFixture, from_node};

const ROLES: [&str; 13] = [
    "kms.auditor",
    "kms.viewer",
    "kms.keys.user",
    "kms.keys.encrypter",
    "kms.keys.decrypter",
    "kms.keys.encrypterDecrypter",
    "kms.editor",
    "kms.admin",
    "auditor",
    "viewer",
    "editor",
    "admin",
    "lockbox.admin",
];

/// For each method the roles of [`ROLES`] that are let through, as one letter each: `x` for yes.
const TABLE: [(&str, &str); 22] = [
    ("Get", "xxxxxxxxxxxx-"),
    ("ListVersions", "xxxxxxxxxxxx-"),
    ("ListOperations", "xxxxxxxxxxxx-"),
    ("List", "xxx--xxxxxxx-"),
    ("ListAccessBindings", "xx----xxxxxx-"),
    ("Encrypt", "---x-xxx--xx-"),
    ("GenerateDataKey", "---x-xxx--xx-"),
    ("Decrypt", "----xxxx--xx-"),
    // Source and target are one key here: it takes both sides.
    ("ReEncrypt", "-----xxx--xx-"),
    ("Create", "------xx--xx-"),
    ("Update", "------xx--xx-"),
    ("Rotate", "------xx--xx-"),
    // `contract §13` no. 38.
    ("Update status", "-------x---x-"),
    ("Update both", "-------x---x-"),
    ("SetPrimaryVersion", "-------x---x-"),
    ("Delete", "-------x---x-"),
    ("ScheduleVersionDestruction", "-------x---x-"),
    ("CancelVersionDestruction", "-------x---x-"),
    ("SetAccessBindings", "-------x---x-"),
    ("UpdateAccessBindings", "-------x---x-"),
    // Who lacks the right is not told what state the key is in: absent is absent for everybody.
    ("Get absent", "xxxxxxxxxxxxx"),
    ("Delete absent", "xxxxxxxxxxxxx"),
];

/// Calls so far.
static CALLS: AtomicU64 = AtomicU64::new(0);

struct Caller {
    keys: KeyClient,
    crypto: CryptoClient,
    asserted: Asserted,
}

struct Key {
    id: String,
    first: String,
    ciphertext: Vec<u8>,
}

fn code<T>(result: Result<Response<T>, Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

impl Caller {
    async fn new(server: &ServerFixture, role: &'static str) -> Self {
        Self {
            keys: server.keys(Some("node-1")).await,
            crypto: server.crypto(Some("node-1")).await,
            asserted: Asserted::new(role, role),
        }
    }

    fn by<M>(&self, message: M) -> tonic::Request<M> {
        // Of each call one: a repeat would be the first one's.
        let request = CALLS.fetch_add(1, Ordering::Relaxed).to_be_bytes().repeat(4);
        from_node(message, &Asserted { request, ..self.asserted.clone() })
    }

    async fn key(&mut self) -> Key {
        let create = CreateSymmetricKeyRequest {
            folder_id: "folder".to_owned(),
            default_algorithm: SymmetricAlgorithm::Aes256.into(),
            ..CreateSymmetricKeyRequest::default()
        };
        let request = self.by(create);
        let created = self.keys.create(request).await.unwrap().into_inner();
        let Some(operation::Result::Response(any)) = created.result else { panic!() };
        let key: SymmetricKey = any.to_msg().unwrap();
        let encrypt = SymmetricEncryptRequest {
            key_id: key.id.clone(),
            plaintext: b"value".to_vec(),
            ..SymmetricEncryptRequest::default()
        };
        let request = self.by(encrypt);
        let made = self.crypto.encrypt(request).await.unwrap().into_inner();
        let rotate = RotateSymmetricKeyRequest { key_id: key.id.clone() };
        let request = self.by(rotate);
        self.keys.rotate(request).await.unwrap();
        Key { first: made.version_id, ciphertext: made.ciphertext, id: key.id }
    }

    async fn update(&mut self, key: &Key, paths: &[&str]) -> Code {
        let update = UpdateSymmetricKeyRequest {
            key_id: key.id.clone(),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
            status: symmetric_key::Status::Active.into(),
            ..UpdateSymmetricKeyRequest::default()
        };
        let request = self.by(update);
        code(self.keys.update(request).await)
    }

    async fn crypto(&mut self, method: &str, key: &Key) -> Option<Code> {
        let key_id = key.id.clone();
        Some(match method {
            "Encrypt" => {
                let plaintext = b"x".to_vec();
                let message = SymmetricEncryptRequest { key_id, plaintext, ..Default::default() };
                let request = self.by(message);
                code(self.crypto.encrypt(request).await)
            }
            "GenerateDataKey" => {
                let request = self.by(GenerateDataKeyRequest { key_id, ..Default::default() });
                code(self.crypto.generate_data_key(request).await)
            }
            "Decrypt" => {
                let ciphertext = key.ciphertext.clone();
                let message = SymmetricDecryptRequest { key_id, ciphertext, ..Default::default() };
                let request = self.by(message);
                code(self.crypto.decrypt(request).await)
            }
            "ReEncrypt" => {
                let message = SymmetricReEncryptRequest {
                    source_key_id: key_id.clone(),
                    key_id,
                    ciphertext: key.ciphertext.clone(),
                    ..SymmetricReEncryptRequest::default()
                };
                let request = self.by(message);
                code(self.crypto.re_encrypt(request).await)
            }
            _ => return None,
        })
    }

    async fn read(&mut self, method: &str, key: &Key) -> Option<Code> {
        let key_id = key.id.clone();
        Some(match method {
            "Get" => {
                let request = self.by(GetSymmetricKeyRequest { key_id });
                code(self.keys.get(request).await)
            }
            "List" => {
                let folder_id = "folder".to_owned();
                let request = self.by(ListSymmetricKeysRequest { folder_id, ..Default::default() });
                code(self.keys.list(request).await)
            }
            "ListVersions" => {
                let message = ListSymmetricKeyVersionsRequest { key_id, ..Default::default() };
                let request = self.by(message);
                code(self.keys.list_versions(request).await)
            }
            "ListOperations" => {
                let message = ListSymmetricKeyOperationsRequest { key_id, ..Default::default() };
                let request = self.by(message);
                code(self.keys.list_operations(request).await)
            }
            "ListAccessBindings" => {
                let message =
                    ListAccessBindingsRequest { resource_id: key_id, ..Default::default() };
                let request = self.by(message);
                code(self.keys.list_access_bindings(request).await)
            }
            _ => return None,
        })
    }

    async fn change(&mut self, method: &str, key: &Key) -> Option<Code> {
        let (key_id, version_id) = (key.id.clone(), key.first.clone());
        Some(match method {
            "Create" => {
                let message = CreateSymmetricKeyRequest {
                    folder_id: "folder".to_owned(),
                    default_algorithm: SymmetricAlgorithm::Aes256.into(),
                    ..CreateSymmetricKeyRequest::default()
                };
                let request = self.by(message);
                code(self.keys.create(request).await)
            }
            "Update" => self.update(key, &["description"]).await,
            "Update status" => self.update(key, &["status"]).await,
            "Update both" => self.update(key, &["description", "status"]).await,
            "Rotate" => {
                let request = self.by(RotateSymmetricKeyRequest { key_id });
                code(self.keys.rotate(request).await)
            }
            "SetPrimaryVersion" => {
                let message = SetPrimarySymmetricKeyVersionRequest { key_id, version_id };
                let request = self.by(message);
                code(self.keys.set_primary_version(request).await)
            }
            "ScheduleVersionDestruction" => {
                let message = ScheduleSymmetricKeyVersionDestructionRequest {
                    key_id,
                    version_id,
                    pending_period: None,
                };
                let request = self.by(message);
                code(self.keys.schedule_version_destruction(request).await)
            }
            "CancelVersionDestruction" => {
                let message = CancelSymmetricKeyVersionDestructionRequest { key_id, version_id };
                let request = self.by(message);
                code(self.keys.cancel_version_destruction(request).await)
            }
            "Delete" => {
                let request = self.by(DeleteSymmetricKeyRequest { key_id });
                code(self.keys.delete(request).await)
            }
            _ => return None,
        })
    }

    async fn grant(&mut self, method: &str, key: &Key) -> Option<Code> {
        let resource_id = key.id.clone();
        let subject = Subject { id: "a".to_owned(), r#type: "serviceAccount".to_owned() };
        let binding = AccessBinding { role_id: "kms.viewer".to_owned(), subject: Some(subject) };
        Some(match method {
            "SetAccessBindings" => {
                let access_bindings = vec![binding];
                let request = self.by(SetAccessBindingsRequest { resource_id, access_bindings });
                code(self.keys.set_access_bindings(request).await)
            }
            "UpdateAccessBindings" => {
                let delta = AccessBindingDelta {
                    action: AccessBindingAction::Add.into(),
                    access_binding: Some(binding),
                };
                let access_binding_deltas = vec![delta];
                let message = UpdateAccessBindingsRequest { resource_id, access_binding_deltas };
                let request = self.by(message);
                code(self.keys.update_access_bindings(request).await)
            }
            _ => return None,
        })
    }

    /// Whether the caller is let through; a refusal of the state behind the rights counts.
    async fn is_let_through(&mut self, method: &str, key: &Key) -> bool {
        let absent = Key { id: "abjabsent".to_owned(), first: String::new(), ciphertext: vec![] };
        let (method, key) = match method.strip_suffix(" absent") {
            Some(method) => (method, &absent),
            None => (method, key),
        };
        let mut found = self.read(method, key).await;
        if found.is_none() {
            found = self.change(method, key).await;
        }
        if found.is_none() {
            found = self.crypto(method, key).await;
        }
        if found.is_none() {
            found = self.grant(method, key).await;
        }
        match found {
            Some(Code::Ok | Code::FailedPrecondition) => true,
            Some(Code::PermissionDenied) => false,
            Some(Code::NotFound) if key.id == absent.id => true,
            other => panic!("{method} as {}: {other:?}", self.asserted.role),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_is_let_through_where_the_contract_says_and_nowhere_else() {
    let server = ServerFixture::start(|config| config.limits.keys_per_cloud = 1000).await;
    let mut owner = Caller::new(&server, "kms.admin").await;
    let mut wrong = Vec::new();
    for (place, role) in ROLES.into_iter().enumerate() {
        let mut caller = Caller::new(&server, role).await;
        for (method, row) in TABLE {
            assert_eq!(row.len(), ROLES.len(), "{method}");
            // A key of its own for each call: what one does must not be in another's way.
            let key = owner.key().await;
            let expected = row.as_bytes()[place] == b'x';
            if caller.is_let_through(method, &key).await != expected {
                wrong.push(format!("{role} {method}: not {expected}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    server.stop().await;
}
