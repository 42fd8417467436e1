//! Server reflection: clients without our `.proto` files read the definitions from the server.
//!
//! Needs no token and is not audited: the definitions are public.

use lockbox_platform::grpc_services::GrpcServices;
use lockbox_proto::FILE_DESCRIPTOR_SET;
use tonic_reflection::server::Builder;

/// Why it cannot happen that reflection is not built.
const OWN: &str = "the descriptor set was written by the build of lockbox-proto";

/// Adds both versions of the service, for old clients know the first one only.
#[must_use]
pub fn add_to(services: GrpcServices) -> GrpcServices {
    let builder = || Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
    let (v1, v1alpha) = (builder().build_v1(), builder().build_v1alpha());
    services.with(v1.expect(OWN)).with(v1alpha.expect(OWN))
}
