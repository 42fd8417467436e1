//! Tests of the audit: form of a record, failure, batches, and opening again.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockbox_core::LogTime;
use serde_json::{Value, json};

use super::details::{CryptoDetails, PayloadDetails, RequestDetails};
use super::file::AuditFile;
use super::record::{
    AuditFailure, Authentication, Authorization, EventSource, EventStatus, KmsRequest,
    RequestMetadata, RequestParameters, ResourceMetadata, ResponseSummary, TokenInfo,
};
use super::*;
use crate::exit::FatalExit;
use crate::metrics::{AuditMetrics, Metrics, Prefix};
use crate::tasks::Tasks;

const SHUTDOWN: Duration = Duration::from_secs(5);

fn record(event_id: &str, details: AuditDetails) -> AuditRecord {
    AuditRecord {
        event_id: event_id.to_owned(),
        event_time: LogTime::from_ms(1_800_000_000_123).into(),
        authentication: Authentication::default(),
        authorization: Authorization::default(),
        resource_metadata: ResourceMetadata::default(),
        request_metadata: RequestMetadata::internal("r1".to_owned()),
        event_status: EventStatus::Done,
        error: None,
        details,
        request_parameters: None,
        response: None,
        kms_requests: Vec::new(),
    }
}

fn encrypt(event_id: &str) -> AuditRecord {
    let details = CryptoDetails { key_id: "abj1".to_owned(), ..CryptoDetails::default() };
    record(event_id, AuditDetails::Encrypt(details))
}

fn tasks() -> Tasks {
    Tasks::new(FatalExit::new())
}

fn metrics() -> AuditMetrics {
    Metrics::new(Prefix::Lockbox).expect("distinct names").audit
}

fn lines(path: &Path) -> Vec<Result<Value, String>> {
    let text = std::fs::read_to_string(path).expect("an audit file");
    text.lines().map(|line| serde_json::from_str(line).map_err(|_| line.to_owned())).collect()
}

fn config(path: &Path, sync: AuditSync) -> AuditConfig {
    AuditConfig { path: path.to_owned(), sync }
}

#[test]
fn a_payload_read_has_the_fields_of_the_contract() {
    let mut read = record(
        "e1",
        AuditDetails::GetPayload(PayloadDetails {
            secret_id: "e6q1".to_owned(),
            secret_version_id: "e6q2".to_owned(),
            secret_deletion_protection: Some(false),
            secret_version_payload_entry_keys: vec!["password".to_owned()],
            ..PayloadDetails::default()
        }),
    );
    read.authentication = Authentication {
        authenticated: true,
        subject_type: Some("SERVICE_ACCOUNT"),
        subject_id: Some("aje1".to_owned()),
        subject_name: None,
        token_info: Some(TokenInfo {
            masked_iam_token: "t1.9euelZqV*****".to_owned(),
            iam_token_id: Some("ait1".to_owned()),
            impersonator_id: None,
        }),
    };
    read.authorization.authorized = true;
    read.request_parameters =
        Some(RequestParameters { secret_id: "e6q1".to_owned(), version_id: String::new() });
    read.response = Some(ResponseSummary {
        version_id: "e6q2".to_owned(),
        entry_keys: vec!["password".to_owned()],
    });
    read.kms_requests = vec![KmsRequest {
        kms_request_id: "0a0b".to_owned(),
        key_id: "abj1".to_owned(),
        operation: "Decrypt",
        answered: true,
    }];
    let written: Value =
        serde_json::from_str(&read.to_json().expect("JSON")).expect("JSON that parses");
    let expected = json!({
        "event_id": "e1",
        "event_source": "lockbox",
        "event_type": "yandex.cloud.audit.lockbox.GetPayload",
        "event_time": "2027-01-15T08:00:00.123Z",
        "authentication": {
            "authenticated": true,
            "subject_type": "SERVICE_ACCOUNT",
            "subject_id": "aje1",
            "token_info": { "masked_iam_token": "t1.9euelZqV*****", "iam_token_id": "ait1" },
        },
        "authorization": { "authorized": true },
        "resource_metadata": { "path": [] },
        "request_metadata": {
            "remote_address": "cloud.yandex", "user_agent": "Yandex Cloud", "request_id": "r1",
        },
        "event_status": "DONE",
        "details": {
            "secret_id": "e6q1",
            "secret_version_id": "e6q2",
            "secret_deletion_protection": false,
            "secret_version_payload_entry_keys": ["password"],
        },
        "request_parameters": { "secret_id": "e6q1" },
        "response": { "version_id": "e6q2", "entry_keys": ["password"] },
        "kms_requests": [{
            "kms_request_id": "0a0b", "key_id": "abj1", "operation": "Decrypt", "answered": true,
        }],
    });
    assert_eq!(written, expected);
}

