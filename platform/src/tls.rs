//! TLS of both sides: certificates from files, names of peers, nothing older than TLS 1.2.
//!
//! Promises: a file that is missing, empty or does not fit is one clear sentence at start, and
//! key bytes reach neither errors nor `Debug`. Key exchange prefers X25519MLKEM768. Refuses to
//! know who may do what: it only says which names a peer's certificate carries.

mod lasting;
mod seen;
mod server;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

pub(crate) use self::lasting::client_config;
pub use self::lasting::{LastingEndpoint, lasting_channel};
pub use self::server::ServerTls;

/// HTTP/2 in ALPN.
pub(crate) const ALPN_H2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";
/// How long a client waits for a connection, and then for the other side's part of TLS: a process
/// that hangs still gets connections from its system.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an idle client connection is probed, so that a dead peer is noticed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a probe may stay unanswered.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Window of an HTTP/2 connection of ours to a peer, in bytes.
const WINDOW_BYTES: u32 = 4 << 20;

/// The bits of a mode that say who may do what.
const MODE_BITS: u32 = 0o777;
/// What users may do who are neither the owner nor of its group. Groups are how orchestrators give
/// a file to one process that runs under another user.
const MODE_EVERYBODY: u32 = 0o007;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {what} {}: {source}", path.display())]
    Read {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A private key that every user of the machine can read.
    #[error(
        "the private key {} has mode {mode:03o}: everybody on this machine can read it; run chmod \
         600 on it", path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
    },
    /// A file was read and is not what it should be.
    #[error("{} holds no {what} in PEM", path.display())]
    NotPem {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The certificate and the key do not fit, or cannot be used for a server.
    #[error(
        "certificate {} and key {} cannot be used: {source}", certificate.display(), key.display()
    )]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What TLS says about them.
        source: rustls::Error,
    },
    /// A certificate is not the one that others expect of this process.
    #[error("certificate {} {reason}", path.display())]
    NotOwn {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with it, as the rest of the sentence.
        reason: String,
    },
    /// A certificate authority cannot be used to check others.
    #[error("certificate authority {} cannot be used: {reason}", path.display())]
    Authority {
        /// The authority's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A server cannot be called like that.
    #[error("{name:?} is not a name that a certificate can have")]
    Name {
        /// The text as given.
        name: String,
    },
    /// An address is not `host:port`.
    #[error("{address:?} is not an address of the form host:port")]
    Address {
        /// The text as given.
        address: String,
    },
}

/// Whether a listener asks its clients for certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// It does not ask.
    None,
    /// A client may show one of this authority; a wrong one is refused.
    Optional(PathBuf),
    /// A client must show one of this authority.
    Required(PathBuf),
}

/// The files of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its intermediates, leaf first, in PEM.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
    /// The clients' certificates.
    pub clients: ClientCertificates,
}

/// The names that a peer proved by its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerIdentity {
    /// The DNS names of the certificate's subject alternative names, in lower case.
    pub dns_names: Vec<String>,
}

impl PeerIdentity {
    /// Whether the certificate carries this name, exactly; wildcards mean nothing here.
    #[must_use]
    pub fn has(&self, dns_name: &str) -> bool {
        self.dns_names.iter().any(|name| name.eq_ignore_ascii_case(dns_name))
    }

    /// Reads the names from a certificate that the handshake has already verified.
    pub(crate) fn from_certificate(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate.as_ref()) else {
            return Self::default();
        };
        let Ok(Some(names)) = parsed.subject_alternative_name() else {
            return Self::default();
        };
        let dns_names = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Self { dns_names: dns_names.collect() }
    }
}

/// The cryptography that every connection uses.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn client_verifier(
    clients: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (path, optional) = match clients {
        ClientCertificates::None => return Ok(None),
        ClientCertificates::Optional(path) => (path, true),
        ClientCertificates::Required(path) => (path, false),
    };
    let unusable = |reason: String| TlsError::Authority { path: path.clone(), reason };
    let roots = authorities(path)?;
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map(Some).map_err(|error| unusable(error.to_string()))
}

/// The authorities in a file.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("certificate authority", path)? {
        roots.add(certificate).map_err(|error| TlsError::Authority {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// A certificate and key that a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate and its intermediates, leaf first, in PEM.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
}

/// The files of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// The authority that the server's certificate must come from.
    pub ca: PathBuf,
    /// What the client shows of itself.
    pub identity: Option<IdentityFiles>,
}

