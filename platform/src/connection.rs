//! HTTP on one connection: which versions, which limits, and how it is told to finish.
//!
//! Promises: a client that sends pings, however many, is never told to calm down (clients of the
//! API ping every 30 s, `contract §0.1`; hyper has no such policy); a dead client is noticed, an
//! idle one told to go, and for one that does not read nothing is kept for long; HEAD is answered
//! with a head alone, whatever is served and over either version.

mod calls;
mod head_alone;
mod unread;
mod written;

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use futures::FutureExt;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use self::calls::Calls;
use self::head_alone::head_alone;
use self::unread::{AnswerBody, CallTasks};
use self::written::WrittenInTime;
use crate::http_service::HttpService;
use crate::listener::{ConnectionInfo, ListenerLimits};
use crate::tls::ALPN_H2;
use crate::until_sent::UntilSent;

/// How long the head of an HTTP/1.1 request may take; also the longest idle time between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Headers of one request, in bytes. An IAM token is up to 4096, a JWT goes in the body.
const HEADERS_BYTES_MAX: u16 = 32 << 10;
/// How often an HTTP/2 client is probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a probe may stay unanswered.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// The HTTP versions that a connection may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// HTTP/1.1: chosen in ALPN, or nothing was.
    Http1,
    /// HTTP/2: chosen in ALPN.
    Http2,
    /// Whichever the first bytes say; plaintext only.
    Either,
}

impl Served {
    pub(crate) fn from_alpn(protocol: Option<&[u8]>) -> Self {
        if protocol == Some(ALPN_H2) { Self::Http2 } else { Self::Http1 }
    }
}

/// An error of the connection, for the log.
pub(crate) type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// Serves requests until the client goes away, or until none was in flight for a while or `stop` is
/// cancelled; then those in flight are finished.
pub(crate) async fn serve<S>(
    stream: S,
    service: HttpService,
    info: ConnectionInfo,
    served: Served,
    limits: ListenerLimits,
    stop: &CancellationToken,
) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let calls = Calls::new();
    let begun = calls.clone();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(info.clone());
        let call = begun.begin();
        let asks_for_head = request.method() == Method::HEAD;
        let answered = service.answer(request.map(Body::new));
        answered.map(move |answer: Response<Body>| {
            let (answer, held) =
                if asks_for_head { (head_alone(answer), None) } else { held(answer) };
            Ok::<_, Infallible>(answer.map(|body| AnswerBody::new(body, call, held)))
        })
    });
    let builder = builder(served, limits);
    let stream = WrittenInTime::new(stream, limits.unread_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => {}
        () = calls.idle_for(limits.idle_timeout) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// The answer, and what has to stay until it is sent.
fn held(mut answer: Response<Body>) -> (Response<Body>, Option<UntilSent>) {
    let held = answer.extensions_mut().remove();
    (answer, held)
}

fn builder(served: Served, limits: ListenerLimits) -> auto::Builder<CallTasks> {
    let mut builder = auto::Builder::new(CallTasks { unread_timeout: limits.unread_timeout });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEADERS_BYTES_MAX.into());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        // A client whose deadlines are short gives up on all of its calls at once; with h2's own
        // bound of twenty it would lose the connection, and its other calls with it.
        .max_pending_accept_reset_streams(usize::try_from(limits.streams_max).ok())
        .max_header_list_size(HEADERS_BYTES_MAX.into())
        .keep_alive_interval(PROBE_INTERVAL)
        .keep_alive_timeout(PROBE_TIMEOUT)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes);
    match served {
        Served::Http1 => builder.http1_only(),
        Served::Http2 => builder.http2_only(),
        Served::Either => builder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_alpn_gets_http1() {
        assert_eq!(Served::from_alpn(None), Served::Http1);
        assert_eq!(Served::from_alpn(Some(b"http/1.1")), Served::Http1);
        assert_eq!(Served::from_alpn(Some(b"h2")), Served::Http2);
    }
}
