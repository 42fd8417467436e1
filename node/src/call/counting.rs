//! What a call counts against (`contract §9`, `§13` no. 37).

use lockbox_platform::rate::Counted;
use lockbox_platform::status::ApiError;
use lockbox_raft::apply::identify;

use super::Call;
use crate::authn::Caller;

/// The method that revokes tokens.
const REVOCATION: &str = "/yandex.cloud.iam.v1.IamTokenService/Revoke";

impl Call<'_> {
    /// Counts the call of this caller.
    ///
    /// A signature outlives the revocation of its token, so it alone says too little about whose
    /// limit a request may use up: the node's own view is asked, at the cost of a few point reads.
    /// What that view does not know yet is counted a moment later.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED, with the time to come back.
    pub(super) fn count(&self, caller: &Caller) -> Result<(), ApiError> {
        let rate = &self.app.rate;
        if !rate.is_limited() {
            return Ok(());
        }
        let by_itself = self.context.method == REVOCATION || !self.counts_here(caller)?;
        let counted = if by_itself {
            Counted::Token(caller.token.token_id.clone())
        } else {
            Counted::Subject(caller.subject.clone())
        };
        rate.admit(&counted)
    }

    /// Whether the caller's token counts by this node's own view, of which nothing can be said
    /// before the node has learnt the time.
    fn counts_here(&self, caller: &Caller) -> Result<bool, ApiError> {
        let looked = self.app.replica.read_stale(|view, now| {
            now.is_some_and(|now| identify(view, &caller.subject, Some(&caller.token), now).is_ok())
        });
        let looked = looked.map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(looked.value)
    }
}
