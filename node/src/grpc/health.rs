//! `grpc.health.v1.Health`: whether it is worth calling this node.
//!
//! Needs no token and is not audited: load balancers ask it every second, and it says nothing
//! that a refused call would not say. SERVING exactly while the process is ready.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use lockbox_platform::health::Readiness;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The service over the process's readiness.
#[derive(Clone)]
pub struct HealthGrpc {
    readiness: Readiness,
    /// The names that can be asked for, beside the empty one for the whole process.
    services: &'static [&'static str],
}

impl HealthGrpc {
    /// The health of these services: all of them are served together or not at all.
    #[must_use]
    pub const fn new(readiness: Readiness, services: &'static [&'static str]) -> Self {
        Self { readiness, services }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

const fn serving(ready: bool) -> ServingStatus {
    if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for HealthGrpc {
    type WatchStream = Watched;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("there is no service of that name"));
        }
        Ok(Response::new(answer(serving(self.readiness.is_ready()))))
    }

    /// Tells the present status, then every change of it.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Watched>, Status> {
        if !self.knows(&request.get_ref().service) {
            // The protocol wants an open stream: the service may appear. Ours never do.
            let unknown = answer(ServingStatus::ServiceUnknown);
            let never = stream::once(async move { Ok(unknown) }).chain(stream::pending());
            return Ok(Response::new(never.boxed()));
        }
        let readiness = self.readiness.clone();
        let changes = stream::unfold(None, move |told: Option<bool>| {
            let readiness = readiness.clone();
            async move {
                let ready = match told {
                    None => readiness.is_ready(),
                    Some(told) => {
                        readiness.wait_for(!told).await;
                        !told
                    }
                };
                Some((Ok(answer(serving(ready))), Some(ready)))
            }
        });
        Ok(Response::new(changes.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.into() })
    }

    #[tokio::test]
    async fn health_follows_readiness() {
        let readiness = Readiness::new();
        let part = readiness.component("part");
        let health = HealthGrpc::new(readiness, &["a.Service"]);
        let check = async |service: &str| {
            health.check(asked(service)).await.map(|answer| answer.into_inner().status())
        };
        let mut watched = health.watch(asked("")).await.unwrap().into_inner();
        assert_eq!(check("").await.unwrap(), ServingStatus::NotServing);
        assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        part.ready();
        assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
        assert_eq!(check("a.Service").await.unwrap(), ServingStatus::Serving);
        part.not_ready("sealed");
        assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        assert_eq!(check("b.Service").await.unwrap_err().code(), tonic::Code::NotFound);
        let mut unknown = health.watch(asked("b.Service")).await.unwrap().into_inner();
        assert_eq!(unknown.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    }
}
