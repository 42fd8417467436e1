//! Mutual TLS between nodes: how a peer is called, and whom a caller may speak for.
//!
//! A node's certificate names it `node-<id>.lockbox.internal`. The name is checked in both
//! directions: a peer is accepted only under the name of the node it should be, and a connection
//! speaks only for the node that its certificate names (`design §7`).

use lockbox_core::NodeId;
use lockbox_platform::listener::ConnectionInfo;
use lockbox_platform::tls::{ClientTlsFiles, lasting_channel};
use lockbox_raft::network::{
    ChannelPurpose, ConnectError, IdentityMismatch, PeerAuthorizer, PeerConnector, peer_endpoint,
};
use lockbox_raft::types::Member;
use tonic::transport::Channel;

/// The name in a node's certificate.
#[must_use]
pub fn node_dns_name(node_id: NodeId) -> String {
    format!("node-{node_id}.lockbox.internal")
}

/// Calls peers with this node's certificate.
pub struct MutualTlsConnector {
    files: ClientTlsFiles,
}

impl MutualTlsConnector {
    /// A connector that shows the certificate in `files` and trusts their authority.
    #[must_use]
    pub const fn new(files: ClientTlsFiles) -> Self {
        Self { files }
    }
}

impl PeerConnector for MutualTlsConnector {
    fn channel(
        &self,
        node_id: NodeId,
        member: &Member,
        _purpose: ChannelPurpose,
    ) -> Result<Channel, ConnectError> {
        let failed =
            |reason: String| ConnectError { node_id, address: member.peer_address.clone(), reason };
        // A channel is kept for as long as the peer is where it is: what it shows is read again at
        // each connection, so that a renewed certificate is used without a restart.
        let name = node_dns_name(node_id);
        lasting_channel(&member.peer_address, &name, &self.files, peer_endpoint)
            .map_err(|error| failed(error.to_string()))
    }
}

/// Lets a connection speak for the node that its certificate names.
#[derive(Debug, Clone, Copy, Default)]
pub struct CertificateNames;

impl PeerAuthorizer for CertificateNames {
    fn authorize(
        &self,
        extensions: &tonic::Extensions,
        source: NodeId,
    ) -> Result<(), IdentityMismatch> {
        let identity =
            extensions.get::<ConnectionInfo>().and_then(|info| info.peer_identity.as_ref());
        match identity {
            Some(identity) if identity.has(&node_dns_name(source)) => Ok(()),
            Some(_) | None => Err(IdentityMismatch { claimed: source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use lockbox_platform::tls::PeerIdentity;

    use super::*;

    fn connection(names: &[&str]) -> tonic::Extensions {
        let mut extensions = tonic::Extensions::new();
        let dns_names = names.iter().map(|name| (*name).to_owned()).collect();
        extensions.insert(ConnectionInfo {
            remote_addr: SocketAddr::from(([127, 0, 0, 1], 1)),
            peer_identity: Some(PeerIdentity { dns_names }),
            tls: true,
        });
        extensions
    }

    #[test]
    fn a_connection_speaks_for_its_own_node_only() {
        let second = connection(&["node-2.lockbox.internal"]);
        assert!(CertificateNames.authorize(&second, 2).is_ok());
        for wrong in [1, 22, 0] {
            let refused = CertificateNames.authorize(&second, wrong);
            assert_eq!(refused, Err(IdentityMismatch { claimed: wrong }));
        }
    }

    #[test]
    fn the_kms_and_strangers_speak_for_no_node() {
        assert!(CertificateNames.authorize(&connection(&["kms.lockbox.internal"]), 1).is_err());
        assert!(CertificateNames.authorize(&connection(&[]), 1).is_err());
        assert!(CertificateNames.authorize(&tonic::Extensions::new(), 1).is_err());
    }
}
