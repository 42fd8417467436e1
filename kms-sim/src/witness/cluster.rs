//! The witness as the nodes serve it, on their listeners for peers.
//!
//! One node's answer is a majority's: it reads behind a barrier, and notes through the log.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime};
use lockbox_platform::tls::{ClientTlsFiles, TlsError, lasting_channel};
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_proto::lockbox::cluster::v1::kms_witness_service_client::KmsWitnessServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::{Attestation, Seen, Witness, WitnessError};
use crate::authn::introspect::ClusterNode;
use crate::keys::apply::Tombstone;
use crate::store::identity::Stamp;

/// Longest wait for one node before the next one is asked.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

type Client = KmsWitnessServiceClient<Channel>;

/// The nodes of a cluster.
pub struct ClusterWitness {
    channels: Vec<Channel>,
    /// The node that answered last is asked first.
    preferred: AtomicUsize,
}

impl ClusterWitness {
    /// Prepares channels; they connect at the first call, so the cluster need not be up.
    ///
    /// # Errors
    /// [`TlsError`] when a file or an address is wrong.
    pub fn new(nodes: &[ClusterNode], files: &ClientTlsFiles) -> Result<Self, TlsError> {
        let channel = |node: &ClusterNode| {
            lasting_channel(&node.address, &node.server_name, files, std::convert::identity)
        };
        let channels = nodes.iter().map(channel).collect::<Result<_, TlsError>>()?;
        Ok(Self { channels, preferred: AtomicUsize::new(0) })
    }

    /// Asks one node after the other until one answers.
    async fn ask<T, F>(&self, call: impl Fn(Client) -> F + Send + Sync) -> Result<T, WitnessError>
    where
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failure = WitnessError::Unreachable;
        for offset in 0..self.channels.len() {
            let index = (first + offset) % self.channels.len();
            let client = Client::new(self.channels[index].clone());
            match tokio::time::timeout(TRY_TIMEOUT, call(client)).await {
                Ok(Ok(response)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) if status.code() == Code::Unimplemented => {
                    failure = WitnessError::Unimplemented;
                }
                Ok(Err(status)) => {
                    let code = status.code();
                    tracing::debug!(?code, node = index, "a node bears no witness");
                }
                Err(_elapsed) => tracing::debug!(node = index, "a node bears no witness in time"),
            }
        }
        Err(failure)
    }
}

/// A request that a node gives up when nobody waits for it any more.
fn timely<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TRY_TIMEOUT);
    request
}

#[async_trait]
impl Witness for ClusterWitness {
    async fn recall(&self) -> Result<Option<Seen>, WitnessError> {
        let call = |mut client: Client| async move {
            client.recall(timely(wire::RecallKmsRequest {})).await
        };
        seen(&self.ask(call).await?)
    }

    async fn attest(&self, said: &Attestation) -> Result<Option<Seen>, WitnessError> {
        let message = wire::AttestKmsRequest {
            store_id: hex::encode(said.identity.store_id),
            incarnation: hex::encode(said.identity.incarnation),
            epoch: said.identity.epoch,
            head: said.head,
            ahead: said.ahead,
            time_ms: said.time.as_ms(),
            tombstones: said.tombstones.iter().map(to_wire).collect(),
        };
        let call = |mut client: Client| {
            let message = message.clone();
            async move { client.attest(timely(message)).await }
        };
        seen(&self.ask(call).await?)
    }

    async fn tombstones(
        &self,
        after: Option<&Tombstone>,
    ) -> Result<(Vec<Tombstone>, bool), WitnessError> {
        let message = wire::ListKmsTombstonesRequest { after: after.map(to_wire) };
        let call = |mut client: Client| {
            let message = message.clone();
            async move { client.list_tombstones(timely(message)).await }
        };
        let page = self.ask(call).await?;
        let found = page.tombstones.iter().map(from_wire).collect::<Result<_, _>>()?;
        Ok((found, page.more))
    }
}

fn seen(answer: &wire::KmsWitness) -> Result<Option<Seen>, WitnessError> {
    if !answer.known {
        return Ok(None);
    }
    Ok(Some(Seen {
        store_id: stamp(&answer.store_id)?,
        incarnation: stamp(&answer.incarnation)?,
        epoch: answer.epoch,
        reserved: answer.reserved,
        floor: answer.floor,
        head: answer.head,
        time: LogTime::from_ms(answer.time_ms),
        tombstones: answer.tombstones,
    }))
}

fn stamp(digits: &str) -> Result<Stamp, WitnessError> {
    let mut bytes = Stamp::default();
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| WitnessError::Malformed)?;
    Ok(bytes)
}

fn to_wire(tombstone: &Tombstone) -> wire::KmsTombstone {
    wire::KmsTombstone {
        key_id: tombstone.key_id.to_string(),
        version_id: tombstone.version_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        destroyed_at_ms: tombstone.destroyed_at.as_ms(),
    }
}

fn from_wire(message: &wire::KmsTombstone) -> Result<Tombstone, WitnessError> {
    let key_id = KmsKeyId::parse(&message.key_id).map_err(|_| WitnessError::Malformed)?;
    let version_id = match message.version_id.as_str() {
        "" => None,
        id => Some(KmsKeyVersionId::parse(id).map_err(|_| WitnessError::Malformed)?),
    };
    Ok(Tombstone { key_id, version_id, destroyed_at: LogTime::from_ms(message.destroyed_at_ms) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_refused() {
        let answer = wire::KmsWitness {
            known: true,
            store_id: "01".repeat(16),
            incarnation: "02".repeat(16),
            epoch: 3,
            reserved: 9,
            ..wire::KmsWitness::default()
        };
        let read = seen(&answer).unwrap().unwrap();
        assert_eq!((read.store_id, read.incarnation), ([1; 16], [2; 16]));
        assert_eq!((read.epoch, read.reserved), (3, 9));
        let nobody = wire::KmsWitness { known: false, ..answer.clone() };
        assert_eq!(seen(&nobody), Ok(None));
        for wrong in ["", "01", "zz"] {
            let wrong = wire::KmsWitness { store_id: wrong.to_owned(), ..answer.clone() };
            assert_eq!(seen(&wrong), Err(WitnessError::Malformed));
        }
        let tombstone = Tombstone {
            key_id: KmsKeyId::parse("k").unwrap(),
            version_id: None,
            destroyed_at: LogTime::from_ms(4),
        };
        assert_eq!(from_wire(&to_wire(&tombstone)), Ok(tombstone.clone()));
        let version_id = KmsKeyVersionId::parse("v").ok();
        let of_version = Tombstone { version_id, ..tombstone };
        assert_eq!(from_wire(&to_wire(&of_version)), Ok(of_version));
    }
}
