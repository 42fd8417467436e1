//! From the replica's refusals of a change to the one API error.

use std::time::Duration;

use lockbox_platform::status::{ApiError, ErrorKind, Outcome, Precondition};
use lockbox_raft::replica::ChangeError;

/// When to try again what met another change.
const BUSY_RETRY: Duration = Duration::from_secs(1);
/// When to try again what met no leader.
const LEADER_RETRY: Duration = Duration::from_millis(100);

/// Maps a change that was not made, or of which that is not known.
pub(super) fn unchanged(error: &ChangeError) -> ApiError {
    let message = error.to_string();
    let unavailable = || ErrorKind::Unavailable { retry_after: Some(LEADER_RETRY) };
    let precondition = |kind: &'static str| Precondition {
        kind,
        subject: String::new(),
        description: message.clone(),
    };
    let (kind, outcome) = match error {
        ChangeError::NotLeader(leader) => {
            let message = match leader {
                Some((id, member)) => {
                    format!("this node does not lead; node {id} at {} does", member.peer_address)
                }
                None => "this node does not lead, and knows nobody who does".to_owned(),
            };
            return ApiError::new(unavailable(), message, Outcome::NotProposed);
        }
        ChangeError::Deadline => (unavailable(), Outcome::NotProposed),
        ChangeError::Busy => {
            let retry_after = Some(BUSY_RETRY);
            (ErrorKind::Aborted { precondition: None, retry_after }, Outcome::NotProposed)
        }
        ChangeError::Conflict { .. } => {
            let precondition = Some(precondition("MEMBERSHIP"));
            (ErrorKind::Aborted { precondition, retry_after: None }, Outcome::NotProposed)
        }
        ChangeError::Refused(_) => {
            (ErrorKind::FailedPrecondition(precondition("MEMBERSHIP")), Outcome::NotProposed)
        }
        ChangeError::Unreachable(_) => {
            (ErrorKind::FailedPrecondition(precondition("NODE")), Outcome::NotProposed)
        }
        // Something was proposed; the same call goes on from there.
        ChangeError::StillBehind { .. } | ChangeError::Unknown(_) | ChangeError::Stopped => {
            (unavailable(), Outcome::Unknown)
        }
    };
    ApiError::new(kind, message, outcome)
}

#[cfg(test)]
mod tests {
    use lockbox_raft::replica::{ChangeRefusal, MembershipToken};
    use lockbox_raft::types::Member;
    use tonic::Code;

    use super::*;

    #[test]
    fn a_call_is_repeated_elsewhere_or_not_at_all() {
        let leader = Member::at("n2:1".into(), "n2:2".into());
        let elsewhere = unchanged(&ChangeError::NotLeader(Some((2, leader))));
        assert_eq!(elsewhere.code(), Code::Unavailable);
        assert_eq!(elsewhere.message(), "this node does not lead; node 2 at n2:1 does");
        let seen = MembershipToken::default();
        let conflict = unchanged(&ChangeError::Conflict { expected: seen, actual: seen });
        assert_eq!((conflict.code(), conflict.outcome()), (Code::Aborted, Outcome::NotProposed));
        let refused = unchanged(&ChangeError::Refused(ChangeRefusal::IdUsed(4)));
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("never used again"), "{refused}");
        let unknown = unchanged(&ChangeError::Unknown("lost".into()));
        assert_eq!((unknown.code(), unknown.outcome()), (Code::Unavailable, Outcome::Unknown));
    }
}
