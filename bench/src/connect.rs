//! Connections to servers, the same for every system that is measured.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::arguments::Servers;

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach the members of a cluster.
#[derive(Debug, Clone)]
pub struct Connector {
    tls: Option<ClientTlsConfig>,
    deadline: Duration,
}

impl Connector {
    /// Reads the CA, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(servers: &Servers) -> Result<Self> {
        let tls = servers.ca.as_deref().map(tls_config).transpose()?;
        Ok(Self { tls, deadline: servers.deadline })
    }

    /// Where an endpoint is.
    ///
    /// # Errors
    /// When it is no `host:port` or URL.
    pub fn endpoint(&self, endpoint: &str) -> Result<Endpoint> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = match endpoint.split_once("://") {
            Some(_) => endpoint.to_owned(),
            None => format!("{scheme}://{endpoint}"),
        };
        let mut endpoint = Endpoint::from_shared(url.clone())
            .with_context(|| format!("{url} is not an endpoint"))?
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(self.deadline);
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone()).context("the CA cannot be used")?;
        }
        Ok(endpoint)
    }

    /// Opens one connection.
    ///
    /// # Errors
    /// When nobody answers there, or not with a certificate of the CA.
    pub async fn connect(&self, endpoint: &str) -> Result<Channel> {
        let connection = self.endpoint(endpoint)?.connect().await;
        connection.with_context(|| format!("cannot connect to {endpoint}"))
    }

    /// Opens several connections, spread over the endpoints in turn.
    ///
    /// # Errors
    /// Like [`Self::connect`].
    pub async fn connect_all(&self, endpoints: &[String], count: usize) -> Result<Vec<Channel>> {
        let mut channels = Vec::with_capacity(count);
        for endpoint in endpoints.iter().cycle().take(count) {
            channels.push(self.connect(endpoint).await?);
        }
        Ok(channels)
    }
}

fn tls_config(ca: &Path) -> Result<ClientTlsConfig> {
    let pem = std::fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_scheme_gets_one() {
        let connector = Connector { tls: None, deadline: Duration::from_secs(1) };
        let uri = |text| connector.endpoint(text).map(|endpoint| endpoint.uri().to_string());
        assert_eq!(uri("localhost:1").unwrap(), "http://localhost:1/");
        assert_eq!(uri("http://localhost:1").unwrap(), "http://localhost:1/");
        assert!(uri("two words").is_err());
    }
}
