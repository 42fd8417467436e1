//! Between the wire and openraft's types. No decision is taken here.

use bytes::Bytes;
use lockbox_proto::lockbox::peer::v1 as wire;
use openraft::LogId as OpenraftLogId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::store::{decode_entry, encode_entry};
use crate::types::{LogEntry, LogId, TypeConfig, Vote};

/// Why a message of a peer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConvertError {
    /// A field that must be there is not.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// An entry does not decode. Says which, never what.
    #[error("log entry {position} of the batch does not decode")]
    Entry {
        /// Its place in the batch.
        position: usize,
    },
}

/// A log id to its wire form. One leader leads a term, so the term alone names the leader; the
/// node id is left at zero.
pub(crate) fn log_id_to_wire(id: &LogId) -> wire::RaftLogId {
    wire::RaftLogId { term: id.committed_leader_id().term, node_id: 0, index: id.index() }
}

/// A log id from its wire form.
pub(crate) fn log_id_from_wire(id: &wire::RaftLogId) -> LogId {
    OpenraftLogId::new_term_index(id.term, id.index)
}

pub(super) fn vote_to_wire(vote: &Vote) -> wire::RaftVote {
    wire::RaftVote {
        term: vote.leader_id.term,
        node_id: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

fn vote_from_wire(vote: &wire::RaftVote) -> Vote {
    if vote.committed {
        Vote::new_committed(vote.term, vote.node_id)
    } else {
        Vote::new(vote.term, vote.node_id)
    }
}

pub(super) fn required_vote(vote: Option<&wire::RaftVote>) -> Result<Vote, ConvertError> {
    vote.map(vote_from_wire).ok_or(ConvertError::Missing("vote"))
}

pub(super) fn append_to_wire(
    request: &AppendEntriesRequest<TypeConfig>,
    header: wire::PeerHeader,
) -> wire::AppendRequest {
    wire::AppendRequest {
        header: Some(header),
        vote: Some(vote_to_wire(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(log_id_to_wire),
        entries: request.entries.iter().map(encode_entry).collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_wire),
    }
}

pub(super) fn append_from_wire(
    request: &wire::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, ConvertError> {
    let decode = |(position, encoded): (usize, &Bytes)| -> Result<LogEntry, ConvertError> {
        decode_entry(encoded).map_err(|_| ConvertError::Entry { position })
    };
    Ok(AppendEntriesRequest {
        vote: required_vote(request.vote.as_ref())?,
        prev_log_id: request.prev_log_id.as_ref().map(log_id_from_wire),
        entries: request.entries.iter().enumerate().map(decode).collect::<Result<_, _>>()?,
        leader_commit: request.leader_commit.as_ref().map(log_id_from_wire),
    })
}

pub(super) fn append_reply_to_wire(
    reply: &AppendEntriesResponse<TypeConfig>,
    wall_clock_ms: u64,
    disk_is_low: bool,
) -> wire::AppendReply {
    use wire::append_reply::Result as Wire;
    let result = match reply {
        AppendEntriesResponse::Success => Wire::Success(wire::AppendSuccess {}),
        AppendEntriesResponse::PartialSuccess(matching) => {
            Wire::Partial(wire::AppendPartial { matching: matching.as_ref().map(log_id_to_wire) })
        }
        AppendEntriesResponse::Conflict => Wire::Conflict(wire::AppendConflict {}),
        AppendEntriesResponse::HigherVote(vote) => Wire::HigherVote(vote_to_wire(vote)),
    };
    wire::AppendReply { wall_clock_ms, disk_is_low, result: Some(result) }
}

pub(super) fn append_reply_from_wire(
    reply: &wire::AppendReply,
) -> Result<AppendEntriesResponse<TypeConfig>, ConvertError> {
    use wire::append_reply::Result as Wire;
    Ok(match reply.result.as_ref().ok_or(ConvertError::Missing("result"))? {
        Wire::Success(wire::AppendSuccess {}) => AppendEntriesResponse::Success,
        Wire::Partial(partial) => {
            AppendEntriesResponse::PartialSuccess(partial.matching.as_ref().map(log_id_from_wire))
        }
        Wire::Conflict(wire::AppendConflict {}) => AppendEntriesResponse::Conflict,
        Wire::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote_from_wire(vote)),
    })
}

pub(super) fn vote_request_to_wire(
    request: &VoteRequest<TypeConfig>,
    header: wire::PeerHeader,
) -> wire::VoteRequest {
    wire::VoteRequest {
        header: Some(header),
        vote: Some(vote_to_wire(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_wire),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(super) fn vote_request_from_wire(
    request: &wire::VoteRequest,
) -> Result<VoteRequest<TypeConfig>, ConvertError> {
    let vote = required_vote(request.vote.as_ref())?;
    let mut converted = VoteRequest::new(vote, request.last_log_id.as_ref().map(log_id_from_wire));
    converted.leadership_transfer = request.leadership_transfer;
    Ok(converted)
}

pub(super) fn vote_reply_to_wire(reply: &VoteResponse<TypeConfig>) -> wire::VoteReply {
    wire::VoteReply {
        vote: Some(vote_to_wire(&reply.vote)),
        vote_granted: reply.vote_granted,
        last_log_id: reply.last_log_id.as_ref().map(log_id_to_wire),
    }
}

pub(super) fn vote_reply_from_wire(
    reply: &wire::VoteReply,
) -> Result<VoteResponse<TypeConfig>, ConvertError> {
    let vote = required_vote(reply.vote.as_ref())?;
    let last_log_id = reply.last_log_id.as_ref().map(log_id_from_wire);
    Ok(VoteResponse::new(vote, last_log_id, reply.vote_granted))
}

pub(super) fn transfer_to_wire(
    request: &TransferLeaderRequest<TypeConfig>,
    header: wire::PeerHeader,
) -> wire::TransferLeaderRequest {
    wire::TransferLeaderRequest {
        header: Some(header),
        from_leader: Some(vote_to_wire(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().map(log_id_to_wire),
    }
}

pub(super) fn transfer_from_wire(
    request: &wire::TransferLeaderRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, ConvertError> {
    let from = required_vote(request.from_leader.as_ref())?;
    let last_log_id = request.last_log_id.as_ref().map(log_id_from_wire);
    Ok(TransferLeaderRequest::new(from, request.to_node_id, last_log_id))
}

/// What became of a hand-over, as far as the leader that leaves needs to know.
pub(super) fn transfer_reply_from_wire(
    reply: &wire::TransferLeaderReply,
    request: &TransferLeaderRequest<TypeConfig>,
) -> Result<TransferLeaderResponse<TypeConfig>, ConvertError> {
    let actual = required_vote(reply.vote.as_ref())?;
    if reply.accepted {
        return Ok(Ok(()));
    }
    let expected = *request.from_leader();
    if actual == expected {
        let expected = request.last_log_id().copied();
        return Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual: None }));
    }
    Ok(Err(TransferLeaderError::VoteChanged { expected, actual }))
}
