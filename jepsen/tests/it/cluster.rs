//! A real cluster in its own network: it is formed, it serves, and nothing of it is left.

use std::sync::Arc;
use std::time::Duration;

use lockbox_jepsen::cluster::files::Knobs;
use lockbox_jepsen::cluster::part::Part;
use lockbox_jepsen::cluster::scratch::Scratch;
use lockbox_jepsen::cluster::server::Life;
use lockbox_jepsen::cluster::{Cluster, Spec};
use lockbox_jepsen::moment::until;
use tempfile::TempDir;

use crate::enclosed::enclosed;
use crate::programs::programs;

/// How long anything may take on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// A cluster of three nodes, and where it is.
pub(crate) struct Small {
    pub(crate) cluster: Arc<Cluster>,
    _scratch: Scratch,
    _base: TempDir,
}

pub(crate) fn small(forgetful: bool) -> Small {
    small_in(true, forgetful)
}

pub(crate) fn small_in(enclosed: bool, forgetful: bool) -> Small {
    let base = tempfile::tempdir().unwrap();
    let scratch = Scratch::make(base.path()).unwrap();
    let spec = Spec {
        programs: programs(),
        enclosed,
        directory: scratch.path().to_owned(),
        logs: scratch.path().join("logs"),
        nodes: 3,
        spares: 4,
        knobs: Knobs::default(),
        disk_mebibytes: 256,
        forgetful,
        seed: 1,
    };
    let cluster = Cluster::start(spec).unwrap();
    Small { cluster: Arc::new(cluster), _scratch: scratch, _base: base }
}

#[test]
fn a_cluster_is_formed_and_survives_the_end_of_its_leader() {
    enclosed(|| {
        let small = small(false);
        let cluster = &small.cluster;
        let leader = until(WAIT, || cluster.leader()).unwrap();
        let status = cluster.admin().status(leader).unwrap();
        assert_eq!((status.leader_id, status.voters()), (leader, vec![1, 2, 3]));

        let old = Part::Node(leader);
        assert!(cluster.server(old).unwrap().kill().unwrap());
        assert_eq!(cluster.server(old).unwrap().life().unwrap(), Life::Down);
        let next = until(WAIT, || cluster.leader()).unwrap();
        assert_ne!(next, leader);
        cluster.launch(old).unwrap();
        cluster.wait_ready(old, WAIT).unwrap();
    });
}
