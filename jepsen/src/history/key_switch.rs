//! Keys of the KMS that are switched off and on again while secrets are used with them (L6).
//!
//! No operation of a history: the KMS is asked, and the state of the nodes knows nothing of it.

use serde::{Deserialize, Serialize};

use super::ids::KmsKeyId;
use super::op::Stamp;

/// A step of switching a key. Of one key there is one switch at a time: what is acknowledged is
/// what was asked for last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySwitch {
    /// When.
    pub at: Stamp,
    /// The key.
    pub key: KmsKeyId,
    /// Whether it is switched on; else off.
    pub on: bool,
    /// Which step.
    pub step: SwitchStep,
}

/// The steps of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchStep {
    /// Before the first request leaves. From here on it may happen, until it is acknowledged.
    Asked,
    /// The KMS has answered that it is done. All attempts have one idempotency key, so a late one
    /// does nothing any more.
    Acknowledged,
}
