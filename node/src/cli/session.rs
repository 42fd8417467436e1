//! A connection that is logged in: calls with a deadline, retries, and the caller's token.
//!
//! Promises: nothing outlives the command's deadline; a call is repeated only when that cannot
//! do its work twice. Knows no service but the login.

mod login;

use std::time::Duration;

use lockbox_core::{Randomness, RequestId, SensitiveString};
use lockbox_platform::authorized_key::AuthorizedKeyFile;
use lockbox_platform::headers;
use lockbox_platform::system::SystemRandom;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, TimeoutExpired};

use crate::cli::connect::{Connection, Credential};
use crate::cli::failure::{Exit, Failure, Shown, causes};

pub(crate) use login::IssuedToken;

/// Wait before the first repetition; it doubles with each.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How often a call may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retries {
    /// This many times.
    AtMost(u32),
    /// Until the deadline.
    Unlimited,
}

impl Retries {
    /// As `--retry` says it: a negative number is no limit (`contract §11`).
    pub(crate) fn from_flag(retries: i32) -> Self {
        u32::try_from(retries).map_or(Self::Unlimited, Self::AtMost)
    }

    /// What is left after one more; nothing when there is none.
    pub(crate) const fn after_one(self) -> Option<Self> {
        match self {
            Self::AtMost(0) => None,
            Self::AtMost(left) => Some(Self::AtMost(left - 1)),
            Self::Unlimited => Some(Self::Unlimited),
        }
    }
}

/// What a call is, as far as repeating goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// Done twice, it is as if done once: a read, a login, an initialisation.
    Repeatable,
    /// A change, which the server does once for each of these keys.
    Mutation(&'a str),
    /// A change that the server would do again: it is sent once.
    Once,
}

/// A key for one mutation and its repetitions.
pub(crate) fn new_idempotency_key() -> String {
    RequestId::generate(&SystemRandom).to_string()
}

/// Connects, logs in and does this, on a runtime of its own.
pub(crate) fn run<R>(
    connection: &Connection,
    action: impl AsyncFnOnce(&Session) -> Result<R, Failure>,
) -> Result<R, Failure> {
    blocking(async { action(&Session::open(connection).await?).await })
}

fn blocking<R>(action: impl Future<Output = Result<R, Failure>>) -> Result<R, Failure> {
    // One thread is enough for one caller, and starts sooner.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Internal, error))?.block_on(action)
}

/// The token that a login with this key gives, on a runtime of its own.
pub(crate) fn token(
    connection: &Connection,
    key: &AuthorizedKeyFile,
) -> Result<IssuedToken, Failure> {
    blocking(async { Session::connect(connection).await?.log_in(key).await })
}

/// A connection that is logged in.
pub(crate) struct Session {
    channel: Channel,
    address: String,
    bearer: Option<MetadataValue<Ascii>>,
    deadline: Instant,
    retries: Retries,
}