#[test]
fn a_failed_call_names_its_event_and_its_error() {
    let ids = std::collections::BTreeMap::from([("secret_id", "e6q1".to_owned())]);
    let details = RequestDetails { source: EventSource::Lockbox, event_name: "GetSecret", ids };
    let mut failed = record("e1", AuditDetails::Request(details));
    failed.event_status = EventStatus::Error;
    failed.error = Some(AuditFailure { code: 5, message: "secret e6q1 not found".to_owned() });
    let written: Value =
        serde_json::from_str(&failed.to_json().expect("JSON")).expect("JSON that parses");
    assert_eq!(written["event_type"], "yandex.cloud.audit.lockbox.GetSecret");
    assert_eq!(written["error"], json!({ "code": 5, "message": "secret e6q1 not found" }));
    assert_eq!(written["details"], json!({ "secret_id": "e6q1" }));
    assert_eq!(written["event_status"], "ERROR");
}

#[tokio::test]
async fn records_are_numbered_and_the_numbering_goes_on() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    for (round, sync) in [(0, AuditSync::Batched), (1, AuditSync::Each)] {
        let tasks = tasks();
        let auditor = open(&config(&path, sync), &tasks, metrics())?;
        for i in 0..3 {
            assert_eq!(auditor.record(&encrypt(&format!("{round}-{i}"))).await, Ok(()));
        }
        assert_eq!(tasks.shutdown(SHUTDOWN).await, Ok(()));
        assert_eq!(auditor.record(&encrypt("late")).await, Err(AuditError::Stopped));
    }
    let written: Vec<_> = lines(&path).into_iter().map(|line| line.expect("JSON")).collect();
    let numbers: Vec<_> = written.iter().map(|line| line["sequence"].as_u64()).collect();
    assert_eq!(numbers, (0..6).map(Some).collect::<Vec<_>>());
    assert_eq!(written[5]["event_id"], "1-2");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&path).expect("an audit file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    Ok(())
}

#[tokio::test]
async fn a_torn_line_is_closed_off_by_a_marker() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    let whole = "{\"sequence\":41,\"event_id\":\"a\"}\n";
    std::fs::write(&path, format!("{whole}{{\"sequence\":42,\"ev")).expect("a written file");
    let tasks = tasks();
    let auditor = open(&config(&path, AuditSync::Batched), &tasks, metrics())?;
    assert_eq!(auditor.record(&encrypt("b")).await, Ok(()));
    assert_eq!(tasks.shutdown(SHUTDOWN).await, Ok(()));
    let written = lines(&path);
    assert_eq!(written.len(), 4);
    assert_eq!(written[1], Err("{\"sequence\":42,\"ev".to_owned()));
    let marker = json!({
        "sequence": 42, "event_type": "lockbox.audit.TornLine", "torn_bytes": 18,
    });
    assert_eq!(written[2], Ok(marker));
    assert!(written[3].as_ref().is_ok_and(|line| line["sequence"] == 43));
    Ok(())
}

/// A node that cannot find its last record does not start.
#[test]
fn the_last_record_is_found_however_long_it_is() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    let long = "k".repeat(9 << 20);
    let whole = format!("{{\"sequence\":6}}\n{{\"sequence\":7,\"key\":\"{long}\"}}\n");
    for (torn, next) in [("", 8), ("{\"sequence\":8,", 9), (&*long, 9)] {
        std::fs::write(&path, format!("{whole}{torn}")).expect("a written file");
        assert_eq!(file::open(&path)?.next_sequence, next);
        // And again, from behind the marker.
        assert_eq!(file::open(&path)?.next_sequence, next);
    }
    Ok(())
}

