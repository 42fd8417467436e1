//! What surrounds a command: who asks, by which token, and as which attempt.

use std::fmt;

use lockbox_core::{
    AuthorizedKeyId, LogTime, OperationId, RequestId, RequestMac, Subject, TokenId, TokenMaker,
    VersionId,
};
use minicbor::{Decode, Encode};

use super::Command;
use crate::domain::idempotency::IdempotencyRecord;

/// A command with everything that `apply` needs to decide it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Envelope {
    /// Names the attempt; a retry of the same proposal keeps it.
    #[n(0)]
    pub request_id: RequestId,
    /// Who asks; authenticated by the node that received the request.
    #[n(1)]
    pub subject: Subject,
    /// The token that proved it; absent for what the system does by itself.
    #[n(2)]
    pub token: Option<TokenRef>,
    /// The id of the operation that a success makes.
    #[n(3)]
    pub operation_id: OperationId,
    /// The caller's `idempotency-key`, if one came with the request.
    #[n(4)]
    pub idempotency: Option<IdempotencyClaim>,
    /// `x-if-version`: refuse unless this version is current.
    #[n(5)]
    pub if_version: Option<VersionId>,
    /// Stamped by the leader; zero until then.
    #[n(6)]
    pub proposed_at: LogTime,
    /// What to do.
    #[n(7)]
    pub command: Command,
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} by {}", self.request_id, self.command.name(), self.subject)
    }
}

/// What of a token matters to `apply`: that it is alive at the command's time.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TokenRef {
    /// Names the token in the revocation list.
    #[n(0)]
    pub token_id: TokenId,
    /// The authorized key that it was issued for, of its maker if it has one; a token dies with it
    /// (`design §7`).
    #[n(1)]
    pub credential_id: Option<AuthorizedKeyId>,
    /// The end of its life, on the log's clock.
    #[n(2)]
    pub expires_at: LogTime,
    /// Another account that had it made.
    #[n(3)]
    pub maker: Option<TokenMaker>,
}

/// A caller's `idempotency-key` and what authenticates the request that it came with.
#[derive(Clone, Encode, Decode)]
pub struct IdempotencyClaim {
    /// The gRPC method, part of the key's scope.
    #[n(0)]
    pub method: String,
    /// The key as sent.
    #[n(1)]
    pub key: String,
    /// HMAC of the canonical request under a keyring key (`design §8`).
    #[n(2)]
    pub request_mac: RequestMac,
    /// Which keyring key.
    #[n(3)]
    pub mac_key_id: u32,
}

impl IdempotencyClaim {
    /// Whether the request that `record` remembers is this claim's own.
    #[must_use]
    pub fn is_of(&self, record: &IdempotencyRecord) -> bool {
        self.mac_key_id == record.mac_key_id && self.request_mac.is(&record.request_mac)
    }
}

// Not derived: an authenticator has no `==`.
impl PartialEq for IdempotencyClaim {
    fn eq(&self, other: &Self) -> bool {
        let Self { method, key, request_mac, mac_key_id } = self;
        *method == other.method
            && *key == other.key
            && *mac_key_id == other.mac_key_id
            && request_mac.is(&other.request_mac)
    }
}

impl Eq for IdempotencyClaim {}
