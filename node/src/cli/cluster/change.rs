//! `lockbox cluster add | promote | remove | replace | transfer-leader | snapshot`.
//!
//! Each is one call: all but the snapshot go to the leader, and come to the same when they are
//! sent again. What the server warns about is a field of the answer.

use clap::Args;
use lockbox_core::NodeId;
use lockbox_proto::lockbox::cluster::v1 as wire;
use wire::admin_service_client::AdminServiceClient;

use crate::cli::cluster::member;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Record};
use crate::cli::peer::PeerTarget;

/// The membership that a change is tied to.
#[derive(Debug, Args)]
struct Condition {
    /// Change it only if this is still the membership, as `cluster status` shows it.
    #[arg(long, value_name = "MEMBERSHIP", default_value = "", hide_default_value = true)]
    if_membership: String,
}

/// A node to add.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The node: ID=PEER_HOST:PORT,API_HOST:PORT. It runs on an empty directory, and its id was
    /// never a member's.
    #[arg(value_name = "MEMBER", value_parser = member::parse)]
    member: wire::Member,
    #[command(flatten)]
    condition: Condition,
}

/// A learner to promote.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The learner.
    #[arg(value_name = "ID", value_parser = node_id)]
    node: NodeId,
    #[command(flatten)]
    condition: Condition,
}

/// A member to remove.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The member. It may be dead.
    #[arg(value_name = "ID", value_parser = node_id)]
    node: NodeId,
    #[command(flatten)]
    condition: Condition,
}

/// A voter to replace.
#[derive(Debug, Args)]
pub(crate) struct Replace {
    /// The voter that leaves. It may be dead.
    #[arg(value_name = "OLD", value_parser = node_id)]
    old: NodeId,
    /// The node that takes its place: ID=PEER_HOST:PORT,API_HOST:PORT, on an empty directory.
    #[arg(value_name = "NEW", value_parser = member::parse)]
    new: wire::Member,
    #[command(flatten)]
    condition: Condition,
}

/// The next leader.
#[derive(Debug, Args)]
pub(crate) struct TransferLeader {
    /// The voter that is to lead; the one with the longest log when not given.
    #[arg(value_name = "ID", value_parser = node_id)]
    node: Option<NodeId>,
}

/// A snapshot.
#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// Remove from the log what the snapshot covers.
    #[arg(long)]
    purge: bool,
}

/// A node's id on the command line.
pub(crate) fn node_id(text: &str) -> Result<NodeId, String> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.ok_or_else(|| "is not a positive number".to_owned())
}

impl Add {
    pub(crate) fn run(self, target: &PeerTarget<'_>) -> Result<String, Failure> {
        let request = wire::AddMemberRequest {
            member: Some(self.member),
            membership_token: self.condition.if_membership,
        };
        let answer = target.ask_leader(&request, async |channel, request| {
            AdminServiceClient::new(channel).add_member(request).await
        })?;
        output::one(target.format, &Record::of(&answer)?)
    }
}

impl Promote {
    pub(crate) fn run(self, target: &PeerTarget<'_>) -> Result<String, Failure> {
        let membership_token = self.condition.if_membership;
        let request = wire::PromoteMemberRequest { node_id: self.node, membership_token };
        let answer = target.ask_leader(&request, async |channel, request| {
            AdminServiceClient::new(channel).promote_member(request).await
        })?;
        output::one(target.format, &Record::of(&answer)?)
    }
}

impl Remove {
    pub(crate) fn run(self, target: &PeerTarget<'_>) -> Result<String, Failure> {
        let membership_token = self.condition.if_membership;
        let request = wire::RemoveMemberRequest { node_id: self.node, membership_token };
        let answer = target.ask_leader(&request, async |channel, request| {
            AdminServiceClient::new(channel).remove_member(request).await
        })?;
        output::one(target.format, &Record::of(&answer)?)
    }
}

impl Replace {
    pub(crate) fn run(self, target: &PeerTarget<'_>) -> Result<String, Failure> {
        if self.old == self.new.node_id {
            return Err(Failure::usage("a node cannot replace itself: the new one has a new id"));
        }
        let request = wire::ReplaceMemberRequest {
            old_node_id: self.old,
            new_member: Some(self.new),
            membership_token: self.condition.if_membership,
        };
        let answer = target.ask_leader(&request, async |channel, request| {
            AdminServiceClient::new(channel).replace_member(request).await
        })?;
        output::one(target.format, &Record::of(&answer)?)
    }
}

impl TransferLeader {
    pub(crate) fn run(self, target: &PeerTarget<'_>) -> Result<String, Failure> {
        let request = wire::TransferLeaderRequest { node_id: self.node.unwrap_or_default() };
        let answer = target.ask_leader(&request, async |channel, request| {
            AdminServiceClient::new(channel).transfer_leader(request).await
        })?;
        output::one(target.format, &Record::of(&answer)?)
    }
}

impl Snapshot {
    pub(crate) fn run(self, target: &PeerTarget<'_>) -> Result<String, Failure> {
        let request = wire::TakeSnapshotRequest { purge: self.purge };
        let answer = target.ask(&request, async |channel, request| {
            AdminServiceClient::new(channel).take_snapshot(request).await
        })?;
        output::one(target.format, &Record::of(&answer)?)
    }
}