impl Session {
    /// Connects, and logs in when the credential is a key.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, Failure> {
        let mut session = Self::connect(connection).await?;
        session.bearer = match &connection.credential {
            Credential::Token(token) => Some(bearer(token)?),
            Credential::Key(key) => Some(bearer(&session.log_in(key).await?.token)?),
            Credential::None => None,
        };
        if let Some(account) = &connection.acts_as {
            session.bearer = Some(bearer(&session.impersonate(account).await?.token)?);
        }
        Ok(session)
    }

    /// Connects, as nobody yet.
    async fn connect(connection: &Connection) -> Result<Self, Failure> {
        let deadline = Instant::now() + connection.timeout;
        Ok(Self {
            channel: connect(connection, deadline).await?,
            address: connection.address.clone(),
            bearer: None,
            deadline,
            retries: connection.retries,
        })
    }

    /// The same caller at another server, within the same deadline.
    pub(crate) async fn at(&self, connection: &Connection) -> Result<Self, Failure> {
        Ok(Self {
            channel: connect(connection, self.deadline).await?,
            address: connection.address.clone(),
            bearer: self.bearer.clone(),
            deadline: self.deadline,
            retries: self.retries,
        })
    }

    /// `host:port`, for messages.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a call, again if need be, until it is answered or the deadline has come.
    pub(crate) async fn call<M: Clone, R>(
        &self,
        kind: Kind<'_>,
        message: &M,
        send: impl AsyncFn(Channel, Request<M>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        self.tried(kind, || self.request(kind, message.clone()), send).await
    }

    /// Opens a stream, again if need be. Only that it is answered at all is under the deadline.
    pub(crate) async fn stream<M: Clone, R>(
        &self,
        message: &M,
        send: impl AsyncFn(Channel, Request<M>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let request = || {
            let mut request = self.request(Kind::Repeatable, message.clone())?;
            // As a timeout it would be one of the whole stream.
            request.metadata_mut().remove(headers::GRPC_TIMEOUT);
            Ok(request)
        };
        self.tried(Kind::Repeatable, request, send).await
    }

    /// Sends requests until one is answered, or another one would find nothing else.
    async fn tried<M, R>(
        &self,
        kind: Kind<'_>,
        request: impl Fn() -> Result<Request<M>, Failure>,
        send: impl AsyncFn(Channel, Request<M>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let mut backoff = Backoff::new(self.retries);
        let shown = if self.bearer.is_some() { Shown::Token } else { Shown::NoToken };
        loop {
            let sent = timeout_at(self.deadline, send(self.channel.clone(), request()?));
            let status = match sent.await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_elapsed) => return Err(Failure::timeout(&self.address)),
            };
            let failure = Failure::call(&self.address, &status, shown);
            let again = kind != Kind::Once && is_transient(&status);
            if !again || !backoff.wait(self.deadline).await {
                return Err(failure);
            }
        }
    }

    /// Waits between two looks at something that is not finished.
    pub(crate) async fn pause(&self, pause: Duration) -> Result<(), Failure> {
        let woken = timeout_at(self.deadline, sleep(pause)).await;
        woken.map_err(|_elapsed| Failure::timeout(&self.address))
    }

    fn request<M>(&self, kind: Kind<'_>, message: M) -> Result<Request<M>, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::timeout(&self.address));
        }
        let mut request = Request::new(message);
        request.set_timeout(left);
        let metadata = request.metadata_mut();
        if let Some(bearer) = &self.bearer {
            metadata.insert(headers::AUTHORIZATION, bearer.clone());
        }
        if let Kind::Mutation(key) = kind {
            let key = key.parse().map_err(|_not_ascii| {
                Failure::usage("the idempotency key must be printable ASCII")
            })?;
            metadata.insert(headers::IDEMPOTENCY_KEY, key);
        }
        Ok(request)
    }
}

/// Connects; tries again like a call, except after a failed handshake, which would fail again.
async fn connect(connection: &Connection, deadline: Instant) -> Result<Channel, Failure> {
    let mut backoff = Backoff::new(connection.retries);
    loop {
        let error = match timeout_at(deadline, connection.endpoint.connect()).await {
            Ok(Ok(channel)) => return Ok(channel),
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(Failure::timeout(&connection.address)),
        };
        if is_handshake(&error) || !backoff.wait(deadline).await {
            return Err(Failure::unreachable(&connection.address, &error));
        }
    }
}

/// Whether TLS has failed: rustls reports its errors as invalid data.
fn is_handshake(error: &(dyn std::error::Error + 'static)) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
    };
    causes(error).any(|cause| kind(cause) == Some(std::io::ErrorKind::InvalidData))
}

/// Whether another try may find what this one did not: a leader, an outcome, or a server at all.
///
/// It may have been done already; [`Kind`] is what makes that harmless.
pub(crate) fn is_transient(status: &Status) -> bool {
    match std::error::Error::source(status) {
        Some(source) => {
            !is_handshake(source) && !causes(source).any(|cause| cause.is::<TimeoutExpired>())
        }
        // A server without an outcome says DEADLINE_EXCEEDED, also when this call has time left.
        None => matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded),
    }
}

fn bearer(token: &SensitiveString) -> Result<MetadataValue<Ascii>, Failure> {
    let text = SensitiveString::new(format!("Bearer {}", token.expose()));
    let value: Result<MetadataValue<Ascii>, _> = text.expose().parse();
    let mut value = value.map_err(|_not_ascii| {
        Failure::new(Exit::Usage, "the token holds characters that no token has")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The waits between tries.
struct Backoff {
    left: Retries,
    next: Duration,
}

impl Backoff {
    const fn new(retries: Retries) -> Self {
        Self { left: retries, next: BACKOFF_FIRST }
    }

    /// Waits for the next try; false when there is none, or no time for one.
    async fn wait(&mut self, deadline: Instant) -> bool {
        let Some(left) = self.left.after_one() else { return false };
        self.left = left;
        let mut random = [0_u8; 1];
        SystemRandom.fill(&mut random);
        // Many programs may have met the same failure at once: spread them over half the wait.
        let pause = self.next.mul_f64(1.0 - f64::from(random[0]) / 512.0);
        self.next = (self.next * 2).min(BACKOFF_MAX);
        if Instant::now() + pause >= deadline {
            return false;
        }
        sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests;
