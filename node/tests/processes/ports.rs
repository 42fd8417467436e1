//! Ports that nobody uses: a base for `lockbox local --port-base`.

use std::net::{Ipv4Addr, TcpListener};

use lockbox_core::Randomness;
use lockbox_platform::system::SystemRandom;

/// How a base is laid out: see `lockbox local --help`.
const PEER: u16 = 10;
const KMS: u16 = 20;
const METRICS: u16 = 1000;
/// Nodes that a test may have.
pub(crate) const NODES_MAX: u16 = 5;
/// Bases are this far apart, so that no two share a port; from 10000 to where the system begins
/// to give ports to clients.
const STEP: u16 = 30;
const PER_GROUP: u16 = METRICS / STEP;
const FIRST: u16 = 10_000;
const GROUPS: u16 = 11;

/// A base that is ours while this lives: its own port is held, and no server listens on it.
pub(crate) struct PortBase {
    base: u16,
    _held: TcpListener,
}

impl PortBase {
    /// Takes one whose ports are all free.
    pub(crate) fn take() -> Self {
        let mut random = [0; 2];
        SystemRandom.fill(&mut random);
        let (all, from) = (GROUPS * PER_GROUP, u16::from_le_bytes(random));
        let bases = (0..all).map(|n| {
            let n = (from % all + n) % all;
            FIRST + 2 * METRICS * (n / PER_GROUP) + STEP * (n % PER_GROUP)
        });
        let mut held = bases.filter_map(|base| Some(Self { base, _held: listen(base)? }));
        held.find(Self::is_free).expect("no block of ports is free")
    }

    /// The base.
    pub(crate) const fn base(&self) -> u16 {
        self.base
    }

    /// Where a node serves clients.
    pub(crate) const fn api(&self, node: u16) -> u16 {
        self.base + node
    }

    /// Where it serves other nodes and the operator.
    pub(crate) const fn peer(&self, node: u16) -> u16 {
        self.base + PEER + node
    }

    /// Where the KMS serves.
    pub(crate) const fn kms(&self) -> u16 {
        self.base + KMS
    }

    /// Metrics and health of the server whose port for clients this is.
    pub(crate) const fn metrics(of: u16) -> u16 {
        of + METRICS
    }

    fn is_free(&self) -> bool {
        let nodes = 1..=NODES_MAX;
        let clients: Vec<u16> = nodes.clone().map(|id| self.api(id)).chain([self.kms()]).collect();
        let metrics = clients.iter().map(|port| Self::metrics(*port));
        let peers = nodes.map(|id| self.peer(id));
        clients.iter().copied().chain(peers).chain(metrics).all(|port| listen(port).is_some())
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}
