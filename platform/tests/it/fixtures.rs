//! Small services, and a server with certificates around them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockbox_platform::certificates::{LeafSpec, issue_all, leaf_files};
use lockbox_platform::exit::FatalExit;
use lockbox_platform::grpc_services::GrpcServices;
use lockbox_platform::http_service::HttpService;
use lockbox_platform::listener::{ListenerLimits, Security, Serving, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::request::RequestContext;
use lockbox_platform::request_layer::RequestLayer;
use lockbox_platform::rest::RestGateway;
use lockbox_platform::status::{ApiError, ErrorKind, Outcome};
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::tasks::Tasks;
use lockbox_platform::tls::{ClientCertificates, ServerTls, TlsFiles};
use lockbox_proto::yandex::cloud::endpoint::api_endpoint_service_server::{
    ApiEndpointService, ApiEndpointServiceServer,
};
use lockbox_proto::yandex::cloud::endpoint::{
    ApiEndpoint, GetApiEndpointRequest, ListApiEndpointsRequest, ListApiEndpointsResponse,
};
use lockbox_proto::yandex::cloud::iam::v1::iam_token_service_server::{
    IamTokenService, IamTokenServiceServer,
};
use lockbox_proto::yandex::cloud::iam::v1::{
    CreateIamTokenForServiceAccountRequest, CreateIamTokenRequest, CreateIamTokenResponse,
    RevokeIamTokenRequest, RevokeIamTokenResponse, create_iam_token_request,
};
use lockbox_proto::yandex::cloud::lockbox::v1::payload_service_server::{
    PayloadService, PayloadServiceServer,
};
use lockbox_proto::yandex::cloud::lockbox::v1::{
    DeleteSecretMetadata, GetExRequest, GetExResponse, GetPayloadRequest, Payload, Secret,
    get_ex_request,
};
use lockbox_proto::yandex::cloud::operation::operation_service_server::{
    OperationService, OperationServiceServer,
};
use lockbox_proto::yandex::cloud::operation::{
    CancelOperationRequest, GetOperationRequest, Operation, operation,
};
use tonic::{Request, Response, Status};

/// The services that [`router`] mounts.
pub(crate) const MOUNTED: [&str; 4] = [
    "yandex.cloud.endpoint.ApiEndpointService",
    "yandex.cloud.iam.v1.IamTokenService",
    "yandex.cloud.lockbox.v1.PayloadService",
    "yandex.cloud.operation.OperationService",
];

/// Answers with what it was asked, so that a test sees what arrived.
pub(crate) struct Echo;

fn fail(request_id: &str, error: ApiError) -> Status {
    error.into_status(request_id)
}

fn unimplemented<T>(request: &Request<T>) -> Status {
    match RequestContext::of(request) {
        Ok(context) => fail(&context.request_id, ApiError::unimplemented("not in this test")),
        Err(status) => status,
    }
}

#[tonic::async_trait]
impl ApiEndpointService for Echo {
    async fn get(
        &self,
        request: Request<GetApiEndpointRequest>,
    ) -> Result<Response<ApiEndpoint>, Status> {
        let context = RequestContext::of(&request)?;
        let id = request.into_inner().api_endpoint_id;
        if id == "iam" {
            return Ok(Response::new(ApiEndpoint { id, address: "localhost:8443".to_owned() }));
        }
        let kind = ErrorKind::NotFound { resource_type: "endpoint", id };
        let outcome = Outcome::DecidedAt { index: 7, term: 2 };
        let error = ApiError::new(kind, "there is no such endpoint", outcome);
        Err(fail(&context.request_id, error))
    }

    async fn list(
        &self,
        _request: Request<ListApiEndpointsRequest>,
    ) -> Result<Response<ListApiEndpointsResponse>, Status> {
        let iam = ApiEndpoint { id: "iam".to_owned(), address: "localhost:8443".to_owned() };
        let endpoints = vec![iam];
        let mut response =
            Response::new(ListApiEndpointsResponse { endpoints, next_page_token: String::new() });
        response.metadata_mut().insert("lockbox-index", tonic::metadata::MetadataValue::from(9));
        Ok(response)
    }
}

#[tonic::async_trait]
impl IamTokenService for Echo {
    async fn create(
        &self,
        request: Request<CreateIamTokenRequest>,
    ) -> Result<Response<CreateIamTokenResponse>, Status> {
        let iam_token = match request.into_inner().identity {
            Some(create_iam_token_request::Identity::Jwt(jwt)) => jwt,
            Some(create_iam_token_request::Identity::YandexPassportOauthToken(_)) | None => {
                "none".to_owned()
            }
        };
        let expires_at = Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 });
        Ok(Response::new(CreateIamTokenResponse { iam_token, expires_at }))
    }

    async fn create_for_service_account(
        &self,
        request: Request<CreateIamTokenForServiceAccountRequest>,
    ) -> Result<Response<CreateIamTokenResponse>, Status> {
        // The token that came with the call, to see that it arrived.
        let context = RequestContext::of(&request)?;
        let bearer = context.bearer().map_err(|error| fail(&context.request_id, error))?;
        let iam_token = bearer.expose().clone();
        Ok(Response::new(CreateIamTokenResponse { iam_token, expires_at: None }))
    }

    async fn revoke(
        &self,
        request: Request<RevokeIamTokenRequest>,
    ) -> Result<Response<RevokeIamTokenResponse>, Status> {
        Err(unimplemented(&request))
    }
}

