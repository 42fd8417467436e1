//! `ApiEndpointService`: where a client finds everything else (`contract §0.1`).
//!
//! Answers without a token and without a leader: it is configuration, not state. Not audited for
//! the same reason; the RPC log and metrics see it.

use std::sync::Arc;

use lockbox_platform::request::RequestContext;
use lockbox_platform::status::{ApiError, ErrorKind, Outcome};
use lockbox_proto::yandex::cloud::endpoint::api_endpoint_service_server::ApiEndpointService;
use lockbox_proto::yandex::cloud::endpoint::{
    ApiEndpoint, GetApiEndpointRequest, ListApiEndpointsRequest, ListApiEndpointsResponse,
};
use tonic::{Request, Response, Status};

/// Ids of the endpoints that a node serves itself. Each once: a client collects the list into a
/// map and refuses a repeated id.
const NODE_IDS: [&str; 7] = [
    "endpoint",
    "iam",
    "operation",
    "lockbox",
    "lockbox-payload",
    "resource-manager",
    "resourcemanager",
];
/// Ids of the endpoints that the KMS serves.
const KMS_IDS: [&str; 2] = ["kms", "kms-crypto"];

/// What an unknown id is said to be one of.
const RESOURCE_TYPE: &str = "endpoint.apiEndpoint";

/// The service: a fixed list.
#[derive(Clone)]
pub struct EndpointGrpc {
    endpoints: Arc<Vec<ApiEndpoint>>,
}

impl EndpointGrpc {
    /// The service of a node that clients reach at `node`, with its KMS at `kms` (`host:port`).
    #[must_use]
    pub fn new(node: &str, kms: &str) -> Self {
        let at = |address: &str, id: &str| ApiEndpoint {
            id: id.to_owned(),
            address: address.to_owned(),
        };
        let own = NODE_IDS.iter().map(|id| at(node, id));
        let endpoints = own.chain(KMS_IDS.iter().map(|id| at(kms, id))).collect();
        Self { endpoints: Arc::new(endpoints) }
    }
}

#[tonic::async_trait]
impl ApiEndpointService for EndpointGrpc {
    async fn get(
        &self,
        request: Request<GetApiEndpointRequest>,
    ) -> Result<Response<ApiEndpoint>, Status> {
        let id = &request.get_ref().api_endpoint_id;
        match self.endpoints.iter().find(|endpoint| endpoint.id == *id) {
            Some(endpoint) => Ok(Response::new(endpoint.clone())),
            None => {
                let context = RequestContext::of(&request)?;
                let kind = ErrorKind::NotFound { resource_type: RESOURCE_TYPE, id: id.clone() };
                let message = "there is no endpoint of that id";
                let error = ApiError::new(kind, message, Outcome::NotProposed);
                Err(error.into_status(&context.request_id))
            }
        }
    }

    async fn list(
        &self,
        _: Request<ListApiEndpointsRequest>,
    ) -> Result<Response<ListApiEndpointsResponse>, Status> {
        let endpoints = self.endpoints.as_ref().clone();
        Ok(Response::new(ListApiEndpointsResponse { endpoints, next_page_token: String::new() }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn every_id_of_the_contract_is_listed_once() {
        let service = EndpointGrpc::new("localhost:8443", "localhost:8470");
        let list = service.list(Request::new(ListApiEndpointsRequest::default())).await.unwrap();
        let ids: Vec<_> = list.into_inner().endpoints.into_iter().map(|e| e.id).collect();
        let unique: BTreeSet<_> = ids.iter().cloned().collect();
        assert_eq!(ids.len(), unique.len());
        for id in ["iam", "operation", "lockbox", "lockbox-payload", "kms", "kms-crypto"] {
            assert!(unique.contains(id), "{id}");
        }
        let one = |id: &str| {
            service.get(Request::new(GetApiEndpointRequest { api_endpoint_id: id.to_owned() }))
        };
        assert_eq!(one("kms").await.unwrap().into_inner().address, "localhost:8470");
    }
}
