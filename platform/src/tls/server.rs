//! TLS of a listener: the certificate that it shows and the key exchange that a client gets.
//!
//! Promises: X25519MLKEM768 with every client that offers it, wherever in its list it does
//! (`peers.md` S2); certificate, key and authority that were replaced on disk count for connections
//! that begin [`LOOK_EVERY`] later, without a restart, and files that do not fit together change
//! nothing. Refuses to know who may do what.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::server::{Acceptor, ClientHello};
use rustls::{CipherSuite, NamedGroup, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::seen::Seen;
use super::{
    ALPN_H2, ALPN_HTTP1, ClientCertificates, TlsError, TlsFiles, client_verifier, provider,
    read_certificates, read_key,
};

/// How often a listener that is connected to looks whether its files were replaced.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// TLS of a listener, ready to accept. Clones share what was read.
#[derive(Clone)]
pub struct ServerTls {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration holds the private key.
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files and checks that they fit together.
    ///
    /// # Errors
    /// [`TlsError`], one sentence that names the file.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Self::looking_every(files, LOOK_EVERY)
    }

    fn looking_every(files: &TlsFiles, period: Duration) -> Result<Self, TlsError> {
        // ORDER: looked at before they are read, so that a change in between is seen later.
        let seen = Seen::of(paths(files));
        let configs = Arc::new(Configs::load(files)?);
        let current = Mutex::new(Current { configs, seen, looked_at: Instant::now() });
        Ok(Self { shared: Arc::new(Shared { files: files.clone(), period, current }) })
    }

    /// The server's side of a handshake.
    ///
    /// # Errors
    /// When the client is refused, or goes away.
    pub(crate) async fn accept<IO>(&self, stream: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let configs = self.shared.configs();
        let is_hybrid = offers_hybrid(&start.client_hello());
        let config = if is_hybrid { &configs.hybrid } else { &configs.usual };
        start.into_stream(Arc::clone(config)).await
    }
}

/// Whether the client offers X25519MLKEM768, and TLS 1.3, without which there is none.
fn offers_hybrid(hello: &ClientHello<'_>) -> bool {
    let groups = hello.named_groups().unwrap_or_default();
    let is_of_1_3 = |suite: &CipherSuite| {
        matches!(
            suite,
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS13_AES_256_GCM_SHA384
                | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        )
    };
    groups.contains(&NamedGroup::X25519MLKEM768) && hello.cipher_suites().iter().any(is_of_1_3)
}

struct Shared {
    files: TlsFiles,
    period: Duration,
    current: Mutex<Current>,
}

struct Current {
    configs: Arc<Configs>,
    seen: Seen,
    looked_at: Instant,
}

impl Shared {
    /// What counts for a connection that begins now.
    fn configs(&self) -> Arc<Configs> {
        // Whoever panicked while it held this has changed nothing by halves.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked_at.elapsed() >= self.period {
            current.looked_at = Instant::now();
            let seen = Seen::of(paths(&self.files));
            if seen != current.seen {
                self.renew(&mut current, seen);
            }
        }
        Arc::clone(&current.configs)
    }

    fn renew(&self, current: &mut Current, seen: Seen) {
        let certificate = self.files.certificate.display();
        match Configs::load(&self.files) {
            Ok(configs) => {
                current.configs = Arc::new(configs);
                current.seen = seen;
                tracing::info!(%certificate, "the certificate was replaced and is in use");
            }
            // Perhaps the key has not been written yet: it is looked at again.
            Err(error) => {
                tracing::warn!(%certificate, %error, "the replaced certificate is not used");
            }
        }
    }
}

fn paths(files: &TlsFiles) -> impl Iterator<Item = &Path> {
    let authority = match &files.clients {
        ClientCertificates::None => None,
        ClientCertificates::Optional(path) | ClientCertificates::Required(path) => Some(path),
    };
    let paths = [Some(&files.certificate), Some(&files.key), authority];
    paths.into_iter().flatten().map(PathBuf::as_path)
}

/// The configurations of one set of files.
struct Configs {
    /// The client's first group that we have.
    usual: Arc<ServerConfig>,
    /// X25519MLKEM768 and nothing else: among several groups, rustls takes the client's first.
    hybrid: Arc<ServerConfig>,
}

impl Configs {
    fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let usual = provider();
        let hybrid =
            CryptoProvider { kx_groups: vec![kx_group::X25519MLKEM768], ..(*usual).clone() };
        Ok(Self { usual: config(files, usual)?, hybrid: config(files, Arc::new(hybrid))? })
    }
}

fn config(files: &TlsFiles, provider: Arc<CryptoProvider>) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read_certificates("certificate", &files.certificate)?;
    let key = read_key(&files.key)?;
    let verifier = client_verifier(&files.clients, &provider)?;
    let unusable = |source| TlsError::Unusable {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rustls::ClientConfig;
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::certificates::{LeafSpec, issue_all, leaf_files};
    use crate::system::SystemClock;
    use crate::tls::authorities;

    /// The certificate that a client is shown.
    async fn shown(tls: &ServerTls, ca: &Path) -> CertificateDer<'static> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(authorities(ca).unwrap())
            .with_no_client_auth();
        let (client, server) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, client);
        let (connected, accepted) = tokio::join!(connecting, tls.accept(server));
        accepted.unwrap();
        connected.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }

    #[tokio::test]
    async fn security_s01_a_replaced_certificate_is_shown_without_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let issue = || {
            let leaf = LeafSpec {
                file_stem: "server".to_owned(),
                dns_names: vec!["localhost".to_owned()],
                ips: Vec::new(),
            };
            issue_all(directory.path(), &[leaf], &SystemClock::new()).unwrap().certificate
        };
        let ca = issue();
        let files = leaf_files(directory.path(), "server");
        let on_disk = || CertificateDer::from_pem_file(&files.certificate).unwrap();
        let tls = TlsFiles {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            clients: ClientCertificates::None,
        };
        let (always, never) = (Duration::ZERO, Duration::MAX);
        let patient = ServerTls::looking_every(&tls, never).unwrap();
        let tls = ServerTls::looking_every(&tls, always).unwrap();
        let first = on_disk();
        assert_eq!(shown(&tls, &ca).await, first);
        issue();
        let second = on_disk();
        assert_ne!(second, first);
        assert_eq!(shown(&tls, &ca).await, second);
        assert_eq!(shown(&patient, &ca).await, first, "it did not look");

        // Half of the next one: the certificate is there, and its key is not yet.
        let key = std::fs::read(&files.key).unwrap();
        issue();
        let third_key = std::fs::read(&files.key).unwrap();
        std::fs::write(&files.key, key).unwrap();
        assert_eq!(shown(&tls, &ca).await, second);
        std::fs::remove_file(&files.certificate).unwrap();
        assert_eq!(shown(&tls, &ca).await, second);
        issue();
        assert_ne!(std::fs::read(&files.key).unwrap(), third_key);
        assert_eq!(shown(&tls, &ca).await, on_disk());
    }
}
