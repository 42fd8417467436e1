//! The envelope of an audit record (`contract §6.2`), in snake_case JSON.
//!
//! Promises: typed so that a value has nowhere to go; the only free texts are ids, names,
//! descriptions, a client's address and user agent, and the message of an error.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use lockbox_core::{LogTime, ResourcePath, Subject};
use serde::{Serialize, Serializer};

use crate::audit::details::AuditDetails;

/// A point in time, RFC 3339 with milliseconds in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditTime(LogTime);

impl From<LogTime> for AuditTime {
    fn from(time: LogTime) -> Self {
        Self(time)
    }
}

impl Serialize for AuditTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = i64::try_from(self.0.as_ms()).unwrap_or(i64::MAX);
        // Past the year 9999 there is no such text; the epoch stands out.
        let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let printer = DateTimePrinter::new().precision(Some(3));
        serializer.serialize_str(&printer.timestamp_to_string(&at))
    }
}

/// Which service an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// Secrets.
    Lockbox,
    /// Symmetric keys.
    Kms,
    /// Service accounts, keys, tokens.
    Iam,
    /// Clouds and folders.
    ResourceManager,
    /// Operations.
    Operation,
    /// Discovery of endpoints.
    Endpoint,
    /// Administration of the cluster.
    Cluster,
}

impl EventSource {
    /// The name in `event_source` and in `event_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lockbox => "lockbox",
            Self::Kms => "kms",
            Self::Iam => "iam",
            Self::ResourceManager => "resourcemanager",
            Self::Operation => "operation",
            Self::Endpoint => "endpoint",
            Self::Cluster => "cluster",
        }
    }
}

/// What became of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventStatus {
    /// Begun.
    Started,
    /// Refused or failed.
    Error,
    /// Done.
    Done,
    /// Cancelled by the client.
    Cancelled,
    /// Going on.
    Running,
}

/// Who called.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Authentication {
    /// Whether a token was right.
    pub authenticated: bool,
    /// One of the names of `contract §6.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_type: Option<&'static str>,
    /// The subject's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<String>,
    /// The subject's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_name: Option<String>,
    /// The token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_info: Option<TokenInfo>,
}

impl Authentication {
    /// An authenticated subject.
    #[must_use]
    pub fn of(subject: &Subject, name: Option<String>, token_info: Option<TokenInfo>) -> Self {
        Self {
            authenticated: true,
            subject_type: Some(subject.kind.audit_name()),
            subject_id: Some(subject.id.clone()),
            subject_name: name,
            token_info,
        }
    }
}

/// The token that a call carried, without what makes it usable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TokenInfo {
    /// [`crate::token::mask`] of the token.
    pub masked_iam_token: String,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iam_token_id: Option<String>,
    /// Who had the token made, when that was another account; the subject on whose behalf a node
    /// calls, when the caller is a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonator_id: Option<String>,
    /// What that is: one of the names of `contract §6.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonator_type: Option<&'static str>,
}

/// Whether the caller might.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Authorization {
    /// `false` is recorded too.
    pub authorized: bool,
}

/// One resource on the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathItem {
    /// For example `resource-manager.folder`.
    pub resource_type: &'static str,
    /// Its id.
    pub resource_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
}

/// Where the resource is, outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ResourceMetadata {
    /// Organization, cloud, folder, and the leaf.
    pub path: Vec<PathItem>,
}

impl From<&ResourcePath> for ResourceMetadata {
    fn from(path: &ResourcePath) -> Self {
        let item = |resource: &lockbox_core::ResourceRef| PathItem {
            resource_type: resource.kind.audit_name(),
            resource_id: resource.id.clone(),
            resource_name: None,
        };
        Self { path: path.resources().iter().map(item).collect() }
    }
}

/// Where the call came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RequestMetadata {
    /// The client's address; `cloud.yandex` for what the system does by itself.
    pub remote_address: String,
    /// The client's program.
    pub user_agent: String,
    /// The request's id.
    pub request_id: String,
    /// The client's port, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<String>,
}

