//! Who has which address in the run's own network.
//!
//! The two planes are told apart by who is at the other end: between nodes it is the peer plane,
//! between a client and a node the client plane. A rule of the switch names two addresses, so a
//! fault of one plane leaves the other alone. The observer's links are never broken: what it sees
//! says whether a fault has taken effect.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Length of the network's prefix; every host routes it to its own end of the switch.
pub const PREFIX_LENGTH: u8 = 16;
/// How many addresses clients have; a worker takes one of them.
pub const CLIENTS: u16 = 32;

/// An end of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// A node, by its id.
    Node(u16),
    /// The KMS.
    Kms,
    /// A client, from 0.
    Client(u16),
    /// Who looks at the nodes and operates them.
    Observer,
    /// The proxy before a node, on loopback.
    Door(u16),
}

/// Where the hosts of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// In namespaces of their own, joined by the switch.
    Private,
    /// On this machine's loopback, in a block of its addresses: needs no rights, and no link can be
    /// broken.
    Loopback(u8),
}

impl Network {
    /// A host's address.
    #[must_use]
    pub const fn address(self, host: Host) -> Ipv4Addr {
        let (kind, number) = match host {
            Host::Node(id) => (0, id),
            Host::Kms => (1, 1),
            Host::Client(number) => (2, number + 1),
            Host::Observer => (3, 1),
            Host::Door(id) => (4, id),
        };
        let [high, low] = ((kind << 8) + number).to_be_bytes();
        match self {
            Self::Private => Ipv4Addr::new(10, 77, high, low),
            Self::Loopback(block) => Ipv4Addr::new(127, block, high, low),
        }
    }
}

impl Host {
    /// Its address in the private network.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        Network::Private.address(self)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(out, "node-{id}"),
            Self::Kms => out.write_str("kms"),
            Self::Client(number) => write!(out, "client-{number}"),
            Self::Observer => out.write_str("observer"),
            Self::Door(id) => write!(out, "door-{id}"),
        }
    }
}

/// One direction between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    /// Who sends.
    pub from: Host,
    /// Who receives.
    pub to: Host,
}

impl Link {
    /// From one to the other.
    #[must_use]
    pub const fn new(from: Host, to: Host) -> Self {
        Self { from, to }
    }

    /// Both directions between two hosts.
    #[must_use]
    pub const fn both(one: Host, other: Host) -> [Self; 2] {
        [Self::new(one, other), Self::new(other, one)]
    }
}

impl fmt::Display for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}→{}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_hosts_share_an_address() {
        let nodes = (1..=200).map(Host::Node);
        let clients = (0..CLIENTS).map(Host::Client);
        let doors = (1..=200).map(Host::Door);
        let all: Vec<_> =
            nodes.chain(clients).chain(doors).chain([Host::Kms, Host::Observer]).collect();
        let addresses: BTreeSet<_> = all.iter().map(|host| host.address()).collect();
        assert_eq!(addresses.len(), all.len());
        assert_eq!(Host::Node(7).address(), Ipv4Addr::new(10, 77, 0, 7));
        assert_eq!(Host::Client(0).address(), Ipv4Addr::new(10, 77, 2, 1));
    }
}