#[tonic::async_trait]
impl PayloadService for Echo {
    async fn get(&self, request: Request<GetPayloadRequest>) -> Result<Response<Payload>, Status> {
        Err(unimplemented(&request))
    }

    async fn get_ex(
        &self,
        request: Request<GetExRequest>,
    ) -> Result<Response<GetExResponse>, Status> {
        let request = request.into_inner();
        let secret_id = match request.identifier {
            Some(get_ex_request::Identifier::FolderAndName(name)) => {
                format!("{}/{}", name.folder_id, name.secret_name)
            }
            Some(get_ex_request::Identifier::SecretId(id)) => id,
            None => String::new(),
        };
        let entries = [("key".to_owned(), vec![0xfb, 0xff])].into_iter().collect();
        Ok(Response::new(GetExResponse { secret_id, version_id: request.version_id, entries }))
    }
}

#[tonic::async_trait]
impl OperationService for Echo {
    async fn get(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let metadata = DeleteSecretMetadata { secret_id: "e6q1".to_owned() };
        let secret = Secret { id: "e6q1".to_owned(), ..Secret::default() };
        Ok(Response::new(Operation {
            id: request.into_inner().operation_id,
            done: true,
            created_at: Some(prost_types::Timestamp { seconds: 1, nanos: 5_000_000 }),
            metadata: Some(lockbox_proto::any::pack(&metadata)),
            result: Some(operation::Result::Response(lockbox_proto::any::pack(&secret))),
            ..Operation::default()
        }))
    }

    async fn cancel(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let id = request.into_inner().operation_id;
        Ok(Response::new(Operation { id, ..Operation::default() }))
    }
}

/// gRPC and REST over [`Echo`] and the standard health service.
pub(crate) async fn router(metrics: &Metrics) -> HttpService {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let random = Arc::new(SystemRandom);
    let services = GrpcServices::new()
        .with(health)
        .with(ApiEndpointServiceServer::new(Echo))
        .with(IamTokenServiceServer::new(Echo))
        .with(PayloadServiceServer::new(Echo))
        .with(OperationServiceServer::new(Echo))
        .into_service();
    let grpc = RequestLayer::new(random.clone(), metrics.rpc.clone()).around(services);
    RestGateway::new(&MOUNTED, grpc, random).expect("routes that can be served").into_service()
}

/// A server on a free port of loopback, with certificates for `server`, `client`.
pub(crate) struct Server {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ca: PathBuf,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Metrics,
    pub(crate) serving: Serving,
}

/// Any free port of loopback.
pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Server {
    /// Starts it; `clients` says what it asks of clients, given the authority.
    pub(crate) async fn start(clients: impl FnOnce(PathBuf) -> ClientCertificates) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ca = issue(dir.path());
        let files = leaf_files(dir.path(), "server");
        let tls = TlsFiles {
            certificate: files.certificate,
            key: files.key,
            clients: clients(ca.clone()),
        };
        let tls = ServerTls::load(&tls).expect("files that fit");
        let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
        let tasks = Tasks::new(FatalExit::new());
        let router = router(&metrics).await;
        let bound = bind("api", any_port(), Security::Tls(tls)).await.expect("a free port");
        let limits = ListenerLimits::default();
        let serving = bound.start(router, &tasks, limits, metrics.tls.clone());
        Self { dir, ca, tasks, metrics, serving }
    }

    pub(crate) fn port(&self) -> u16 {
        self.serving.local_addr().port()
    }

    pub(crate) async fn stop(self) {
        self.serving.stop(Duration::from_secs(1)).await;
        assert_eq!(self.tasks.shutdown(Duration::from_secs(5)).await, Ok(()));
    }
}

/// Issues certificates for a server and a client; returns the authority.
pub(crate) fn issue(dir: &Path) -> PathBuf {
    let leaf = |stem: &str, names: &[&str]| LeafSpec {
        file_stem: stem.to_owned(),
        dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ips: vec![[127, 0, 0, 1].into()],
    };
    let leaves = [leaf("server", &["localhost"]), leaf("client", &["node-1", "localhost"])];
    issue_all(dir, &leaves, &SystemClock::new()).expect("issued certificates").certificate
}
