//! The switch: every packet between the hosts of a run goes through this process.
//!
//! The kernel of the project's machines has no `netem`, so delay, loss, duplication, reordering
//! and bandwidth are made here, for each direction of each pair of hosts. Promises: a rule is in
//! force when `install` returns, and its time is exact. Refuses to know what the packets say.

mod engine;
mod rule;
mod table;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use rustix::event::{EventfdFlags, eventfd};

pub use engine::Port;
pub use rule::LinkRule;
pub use table::Counts;

use super::addresses::Link;
use crate::moment::now;
use engine::{Engine, lock};
use table::Table;

/// The running switch. It ends with this value.
pub struct Switch {
    table: Arc<Mutex<Table>>,
    wake: OwnedFd,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Switch {
    /// Begins to pass packets between these devices, without any rule.
    ///
    /// # Errors
    /// When the thread or its descriptors cannot be made.
    pub fn start(ports: Vec<Port>, seed: u64) -> Result<Self> {
        let table = Arc::new(Mutex::new(Table::default()));
        let wake = eventfd(0, EventfdFlags::CLOEXEC).context("cannot make an eventfd")?;
        let other = wake.try_clone().context("cannot clone an eventfd")?;
        let engine = Engine::new(ports, Arc::clone(&table), other, seed)?;
        let thread = std::thread::Builder::new().name("switch".to_owned());
        let thread = thread.spawn(move || engine.run()).context("cannot start the switch")?;
        Ok(Self { table, wake, thread: Some(thread) })
    }

    /// Puts these rules in force, in place of those that the owner had, and says since when.
    pub fn install(&self, owner: u64, rules: Vec<(Link, LinkRule)>) -> Instant {
        let mut table = lock(&self.table);
        table.install(owner, rules);
        now()
    }

    /// Takes back what the owner installed, and says since when.
    pub fn remove(&self, owner: u64) -> Instant {
        let mut table = lock(&self.table);
        table.remove(owner);
        now()
    }

    /// Takes back everything.
    pub fn clear(&self) {
        lock(&self.table).clear();
    }

    /// What was done to the packets of these links since the switch began.
    #[must_use]
    pub fn counts(&self, links: &[Link]) -> Counts {
        lock(&self.table).counts(links)
    }

    /// Fails when the switch has ended by itself.
    ///
    /// # Errors
    /// When the thread does not run any more: then the network is gone, and the run with it.
    pub fn check(&self) -> Result<()> {
        match &self.thread {
            Some(thread) if !thread.is_finished() => Ok(()),
            _ => Err(anyhow!("the switch has ended: there is no network")),
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // The write can only fail when the counter is full, and then the thread is awake.
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).ok();
        if let Some(thread) = self.thread.take() {
            // Its failure was told by `check`; there is nobody to tell it to here.
            thread.join().ok();
        }
    }
}
