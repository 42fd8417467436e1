//! Calls that run to their end whatever becomes of their caller.

use tokio_util::task::TaskTracker;
use tonic::{Response, Status};
use tracing::Instrument;

/// Runs a call to its end even when its caller hangs up.
///
/// A handler's future is dropped with its connection: a mutation would then be committed, or a
/// crypto call billed, without an audit record, and a caller could bring that about at will. The
/// number of calls is bounded by the listener's connections and streams; who owns `calls` joins
/// them before what they use ends.
///
/// # Errors
/// The call's own, or INTERNAL when it panicked.
pub async fn detached<T: Send + 'static>(
    calls: &TaskTracker,
    call: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
) -> Result<Response<T>, Status> {
    let ended = calls.spawn(call.in_current_span()).await;
    ended.unwrap_or_else(|_panicked| Err(Status::internal("the call ended unexpectedly")))
}
