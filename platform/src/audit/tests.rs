//! Tests of the audit: form of a record, and what the other tests share.

mod following;
mod full_disk;
mod opening;
mod reading;
mod removal;
mod rotation;
mod shipping;
mod tampering;
mod writing;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{Clock, LogTime};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::details::{CryptoDetails, PayloadDetails, RequestDetails};
use super::record::{
    AuditFailure, Authentication, Authorization, EventSource, EventStatus, KmsRequest,
    RequestMetadata, RequestParameters, ResourceMetadata, ResponseSummary, TokenInfo,
};
use super::*;
use crate::exit::FatalExit;
use crate::metrics::{AuditMetrics, Metrics, Prefix};
use crate::system::SystemClock;
use crate::tasks::Tasks;

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

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

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Writes a record that nothing keeps waiting.
async fn write(auditor: &AuditorHandle, event_id: &str) -> Result<(), AuditError> {
    auditor.record(&encrypt(event_id), soon()).await
}

/// The lines of one file, all of which are records.
fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("an audit file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Reads the whole audit, of which nothing may be wrong.
#[track_caller]
fn verified(files: &AuditFiles, heads: &[ChainHead]) -> verify::Findings {
    let findings = verify::verify(files, heads).expect("an audit");
    assert!(findings.problems.is_empty(), "{:#?}", findings.problems);
    assert_eq!(findings.problems_total, 0);
    findings
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
            impersonator_type: None,
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
