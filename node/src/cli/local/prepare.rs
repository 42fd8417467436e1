//! Certificates and configuration files of a local cluster.
//!
//! Promises: running it again changes no data, keeps the authority and the root key, and writes
//! the rest anew. Not for production: the authority's key lies beside the certificates.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use lockbox_core::NodeId;
use lockbox_kms_sim::root_key;
use lockbox_platform::certificates::{self, LeafSpec, leaf_files};
use lockbox_platform::system::{SystemClock, SystemRandom};

use super::layout::{Layout, NodePorts, local_address};
use crate::cli::failure::Failure;
use crate::mutual_tls::node_dns_name;
use crate::peer_name;

/// Stem of the administrator's certificate files.
pub(crate) const ADMIN_STEM: &str = "admin";
/// Stem of the operator's.
const OPERATOR_STEM: &str = "operator";
/// Stem of the KMS's.
const KMS_STEM: &str = "kms";

/// Makes the directory and its files.
pub(crate) fn prepare(layout: &Layout) -> Result<(), Failure> {
    let directory = layout.directory();
    let made = fs::create_dir_all(directory);
    made.map_err(|error| cannot_write(directory, &error))?;
    let issued =
        certificates::issue_all(&layout.certificates(), &leaves(layout), &SystemClock::new());
    issued.map_err(Failure::usage)?;
    let root_key = layout.root_key();
    if !root_key.exists() {
        root_key::create_file(&root_key, &SystemRandom).map_err(Failure::usage)?;
    }
    write(&layout.kms_config(), &kms_config(layout))?;
    for (id, ports) in layout.nodes() {
        write(&layout.node_config(id), &node_config(layout, id, ports))?;
    }
    Ok(())
}

fn node_stem(id: NodeId) -> String {
    format!("node-{id}")
}

/// One certificate for each server, good for clients on this machine too, and those of who
/// administrates and who operates the cluster.
fn leaves(layout: &Layout) -> Vec<LeafSpec> {
    let server = |file_stem: String, name: String| LeafSpec {
        file_stem,
        dns_names: vec![name, "localhost".to_owned()],
        ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
    };
    let nodes = layout.nodes().map(|(id, _)| server(node_stem(id), node_dns_name(id)));
    let mut leaves: Vec<_> = nodes.collect();
    leaves.push(server(KMS_STEM.to_owned(), peer_name::KMS.to_owned()));
    leaves.push(LeafSpec {
        file_stem: ADMIN_STEM.to_owned(),
        dns_names: vec![peer_name::ADMIN.to_owned()],
        ips: Vec::new(),
    });
    leaves.push(LeafSpec {
        file_stem: OPERATOR_STEM.to_owned(),
        dns_names: vec![peer_name::OPERATOR.to_owned()],
        ips: Vec::new(),
    });
    leaves
}

fn node_config(layout: &Layout, id: NodeId, ports: NodePorts) -> String {
    let files = leaf_files(&layout.certificates(), &node_stem(id));
    let (certificate, key) = (quoted(&files.certificate), quoted(&files.key));
    let (data, ca) = (quoted(&layout.node_data(id)), quoted(&layout.ca()));
    let NodePorts { api, peer, metrics } = ports;
    let kms = layout.ports().kms;
    format!(
        "# Written at each start; changes belong into the environment (LOCKBOX_CONFIG_…).\n\
         node_id = {id}\n\
         data_dir = {data}\n\n\
         [api]\n\
         listen = \"127.0.0.1:{api}\"\n\
         advertise = \"localhost:{api}\"\n\
         certificate = {certificate}\n\
         key = {key}\n\n\
         [peer]\n\
         listen = \"127.0.0.1:{peer}\"\n\
         advertise = \"localhost:{peer}\"\n\
         certificate = {certificate}\n\
         key = {key}\n\
         ca = {ca}\n\n\
         [metrics]\n\
         listen = \"127.0.0.1:{metrics}\"\n\n\
         [kms]\n\
         address = \"localhost:{kms}\"\n\n\
         # Three nodes on one disk, and none of them for long.\n\
         [disk]\n\
         low_bytes = 67108864\n\
         ballast_bytes = 4194304\n\n\
         [log]\n\
         format = \"human\"\n"
    )
}

fn kms_config(layout: &Layout) -> String {
    let files = leaf_files(&layout.certificates(), KMS_STEM);
    let (certificate, key) = (quoted(&files.certificate), quoted(&files.key));
    let (data, ca) = (quoted(&layout.kms_data()), quoted(&layout.ca()));
    let root_key = quoted(&layout.root_key());
    let ports = layout.ports();
    let (api, metrics) = (ports.kms, ports.kms_metrics);
    let nodes: Vec<_> = layout
        .nodes()
        .map(|(id, ports)| {
            let (address, name) = (local_address(ports.peer), node_dns_name(id));
            format!("{{ address = \"{address}\", server_name = \"{name}\" }}")
        })
        .collect();
    let nodes = nodes.join(", ");
    format!(
        "# Written at each start; changes belong into the environment (KMS_CONFIG_…).\n\
         data_dir = {data}\n\n\
         [api]\n\
         listen = \"127.0.0.1:{api}\"\n\
         certificate = {certificate}\n\
         key = {key}\n\
         client_ca = {ca}\n\n\
         [metrics]\n\
         listen = \"127.0.0.1:{metrics}\"\n\n\
         [root_key]\n\
         file = {root_key}\n\n\
         [cluster]\n\
         nodes = [{nodes}]\n\n\
         [log]\n\
         format = \"human\"\n"
    )
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.to_string_lossy().into_owned()).to_string()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| cannot_write(path, &error))
}

pub(super) fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format_args!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use lockbox_kms_sim::KmsConfig;

    use super::*;
    use crate::cli::local::layout::Ports;
    use crate::config::Config;

    #[test]
    fn what_is_written_is_what_the_servers_read() {
        let directory = tempfile::tempdir().unwrap();
        let odd = directory.path().join("a \"quoted\" name");
        let layout = Layout::new(&odd, Ports::of_cluster(8450, 3)).unwrap();
        prepare(&layout).unwrap();
        for (id, ports) in layout.nodes() {
            let config = Config::load(&layout.node_config(id), &[]).unwrap();
            assert_eq!((config.node_id, config.api.listen.port()), (id, ports.api));
            assert_eq!(config.data_dir, layout.node_data(id));
            assert!(config.peer.certificate.exists() && config.peer.ca.exists());
        }
        let kms = KmsConfig::load(&layout.kms_config(), &[]).unwrap();
        assert_eq!(kms.cluster.unwrap().nodes.len(), 3);

        let authority = fs::read(layout.ca()).unwrap();
        let root = fs::read(layout.root_key()).unwrap();
        prepare(&layout).unwrap();
        assert_eq!(fs::read(layout.ca()).unwrap(), authority);
        assert_eq!(fs::read(layout.root_key()).unwrap(), root);
    }
}
