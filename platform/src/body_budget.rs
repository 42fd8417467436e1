//! How much of requests a server has in memory at one time, on all of its connections together.
//!
//! Promises: bytes are counted as they arrive and until their call has ended, so what nobody
//! finishes and what waits in a queue is bounded by one number, whatever the number of connections
//! and streams. Whoever has not shown who it is shares a quarter of it; the rest is for those who
//! have, so that nobody without a token can keep them out. Refuses to know who they are: it asks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::request::RequestContext;
use crate::status::{ApiError, ErrorKind, Exhausted, Outcome};

/// Bytes of requests in memory, unless configured.
pub const BYTES_DEFAULT: usize = 256 << 20;
/// The smallest budget that can be configured, in bytes: the largest message fits into a quarter.
pub const BYTES_MIN: usize = 17 << 20;
/// What part of it is for everybody.
const OPEN_SHARE: usize = 4;
/// When to come back while others' requests fill it.
const FULL_RETRY: Duration = Duration::from_secs(1);

type Known = dyn Fn(&RequestContext) -> bool + Send + Sync;

/// The budget of a listener. Clones share it.
#[derive(Clone)]
pub struct BodyBudget(Arc<Pools>);

/// Bytes that are left.
struct Pools {
    open: AtomicUsize,
    known_only: AtomicUsize,
    known: Box<Known>,
}

impl fmt::Debug for BodyBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = |pool: &AtomicUsize| pool.load(Ordering::Relaxed);
        let (open, known_only) = (left(&self.0.open), left(&self.0.known_only));
        f.debug_struct("BodyBudget").field("open", &open).field("known_only", &known_only).finish()
    }
}

impl Default for BodyBudget {
    /// [`BYTES_DEFAULT`], for callers with a certificate.
    fn default() -> Self {
        Self::new(BYTES_DEFAULT, |context| context.peer_identity.is_some())
    }
}

impl BodyBudget {
    /// So many bytes. `known` says whether a caller has shown who it is; it is asked only when what
    /// is for everybody is used up.
    #[must_use]
    pub fn new(
        bytes: usize,
        known: impl Fn(&RequestContext) -> bool + Send + Sync + 'static,
    ) -> Self {
        let open = bytes / OPEN_SHARE;
        Self(Arc::new(Pools {
            open: AtomicUsize::new(open),
            known_only: AtomicUsize::new(bytes - open),
            known: Box::new(known),
        }))
    }

    /// The share of a request that has not begun to arrive.
    pub(crate) fn share(&self) -> Share {
        Share { pools: Arc::clone(&self.0), open: 0, known_only: 0 }
    }
}

/// What one request takes up. Given back when dropped.
pub(crate) struct Share {
    pools: Arc<Pools>,
    open: usize,
    known_only: usize,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} bytes)", self.open + self.known_only)
    }
}

impl Share {
    /// Takes up more bytes, which have arrived.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when there are not so many left for this caller.
    pub(crate) fn grow(
        &mut self,
        bytes: usize,
        context: impl FnOnce() -> Arc<RequestContext>,
    ) -> Result<(), ApiError> {
        if take(&self.pools.open, bytes) {
            self.open += bytes;
            return Ok(());
        }
        if (self.pools.known)(&context()) && take(&self.pools.known_only, bytes) {
            self.known_only += bytes;
            return Ok(());
        }
        let full = ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: FULL_RETRY });
        let message = "too many requests are in memory";
        Err(ApiError::new(full, message, Outcome::NotProposed))
    }

    /// Gives all of it back.
    pub(crate) fn clear(&mut self) {
        self.pools.open.fetch_add(std::mem::take(&mut self.open), Ordering::Relaxed);
        self.pools.known_only.fetch_add(std::mem::take(&mut self.known_only), Ordering::Relaxed);
    }

    /// This share, and an empty one in its place.
    pub(crate) fn take(&mut self) -> Self {
        let pools = Arc::clone(&self.pools);
        std::mem::replace(self, Self { pools, open: 0, known_only: 0 })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

fn take(pool: &AtomicUsize, bytes: usize) -> bool {
    // Only a number: nothing else is read because of it.
    let taken =
        pool.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
    taken.is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use tonic::Code;

    use super::*;
    use crate::system::SystemRandom;

    fn context(token: &'static str) -> Arc<RequestContext> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", http::HeaderValue::from_static(token));
        Arc::new(RequestContext::take("/a.B/C", &mut headers, None, &SystemRandom))
    }

    /// gRPC's largest message, with its head, of somebody who logs in.
    #[test]
    fn the_largest_message_fits_into_the_smallest_budget() {
        let budget = BodyBudget::new(BYTES_MIN, |_context| false);
        budget.share().grow((4 << 20) + 5, || context("none")).unwrap();
    }

    #[test]
    fn a_quarter_is_for_everybody_and_the_rest_for_known_callers() {
        let budget = BodyBudget::new(16, |context| context.bearer().is_ok());
        let (mut stranger, mut known) = (budget.share(), budget.share());
        let (unknown_caller, known_caller) = (|| context("none"), || context("Bearer t1.a.b"));
        stranger.grow(4, unknown_caller).unwrap();
        let refused = stranger.grow(1, unknown_caller).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        known.grow(12, known_caller).unwrap();
        assert!(known.grow(1, known_caller).is_err());
        let moved = known.take();
        drop(known);
        assert!(stranger.grow(1, known_caller).is_err(), "a share was given back while it is used");
        drop(moved);
        stranger.clear();
        budget.share().grow(4, unknown_caller).unwrap();
        assert_eq!(format!("{budget:?}"), "BodyBudget { open: 4, known_only: 12 }");
    }
}
