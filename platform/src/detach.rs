//! Calls that run to their end whatever becomes of their caller, or end where they break.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::{Response, Status};
use tracing::Instrument;

use crate::admission::{Admission, Kind, Place};
use crate::audit::{AuditRecord, AuditorHandle};
use crate::status::ApiError;
/// Calls of a server that are under way at one time, whether or not their callers still wait:
/// many times what a busy server has, and few enough for its memory.
pub const CALLS_MAX: usize = 8192;
/// What is said of a call that panicked.
const UNFINISHED: &str = "the call ended unexpectedly";

/// The calls of a server that are under way. Clones share them.
#[derive(Clone, Default)]
pub struct Calls {
    tracker: TaskTracker,
    /// Lets in what is answered in time; nothing where [`CALLS_MAX`] is all that bounds them.
    admission: Option<Arc<Admission>>,
}

impl Calls {
    /// Calls that are let in by this.
    #[must_use]
    pub fn admitted_by(admission: Admission) -> Self {
        Self { tracker: TaskTracker::new(), admission: Some(Arc::new(admission)) }
    }

    /// The same calls, for those who are let in however busy the server is: who operates it, and
    /// its peers. They are few, and [`CALLS_MAX`] bounds them all the same.
    #[must_use]
    pub fn always_admitted(&self) -> Self {
        Self { tracker: self.tracker.clone(), admission: None }
    }

    /// Whether a call of this method would find no place now ([`Admission::turns_away`]).
    #[must_use]
    pub fn turns_away(&self, grpc_path: &str) -> bool {
        self.admission.as_ref().is_some_and(|admission| admission.turns_away(grpc_path))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Counts as a call until it is dropped.
    pub fn token(&self) -> TaskTrackerToken {
        self.tracker.token()
    }

    /// Runs what blocks, and counts it as a call until it has ended.
    #[must_use]
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.tracker.spawn_blocking(work)
    }

    /// From now on [`Self::wait`] ends when the last one has.
    pub fn close(&self) {
        self.tracker.close();
    }

    /// Takes [`Self::close`] back.
    pub fn reopen(&self) {
        self.tracker.reopen();
    }

    /// Waits until they are closed and none is left.
    pub async fn wait(&self) {
        self.tracker.wait().await;
    }

    /// A place for one more call with this answer.
    fn admit<T: 'static>(&self) -> Result<Option<Place>, Status> {
        let full = || Status::resource_exhausted("too many calls are under way");
        // Two that look at once may both find the last place. That does not matter.
        if self.len() >= CALLS_MAX {
            return Err(full());
        }
        let Some(admission) = &self.admission else { return Ok(None) };
        admission.enter(Kind::answering::<T>()).map(Some).ok_or_else(full)
    }
}

/// Runs a call to its end even when its caller hangs up.
///
/// A handler's future is dropped with its connection: a mutation would then be committed, or a
/// crypto call billed, without an audit record, and a caller could bring that about at will. So
/// the listener's connections and streams do not bound how many calls there are: [`CALLS_MAX`]
/// does, and [`Admission`], and the queues behind them, which refuse at once when full
/// (`design §4`). Who owns `calls` joins them, after the listener's end and before that of what
/// they use.
///
/// One that panics is dropped, and whatever it holds records it then: [`record_unfinished`].
///
/// # Errors
/// The call's own; INTERNAL when it panicked; RESOURCE_EXHAUSTED when too many are under way, and
/// then the call has not begun. Its bare status is completed by [`crate::unhandled::Unhandled`].
pub async fn detached<T: Send + 'static>(
    calls: &Calls,
    call: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
) -> Result<Response<T>, Status> {
    let place = calls.admit::<T>()?;
    let call = async move {
        let ended = call.await;
        // A call that panics gives its place back, too, and nobody asks how long it took.
        if let Some(place) = place {
            place.ended(ended.is_ok());
        }
        ended
    };
    let calls = &calls.tracker;
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
    calls: &Calls,
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
    drop(calls.tracker.spawn_on(written.in_current_span(), &runtime));
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
        let calls = Calls::default();
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
        let calls = Calls::default();
        let answered = detached(&calls, async { Ok(Response::new(1)) }).await.unwrap();
        assert_eq!(answered.into_inner(), 1);
        let broken: Result<Response<()>, _> = detached(&calls, async { panic!("broken") }).await;
        assert_eq!(broken.unwrap_err().code(), Code::Internal);
        assert!(calls.is_empty());
    }

    /// Whose caller has left counts like any other.
    #[tokio::test]
    async fn so_many_calls_are_under_way_and_the_next_one_does_not_begin() {
        let calls = Calls::default();
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
