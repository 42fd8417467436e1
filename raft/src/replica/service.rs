//! The answering side between replicas: takes proposals and gives read points, as leader or not
//! at all. Never forwards: the hop limit is one (`design §5`).

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::trace_context::TRACEPARENT;
use lockbox_proto::lockbox::peer::v1 as wire;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::Instrument;
use wire::propose_reply::Result as ProposeResult;
use wire::read_index_reply::Result as ReadIndexResult;
use wire::replica_service_server::ReplicaService;

use super::attempt::{Attempt, NotTaken};
use super::error::NotProposedReason;
use super::leadership::Place;
use super::proposer::Proposer;
use super::read_point::ReadPoints;
use crate::domain::codec;
use crate::domain::command::Envelope;
use crate::network::{PeerGate, Sender, log_id_to_wire};
use crate::types::LogId;

/// A follower's deadline counts up to here: none of its callers waits longer.
const DEADLINE_MAX: Duration = Duration::from_secs(120);

/// The service `lockbox.peer.v1.ReplicaService` of one node.
pub struct ReplicaRpc {
    gate: Arc<PeerGate>,
    proposer: Arc<Proposer>,
    read_points: Arc<ReadPoints>,
}

impl ReplicaRpc {
    pub(super) const fn new(
        gate: Arc<PeerGate>,
        proposer: Arc<Proposer>,
        read_points: Arc<ReadPoints>,
    ) -> Self {
        Self { gate, proposer, read_points }
    }

    fn known_leader(&self) -> u64 {
        self.proposer.leadership.current().leader.unwrap_or(0)
    }

    fn not_proposed(&self, reason: NotProposedReason) -> ProposeResult {
        let reason = match reason {
            NotProposedReason::NoLeader | NotProposedReason::Refused => self.why_not_here(),
            NotProposedReason::QueueFull => wire::Reason::QueueFull,
            NotProposedReason::Draining => wire::Reason::Draining,
            NotProposedReason::Deadline => wire::Reason::Deadline,
            NotProposedReason::FeatureLevel => wire::Reason::FeatureLevel,
            NotProposedReason::NoRoom => wire::Reason::NoRoom,
        };
        let leader_id = self.known_leader();
        ProposeResult::NotProposed(wire::NotProposed { reason: reason.into(), leader_id })
    }

    fn why_not_here(&self) -> wire::Reason {
        match self.proposer.leadership.place() {
            Place::There(_) => wire::Reason::NotLeader,
            Place::Here | Place::Nowhere => wire::Reason::NoLeader,
        }
    }
}

/// The trace that a request belongs to, as its sender tells it.
fn traceparent(metadata: &MetadataMap) -> Option<&str> {
    metadata.get(TRACEPARENT)?.to_str().ok()
}

fn deadline(deadline_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(deadline_ms).min(DEADLINE_MAX)
}

#[tonic::async_trait]
impl ReplicaService for ReplicaRpc {
    async fn propose(
        &self,
        request: Request<wire::ProposeRequest>,
    ) -> Result<Response<wire::ProposeReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        self.gate.check(message.header.as_ref(), &extensions, Sender::Member)?;
        // No part of another trace than the follower's.
        let traceparent = traceparent(&metadata);
        let span = tracing::trace_span!(target: "lockbox_trace", "serve_proposal", traceparent);
        let envelope: Envelope = codec::decode(&message.envelope)
            .map_err(|error| Status::invalid_argument(format!("envelope: {error}")))?;
        let by = deadline(message.deadline_ms);
        let proposed = self.proposer.propose_for_peer(envelope, by).instrument(span).await;
        let result = match proposed {
            Err(reason) => self.not_proposed(reason),
            Ok(Attempt::Applied(applied)) => ProposeResult::Applied(wire::Applied {
                index: applied.index,
                term: applied.term,
                outcome: codec::encode(&applied.outcome).into(),
            }),
            Ok(Attempt::NotTaken(why)) => match why {
                NotTaken::Refused => return Err(Status::invalid_argument("envelope is refused")),
                NotTaken::NoLeader
                | NotTaken::TooLate
                | NotTaken::LeaseNotYet
                | NotTaken::QueueFull
                | NotTaken::LeaderDraining
                | NotTaken::FeatureLevel
                | NotTaken::NoRoom => self.not_proposed(why.reason()),
            },
            Ok(Attempt::Unknown | Attempt::Stopped) => ProposeResult::Unknown(wire::Unknown {}),
        };
        Ok(Response::new(wire::ProposeReply { result: Some(result) }))
    }

    async fn read_index(
        &self,
        request: Request<wire::ReadIndexRequest>,
    ) -> Result<Response<wire::ReadIndexReply>, Status> {
        let (_, extensions, message) = request.into_parts();
        self.gate.check(message.header.as_ref(), &extensions, Sender::Member)?;
        let by = deadline(message.deadline_ms);
        let point = match self.proposer.leadership.place() {
            Place::Here => self.read_points.give(by).await,
            Place::There(_) | Place::Nowhere => None,
        };
        let result = match point {
            Some(point) => ReadIndexResult::ReadPoint(wire::ReadPoint {
                read_log_id: Some(log_id_to_wire(&LogId::new_term_index(point.term, point.index))),
                applied: None,
                term: point.term,
                log_time_ms: point.log_time.as_ms(),
            }),
            None => ReadIndexResult::NoReadPoint(wire::NoReadPoint {
                reason: self.why_not_here().into(),
                leader_id: self.known_leader(),
            }),
        };
        Ok(Response::new(wire::ReadIndexReply { result: Some(result) }))
    }
}
