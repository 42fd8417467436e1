//! Server reflection: clients without our `.proto` files read the definitions from the server.
//!
//! Needs no token and is not audited: the definitions are public. It lists the services that are
//! served here, and no others of the definitions.

use lockbox_platform::grpc_services::GrpcServices;
use lockbox_proto::FILE_DESCRIPTOR_SET;
use tonic_reflection::server::Builder;

/// Why it cannot happen that reflection is not built.
const OWN: &str =
    "the descriptor sets were written by the builds of lockbox-proto and tonic-health";

/// Adds both versions of the service, for old clients know the first one only. It lists `served`,
/// and health, which every server has.
#[must_use]
pub fn add_to(services: GrpcServices, served: &[&str]) -> GrpcServices {
    let builder = |own: &str| {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health")
            .with_service_name(own);
        served.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let v1 = builder("grpc.reflection.v1.ServerReflection").build_v1();
    let v1alpha = builder("grpc.reflection.v1alpha.ServerReflection").build_v1alpha();
    services.with(v1.expect(OWN)).with(v1alpha.expect(OWN))
}
