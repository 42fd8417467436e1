//! `x-consistency`: how fresh a read of metadata must be (`design §5`).

use lockbox_platform::headers;
use lockbox_platform::status::ApiError;

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
