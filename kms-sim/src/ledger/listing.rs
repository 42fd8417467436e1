//! Every record of the ledger, one JSON object a line: for whoever compares it with other books.
//!
//! Promises the order of the commit sequence, and that a line holds what the record holds: ids and
//! counts. Refuses to judge; `billing verify` does.

use std::io::{self, Write};

use lockbox_core::codec;
use serde::Serialize;

use super::record::{self, CHAIN_BYTES, LedgerRecord};
use crate::store::records::KeyScope;
use crate::store::tables::Table;
use crate::store::{StoreError, View};

/// Why the ledger was not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// The store cannot be read, or a record does not decode.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// A record as it is printed.
#[derive(Debug, Serialize)]
struct ListedRecord<'a> {
    sequence: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    time_ms: u64,
    operation: &'static str,
    key_id: &'a str,
    key_version_id: &'a str,
    folder_id: &'a str,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    /// Id of the client's request.
    request_id: &'a str,
    /// In hexadecimal, as in the audit of nodes and KMS.
    #[serde(skip_serializing_if = "String::is_empty")]
    kms_request_id: String,
    /// Whether the key is the installation's own.
    system: bool,
    billable: bool,
    units: u32,
}

/// Prints all records.
///
/// # Errors
/// [`ListingError`].
pub fn list(view: &View<'_>, output: &mut dyn Write) -> Result<(), ListingError> {
    for row in view.scan(Table::Ledger, b"", b"") {
        let (_, value) = row?;
        // Whether it follows from the one before it is not asked here.
        let (record, ..) = record::decode(&value, &[0; CHAIN_BYTES])
            .map_err(|error: codec::CodecError| StoreError::undecodable(Table::Ledger, &error))?;
        serde_json::to_writer(&mut *output, &listed(&record)).map_err(io::Error::from)?;
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(())
}

fn listed(record: &LedgerRecord) -> ListedRecord<'_> {
    let LedgerRecord { sequence, time, entry, billable, units } = record;
    ListedRecord {
        sequence: *sequence,
        time_ms: time.as_ms(),
        operation: entry.operation.as_str(),
        key_id: entry.target.key_id.as_str(),
        key_version_id: entry.target.version_id.as_str(),
        folder_id: entry.folder_id.as_str(),
        subject: entry.subject.to_string(),
        node: entry.node.as_deref(),
        request_id: &entry.request_id,
        kms_request_id: hex::encode(&entry.kms_request_id),
        system: entry.scope == KeyScope::System,
        billable: *billable,
        units: *units,
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::LogTime;

    use super::super::record::CryptoOperation;
    use super::super::record::tests::entry;
    use super::*;

    #[test]
    fn a_line_says_what_the_record_says() {
        let record = LedgerRecord {
            sequence: 7,
            time: LogTime::from_ms(1),
            entry: entry(CryptoOperation::Decrypt, "k", "v"),
            billable: true,
            units: 1,
        };
        let line = serde_json::to_value(listed(&record)).unwrap();
        let expected = serde_json::json!({
            "sequence": 7, "time_ms": 1, "operation": "Decrypt",
            "key_id": "k", "key_version_id": "v", "folder_id": "folder",
            "subject": "serviceAccount:sa", "request_id": "request",
            "kms_request_id": "01010101010101010101010101010101",
            "system": false, "billable": true, "units": 1,
        });
        assert_eq!(line, expected);
    }
}
