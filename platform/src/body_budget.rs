//! How much of requests a server has in memory at one time, on all of its connections together.
//!
//! Promises: bytes are counted as they arrive and until their call has ended, so what nobody
//! finishes and what waits in a queue is bounded by one number, whatever the number of connections
//! and streams. Whoever has not shown who it is shares a quarter of it; the rest is for those who
//! have, so that nobody without a token can keep them out. One address has half of either part at
//! most, so that nobody alone can keep out the others. Refuses to know who they are: it asks.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::request::RequestContext;
use crate::status::{ApiError, ErrorKind, Exhausted, Outcome};

/// Bytes of requests in memory, unless configured.
pub const BYTES_DEFAULT: usize = 256 << 20;
/// The smallest budget that can be configured, in bytes: the largest message fits into a quarter.
pub const BYTES_MIN: usize = 17 << 20;
/// What part of it is for everybody.
const OPEN_SHARE: usize = 4;
/// What part of each part one address has at most.
const ADDRESS_SHARE: usize = 2;
/// The largest message that gRPC takes, with its head, in bytes. An address may always send one.
const MESSAGE_BYTES_MAX: usize = (4 << 20) + 5;
/// When to come back while others' requests fill it.
const FULL_RETRY: Duration = Duration::from_secs(1);

type Known = dyn Fn(&RequestContext) -> bool + Send + Sync;

/// The budget of a listener. Clones share it.
#[derive(Clone)]
pub struct BodyBudget(Arc<Pools>);

/// Its two parts.
struct Pools {
    open: Pool,
    known_only: Pool,
    known: Box<Known>,
}

/// One part.
struct Pool {
    /// Bytes that are left.
    left: AtomicUsize,
    /// Bytes that one address has at most.
    address_max: usize,
    /// Bytes that addresses have. No more of them than connections: who has none is not in it.
    taken: Mutex<HashMap<IpAddr, usize>>,
}

impl fmt::Debug for BodyBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = |pool: &Pool| pool.left.load(Ordering::Relaxed);
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
            open: Pool::new(open),
            known_only: Pool::new(bytes - open),
            known: Box::new(known),
        }))
    }

    /// The share of a request from this address that has not begun to arrive. What comes from
    /// within the process has no address, and no bound of its own.
    pub(crate) fn share(&self, address: Option<IpAddr>) -> Share {
        let address = address.map(network);
        Share { pools: Arc::clone(&self.0), address, open: 0, known_only: 0 }
    }
}

/// Whom an address stands for: in IPv6 everybody has at least 64 bits for itself (RFC 6177).
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

impl Pool {
    fn new(bytes: usize) -> Self {
        let address_max = (bytes / ADDRESS_SHARE).max(MESSAGE_BYTES_MAX);
        Self { left: AtomicUsize::new(bytes), address_max, taken: Mutex::default() }
    }

    /// Takes bytes for an address; none at all when there are not so many for it.
    fn take(&self, bytes: usize, address: Option<IpAddr>) -> bool {
        let Some(address) = address.filter(|_| bytes > 0) else { return self.take_any(bytes) };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let with_these = taken.get(&address).copied().unwrap_or(0).saturating_add(bytes);
        if with_these > self.address_max || !self.take_any(bytes) {
            return false;
        }
        taken.insert(address, with_these);
        true
    }

