//! A folder is followed while nodes die: nothing is missed, and nothing is told twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockbox_proto::lockbox::watch::v1::change::Type;
use lockbox_proto::lockbox::watch::v1::watch_request::Begin;
use lockbox_proto::lockbox::watch::v1::watch_service_client::WatchServiceClient;
use lockbox_proto::lockbox::watch::v1::{WatchRequest, WatchResponse};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::{Request, Streaming};

use crate::client::Client;
use crate::cluster::{Cluster, NODES, Part};
use crate::load::{Load, nobody_answered};
use crate::messages::text;
use crate::waiting::PAUSE;

/// What was told: index, kind and secret.
type Told = (u64, Type, String);

async fn open(client: &Client, after: u64) -> Result<Streaming<WatchResponse>, tonic::Status> {
    let message =
        WatchRequest { folder_id: client.folder.clone(), begin: Some(Begin::AfterIndex(after)) };
    // Not `client.request`: its time would be that of the whole stream.
    let mut request = Request::new(message);
    let limited = client.request(());
    let token = limited.metadata().get("authorization").unwrap().clone();
    request.metadata_mut().insert("authorization", token);
    Ok(WatchServiceClient::new(client.channel.clone()).watch(request).await?.into_inner())
}

fn told(answer: &WatchResponse) -> Option<Told> {
    let change = answer.change.as_ref()?;
    Some((answer.index, change.r#type(), change.secret_id.clone()))
}

/// Follows until this secret's creation is told, going on at another node whenever a stream ends.
async fn follow(
    nodes: Vec<Client>,
    last: watch::Receiver<String>,
    breaks: Arc<watch::Sender<u32>>,
) -> Vec<Told> {
    let mut all = Vec::new();
    let mut after = 0;
    for client in nodes.iter().cycle() {
        let Ok(mut stream) = open(client, after).await else {
            sleep(PAUSE).await;
            continue;
        };
        loop {
            match stream.message().await {
                Ok(Some(answer)) => {
                    assert!(answer.index >= after, "{} after {after}", answer.index);
                    after = answer.index;
                    all.extend(told(&answer));
                }
                Ok(None) => panic!("a stream ends with a status"),
                Err(status) => {
                    assert!(nobody_answered(&status), "{status:?}");
                    breaks.send_modify(|breaks| *breaks += 1);
                    break;
                }
            }
            if all.iter().any(|(_, _, secret)| *secret == *last.borrow()) {
                return all;
            }
        }
    }
    unreachable!("the nodes come round for ever")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_followed_across_killed_nodes() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let clients = NODES.map(|node| cluster.admin(Part::Node(node))).to_vec();
    let load = Load::start(clients.clone());
    let (last, until_last) = watch::channel(String::new());
    let breaks = Arc::new(watch::Sender::new(0));
    let mut following = JoinSet::new();
    following.spawn(follow(clients.clone(), until_last, Arc::clone(&breaks)));
    load.goes_on(20).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        cluster.kill(Part::Node(leader));
        load.goes_on(20).await;
        cluster.launch(Part::Node(leader));
        cluster.wait_all_ready().await;
    }
    // Whichever node is followed by then, its stream breaks at least once.
    for node in NODES {
        cluster.kill(Part::Node(node));
        cluster.launch(Part::Node(node));
        cluster.wait_all_ready().await;
    }
    load.goes_on(20).await;
    let written = load.end().await;
    let final_secret = clients[0].create("", vec![text("value", "last")]).await;
    last.send(final_secret.clone()).unwrap();
    // One more, for the follower may have taken the last one before it knew.
    clients[1].create("", vec![text("value", "more")]).await;
    let mut all = following.join_next().await.unwrap().unwrap();
    assert!(*breaks.borrow() > 0, "no stream broke: nothing was shown");
    assert!(all.is_sorted_by(|a, b| a.0 < b.0), "told out of order, or twice");
    let created: BTreeSet<_> =
        all.iter().filter(|told| told.1 == Type::SecretCreated).map(|told| &told.2).collect();
    for (secret, _) in &written {
        assert!(created.contains(secret), "{secret} was acknowledged and never told");
    }
    // Every node tells the same from the beginning.
    let end = all.last().unwrap().0;
    all.retain(|told| told.0 <= end);
    for client in &clients {
        let mut stream = open(client, 0).await.unwrap();
        let mut again = Vec::new();
        while again.last().is_none_or(|told: &Told| told.0 < end) {
            again.extend(told(&stream.message().await.unwrap().unwrap()));
        }
        again.retain(|told| told.0 <= end);
        assert_eq!(again, all);
    }
}
