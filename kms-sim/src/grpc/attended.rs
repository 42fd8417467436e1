//! A call that commits, and the caller who waits for it: no longer than its time.
//!
//! Promises: a caller whose time is over while the ledger's disk keeps its call waiting is told
//! that the outcome is unknown. The call itself goes on to its record in the ledger and in the
//! audit, as it does when its caller hangs up ([`detached`]).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockbox_platform::detach::{Calls, detached};
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::{ApiError, Outcome};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::Edge;
use super::call::Call;

/// Whether a call is with the ledger, which nothing else bounds: who recognises callers and the
/// auditor keep to the call's time themselves, and say more than that it is over.
#[derive(Debug, Clone, Default)]
pub(super) struct AtLedger(Arc<AtomicBool>);

/// The call is with the ledger as long as this is there.
pub(super) struct Stay<'a>(&'a AtLedger);

impl AtLedger {
    pub(super) fn enter(&self) -> Stay<'_> {
        self.0.store(true, Ordering::Relaxed);
        Stay(self)
    }

    fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// Runs a call that commits.
///
/// # Errors
/// The call's own, those of [`detached`], and UNAVAILABLE when its time is over.
pub(super) async fn attended<M, T, F>(
    edge: &Arc<Edge>,
    request: Request<M>,
    answer: impl FnOnce(Arc<Edge>, Call, M) -> F + Send + 'static,
) -> Result<Response<T>, Status>
where
    M: Send + 'static,
    T: Send + 'static,
    F: Future<Output = Result<Response<T>, Status>> + Send + 'static,
{
    // Not taken up yet: a call that finds no room has not begun.
    let context = request.extensions().get::<Arc<RequestContext>>().cloned();
    let at_ledger = AtLedger::default();
    let work = {
        let (edge, at_ledger) = (Arc::clone(edge), at_ledger.clone());
        async move {
            let call = Call::begin(&edge, &request)?.seen_by(at_ledger);
            answer(edge, call, request.into_inner()).await
        }
    };
    let Some(context) = context else { return detached(&edge.calls, work).await };
    let answered = in_time(&edge.calls, context.deadline, &at_ledger, work).await;
    answered.unwrap_or_else(|late| Err(late.into_status(&context.request_id)))
}

/// The call's answer; or, with the call still under way, what its caller is told instead.
async fn in_time<T: Send + 'static>(
    calls: &Calls,
    deadline: Instant,
    at_ledger: &AtLedger,
    work: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
) -> Result<Result<Response<T>, Status>, ApiError> {
    let mut answered = pin!(detached(calls, work));
    match timeout_at(deadline, answered.as_mut()).await {
        Ok(answer) => Ok(answer),
        // It becomes a task of its own as its caller leaves.
        Err(_elapsed) if at_ledger.is_there() => {
            let message = "the ledger did not confirm the call in time";
            Err(ApiError::unavailable(message).with_outcome(Outcome::Unknown))
        }
        // It gets to the ledger no more: that is not begun when the time is over.
        Err(_elapsed) => Ok(answered.await),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tonic::Code;

    use super::*;

    const TIME: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_caller_hears_in_time_of_a_ledger_that_hangs_and_the_call_goes_on() {
        let (calls, at_ledger) = (Calls::default(), AtLedger::default());
        let (durable, told) = oneshot::channel::<()>();
        let (done, recorded) = oneshot::channel();
        let in_work = at_ledger.clone();
        let work = async move {
            let stay = in_work.enter();
            told.await.unwrap();
            drop(stay);
            done.send(()).unwrap();
            Ok(Response::new(()))
        };
        let late = in_time(&calls, Instant::now() + TIME, &at_ledger, work).await.unwrap_err();
        assert_eq!((late.code(), late.outcome()), (Code::Unavailable, Outcome::Unknown));
        durable.send(()).unwrap();
        recorded.await.unwrap();
        calls.close();
        calls.wait().await;
    }

    #[tokio::test]
    async fn what_is_not_with_the_ledger_says_itself_what_became_of_it() {
        let (calls, at_ledger) = (Calls::default(), AtLedger::default());
        let work = async {
            tokio::time::sleep(2 * TIME).await;
            Err::<Response<()>, _>(Status::unavailable("the audit record was not written in time"))
        };
        let answer = in_time(&calls, Instant::now() + TIME, &at_ledger, work).await.unwrap();
        assert_eq!(answer.unwrap_err().message(), "the audit record was not written in time");
    }
}
