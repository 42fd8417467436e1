//! Asks a server of this machine for its health, as the health check of a container does.
//!
//! One request to the metrics port that a configuration names. Where that port has TLS, the server
//! has to show the very certificate of the configuration: the names in it are those that clients
//! use, and its authority need not be known here. Refuses to know the servers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::listener::metrics_in_clear;
use crate::tls::{ALPN_HTTP1, TlsError, provider, read_certificates};

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// The metrics port of a server.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether the configuration asks for plain HTTP.
    pub plaintext: bool,
    /// What it shows where it has TLS: a file in PEM.
    pub certificate: &'a Path,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether the process lives.
    Live,
    /// Whether it serves.
    Ready,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it says yes.
    pub is_yes: bool,
    /// Its words, on one line.
    pub text: String,
}

/// Why there is no answer; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The certificate's file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no connection, or it breaks.
    #[error("cannot ask {address}: {source}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{address} did not answer in time")]
    Late {
        /// Where.
        address: SocketAddr,
    },
    /// Something else listens there.
    #[error("what {address} answers is no HTTP")]
    NotHttp {
        /// Where.
        address: SocketAddr,
    },
}

/// Asks, and waits for the answer for so long.
///
/// # Errors
/// [`ProbeError`].
pub async fn ask(
    target: &Target<'_>,
    question: Question,
    timeout: Duration,
) -> Result<Answer, ProbeError> {
    let address = reachable(target.listen);
    let tls = if metrics_in_clear(target.listen, target.plaintext) {
        None
    } else {
        Some(only(target.certificate)?)
    };
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        match tls {
            None => exchange(stream, question).await,
            Some(config) => {
                let name = ServerName::from(address.ip());
                let stream = TlsConnector::from(config).connect(name, stream).await?;
                exchange(stream, question).await
            }
        }
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(bytes)) => parse(&bytes).ok_or(ProbeError::NotHttp { address }),
        Ok(Err(source)) => Err(ProbeError::Unreachable { address, source }),
        Err(_elapsed) => Err(ProbeError::Late { address }),
    }
}

/// Where somebody on this machine reaches what listens there.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, listen.port())
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: Question,
) -> io::Result<Vec<u8>> {
    let path = match question {
        Question::Live => "/livez",
        Question::Ready => "/readyz",
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await {
        Ok(_length) => Ok(answer),
        // An end without TLS's own mark of it, after the server has said what it had to say.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => {
            Ok(answer)
        }
        Err(error) => Err(error),
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let text = body.trim_end().replace('\n', "; ");
    Some(Answer { is_yes: status == "200", text })
}

/// TLS that accepts a server with the certificate in this file alone.
fn only(certificate: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable = |reason: String| TlsError::NotOwn { path: certificate.to_owned(), reason };
    let shown = read_certificates("certificate", certificate)?.into_iter().next();
    let shown = shown.ok_or_else(|| unusable("is empty".to_owned()))?;
    let provider = provider();
    let verifier = ThisCertificate { shown, provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(format!("cannot be asked for: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(Arc::new(config))
}

/// Accepts one certificate, whoever has issued it and whatever names and times are in it: whether
/// clients accept it is another question than whether the process is well.
#[derive(Debug)]
struct ThisCertificate {
    shown: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ThisCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if **end_entity == *self.shown {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
