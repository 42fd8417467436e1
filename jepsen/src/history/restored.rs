//! What a cluster answers that was restored from a backup.

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::call::Call;
use super::op::Stamp;

/// An answer of a cluster that was restored from a backup of the one under test, which has stopped
/// by then. No operation of the history: it reflects the state of the backup, whenever it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoredAnswer {
    /// When.
    pub at: Stamp,
    /// The restored cluster, from 1.
    pub cluster: u64,
    /// The last entry in the backup.
    pub index: u64,
    /// What was asked; always by the administrator.
    pub call: Call,
    /// What it answered.
    pub answer: Answer,
}
