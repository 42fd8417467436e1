//! A fake of one node: answers each call with what the test has put into its script.
//!
//! It serves the public API over TLS and keeps no state whatsoever.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockbox_jepsen::client::account_key::Token;
use lockbox_jepsen::client::callers::Callers;
use lockbox_jepsen::client::connection::{Address, Dialer, Tls};
use lockbox_jepsen::client::lockbox::LockboxClient;
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use wire::payload_service_server::{PayloadService, PayloadServiceServer};
use wire::secret_service_server::{SecretService, SecretServiceServer};

/// The name in its certificate.
const SERVER_NAME: &str = "node-1.lockbox.internal";
/// How long a client of it waits.
pub(crate) const DEADLINE: Duration = Duration::from_millis(500);

/// One answer.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// An operation, with these headers.
    Operation(Operation, Headers),
    /// A secret, with these headers.
    Secret(Box<wire::Secret>, Headers),
    /// A payload, with these headers.
    Payload(wire::Payload, Headers),
    /// A page of secrets, with these headers.
    Secrets(wire::ListSecretsResponse, Headers),
    /// A status, with these headers.
    Status(tonic::Code, Headers),
    /// Nothing, for ever.
    Nothing,
}

pub(crate) type Headers = &'static [(&'static str, &'static str)];

/// What arrived with a call.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) metadata: MetadataMap,
    pub(crate) added: Option<wire::AddVersionRequest>,
    pub(crate) listed: Option<wire::ListSecretsRequest>,
}

impl Arrived {
    fn with<M>(request: &Request<M>) -> Self {
        Self { metadata: request.metadata().clone(), added: None, listed: None }
    }
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Says>,
    arrived: Vec<Arrived>,
}

#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<Script>>);

/// The fake and the wire to it, which the test can cut.
pub(crate) struct FakeNode {
    fake: Fake,
    ca: String,
    server: JoinHandle<()>,
    behind: SocketAddr,
    wire: Option<JoinHandle<()>>,
    in_front: SocketAddr,
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.server.abort();
        self.cut();
    }
}

impl FakeNode {
    pub(crate) async fn start() -> Self {
        let authority = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = params.self_signed(&authority).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, authority);
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        let identity = Identity::from_pem(certificate, key.serialize_pem());

        let fake = Fake::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = listener.local_addr().unwrap();
        let serving = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .add_service(SecretServiceServer::new(fake.clone()))
            .add_service(PayloadServiceServer::new(fake.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = spawn(async move { serving.await.unwrap() });
        let mut node = Self { fake, ca, server, behind, wire: None, in_front: behind };
        node.lay_wire().await;
        node
    }

    /// Lays a wire to the server, at a new address.
    pub(crate) async fn lay_wire(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.in_front = listener.local_addr().unwrap();
        let behind = self.behind;
        self.wire = Some(spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut far = TcpStream::connect(behind).await.unwrap();
                    // Ends when either side has had enough.
                    tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
                });
            }
        }));
    }

    /// Cuts the wire: connections break, and nobody listens any more.
    pub(crate) fn cut(&mut self) {
        if let Some(wire) = self.wire.take() {
            wire.abort();
        }
    }

    /// A client of the fake.
    pub(crate) fn client(&self) -> LockboxClient {
        self.client_at(self.in_front)
    }

    /// A client of whoever listens there.
    pub(crate) fn client_at(&self, at: SocketAddr) -> LockboxClient {
        let server_name = SERVER_NAME.to_owned();
        let address = Address { authority: at.to_string(), server_name };
        let dialer = Dialer::new(&address, None, &Tls::trusting(self.ca.as_bytes()), DEADLINE);
        let token = Token::new("a-token").unwrap();
        let callers = Callers::new(token);
        LockboxClient::new(dialer.unwrap(), callers, "folder-1".to_owned(), DEADLINE)
    }

    pub(crate) fn will_say(&self, says: Says) {
        self.fake.0.lock().unwrap().answers.push_back(says);
    }

    /// Everything that arrived.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.fake.0.lock().unwrap().arrived.clone()
    }

    /// Waits until so many calls have arrived.
    pub(crate) async fn until_arrived(&self, calls: usize) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.arrived().len() < calls {
            assert!(tokio::time::Instant::now() < deadline, "{calls} calls should have arrived");
            tokio::task::yield_now().await;
        }
    }
}

// The tasks of a test end with its runtime.
#[allow(clippy::disallowed_methods)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

impl Fake {
    async fn next(&self, arrived: Arrived) -> Says {
        let says = {
            let mut script = self.0.lock().unwrap();
            script.arrived.push(arrived);
            script.answers.pop_front().expect("the script has no more answers")
        };
        if matches!(says, Says::Nothing) {
            std::future::pending::<()>().await;
        }
        says
    }

