//! A server of the cluster, and where it listens.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::addresses::{Host, Network};

/// Where nodes serve clients.
pub const API_PORT: u16 = 8443;
/// Where nodes serve each other, the KMS and the administrator.
pub const PEER_PORT: u16 = 8444;
/// Where the KMS serves.
pub const KMS_PORT: u16 = 8470;
/// Where every server tells its metrics and its health.
pub const METRICS_PORT: u16 = 9464;

/// A server of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The KMS.
    Kms,
    /// A node, by its id.
    Node(u16),
}

impl Part {
    /// Its end of the network.
    #[must_use]
    pub const fn host(self) -> Host {
        match self {
            Self::Kms => Host::Kms,
            Self::Node(id) => Host::Node(id),
        }
    }

    /// `host:port` for its clients.
    #[must_use]
    pub fn api(self, network: Network) -> String {
        let port = match self {
            Self::Kms => KMS_PORT,
            Self::Node(_) => API_PORT,
        };
        format!("{}:{port}", network.address(self.host()))
    }

    /// `host:port` where it serves other servers and the administrator.
    #[must_use]
    pub fn peer(self, network: Network) -> String {
        let port = match self {
            Self::Kms => KMS_PORT,
            Self::Node(_) => PEER_PORT,
        };
        format!("{}:{port}", network.address(self.host()))
    }

    /// `host:port` under which other servers know it: on loopback that of the door before it.
    #[must_use]
    pub fn known_peer(self, network: Network) -> String {
        match (self, network) {
            (Self::Node(id), Network::Loopback(_)) => {
                format!("{}:{PEER_PORT}", network.address(Host::Door(id)))
            }
            (Self::Kms, _) | (Self::Node(_), Network::Private) => self.peer(network),
        }
    }

    /// The name in its certificate.
    #[must_use]
    pub fn server_name(self) -> String {
        format!("{self}.lockbox.internal")
    }
}

impl fmt::Display for Part {
    /// The stem of its files.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host().fmt(out)
    }
}
