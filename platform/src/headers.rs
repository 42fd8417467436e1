//! The names of headers and metadata that both servers read and write (`contract §10`,
//! `design §3`).

/// The caller's token.
pub const AUTHORIZATION: &str = "authorization";
/// One for each logical mutation.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The request's id, both ways.
pub const REQUEST_ID: &str = "x-request-id";
/// The client's id of the request.
pub const CLIENT_REQUEST_ID: &str = "x-client-request-id";
/// The client's id of several requests.
pub const CLIENT_TRACE_ID: &str = "x-client-trace-id";
/// The server's id of what it did for the request.
pub const SERVER_TRACE_ID: &str = "x-server-trace-id";
/// Which attempt this is, by some clients.
pub const RETRY_ATTEMPT: &str = "x-retry-attempt";
/// Our extension: add the version only if this one is current.
pub const IF_VERSION: &str = "x-if-version";
/// Our extension: how fresh a metadata read must be.
pub const CONSISTENCY: &str = "x-consistency";
/// Our extension: answer from a state that has this Raft index, a freshness token from the
/// [`INDEX`] of an earlier answer.
pub const MIN_INDEX: &str = "lockbox-min-index";
/// Those that decide what a call does. Each says one thing: twice, it says nothing.
pub const DECISIVE: [&str; 4] = [IDEMPOTENCY_KEY, IF_VERSION, CONSISTENCY, MIN_INDEX];
/// The client's program.
pub const USER_AGENT: &str = "user-agent";
/// The time that a gRPC call may take.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";
/// The code of a gRPC answer.
pub const GRPC_STATUS: &str = "grpc-status";
/// The Raft index that an answer reflects.
pub const INDEX: &str = "lockbox-index";
/// The Raft term that an answer reflects.
pub const TERM: &str = "lockbox-term";
/// What the caller may conclude from an error.
pub const OUTCOME: &str = "lockbox-outcome";
/// Nothing was handed to Raft.
pub const OUTCOME_NOT_PROPOSED: &str = "not-proposed";
/// The answer is this node's own view, however old.
pub const STALE: &str = "lockbox-stale";
/// The node that answered.
pub const SERVED_BY: &str = "lockbox-served-by";
/// The node that leads, as far as the one that answers knows.
pub const LEADER: &str = "lockbox-leader";
/// The commit sequence of the KMS that an answer reflects.
pub const KMS_INDEX: &str = "kms-index";
/// What every header of ours begins with, in answers.
pub const OWN_PREFIXES: [&str; 2] = ["lockbox-", "kms-"];
