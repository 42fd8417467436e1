//! Fuzz targets: whatever a crash, a disk or somebody with an editor has left as an audit file, it
//! is gone on with or refused, and read, never a panic; and what is verified is what was written.

use lockbox_core::LogTime;

use super::chain::{Chain, ChainHead};
use super::file::{self, AuditOpenError};
use super::files::AuditFiles;
use super::fuzz::fuzz;
use super::record::AuditTime;
use super::search::Filter;
use super::tail::Tail;
use super::verify::verify;

/// Records of an audit that is then changed.
const RECORDS: u64 = 4;
/// Problems that are told apart: the fuzzer keeps an input for each answer.
const PROBLEMS_MAX: u64 = 3;

#[test]
fn fuzz_an_audit_file_is_gone_on_with_or_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("audit.log");
    let packed = AuditFiles::of(&directory.path().join("packed.log"));
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
        // As a file that is compressed, too: most of them are none.
        std::fs::write(packed.compressed(7), bytes).expect("a written file");
        let of_packed = verify(&packed, &[]).expect("an open file").problems_total;
        let problems = of_packed.min(PROBLEMS_MAX) + read(&AuditFiles::of(&path));
        let open = || file::open(&AuditFiles::of(&path), AuditTime::from(LogTime::from_ms(1)));
        let chain = open().map_err(|error| kind(&error))?.chain;
        // What was torn is cut off now, and so there is nothing more to do.
        let again = open().map_err(|error| kind(&error))?.chain;
        assert_eq!(again, chain);
        Ok::<_, &str>(problems)
    });
}

/// Reads an audit in every way that there is; gives how much is wrong with it.
fn read(files: &AuditFiles) -> u64 {
    let findings = verify(files, &[]).expect("an open file");
    let (lines, mut tail) = Tail::begin(files, 3).expect("an audit");
    let found = lines.iter().filter(|line| Filter::default().matches(line)).count();
    assert!(found <= lines.len());
    assert_eq!(tail.next_line().expect("an audit"), None);
    findings.problems_total.min(PROBLEMS_MAX)
}

const fn kind(error: &AuditOpenError) -> &'static str {
    match error {
        AuditOpenError::File { .. } => "file",
        AuditOpenError::NotAudit { .. } => "not an audit file",
        AuditOpenError::Full { .. } => "no number is left",
    }
}

/// Some records, and the head of their chain.
fn written() -> (Vec<u8>, ChainHead) {
    let mut chain = Chain::beginning_at(0);
    let mut text = String::new();
    for number in 0..RECORDS {
        chain.link(&mut text, &format!("{{\"event_id\":\"e{number}\"}}")).expect("a number");
    }
    (text.into_bytes(), chain.head().expect("a head"))
}

#[test]
fn fuzz_an_audit_without_problems_is_what_was_written() {
    let (written, head) = written();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::of(&directory.path().join("audit.jsonl"));
    let examples = [written.clone(), written[..written.len() / 2].to_vec()];
    fuzz("audit-chain", &examples, |bytes| {
        std::fs::write(files.active(), bytes).expect("a written file");
        let findings = verify(&files, &[head]).expect("a file that can be opened");
        // What an earlier build wrote without a chain, in front of it, says itself what it is.
        if findings.problems_total == 0 && findings.unchained == 0 {
            let behind = bytes.strip_prefix(written.as_slice()).expect("all that was written");
            assert_eq!(behind.len() as u64, findings.unfinished_bytes);
        }
        (findings.problems_total.min(3), findings.unchained.min(2), findings.heads_found)
    });
}

#[test]
fn fuzz_a_compressed_audit_without_problems_is_what_was_written() {
    let (written, head) = written();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::of(&directory.path().join("audit.jsonl"));
    let packed = zstd::encode_all(written.as_slice(), 1).expect("zstd");
    fuzz("audit-compressed", &[packed], |bytes| {
        std::fs::write(files.compressed(head.sequence), bytes).expect("a written file");
        let findings = verify(&files, &[head]).ok()?;
        if findings.problems_total == 0 && findings.unchained == 0 {
            assert_eq!(zstd::decode_all(bytes).expect("zstd"), written);
        }
        Some((findings.problems_total.min(3), findings.unchained.min(2), findings.heads_found))
    });
}
