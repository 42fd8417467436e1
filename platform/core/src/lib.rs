//! Pure building blocks of Lockbox: ids, subjects, roles, sensitive values, time and randomness.
//!
//! Promises: no I/O, no clock and no randomness of its own (both come in through traits), so that
//! the replicated state machine may use everything here. Refuses to know: tokio, tonic, RocksDB.

pub mod access;
pub mod clock;
pub mod codec;
pub mod exit;
pub mod id;
pub mod mac;
pub mod mutants;
pub mod resource;
pub mod role;
pub mod sensitive;
pub mod stack;
pub mod subject;
pub mod trace_context;

pub use access::{AccessQuery, Decision, is_allowed};
pub use clock::{Clock, LogTime, Randomness};
pub use exit::ExitCode;
pub use id::{
    AuthorizedKeyId, CloudId, ClusterId, FolderId, IdError, KMS_AUDIT_ID, KmsKeyId,
    KmsKeyVersionId, NODE_ID_MAX, NodeId, OperationId, OrganizationId, RequestId, SecretId,
    ServiceAccountId, TokenId, VersionId,
};
pub use mac::RequestMac;
pub use mutants::{Mutant, mutant};
pub use resource::{ResourceKind, ResourcePath, ResourceRef};
pub use role::{Permission, Role};
pub use sensitive::{Sensitive, SensitiveBytes, SensitiveString};
pub use stack::with_wiped_stack;
pub use subject::{Subject, SubjectKind, SystemSubject, TokenMaker};
pub use trace_context::TraceContext;
