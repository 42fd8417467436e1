//! Where a local cluster's files are, and on which ports its servers listen.

use std::path::{Path, PathBuf};

use lockbox_core::NodeId;

use crate::cli::failure::{Exit, Failure};

/// The base of `make cluster`: node 1 serves clients on the port after it.
pub(super) const DEFAULT_PORT_BASE: u16 = 8450;
/// Distances from the base; a node adds its id to its own three, which begin at 0 for clients.
const PEER: u16 = 10;
const KMS: u16 = 20;
const METRICS: u16 = 1000;
const KMS_METRICS: u16 = METRICS + KMS;
/// The highest base: every port above it is still a port.
pub(super) const MAX_PORT_BASE: u16 = u16::MAX - KMS_METRICS;

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
    /// Those of a cluster of processes. `base` is at most [`MAX_PORT_BASE`], `nodes` at most 7.
    pub(crate) fn of_cluster(base: u16, nodes: u16) -> Self {
        let node =
            |id| NodePorts { api: base + id, peer: base + PEER + id, metrics: base + METRICS + id };
        Self {
            nodes: (1..=nodes).map(node).collect(),
            kms: base + KMS,
            kms_metrics: base + KMS_METRICS,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_servers_share_a_port_on_any_base() {
        for base in [1, DEFAULT_PORT_BASE, MAX_PORT_BASE] {
            let ports = Ports::of_cluster(base, 7);
            let of_nodes = ports.nodes.iter().flat_map(|p| [p.api, p.peer, p.metrics]);
            let all: Vec<_> = of_nodes.chain([ports.kms, ports.kms_metrics]).collect();
            let mut distinct = all.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), all.len());
            assert!(distinct.iter().all(|port| *port > base));
        }
    }
}
