//! A block of this machine's loopback addresses for one cluster: every server has an address of its
//! own, so that the ports are the same everywhere.
//!
//! Promises that no two clusters have the same block, and that all ports of it are free when it is
//! taken. What a killed run has left there is ended by the sweep of the next one.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

use super::addresses::{Host, Network};
use super::part::{API_PORT, KMS_PORT, METRICS_PORT, PEER_PORT};

/// The second numbers of the blocks' addresses.
const BLOCKS: std::ops::RangeInclusive<u8> = 77..=108;
/// Who listens here has the block.
const HELD_PORT: u16 = 8440;

/// A block, until this is dropped.
pub(super) struct Block {
    number: u8,
    _held: TcpListener,
}

impl Block {
    /// Takes one with room for so many nodes.
    ///
    /// # Errors
    /// When none is free.
    pub(super) fn take(nodes: u16) -> Result<Self> {
        let taken = BLOCKS.into_iter().find_map(|number| Self::take_this(number, nodes));
        taken.context("no addresses are free for a cluster on loopback")
    }

    fn take_this(number: u8, nodes: u16) -> Option<Self> {
        let network = Network::Loopback(number);
        let listen = |address: Ipv4Addr, port| TcpListener::bind((address, port)).ok();
        let held = listen(network.address(Host::Observer), HELD_PORT)?;
        let is_free = |host, port| listen(network.address(host), port).is_some();
        let of_nodes = (1..=nodes).all(|id| {
            let own = [API_PORT, PEER_PORT, METRICS_PORT];
            own.into_iter().all(|port| is_free(Host::Node(id), port))
                && is_free(Host::Door(id), PEER_PORT)
        });
        let of_kms = [KMS_PORT, METRICS_PORT].into_iter().all(|port| is_free(Host::Kms, port));
        (of_nodes && of_kms).then_some(Self { number, _held: held })
    }

    /// Its addresses.
    pub(super) const fn network(&self) -> Network {
        Network::Loopback(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_not_taken_twice_nor_when_one_of_its_ports_is() {
        let first = Block::take(3).unwrap();
        assert!(Block::take_this(first.number, 3).is_none());
        let second = Block::take(3).unwrap();
        assert_ne!(first.number, second.number);
        let number = second.number;
        let left = Network::Loopback(number).address(Host::Door(3));
        let left = TcpListener::bind((left, PEER_PORT)).unwrap();
        drop(second);
        assert!(Block::take_this(number, 3).is_none());
        drop(left);
    }
}
