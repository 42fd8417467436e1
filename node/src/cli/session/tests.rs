//! Calls against a server whose answers are scripted, over TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lockbox_core::Clock;
use lockbox_platform::authorized_key::{KeyAlgorithm, generate_key_pair};
use lockbox_platform::certificates::{LeafSpec, issue_all, leaf_files};
use lockbox_platform::exit::FatalExit;
use lockbox_platform::grpc_services::GrpcServices;
use lockbox_platform::jwt::{self, AcceptedAudiences};
use lockbox_platform::listener::{ListenerLimits, Security, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::SystemClock;
use lockbox_platform::tasks::Tasks;
use lockbox_platform::tls::{ClientCertificates, ClientTlsFiles, ServerTls, TlsFiles};
use lockbox_proto::yandex::cloud::iam::v1::create_iam_token_request::Identity;
use lockbox_proto::yandex::cloud::iam::v1::iam_token_service_server::{
    IamTokenService, IamTokenServiceServer,
};
use lockbox_proto::yandex::cloud::iam::v1::{
    CreateIamTokenForServiceAccountRequest, CreateIamTokenRequest, CreateIamTokenResponse,
    RevokeIamTokenRequest, RevokeIamTokenResponse,
};
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use lockbox_proto::yandex::cloud::operation::operation_service_server::{
    OperationService, OperationServiceServer,
};
use lockbox_proto::yandex::cloud::operation::{
    CancelOperationRequest, GetOperationRequest, Operation,
};
use tempfile::TempDir;

use super::*;
use crate::cli::connect::TryFlags;

/// What the server does with one call.
#[derive(Clone)]
enum Step {
    Answer,
    Refuse(Code),
    Hang,
}

/// A server that follows a script and remembers what it was sent.
#[derive(Clone, Default)]
struct Scripted {
    steps: Arc<Mutex<Vec<Step>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    authorization: Option<String>,
    idempotency_key: Option<String>,
    timeout: bool,
}

#[tonic::async_trait]
impl OperationService for Scripted {
    async fn get(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let header =
            |name| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        self.seen.lock().unwrap().push(Seen {
            authorization: header(headers::AUTHORIZATION),
            idempotency_key: header(headers::IDEMPOTENCY_KEY),
            timeout: header(headers::GRPC_TIMEOUT).is_some(),
        });
        let step = self.steps.lock().unwrap().pop();
        match step {
            Some(Step::Answer) => Ok(Response::new(Operation::default())),
            Some(Step::Refuse(code)) => Err(Status::new(code, "scripted")),
            Some(Step::Hang) => std::future::pending().await,
            None => panic!("a call that the script does not have"),
        }
    }

    async fn cancel(
        &self,
        _request: Request<CancelOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        Err(Status::unimplemented("not in the script"))
    }
}

/// A login that takes the JWTs of one key.
struct Login {
    public_key: String,
}

#[tonic::async_trait]
impl IamTokenService for Login {
    async fn create(
        &self,
        request: Request<CreateIamTokenRequest>,
    ) -> Result<Response<CreateIamTokenResponse>, Status> {
        let Some(Identity::Jwt(jwt)) = request.into_inner().identity else {
            return Err(Status::invalid_argument("not a JWT"));
        };
        let accepted = AcceptedAudiences::new(&[], &[]);
        let now_ms = SystemClock::new().wall_ms();
        let claims = jwt::verify(&jwt, &self.public_key, &accepted, now_ms);
        let claims = claims.map_err(|error| Status::unauthenticated(error.to_string()))?;
        let iam_token = format!("{}-{}", claims.iss, claims.kid);
        Ok(Response::new(CreateIamTokenResponse { iam_token, expires_at: None }))
    }

    async fn create_for_service_account(
        &self,
        _request: Request<CreateIamTokenForServiceAccountRequest>,
    ) -> Result<Response<CreateIamTokenResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn revoke(
        &self,
        _request: Request<RevokeIamTokenRequest>,
    ) -> Result<Response<RevokeIamTokenResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }
}

struct Fixture {
    server: Scripted,
    address: String,
    ca: PathBuf,
    key: AuthorizedKeyFile,
    directory: TempDir,
    _tasks: Tasks,
}

