//! TLS of a client that stays for long: a connection is made with the files as they are by then.
//!
//! Promises: a certificate, key or authority that was replaced on disk counts from the next
//! connection on, without a restart, and files that do not fit together change nothing; a server is
//! accepted only under the name that was asked for. Connections that are open stay as they are.
//! Refuses to know what is called through them.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use super::seen::Seen;
use super::{
    ALPN_H2, CONNECT_TIMEOUT, ClientTlsFiles, TlsError, authorities, endpoint, provider,
    read_certificates, read_key,
};

/// A channel to the server at `address`, as those of a [`LastingEndpoint`].
///
/// # Errors
/// [`TlsError`] when the files, the name or the address cannot be used now.
pub fn lasting_channel(
    address: &str,
    server_name: &str,
    files: &ClientTlsFiles,
    adjust: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, TlsError> {
    Ok(LastingEndpoint::load(address, server_name, files, adjust)?.channel())
}

/// One server, and how it is connected to.
#[derive(Clone)]
pub struct LastingEndpoint {
    endpoint: Endpoint,
    connector: Connector,
}

impl LastingEndpoint {
    /// The server at `address`, which is accepted under `server_name` alone; it is trusted and shown
    /// what is in `files` when a connection begins. `adjust` sets what else there is to an endpoint.
    ///
    /// # Errors
    /// [`TlsError`] when the files, the name or the address cannot be used now.
    pub fn load(
        address: &str,
        server_name: &str,
        files: &ClientTlsFiles,
        adjust: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Result<Self, TlsError> {
        let malformed = |_| TlsError::Address { address: address.to_owned() };
        let origin: Uri = format!("https://{address}").parse().map_err(malformed)?;
        // In clear as far as tonic knows: it would add a TLS of its own. Requests still say `https`.
        let endpoint = adjust(endpoint(address, None)?).origin(origin);
        let tcp_timeout = endpoint.get_connect_timeout().unwrap_or(CONNECT_TIMEOUT);
        let connector = Connector::load(files, server_name, tcp_timeout)?;
        // The endpoint's own limit is for all that the connector does.
        let endpoint = endpoint.connect_timeout(tcp_timeout + CONNECT_TIMEOUT);
        Ok(Self { endpoint, connector })
    }

    /// A channel of its own, which connects when it is first used, and again after a failure.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.endpoint.connect_with_connector_lazy(self.connector.clone())
    }
}

/// Makes connections to one server. Clones learn together of files that were replaced: each channel
/// has one, and the next one must not begin with the files of the first.
#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    server_name: ServerName<'static>,
    files: ClientTlsFiles,
    usable: Arc<Mutex<Usable>>,
}

/// What a connection begins with.
struct Usable {
    config: Arc<ClientConfig>,
    /// The files that `config` was made of.
    seen: Seen,
    /// Files that did not fit and were reported.
    refused: Option<Seen>,
}

impl Connector {
    fn load(
        files: &ClientTlsFiles,
        server_name: &str,
        tcp_timeout: Duration,
    ) -> Result<Self, TlsError> {
        let no_name = |_| TlsError::Name { name: server_name.to_owned() };
        let server_name = ServerName::try_from(server_name.to_owned()).map_err(no_name)?;
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(tcp_timeout));
        // ORDER: looked at before they are read, so that a change in between is seen later.
        let seen = Seen::of(paths(files));
        let config = config(files)?;
        let usable = Arc::new(Mutex::new(Usable { config, seen, refused: None }));
        Ok(Self { tcp, server_name, files: files.clone(), usable })
    }

    /// What counts for a connection that begins now.
    fn current(&self) -> Arc<ClientConfig> {
        let seen = Seen::of(paths(&self.files));
        let mut usable = self.usable.lock().unwrap_or_else(PoisonError::into_inner);
        if seen != usable.seen {
            usable.renew(&self.files, seen, &self.server_name);
        }
        Arc::clone(&usable.config)
    }
}

impl Usable {
    fn renew(&mut self, files: &ClientTlsFiles, seen: Seen, server_name: &ServerName<'_>) {
        let server_name = server_name.to_str();
        match config(files) {
            Ok(config) => {
                tracing::info!(%server_name, "what a server is shown was replaced and is in use");
                self.config = config;
                self.seen = seen;
                self.refused = None;
            }
            // Perhaps the key has not been written yet: it is looked at again. One line is enough.
            Err(error) => {
                if self.refused.as_ref() != Some(&seen) {
                    tracing::warn!(%server_name, %error, "the replaced certificate is not used");
                }
                self.refused = Some(seen);
            }
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(cx).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.tcp.call(uri);
        let (config, server_name) = (self.current(), self.server_name.clone());
        Box::pin(async move {
            let stream = connecting.await.map_err(io::Error::other)?.into_inner();
            let handshake = TlsConnector::from(config).connect(server_name, stream);
            let in_time = tokio::time::timeout(CONNECT_TIMEOUT, handshake).await;
            let stream = in_time.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
            if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
                return Err(io::Error::other("the server does not speak HTTP/2"));
            }
            Ok(TokioIo::new(stream))
        })
    }
}

impl ClientTlsFiles {
    /// Reads them as a connection to a server of this name would.
    ///
    /// # Errors
    /// [`TlsError`] when the name or the files cannot be used now.
    pub fn check(&self, server_name: &str) -> Result<(), TlsError> {
        let no_name = |_| TlsError::Name { name: server_name.to_owned() };
        ServerName::try_from(server_name).map_err(no_name)?;
        client_config(self).map(drop)
    }
}

