//! Answers that their clients do not take.
//!
//! What a call has answered waits in memory for the client's windows to open. Promises: over
//! HTTP/2 a call of whose answer nothing is taken for a while is broken off, with all that it
//! holds, and the other calls of the connection go on. [`super::written`] does the same for
//! connections that take nothing at all, those of HTTP/1.1 included.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Sleep, sleep};

use super::calls::UnderWay;
use crate::until_sent::UntilSent;

/// How much of an answer is handed on at once, in bytes. What is handed on is out of our hands.
const PIECE_BYTES_MAX: usize = 256 << 10;

tokio::task_local! {
    /// Of the call that runs in this task.
    static TAKEN: Cell<Taken>;
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    /// Pieces handed on so far.
    pieces: u64,
    /// Whether the last of them is not gone yet: nobody has asked for more since.
    waits: bool,
}

/// Runs the calls of HTTP/2 connections, each for as long as its answer is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallTasks {
    pub(super) unread_timeout: Duration,
}

impl<F> Executor<F> for CallTasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, call: F) {
        let watched = while_taken(call, self.unread_timeout);
        TokioExecutor::new().execute(TAKEN.scope(Cell::default(), watched));
    }
}

/// Runs a call to its end, or until its answer has waited for too long. Dropped, it resets its
/// stream.
async fn while_taken(call: impl Future, unread_timeout: Duration) {
    let mut call = pin!(call);
    let mut patience: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(|cx| {
        if call.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Taken { pieces, waits } = TAKEN.with(Cell::get);
        if !waits {
            patience = None;
            return Poll::Pending;
        }
        let (_, timer) = match patience.take().filter(|(begun_at, _)| *begun_at == pieces) {
            Some(same) => patience.insert(same),
            None => patience.insert((pieces, Box::pin(sleep(unread_timeout)))),
        };
        timer.as_mut().poll(cx)
    })
    .await;
}

/// The body of an answer, handed on in pieces.
pub(super) struct AnswerBody {
    body: Body,
    /// What is not handed on yet of the frame before.
    rest: Bytes,
    _under_way: UnderWay,
    /// Dropped with the body, which is when the connection has taken all of it.
    held: Option<UntilSent>,
}

impl AnswerBody {
    pub(super) fn new(body: Body, under_way: UnderWay, held: Option<UntilSent>) -> Self {
        Self { body, rest: Bytes::new(), _under_way: under_way, held }
    }

    fn next_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES_MAX);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = self.next_piece(cx);
        let waits = polled.is_ready();
        let note = |taken: &Cell<Taken>| {
            let pieces = taken.get().pieces + u64::from(waits);
            taken.set(Taken { pieces, waits });
        };
        // Over HTTP/1.1 the answer is sent by the connection's task, which is none of ours.
        TAKEN.try_with(note).ok();
        polled
    }

    fn is_end_stream(&self) -> bool {
        // While something is held the end is told by a poll of its own: hyper makes that once the
        // client's window has taken what is before it, and would not wait for that otherwise.
        self.held.is_none() && self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let of_body = self.body.size_hint();
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower().saturating_add(rest));
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::super::calls::Calls;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn body(bytes: usize) -> AnswerBody {
        AnswerBody::new(Body::from(vec![7; bytes]), Calls::new().begin(), None)
    }

    #[tokio::test]
    async fn a_long_answer_goes_in_pieces_and_stays_whole() {
        let mut long = body(2 * PIECE_BYTES_MAX + 1);
        assert_eq!(http_body::Body::size_hint(&long).exact(), Some(524_289));
        let mut sizes = Vec::new();
        while let Some(frame) = long.frame().await {
            sizes.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(sizes, [PIECE_BYTES_MAX, PIECE_BYTES_MAX, 1]);
        assert!(http_body::Body::is_end_stream(&body(0)));
    }

    #[tokio::test]
    async fn what_an_answer_holds_stays_until_its_end_was_asked_for() {
        let guard = Arc::new(());
        let held = UntilSent::new(Arc::clone(&guard));
        let mut answer = AnswerBody::new(Body::from("seven b"), Calls::new().begin(), Some(held));
        assert!(answer.frame().await.is_some());
        assert!(!http_body::Body::is_end_stream(&answer), "the window may be closed");
        assert_eq!(Arc::strong_count(&guard), 2);
        assert!(answer.frame().await.is_none());
        drop(answer);
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    /// Sends an answer piece by piece, and waits as long before each as a client does.
    async fn send(mut body: AnswerBody, pause: Duration, sent: oneshot::Sender<()>) {
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            sleep(pause).await;
        }
        sent.send(()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_when_its_client_takes_nothing_for_too_long() {
        let tasks = CallTasks { unread_timeout: TIMEOUT };
        let second = Duration::from_secs(1);
        for (pause, arrives) in [(TIMEOUT - second, true), (TIMEOUT + second, false)] {
            let (sent, whole) = oneshot::channel();
            let begun = Instant::now();
            tasks.execute(send(body(3 * PIECE_BYTES_MAX), pause, sent));
            assert_eq!(whole.await.is_ok(), arrives);
            assert_eq!(begun.elapsed(), if arrives { 3 * pause } else { TIMEOUT });
        }
        // One that has nothing to say yet is waited for.
        let (sent, whole) = oneshot::channel();
        tasks.execute(async {
            sleep(10 * TIMEOUT).await;
            sent.send(()).unwrap();
        });
        assert!(whole.await.is_ok());
    }
}
