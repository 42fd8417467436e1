//! One stream: look, tell, wait until more is applied.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{FolderId, LogTime};
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::watch::v1::WatchResponse;
use lockbox_raft::apply::Refusal;
use lockbox_raft::replica::{ReadError, Reading};
use lockbox_raft::state::{StateRead, tables};
use lockbox_raft::store::View;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answers::{Answers, End};
use super::{all_known, allowed, told};
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
/// How often the caller is judged while there is nothing to tell. To judge costs more than to look.
const JUDGED_EVERY: Duration = Duration::from_secs(1);
/// Changes that one look takes.
const CHANGES_PER_LOOK: usize = 100;

/// What a look finds.
#[derive(Default)]
struct Found {
    /// The changes behind what is told, as they are told.
    changes: Vec<WatchResponse>,
    /// Whether there are more behind them.
    more: bool,
    /// From where on all changes are known, if any are.
    begin: Option<u64>,
}

type Looked = Result<Found, Refused>;

/// Whether a look must judge its caller even where it finds nothing to tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judging {
    Always,
    WithChanges,
}

/// Who follows which folder, and how far it is.
pub(super) struct Follower {
    pub(super) app: Arc<App>,
    pub(super) caller: Caller,
    pub(super) folder: FolderId,
    pub(super) context: Arc<RequestContext>,
    /// All changes up to this index are told.
    pub(super) told: u64,
}

impl Follower {
    /// Follows until the client has hung up, or must be told why it cannot go on.
    pub(super) async fn run(mut self, answers: Answers, stop: CancellationToken) {
        let ended = tokio::select! {
            () = stop.cancelled() => Err(ApiError::unavailable("this node stops").into()),
            ended = self.follow(&answers) => ended,
        };
        if let Err(End::Because(error)) = ended {
            answers.end(error.into_status(&self.context.request_id));
        }
    }

    async fn follow(&mut self, answers: &Answers) -> Result<std::convert::Infallible, End> {
        answers.tell(told::reached(self.told)).await?;
        let mut alive_until = Instant::now() + SIGN_OF_LIFE;
        let mut judged_until = Instant::now() + JUDGED_EVERY;
        loop {
            // A sealed node serves nobody, and who follows it learns of it.
            let ring = self.app.keyring.ring();
            drop(ring.map_err(|sealed| ApiError::unavailable(sealed.to_string()))?);
            let judging = if Instant::now() < judged_until {
                Judging::WithChanges
            } else {
                judged_until = Instant::now() + JUDGED_EVERY;
                Judging::Always
            };
            let looked = self.app.replica.read_stale(|view, now| self.look(view, now, judging));
            let looked = looked.map_err(|error| ApiError::internal(error.to_string()))?;
            let (seen, more) = self.tell_all(answers, looked).await?;
            if more {
                continue;
            }
            if Instant::now() >= alive_until {
                let by = Instant::now() + BARRIER_MAX;
                let look = |view: &View<'_>, now| self.look(view, Some(now), Judging::Always);
                let looked = self.app.replica.read(by, look).await.map_err(unread)?;
                let (seen, more) = self.tell_all(answers, looked).await?;
                if !more {
                    answers.tell(told::reached(seen)).await?;
                }
                alive_until = Instant::now() + SIGN_OF_LIFE;
                continue;
            }
            let until = alive_until.min(judged_until);
            let applied = async {
                tokio::time::sleep(PAUSE).await;
                self.app.replica.wait_applied(seen.saturating_add(1), until).await
            };
            tokio::select! {
                () = answers.hung_up() => return Err(End::Gone),
                applied = applied => match applied {
                    Ok(()) | Err(ReadError::Deadline) => {}
                    Err(error) => return Err(unread(error).into()),
                },
            }
        }
    }

    /// Takes the next changes and judges the caller, in one view.
    fn look(&self, view: &View<'_>, now: Option<LogTime>, judging: Judging) -> Option<Looked> {
        let found = match self.find(view) {
            Ok(found) => found,
            Err(refused) => return Some(Err(refused)),
        };
        if found.changes.is_empty() && judging == Judging::WithChanges {
            return Some(Ok(found));
        }
        // The barrier of the first look has told the time, and it is not forgotten.
        let (_, looked) = judge(view, &self.caller, now?, |view| {
            allowed(view, &self.caller.subject, &self.folder)?;
            Ok(found)
        });
        Some(looked)
    }

    fn find(&self, view: &dyn StateRead) -> Looked {
        let begin = tables::changes_begin(view)?;
        let page = tables::changes_page(view, &self.folder, self.told, CHANGES_PER_LOOK)?;
        let changes = page.0.iter().map(told::change).collect();
        Ok(Found { changes, more: page.1.is_some(), begin })
    }

    /// Tells what was found. Gives the index that the look was at, and whether there is more.
    async fn tell_all(
        &mut self,
        answers: &Answers,
        looked: Reading<Option<Looked>>,
    ) -> Result<(u64, bool), End> {
        let at = DecidedAt { index: looked.index, term: looked.term };
        let found = looked.value.ok_or_else(|| ApiError::unavailable("the time is not known"))?;
        let found = found.map_err(|refused| match refused.refusal {
            Refusal::Rejected(rejection) => rejected(&rejection, at),
            Refusal::Storage(error) => ApiError::internal(error.to_string()),
        })?;
        // One who reads slowly may be so far behind that what comes next is forgotten meanwhile.
        all_known(found.begin, self.told, &self.folder)?;
        for change in found.changes {
            let index = change.index;
            answers.tell(change).await?;
            self.told = index;
        }
        if !found.more {
            self.told = self.told.max(at.index);
        }
        Ok((at.index, found.more))
    }
}