fn paths(files: &ClientTlsFiles) -> impl Iterator<Item = &Path> {
    let own = files.identity.iter().flat_map(|own| [&own.certificate, &own.key]);
    std::iter::once(&files.ca).chain(own).map(PathBuf::as_path)
}

fn config(files: &ClientTlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = client_config(files)?;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Ok(Arc::new(config))
}

/// TLS of a client with the files as they are now, for whatever protocol.
///
/// # Errors
/// [`TlsError`], one sentence that names the file.
pub(crate) fn client_config(files: &ClientTlsFiles) -> Result<ClientConfig, TlsError> {
    let authorities = authorities(&files.ca)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| no_versions(&files.ca, &error))?
        .with_root_certificates(authorities);
    match &files.identity {
        Some(own) => {
            let chain = read_certificates("certificate", &own.certificate)?;
            let key = read_key(&own.key)?;
            let unusable = |source| TlsError::Unusable {
                certificate: own.certificate.clone(),
                key: own.key.clone(),
                source,
            };
            builder.with_client_auth_cert(chain, key).map_err(unusable)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn no_versions(ca: &Path, error: &rustls::Error) -> TlsError {
    TlsError::Authority { path: ca.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    use tokio::net::TcpListener;

    use super::*;
    use crate::certificates::{LeafSpec, issue_all, leaf_files};
    use crate::system::SystemClock;
    use crate::tls::{ClientCertificates, ServerTls, TlsFiles};

    /// The certificate that a server of these files is shown; none if the two do not get along.
    async fn shown(client: &mut Connector, server: &TlsFiles) -> Option<CertificateDer<'static>> {
        let tls = ServerTls::load(server).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let accepting = async { tls.accept(listener.accept().await.unwrap().0).await };
        let (connected, accepted) = tokio::join!(client.call(uri), accepting);
        let (_open, accepted) = (connected.ok()?, accepted.ok()?);
        let chain = accepted.get_ref().1.peer_certificates()?;
        Some(chain[0].clone().into_owned())
    }

    #[tokio::test]
    async fn security_s01_a_client_shows_and_trusts_what_is_on_disk_without_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let leaf = |stem: &str| LeafSpec {
            file_stem: stem.to_owned(),
            dns_names: vec!["localhost".to_owned()],
            ips: Vec::new(),
        };
        let leaves = [leaf("server"), leaf("client")];
        let issue = || issue_all(directory.path(), &leaves, &SystemClock::new()).unwrap();
        let ca = issue().certificate;
        let own = leaf_files(directory.path(), "client");
        let of_server = leaf_files(directory.path(), "server");
        let server = TlsFiles {
            certificate: of_server.certificate,
            key: of_server.key,
            clients: ClientCertificates::Required(ca.clone()),
        };
        let files = ClientTlsFiles { ca: ca.clone(), identity: Some(own.clone()) };
        let on_disk = || Some(CertificateDer::from_pem_file(&own.certificate).unwrap());
        let mut client = Connector::load(&files, "localhost", CONNECT_TIMEOUT).unwrap();
        let first_clone = client.clone();
        let mut mistaken =
            Connector::load(&files, "node-2.lockbox.internal", CONNECT_TIMEOUT).unwrap();
        let first = on_disk();
        assert_eq!(shown(&mut client, &server).await, first);
        assert_eq!(shown(&mut mistaken, &server).await, None, "the server is another one");

        issue();
        assert_ne!(on_disk(), first);
        assert_eq!(shown(&mut client, &server).await, on_disk());
        // Another authority, which has issued both anew.
        std::fs::remove_file(&ca).unwrap();
        issue();
        let third = on_disk();
        assert_eq!(shown(&mut client, &server).await, third);

        // Half of the next one: the certificate is there, and its key is not yet.
        let key = std::fs::read(&own.key).unwrap();
        issue();
        std::fs::write(&own.key, key).unwrap();
        assert_eq!(shown(&mut client, &server).await, third);
        std::fs::remove_file(&own.certificate).unwrap();
        assert_eq!(shown(&mut client, &server).await, third);
        // Nor does a connection of another channel go back to what there was at first.
        assert_eq!(shown(&mut first_clone.clone(), &server).await, third);
        issue();
        assert_eq!(shown(&mut client, &server).await, on_disk());
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let ca = issue_all(directory.path(), &[], &SystemClock::new()).unwrap().certificate;
        let files = ClientTlsFiles { ca, identity: None };
        let refused = |address: &str, name: &str, files: &ClientTlsFiles| {
            lasting_channel(address, name, files, std::convert::identity).err().unwrap().to_string()
        };
        let address = refused("localhost", "localhost", &files);
        assert!(address.ends_with("is not an address of the form host:port"), "{address}");
        let name = refused("localhost:1", "no name", &files);
        assert!(name.ends_with("is not a name that a certificate can have"), "{name}");
        let absent = ClientTlsFiles { ca: directory.path().join("absent.pem"), identity: None };
        assert!(refused("localhost:1", "localhost", &absent).contains("absent.pem"));
        assert!(lasting_channel("localhost:1", "localhost", &files, |e| e).is_ok());
    }
}
