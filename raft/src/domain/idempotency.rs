//! Records that make a repeated request return what the first one did (`contract §10`).

use std::time::Duration;

use lockbox_core::{LogTime, OperationId, RequestMac};
use minicbor::{Decode, Encode};

/// How long an `idempotency-key` is remembered, in log time (`design §8`: at least 24 h).
pub const IDEMPOTENCY_RETENTION: Duration = Duration::from_secs(25 * 3600);
/// How long an operation can be read (`contract §13` no. 27), and with it how long the request id
/// of its proposal is remembered: longer than any request's deadline.
pub const OPERATION_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long an operation is kept at least, whatever the cap on bytes: until every idempotency
/// record that names it is surely gone, for a retry that finds the record and not the operation
/// would be a new request.
pub const OPERATION_RETENTION_MIN: Duration = Duration::from_secs(26 * 3600);
/// Idempotency records that one subject may have; further keyed calls are refused.
pub const IDEMPOTENCY_RECORDS_MAX: u32 = 100_000;

/// What is kept for one (subject, method, key).
#[derive(Debug, Clone, Encode, Decode)]
pub struct IdempotencyRecord {
    /// The operation that the first call made.
    #[n(0)]
    pub operation_id: OperationId,
    /// Authenticator of the first request; another request under the same key is refused.
    #[n(1)]
    pub request_mac: RequestMac,
    /// The keyring key that made the authenticator.
    #[n(2)]
    pub mac_key_id: u32,
    /// When the record may go.
    #[n(3)]
    pub expires_at: LogTime,
}
