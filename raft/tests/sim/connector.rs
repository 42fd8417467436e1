//! Channels between simulated nodes: the product's own HTTP/2 and gRPC over simulated wires.

use std::future::poll_fn;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use lockbox_core::NodeId;
use lockbox_raft::network::{ChannelPurpose, ConnectError, PeerConnector, peer_endpoint};
use lockbox_raft::types::Member;
use tonic::transport::{Channel, Endpoint};

use crate::network::Network;
use crate::wire::WireEnd;

/// Connects one node to the others.
pub(crate) struct SimConnector {
    pub(crate) me: NodeId,
    pub(crate) network: Arc<Network>,
}

impl PeerConnector for SimConnector {
    fn channel(
        &self,
        node_id: NodeId,
        _member: &Member,
        _purpose: ChannelPurpose,
    ) -> Result<Channel, ConnectError> {
        let (me, network) = (self.me, Arc::clone(&self.network));
        let connect = tower::service_fn(move |_uri: tonic::codegen::http::Uri| {
            let network = Arc::clone(&network);
            async move {
                let (inbound, outbound) = network.connect(me, node_id);
                // Made at once: whoever gives up while it connects closes it by dropping it.
                let end = WireEnd { network, inbound, outbound };
                poll_fn(|context| end.network.poll_connected(inbound, context.waker())).await?;
                Ok::<_, std::io::Error>(TokioIo::new(end))
            }
        });
        let endpoint = peer_endpoint(Endpoint::from_static("http://peer"));
        Ok(endpoint.connect_with_connector_lazy(connect))
    }
}
