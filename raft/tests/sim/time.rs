//! The world's time, which the driver alone moves, and each node's clocks in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use lockbox_core::Clock;

/// Where the wall clocks begin: where the generator of commands begins, too.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// Milliseconds since the simulation began.
#[derive(Clone, Default)]
pub(crate) struct WorldTime(Arc<AtomicU64>);

impl WorldTime {
    pub(crate) fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn step(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

/// The clocks of one node: the wall clock may be set wrong, the monotonic one goes on.
pub(crate) struct NodeClock {
    world: WorldTime,
    wrong_by_ms: AtomicI64,
}

impl NodeClock {
    pub(crate) const fn new(world: WorldTime) -> Self {
        Self { world, wrong_by_ms: AtomicI64::new(0) }
    }

    pub(crate) fn shift(&self, ms: i64) {
        self.wrong_by_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for NodeClock {
    fn wall_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.world.now_ms()).unwrap();
        u64::try_from(EPOCH_MS + elapsed + self.wrong_by_ms.load(Ordering::Relaxed)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.world.now_ms())
    }
}
