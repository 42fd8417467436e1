//! The ends of a simulated connection, as hyper and tonic see them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use lockbox_core::NodeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use crate::network::{LaneId, Network};

/// One end of a connection: reads one lane and writes the other.
pub(crate) struct WireEnd {
    pub(crate) network: Arc<Network>,
    pub(crate) inbound: LaneId,
    pub(crate) outbound: LaneId,
}

impl AsyncRead for WireEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.network.poll_read(self.inbound, context.waker(), buffer)
    }
}

impl AsyncWrite for WireEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.network.poll_write(self.outbound, context.waker(), bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.finish(self.outbound);
        Poll::Ready(Ok(()))
    }
}

impl Drop for WireEnd {
    fn drop(&mut self) {
        self.network.finish(self.outbound);
        self.network.abandon(self.inbound);
    }
}

impl Connected for WireEnd {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// The connections that arrive at a node, for tonic's server.
pub(crate) struct Incoming {
    pub(crate) network: Arc<Network>,
    pub(crate) node: NodeId,
}

impl Stream for Incoming {
    type Item = io::Result<WireEnd>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.network.poll_accept(self.node, context.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready((inbound, outbound)) => {
                let network = Arc::clone(&self.network);
                Poll::Ready(Some(Ok(WireEnd { network, inbound, outbound })))
            }
        }
    }
}
