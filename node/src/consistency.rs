//! `x-consistency` and `lockbox-min-index`: how fresh a read must be (`design §5`).

use std::time::Duration;

use lockbox_platform::headers;
use lockbox_platform::status::ApiError;
use lockbox_raft::domain::Rejection;

use crate::waiting_room::WaitingRoom;

/// How long a stale read waits for an index at most. A node that follows has it within
/// milliseconds; with one that does not, the caller is better off elsewhere.
pub(crate) const CATCHING_UP_MAX: Duration = Duration::from_secs(5);
/// Stale reads of one node that wait for an index. Each is woken by every batch that is applied.
const CATCHING_UP_CALLS_MAX: usize = 512;
/// When to come back while so many wait.
const CATCHING_UP_RETRY: Duration = Duration::from_millis(200);

/// How fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Everything acknowledged before the call; what a caller gets who says nothing.
    #[default]
    Linearizable,
    /// What this node has, however old. The answer says `lockbox-stale: true`.
    Stale,
}

impl Consistency {
    /// Reads the header.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a word that is neither.
    pub fn parse(header: Option<&str>) -> Result<Self, ApiError> {
        match header {
            None | Some("linearizable") => Ok(Self::Linearizable),
            Some("stale") => Ok(Self::Stale),
            Some(_) => {
                Err(ApiError::invalid(headers::CONSISTENCY, "is neither linearizable nor stale"))
            }
        }
    }

    /// Refuses a stale answer where none can be given: payloads, tokens, access bindings, and
    /// everything that changes something.
    ///
    /// # Errors
    /// INVALID_ARGUMENT.
    pub fn demand_linearizable(self) -> Result<(), ApiError> {
        match self {
            Self::Linearizable => Ok(()),
            Self::Stale => {
                let problem = "stale is only for reads of secrets' metadata";
                Err(ApiError::invalid(headers::CONSISTENCY, problem))
            }
        }
    }
}

/// Reads `lockbox-min-index`: the index that the answer must reflect at least.
///
/// # Errors
/// INVALID_ARGUMENT for what is no index.
pub fn min_index(header: Option<&str>) -> Result<Option<u64>, ApiError> {
    let Some(text) = header else { return Ok(None) };
    // Digits alone: `parse` takes a sign, too.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let index = if digits { text.parse().ok() } else { None };
    let wrong = || ApiError::invalid(headers::MIN_INDEX, "is not the index of an answer");
    index.map(Some).ok_or_else(wrong)
}

/// Refuses an index that is ahead of what a view behind the read barrier has applied. Every index
/// that was told before the call is committed, so it is in that view: this one is of no answer of
/// this cluster, and waiting for it would be waiting for others to write.
pub(crate) fn within_log(min_index: Option<u64>, applied: u64) -> Result<(), Rejection> {
    match min_index {
        Some(index) if index > applied => Err(Rejection::InvalidArgument {
            field: headers::MIN_INDEX.to_owned(),
            description: "is ahead of the log".to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Where stale reads wait for an index.
#[must_use]
pub fn waiting_room() -> WaitingRoom {
    let full = "too many reads wait for what this node has not applied";
    WaitingRoom::new(CATCHING_UP_CALLS_MAX, full, CATCHING_UP_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_in_the_log_and_the_rest_is_refused() {
        for within in [None, Some(0), Some(7)] {
            assert_eq!(within_log(within, 7), Ok(()));
        }
        let refused = within_log(Some(8), 7).unwrap_err();
        assert_eq!(refused.to_string(), "lockbox-min-index: is ahead of the log");
    }

    #[test]
    fn an_index_is_a_number_and_nothing_else() {
        assert_eq!(min_index(None), Ok(None));
        assert_eq!(min_index(Some("0")), Ok(Some(0)));
        assert_eq!(min_index(Some("18446744073709551615")), Ok(Some(u64::MAX)));
        for wrong in ["", " 1", "+1", "-1", "1.0", "x", "18446744073709551616"] {
            let refused = min_index(Some(wrong)).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{wrong}");
            assert!(refused.message().starts_with("lockbox-min-index: "), "{refused}");
        }
    }
}
