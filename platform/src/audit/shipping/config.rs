//! Where a receiver of syslog is, as configuration files say it.

use std::path::PathBuf;

use serde::Deserialize;

use crate::otlp;
use crate::tls::{ClientTlsFiles, IdentityFiles};

/// A receiver of syslog (RFC 5424).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogConfig {
    /// Where: `tls://host:6514`, `tcp://host:601` or `unix:///path/to/socket`.
    pub to: String,
    /// PEM file of the authority that signed the receiver's certificate; needed with `tls`.
    pub ca: Option<PathBuf>,
    /// The name in the receiver's certificate; that of `to` when absent.
    pub server_name: Option<String>,
    /// PEM file of the certificate that the receiver is shown; none when absent.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key; goes with `certificate`.
    pub key: Option<PathBuf>,
    /// Whether `tcp` may lead to another machine, in clear; false when absent.
    #[serde(default)]
    pub plaintext: bool,
}

/// The ways to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogReceiver {
    /// TLS over TCP (RFC 5425).
    Tls {
        /// `host:port`.
        address: String,
        /// The name in its certificate.
        server_name: String,
    },
    /// TCP (RFC 6587, octet counting).
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// A socket of this machine.
    Unix {
        /// Its path.
        path: PathBuf,
    },
}

impl SyslogConfig {
    /// Where the records go.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence that begins with its key.
    pub fn receiver(&self) -> Result<SyslogReceiver, &'static str> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err("must have a certificate and a key, or neither");
        }
        let form = "must go to tls://host:port, tcp://host:port or unix:///path";
        let (scheme, rest) = self.to.split_once("://").ok_or(form)?;
        if scheme == "unix" {
            let path = PathBuf::from(rest);
            return if path.is_absolute() { Ok(SyslogReceiver::Unix { path }) } else { Err(form) };
        }
        let (host, port) = rest.rsplit_once(':').ok_or(form)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(form);
        }
        let address = rest.to_owned();
        match scheme {
            "tls" if self.ca.is_some() => {
                let server_name = self.server_name.clone().unwrap_or_else(|| host.to_owned());
                Ok(SyslogReceiver::Tls { address, server_name })
            }
            "tls" => Err("must have a ca with tls"),
            "tcp" if self.plaintext || otlp::is_loopback(host) => {
                Ok(SyslogReceiver::Tcp { address })
            }
            "tcp" => Err("must go by tls, or have plaintext = true, to another machine"),
            _ => Err(form),
        }
    }

    /// The files of TLS; none without an authority.
    #[must_use]
    pub fn tls_files(&self) -> Option<ClientTlsFiles> {
        let identity = self.certificate.clone().zip(self.key.clone());
        let identity = identity.map(|(certificate, key)| IdentityFiles { certificate, key });
        Some(ClientTlsFiles { ca: self.ca.clone()?, identity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(to: &str) -> SyslogConfig {
        SyslogConfig {
            to: to.to_owned(),
            ca: None,
            server_name: None,
            certificate: None,
            key: None,
            plaintext: false,
        }
    }

    #[test]
    fn the_ways_to_a_receiver() {
        let unix = SyslogReceiver::Unix { path: PathBuf::from("/dev/log") };
        assert_eq!(config("unix:///dev/log").receiver(), Ok(unix));
        let tcp = |address: &str| Ok(SyslogReceiver::Tcp { address: address.to_owned() });
        assert_eq!(config("tcp://localhost:601").receiver(), tcp("localhost:601"));
        let elsewhere = config("tcp://logs.example:601");
        assert!(elsewhere.receiver().is_err());
        assert_eq!(
            SyslogConfig { plaintext: true, ..elsewhere }.receiver(),
            tcp("logs.example:601")
        );
        let bare = config("tls://logs.example:6514");
        assert!(bare.receiver().is_err_and(|problem| problem.contains("ca")));
        let whole = SyslogConfig { ca: Some(PathBuf::from("ca.pem")), ..bare };
        let tls = SyslogReceiver::Tls {
            address: "logs.example:6514".to_owned(),
            server_name: "logs.example".to_owned(),
        };
        assert_eq!(whole.receiver(), Ok(tls));
        for wrong in ["/dev/log", "unix://dev/log", "udp://h:514", "tcp://localhost", "tcp://:1"] {
            assert!(config(wrong).receiver().is_err(), "{wrong}");
        }
    }
}
