//! The operator's connection to one node: what the node says of its consensus, its state and its
//! log.

use std::time::Duration;

use lockbox_proto::lockbox::cluster::v1 as wire;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};
use wire::admin_service_client::AdminServiceClient;
use wire::cluster_service_client::ClusterServiceClient;

use super::connection::Dialer;
use crate::history::ids::NodeId;
use crate::history::op::Stamp;
use crate::history::sample::{RaftRole, RaftSample, StateHash};

/// Asks one node through its peer listener, with the operator's certificate.
#[derive(Debug)]
pub struct OperatorClient {
    node: NodeId,
    dialer: Dialer,
    patience: Duration,
    channel: Option<Channel>,
}

/// What a node said, before it has its place in a history.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    node: NodeId,
    role: RaftRole,
    status: wire::StatusResponse,
    state_hash: Option<StateHash>,
}

impl OperatorClient {
    /// A client that has not connected yet, and gives a node this much time to answer.
    #[must_use]
    pub const fn new(node: NodeId, dialer: Dialer, patience: Duration) -> Self {
        Self { node, dialer, patience, channel: None }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The same client, which gives the node this much time instead.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Looks once. None when the node does not answer, or has stopped taking part.
    pub async fn look(&mut self) -> Option<Look> {
        let ask =
            async |channel| ClusterServiceClient::new(channel).status(wire::StatusRequest {}).await;
        let status = self.ask(ask).await?;
        let role = match status.role.as_str() {
            "leader" => RaftRole::Leader,
            "candidate" => RaftRole::Candidate,
            "follower" => RaftRole::Follower,
            "learner" => RaftRole::Learner,
            _ => return None,
        };
        Some(Look { node: self.node, role, status, state_hash: None })
    }

    /// The hashes of its state, as it is once this index is applied.
    pub async fn state_hash(&mut self, at_index: u64) -> Option<StateHash> {
        let request = wire::StateHashRequest { at_index, exact: false };
        let ask = async |channel| AdminServiceClient::new(channel).state_hash(request).await;
        let answer = self.ask(ask).await?;
        let families = answer.families.into_iter().map(|family| (family.name, family.hash));
        Some(StateHash { index: answer.index, families: families.collect() })
    }

    /// A piece of its committed log from this index on.
    pub async fn read_log(&mut self, from_index: u64) -> Option<wire::ReadLogResponse> {
        let request = wire::ReadLogRequest { from_index, limit: 0 };
        self.ask(async |channel| AdminServiceClient::new(channel).read_log(request).await).await
    }

    /// Which of its files hold a destroyed version; none also when it says that there is no such
    /// version.
    pub async fn verify_destroyed(
        &mut self,
        secret: &str,
        version: &str,
    ) -> Option<wire::VerifyDestroyedResponse> {
        let (secret_id, version_id) = (secret.to_owned(), version.to_owned());
        let request = wire::VerifyDestroyedRequest { secret_id, version_id, mark: String::new() };
        let ask = async |channel| AdminServiceClient::new(channel).verify_destroyed(request).await;
        self.ask(ask).await
    }

    /// Asks once, on the connection that there is or on a new one.
    async fn ask<M>(
        &mut self,
        ask: impl AsyncFnOnce(Channel) -> Result<Response<M>, Status>,
    ) -> Option<M> {
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.dialer.connect().await.ok()?,
        };
        let answer = timeout(self.patience, ask(channel.clone())).await.ok()?;
        self.channel = Some(channel);
        Some(answer.ok()?.into_inner())
    }
}

impl Look {
    /// The same look, with the hashes of the node's state.
    #[must_use]
    pub fn with_state_hash(self, state_hash: Option<StateHash>) -> Self {
        Self { state_hash, ..self }
    }

    /// The index whose state was hashed, if one was.
    #[must_use]
    pub fn hashed_at(&self) -> Option<u64> {
        self.state_hash.as_ref().map(|hash| hash.index)
    }

    /// Its role.
    #[must_use]
    pub const fn role(&self) -> RaftRole {
        self.role
    }

    /// The leader that the node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        Some(self.status.leader_id).filter(|id| *id > 0).map(NodeId)
    }

    /// Its term.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.status.term
    }

    /// The index that its state has reached.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.status.applied_index
    }

    /// Whether it can read payloads.
    #[must_use]
    pub const fn is_unsealed(&self) -> bool {
        !self.status.sealed
    }

    /// The line of a history that says the same.
    #[must_use]
    pub fn sample(&self, at: Stamp, incarnation: u64) -> RaftSample {
        let members = |voters: bool| {
            let of_kind = self.status.members.iter().filter(|member| member.voter == voters);
            let mut ids: Vec<_> = of_kind.map(|member| NodeId(member.node_id)).collect();
            ids.sort_unstable();
            ids
        };
        RaftSample {
            at,
            node: self.node,
            store: self.status.store_id.clone(),
            generation: self.status.state_generation,
            incarnation,
            term: self.status.term,
            role: self.role,
            vote: None,
            last: self.status.last_log_index,
            committed: self.status.committed_index,
            applied: self.status.applied_index,
            snapshot: self.status.snapshot_index,
            purged: self.status.purged_index,
            voters: members(true),
            learners: members(false),
            state_hash: self.state_hash.clone(),
        }
    }
}
