//! One stream: look, tell, wait until more is applied.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{FolderId, LogTime};
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::{ApiError, ErrorKind, Exhausted, Outcome};
use lockbox_proto::lockbox::watch::v1::WatchResponse;
use lockbox_raft::apply::Refusal;
use lockbox_raft::domain::operation::OperationRecord;
use lockbox_raft::replica::{ReadError, Reading};
use lockbox_raft::state::{TimedView, tables};
use lockbox_raft::store::View;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{allowed, told};
use crate::app::App;
use crate::authn::Caller;
use crate::call::judge;
use crate::errors::{DecidedAt, rejected, unread};
use crate::refused::Refused;

/// A stream without changes says as often that it is alive, behind a read barrier.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// How long that barrier may take.
const BARRIER_MAX: Duration = Duration::from_secs(5);
/// The least time between two looks that find nothing: a busy cluster applies every millisecond.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a client may leave its stream unread.
const UNREAD_MAX: Duration = Duration::from_secs(60);
/// Changes that one look takes.
const CHANGES_PER_LOOK: usize = 100;

type Answers = Sender<Result<WatchResponse, Status>>;
/// What a look finds: the changes, and whether there are more behind them.
type Looked = Result<(Vec<OperationRecord>, bool), Refused>;

/// Who follows which folder, and how far it is.
pub(super) struct Follower {
    pub(super) app: Arc<App>,
    pub(super) caller: Caller,
    pub(super) folder: FolderId,
    pub(super) context: Arc<RequestContext>,
    /// All changes up to this index are told.
    pub(super) told: u64,
}

/// Why a stream ends.
enum End {
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

impl Follower {
    /// Follows until the client has hung up, or must be told why it cannot go on.
    pub(super) async fn run(mut self, answers: Answers, stop: CancellationToken) {
        let ended = tokio::select! {
            () = stop.cancelled() => Err(ApiError::unavailable("this node stops").into()),
            ended = self.follow(&answers) => ended,
        };
        if let Err(End::Because(error)) = ended {
            let status = error.into_status(&self.context.request_id);
            // One who does not read is not waited for once more.
            answers.try_send(Err(status)).ok();
        }
    }

    async fn follow(&mut self, answers: &Answers) -> Result<std::convert::Infallible, End> {
        tell(answers, told::reached(self.told)).await?;
        let mut alive_until = Instant::now() + SIGN_OF_LIFE;
        loop {
            let looked = self.app.replica.read_stale(|view, now| self.look(view, now));
            let looked = looked.map_err(|error| ApiError::internal(error.to_string()))?;
            let (seen, more) = self.tell_all(answers, looked).await?;
            if more {
                continue;
            }
            if Instant::now() >= alive_until {
                let by = Instant::now() + BARRIER_MAX;
                let looked = self.app.replica.read(by, |view, now| self.look(view, Some(now)));
                let looked = looked.await.map_err(unread)?;
                let (seen, more) = self.tell_all(answers, looked).await?;
                if !more {
                    tell(answers, told::reached(seen)).await?;
                }
                alive_until = Instant::now() + SIGN_OF_LIFE;
                continue;
            }
            let applied = async {
                tokio::time::sleep(PAUSE).await;
                self.app.replica.wait_applied(seen.saturating_add(1), alive_until).await
            };
            tokio::select! {
                () = answers.closed() => return Err(End::Gone),
                applied = applied => match applied {
                    Ok(()) | Err(ReadError::Deadline) => {}
                    Err(error) => return Err(unread(error).into()),
                },
            }
        }
    }

    /// Judges the caller and takes the next changes, in one view.
    fn look(&self, view: &View<'_>, now: Option<LogTime>) -> Option<Looked> {
        let read = |view: &TimedView<'_>| {
            allowed(view, &self.caller.subject, &self.folder)?;
            let page = tables::changes_page(view, &self.folder, self.told, CHANGES_PER_LOOK)?;
            Ok((page.0, page.1.is_some()))
        };
        // The barrier of the first look has told the time, and it is not forgotten.
        let (_, looked) = judge(view, &self.caller, now?, read);
        Some(looked)
    }

    /// Tells what was found. Gives the index that the look was at, and whether there is more.
    async fn tell_all(
        &mut self,
        answers: &Answers,
        looked: Reading<Option<Looked>>,
    ) -> Result<(u64, bool), End> {
        let at = DecidedAt { index: looked.index, term: looked.term };
        let found = looked.value.ok_or_else(|| ApiError::unavailable("the time is not known"))?;
        let (changes, more) = found.map_err(|refused| match refused.refusal {
            Refusal::Rejected(rejection) => rejected(&rejection, at),
            Refusal::Storage(error) => ApiError::internal(error.to_string()),
        })?;
        for operation in changes {
            tell(answers, told::change(&operation)).await?;
            self.told = operation.index;
        }
        if !more {
            self.told = self.told.max(at.index);
        }
        Ok((at.index, more))
    }
}

/// Sends one answer, to a client that reads.
async fn tell(answers: &Answers, answer: WatchResponse) -> Result<(), End> {
    match answers.send_timeout(Ok(answer), UNREAD_MAX).await {
        Ok(()) => Ok(()),
        Err(tokio::sync::mpsc::error::SendTimeoutError::Closed(_)) => Err(End::Gone),
        Err(tokio::sync::mpsc::error::SendTimeoutError::Timeout(_)) => {
            let busy = ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: PAUSE });
            let message = "the stream is not read";
            Err(ApiError::new(busy, message, Outcome::NotProposed).into())
        }
    }
}
