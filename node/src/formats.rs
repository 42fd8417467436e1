//! The formats of a node: what is on its disk, in its log and on the wire between nodes.

use lockbox_core::codec;
use lockbox_platform::formats::Format;
use lockbox_raft::domain::feature_level::FEATURE_LEVEL_MAX;
use lockbox_raft::network::{PROTOCOL_MAX, PROTOCOL_MIN};
use lockbox_raft::store::{ENTRY_FORMAT, FORMAT_VERSION, MANIFEST_FORMAT};

use crate::backup::content::CONTENT_FORMAT;
use crate::seal::SEAL_FORMAT;

/// All of them. `docs/upgrading.md` says what a change of one takes.
pub static FORMATS: [Format; 8] = [
    Format::only("directory", FORMAT_VERSION, "the data directory: IDENTITY and what is beside it"),
    Format::only("log-entry", ENTRY_FORMAT as u32, "entries, on disk and between nodes"),
    Format::only("record", codec::FORMAT_VERSION as u32, "commands, and rows of the state"),
    Format::only("snapshot", MANIFEST_FORMAT, "the manifest of a snapshot"),
    Format::only("payload", SEAL_FORMAT as u32, "sealed payloads"),
    Format::only("backup", CONTENT_FORMAT, "the content of a backup of the cluster"),
    Format {
        name: "peer-protocol",
        writes: PROTOCOL_MAX,
        reads_from: PROTOCOL_MIN,
        reads_to: PROTOCOL_MAX,
        what: "calls between nodes; the highest that both speak",
    },
    Format {
        name: "feature-level",
        writes: FEATURE_LEVEL_MAX,
        reads_from: 0,
        reads_to: FEATURE_LEVEL_MAX,
        what: "what the log may use; the cluster's own is in its status",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A release is chosen by these numbers, so they are written down for people.
    #[test]
    fn the_documentation_agrees() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/upgrading.md");
        let text = std::fs::read_to_string(path).unwrap();
        for format in FORMATS {
            let Format { name, writes, reads_from, reads_to, .. } = format;
            assert!((reads_from..=reads_to).contains(&writes), "{name}");
            let row = format!("| `{name}` | {writes} | {reads_from} | {reads_to} |");
            assert!(text.contains(&row), "missing: {row}");
        }
    }
}
