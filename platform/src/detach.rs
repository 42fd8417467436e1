//! Calls that run to their end whatever becomes of their caller, or end where they break.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::{Response, Status};
use tracing::Instrument;

use crate::audit::{AuditRecord, AuditorHandle};
use crate::status::ApiError;

/// Calls of a server that are under way at one time, whether or not their callers still wait:
/// many times what a busy server has, and few enough for its memory.
pub const CALLS_MAX: usize = 8192;
/// What is said of a call that panicked.
const UNFINISHED: &str = "the call ended unexpectedly";

/// Runs a call to its end even when its caller hangs up.
///
/// A handler's future is dropped with its connection: a mutation would then be committed, or a
/// crypto call billed, without an audit record, and a caller could bring that about at will. So
/// the listener's connections and streams do not bound how many calls there are: [`CALLS_MAX`]
/// does, and the queues behind them, which refuse at once when full (`design §4`). Who owns `calls`
/// joins them, after the listener's end and before that of what they use.
///
/// One that panics is dropped, and whatever it holds records it then: [`record_unfinished`].
///
/// # Errors
/// The call's own; INTERNAL when it panicked; RESOURCE_EXHAUSTED when too many are under way, and
/// then the call has not begun. Its bare status is completed by [`crate::unhandled::Unhandled`].
pub async fn detached<T: Send + 'static>(
    calls: &TaskTracker,
    call: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
) -> Result<Response<T>, Status> {
    // Two that look at once may both find the last place. That does not matter.
    if calls.len() >= CALLS_MAX {
        return Err(Status::resource_exhausted("too many calls are under way"));
    }
    let call = AssertUnwindSafe(call.in_current_span()).catch_unwind().boxed();
    let attended =
        Attended { call: Some(call), calls, _counted: calls.token(), runtime: Handle::current() };
    let ended = attended.await;
    ended.unwrap_or_else(|_panic| Err(Status::internal(UNFINISHED)))
}

/// The error of a call that did not get to its end: what it has done is not known.
#[must_use]
pub fn unfinished() -> ApiError {
    ApiError::internal(UNFINISHED)
}

/// Has the record written of a call that ends before its end. It is dropped, perhaps by a panic,
/// and cannot wait: its record is one more call, which is joined as they are, and which its answer
/// does not wait for.
pub fn record_unfinished(
    calls: &TaskTracker,
    auditor: &AuditorHandle,
    record: AuditRecord,
    deadline: Instant,
) {
    // Without a runtime the process is at its end, and so is who would write.
    let Ok(runtime) = Handle::try_current() else { return };
    let auditor = auditor.clone();
    let written = async move {
        if let Err(error) = auditor.record(&record, deadline).await {
            tracing::error!(%error, "a call that ended unexpectedly is not in the audit");
        }
    };
    drop(calls.spawn_on(written.in_current_span(), &runtime));
}

/// A call whose caller still waits. It becomes a task of its own when that ends: most never do,
/// and a task for each would cost two wake-ups.
struct Attended<'a, T: Send + 'static> {
    /// Nothing once it has ended.
    call: Option<BoxFuture<'static, T>>,
    calls: &'a TaskTracker,
    /// Whoever joins the calls waits for this one too: its connection may be gone before the task
    /// that this lives in is dropped. ORDER: given back after `drop` has made it a task.
    _counted: TaskTrackerToken,
    runtime: Handle,
}

impl<T: Send> Future for Attended<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(call) = &mut self.call else { panic!("a call was polled after its end") };
        let ended = ready!(call.as_mut().poll(context));
        self.call = None;
        Poll::Ready(ended)
    }
}

impl<T: Send> Drop for Attended<'_, T> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            drop(self.calls.spawn_on(call, &self.runtime));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn a_call_goes_on_without_its_caller_and_is_joined() {
        let calls = TaskTracker::new();
        let (go_on, told) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let call = async move {
            told.await.unwrap();
            done.send(()).unwrap();
            Ok(Response::new(()))
        };
        let mut caller = Box::pin(detached(&calls, call));
        assert!(futures::poll!(caller.as_mut()).is_pending());
        calls.close();
        let mut joined = Box::pin(calls.wait());
        assert!(futures::poll!(joined.as_mut()).is_pending(), "the call is not waited for");
        drop(caller);
        assert!(futures::poll!(joined.as_mut()).is_pending(), "the call is not waited for");
        go_on.send(()).unwrap();
        joined.await;
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_that_waits_gets_the_answer_or_hears_of_the_panic() {
        let calls = TaskTracker::new();
        let answered = detached(&calls, async { Ok(Response::new(1)) }).await.unwrap();
        assert_eq!(answered.into_inner(), 1);
        let broken: Result<Response<()>, _> = detached(&calls, async { panic!("broken") }).await;
        assert_eq!(broken.unwrap_err().code(), Code::Internal);
        assert!(calls.is_empty());
    }

    /// Whose caller has left counts like any other.
    #[tokio::test]
    async fn so_many_calls_are_under_way_and_the_next_one_does_not_begin() {
        let calls = TaskTracker::new();
        let stop = CancellationToken::new();
        for _ in 0..CALLS_MAX {
            let stopped = stop.clone().cancelled_owned();
            let call = async move {
                stopped.await;
                Ok(Response::new(()))
            };
            let mut caller = Box::pin(detached(&calls, call));
            assert!(futures::poll!(caller.as_mut()).is_pending());
        }
        assert_eq!(calls.len(), CALLS_MAX, "a call has ended with its caller");
        let begun = async { panic!("it has begun") };
        let refused: Result<Response<()>, _> = detached(&calls, begun).await;
        assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
        stop.cancel();
        calls.close();
        calls.wait().await;
        detached(&calls, async { Ok(Response::new(())) }).await.unwrap();
    }
}