impl RequestMetadata {
    /// What the system does by itself, as the real service shows it (`contract §6.2`).
    #[must_use]
    pub fn internal(request_id: String) -> Self {
        Self {
            remote_address: "cloud.yandex".to_owned(),
            user_agent: "Yandex Cloud".to_owned(),
            request_id,
            remote_port: None,
        }
    }
}

/// Why the call failed: code and message of its status, which never hold a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditFailure {
    /// The gRPC code's number.
    pub code: i32,
    /// The status's message.
    pub message: String,
}

/// The parameters of a payload read (`contract §6.3`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RequestParameters {
    /// The secret asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_id: String,
    /// The version asked for; empty for the current one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version_id: String,
}

/// The answer of a payload read, without the values (`contract §6.3`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ResponseSummary {
    /// The version that was read.
    pub version_id: String,
    /// The keys of its entries.
    pub entry_keys: Vec<String>,
}

/// A billed request to the KMS: at a node one that a call made, at the KMS the call itself. Our
/// extension: the id is in the KMS's ledger too (`kms-sim billing records`), so that the records of
/// both can be reconciled with the bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KmsRequest {
    /// The id by which a repeat is recognised, in hexadecimal.
    pub kms_request_id: String,
    /// The key that it was for; for a re-encryption the target.
    pub key_id: String,
    /// The operation, by its name in the KMS's API.
    pub operation: &'static str,
    /// Whether the KMS did what was asked. At a node, whether its answer arrived: without one it
    /// may have been billed.
    pub answered: bool,
}

/// One record. The writer adds the sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Unique.
    pub event_id: String,
    /// When.
    pub event_time: AuditTime,
    /// Who.
    pub authentication: Authentication,
    /// Whether they might.
    pub authorization: Authorization,
    /// On what.
    pub resource_metadata: ResourceMetadata,
    /// From where.
    pub request_metadata: RequestMetadata,
    /// With which result.
    pub event_status: EventStatus,
    /// Why it failed.
    pub error: Option<AuditFailure>,
    /// What, by event.
    pub details: AuditDetails,
    /// The parameters of a payload read.
    pub request_parameters: Option<RequestParameters>,
    /// The answer of a payload read.
    pub response: Option<ResponseSummary>,
    /// The billed requests to the KMS, in their order.
    pub kms_requests: Vec<KmsRequest>,
}

/// The record as it is written: the order of the fields is the order in the file.
#[derive(Serialize)]
struct Written<'a> {
    event_id: &'a str,
    event_source: &'static str,
    event_type: String,
    event_time: AuditTime,
    authentication: &'a Authentication,
    authorization: Authorization,
    resource_metadata: &'a ResourceMetadata,
    request_metadata: &'a RequestMetadata,
    event_status: EventStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a AuditFailure>,
    details: &'a AuditDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_parameters: Option<&'a RequestParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a ResponseSummary>,
    #[serde(skip_serializing_if = "<[KmsRequest]>::is_empty")]
    kms_requests: &'a [KmsRequest],
}

impl AuditRecord {
    /// The record's JSON without the sequence number, on one line.
    ///
    /// # Errors
    /// Never in practice: every field is text, a number or a list of them.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        let source = self.details.source().as_str();
        serde_json::to_string(&Written {
            event_id: &self.event_id,
            event_source: source,
            event_type: format!("yandex.cloud.audit.{source}.{}", self.details.event_name()),
            event_time: self.event_time,
            authentication: &self.authentication,
            authorization: self.authorization,
            resource_metadata: &self.resource_metadata,
            request_metadata: &self.request_metadata,
            event_status: self.event_status,
            error: self.error.as_ref(),
            details: &self.details,
            request_parameters: self.request_parameters.as_ref(),
            response: self.response.as_ref(),
            kms_requests: &self.kms_requests,
        })
    }
}
