//! How long the body of a call may take to arrive, and how much there may be of all of them.
//!
//! Promises: what has arrived of an unfinished message is let go in time, whoever sent it, and is
//! within the listener's [`BodyBudget`] until then, so that nobody fills the memory by sending all
//! but the last byte; answering pings does not keep it. Refuses to know what is in the body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::body_budget::{BodyBudget, Share};
use crate::request::RequestContext;
use crate::status::{ApiError, ErrorKind, Outcome};

/// A body that fails when it has not ended in time, or does not fit into the budget.
pub(crate) struct TimelyBody {
    body: Body,
    deadline: Instant,
    /// Armed when there is something to wait for: most bodies are there with their headers.
    timer: Option<Pin<Box<Sleep>>>,
    /// What has arrived. The context has it once the message is read, until the call has ended.
    share: Share,
    context: Arc<RequestContext>,
}

impl TimelyBody {
    /// The body of this request, which has to end by `deadline`.
    pub(crate) fn new(
        body: Body,
        deadline: Instant,
        budget: &BodyBudget,
        context: Arc<RequestContext>,
    ) -> Self {
        let share = budget.share(context.remote.map(|remote| remote.ip()));
        Self { body, deadline, timer: None, share, context }
    }

    fn late(&self) -> axum::Error {
        let kind = ErrorKind::DeadlineExceeded;
        let late = ApiError::new(kind, "the request did not arrive in time", Outcome::NotProposed);
        self.failed(late)
    }

    /// A status, which the decoder of messages passes on as it is.
    fn failed(&self, error: ApiError) -> axum::Error {
        axum::Error::new(error.into_status(&self.context.request_id))
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), axum::Error> {
        let Some(data) = frame.data_ref() else { return Ok(()) };
        let context = &self.context;
        let counted = self.share.grow(data.len(), || Arc::clone(context));
        counted.map_err(|full| self.failed(full))
    }
}

impl Drop for TimelyBody {
    fn drop(&mut self) {
        self.context.hold(self.share.take());
    }
}

impl http_body::Body for TimelyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // The deadline first: a byte now and then does not make a body timely.
        let deadline = self.deadline;
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(self.late())));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(Ok(frame)) = &frame
                && let Err(full) = self.count(frame)
            {
                return Poll::Ready(Some(Err(full)));
            }
            return Poll::Ready(frame);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(self.late()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
