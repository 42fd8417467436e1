//! A view and the log time that rights are judged by in it.
//!
//! Bindings may end, so rights depend on the time, and not on the state alone. No node's own clock
//! may say when: views take the time with which the read barrier answers, `apply` takes the entry's.
//! Whoever judges rights asks for this type, so no caller can forget the time or take another.

use lockbox_core::LogTime;

use super::{Row, Scan, Space, StateRead};
use crate::error::StorageError;

/// A view at a point of the log's clock.
#[derive(Clone, Copy)]
pub struct TimedView<'a> {
    state: &'a dyn StateRead,
    now: LogTime,
}

impl<'a> TimedView<'a> {
    /// This state, judged at this time.
    #[must_use]
    pub const fn new(state: &'a dyn StateRead, now: LogTime) -> Self {
        Self { state, now }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> LogTime {
        self.now
    }

    /// The same state at the end of time: what ends at all has ended. By this is judged who may do
    /// what outlives a right that ends.
    #[must_use]
    pub const fn lasting(&self) -> Self {
        Self { state: self.state, now: LogTime::MAX }
    }
}

impl StateRead for TimedView<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.state.get(space, key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
        self.state.scan(scan)
    }
}
