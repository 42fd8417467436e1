//! What has to stay until an answer has been handed to its connection.
//!
//! A handler puts it into the extensions of its response; the REST gateway passes it on, and the
//! listener drops it when the connection has taken the last of the body: over HTTP/2 that is when
//! the client's windows were open for all of it. An answer that breaks off drops it, too. Refuses
//! to know what it is.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Dropped with the answer that it belongs to.
#[derive(Clone)]
pub struct UntilSent {
    _held: Arc<dyn Any + Send + Sync>,
}

impl UntilSent {
    /// Keeps this until then.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(held: T) -> Self {
        Self { _held: Arc::new(held) }
    }
}

impl fmt::Debug for UntilSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UntilSent")
    }
}
