//! The calling side between replicas: hands proposals and read points to the leader, one hop.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::LogTime;
use lockbox_core::trace_context::{self, TRACEPARENT};
use lockbox_proto::lockbox::peer::v1 as wire;
use tokio::time::Instant;
use tonic::{Code, Request, Status};
use tracing::Instrument;
use wire::propose_reply::Result as ProposeResult;
use wire::read_index_reply::Result as ReadIndexResult;

use super::attempt::{Attempt, NotTaken};
use super::proposer::Applied;
use super::read_point::ReadPoint;
use crate::domain::codec;
use crate::domain::command::Envelope;
use crate::network::{
    ChannelPurpose, PeerLink, PeerLinks, Target, log_id_from_wire, was_never_sent,
};

/// The leader gets this much less than the caller has, so that its own answer "the deadline has
/// come, and nothing was proposed" arrives in time.
const ANSWER_MARGIN: Duration = Duration::from_millis(20);

/// Calls the leader.
#[derive(Clone)]
pub(super) struct Forwarder {
    links: Arc<PeerLinks>,
}

impl Forwarder {
    pub(super) const fn new(links: Arc<PeerLinks>) -> Self {
        Self { links }
    }

    /// Hands a proposal to the leader and waits for its answer.
    pub(super) async fn propose(
        &self,
        leader: &Target,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Attempt {
        let Some((link, header)) = self.reach(leader, deadline).await else {
            return Attempt::NotTaken(NotTaken::NoLeader);
        };
        let request = wire::ProposeRequest {
            header: Some(header),
            envelope: codec::encode(envelope).into(),
            deadline_ms: remaining_ms(deadline),
        };
        let mut client = link.replica();
        let span = tracing::trace_span!(
            target: "lockbox_trace",
            "forward_proposal",
            leader = leader.id,
        );
        let proposing = async move { client.propose(traced(request)).await }.instrument(span);
        match tokio::time::timeout_at(deadline, proposing).await {
            Err(_elapsed) => Attempt::Unknown,
            Ok(Err(status)) => {
                link.saw(&status);
                after_failure(&status)
            }
            Ok(Ok(reply)) => after_reply(reply.into_inner()),
        }
    }

    /// Asks the leader for a read point; `None` when it gave none, for whatever reason.
    pub(super) async fn read_index(&self, leader: &Target, deadline: Instant) -> Option<ReadPoint> {
        let (link, header) = self.reach(leader, deadline).await?;
        let deadline_ms = remaining_ms(deadline);
        let request = wire::ReadIndexRequest { header: Some(header), deadline_ms };
        let mut client = link.replica();
        let reply = tokio::time::timeout_at(deadline, client.read_index(request)).await.ok()?;
        let reply = reply.inspect_err(|status| link.saw(status)).ok()?.into_inner();
        match reply.result? {
            ReadIndexResult::ReadPoint(point) => {
                let index = point.read_log_id.as_ref().map_or(0, |id| log_id_from_wire(id).index());
                // A leader's time is never zero: a point without it would be judged by nothing.
                (point.log_time_ms > 0).then(|| ReadPoint {
                    index,
                    term: point.term,
                    log_time: LogTime::from_ms(point.log_time_ms),
                })
            }
            ReadIndexResult::NoReadPoint(_) => None,
        }
    }

    async fn reach(&self, leader: &Target, by: Instant) -> Option<(PeerLink, wire::PeerHeader)> {
        let link = match self.links.link(leader, ChannelPurpose::Forward) {
            Ok(link) => link,
            Err(error) => {
                tracing::warn!(%error, "the leader cannot be called");
                return None;
            }
        };
        let header = tokio::time::timeout_at(by, link.header()).await.ok()?.ok()?;
        Some((link, header))
    }
}

/// A request that tells the leader of the trace that it belongs to, if that is recorded.
fn traced<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let told = trace_context::current().and_then(|context| context.to_string().parse().ok());
    if let Some(value) = told {
        request.metadata_mut().insert(TRACEPARENT, value);
    }
    request
}

fn remaining_ms(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(ANSWER_MARGIN);
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

/// A failed call: nothing was proposed only where the leader says so, or nothing left this node.
fn after_failure(status: &Status) -> Attempt {
    if was_never_sent(status) {
        return Attempt::NotTaken(NotTaken::NoLeader);
    }
    match status.code() {
        // The checks in front of the leader's proposer answer with these, and nothing else does.
        Code::PermissionDenied
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::Unimplemented => Attempt::NotTaken(NotTaken::Refused),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => Attempt::Unknown,
    }
}

fn after_reply(reply: wire::ProposeReply) -> Attempt {
    match reply.result {
        Some(ProposeResult::Applied(applied)) => match codec::decode(&applied.outcome) {
            Ok(outcome) => {
                let (index, term) = (applied.index, applied.term);
                Attempt::Applied(Box::new(Applied { index, term, outcome }))
            }
            Err(error) => {
                tracing::error!(%error, "the leader's outcome does not decode");
                Attempt::Unknown
            }
        },
        Some(ProposeResult::NotProposed(refusal)) => Attempt::NotTaken(match refusal.reason() {
            wire::Reason::QueueFull => NotTaken::QueueFull,
            wire::Reason::Draining => NotTaken::LeaderDraining,
            wire::Reason::Deadline => NotTaken::TooLate,
            wire::Reason::FeatureLevel => NotTaken::FeatureLevel,
            wire::Reason::NoRoom => NotTaken::NoRoom,
            wire::Reason::NotLeader | wire::Reason::NoLeader | wire::Reason::Unspecified => {
                NotTaken::NoLeader
            }
        }),
        Some(ProposeResult::Unknown(_)) | None => Attempt::Unknown,
    }
}
