//! The public services on one router: gRPC by its content type, REST for everything else.

use std::sync::Arc;

use lockbox_platform::metrics::RpcMetrics;
use lockbox_platform::request_layer::RequestLayer;
use lockbox_platform::rest::{RestError, RestGateway};
use lockbox_proto::yandex::cloud::endpoint::api_endpoint_service_server::ApiEndpointServiceServer;
use lockbox_proto::yandex::cloud::iam::v1::iam_token_service_server::IamTokenServiceServer;
use lockbox_proto::yandex::cloud::lockbox::v1::payload_service_server::PayloadServiceServer;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_server::SecretServiceServer;
use lockbox_proto::yandex::cloud::operation::operation_service_server::OperationServiceServer;
use tonic::service::Routes;

use crate::app::App;
use crate::grpc::endpoint::EndpointGrpc;
use crate::grpc::iam_token::IamTokenGrpc;
use crate::grpc::operation::OperationGrpc;
use crate::grpc::payload::PayloadGrpc;
use crate::grpc::secret::SecretGrpc;

/// The services that REST requests reach.
const REST_SERVICES: [&str; 5] = [
    "yandex.cloud.endpoint.ApiEndpointService",
    "yandex.cloud.iam.v1.IamTokenService",
    "yandex.cloud.lockbox.v1.PayloadService",
    "yandex.cloud.lockbox.v1.SecretService",
    "yandex.cloud.operation.OperationService",
];

/// The router of the public listener.
///
/// # Errors
/// [`RestError`] when a route of the definitions cannot be served.
pub fn public(app: &Arc<App>, metrics: RpcMetrics) -> Result<axum::Router, RestError> {
    let config = &app.config;
    let endpoint = EndpointGrpc::new(&config.api.advertise, &config.kms.address);
    let routes = Routes::new(ApiEndpointServiceServer::new(endpoint))
        .add_service(IamTokenServiceServer::new(IamTokenGrpc::new(Arc::clone(app))))
        .add_service(OperationServiceServer::new(OperationGrpc::new(Arc::clone(app))))
        .add_service(PayloadServiceServer::new(PayloadGrpc::new(Arc::clone(app))))
        .add_service(SecretServiceServer::new(SecretGrpc::new(Arc::clone(app))));
    let random = Arc::clone(&app.random);
    let grpc =
        routes.prepare().into_axum_router().layer(RequestLayer::new(Arc::clone(&random), metrics));
    Ok(RestGateway::new(&REST_SERVICES, grpc, random)?.into_router())
}

/// The router of the peer listener.
pub fn peer(app: &Arc<App>) -> axum::Router {
    let services = app.replica.peer_services();
    Routes::new(services.raft).add_service(services.replica).prepare().into_axum_router()
}
