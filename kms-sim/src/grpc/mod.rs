//! The gRPC services: the only place that knows messages, statuses and the audit envelope.

pub(crate) mod access;
pub(crate) mod admin;
mod attended;
pub(crate) mod audit_head;
pub(crate) mod automatic;
mod backup_stream;
mod bindings;
mod call;
mod convert;
pub(crate) mod crypto;
mod events;
pub(crate) mod keys;
mod lists;
mod mutations;
pub(crate) mod operation;
mod operations;
mod status;
pub(crate) mod unread;

use std::sync::Arc;

use lockbox_core::{Clock, Randomness};
use lockbox_platform::audit::AuditorHandle;
use lockbox_platform::detach::Calls;
use lockbox_platform::exit::FatalExit;
use lockbox_platform::rate::RateLimits;

use crate::audit_head::AuditHeads;
use crate::authn::Authenticator;
use crate::config::Periods;
use crate::engine::Engine;
use crate::metrics::KmsMetrics;
use crate::usage::KeyOperations;

/// What every service needs.
pub(crate) struct Edge {
    /// Keys, ledger, crypto.
    pub(crate) engine: Arc<Engine>,
    /// Who calls.
    pub(crate) authenticator: Authenticator,
    /// What they did.
    pub(crate) auditor: AuditorHandle,
    /// How far that has come, for the cluster that anchors it.
    pub(crate) audit_heads: AuditHeads,
    /// How often.
    pub(crate) metrics: KmsMetrics,
    /// And with which key, for its series.
    pub(crate) key_operations: KeyOperations,
    /// When.
    pub(crate) clock: Arc<dyn Clock>,
    /// For the ids of events.
    pub(crate) random: Arc<dyn Randomness>,
    /// Calls under way: each runs to its audit record, even when its caller hangs up.
    pub(crate) calls: Calls,
    /// Ends the process when the store fails.
    pub(crate) fatal: FatalExit,
    /// Names in certificates that may do an operator's work.
    pub(crate) operators: Vec<String>,
    /// How many requests of one subject are taken.
    pub(crate) rate: RateLimits,
    /// What requests may ask for.
    pub(crate) periods: Periods,
}
