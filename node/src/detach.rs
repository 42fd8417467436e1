//! Calls that run to their end whatever becomes of their caller.

use tokio_util::task::TaskTracker;
use tonic::{Response, Status};

/// Runs a call to its end even when its caller hangs up.
///
/// A handler's future is dropped with its connection: a mutation would then be committed without
/// an audit record, and a caller could bring that about at will. The number of calls is bounded
/// by the listener's connections and streams.
///
/// # Errors
/// The call's own, or INTERNAL when it panicked.
pub async fn detached<T: Send + 'static>(
    calls: &TaskTracker,
    call: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
) -> Result<Response<T>, Status> {
    let ended = calls.spawn(call).await;
    ended.unwrap_or_else(|_panicked| Err(Status::internal("the call ended unexpectedly")))
}
