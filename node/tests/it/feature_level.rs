//! The feature level, as an operator sees and raises it.

use lockbox_proto::lockbox::cluster::v1 as admin;
use lockbox_raft::domain::feature_level::FEATURE_LEVEL_MAX;
use tonic::Code;

use crate::fixture::Node;
use crate::peers::Peers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_this_build_is_at_its_level_and_goes_no_further() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let raise = async |stem: &str, level, dry_run| {
        let request = admin::RaiseFeatureLevelRequest { level, dry_run };
        peers.admin(stem).raise_feature_level(request).await
    };
    for stem in ["node", "kms", "stranger"] {
        let refused = raise(stem, 0, false).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{stem}");
    }
    let status = peers.status().await;
    let levels = (status.feature_level, status.feature_level_max);
    assert_eq!(levels, (FEATURE_LEVEL_MAX, FEATURE_LEVEL_MAX));
    for dry_run in [true, false] {
        let answer = raise("operator", 0, dry_run).await.unwrap().into_inner();
        assert_eq!((answer.level, answer.raised), (FEATURE_LEVEL_MAX, false));
        let [member] = answer.members.as_slice() else { panic!("{answer:?}") };
        assert_eq!((member.node_id, member.feature_level), (1, FEATURE_LEVEL_MAX));
        assert_eq!(member.version, env!("CARGO_PKG_VERSION"));
    }
    let beyond = raise("operator", FEATURE_LEVEL_MAX + 1, false).await.unwrap_err();
    assert_eq!(beyond.code(), Code::FailedPrecondition);
    assert!(beyond.message().contains("give it the newer build first"), "{beyond}");
    node.stop().await;
}
