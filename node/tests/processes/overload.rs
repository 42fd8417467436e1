//! More calls at once than a node lets in: each is answered, or told when to come back, and
//! operators are let in. That nobody is elected meanwhile, and what all of it takes, is measured by
//! `make overload`.

use lockbox_proto::google::rpc;
use prost::Message;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::client::Client;
use crate::cluster::{Cluster, Part};
use crate::load::nobody_answered;
use crate::messages::{pairs, text};
use crate::waiting::WAIT;

/// Connections, and calls at once on each: together more than any bound that the node finds.
const CLIENTS: usize = 4;
const CALLS: usize = 400;

/// A refusal that changes nothing and says when to come back.
fn is_told_when(status: &Status) -> bool {
    let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
    let outcome = status.metadata().get("lockbox-outcome");
    status.code() == Code::ResourceExhausted
        && outcome.is_some_and(|outcome| outcome == "not-proposed")
        && details.iter().any(|any| any.to_msg::<rpc::RetryInfo>().is_ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_let_in_is_told_when_to_come_back() {
    // No call is that quick, so the bound goes down to its floor.
    let environment = vec![("LOCKBOX_CONFIG_LIMITS__WAIT_MS_MAX", "1".to_owned())];
    let cluster = Cluster::start(environment).await;
    let node = Part::Node(1);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| cluster.admin(node)).collect();
    let secret = clients[0].create("", vec![text("value", "kept")]).await;
    let secret = secret.as_str();
    let kept = pairs(&[("value", b"kept")]);
    let (mut answered, mut refused) = (0, 0);
    let until = Instant::now() + WAIT;
    while answered == 0 || refused == 0 {
        assert!(Instant::now() < until, "{answered} were answered and {refused} refused");
        let calls = clients.iter().flat_map(|client| (0..CALLS).map(move |_| client.read(secret)));
        let calls = futures::future::join_all(calls);
        let (answers, operator) = tokio::join!(calls, cluster.status(1));
        assert!(operator.is_some(), "the operator was not let in");
        for answer in answers {
            match answer {
                Ok(found) => {
                    assert_eq!(found, kept);
                    answered += 1;
                }
                // An election, which a busy machine may have.
                Err(status) if nobody_answered(&status) => {}
                Err(status) => {
                    assert!(is_told_when(&status), "{status:?}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(clients[0].read(secret).await.unwrap(), kept);
    let metrics = cluster.health(node, "/metrics").await.unwrap().text();
    let counted = format!("lockbox_calls_refused_total{{kind=\"reads\"}} {refused}\n");
    assert!(metrics.contains(&counted), "{metrics}");
}
