//! What a stream tells its client: answers as far as it reads, and at last why it ends.

use std::time::Duration;

use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome};
use lockbox_proto::lockbox::watch::v1::WatchResponse;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{self, OwnedPermit, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Answers that wait for a slow client, at most.
const WAITING_MAX: usize = 64;
/// How long a client may leave its stream unread.
const UNREAD_MAX: Duration = Duration::from_secs(60);
/// When a client that did not read may come back.
const COME_BACK: Duration = Duration::from_millis(20);

/// One answer, or the end.
type Answer = Result<WatchResponse, Status>;

/// Why a stream ends.
pub(super) enum End {
    /// Its client has hung up.
    Gone,
    /// The client is told why.
    Because(ApiError),
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        Self::Because(error)
    }
}

/// The server's side of a stream.
pub(super) struct Answers {
    sender: Sender<Answer>,
    /// The place of the last word: one that does not read is told why, once it does.
    last: OwnedPermit<Answer>,
}

/// Both sides of a new stream.
pub(super) fn stream() -> (Answers, ReceiverStream<Answer>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX + 1);
    let last = sender.clone().try_reserve_owned();
    let last = last.unwrap_or_else(|_full| unreachable!("a new channel is empty"));
    (Answers { sender, last }, ReceiverStream::new(receiver))
}

impl Answers {
    /// Sends one answer, to a client that reads.
    pub(super) async fn tell(&self, answer: WatchResponse) -> Result<(), End> {
        match self.sender.send_timeout(Ok(answer), UNREAD_MAX).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Closed(_)) => Err(End::Gone),
            Err(SendTimeoutError::Timeout(_)) => {
                let busy = ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: COME_BACK });
                let message = "the stream is not read";
                Err(ApiError::new(busy, message, Outcome::NotProposed).into())
            }
        }
    }

    /// Waits until the client has hung up.
    pub(super) async fn hung_up(&self) {
        self.sender.closed().await;
    }

    /// Says the last word; does not wait for who does not read.
    pub(super) fn end(self, status: Status) {
        self.last.send(Err(status));
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::Code;

    use super::*;

    fn answer(index: u64) -> WatchResponse {
        WatchResponse { index, change: None }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_told_so_behind_all_that_was_told() {
        let (answers, mut read) = stream();
        let mut told = 0;
        let error = loop {
            match answers.tell(answer(told)).await {
                Ok(()) => told += 1,
                Err(End::Because(error)) => break error,
                Err(End::Gone) => panic!("nobody has hung up"),
            }
        };
        assert_eq!(told, 64);
        answers.end(error.into_status("r"));
        for index in 0..told {
            assert_eq!(read.next().await.unwrap().unwrap().index, index);
        }
        let end = read.next().await.unwrap().unwrap_err();
        assert_eq!(end.code(), Code::ResourceExhausted);
        assert!(read.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_hung_up_is_noticed() {
        let (answers, read) = stream();
        drop(read);
        answers.hung_up().await;
        assert!(matches!(answers.tell(answer(1)).await, Err(End::Gone)));
        // The last word goes nowhere, and nothing is wrong with that.
        answers.end(Status::unavailable("gone"));
    }
}
