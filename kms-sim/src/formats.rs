//! The formats of the KMS: what is on its disk, and what it hands out.

use lockbox_core::codec;
use lockbox_platform::formats::Format;

use crate::backup::header;
use crate::store::format::STORE_FORMAT;
use crate::{ciphertext, material};

/// All of them. `docs/upgrading.md` says what a change of one takes.
pub static FORMATS: [Format; 5] = [
    Format::only("store", STORE_FORMAT, "the data of the KMS; a newer one is refused"),
    Format::only("record", codec::FORMAT_VERSION as u32, "rows of the store, the ledger's too"),
    Format::only("key-material", material::WRAP_FORMAT as u32, "keys under the root key"),
    Format::only("kms-backup", header::FORMAT, "backups of the store"),
    Format::only("ciphertext", ciphertext::FORMAT as u32, "what Encrypt answers"),
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
            let row = format!("| `{name}` | {writes} | {reads_from} | {reads_to} |");
            assert!(text.contains(&row), "missing: {row}");
        }
    }
}
