//! Many writers, one secret, all nodes: no acknowledged key is lost (`contract` and invariant 7).
//!
//! A bounded number of commits; `lockbox-bench contend` does it by time, with a rate.

use futures::future::join_all;
use tokio::time::{Instant, timeout};
use tonic::Code;

use crate::client::Client;
use crate::cluster::{Cluster, NODES, Part};
use crate::messages::binary;
use crate::waiting::WAIT;

const WRITERS: usize = 64;
const EACH: usize = 2;

/// Adds a writer's keys one by one; how many calls that took.
async fn write(client: Client, secret: &str, writer: usize) -> usize {
    let mut calls = 0;
    for number in 0..EACH {
        let began = Instant::now();
        loop {
            calls += 1;
            let value = u8::try_from(writer).unwrap();
            let entry = binary(&format!("w{writer}-{number}"), &[value]);
            let refused = match client.add(secret, vec![entry]).await {
                Ok(_) => break,
                Err(status) => status,
            };
            // Contention, and nothing else: the same entry again is the same entry.
            let again = [Code::Aborted, Code::Unavailable, Code::DeadlineExceeded];
            assert!(again.contains(&refused.code()), "writer {writer}: {refused:?}");
            assert!(began.elapsed() < WAIT, "writer {writer} starves: {refused:?}");
        }
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_key_of_64_writers_is_lost() {
    let cluster = Cluster::start(Vec::new()).await;
    let clients = NODES.map(|node| cluster.admin(Part::Node(node)));
    let secret = clients[0].create("", Vec::new()).await;
    let writers = (0..WRITERS).map(|n| write(clients[n % 3].clone(), &secret, n));
    let calls: usize = timeout(2 * WAIT, join_all(writers)).await.unwrap().into_iter().sum();
    println!("{} commits in {calls} calls", WRITERS * EACH);

    let written = |n: usize| (format!("w{}-{}", n / EACH, n % EACH), vec![(n / EACH) as u8]);
    let mut expected: Vec<_> = (0..WRITERS * EACH).map(written).collect();
    expected.sort();
    for client in &clients {
        let mut found = client.read(&secret).await.unwrap();
        found.sort();
        assert_eq!(found, expected);
    }
}
