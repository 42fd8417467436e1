//! Which figures are compared, and what is asked of them.
//!
//! The targets are those of `performance.md`, "must" column.

use crate::arguments::Operation;

/// Label of our runs that ask the leader alone.
pub(super) const OURS_LEADER: &str = "lockbox-leader";
/// Label of our runs over all nodes.
pub(super) const OURS_ALL: &str = "lockbox-all";
/// Label of our runs with secrets of an own KMS key, at the leader.
pub(super) const OURS_OWN_KEY: &str = "lockbox-own-key";
/// Label of etcd's runs that ask the leader alone.
pub(super) const ETCD_LEADER: &str = "etcd-leader";
/// Label of etcd's runs over all members.
pub(super) const ETCD_ALL: &str = "etcd-all";
/// Label of the runs against the bare echo server.
pub(super) const ECHO: &str = "echo";

/// A ratio of two measurements with the same clients and values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    /// What it is called.
    pub(super) name: &'static str,
    /// Label of the numerator.
    pub(super) ours: &'static str,
    /// Label of the denominator.
    pub(super) theirs: &'static str,
    /// What both did.
    pub(super) operation: Operation,
    /// Least ratio at so many clients.
    pub(super) must: &'static [(usize, f64)],
}

/// Every ratio of the report.
pub(super) const FIGURES: [Figure; 6] = [
    Figure {
        name: "payload read, common key, leader / etcd linearizable range, leader",
        ours: OURS_LEADER,
        theirs: ETCD_LEADER,
        operation: Operation::Get,
        must: &[(1, 1.0), (64, 1.5), (256, 1.5)],
    },
    Figure {
        name: "payload read, common key, all nodes / etcd linearizable range, all members",
        ours: OURS_ALL,
        theirs: ETCD_ALL,
        operation: Operation::Get,
        must: &[(64, 1.2), (256, 1.2)],
    },
    Figure {
        name: "AddVersion, common key, leader / etcd put, leader",
        ours: OURS_LEADER,
        theirs: ETCD_LEADER,
        operation: Operation::Put,
        must: &[(1, 0.8), (16, 1.0), (64, 1.0), (256, 1.0)],
    },
    Figure {
        name: "payload read, own key / common key, leader",
        ours: OURS_OWN_KEY,
        theirs: OURS_LEADER,
        operation: Operation::Get,
        must: &[(64, 0.25)],
    },
    Figure {
        name: "payload read, common key, leader / bare echo",
        ours: OURS_LEADER,
        theirs: ECHO,
        operation: Operation::Get,
        must: &[],
    },
    Figure {
        name: "AddVersion, common key, leader / bare echo",
        ours: OURS_LEADER,
        theirs: ECHO,
        operation: Operation::Put,
        must: &[],
    },
];

/// Most processor time of all servers together for one operation, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuTarget {
    /// What it is called.
    pub(super) name: &'static str,
    /// Label of the runs.
    pub(super) label: &'static str,
    /// What they did.
    pub(super) operation: Operation,
    /// With how many clients.
    pub(super) clients: usize,
    /// The most that is allowed.
    pub(super) must_us: f64,
}

/// Every target of processor time.
pub(super) const CPU_TARGETS: [CpuTarget; 2] = [
    CpuTarget {
        name: "server CPU for one linearizable payload read, all nodes together",
        label: OURS_LEADER,
        operation: Operation::Get,
        clients: 64,
        must_us: 110.0,
    },
    CpuTarget {
        name: "server CPU for one AddVersion, all nodes together",
        label: OURS_LEADER,
        operation: Operation::Put,
        clients: 64,
        must_us: 220.0,
    },
];

impl Figure {
    /// The least ratio at this number of clients, if one is asked for.
    pub(super) fn must_at(&self, clients: usize) -> Option<f64> {
        self.must.iter().find(|(at, _)| *at == clients).map(|(_, must)| *must)
    }
}
