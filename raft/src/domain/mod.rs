//! The replicated domain: plain types and pure rules, without I/O, clock or randomness.
//!
//! Every record is encoded as CBOR with numbered fields ([`lockbox_core::codec`]) behind one format byte, so
//! that a later format can add fields that this one skips.

pub mod audit_head;
pub mod binding;
pub mod command;
pub mod erasure;
pub mod feature_level;
pub mod idempotency;
pub mod identity;
pub mod keyring;
pub mod kms_witness;
pub mod member;
pub mod metering;
pub mod operation;
pub mod outcome;
pub mod payload_mark;
pub mod read_report;
pub mod retention;
pub mod secret;
pub mod state_check;
pub mod version;

pub use binding::{AccessBinding, BindingDelta, BindingSet, DeltaAction, Versions};
pub use command::{Command, Envelope, IdempotencyClaim, TokenRef};
pub use lockbox_core::codec::{self, CodecError, decode, encode};
pub use outcome::{Outcome, Rejection};
