//! A freshness token of one node, taken to the others (`docs/response-headers.md`).

use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::Request;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::cluster::{Cluster, NODES, Part};
use crate::messages::binary;

const ROUNDS: usize = 12;

fn index_of(metadata: &MetadataMap) -> u64 {
    metadata.get("lockbox-index").unwrap().to_str().unwrap().parse().unwrap()
}

fn at_least<T>(mut request: Request<T>, index: u64) -> Request<T> {
    request.metadata_mut().insert("lockbox-min-index", MetadataValue::from(index));
    request
}

/// An index that a follower has not applied yet is never taken for one that nobody has told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_has_told_the_others_have() {
    let cluster = Cluster::start(Vec::new()).await;
    let clients = NODES.map(|node| cluster.admin(Part::Node(node)));
    let secret = clients[0].create("", vec![binary("k", &[0])]).await;
    let get = || wire::GetSecretRequest { secret_id: secret.clone() };
    let update = |description: String| wire::UpdateSecretRequest {
        secret_id: secret.clone(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["description".to_owned()] }),
        description,
        ..Default::default()
    };
    for round in 0..ROUNDS {
        let writer = &clients[round % clients.len()];
        let written = writer.secrets().update(writer.request(update(format!("{round}")))).await;
        let mut told = index_of(written.unwrap().metadata());
        for reader in &clients {
            let mut stale = at_least(reader.request(get()), told);
            stale.metadata_mut().insert("x-consistency", MetadataValue::from_static("stale"));
            let answer = reader.secrets().get(stale).await.unwrap();
            assert!(index_of(answer.metadata()) >= told, "round {round}");
            let answer = reader.secrets().get(at_least(reader.request(get()), told)).await.unwrap();
            assert!(index_of(answer.metadata()) >= told, "round {round}");
            let next = at_least(reader.request(update(format!("{round} again"))), told);
            told = index_of(reader.secrets().update(next).await.unwrap().metadata());
        }
    }
}
