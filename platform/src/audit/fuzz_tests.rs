//! Fuzz target: whatever a crash, a disk or somebody with an editor has left as an audit file, it is
//! gone on with or refused, never a panic.

use super::file::{self, AuditOpenError};
use super::fuzz::fuzz;

#[test]
fn fuzz_an_audit_file_is_gone_on_with_or_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("audit.log");
    let files = [
        "",
        "{\"sequence\":7,\"event_id\":\"e\",\"details\":{\"secret_id\":\"e6q1\"}}\n",
        "{\"sequence\":7}\n{\"sequence\":8,\"ev",
        "{\"sequence\":7}\n{\"se\n{\"sequence\":8,\"event_type\":\"lockbox.audit.TornLine\"}\n",
        "{\"sequence\":18446744073709551615}\n",
        "not ours\n",
    ];
    let files = files.map(|text| text.as_bytes().to_vec());
    fuzz("audit-file", &files, |bytes| {
        std::fs::write(&path, bytes).expect("a written file");
        let next = file::open(&path).map_err(|error| kind(&error))?.next_sequence;
        // What was torn is closed off now, and so there is nothing more to do.
        let again = file::open(&path).map_err(|error| kind(&error))?.next_sequence;
        assert_eq!(again, next);
        Ok::<_, &str>(())
    });
}

const fn kind(error: &AuditOpenError) -> &'static str {
    match error {
        AuditOpenError::File { .. } => "file",
        AuditOpenError::NotAudit { .. } => "not an audit file",
        AuditOpenError::Full { .. } => "no number is left",
    }
}
