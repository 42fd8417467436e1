//! The site of a cluster of this harness: where its servers are, and where their files.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::evidence::ServerPlaces;
use super::site::{NodeSite, Site};
use crate::client::connection::Address;
use crate::cluster::Cluster;
use crate::cluster::addresses::{CLIENTS, Host};
use crate::cluster::part::Part;
use crate::history::ids::NodeId;

/// Describes a cluster that has been formed.
///
/// # Errors
/// When one of its files cannot be read.
pub fn of_cluster(cluster: &Arc<Cluster>) -> Result<Site> {
    let (files, spec, network) = (cluster.files(), cluster.spec(), cluster.network());
    let nodes = (1..=spec.nodes + spec.spares).map(|id| {
        let part = Part::Node(id);
        NodeSite {
            node: NodeId(id.into()),
            api: address(part.api(network), part),
            peer: address(part.peer(network), part),
        }
    });
    let (members, processes) = (Arc::clone(cluster), Arc::clone(cluster));
    Ok(Site {
        nodes: nodes.collect(),
        kms: address(Part::Kms.api(network), Part::Kms),
        ca: read(&files.ca())?,
        operator: (read(&files.certificate("admin"))?, read(&files.key("admin"))?),
        admin_key: files.admin_key(),
        folder: files.ids()?.folder_id,
        members: Arc::new(move || {
            members.members().into_iter().map(|id| NodeId(id.into())).collect()
        }),
        process_of: Arc::new(move |node| {
            let id = u16::try_from(node.0).ok()?;
            processes.server(Part::Node(id)).ok()?.pid()
        }),
        client_address: Arc::new(move |number| {
            let number = number % usize::from(CLIENTS);
            let host = Host::Client(u16::try_from(number).unwrap_or(0));
            Some(IpAddr::V4(network.address(host)))
        }),
        observer_address: Some(IpAddr::V4(network.address(Host::Observer))),
    })
}

/// Describes the cluster that is restored from a backup of this one: one node, the same KMS.
///
/// # Errors
/// When a file cannot be read.
pub fn of_restored(cluster: &Arc<Cluster>) -> Result<Site> {
    let (id, network) = (cluster.restored_node(), cluster.network());
    let part = Part::Node(id);
    let node = NodeSite {
        node: NodeId(id.into()),
        api: address(part.api(network), part),
        peer: address(part.peer(network), part),
    };
    Ok(Site { nodes: vec![node], ..of_cluster(cluster)? })
}

/// The places of all servers that have ever been started; not those of restored clusters.
///
/// # Errors
/// When the cluster lacks one of its parts.
pub fn places(cluster: &Cluster) -> Result<Vec<ServerPlaces>> {
    let spec = cluster.spec();
    let parts = (1..=spec.nodes + spec.spares).map(Part::Node).chain([Part::Kms]);
    let place = |part: Part| {
        let (server, data) = (cluster.server(part)?, cluster.files().data(part));
        let (audit, log) = (data.join("audit.jsonl"), server.log().to_owned());
        Ok(ServerPlaces { name: part.to_string(), data, audit, log, pid: server.pid() })
    };
    parts.map(place).collect()
}

fn address(authority: String, part: Part) -> Address {
    Address { authority, server_name: part.server_name() }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
