//! Packets of the harness's own on a link: what a link does to packets shows also when no server
//! has anything to say.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result, bail};

use super::Cluster;
use super::addresses::{Host, Link};
use super::part::Part;

/// Nobody listens there: a packet that arrives is thrown away.
const DISCARD_PORT: u16 = 9;

impl Cluster {
    /// Sends one packet over a link of the private network, from where its servers send.
    ///
    /// # Errors
    /// When the cluster has no such link, or the kernel does not take the packet.
    pub fn probe(&self, link: Link) -> Result<()> {
        let (from, to) = (link.from.address(), link.to.address());
        let part = match link.from {
            Host::Node(id) => Part::Node(id),
            Host::Kms => Part::Kms,
            // They are where this process is.
            Host::Client(_) | Host::Observer => return send(from, to),
            Host::Door(_) => bail!("{} is no end of a link", link.from),
        };
        self.namespace(part)?.within(move || send(from, to))
    }
}

fn send(from: Ipv4Addr, to: Ipv4Addr) -> Result<()> {
    let socket = UdpSocket::bind((from, 0)).with_context(|| format!("cannot send from {from}"))?;
    socket.send_to(b"probe", (to, DISCARD_PORT)).with_context(|| format!("cannot probe {to}"))?;
    Ok(())
}
