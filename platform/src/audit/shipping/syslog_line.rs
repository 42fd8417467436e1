//! A record as a message of RFC 5424.
//!
//! The message is the line itself, so that what arrives can be checked like the file: its number
//! and its hash are in the structured data.

use serde::Deserialize;

use super::Origin;
use super::reader::Shipped;

/// Facility 13: log audit.
const FACILITY: u8 = 13;
/// The number that RFC 5612 keeps for such uses, behind the name of the structured data.
const DATA_ID: &str = "lockbox@32473";
/// The longest that RFC 5424 lets the kind of a message be.
const KIND_MAX: usize = 32;

/// What of a record its receiver sorts by.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Told {
    #[serde(default)]
    pub(super) event_time: Option<String>,
    #[serde(default)]
    pub(super) event_type: Option<String>,
    #[serde(default)]
    event_status: Option<String>,
}

/// How much a record matters (`contract §6.2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Warning,
    Informational,
}

impl Severity {
    /// The number in RFC 5424.
    const fn number(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Informational => 6,
        }
    }
}

impl Told {
    pub(super) fn of(record: &Shipped) -> Self {
        serde_json::from_str(&record.line).unwrap_or_default()
    }

    pub(super) fn severity(&self) -> Severity {
        match self.event_status.as_deref() {
            Some("ERROR") => Severity::Error,
            Some("CANCELLED") => Severity::Warning,
            Some(_) | None => Severity::Informational,
        }
    }

    /// The event's name, without the service.
    fn kind(&self) -> &str {
        let event = self.event_type.as_deref().unwrap_or_default();
        event.rsplit('.').next().unwrap_or(event)
    }
}

/// The whole message.
pub(super) fn message(origin: &Origin, record: &Shipped) -> String {
    let told = Told::of(record);
    let head = head(origin, record, &told);
    format!("{head} {}", record.line)
}

/// A message in the place of one that is too long for its way.
pub(super) fn stand_in(origin: &Origin, record: &Shipped) -> String {
    let told = Told::of(record);
    let (head, bytes) = (head(origin, record, &told), record.line.len());
    format!("{head} this record has {bytes} bytes, more than the receiver takes: see the file")
}

fn head(origin: &Origin, record: &Shipped, told: &Told) -> String {
    let priority = FACILITY * 8 + told.severity().number();
    let time = printable(told.event_time.as_deref().unwrap_or_default(), usize::MAX);
    let (host, program) = (printable(&origin.host, 255), origin.program);
    let (kind, sequence, hash) =
        (printable(told.kind(), KIND_MAX), record.at.sequence, record.at.hash);
    format!(
        "<{priority}>1 {time} {host} {program} - {kind} \
         [{DATA_ID} sequence=\"{sequence}\" sha256=\"{hash}\"]"
    )
}

/// A field of the head: one word of ASCII, or a dash.
fn printable(text: &str, bytes_max: usize) -> &str {
    let fits = !text.is_empty() && text.len() <= bytes_max;
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) { text } else { "-" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::{ChainHead, LineHash};

    fn shipped(line: &str) -> Shipped {
        let at = ChainHead { sequence: 7, hash: LineHash::of(line.as_bytes()) };
        Shipped { at, line: line.to_owned() }
    }

    fn origin() -> Origin {
        Origin { program: "lockbox", host: "node-1".to_owned() }
    }

    #[test]
    fn a_record_is_a_message_that_holds_its_line() {
        let line = "{\"sequence\":7,\"event_time\":\"2027-01-15T08:00:00.123Z\",\
                    \"event_type\":\"yandex.cloud.audit.lockbox.GetPayload\",\
                    \"event_status\":\"ERROR\"}";
        let hash = LineHash::of(line.as_bytes());
        assert_eq!(
            message(&origin(), &shipped(line)),
            format!(
                "<107>1 2027-01-15T08:00:00.123Z node-1 lockbox - GetPayload \
                 [lockbox@32473 sequence=\"7\" sha256=\"{hash}\"] {line}"
            )
        );
    }

    #[test]
    fn a_head_is_one_line_of_words_whatever_the_record_says() {
        let line = "{\"event_time\":\"a b\\nc\",\"event_type\":\"x.y z\",\
                    \"event_status\":\"CANCELLED\"}";
        let message = message(&origin(), &shipped(line));
        assert!(message.starts_with("<108>1 - node-1 lockbox - - [lockbox@32473 "), "{message}");
        let stand_in = stand_in(&origin(), &shipped("no record"));
        assert!(stand_in.starts_with("<110>1 - node-1 "), "{stand_in}");
        assert!(stand_in.contains("has 9 bytes") && !stand_in.contains("no record"), "{stand_in}");
    }
}
