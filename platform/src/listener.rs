//! The listener: accepts connections, terminates TLS, speaks HTTP/1.1 and HTTP/2.
//!
//! Promises: plaintext only on loopback, unless the owner of a metrics port, which serves no
//! secrets, asks for it; a bounded number of connections, each with a time limit on its handshake
//! and on what it may be idle; a stop that lets requests in flight finish. Refuses to know what is
//! served.

mod limits;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::limits::{ConnectionsConfig, ListenerLimits};
use crate::connection::{self, Served};
use crate::exit::ExitCode;
use crate::http_service::HttpService;
use crate::metrics::TlsMetrics;
use crate::tasks::{TaskKind, Tasks};
use crate::tls::{PeerIdentity, ServerTls};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept: out of descriptors, it would fail at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests in flight may take when the listener is not stopped by [`Serving::stop`].
const GRACE_DEFAULT: Duration = Duration::from_secs(3);

/// How a listener's connections are protected.
#[derive(Debug, Clone)]
pub enum Security {
    /// TLS.
    Tls(ServerTls),
    /// None, for development; refused off loopback.
    PlaintextLoopback,
    /// None, on any address: only for the metrics and health routes.
    PlaintextHealth,
}

impl Security {
    /// Of the listener for metrics and health: in clear on loopback, elsewhere only if its owner
    /// asks for `plaintext`, else with `tls` (`peers.md` S1).
    #[must_use]
    pub fn of_metrics(address: SocketAddr, plaintext: bool, tls: &ServerTls) -> Self {
        if metrics_in_clear(address, plaintext) {
            Self::PlaintextHealth
        } else {
            Self::Tls(tls.clone())
        }
    }
}

/// Whether the listener for metrics and health has no TLS at this address.
#[must_use]
pub fn metrics_in_clear(address: SocketAddr, plaintext: bool) -> bool {
    plaintext || address.ip().is_loopback()
}

/// Why a listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody listens there already.
    #[error("the {name} port {address} is in use")]
    InUse {
        /// The listener.
        name: &'static str,
        /// Where.
        address: SocketAddr,
    },
    /// Plaintext was asked for where others can listen.
    #[error("the {name} listener has no TLS and {address} is not a loopback address")]
    PlaintextOffLoopback {
        /// The listener.
        name: &'static str,
        /// Where.
        address: SocketAddr,
    },
    /// The system refuses for another reason.
    #[error("the {name} listener cannot listen on {address}: {source}")]
    Refused {
        /// The listener.
        name: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl ListenError {
    /// What the process exits with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::InUse { .. } => ExitCode::PortInUse,
            Self::PlaintextOffLoopback { .. } | Self::Refused { .. } => ExitCode::Usage,
        }
    }
}

/// What a request's connection is; in the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The client's address.
    pub remote_addr: SocketAddr,
    /// The names of the client's certificate, when it showed one.
    pub peer_identity: Option<PeerIdentity>,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// A listener that holds its port and does not serve yet.
#[derive(Debug)]
pub struct BoundListener {
    name: &'static str,
    listener: TcpListener,
    local_addr: SocketAddr,
    security: Security,
}

