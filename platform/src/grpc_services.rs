//! gRPC services behind one call, found by the name in a request's path.
//!
//! One look-up and one future for each call. The router that tonic brings copies its whole stack
//! of layers for every request: with two of them in a row it was a tenth of a read's CPU.

use std::collections::HashMap;
use std::convert::Infallible;

use axum::body::Body;
use futures::FutureExt;
use http::{Request, Response};
use tonic::Status;
use tonic::server::NamedService;
use tower::Service;

use crate::http_service::HttpService;

/// gRPC services by their full names.
#[derive(Debug, Default)]
pub struct GrpcServices {
    services: HashMap<&'static str, HttpService>,
    others: Option<HttpService>,
}

impl GrpcServices {
    /// No service yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service, in place of one of the same name. It has to be ready at all times, as
    /// generated servers are.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<tonic::body::Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let answer = move |request| {
            let answered = service.clone().call(request);
            async move {
                let Ok(response) = answered.await;
                response.map(Body::new)
            }
            .boxed()
        };
        self.services.insert(S::NAME, HttpService::new(answer));
        self
    }

    /// Leaves the calls of all other services to this one; without it they are UNIMPLEMENTED.
    #[must_use]
    pub fn with_others(self, others: HttpService) -> Self {
        Self { others: Some(others), ..self }
    }

    /// The services as one.
    #[must_use]
    pub fn into_service(self) -> HttpService {
        let Self { services, others } = self;
        HttpService::new(move |request| {
            let service = request.uri().path().strip_prefix('/');
            let name = service.and_then(|path| path.split_once('/')).map(|(name, _method)| name);
            match name.and_then(|name| services.get(name)).or(others.as_ref()) {
                Some(service) => service.answer(request),
                None => std::future::ready(Status::unimplemented("").into_http()).boxed(),
            }
        })
    }
}
