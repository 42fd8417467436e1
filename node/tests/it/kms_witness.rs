//! What the KMS attests is in the log, on sealed nodes too, and nobody takes it back.

use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_proto::lockbox::cluster::v1::kms_witness_service_client::KmsWitnessServiceClient;
use tonic::Code;

use crate::fixture::Node;
use crate::peers::Peers;

fn tombstone(key: &str, version: &str) -> wire::KmsTombstone {
    wire::KmsTombstone {
        key_id: key.to_owned(),
        version_id: version.to_owned(),
        destroyed_at_ms: 7,
    }
}

fn said(incarnation: &str, epoch: u64, head: u64) -> wire::AttestKmsRequest {
    wire::AttestKmsRequest {
        store_id: "ab".repeat(16),
        incarnation: incarnation.repeat(16),
        epoch,
        head,
        ahead: 100,
        time_ms: 5,
        tombstones: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_node_remembers_for_the_kms() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    node.app.keyring.hold();
    let mut kms = KmsWitnessServiceClient::new(peers.channel("kms"));
    let nothing = kms.recall(wire::RecallKmsRequest {}).await.unwrap().into_inner();
    assert!(!nothing.known && nothing.index > 0);

    let told = wire::AttestKmsRequest {
        tombstones: vec![tombstone("b", ""), tombstone("a", "v1")],
        ..said("01", 1, 10)
    };
    let seen = kms.attest(told.clone()).await.unwrap().into_inner();
    assert_eq!((seen.known, seen.epoch, seen.head, seen.reserved), (true, 1, 10, 110));
    assert_eq!(seen.tombstones, 2);
    let again = kms.attest(told).await.unwrap().into_inner();
    assert_eq!(again.tombstones, 2);
    let recalled = kms.recall(wire::RecallKmsRequest {}).await.unwrap().into_inner();
    assert_eq!((recalled.reserved, recalled.incarnation), (110, "01".repeat(16)));

    // A restored one begins behind what was reserved, and the one before is passed over.
    let restored = kms.attest(said("02", 2, 3)).await.unwrap().into_inner();
    assert_eq!((restored.floor, restored.reserved, restored.head), (110, 210, 10));
    let late = wire::AttestKmsRequest { tombstones: vec![tombstone("c", "")], ..said("01", 1, 50) };
    let late = kms.attest(late).await.unwrap().into_inner();
    assert_eq!((late.incarnation, late.tombstones), ("02".repeat(16), 2));

    let first = wire::ListKmsTombstonesRequest { after: None };
    let page = kms.list_tombstones(first).await.unwrap().into_inner();
    assert_eq!(page.tombstones, [tombstone("a", "v1"), tombstone("b", "")]);
    assert!(!page.more);
    let after = wire::ListKmsTombstonesRequest { after: Some(tombstone("a", "v1")) };
    let page = kms.list_tombstones(after).await.unwrap().into_inner();
    assert_eq!(page.tombstones, [tombstone("b", "")]);

    for wrong in [
        wire::AttestKmsRequest { store_id: "ab".to_owned(), ..said("01", 1, 1) },
        wire::AttestKmsRequest { incarnation: "zz".repeat(16), ..said("01", 1, 1) },
        wire::AttestKmsRequest { tombstones: vec![tombstone("", "v")], ..said("01", 1, 1) },
        wire::AttestKmsRequest { tombstones: vec![tombstone("a b", "")], ..said("01", 1, 1) },
        wire::AttestKmsRequest { tombstones: vec![tombstone("a", ""); 501], ..said("01", 1, 1) },
    ] {
        let refused = kms.attest(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    node.stop().await;
}
