//! The REST gateway: JSON over HTTP/1.1 or HTTP/2 in front of the gRPC services.
//!
//! Driven by the `google.api.http` options and the descriptors alone (`contract §0.4`): no method
//! is written down here. Promises: a REST call goes through the same gRPC service, in process,
//! with the same layers, one that is no message of its method included; neither paths with queries
//! nor bodies are logged. Refuses to know what the services do.

mod body;
mod call;
mod error;
mod openapi;
mod path;
mod query;
mod transcode;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use lockbox_core::{Randomness, RequestId};
use lockbox_proto::routes::REST_ROUTES;
use prost_reflect::DescriptorPool;
use tonic::Code;

use self::error::error_response;
use self::path::{Matched, RouteTable};
use crate::body_budget::BodyBudget;
use crate::headers;
use crate::http_service::HttpService;
use crate::listener::ConnectionInfo;
use crate::request::RequestContext;
use crate::request_layer::code_name;
use crate::status::{ApiError, ErrorKind, Outcome};

/// A table of routes that cannot be served: a fault of the build, found at start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the REST route {template} cannot be served: {reason}")]
pub struct RestError {
    /// The path template.
    pub template: &'static str,
    /// Why not.
    pub reason: &'static str,
}

/// Serves REST in front of gRPC services.
pub struct RestGateway {
    routes: RouteTable,
    pool: &'static DescriptorPool,
    grpc: HttpService,
    random: Arc<dyn Randomness>,
    /// What of bodies is in memory at one time.
    budget: BodyBudget,
    /// The OpenAPI document, as JSON.
    openapi: Bytes,
}

impl RestGateway {
    /// A gateway for the services named in `mounted` (full names), which `grpc` answers.
    ///
    /// # Errors
    /// [`RestError`] when a route cannot be served.
    pub fn new(
        mounted: &[&str],
        grpc: HttpService,
        random: Arc<dyn Randomness>,
    ) -> Result<Self, RestError> {
        let pool = lockbox_proto::descriptor_pool();
        let is_mounted = |grpc_path: &str| {
            let service = grpc_path.trim_start_matches('/').split('/').next();
            service.is_some_and(|service| mounted.contains(&service))
        };
        let routes = || REST_ROUTES.iter().filter(|route| is_mounted(route.grpc_path));
        let openapi = Bytes::from(openapi::document(routes(), pool).to_string());
        let routes = RouteTable::new(routes(), pool)?;
        Ok(Self { routes, pool, grpc, random, budget: BodyBudget::default(), openapi })
    }

    /// The same; what is in memory of bodies is within this budget.
    #[must_use]
    pub fn within(self, budget: BodyBudget) -> Self {
        Self { budget, ..self }
    }

    /// Both as one: gRPC by its content type, REST for everything else.
    #[must_use]
    pub fn into_service(self) -> HttpService {
        let gateway = Arc::new(self);
        HttpService::new(move |request| {
            if is_grpc(request.headers()) {
                return gateway.grpc.answer(request);
            }
            let gateway = Arc::clone(&gateway);
            async move { gateway.serve_rest(request).await }.boxed()
        })
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl RestGateway {
    async fn serve_rest(&self, mut request: Request<Body>) -> Response<Body> {
        // Named here, so that an error of the gateway has the id that the service would use.
        let request_id = name_request(request.headers_mut(), self.random.as_ref());
        match self.transcode(request).await {
            Ok(response) => response,
            Err(error) => {
                // Without path and query: a name or a misplaced value may be in them.
                let code = code_name(error.code());
                tracing::info!(target: "rpc", method = "rest", code, request_id, "refused");
                error_response(&error.into_status(&request_id), self.pool)
            }
        }
    }

    /// The definitions are public, as they are by reflection: no token, no record.
    fn describe(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.openapi.clone()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }

    async fn transcode(&self, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let (parts, body) = request.into_parts();
        let reads = [Method::GET, Method::HEAD].contains(&parts.method);
        if reads && parts.uri.path() == openapi::PATH {
            return Ok(self.describe());
        }
        // Also when there is no such path: see `body`.
        let connection = parts.extensions.get::<ConnectionInfo>();
        let address = connection.map(|connection| connection.remote_addr.ip());
        let mut share = self.budget.share(address);
        let body = body::read(body, &mut share, || self.context(&parts)).await;
        let matched = self.routes.find(&parts.method, parts.uri.path()).ok_or_else(not_found)?;
        let Matched { route, variables } = matched;
        let query = parts.uri.query().unwrap_or_default();
        let message = match body {
            Ok(body) => transcode::request(route, &body, query, variables),
            // Too long, but it is here: a call like any other.
            Err(error) if error.code() == Code::InvalidArgument => Err(error),
            Err(never_arrived) => return Err(never_arrived),
        };
        // The message has a share of its own, as that of every call.
        drop(share);
        let wrong = message.as_ref().err().cloned();
        let answer = call::call(&self.grpc, route.grpc_path, message, &parts).await?;
        match (answer.result, wrong) {
            (Ok(encoded), _) => {
                let mut response = transcode::response(route, &encoded, &answer.headers)?;
                if let Some(held) = answer.held {
                    response.extensions_mut().insert(held);
                }
                Ok(response)
            }
            // Nobody has completed what the generated code said, as `unhandled` has it.
            (Err(status), Some(wrong)) if status.details().is_empty() => Err(wrong),
            (Err(status), _) => Ok(error_response(&status, self.pool)),
        }
    }

    /// Who asks, as the services will see it.
    fn context(&self, rest: &Parts) -> Arc<RequestContext> {
        let mut headers = rest.headers.clone();
        let connection = rest.extensions.get::<ConnectionInfo>();
        let random = self.random.as_ref();
        Arc::new(RequestContext::take(rest.uri.path(), &mut headers, connection, random))
    }
}

/// Gives the request an id unless the client did; returns it.
fn name_request(headers: &mut HeaderMap, random: &dyn Randomness) -> String {
    let id = [headers::REQUEST_ID, headers::CLIENT_REQUEST_ID]
        .into_iter()
        .find_map(|name| RequestId::parse(headers.get(name)?.to_str().ok()?))
        .unwrap_or_else(|| RequestId::generate(random))
        .to_string();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(headers::REQUEST_ID, value);
    }
    id
}

fn not_found() -> ApiError {
    let kind = ErrorKind::NotFound { resource_type: "rest.path", id: String::new() };
    ApiError::new(kind, "there is no such path", Outcome::NotProposed)
}
