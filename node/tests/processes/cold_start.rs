//! Everything was killed: in whatever order the servers come back, they answer as before.

use crate::cluster::{Cluster, NODES, PARTS, Part};
use crate::messages::{binary, pairs, text};
use crate::waiting::until;

/// Until all nodes have started there may be no leader, and until the KMS has, no key.
async fn start_in_order(cluster: &mut Cluster, order: [Part; 4]) {
    for part in order {
        if part == Part::Kms && order[3] == part {
            // All nodes are there, and one of them leads: it is the KMS that is missing.
            cluster.leader().await;
            for node in NODES {
                let answer = until("health", async || {
                    let answer = cluster.health(Part::Node(node), "/readyz").await?;
                    let waits = ["replica", "starting"].iter().any(|w| answer.text().contains(w));
                    (!waits).then_some(answer)
                });
                let answer = answer.await;
                assert_eq!(answer.status, 503);
                assert!(answer.text().starts_with("keyring: sealed: the KMS"), "{}", answer.text());
            }
        }
        cluster.launch(part);
        cluster.wait_ok(part, "/livez").await;
    }
    cluster.wait_all_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_killed_processes_come_back_in_any_order() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let first = cluster.admin(Part::Node(1));
    let entries = || vec![text("text", "value"), binary("bytes", &[0, 159, 255])];
    let common = first.create("", entries()).await;
    let own = first.create(&own_key, entries()).await;
    let mut expected = pairs(&[("text", b"value"), ("bytes", &[0, 159, 255])]);

    let [one, two, three] = NODES.map(Part::Node);
    let orders =
        [[Part::Kms, one, two, three], [one, two, three, Part::Kms], [three, Part::Kms, two, one]];
    for (round, order) in orders.into_iter().enumerate() {
        for part in PARTS {
            cluster.kill(part);
        }
        start_in_order(&mut cluster, order).await;
        for node in NODES {
            let client = cluster.admin(Part::Node(node));
            for secret in [&common, &own] {
                assert_eq!(client.read(secret).await.unwrap(), expected, "{order:?}, node {node}");
            }
        }
        // What is acknowledged now must be there after the next kill.
        let key = format!("round-{round}");
        let writer = cluster.admin(Part::Node(NODES[round]));
        for secret in [&common, &own] {
            writer.add(secret, vec![text(&key, "v")]).await.unwrap();
        }
        expected.push((key, b"v".to_vec()));
    }
}
