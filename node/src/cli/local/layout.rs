//! Where a local cluster's files are, and on which ports its servers listen.

use std::path::{Path, PathBuf};

use lockbox_core::NodeId;

use crate::cli::failure::{Exit, Failure};

/// First ports of a local cluster: node 1 has the number after each.
const CLUSTER_API: u16 = 8450;
const CLUSTER_PEER: u16 = 8460;
const CLUSTER_METRICS: u16 = 9450;
const CLUSTER_KMS: u16 = 8470;
const CLUSTER_KMS_METRICS: u16 = 9470;

/// The ports of one node, all on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodePorts {
    /// Clients.
    pub(crate) api: u16,
    /// Other nodes, the KMS and the administrator.
    pub(crate) peer: u16,
    /// Metrics and health.
    pub(crate) metrics: u16,
}

/// The ports of all servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports {
    /// Of the nodes: the first has the id 1.
    pub(crate) nodes: Vec<NodePorts>,
    /// The KMS.
    pub(crate) kms: u16,
    /// Metrics and health of the KMS.
    pub(crate) kms_metrics: u16,
}

impl Ports {
    /// Those of `make cluster`.
    pub(crate) fn of_cluster(nodes: u16) -> Self {
        let node = |id| NodePorts {
            api: CLUSTER_API + id,
            peer: CLUSTER_PEER + id,
            metrics: CLUSTER_METRICS + id,
        };
        Self {
            nodes: (1..=nodes).map(node).collect(),
            kms: CLUSTER_KMS,
            kms_metrics: CLUSTER_KMS_METRICS,
        }
    }
}

/// One local cluster. All paths are absolute.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    directory: PathBuf,
    env: PathBuf,
    ports: Ports,
}

impl Layout {
    /// A cluster in this directory, which need not exist yet.
    pub(crate) fn new(directory: &Path, ports: Ports) -> Result<Self, Failure> {
        let directory = absolute(directory)?;
        let env = directory.join("env");
        Ok(Self { directory, env, ports })
    }

    /// The same, with its connection file somewhere else.
    pub(crate) fn with_env(self, env: &Path) -> Result<Self, Failure> {
        Ok(Self { env: absolute(env)?, ..self })
    }

    /// Its directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its ports.
    pub(crate) const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The nodes' ids with their ports.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, NodePorts)> {
        (1..).zip(self.ports.nodes.iter().copied())
    }

    /// Certificates and keys.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.directory.join("certificates")
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.certificates().join("ca.pem")
    }

    /// A node's configuration.
    pub(crate) fn node_config(&self, id: NodeId) -> PathBuf {
        self.directory.join(format!("node-{id}.toml"))
    }

    /// A node's data.
    pub(crate) fn node_data(&self, id: NodeId) -> PathBuf {
        self.directory.join(format!("node-{id}"))
    }

    /// The KMS's configuration.
    pub(crate) fn kms_config(&self) -> PathBuf {
        self.directory.join("kms.toml")
    }

    /// The KMS's data.
    pub(crate) fn kms_data(&self) -> PathBuf {
        self.directory.join("kms")
    }

    /// The key that wraps the KMS's keys.
    pub(crate) fn root_key(&self) -> PathBuf {
        self.directory.join("kms-root.key")
    }

    /// The administrator's authorized key.
    pub(crate) fn admin_key(&self) -> PathBuf {
        self.directory.join("admin-key.json")
    }

    /// The ids of the first resources.
    pub(crate) fn ids(&self) -> PathBuf {
        self.directory.join("ids.json")
    }

    /// What tells a shell how to connect.
    pub(crate) fn env(&self) -> PathBuf {
        self.env.clone()
    }
}

/// The path from the root, whether it exists or not.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(Exit::Usage, format_args!("cannot use {}: {error}", path.display()))
    })
}

/// `host:port` on this machine.
pub(crate) fn local_address(port: u16) -> String {
    format!("localhost:{port}")
}
