//! Keeps one token good: hands it out while it lasts, and gets the next one shortly before its end.
//!
//! An actor: it owns the token, and has one bounded mailbox. Promises one login at a time, however
//! many programs ask; a token that still lasts is handed out also while a login is under way or
//! has failed; after a failure nobody is asked for [`PAUSE`].

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use lockbox_core::{Clock, SensitiveString};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cli::failure::Failure;
use crate::cli::session::IssuedToken;

/// Requests that wait for the actor, and those that wait for a login.
const WAITING_MAX: usize = 64;
/// How long a request waits for a login.
const WAIT: Duration = Duration::from_secs(10);
/// A tenth of a token's life before its end, but not earlier than this, the next one is due.
const RENEW_BEFORE_MAX: Duration = Duration::from_secs(300);
/// What is left of a token at least when it is handed out.
const LEFT_MIN: Duration = Duration::from_secs(1);
/// After a login that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Logs in.
pub(super) type LogIn =
    Box<dyn Fn() -> BoxFuture<'static, Result<IssuedToken, Failure>> + Send + Sync>;

/// A token, and for how long it is good.
#[derive(Debug, Clone)]
pub(super) struct Lent {
    pub(super) token: SensitiveString,
    pub(super) left: Duration,
}

/// Why there is no token, in one sentence.
type Reply = oneshot::Sender<Result<Lent, String>>;

/// Asks for the token. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct TokenHandle {
    requests: mpsc::Sender<Reply>,
}

impl TokenHandle {
    /// The token of the moment, or why there is none.
    pub(super) async fn token(&self) -> Result<Lent, String> {
        let (reply, answer) = oneshot::channel();
        let busy = || "too many programs wait for a token".to_owned();
        self.requests.try_send(reply).map_err(|_full| busy())?;
        match timeout(WAIT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err("this server ends".to_owned()),
            Err(_elapsed) => Err("the service takes too long to give a token".to_owned()),
        }
    }
}

/// A token, and when it was given by two clocks: the one stands still while the machine sleeps,
/// the other may be set.
struct Held {
    token: SensitiveString,
    lifetime: Duration,
    wall_ms: u64,
    monotonic: Duration,
}

/// The actor.
pub(super) struct TokenKeeper {
    log_in: LogIn,
    clock: Arc<dyn Clock>,
    requests: mpsc::Receiver<Reply>,
    held: Held,
    login: Option<BoxFuture<'static, Result<IssuedToken, Failure>>>,
    waiting: Vec<Reply>,
    failed: Option<(Duration, String)>,
}

impl TokenKeeper {
    /// Begins with this token.
    pub(super) fn new(
        log_in: LogIn,
        clock: Arc<dyn Clock>,
        first: IssuedToken,
    ) -> (TokenHandle, Self) {
        let (sender, requests) = mpsc::channel(WAITING_MAX);
        let held = Held::new(first, &*clock);
        let (login, waiting, failed) = (None, Vec::new(), None);
        let keeper = Self { log_in, clock, requests, held, login, waiting, failed };
        (TokenHandle { requests: sender }, keeper)
    }

    /// Answers until told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                request = self.requests.recv() => match request {
                    Some(reply) => self.serve(reply),
                    None => return Ok(()),
                },
                ended = finished(&mut self.login) => self.renewed(ended),
            }
        }
    }

    fn serve(&mut self, reply: Reply) {
        let left = self.held.left(&*self.clock);
        let is_due = left <= (self.held.lifetime / 10).min(RENEW_BEFORE_MAX);
        if is_due && self.login.is_none() && !self.pauses() {
            self.login = Some((self.log_in)());
        }
        self.waiting.retain(|waiting| !waiting.is_closed());
        if left < LEFT_MIN && self.login.is_some() && self.waiting.len() < WAITING_MAX {
            self.waiting.push(reply);
        } else {
            self.answer(reply);
        }
    }

    fn renewed(&mut self, ended: Result<IssuedToken, Failure>) {
        self.login = None;
        match ended {
            Ok(issued) => {
                self.held = Held::new(issued, &*self.clock);
                self.failed = None;
            }
            Err(failure) => {
                tracing::warn!(%failure, "no new token");
                self.failed = Some((self.clock.monotonic(), failure.to_string()));
            }
        }
        for reply in std::mem::take(&mut self.waiting) {
            self.answer(reply);
        }
    }

    fn answer(&self, reply: Reply) {
        let left = self.held.left(&*self.clock);
        let answer = if left >= LEFT_MIN {
            Ok(Lent { token: self.held.token.clone(), left })
        } else {
            let why = self.failed.as_ref().map(|(_, why)| why.clone());
            Err(why.unwrap_or_else(|| "too many programs wait for a token".to_owned()))
        };
        // Who has gone needs no answer.
        drop(reply.send(answer));
    }

    fn pauses(&self) -> bool {
        let since = |at: Duration| self.clock.monotonic().saturating_sub(at);
        self.failed.as_ref().is_some_and(|(at, _)| since(*at) < PAUSE)
    }
}

impl Held {
    fn new(issued: IssuedToken, clock: &dyn Clock) -> Self {
        let wall_ms = clock.wall_ms();
        let lifetime = Duration::from_millis(issued.expires_at_ms.saturating_sub(wall_ms));
        Self { token: issued.token, lifetime, wall_ms, monotonic: clock.monotonic() }
    }

    fn left(&self, clock: &dyn Clock) -> Duration {
        let by_wall = Duration::from_millis(clock.wall_ms().saturating_sub(self.wall_ms));
        let by_monotonic = clock.monotonic().saturating_sub(self.monotonic);
        self.lifetime.saturating_sub(by_wall.max(by_monotonic))
    }
}

/// The end of the login; never, when there is none.
async fn finished(
    login: &mut Option<BoxFuture<'static, Result<IssuedToken, Failure>>>,
) -> Result<IssuedToken, Failure> {
    match login {
        Some(login) => login.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
