//! A history with all that is worked out once for several laws.

use crate::history::History;
use crate::history::log_dump::CommittedLog;
use crate::history::makers::Makers;
use crate::history::resolve::{Resolution, resolve};

use super::replay::{Replay, replay};

/// What the laws look at.
#[derive(Debug)]
pub struct Case<'a> {
    /// What was recorded.
    pub history: &'a History,
    /// The committed log, if it was dumped.
    pub log: Option<&'a CommittedLog>,
    /// Which operation made which version.
    pub makers: Makers,
    /// What became of operations without an answer.
    pub resolution: Resolution,
    /// The history compared with the specification.
    pub replay: Replay,
}

impl<'a> Case<'a> {
    /// Works it out.
    #[must_use]
    pub fn new(history: &'a History, log: Option<&'a CommittedLog>) -> Self {
        let makers = Makers::find(history);
        let resolution = resolve(history, &makers, log);
        let replay = replay(history, &resolution, log);
        Self { history, log, makers, resolution, replay }
    }
}