    async fn operation<M>(&self, request: &Request<M>) -> Result<Response<Operation>, Status> {
        match self.next(Arrived::with(request)).await {
            Says::Operation(operation, headers) => Ok(dressed(operation, headers)),
            other => Err(status(&other)),
        }
    }
}

fn dressed<M>(message: M, headers: Headers) -> Response<M> {
    let mut response = Response::new(message);
    put(response.metadata_mut(), headers);
    response
}

fn status(says: &Says) -> Status {
    let Says::Status(code, headers) = says else { panic!("the script does not fit the call") };
    let mut status = Status::new(*code, "as scripted");
    put(status.metadata_mut(), headers);
    status
}

fn put(metadata: &mut MetadataMap, headers: Headers) {
    for (name, value) in headers {
        metadata.insert(*name, value.parse().unwrap());
    }
}

type Answer<M> = Result<Response<M>, Status>;

#[tonic::async_trait]
impl PayloadService for Fake {
    async fn get(&self, request: Request<wire::GetPayloadRequest>) -> Answer<wire::Payload> {
        match self.next(Arrived::with(&request)).await {
            Says::Payload(payload, headers) => Ok(dressed(payload, headers)),
            other => Err(status(&other)),
        }
    }

    async fn get_ex(&self, _: Request<wire::GetExRequest>) -> Answer<wire::GetExResponse> {
        panic!("the suite does not ask this")
    }
}

#[tonic::async_trait]
impl SecretService for Fake {
    async fn get(&self, request: Request<wire::GetSecretRequest>) -> Answer<wire::Secret> {
        match self.next(Arrived::with(&request)).await {
            Says::Secret(secret, headers) => Ok(dressed(*secret, headers)),
            other => Err(status(&other)),
        }
    }

    async fn create(&self, request: Request<wire::CreateSecretRequest>) -> Answer<Operation> {
        self.operation(&request).await
    }

    async fn add_version(&self, request: Request<wire::AddVersionRequest>) -> Answer<Operation> {
        let added = Some(request.get_ref().clone());
        match self.next(Arrived { added, ..Arrived::with(&request) }).await {
            Says::Operation(operation, headers) => Ok(dressed(operation, headers)),
            other => Err(status(&other)),
        }
    }

    async fn update(&self, request: Request<wire::UpdateSecretRequest>) -> Answer<Operation> {
        self.operation(&request).await
    }

    async fn delete(&self, request: Request<wire::DeleteSecretRequest>) -> Answer<Operation> {
        self.operation(&request).await
    }

    async fn activate(&self, request: Request<wire::ActivateSecretRequest>) -> Answer<Operation> {
        self.operation(&request).await
    }

    async fn deactivate(
        &self,
        request: Request<wire::DeactivateSecretRequest>,
    ) -> Answer<Operation> {
        self.operation(&request).await
    }

    async fn set_current_version(
        &self,
        request: Request<wire::SetCurrentVersionRequest>,
    ) -> Answer<Operation> {
        self.operation(&request).await
    }

    async fn schedule_version_destruction(
        &self,
        request: Request<wire::ScheduleVersionDestructionRequest>,
    ) -> Answer<Operation> {
        self.operation(&request).await
    }

    async fn cancel_version_destruction(
        &self,
        request: Request<wire::CancelVersionDestructionRequest>,
    ) -> Answer<Operation> {
        self.operation(&request).await
    }

    async fn update_access_bindings(
        &self,
        request: Request<access::UpdateAccessBindingsRequest>,
    ) -> Answer<Operation> {
        self.operation(&request).await
    }

    async fn list(
        &self,
        request: Request<wire::ListSecretsRequest>,
    ) -> Answer<wire::ListSecretsResponse> {
        let listed = Some(request.get_ref().clone());
        match self.next(Arrived { listed, ..Arrived::with(&request) }).await {
            Says::Secrets(page, headers) => Ok(dressed(page, headers)),
            other => Err(status(&other)),
        }
    }

    async fn list_versions(
        &self,
        _: Request<wire::ListVersionsRequest>,
    ) -> Answer<wire::ListVersionsResponse> {
        panic!("no test asks this")
    }

    async fn list_operations(
        &self,
        _: Request<wire::ListSecretOperationsRequest>,
    ) -> Answer<wire::ListSecretOperationsResponse> {
        panic!("the suite does not ask this")
    }

    async fn list_access_bindings(
        &self,
        _: Request<access::ListAccessBindingsRequest>,
    ) -> Answer<access::ListAccessBindingsResponse> {
        panic!("the suite does not ask this")
    }

    async fn set_access_bindings(
        &self,
        _: Request<access::SetAccessBindingsRequest>,
    ) -> Answer<Operation> {
        panic!("the suite does not ask this")
    }
}