    fn take_any(&self, bytes: usize) -> bool {
        // Only a number: nothing else is read because of it.
        let relaxed = Ordering::Relaxed;
        self.left.fetch_update(relaxed, relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize, address: Option<IpAddr>) {
        if bytes == 0 {
            return;
        }
        self.left.fetch_add(bytes, Ordering::Relaxed);
        let Some(address) = address else { return };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = taken.get(&address).copied().unwrap_or(0).saturating_sub(bytes);
        if rest == 0 {
            taken.remove(&address);
        } else {
            taken.insert(address, rest);
        }
    }
}

/// What one request takes up. Given back when dropped.
pub(crate) struct Share {
    pools: Arc<Pools>,
    /// Who takes it, when it comes from outside.
    address: Option<IpAddr>,
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
        if self.pools.open.take(bytes, self.address) {
            self.open += bytes;
            return Ok(());
        }
        let known_only = &self.pools.known_only;
        if (self.pools.known)(&context()) && known_only.take(bytes, self.address) {
            self.known_only += bytes;
            return Ok(());
        }
        let full = ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: FULL_RETRY });
        let message = "too many requests are in memory";
        Err(ApiError::new(full, message, Outcome::NotProposed))
    }

    /// Gives all of it back.
    pub(crate) fn clear(&mut self) {
        self.pools.open.give_back(std::mem::take(&mut self.open), self.address);
        self.pools.known_only.give_back(std::mem::take(&mut self.known_only), self.address);
    }

    /// This share, and an empty one in its place.
    pub(crate) fn take(&mut self) -> Self {
        let (pools, address) = (Arc::clone(&self.pools), self.address);
        std::mem::replace(self, Self { pools, address, open: 0, known_only: 0 })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
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

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    /// gRPC's largest message, with its head, of somebody who logs in.
    #[test]
    fn the_largest_message_fits_into_the_smallest_budget() {
        let budget = BodyBudget::new(BYTES_MIN, |_context| false);
        budget.share(address(1)).grow(MESSAGE_BYTES_MAX, || context("none")).unwrap();
    }

    #[test]
    fn one_address_has_half_of_each_part_and_no_more() {
        let bytes = 16 * MESSAGE_BYTES_MAX;
        let budget = BodyBudget::new(bytes, |context| context.bearer().is_ok());
        let (unknown_caller, known_caller) = (|| context("none"), || context("Bearer t1.a.b"));
        let half_of_open = bytes / 8;
        let mut first = budget.share(address(1));
        first.grow(half_of_open, unknown_caller).unwrap();
        // On whatever connection.
        let refused = budget.share(address(1)).grow(1, unknown_caller).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        budget.share(address(2)).grow(half_of_open, unknown_caller).unwrap();

        let half_of_rest = bytes * 3 / 8;
        let mut known = budget.share(address(1));
        known.grow(half_of_rest, known_caller).unwrap();
        assert!(budget.share(address(1)).grow(1, known_caller).is_err());
        budget.share(address(2)).grow(half_of_rest, known_caller).unwrap();
        budget.share(None).grow(half_of_rest, known_caller).unwrap();

        // What is given back can be taken again, and who has nothing is forgotten.
        let moved = first.take();
        drop(first);
        assert!(budget.share(address(1)).grow(1, unknown_caller).is_err());
        drop((moved, known));
        budget.share(address(1)).grow(half_of_open, unknown_caller).unwrap();
        for pool in [&budget.0.open, &budget.0.known_only] {
            assert!(pool.taken.lock().unwrap().is_empty());
        }
    }

    #[test]
    fn an_address_is_who_has_it() {
        let network_of = |text: &str| network(text.parse().unwrap());
        assert_eq!(network_of("::ffff:192.0.2.1"), network_of("192.0.2.1"));
        assert_ne!(network_of("192.0.2.1"), network_of("192.0.2.2"));
        assert_eq!(network_of("2001:db8::1"), network_of("2001:db8::ffff:0:0:2"));
        assert_ne!(network_of("2001:db8::1"), network_of("2001:db8:0:1::1"));
    }

    #[test]
    fn a_quarter_is_for_everybody_and_the_rest_for_known_callers() {
        let budget = BodyBudget::new(16, |context| context.bearer().is_ok());
        let (mut stranger, mut known) = (budget.share(None), budget.share(None));
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
        budget.share(None).grow(4, unknown_caller).unwrap();
        assert_eq!(format!("{budget:?}"), "BodyBudget { open: 4, known_only: 12 }");
    }
}
