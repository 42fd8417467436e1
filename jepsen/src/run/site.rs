//! Where a cluster under test is, as far as a load and its observers need to know.
//!
//! Owns addresses and credentials, and two looks at what changes: who the members are, and which
//! process a node is. Refuses to know how the cluster was started and what breaks it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::client::callers::Callers;
use crate::client::connection::{Address, Dialer, Tls};
use crate::client::lockbox::LockboxClient;
use crate::client::operator::OperatorClient;
use crate::history::ids::NodeId;

/// How long a look at a node may take; a paused one accepts connections and says nothing.
const LOOK_PATIENCE: Duration = Duration::from_millis(500);

/// One node's listeners.
#[derive(Debug, Clone)]
pub struct NodeSite {
    /// The node.
    pub node: NodeId,
    /// Where it serves clients.
    pub api: Address,
    /// Where it serves peers and operators.
    pub peer: Address,
}

/// What is a member now.
pub type Members = Arc<dyn Fn() -> Vec<NodeId> + Send + Sync>;
/// The process that a node is now, if it runs.
pub type ProcessOf = Arc<dyn Fn(NodeId) -> Option<u32> + Send + Sync>;
/// The address that a client has, by its number.
pub type ClientAddress = Arc<dyn Fn(usize) -> Option<IpAddr> + Send + Sync>;

/// A cluster under test.
#[derive(Clone)]
pub struct Site {
    /// All nodes that are or may become members.
    pub nodes: Vec<NodeSite>,
    /// Where the KMS serves.
    pub kms: Address,
    /// The authority whose certificates are trusted, PEM.
    pub ca: Vec<u8>,
    /// The operator's certificate and key, PEM.
    pub operator: (Vec<u8>, Vec<u8>),
    /// The administrator's authorized key.
    pub admin_key: PathBuf,
    /// The folder of the run's secrets.
    pub folder: String,
    /// See [`Members`].
    pub members: Members,
    /// See [`ProcessOf`].
    pub process_of: ProcessOf,
    /// See [`ClientAddress`].
    pub client_address: ClientAddress,
    /// The address that observers have.
    pub observer_address: Option<IpAddr>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl Site {
    /// A client with a number of its own, of one node.
    ///
    /// # Errors
    /// When the cluster has no such node or its certificates cannot be used.
    pub fn client(
        &self,
        number: usize,
        node: NodeId,
        callers: &Callers,
        deadline: Duration,
    ) -> Result<LockboxClient> {
        let local = (self.client_address)(number);
        let dialer = Dialer::new(&self.site_of(node)?.api, local, &self.tls(), deadline)?;
        Ok(LockboxClient::new(dialer, callers.clone(), self.folder.clone(), deadline))
    }

    /// A client that only reaches for tokens, for each node.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn login_dialers(&self) -> Result<Vec<Dialer>> {
        let dialer = |site: &NodeSite| {
            Dialer::new(&site.api, self.observer_address, &self.tls(), LOOK_PATIENCE * 4)
        };
        self.nodes.iter().map(dialer).collect()
    }

    /// A connection to the KMS.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn kms_dialer(&self) -> Result<Dialer> {
        Dialer::new(&self.kms, self.observer_address, &self.tls(), LOOK_PATIENCE * 4)
    }

    /// The operator's client of a node.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn operator_client(&self, node: &NodeSite) -> Result<OperatorClient> {
        let tls = self.tls().as_whom(&self.operator.0, &self.operator.1);
        let dialer = Dialer::new(&node.peer, self.observer_address, &tls, LOOK_PATIENCE)?;
        Ok(OperatorClient::new(node.node, dialer, LOOK_PATIENCE))
    }

    fn tls(&self) -> Tls {
        Tls::trusting(&self.ca)
    }

    fn site_of(&self, node: NodeId) -> Result<&NodeSite> {
        let site = self.nodes.iter().find(|site| site.node == node);
        site.ok_or_else(|| anyhow::anyhow!("the cluster has no node {node}"))
    }
}
