//! Data that are damaged, and data that come back from a backup, on a small cluster.

use lockbox_jepsen::cluster::part::Part;
use lockbox_jepsen::moment::until;
use lockbox_jepsen::nemesis::action::Action;
use lockbox_jepsen::nemesis::event::Outcome;
use lockbox_jepsen::nemesis::{Begun, fault};
use lockbox_jepsen::random::Random;

use crate::cluster::{WAIT, small};
use crate::enclosed::enclosed;
use crate::faults::{SHORT, all_ready, scene, takes_effect};

#[test]
fn a_backup_is_made_and_is_another_cluster_when_the_nodes_have_stopped() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        takes_effect(&scene, Action::Restore, SHORT).unwrap();
        let cluster = &scene.cluster;
        let backups = cluster.backups();
        let [made] = backups.as_slice() else { panic!("{backups:?}") };
        assert!(made.index > 0, "{made:?}");
        let leader = until(WAIT, || cluster.leader()).unwrap();
        cluster.list_destroyed(leader, made).unwrap();
        for node in cluster.members() {
            cluster.server(Part::Node(node)).unwrap().stop().unwrap();
        }
        let restored = Part::Node(cluster.restored_node());
        for _ in 0..2 {
            cluster.restore(made).unwrap();
            cluster.wait_ready(restored, WAIT).unwrap();
            cluster.discard_restored().unwrap();
        }
    });
}

#[test]
fn a_node_whose_files_rot_says_so_and_the_cluster_is_whole_again() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        all_ready(&scene);
        // So many that one of them is where the node looks, at its start or when it reads all.
        let mut fault = fault(Action::BitFlip { bits: 250 }, Random::new(3));
        assert!(matches!(fault.inject(&scene).unwrap(), Begun::Began { .. }));
        let ended = || {
            let mut nodes = scene.cluster.members().into_iter();
            nodes.find_map(|node| scene.cluster.server(Part::Node(node)).unwrap().exit_code())
        };
        let code = until(WAIT, ended).expect("it goes on with damaged data");
        assert!(matches!(code, 10 | 11 | 13 | 16 | 18), "{code}");
        assert_eq!(fault.verify(&scene).unwrap(), Outcome::Installed);
        fault.heal(&scene).unwrap();
        assert_eq!(scene.cluster.members().len(), 3);
        all_ready(&scene);
    });
}
