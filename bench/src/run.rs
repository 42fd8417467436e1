//! One run from connections to the printed result, whatever is measured.

use anyhow::Result;

use crate::arguments::{Members, Output, Shape, Watched};
use crate::closed_loop;
use crate::record::{Record, tell};
use crate::target::Target;

/// Runs the load and tells the result.
///
/// # Errors
/// When not one operation succeeded, or the result cannot be written.
pub async fn measure(
    connections: &[Target],
    shape: &Shape,
    members: Members,
    watched: &Watched,
    output: &Output,
) -> Result<Record> {
    let measured = closed_loop::run(connections, shape, watched).await?;
    let servers_watched = !watched.server_pids.is_empty();
    let record = Record::new(&measured, shape, members, output, servers_watched);
    tell(&record, &record.table(), output.json.as_deref())?;
    Ok(record)
}

/// How many connections a load has: never more than clients, never fewer than members.
#[must_use]
pub fn connection_count(shape: &Shape, members: usize) -> usize {
    shape.connections.min(shape.clients).max(members.min(shape.clients)).max(1)
}
