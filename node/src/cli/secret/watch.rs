//! `lockbox secret watch`: a line for each change of the folder's secrets.

use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Args, value_parser};
use lockbox_proto::lockbox::watch::v1::watch_request::Begin;
use lockbox_proto::lockbox::watch::v1::watch_service_client::WatchServiceClient;
use lockbox_proto::lockbox::watch::v1::{Change, WatchRequest, WatchResponse};
use tonic::{Code, Status};

use crate::cli::connect::Context;
use crate::cli::failure::{Exit, Failure, Shown, one_line};
use crate::cli::folder::Folder;
use crate::cli::output::{self, Format, Record};
use crate::cli::session::{Retries, Session, is_transient};

/// Wait before a stream that broke off is asked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// Where to begin, and when to end.
///
/// It outlives restarts of the server and the end of a token, and asks again behind what it has
/// printed; --timeout is for each connection, and --retry for how often it connects again without
/// an answer in between.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Begins behind this index: one that was printed, or 0 for all that is still known. From now
    /// on when absent.
    #[arg(long, value_name = "INDEX")]
    after: Option<u64>,
    /// Ends after so many changes; otherwise at ctrl-C.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl Watch {
    /// Follows the folder, across restarts of the node and changes of the leader.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        let folder = context.folder()?;
        let mut progress = Progress {
            folder,
            after: self.after,
            left: self.limit.unwrap_or(u64::MAX),
            answered: Answered::default(),
            format: context.format(),
        };
        let mut again = Reopenings::new(context.retries());
        loop {
            progress.answered.by_this_stream = false;
            let broken = match context.run(async |session| progress.follow(session).await) {
                Ok(ControlFlow::Break(())) => return Ok(String::new()),
                Ok(ControlFlow::Continue(broken)) => broken,
                // Whoever was once answered waits for the node to come back.
                Err(failure) if progress.answered.once && failure.exit() == Exit::Unreachable => {
                    failure
                }
                Err(failure) => return Err(failure),
            };
            if !again.allow(progress.answered.by_this_stream) {
                return Err(broken);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// How often a stream may be opened again.
struct Reopenings {
    allowed: Retries,
    left: Retries,
}

impl Reopenings {
    const fn new(allowed: Retries) -> Self {
        Self { allowed, left: allowed }
    }

    /// Whether there may be another stream behind one that was answered, or was not. An answer
    /// shows that there is a server: what was tried before it no longer counts.
    fn allow(&mut self, answered: bool) -> bool {
        if answered {
            self.left = self.allowed;
        }
        let left = self.left.after_one();
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// Whether anything was answered.
#[derive(Default)]
struct Answered {
    once: bool,
    by_this_stream: bool,
}

/// How far the stream is.
struct Progress {
    folder: Folder,
    after: Option<u64>,
    left: u64,
    answered: Answered,
    format: Format,
}

impl Progress {
    /// One connection's part of the stream: the last one, or why it ended where another may go on.
    async fn follow(&mut self, session: &Session) -> Result<ControlFlow<(), Failure>, Failure> {
        let begin = self.after.map(Begin::AfterIndex);
        let folder_id = self.folder.id(session).await?;
        let request = WatchRequest { folder_id, begin };
        let send = async |channel, request| WatchServiceClient::new(channel).watch(request).await;
        let mut stream = session.stream(&request, send).await?;
        loop {
            match stream.message().await {
                Ok(Some(answer)) => {
                    if self.take(&answer)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(None) => {
                    let ended = format!("{} has ended the stream", session.address());
                    return Ok(ControlFlow::Continue(Failure::new(Exit::Unreachable, ended)));
                }
                Err(status) => {
                    let failure = Failure::call(session.address(), &status, Shown::Token);
                    return if goes_on(&status, self.answered.by_this_stream) {
                        Ok(ControlFlow::Continue(failure))
                    } else {
                        Err(failure)
                    };
                }
            }
        }
    }

    fn take(&mut self, answer: &WatchResponse) -> Result<ControlFlow<()>, Failure> {
        self.answered = Answered { once: true, by_this_stream: true };
        if let Some(change) = &answer.change {
            let text = match self.format {
                Format::Text => line(answer.index, change),
                Format::Yaml => format!("---\n{}", output::one(self.format, &Record::of(answer)?)?),
                Format::Json | Format::JsonRest => output::line(self.format, &Record::of(answer)?)?,
            };
            if output::write_some(text.as_bytes())?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.left -= 1;
        }
        // ORDER: what was printed is not asked for again.
        self.after = Some(answer.index);
        Ok(if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// Whether another stream may go on where this one ended. A token ends before its holder does: the
/// next connection logs in anew. A node without room for a stream, or one whose answers were read
/// too slowly, says so; the next one has what was not told.
fn goes_on(status: &Status, answered: bool) -> bool {
    let resumable = [Code::Unauthenticated, Code::ResourceExhausted];
    is_transient(status) || (answered && resumable.contains(&status.code()))
}

/// A change for people.
fn line(index: u64, change: &Change) -> String {
    let at = change.changed_at.unwrap_or_default();
    let mut text = format!("{at} {index} {} {}", change.r#type().as_str_name(), change.secret_id);
    if !change.version_id.is_empty() {
        text = format!("{text} version {}", change.version_id);
    }
    if let Some(by) = &change.changed_by {
        text = format!("{text} by {}:{}", by.r#type, by.id);
    }
    one_line(&text) + "\n"
}

#[cfg(test)]
mod tests {
    use lockbox_proto::lockbox::watch::v1::change::Type;
    use lockbox_proto::yandex::cloud::access::Subject;

    use super::*;

    #[test]
    fn a_change_is_one_line() {
        let mut change = Change {
            r#type: Type::VersionAdded.into(),
            secret_id: "e6q1".into(),
            version_id: "e6v1".into(),
            changed_at: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            operation_id: "e6o1".into(),
            changed_by: Some(Subject { id: "aje1\n".into(), r#type: "serviceAccount".into() }),
        };
        let expected = "1970-01-01T00:00:00Z 7 VERSION_ADDED e6q1 version e6v1 by \
                        serviceAccount:aje1\\n\n";
        assert_eq!(line(7, &change), expected);
        change.r#type = Type::VersionDestroyed.into();
        change.changed_by = None;
        assert!(line(7, &change).ends_with(" version e6v1\n"));
    }

    #[test]
    fn a_stream_is_opened_again_as_often_as_asked_for_between_answers() {
        let mut never = Reopenings::new(Retries::AtMost(0));
        assert!(!never.allow(true) && !never.allow(false));
        let mut twice = Reopenings::new(Retries::AtMost(2));
        assert!(twice.allow(true) && twice.allow(false) && !twice.allow(false));
        assert!(twice.allow(true) && twice.allow(true) && twice.allow(false));
        assert!(!twice.allow(false));
        let mut always = Reopenings::new(Retries::Unlimited);
        assert!((0..1000).all(|_| always.allow(false)));
    }

    #[test]
    fn a_stream_goes_on_when_another_may_and_when_the_token_has_ended() {
        let status = |code: Code| Status::new(code, "");
        assert!(goes_on(&status(Code::Unavailable), false));
        assert!(goes_on(&status(Code::Unauthenticated), true));
        assert!(goes_on(&status(Code::ResourceExhausted), true), "the output was read too slowly");
        assert!(!goes_on(&status(Code::Unauthenticated), false), "the credential is refused");
        assert!(!goes_on(&status(Code::PermissionDenied), true));
        assert!(!goes_on(&status(Code::FailedPrecondition), true));
    }
}
