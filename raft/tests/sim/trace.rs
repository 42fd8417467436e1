//! What happened in a run: a hash over all of it, and the part that is worth telling.

use std::fmt::Display;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::time::WorldTime;

/// Lines kept for a report; the oldest go first.
const LINES_MAX: usize = 4_000;

#[derive(Default)]
struct Inner {
    hash: Sha256,
    lines: std::collections::VecDeque<String>,
    violation: Option<String>,
}

/// The record of one run. Clones share it.
#[derive(Clone)]
pub(crate) struct Trace {
    time: WorldTime,
    inner: Arc<Mutex<Inner>>,
}

impl Trace {
    pub(crate) fn new(time: WorldTime) -> Self {
        Self { time, inner: Arc::default() }
    }

    /// Takes bytes that went over the network, or a state, into the hash.
    pub(crate) fn hash(&self, what: &str, bytes: &[u8]) {
        let mut inner = self.inner.lock().unwrap();
        inner.hash.update(self.time.now_ms().to_be_bytes());
        inner.hash.update(what);
        inner.hash.update(bytes);
    }

    /// Notes an event.
    pub(crate) fn note(&self, event: impl Display) {
        let line = format!("{:>6} ms  {event}", self.time.now_ms());
        let mut inner = self.inner.lock().unwrap();
        inner.hash.update(&line);
        if inner.lines.len() == LINES_MAX {
            inner.lines.pop_front();
        }
        inner.lines.push_back(line);
    }

    /// Notes that a promise was broken. The first one ends the run.
    pub(crate) fn broken(&self, law: &str, how: impl Display) {
        self.note(format_args!("BROKEN {law}: {how}"));
        let mut inner = self.inner.lock().unwrap();
        inner.violation.get_or_insert_with(|| format!("{law}: {how}"));
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.inner.lock().unwrap().violation.clone()
    }

    pub(crate) fn digest(&self) -> String {
        hex::encode(self.inner.lock().unwrap().hash.clone().finalize())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.inner.lock().unwrap().lines.iter().cloned().collect()
    }
}
