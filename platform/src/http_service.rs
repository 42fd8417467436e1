//! What answers the requests of a listener, whatever it is made of.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tower::Service;

type Answer = dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync;

/// Answers requests; always ready. Cheap to clone.
#[derive(Clone)]
pub struct HttpService(Arc<Answer>);

impl HttpService {
    /// Answers with a function.
    pub fn new(
        answer: impl Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }

    /// Answers one request.
    pub fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        self.0(request)
    }
}

impl From<axum::Router> for HttpService {
    fn from(router: axum::Router) -> Self {
        Self::new(move |request| {
            let mut router = router.clone();
            async move {
                let Ok(response) = router.call(request).await;
                response
            }
            .boxed()
        })
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpService")
    }
}
