//! From a failed call to what openraft does about it: back off, or try again at once.

use std::error::Error;
use std::time::Duration;

use lockbox_core::NodeId;
use openraft::RPCTypes;
use openraft::errors::{NetworkError, RPCError, Timeout, Unreachable};
use tonic::{Code, Status};

use super::convert::ConvertError;
use crate::types::TypeConfig;

/// The call that failed, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// The node that sends.
    pub(super) source: NodeId,
    /// The node that is called.
    pub(super) target: NodeId,
    /// Which call.
    pub(super) action: RPCTypes,
}

impl Call {
    /// The peer answered with a failure, or could not be reached.
    ///
    /// A peer that is down, that stops or that refuses us arms the backoff; anything else is
    /// taken for a single broken connection (`openraft.md §2.5`).
    pub(super) fn failed(&self, status: &Status) -> RPCError<TypeConfig> {
        let down = was_never_sent(status);
        match status.code() {
            Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::Unimplemented
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::DataLoss => self.unreachable(status.message()),
            Code::Unavailable if down => self.unreachable(&describe(status)),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable => self.broken(&describe(status)),
        }
    }

    /// The peer did not answer in time.
    pub(super) fn timed_out(&self, timeout: Duration) -> RPCError<TypeConfig> {
        let (action, id, target) = (self.action, self.source, self.target);
        RPCError::Timeout(Timeout { action, id, target, timeout })
    }

    /// The peer answered with something that is no answer.
    pub(super) fn malformed(&self, error: &ConvertError) -> RPCError<TypeConfig> {
        self.unreachable(&error.to_string())
    }

    /// One connection broke.
    pub(super) fn broken(&self, why: &str) -> RPCError<TypeConfig> {
        RPCError::Network(NetworkError::from_string(self.message(why)))
    }

    /// The peer is down, or will not talk to us for a while.
    pub(super) fn unreachable(&self, why: &str) -> RPCError<TypeConfig> {
        RPCError::Unreachable(Unreachable::from_string(self.message(why)))
    }

    fn message(&self, why: &str) -> String {
        format!("{} to node {}: {why}", self.action, self.target)
    }
}

/// Whether the call failed before any byte of it left this node.
pub(crate) fn was_never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The message with its innermost cause: "transport error" alone says nothing.
pub(super) fn describe(status: &Status) -> String {
    let mut innermost: Option<&dyn Error> = status.source();
    while let Some(next) = innermost.and_then(Error::source) {
        innermost = Some(next);
    }
    match innermost {
        Some(cause) => format!("{} ({cause})", status.message()),
        None => status.message().to_owned(),
    }
}