/// Takes the port. Port 0 takes any free one; [`BoundListener::local_addr`] says which.
///
/// # Errors
/// [`ListenError`] when the port is taken, or plaintext is asked for off loopback.
pub async fn bind(
    name: &'static str,
    address: SocketAddr,
    security: Security,
) -> Result<BoundListener, ListenError> {
    match security {
        Security::PlaintextLoopback if !address.ip().is_loopback() => {
            return Err(ListenError::PlaintextOffLoopback { name, address });
        }
        Security::PlaintextLoopback | Security::PlaintextHealth | Security::Tls(_) => {}
    }
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { name, address },
        _ => ListenError::Refused { name, address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let local_addr = listener.local_addr().map_err(refused)?;
    Ok(BoundListener { name, listener, local_addr, security })
}

impl BoundListener {
    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves `service` until stopped, as a critical task of `tasks`.
    pub fn start(
        self,
        service: impl Into<HttpService>,
        tasks: &Tasks,
        limits: ListenerLimits,
        metrics: TlsMetrics,
    ) -> Serving {
        let stop = tasks.token().child_token();
        let (grace, grace_receiver) = watch::channel(GRACE_DEFAULT);
        let (done, done_receiver) = watch::channel(false);
        let local_addr = self.local_addr;
        let acceptor = Acceptor {
            name: self.name,
            tls: match self.security {
                Security::Tls(tls) => Some(tls),
                Security::PlaintextLoopback | Security::PlaintextHealth => None,
            },
            service: service.into(),
            limits,
            metrics,
            stop: stop.clone(),
        };
        let connections_max = limits.connections_max;
        tasks.spawn(TaskKind::Critical, "listener", async move {
            accept_all(&self.listener, connections_max, &acceptor, &grace_receiver).await;
            drop(self.listener);
            done.send_replace(true);
            Ok::<(), std::convert::Infallible>(())
        });
        Serving { local_addr, stop, grace, done: done_receiver }
    }
}

/// A listener at work.
#[derive(Debug)]
pub struct Serving {
    local_addr: SocketAddr,
    stop: CancellationToken,
    grace: watch::Sender<Duration>,
    done: watch::Receiver<bool>,
}

impl Serving {
    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, lets requests in flight finish for `grace`, then closes what is left.
    pub async fn stop(mut self, grace: Duration) {
        self.grace.send_replace(grace);
        self.stop.cancel();
        // An error means that the task is gone, which is what is waited for.
        drop(self.done.wait_for(|done| *done).await);
    }
}

/// What every connection of a listener needs.
#[derive(Clone)]
struct Acceptor {
    name: &'static str,
    tls: Option<ServerTls>,
    service: HttpService,
    limits: ListenerLimits,
    metrics: TlsMetrics,
    stop: CancellationToken,
}

async fn accept_all(
    listener: &TcpListener,
    connections_max: usize,
    acceptor: &Acceptor,
    grace: &watch::Receiver<Duration>,
) {
    let slots = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    let open = acceptor.metrics.open.with_label_values(&[acceptor.name]);
    loop {
        let accepted = tokio::select! {
            () = acceptor.stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                report(acceptor.name, ended);
                open.set(i64::try_from(connections.len()).unwrap_or(i64::MAX));
                continue;
            }
            accepted = accept_one(listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, remote_addr, slot)) => {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    acceptor.serve(stream, remote_addr).await;
                    drop(slot);
                });
                open.set(i64::try_from(connections.len()).unwrap_or(i64::MAX));
            }
            Err(error) => {
                tracing::warn!(listener = acceptor.name, %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let grace = *grace.borrow();
    drain(acceptor.name, connections, grace).await;
    open.set(0);
}

/// A slot first, so that what is over the limit waits in the kernel and costs us nothing.
async fn accept_one(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(|_closed| io::Error::other("the listener's slots are closed"))?;
    let (stream, remote_addr) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, remote_addr, slot))
}

/// Waits for the connections, which have been told to finish; aborts what is left.
async fn drain(name: &'static str, mut connections: JoinSet<()>, grace: Duration) {
    let finished = async {
        while let Some(ended) = connections.join_next().await {
            report(name, ended);
        }
    };
    if tokio::time::timeout(grace, finished).await.is_err() {
        tracing::warn!(listener = name, left = connections.len(), "connections were cut off");
        connections.shutdown().await;
    }
}

fn report(name: &'static str, ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        // Without the message of the panic, which may hold anything.
        tracing::error!(listener = name, "a connection's task panicked");
    }
}

impl Acceptor {
    async fn serve(self, stream: TcpStream, remote_addr: SocketAddr) {
        let Some(tls) = &self.tls else {
            let info = ConnectionInfo { remote_addr, peer_identity: None, tls: false };
            return self.serve_http(stream, info, Served::Either).await;
        };
        let handshakes = |result| self.metrics.handshakes.with_label_values(&[self.name, result]);
        let accepted = tokio::select! {
            () = self.stop.cancelled() => return,
            accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => accepted,
        };
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                handshakes("failed").inc();
                tracing::debug!(listener = self.name, %remote_addr, %error, "handshake failed");
                return;
            }
            Err(_elapsed) => {
                handshakes("timeout").inc();
                return;
            }
        };
        handshakes("ok").inc();
        let session = stream.get_ref().1;
        let served = Served::from_alpn(session.alpn_protocol());
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        let peer_identity = leaf.map(PeerIdentity::from_certificate);
        let info = ConnectionInfo { remote_addr, peer_identity, tls: true };
        self.serve_http(stream, info, served).await;
    }

    async fn serve_http<S>(&self, stream: S, info: ConnectionInfo, served: Served)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let remote_addr = info.remote_addr;
        let service = self.service.clone();
        let ended = connection::serve(stream, service, info, served, self.limits, &self.stop).await;
        if let Err(error) = ended {
            tracing::debug!(listener = self.name, %remote_addr, %error, "connection ended");
        }
    }
}