impl Fixture {
    async fn start(steps: &[Step]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let leaf = LeafSpec {
            file_stem: "server".to_owned(),
            dns_names: vec!["localhost".to_owned()],
            ips: Vec::new(),
        };
        let ca = issue_all(directory.path(), &[leaf], &SystemClock::new()).unwrap().certificate;
        let files = leaf_files(directory.path(), "server");
        let files = TlsFiles {
            certificate: files.certificate,
            key: files.key,
            clients: ClientCertificates::None,
        };
        let tls = Security::Tls(ServerTls::load(&files).unwrap());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = bind("test", any, tls).await.unwrap();
        let address = format!("localhost:{}", bound.local_addr().port());

        let server = Scripted::default();
        // Steps are taken from the end.
        server.steps.lock().unwrap().extend(steps.iter().rev().cloned());
        let pair = generate_key_pair(KeyAlgorithm::Rsa2048).unwrap();
        let login = Login { public_key: pair.public_key_pem.clone() };
        let services = GrpcServices::new()
            .with(OperationServiceServer::new(server.clone()))
            .with(IamTokenServiceServer::new(login))
            .into_service();
        let key = AuthorizedKeyFile {
            id: "ajk1".to_owned(),
            service_account_id: "aje1".to_owned(),
            created_at: String::new(),
            key_algorithm: KeyAlgorithm::Rsa2048,
            public_key: pair.public_key_pem,
            private_key: pair.private_key_pem,
        };
        let tasks = Tasks::new(FatalExit::new());
        let metrics = Metrics::new(Prefix::Lockbox).unwrap();
        bound.start(services, &tasks, ListenerLimits::default(), metrics.tls);
        Self { server, address, ca, key, directory, _tasks: tasks }
    }

    fn connection(&self, timeout: Duration, retry: i32) -> Connection {
        connection(&self.address, self.ca.clone(), timeout, retry)
    }

    async fn call(&self, connection: &Connection, kind: Kind<'_>) -> Result<Operation, Failure> {
        let session = Session::open(connection).await?;
        let request = GetOperationRequest { operation_id: "x".to_owned() };
        let send = async |channel, request| OperationServiceClient::new(channel).get(request).await;
        session.call(kind, &request, send).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.server.seen.lock().unwrap().clone()
    }
}

