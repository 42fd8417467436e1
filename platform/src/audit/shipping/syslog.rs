//! Syslog on the wire: TLS, TCP or a socket of this machine.
//!
//! Syslog has no answer that says "I have it". So each batch has a connection of its own: this side
//! sends its records and ends its half; the receiver has read all of them when it ends the other
//! half, and only then are they confirmed. A connection that breaks, whose end does not come, or
//! that was over before all had arrived, confirms nothing, and the batch is sent once more. A
//! socket of datagrams takes each into the receiver's own queue at once; what is in it when the
//! receiver crashes is lost there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixDatagram, UnixStream};
use tokio_rustls::TlsConnector;

use super::Origin;
use super::config::{SyslogConfig, SyslogReceiver};
use super::reader::Shipped;
use super::syslog_line::{message, stand_in};
use crate::tls::{ClientTlsFiles, TlsError, client_config};

/// How long a connection may take, its TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a batch may take until it is confirmed.
const CONFIRM_MAX: Duration = Duration::from_secs(15);
/// Between two looks at whether the receiver's system has taken all that was sent.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// What a receiver may say before its end is reached, in bytes: it should say nothing.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// A receiver of syslog.
pub(super) struct SyslogSink {
    receiver: Receiver,
    origin: Origin,
}

/// How it is reached.
enum Receiver {
    Tls { address: String, name: ServerName<'static>, files: ClientTlsFiles },
    Tcp { address: String },
    Unix { path: PathBuf },
}

impl std::fmt::Debug for SyslogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyslogSink").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl SyslogSink {
    pub(super) fn new(config: &SyslogConfig, origin: Origin) -> Result<Self, TlsError> {
        let wrong = || TlsError::Address { address: config.to.clone() };
        let receiver = match config.receiver().map_err(|_problem| wrong())? {
            SyslogReceiver::Tcp { address } => Receiver::Tcp { address },
            SyslogReceiver::Unix { path } => Receiver::Unix { path },
            SyslogReceiver::Tls { address, server_name } => {
                let no_name = |_| TlsError::Name { name: server_name.clone() };
                let name = ServerName::try_from(server_name.clone()).map_err(no_name)?;
                let files = config.tls_files().ok_or_else(wrong)?;
                // What cannot be used now is a mistake of whoever starts the server.
                client_config(&files)?;
                Receiver::Tls { address, name, files }
            }
        };
        Ok(Self { receiver, origin })
    }

    /// Sends records; the receiver has them when this returns. It refuses none: syslog cannot.
    pub(super) async fn send(&self, records: &[Shipped]) -> io::Result<u64> {
        match &self.receiver {
            Receiver::Tcp { address } => {
                let stream = tcp(address).await?;
                in_time(CONFIRM_MAX, async move {
                    let stream = self.sent(stream, records).await?;
                    all_arrived(&stream).await
                })
                .await?;
            }
            Receiver::Tls { address, name, files } => {
                // With the files as they are by now.
                let config = client_config(files).map_err(io::Error::other)?;
                let tcp = tcp(address).await?;
                let handshake = TlsConnector::from(Arc::new(config)).connect(name.clone(), tcp);
                let stream = in_time(CONNECT_MAX, handshake).await?;
                in_time(CONFIRM_MAX, async move {
                    let stream = self.sent(stream, records).await?;
                    all_arrived(stream.get_ref().0).await
                })
                .await?;
            }
            Receiver::Unix { path } => match UnixStream::connect(path).await {
                // What is written is with the receiver at once, or cannot be written.
                Ok(stream) => in_time(CONFIRM_MAX, self.sent(stream, records)).await.map(drop)?,
                Err(error) if is(&error, rustix::io::Errno::PROTOTYPE) => {
                    in_time(CONFIRM_MAX, self.datagrams(path, records)).await?;
                }
                Err(error) => return Err(error),
            },
        }
        Ok(0)
    }

    /// Sends all and waits until the receiver has ended the connection.
    async fn sent<S>(&self, mut stream: S, records: &[Shipped]) -> io::Result<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut frames = Vec::new();
        for record in records {
            let message = message(&self.origin, record);
            // Octet counting: a record may hold any character.
            frames.extend_from_slice(message.len().to_string().as_bytes());
            frames.push(b' ');
            frames.extend_from_slice(message.as_bytes());
        }
        stream.write_all(&frames).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        let mut answer = [0; 512];
        let mut answered = 0;
        while answered < ANSWER_BYTES_MAX {
            match stream.read(&mut answer).await {
                Ok(0) => return Ok(stream),
                Ok(bytes) => answered += bytes,
                // Not every receiver ends its TLS before its TCP; whoever cuts the connection to
                // make lines seem confirmed is found out by their numbers.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(stream),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the receiver answers, which syslog does not"))
    }

    async fn datagrams(&self, path: &Path, records: &[Shipped]) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        for record in records {
            let sent = socket.send(message(&self.origin, record).as_bytes()).await;
            match sent {
                Ok(_) => {}
                Err(error) if is(&error, rustix::io::Errno::MSGSIZE) => {
                    socket.send(stand_in(&self.origin, record).as_bytes()).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Waits until the receiver's system has all that was sent: one that ended the connection before
/// answers what comes later with a reset.
async fn all_arrived(tcp: &TcpStream) -> io::Result<()> {
    loop {
        // ORDER: a connection that is reset has its error before it is closed.
        let is_closed = tcp.peer_addr().is_err();
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        if is_closed {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    in_time(CONNECT_MAX, TcpStream::connect(address)).await
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn is(error: &io::Error, errno: rustix::io::Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