#[test]
fn cut_markers_are_passed_over() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    std::fs::write(&path, "{\"sequence\":3}\n{\"seq\n{\"se\n{").expect("a written file");
    assert_eq!(file::open(&path)?.next_sequence, 5);
    std::fs::write(&path, format!("{{\"sequence\":3}}\n{}", "x\n".repeat(100))).expect("written");
    assert!(matches!(file::open(&path), Err(AuditOpenError::NotAudit { .. })));
    std::fs::write(&path, format!("{{\"sequence\":{}}}\n", u64::MAX)).expect("written");
    assert!(matches!(file::open(&path), Err(AuditOpenError::Full { .. })));
    Ok(())
}

#[tokio::test]
async fn a_file_of_something_else_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    std::fs::write(&path, "not ours\n").expect("a written file");
    let refused = open(&config(&path, AuditSync::Batched), &tasks(), metrics());
    assert!(matches!(refused, Err(AuditOpenError::NotAudit { .. })));
}

/// A file in memory that can be made to fail.
#[derive(Default)]
struct Flaky {
    written: Mutex<Vec<u8>>,
    full: AtomicBool,
    unsyncable: AtomicBool,
}

impl AuditFile for Flaky {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(lines);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.unsyncable.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad sector"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_refuses_calls_until_there_is_room() {
    let (tasks, file) = (tasks(), Arc::new(Flaky::default()));
    let auditor = writer::start(file.clone(), 0, AuditSync::Batched, &tasks, metrics());
    assert_eq!(auditor.record(&encrypt("a")).await, Ok(()));
    file.full.store(true, Ordering::SeqCst);
    assert_eq!(auditor.record(&encrypt("b")).await, Err(AuditError::Failed));
    assert_eq!(auditor.record(&encrypt("c")).await, Err(AuditError::Failed));
    file.full.store(false, Ordering::SeqCst);
    assert_eq!(auditor.record(&encrypt("d")).await, Ok(()));
    assert_eq!(tasks.shutdown(SHUTDOWN).await, Ok(()));
    let written = file.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = String::from_utf8(written).expect("UTF-8");
    let ids: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| json!([line["sequence"], line["event_id"]]))
        .collect();
    assert_eq!(ids, [json!([0, "a"]), json!([1, "d"])]);
}

#[tokio::test]
async fn a_failing_sync_refuses_calls_until_it_works() {
    let (tasks, file) = (tasks(), Arc::new(Flaky::default()));
    file.unsyncable.store(true, Ordering::SeqCst);
    let each = writer::start(file.clone(), 0, AuditSync::Each, &tasks, metrics());
    assert_eq!(each.record(&encrypt("a")).await, Err(AuditError::Failed));

    let batched = writer::start(file.clone(), 0, AuditSync::Batched, &tasks, metrics());
    // The first record reached the kernel before the sync failed; soon no other is taken.
    let refused = async {
        while batched.record(&encrypt("b")).await != Err(AuditError::Failed) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(SHUTDOWN, refused).await.is_ok());
    file.unsyncable.store(false, Ordering::SeqCst);
    let taken = async {
        while batched.record(&encrypt("c")).await != Ok(()) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(SHUTDOWN, taken).await.is_ok());
    drop((each, batched));
    assert_eq!(tasks.shutdown(SHUTDOWN).await, Ok(()));
}

#[tokio::test]
async fn a_failed_append_leaves_no_half_line() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    let opened = file::open(&path)?;
    opened.file.append(b"{\"sequence\":0}\n").expect("an append");
    // What a write that failed half-way leaves behind.
    let mut half = std::fs::OpenOptions::new().append(true).open(&path).expect("the file");
    io::Write::write_all(&mut half, b"{\"sequ").expect("a half line");
    opened.file.append(b"{\"sequence\":1}\n").expect("an append");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text, "{\"sequence\":0}\n{\"sequence\":1}\n");

    // The same once somebody has emptied the file, as some rotate logs.
    half.set_len(0).expect("an empty file");
    opened.file.append(b"{\"sequence\":2}\n").expect("an append");
    io::Write::write_all(&mut half, b"{\"sequ").expect("a half line");
    opened.file.append(b"{\"sequence\":3}\n").expect("an append");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text, "{\"sequence\":2}\n{\"sequence\":3}\n");
    Ok(())
}
