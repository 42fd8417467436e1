//! Members and leadership: what the replica does, in the words of the wire.

use std::collections::BTreeMap;

use lockbox_core::NodeId;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::replica::{Changed, MembershipToken};
use lockbox_raft::types::Member;

use super::Work;
use super::failure::unchanged;
use crate::call::Call;
use crate::errors::DecidedAt;

impl Work for wire::AddMemberRequest {
    type Answer = wire::MembershipChange;
    const EVENT: &'static str = "AddClusterMember";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("node_id", member_id(self.member.as_ref()))])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let seen = token(&self.membership_token)?;
        let (id, member) = member("member", self.member)?;
        let deadline = call.context.deadline;
        let added = call.app.replica.add_member(id, member, seen, deadline).await;
        Ok(answer(call, added.map_err(|error| unchanged(&error))?))
    }
}

impl Work for wire::PromoteMemberRequest {
    type Answer = wire::MembershipChange;
    const EVENT: &'static str = "PromoteClusterMember";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("node_id", self.node_id.to_string())])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let seen = token(&self.membership_token)?;
        let deadline = call.context.deadline;
        let promoted = call.app.replica.promote_member(self.node_id, seen, deadline).await;
        Ok(answer(call, promoted.map_err(|error| unchanged(&error))?))
    }
}

impl Work for wire::RemoveMemberRequest {
    type Answer = wire::MembershipChange;
    const EVENT: &'static str = "RemoveClusterMember";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("node_id", self.node_id.to_string())])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let seen = token(&self.membership_token)?;
        let deadline = call.context.deadline;
        let removed = call.app.replica.remove_member(self.node_id, seen, deadline).await;
        Ok(answer(call, removed.map_err(|error| unchanged(&error))?))
    }
}

impl Work for wire::ReplaceMemberRequest {
    type Answer = wire::MembershipChange;
    const EVENT: &'static str = "ReplaceClusterMember";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        let new = member_id(self.new_member.as_ref());
        BTreeMap::from([("old_node_id", self.old_node_id.to_string()), ("new_node_id", new)])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let seen = token(&self.membership_token)?;
        let (id, member) = member("new_member", self.new_member)?;
        let (replica, deadline) = (&call.app.replica, call.context.deadline);
        let replaced = replica.replace_member(self.old_node_id, id, member, seen, deadline).await;
        Ok(answer(call, replaced.map_err(|error| unchanged(&error))?))
    }
}

impl Work for wire::TransferLeaderRequest {
    type Answer = wire::TransferLeaderResponse;
    const EVENT: &'static str = "TransferClusterLeader";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("node_id", self.node_id.to_string())])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let to = Some(self.node_id).filter(|id| *id != 0);
        let leader = call.app.replica.transfer_leader(to, call.context.deadline).await;
        let leader_id = leader.map_err(|error| unchanged(&error))?;
        Ok(wire::TransferLeaderResponse { leader_id })
    }
}

/// The membership that the operator saw, if it names one.
fn token(text: &str) -> Result<Option<MembershipToken>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let token = MembershipToken::parse(text);
    let wrong = || ApiError::invalid("membership_token", "is none that a status gives");
    token.map(Some).ok_or_else(wrong)
}

fn member(field: &str, member: Option<wire::Member>) -> Result<(NodeId, Member), ApiError> {
    let member = member.ok_or_else(|| ApiError::invalid(field, "is required"))?;
    Ok((member.node_id, Member::at(member.peer_address, member.api_address)))
}

fn member_id(member: Option<&wire::Member>) -> String {
    member.map(|member| member.node_id.to_string()).unwrap_or_default()
}

fn answer(call: &mut Call<'_>, changed: Changed) -> wire::MembershipChange {
    let Changed { changed, token, warning, lag, caught_up } = changed;
    call.observe(DecidedAt { index: token.index(), term: token.term() });
    wire::MembershipChange {
        changed,
        membership_token: token.to_string(),
        warning: warning.unwrap_or_default(),
        lag_entries: lag.unwrap_or_default(),
        caught_up,
    }
}
