//! etcd under the same load: a linearizable range of one key, and a put.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use futures::StreamExt;
use tonic::Status;
use tonic::transport::Channel;

use crate::arguments::{Members, Output, Servers, Shape, Watched};
use crate::connect::Connector;
use crate::run::{connection_count, measure};
use crate::sample;
use crate::target::{Call, Target, check_length};

/// Generated from `proto/etcd.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod wire {
    tonic::include_proto!("etcdserverpb");
}

use wire::kv_client::KvClient;
use wire::maintenance_client::MaintenanceClient;

/// Keys that are written at the same time before the load begins.
const PREPARING: usize = 32;

/// Options of `etcd`.
#[derive(Debug, Args)]
pub struct EtcdArguments {
    /// The members of the cluster.
    #[command(flatten)]
    pub servers: Servers,
    /// The load.
    #[command(flatten)]
    pub shape: Shape,
    /// Which members are asked.
    #[arg(long, value_enum, default_value_t = Members::All)]
    pub members: Members,
    /// What is watched.
    #[command(flatten)]
    pub watched: Watched,
    /// How the result is told.
    #[command(flatten)]
    pub output: Output,
}

/// A connection to one member.
#[derive(Debug, Clone)]
pub struct Session {
    client: KvClient<Channel>,
    value: Bytes,
}

impl Session {
    /// Makes one call and checks the answer.
    ///
    /// # Errors
    /// The member's status; NOT_FOUND or DATA_LOSS when the key does not hold the value.
    pub async fn call(&mut self, call: Call) -> Result<(), Status> {
        match call {
            Call::Get(slot) => {
                let key = key(slot, self.value.len());
                let answer = self.client.range(wire::RangeRequest { key }).await?.into_inner();
                let found = answer.kvs.first().ok_or_else(|| Status::not_found("no such key"))?;
                check_length(found.value.len(), self.value.len())
            }
            Call::Put(slot) => {
                let key = key(slot, self.value.len());
                let request = wire::PutRequest { key, value: self.value.clone() };
                self.client.put(request).await.map(drop)
            }
        }
    }
}

/// Runs the load against etcd.
///
/// # Errors
/// When a member cannot be reached or not one operation succeeded.
pub async fn run(arguments: &EtcdArguments) -> Result<()> {
    let EtcdArguments { servers, shape, members, watched, output } = arguments;
    let connector = Connector::new(servers)?;
    let endpoints = match members {
        Members::All => servers.endpoints.clone(),
        Members::Leader => vec![leader(&connector, &servers.endpoints).await?],
    };
    let count = connection_count(shape, endpoints.len());
    let value = Bytes::from(sample::value(shape.value_bytes));
    let sessions: Vec<Session> = connector
        .connect_all(&endpoints, count)
        .await?
        .into_iter()
        .map(|channel| Session { client: KvClient::new(channel), value: value.clone() })
        .collect();
    prepare(&sessions, shape.secrets).await?;
    let targets: Vec<Target> = sessions.into_iter().map(Target::Etcd).collect();
    measure(&targets, shape, *members, watched, output).await.map(drop)
}

/// The endpoint of the member that leads.
async fn leader(connector: &Connector, endpoints: &[String]) -> Result<String> {
    for endpoint in endpoints {
        let mut client = MaintenanceClient::new(connector.connect(endpoint).await?);
        let status = client.status(wire::StatusRequest {}).await?.into_inner();
        let member = status.header.context("a status has a header")?.member_id;
        if status.leader == member && member != 0 {
            return Ok(endpoint.clone());
        }
    }
    bail!("none of the endpoints leads")
}

/// Writes every key once, so that each can be read.
async fn prepare(sessions: &[Session], keys: usize) -> Result<()> {
    let mut writes = futures::stream::iter((0..keys).zip(sessions.iter().cycle()))
        .map(|(slot, session)| {
            let mut session = session.clone();
            async move { session.call(Call::Put(slot)).await }
        })
        .buffer_unordered(PREPARING);
    while let Some(written) = writes.next().await {
        written.context("cannot write the keys before the load")?;
    }
    Ok(())
}

/// Keys of values of different lengths are different keys.
fn key(slot: usize, value_bytes: usize) -> Bytes {
    Bytes::from(format!("bench-{value_bytes}-{slot:06}"))
}
