//! How a client reaches one node.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Where a listener is, and by which name its certificate knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `host:port`.
    pub authority: String,
    /// The name that the certificate must be for.
    pub server_name: String,
}

/// How this end speaks TLS.
#[derive(Debug, Clone)]
pub struct Tls(ClientTlsConfig);

impl Tls {
    /// Trusts this authority's certificates (PEM).
    #[must_use]
    pub fn trusting(ca: &[u8]) -> Self {
        Self(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)))
    }

    /// The same, and shows a certificate of its own (PEM).
    #[must_use]
    pub fn as_whom(self, certificate: &[u8], key: &[u8]) -> Self {
        Self(self.0.identity(Identity::from_pem(certificate, key)))
    }
}

/// Makes connections to one listener.
#[derive(Debug, Clone)]
pub struct Dialer {
    endpoint: Endpoint,
    patience: Duration,
}

impl Dialer {
    /// From `local`, or from whichever address the machine takes. A connection has to be there,
    /// with TLS, after `patience`.
    ///
    /// # Errors
    /// When the address is none, or the certificates cannot be used.
    pub fn new(
        address: &Address,
        local: Option<IpAddr>,
        tls: &Tls,
        patience: Duration,
    ) -> Result<Self> {
        let url = format!("https://{}", address.authority);
        let tls = tls.0.clone().domain_name(&address.server_name);
        let endpoint = Endpoint::from_shared(url)
            .with_context(|| format!("{} is no address", address.authority))?
            .tls_config(tls)
            .context("the certificates cannot be used")?
            .local_address(local)
            .tcp_nodelay(true);
        Ok(Self { endpoint, patience })
    }

    /// Connects.
    ///
    /// # Errors
    /// In one sentence, why nothing can have been sent.
    pub async fn connect(&self) -> Result<Channel, String> {
        match timeout(self.patience, self.endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_elapsed) => Err("no connection in time".to_owned()),
        }
    }
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}
