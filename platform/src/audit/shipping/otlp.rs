//! Records as log records of OTLP: the collector's answer confirms them.

use jiff::Timestamp;
use tonic::Status;

use super::Origin;
use super::reader::Shipped;
use super::syslog_line::{Severity, Told};
use crate::otlp::Collector;
use crate::otlp::messages::{
    AnyValue, ExportLogsServiceRequest, InstrumentationScope, KeyValue, LogRecord, Resource,
    ResourceLogs, ScopeLogs, Value,
};

/// What made the records.
const SCOPE: &str = "lockbox.audit";

/// A collector of OTLP.
#[derive(Debug)]
pub(super) struct OtlpSink {
    collector: Collector,
    resource: Resource,
}

impl OtlpSink {
    pub(super) fn new(collector: Collector, origin: &Origin) -> Self {
        Self { collector, resource: Resource::of(origin.program, &origin.host) }
    }

    /// Sends records. Gives how many of them the collector will never take.
    pub(super) async fn send(&self, records: &[Shipped]) -> Result<u64, Status> {
        let scope = InstrumentationScope {
            name: SCOPE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let log_records = records.iter().map(log_record).collect();
        let logs = ResourceLogs {
            resource: Some(self.resource.clone()),
            scope_logs: vec![ScopeLogs { scope: Some(scope), log_records }],
        };
        let request = ExportLogsServiceRequest { resource_logs: vec![logs] };
        let answer = self.collector.export_logs(request).await?;
        let Some(partial) = answer.partial_success else { return Ok(0) };
        let refused = u64::try_from(partial.rejected_log_records).unwrap_or(0);
        if refused > 0 {
            // It must not be sent such records again (OTLP, partial success).
            let reason = partial.error_message;
            tracing::error!(refused, %reason, "the collector refuses audit records for good");
        }
        Ok(refused.min(records.len() as u64))
    }
}

fn log_record(record: &Shipped) -> LogRecord {
    let told = Told::of(record);
    let (severity_number, severity_text) = match told.severity() {
        Severity::Error => (17, "ERROR"),
        Severity::Warning => (13, "WARN"),
        Severity::Informational => (9, "INFO"),
    };
    let sequence = i64::try_from(record.at.sequence).unwrap_or(i64::MAX);
    let event_type = told.event_type.as_deref().unwrap_or_default();
    LogRecord {
        time_unix_nano: told.event_time.as_deref().and_then(nanoseconds).unwrap_or(0),
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(Value::String(record.line.clone())) }),
        attributes: vec![
            KeyValue::text("event.name", event_type),
            KeyValue::new("lockbox.audit.sequence", Value::Int(sequence)),
            KeyValue::text("lockbox.audit.sha256", &record.at.hash.to_string()),
        ],
    }
}

fn nanoseconds(time: &str) -> Option<u64> {
    u64::try_from(time.parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}
