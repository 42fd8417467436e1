//! Every method of the public listener is on record, whoever calls it: nobody, somebody without
//! rights, the administrator; also where its message is none.

use std::collections::BTreeSet;

use lockbox::router::{OWN_SERVICES, PUBLIC_SERVICES};
use lockbox_proto::descriptor_pool;
use prost::Message;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Response, Status};

use crate::client::text;
use crate::fixture::{Node, bearing};
use crate::raw::Raw;

/// Tells of the services and needs no record.
const DISCOVERY: &str = "yandex.cloud.endpoint.ApiEndpointService";
/// The method that needs no token, and looks at none.
const LOGIN: &str = "/yandex.cloud.iam.v1.IamTokenService/Create";
/// No message of any method.
const UNREADABLE: &[u8] = &[0x0a, 0x7f];

/// A method of the public listener, by its definition.
struct Method {
    path: String,
    is_stream: bool,
    /// The fields of its message that name something: their numbers and names.
    ids: Vec<(u32, String)>,
}

fn served() -> Vec<Method> {
    let mut served = Vec::new();
    for service in PUBLIC_SERVICES.into_iter().chain(OWN_SERVICES) {
        let definition = descriptor_pool().get_service_by_name(service).unwrap();
        served.extend(definition.methods().map(|method| {
            let fields = method.input();
            let ids = fields.fields().filter(|field| field.name().ends_with("_id"));
            Method {
                path: format!("/{service}/{}", method.name()),
                is_stream: method.is_server_streaming(),
                ids: ids.map(|field| (field.number(), field.name().to_owned())).collect(),
            }
        }));
    }
    served
}

/// What there is to name.
struct Targets {
    secret: String,
    account: String,
    key: String,
}

impl Targets {
    /// A message of this method that names what is there.
    fn message(&self, node: &Node, method: &Method) -> Vec<u8> {
        let resource = || match &method.path {
            path if path.contains("FolderService") => node.made.folder_id.to_string(),
            path if path.contains("CloudService") => node.made.cloud_id.to_string(),
            path if path.contains("ServiceAccountService") => self.account.clone(),
            _ => self.secret.clone(),
        };
        let mut message = Vec::new();
        for (number, name) in &method.ids {
            let id = match name.as_str() {
                "resource_id" => resource(),
                "secret_id" => self.secret.clone(),
                "folder_id" => node.made.folder_id.to_string(),
                "cloud_id" => node.made.cloud_id.to_string(),
                "service_account_id" => self.account.clone(),
                "key_id" => self.key.clone(),
                _ => continue,
            };
            prost::encoding::string::encode(*number, &id, &mut message);
        }
        message
    }
}

async fn call(
    node: &Node,
    method: &Method,
    token: Option<&str>,
    message: Vec<u8>,
) -> Result<(), Status> {
    let request = match token {
        Some(token) => bearing(token, message),
        None => Request::new(message),
    };
    let mut client = tonic::client::Grpc::new(node.channel.clone());
    client.ready().await.unwrap();
    let path: PathAndQuery = method.path.parse().unwrap();
    if method.is_stream {
        client.server_streaming(request, path, Raw).await.map(drop)
    } else {
        let answer: Result<Response<Vec<u8>>, _> = client.unary(request, path, Raw).await;
        answer.map(drop)
    }
}

/// What everybody without a token is told.
fn of_nobody(method: &Method, is_readable: bool) -> Vec<Code> {
    match method.path.as_str() {
        LOGIN => vec![Code::InvalidArgument],
        // A method that is not served yet is that to everybody.
        _ if is_readable => vec![Code::Unauthenticated, Code::Unimplemented],
        _ => vec![Code::Unauthenticated],
    }
}

/// `contract §14` no. 18: one record for each call, whatever becomes of it, and all those of a
/// method under one event. Discovery is the one exception.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s18_every_method_leaves_one_record() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await.id;
    let account = node.create_account("stranger").await.id;
    let key = node.create_key(&account).await;
    let token = node.token_of(&account, &key).await;
    // Not what the stranger is, for everybody may look at oneself.
    let other = node.create_account("other").await.id;
    let others_key = node.create_key(&other).await.key.unwrap().id;
    let targets = Targets { secret, account: other, key: others_key };
    let (stranger, admin) = (token.as_str(), node.token());
    let (mut denied, mut unimplemented, mut streams) = (0, 0, 0);
    for method in served() {
        let path = method.path.as_str();
        let is_discovery = path.contains(DISCOVERY);
        streams += usize::from(method.is_stream);
        let mut events = BTreeSet::new();
        for (subject, token, message) in [
            ("", None, Vec::new()),
            ("", None, UNREADABLE.to_vec()),
            (account.as_str(), Some(stranger), targets.message(&node, &method)),
            (node.made.admin_id.as_str(), Some(admin), Vec::new()),
        ] {
            let before = node.audit().lines().count();
            let is_readable = message != UNREADABLE;
            let answer = call(&node, &method, token, message).await;
            let code = answer.as_ref().map_or_else(Status::code, |()| Code::Ok);
            let audit = node.audit();
            let written: Vec<&str> = audit.lines().skip(before).collect();
            assert_eq!(written.len(), usize::from(!is_discovery), "{path}: {written:?}");
            let [line] = written.as_slice() else { continue };
            if let Err(status) = &answer {
                // Every error names its request (`contract §0.4`).
                let details = lockbox_proto::google::rpc::Status::decode(status.details());
                let mut details = details.unwrap().details.into_iter();
                let names_it = details.any(|any| any.type_url.ends_with("google.rpc.RequestInfo"));
                assert!(names_it, "{path}: {status:?}");
            }
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            events.insert(record["event_type"].as_str().unwrap().to_owned());
            let status = if code == Code::Ok { "DONE" } else { "ERROR" };
            assert_eq!(record["event_status"], status, "{path}: {record}");
            let told = record["error"]["code"].as_i64().unwrap_or_default();
            assert_eq!(told, i64::from(i32::from(code)), "{path}: {record}");
            let who = record["authentication"]["subject_id"].as_str().unwrap_or_default();
            assert_eq!(who, if path == LOGIN { "" } else { subject }, "{path}: {record}");
            let authorized = record["authorization"]["authorized"].as_bool().unwrap();
            match (token, code) {
                (None, code) => {
                    assert!(of_nobody(&method, is_readable).contains(&code), "{path}: {answer:?}");
                    assert!(!authorized, "{path}: {record}");
                }
                (Some(_), Code::PermissionDenied) => {
                    assert!(subject == account && !authorized, "{path}: {record}");
                    denied += 1;
                }
                (Some(_), Code::Unimplemented) => unimplemented += 1,
                (Some(_), Code::Unauthenticated) => panic!("{path}: {answer:?}"),
                (Some(_), _) => {}
            }
        }
        assert_eq!(events.len(), usize::from(!is_discovery), "{path}: {events:?}");
        let is_ours = |event: &String| event.starts_with("yandex.cloud.audit.");
        assert!(events.iter().all(is_ours), "{path}: {events:?}");
    }
    let tests_something = denied > 10 && unimplemented > 0 && streams > 0;
    assert!(tests_something, "{denied} denied, {unimplemented} not served, {streams} streams");
    node.stop().await;
}