/// TLS of a client that accepts a server only under `server_name`.
///
/// # Errors
/// [`TlsError`], one sentence that names the file.
pub fn client_tls(files: &ClientTlsFiles, server_name: &str) -> Result<ClientTlsConfig, TlsError> {
    read_certificates("certificate authority", &files.ca)?;
    let ca = read_file("certificate authority", &files.ca)?;
    let mut config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca.as_slice()))
        .timeout(CONNECT_TIMEOUT)
        .domain_name(server_name);
    if let Some(identity) = &files.identity {
        let chain = read_certificates("certificate", &identity.certificate)?;
        // Else it shows when the endpoint is made, as a wrong address.
        CertifiedKey::from_der(chain, read_key(&identity.key)?, &provider()).map_err(|source| {
            TlsError::Unusable {
                certificate: identity.certificate.clone(),
                key: identity.key.clone(),
                source,
            }
        })?;
        let certificate = read_file("certificate", &identity.certificate)?;
        let key = read_file("private key", &identity.key)?;
        config = config.identity(Identity::from_pem(certificate.as_slice(), key.as_slice()));
    }
    Ok(config)
}

/// A gRPC client's endpoint at `host:port`; plaintext when `tls` is absent.
///
/// # Errors
/// [`TlsError::Address`] when the address is malformed or the TLS configuration does not fit it.
pub fn endpoint(address: &str, tls: Option<ClientTlsConfig>) -> Result<Endpoint, TlsError> {
    let malformed = || TlsError::Address { address: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(malformed());
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(|_malformed| malformed())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    match tls {
        Some(tls) => endpoint.tls_config(tls).map_err(|_unusable| malformed()),
        None => Ok(endpoint),
    }
}

fn read_file(what: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let read = std::fs::read(path);
    read.map(Zeroizing::new).map_err(|source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn read_certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read_file(what, path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(TlsError::NotPem { what, path: path.to_owned() }),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read_file("private key", path)?;
    let metadata = std::fs::metadata(path).map_err(|source| TlsError::Read {
        what: "private key",
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & MODE_BITS;
    if mode & MODE_EVERYBODY != 0 {
        return Err(TlsError::Exposed { path: path.to_owned(), mode });
    }
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_malformed| TlsError::NotPem { what: "private key", path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(certificate: PathBuf, key: PathBuf, clients: ClientCertificates) -> TlsFiles {
        TlsFiles { certificate, key, clients }
    }

    #[test]
    fn a_missing_or_wrong_file_is_one_sentence_that_names_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let absent = dir.path().join("absent.pem");
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "nothing here").expect("a written file");

        let missing = files(absent.clone(), absent.clone(), ClientCertificates::None);
        let text = ServerTls::load(&missing).map(|_| ()).map_err(|e| e.to_string());
        assert!(text.is_err_and(
            |t| t.starts_with("cannot read the certificate") && t.contains("absent.pem")
        ));

        let wrong = files(empty, absent, ClientCertificates::None);
        let text = ServerTls::load(&wrong).map(|_| ()).map_err(|e| e.to_string());
        assert!(text.is_err_and(|t| t.ends_with("empty.pem holds no certificate in PEM")));
    }

    #[test]
    fn a_key_that_everybody_can_read_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let leaf = crate::certificates::LeafSpec {
            file_stem: "server".to_owned(),
            dns_names: vec!["localhost".to_owned()],
            ips: Vec::new(),
        };
        let clock = crate::system::SystemClock::new();
        crate::certificates::issue_all(dir.path(), &[leaf], &clock).unwrap();
        let own = crate::certificates::leaf_files(dir.path(), "server");
        let listener = files(own.certificate, own.key.clone(), ClientCertificates::None);
        let load = || ServerTls::load(&listener).map(drop).map_err(|error| error.to_string());
        let allow = |mode| {
            std::fs::set_permissions(&own.key, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for mode in [0o600, 0o400, 0o440] {
            allow(mode);
            assert_eq!(load(), Ok(()), "{mode:o}");
        }
        allow(0o644);
        let refused = load().unwrap_err();
        assert!(refused.contains("has mode 644") && refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn an_address_needs_a_host_and_a_port() {
        for wrong in ["localhost", ":8443", "localhost:", "localhost:99999", "a b:1"] {
            assert!(endpoint(wrong, None).is_err(), "{wrong}");
        }
        assert!(endpoint("localhost:8443", None).is_ok());
    }

    #[test]
    fn names_are_compared_whole_and_without_case() {
        let identity = PeerIdentity { dns_names: vec!["node-1".to_owned()] };
        assert!(identity.has("Node-1"));
        assert!(!identity.has("node-11"));
        assert!(!identity.has("node"));
    }
}
