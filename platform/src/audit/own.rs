//! What the audit records of itself.

use serde::{Deserialize, Serialize};

use crate::audit::chain::LineHash;
use crate::audit::record::{AuditTime, EventStatus};

/// A crash had left a part of a line behind the last whole one, and it was cut off.
const TORN_LINE: &str = "lockbox.audit.TornLine";
/// A finished file was one too many, and is removed.
pub(crate) const FILE_REMOVED: &str = "lockbox.audit.FileRemoved";

/// The envelope: what of the contract's fields means something here.
#[derive(Serialize)]
struct Own<D> {
    event_source: &'static str,
    event_type: &'static str,
    event_time: AuditTime,
    event_status: EventStatus,
    details: D,
}

impl<D: Serialize> Own<D> {
    fn to_json(
        event_type: &'static str,
        event_time: AuditTime,
        details: D,
    ) -> Result<String, serde_json::Error> {
        let event_status = EventStatus::Done;
        let own = Self { event_source: "audit", event_type, event_time, event_status, details };
        serde_json::to_string(&own)
    }
}

#[derive(Serialize)]
struct TornLine {
    torn_bytes: u64,
    /// Of the part that was cut off, so that it can be told apart from any other.
    torn_hash: String,
}

#[derive(Serialize, Deserialize)]
struct FileRemoved {
    last_sequence: u64,
}

/// A torn line was cut off.
pub(crate) fn torn_line(
    now: AuditTime,
    torn_bytes: u64,
    torn_hash: LineHash,
) -> Result<String, serde_json::Error> {
    Own::to_json(TORN_LINE, now, TornLine { torn_bytes, torn_hash: torn_hash.to_string() })
}

/// The file that ends with this record is about to be removed, for it is older than what is kept.
pub(crate) fn file_removed(
    now: AuditTime,
    last_sequence: u64,
) -> Result<String, serde_json::Error> {
    Own::to_json(FILE_REMOVED, now, FileRemoved { last_sequence })
}

/// The last record of the file that a line says is removed; nothing for any other line.
pub(crate) fn removed_through(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Removal {
        details: FileRemoved,
    }
    serde_json::from_slice::<Removal>(line).ok().map(|removal| removal.details.last_sequence)
}
