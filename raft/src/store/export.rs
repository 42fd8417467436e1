//! A state that is copied out, row by row, from one view.
//!
//! Rows, and not files of RocksDB: what is deleted is not among them, and any later build can read
//! them, whatever its engine is.

use lockbox_core::{LogTime, NodeId};

use super::state_handle::{AppliedIndex, StateHandle, last_applied, on_view};
use crate::domain::identity::ClusterRecord;
use crate::error::StorageError;
use crate::state::{Direction, Row, Scan, Space, StateRead, keys, tables};

/// Behind every key: no table begins with it.
const KEYS_END: &[u8] = &[0xff];

/// What a copy is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPoint {
    /// The cluster; absent before it is initialised.
    pub cluster: Option<ClusterRecord>,
    /// The last entry whose effect is in it.
    pub applied: AppliedIndex,
    /// Its log time.
    pub log_time: LogTime,
    /// How many erasures there were: what is destroyed later has a higher number.
    pub erasures: u64,
    /// The members.
    pub members: Vec<NodeId>,
}

/// Takes a copy.
pub trait ExportSink {
    /// What it can fail by.
    type Error: From<StorageError>;

    /// What the rows are of, before the first of them.
    ///
    /// # Errors
    /// Whatever ends the copy.
    fn begin(&mut self, point: &ExportPoint) -> Result<(), Self::Error>;

    /// Some rows of a space, in the order of their keys; the spaces in that of [`Space::ALL`].
    ///
    /// # Errors
    /// Whatever ends the copy.
    fn rows(&mut self, space: Space, rows: Vec<Row>) -> Result<(), Self::Error>;
}

/// Rows that are in memory at a time: payloads are large.
const fn rows_at_once(space: Space) -> usize {
    match space {
        Space::Payloads => 16,
        Space::Records | Space::System => 1_024,
    }
}

impl StateHandle {
    /// Gives all rows of one view to the sink. Blocks; the view pins old data meanwhile, and an
    /// erasure waits for it.
    ///
    /// # Errors
    /// The sink's error, or a [`StorageError`] as one.
    pub fn export<S: ExportSink>(&self, sink: &mut S) -> Result<(), S::Error> {
        // A snapshot of another node that is installed meanwhile changes nothing here.
        let generation = self.generation();
        on_view(generation.engine.as_ref(), |state| export(state, sink))?
    }
}

fn export<S: ExportSink>(state: &dyn StateRead, sink: &mut S) -> Result<(), S::Error> {
    let point = ExportPoint {
        cluster: tables::cluster(state)?,
        applied: last_applied(state)?.into(),
        log_time: tables::log_time(state)?,
        erasures: tables::erasures(state)?.count,
        members: tables::member_ids(state)?,
    };
    sink.begin(&point)?;
    for space in Space::ALL {
        let mut from = Vec::new();
        loop {
            let scan = Scan {
                space,
                from,
                to: KEYS_END.to_vec(),
                direction: Direction::Ascending,
                limit: rows_at_once(space),
            };
            let rows = state.scan(&scan)?;
            let Some((last, _)) = rows.last() else { break };
            from = keys::after(last);
            sink.rows(space, rows)?;
        }
    }
    Ok(())
}