fn connection(address: &str, ca: PathBuf, timeout: Duration, retry: i32) -> Connection {
    let flags = TryFlags { timeout, retry };
    let credential = Credential::Token("token".to_owned().into());
    let files = ClientTlsFiles { ca, identity: None };
    Connection::new(address, &files, None, credential, &flags).unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_change_is_repeated_under_one_key_until_a_leader_answers() {
    let refused = |code| Step::Refuse(code);
    let steps = [refused(Code::Unavailable), refused(Code::DeadlineExceeded), Step::Answer];
    let fixture = Fixture::start(&steps).await;
    let connection = fixture.connection(LONG, 5);
    fixture.call(&connection, Kind::Mutation("key-1")).await.unwrap();
    let expected = Seen {
        authorization: Some("Bearer token".to_owned()),
        idempotency_key: Some("key-1".to_owned()),
        timeout: true,
    };
    assert_eq!(fixture.seen(), vec![expected; 3]);
}

#[tokio::test]
async fn a_key_is_exchanged_for_a_token_first() {
    let fixture = Fixture::start(&[Step::Answer]).await;
    let mut connection = fixture.connection(LONG, 0);
    connection.credential = Credential::Key(Box::new(fixture.key.clone()));
    fixture.call(&connection, Kind::Repeatable).await.unwrap();
    let authorization = fixture.seen().remove(0).authorization;
    assert_eq!(authorization.as_deref(), Some("Bearer aje1-ajk1"));

    let mut other = fixture.key.clone();
    other.private_key = generate_key_pair(KeyAlgorithm::Rsa2048).unwrap().private_key_pem;
    connection.credential = Credential::Key(Box::new(other));
    let failure = fixture.call(&connection, Kind::Repeatable).await.unwrap_err();
    assert!(failure.to_string().starts_with("UNAUTHENTICATED: "), "{failure}");
    assert_eq!(failure.exit(), Exit::Refused);
}

#[tokio::test]
async fn reads_carry_no_key() {
    let fixture = Fixture::start(&[Step::Refuse(Code::Unavailable), Step::Answer]).await;
    fixture.call(&fixture.connection(LONG, -1), Kind::Repeatable).await.unwrap();
    assert!(fixture.seen().iter().all(|seen| seen.idempotency_key.is_none()));
}

#[tokio::test]
async fn a_refusal_is_final() {
    for code in [Code::NotFound, Code::Aborted, Code::ResourceExhausted, Code::Unauthenticated] {
        let fixture = Fixture::start(&[Step::Refuse(code)]).await;
        let failure = fixture.call(&fixture.connection(LONG, 5), Kind::Repeatable).await;
        assert_eq!(failure.unwrap_err().exit(), Exit::Refused);
        assert_eq!(fixture.seen().len(), 1);
    }
}

/// What certificates may do is in no binding.
#[tokio::test]
async fn only_who_shows_a_token_is_told_of_bindings() {
    let token = Credential::Token("token".to_owned().into());
    for (credential, told) in [(Credential::None, false), (token, true)] {
        let fixture = Fixture::start(&[Step::Refuse(Code::PermissionDenied)]).await;
        let mut connection = fixture.connection(LONG, 0);
        connection.credential = credential;
        let failure = fixture.call(&connection, Kind::Repeatable).await.unwrap_err();
        assert_eq!(failure.to_string().contains("lockbox iam explain"), told, "{failure}");
    }
}

#[tokio::test]
async fn retries_are_counted() {
    let fixture = Fixture::start(&vec![Step::Refuse(Code::Unavailable); 2]).await;
    let failure = fixture.call(&fixture.connection(LONG, 1), Kind::Repeatable).await.unwrap_err();
    assert_eq!(failure.exit(), Exit::Unreachable);
    assert_eq!(failure.to_string(), "UNAVAILABLE: scripted");
    assert_eq!(fixture.seen().len(), 2);
}

/// Opening a stream is tried like any call, but has no timeout of its own.
#[tokio::test]
async fn a_stream_is_opened_again_until_a_leader_answers() {
    let open = async |fixture: &Fixture, retry| {
        let session = Session::open(&fixture.connection(LONG, retry)).await?;
        let request = GetOperationRequest { operation_id: "x".to_owned() };
        let send = async |channel, request| OperationServiceClient::new(channel).get(request).await;
        session.stream(&request, send).await
    };
    let steps = [Step::Refuse(Code::Unavailable), Step::Answer];
    let fixture = Fixture::start(&steps).await;
    open(&fixture, 1).await.unwrap();
    let seen = fixture.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| !seen.timeout && seen.authorization.is_some()));
    let fixture = Fixture::start(&steps).await;
    assert_eq!(open(&fixture, 0).await.unwrap_err().exit(), Exit::Unreachable);
    assert_eq!(fixture.seen().len(), 1);
}

#[tokio::test]
async fn the_deadline_ends_a_call_that_hangs() {
    let fixture = Fixture::start(&[Step::Hang]).await;
    let connection = fixture.connection(Duration::from_millis(500), -1);
    let failure = fixture.call(&connection, Kind::Repeatable).await.unwrap_err();
    assert_eq!(failure.exit(), Exit::Unreachable);
    let expected = format!("{} did not answer in time", fixture.address);
    assert_eq!(failure.to_string(), expected);
}

#[tokio::test]
async fn another_authoritys_server_is_refused_at_once() {
    let fixture = Fixture::start(&[]).await;
    let other = fixture.directory.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let ca = issue_all(&other, &[], &SystemClock::new()).unwrap().certificate;
    // With these flags a failure that is tried again would take the whole minute.
    let connection = connection(&fixture.address, ca, LONG, -1);
    let opened = tokio::time::timeout(LONG / 4, Session::open(&connection)).await.unwrap();
    let failure = opened.map(|_| ()).unwrap_err();
    assert_eq!(failure.exit(), Exit::Unreachable);
    let text = failure.to_string();
    assert!(text.starts_with("cannot reach localhost:") && text.contains("certificate"), "{text}");
}

#[tokio::test]
async fn nobody_at_the_port_is_said_so() {
    let fixture = Fixture::start(&[]).await;
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("127.0.0.1:{}", free.local_addr().unwrap().port());
    drop(free);
    let connection = connection(&address, fixture.ca.clone(), LONG, 0);
    let failure = Session::open(&connection).await.map(|_| ()).unwrap_err();
    assert_eq!(failure.exit(), Exit::Unreachable);
    assert!(failure.to_string().contains("refused"), "{failure}");
}
