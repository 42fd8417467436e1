//! What each listener serves: the public services with REST beside gRPC, and the peer services.

use std::sync::Arc;

use lockbox_platform::body_budget::BodyBudget;
use lockbox_platform::grpc_services::GrpcServices;
use lockbox_platform::http_service::HttpService;
use lockbox_platform::listener::ListenerLimits;
use lockbox_platform::metrics::RpcMetrics;
use lockbox_platform::request_layer::RequestLayer;
use lockbox_platform::rest::{RestError, RestGateway};
use lockbox_platform::unhandled::naming_unknown_methods;
use lockbox_proto::lockbox::cluster::v1::admin_service_server::AdminServiceServer;
use lockbox_proto::lockbox::cluster::v1::cluster_service_server::ClusterServiceServer;
use lockbox_proto::lockbox::cluster::v1::introspection_service_server::IntrospectionServiceServer;
use lockbox_proto::lockbox::cluster::v1::kms_witness_service_server::KmsWitnessServiceServer;
use lockbox_proto::lockbox::iam::v1::access_service_server::AccessServiceServer;
use lockbox_proto::lockbox::watch::v1::watch_service_server::WatchServiceServer;
use lockbox_proto::yandex::cloud::endpoint::api_endpoint_service_server::ApiEndpointServiceServer;
use lockbox_proto::yandex::cloud::iam::v1::iam_token_service_server::IamTokenServiceServer;
use lockbox_proto::yandex::cloud::iam::v1::key_service_server::KeyServiceServer;
use lockbox_proto::yandex::cloud::iam::v1::service_account_service_server as accounts;
use lockbox_proto::yandex::cloud::lockbox::v1::payload_service_server::PayloadServiceServer;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_server::SecretServiceServer;
use lockbox_proto::yandex::cloud::operation::operation_service_server::OperationServiceServer;
use lockbox_proto::yandex::cloud::resourcemanager::v1::cloud_service_server::CloudServiceServer;
use lockbox_proto::yandex::cloud::resourcemanager::v1::folder_service_server::FolderServiceServer;
use lockbox_raft::network::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use lockbox_raft::replica::PeerServices;
use tonic_health::pb::health_server::HealthServer;

use crate::app::App;
use crate::grpc::access::AccessGrpc;
use crate::grpc::admin::AdminGrpc;
use crate::grpc::cloud::CloudGrpc;
use crate::grpc::cluster::ClusterGrpc;
use crate::grpc::endpoint::EndpointGrpc;
use crate::grpc::folder::FolderGrpc;
use crate::grpc::health::HealthGrpc;
use crate::grpc::iam_token::IamTokenGrpc;
use crate::grpc::introspection::IntrospectionGrpc;
use crate::grpc::key::KeyGrpc;
use crate::grpc::kms_witness::KmsWitnessGrpc;
use crate::grpc::operation::OperationGrpc;
use crate::grpc::payload::PayloadGrpc;
use crate::grpc::reflection;
use crate::grpc::secret::SecretGrpc;
use crate::grpc::service_account::ServiceAccountGrpc;
use crate::grpc::watch::WatchGrpc;
use crate::{unread_peers, unserved};

/// The services of the public API on the public listener, which health knows.
pub const PUBLIC_SERVICES: [&str; 9] = [
    "yandex.cloud.endpoint.ApiEndpointService",
    "yandex.cloud.iam.v1.IamTokenService",
    "yandex.cloud.iam.v1.KeyService",
    "yandex.cloud.iam.v1.ServiceAccountService",
    "yandex.cloud.lockbox.v1.PayloadService",
    "yandex.cloud.lockbox.v1.SecretService",
    "yandex.cloud.operation.OperationService",
    "yandex.cloud.resourcemanager.v1.CloudService",
    "yandex.cloud.resourcemanager.v1.FolderService",
];

/// Our own services beside them. REST requests reach those of their methods that have a route.
pub const OWN_SERVICES: [&str; 2] =
    ["lockbox.iam.v1.AccessService", "lockbox.watch.v1.WatchService"];

/// What is called on the listener for peers; consensus between nodes is beside them.
pub const PEER_SERVICES: [&str; 4] = [
    "lockbox.cluster.v1.AdminService",
    "lockbox.cluster.v1.ClusterService",
    "lockbox.cluster.v1.IntrospectionService",
    "lockbox.cluster.v1.KmsWitnessService",
];

