//! Asks the cluster who stands behind a token, at the moment of the call.
//!
//! Owns the channels to the nodes. Promises: an answer is never kept for the next call, so a
//! revocation holds at once; when no node answers in time the call fails, it does not pass
//! (`design §7`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lockbox_core::{SensitiveString, Subject, SubjectKind};
use lockbox_platform::tls::{ClientTlsFiles, TlsError, lasting_channel};
use lockbox_proto::lockbox::cluster::v1::introspection_service_client::IntrospectionServiceClient;
use lockbox_proto::lockbox::cluster::v1::{IntrospectRequest, IntrospectResponse};
use tokio::time::Instant;
use tonic::transport::Channel;

use super::grants;
use crate::caller::Rights;

/// Longest wait for one node before the next one is asked.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for all of them, whatever the caller's deadline.
const INTROSPECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Who a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introspected {
    /// The subject.
    pub subject: Subject,
    /// Its name, for the audit.
    pub subject_name: String,
    /// Public id of the token, for the audit.
    pub token_id: String,
    /// Whether another account had the token made.
    pub borrowed: bool,
    /// What the subject may do.
    pub rights: Rights,
}

/// No node answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token cannot be checked: no node of the cluster answers")]
pub struct ClusterUnavailable;

/// Says who a token stands for.
#[async_trait]
pub trait Introspector: Send + Sync {
    /// The subject; none when the token is not valid at this moment.
    ///
    /// # Errors
    /// [`ClusterUnavailable`].
    async fn introspect(
        &self,
        token: &SensitiveString,
        deadline: Instant,
    ) -> Result<Option<Introspected>, ClusterUnavailable>;
}

/// One node to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// `host:port`.
    pub address: String,
    /// The name in its certificate.
    pub server_name: String,
}

/// The nodes of a cluster.
pub struct ClusterIntrospector {
    channels: Vec<Channel>,
    /// The node that answered last is asked first.
    preferred: AtomicUsize,
}

impl ClusterIntrospector {
    /// Prepares channels; they connect at the first call, so the cluster need not be up.
    ///
    /// # Errors
    /// [`TlsError`] when a file or an address is wrong.
    pub fn new(nodes: &[ClusterNode], files: &ClientTlsFiles) -> Result<Self, TlsError> {
        let channel = |node: &ClusterNode| {
            lasting_channel(&node.address, &node.server_name, files, std::convert::identity)
        };
        let channels = nodes.iter().map(channel).collect::<Result<_, TlsError>>()?;
        Ok(Self { channels, preferred: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Introspector for ClusterIntrospector {
    async fn introspect(
        &self,
        token: &SensitiveString,
        deadline: Instant,
    ) -> Result<Option<Introspected>, ClusterUnavailable> {
        let deadline = deadline.min(Instant::now() + INTROSPECT_TIMEOUT);
        let first = self.preferred.load(Ordering::Relaxed);
        for offset in 0..self.channels.len() {
            let index = (first + offset) % self.channels.len();
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                break;
            }
            let mut client = IntrospectionServiceClient::new(self.channels[index].clone());
            let mut request =
                tonic::Request::new(IntrospectRequest { token: token.expose().clone() });
            // What a node may take tells it when to give up; our own wait is the bound.
            request.set_timeout(remaining.min(TRY_TIMEOUT));
            let asked = client.introspect(request);
            match tokio::time::timeout(remaining.min(TRY_TIMEOUT), asked).await {
                Ok(Ok(response)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(read(response.into_inner()));
                }
                Ok(Err(status)) => {
                    let code = status.code();
                    tracing::warn!(?code, node = index, "a node does not introspect");
                }
                Err(_elapsed) => tracing::warn!(node = index, "a node does not introspect in time"),
            }
        }
        Err(ClusterUnavailable)
    }
}

fn read(response: IntrospectResponse) -> Option<Introspected> {
    if !response.active || response.subject_id.is_empty() {
        return None;
    }
    let kind = SubjectKind::parse(&response.subject_type)?;
    let wire_grants = response.grants.iter();
    let wire_folders = response.folders.iter();
    let rights = grants::rights(
        wire_grants.map(|g| (g.resource_type.as_str(), g.resource_id.as_str(), g.role_id.as_str())),
        wire_folders
            .map(|f| (f.folder_id.as_str(), f.cloud_id.as_str(), f.organization_id.as_str())),
    );
    Some(Introspected {
        subject: Subject { kind, id: response.subject_id },
        subject_name: response.subject_name,
        token_id: response.token_id,
        borrowed: response.borrowed,
        rights,
    })
}

#[cfg(test)]
mod tests {
    use lockbox_proto::lockbox::cluster::v1::Grant;

    use super::*;

    #[test]
    fn an_inactive_or_unreadable_answer_is_nobody() {
        let active = IntrospectResponse {
            active: true,
            subject_type: "serviceAccount".to_owned(),
            subject_id: "a".to_owned(),
            grants: vec![Grant {
                resource_type: "resource-manager.folder".to_owned(),
                resource_id: "f".to_owned(),
                role_id: "kms.admin".to_owned(),
            }],
            ..IntrospectResponse::default()
        };
        assert_eq!(read(active.clone()).map(|found| found.rights.grants.len()), Some(1));
        assert_eq!(read(IntrospectResponse { active: false, ..active.clone() }), None);
        assert_eq!(read(IntrospectResponse { subject_id: String::new(), ..active.clone() }), None);
        let unknown = IntrospectResponse { subject_type: "robot".to_owned(), ..active };
        assert_eq!(read(unknown), None);
    }
}
