//! Where a collector of OTLP is, as configuration files say it.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use tonic::transport::Channel;

use super::Collector;
use crate::tls::{ClientTlsFiles, IdentityFiles, TlsError, endpoint, lasting_channel};

/// A collector of OTLP over gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpConfig {
    /// `host:port` of the collector, which takes OTLP over gRPC there: 4317 as a rule.
    pub endpoint: String,
    /// PEM file of the authority that signed the collector's certificate; without one it is called
    /// in clear.
    pub ca: Option<PathBuf>,
    /// The name in the collector's certificate; that of `endpoint` when absent.
    pub server_name: Option<String>,
    /// PEM file of the certificate that the collector is shown; none when absent.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key; goes with `certificate`.
    pub key: Option<PathBuf>,
    /// Whether a collector that is not on this machine may be called in clear; false when absent.
    #[serde(default)]
    pub plaintext: bool,
}

impl OtlpConfig {
    /// What is wrong with it, as the rest of a sentence that begins with its key.
    ///
    /// # Errors
    /// The problem.
    pub fn check(&self) -> Result<(), &'static str> {
        let Some((host, port)) = self.endpoint.rsplit_once(':') else {
            return Err("must have an endpoint of the form host:port");
        };
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err("must have an endpoint of the form host:port");
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err("must have a certificate and a key, or neither");
        }
        if self.ca.is_none() && !self.plaintext && !is_loopback(host) {
            return Err("must have a ca, or plaintext = true, for a collector on another machine");
        }
        Ok(())
    }

    /// The collector. To be called within a runtime.
    ///
    /// # Errors
    /// [`TlsError`] when the files, the name or the address cannot be used now.
    pub fn collector(&self) -> Result<Collector, TlsError> {
        Ok(Collector::new(self.channel()?))
    }

    /// The files of TLS; none when the collector is called in clear.
    #[must_use]
    pub fn tls_files(&self) -> Option<ClientTlsFiles> {
        let identity = self.certificate.clone().zip(self.key.clone());
        let identity = identity.map(|(certificate, key)| IdentityFiles { certificate, key });
        Some(ClientTlsFiles { ca: self.ca.clone()?, identity })
    }

    /// The name in the collector's certificate.
    #[must_use]
    pub fn server_name(&self) -> &str {
        let host = self.endpoint.rsplit_once(':').map_or(self.endpoint.as_str(), |(host, _)| host);
        self.server_name.as_deref().unwrap_or(host)
    }

    fn channel(&self) -> Result<Channel, TlsError> {
        let Some(files) = self.tls_files() else {
            return Ok(endpoint(&self.endpoint, None)?.connect_lazy());
        };
        lasting_channel(&self.endpoint, self.server_name(), &files, std::convert::identity)
    }
}

/// Whether a host is this machine, by its name.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> OtlpConfig {
        OtlpConfig {
            endpoint: endpoint.to_owned(),
            ca: None,
            server_name: None,
            certificate: None,
            key: None,
            plaintext: false,
        }
    }

    #[test]
    fn what_leaves_the_machine_is_not_in_clear_unless_somebody_says_so() {
        for here in ["localhost:4317", "127.0.0.1:4317", "[::1]:4317"] {
            assert_eq!(config(here).check(), Ok(()), "{here}");
        }
        let elsewhere = config("collector.example:4317");
        assert!(elsewhere.check().is_err());
        assert_eq!(OtlpConfig { plaintext: true, ..elsewhere.clone() }.check(), Ok(()));
        let ca = Some(PathBuf::from("ca.pem"));
        assert_eq!(OtlpConfig { ca, ..elsewhere }.check(), Ok(()));
        let half = OtlpConfig { key: Some(PathBuf::from("key.pem")), ..config("localhost:1") };
        assert!(half.check().is_err_and(|problem| problem.contains("or neither")));
        for wrong in ["localhost", ":4317", "localhost:port"] {
            assert!(config(wrong).check().is_err(), "{wrong}");
        }
    }
}