/// What the public listener serves.
///
/// # Errors
/// [`RestError`] when a route of the definitions cannot be served.
pub fn public(app: &Arc<App>, metrics: RpcMetrics) -> Result<HttpService, RestError> {
    let config = &app.config;
    let endpoint = EndpointGrpc::new(&config.api.advertise, &config.kms.address);
    let account = accounts::ServiceAccountServiceServer::new(ServiceAccountGrpc::new(app.clone()));
    let services = GrpcServices::new()
        .with(ApiEndpointServiceServer::new(endpoint))
        .with(IamTokenServiceServer::new(IamTokenGrpc::new(Arc::clone(app))))
        .with(KeyServiceServer::new(KeyGrpc::new(Arc::clone(app))))
        .with(account)
        .with(OperationServiceServer::new(OperationGrpc::new(Arc::clone(app))))
        .with(PayloadServiceServer::new(PayloadGrpc::new(Arc::clone(app))))
        .with(SecretServiceServer::new(SecretGrpc::new(Arc::clone(app))))
        .with(AccessServiceServer::new(AccessGrpc::new(Arc::clone(app))))
        .with(WatchServiceServer::new(WatchGrpc::new(Arc::clone(app))))
        .with(CloudServiceServer::new(CloudGrpc::new(Arc::clone(app))))
        .with(FolderServiceServer::new(FolderGrpc::new(Arc::clone(app))))
        .with(HealthServer::new(HealthGrpc::new(app.readiness.clone(), &PUBLIC_SERVICES)));
    let served = [PUBLIC_SERVICES.as_slice(), OWN_SERVICES.as_slice()].concat();
    let services = reflection::add_to(services, &served).into_service();
    let recorded = unserved::recorded(Arc::clone(app), services);
    let random = Arc::clone(&app.random);
    let budget = body_budget(app);
    let layer = RequestLayer::new(Arc::clone(&random), metrics).served_by(config.node_id);
    let grpc = layer.within(budget.clone()).among(app.calls.clone()).around(recorded);
    Ok(RestGateway::new(&served, grpc, random)?.within(budget).into_service())
}

/// What is in memory of clients' requests. Who shows a token that this cluster has signed is known:
/// whether it still counts is for the call to find out.
fn body_budget(app: &Arc<App>) -> BodyBudget {
    let bytes = app.config.limits.request_bytes_in_memory;
    let app = Arc::clone(app);
    BodyBudget::new(bytes, move |context| app.authenticator.caller(context).is_ok())
}

/// What the listener for peers serves: other nodes, the operator and the KMS.
///
/// Consensus stays outside the request layer: its streams last as long as a leader does, and its
/// calls are neither logged nor counted one by one.
pub fn peer(app: &Arc<App>, metrics: RpcMetrics) -> HttpService {
    let PeerServices { raft, replica } = app.replica.peer_services();
    let layer = RequestLayer::new(Arc::clone(&app.random), metrics);
    let layer = layer.served_by(app.config.node_id);
    let cluster = ClusterServiceServer::new(ClusterGrpc::new(Arc::clone(app)));
    let introspection = IntrospectionServiceServer::new(IntrospectionGrpc::new(Arc::clone(app)));
    let admin = AdminServiceServer::new(AdminGrpc::new(Arc::clone(app)));
    let witness = KmsWitnessServiceServer::new(KmsWitnessGrpc::new(Arc::clone(app)));
    let called = GrpcServices::new().with(cluster).with(admin).with(introspection).with(witness);
    let called = called.into_service();
    let called = naming_unknown_methods(unread_peers::recorded(Arc::clone(app), called));
    GrpcServices::new().with(raft).with(replica).with_others(layer.around(called)).into_service()
}

/// The bounds of the listener for peers: windows in which a batch of the log fits.
#[must_use]
pub fn peer_limits() -> ListenerLimits {
    ListenerLimits {
        stream_window_bytes: STREAM_WINDOW_BYTES,
        connection_window_bytes: CONNECTION_WINDOW_BYTES,
        ..ListenerLimits::default()
    }
}
