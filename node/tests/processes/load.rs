//! Writers beside a test: each makes secrets one by one and remembers what was acknowledged.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::client::Client;
use crate::messages::{response, text};
use crate::waiting::{PAUSE, WAIT, until};

/// A secret that was acknowledged, and its value.
type Written = (String, String);

/// The writers.
pub(crate) struct Load {
    writers: JoinSet<Vec<Written>>,
    acknowledged: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Load {
    /// One writer for each of these clients.
    pub(crate) fn start(clients: Vec<Client>) -> Self {
        let (acknowledged, stop) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
        let mut writers = JoinSet::new();
        for (writer, client) in clients.into_iter().enumerate() {
            writers.spawn(write(client, writer, Arc::clone(&acknowledged), stop.clone()));
        }
        Self { writers, acknowledged, stop }
    }

    /// Waits until so many more writes are acknowledged: the service works, whatever happens.
    pub(crate) async fn goes_on(&self, writes: usize) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + writes;
        let reached = async || (self.acknowledged.load(Ordering::Relaxed) >= wanted).then_some(());
        until("progress under load", reached).await;
    }

    /// Ends the writers; what was acknowledged.
    pub(crate) async fn end(mut self) -> Vec<Written> {
        self.stop.cancel();
        let mut all = Vec::new();
        while let Some(written) = self.writers.join_next().await {
            all.extend(written.unwrap());
        }
        all
    }
}

async fn write(
    client: Client,
    writer: usize,
    acknowledged: Arc<AtomicUsize>,
    stop: CancellationToken,
) -> Vec<Written> {
    let mut written = Vec::new();
    while !stop.is_cancelled() {
        let value = format!("{writer}-{}", written.len());
        let request = client.new_secret("", vec![text("value", &value)]);
        match client.secrets().create(client.request(request)).await {
            Ok(operation) => {
                let secret = response::<wire::Secret>(operation.get_ref()).id;
                // What is acknowledged can be read at once, wherever the leader is by then.
                let found = read_when_served(&client, &secret).await;
                assert_eq!(found, vec![("value".to_owned(), value.clone().into_bytes())]);
                written.push((secret, value));
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            // A leader that goes is no loss: such a write is not acknowledged.
            Err(status) => {
                let undecided = status.code() == Code::DeadlineExceeded;
                assert!(undecided || nobody_answered(&status), "{status:?}");
            }
        }
    }
    written
}

/// Whether no node took the call up. A status with a source was made here: the connection is gone
/// with its server, and the code says how far the call was by then.
pub(crate) fn nobody_answered(status: &Status) -> bool {
    status.source().is_some() || status.code() == Code::Unavailable
}

async fn read_when_served(client: &Client, secret: &str) -> Vec<(String, Vec<u8>)> {
    let deadline = Instant::now() + WAIT;
    loop {
        match client.read(secret).await {
            Ok(found) => return found,
            Err(status) => {
                assert!(nobody_answered(&status), "{status:?}");
                assert!(Instant::now() < deadline, "nobody serves a read: {status:?}");
            }
        }
        sleep(PAUSE).await;
    }
}
