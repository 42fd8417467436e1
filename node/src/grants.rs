//! What the KMS is told about a caller (`design §7`): an assertion made in the read's own view.

use lockbox_core::{ResourceKind, ResourcePath, Role, VersionId};
use lockbox_platform::request::RequestContext;
use lockbox_proto::lockbox::kms::v1::{CallerAssertion, Grant};
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, tables};
use sha2::{Digest, Sha256};

use crate::authn::Caller;

/// How long the KMS accepts an assertion, in milliseconds (`design §7`).
const ASSERTION_LIFE_MS: u64 = 5_000;
/// Folders whose bindings are asserted at most: the headers of one call stay small.
const FOLDERS_MAX: usize = 1_000;

/// The caller's roles that can matter to the KMS, as one view has them.
///
/// # Errors
/// [`StorageError`].
pub fn kms_grants(
    view: &dyn StateRead,
    caller: &Caller,
    path: &ResourcePath,
) -> Result<Grants, StorageError> {
    let mut grants = Vec::new();
    // The key may live in any folder; only the KMS knows which, and its ancestors.
    let mut paths = vec![path.clone()];
    for folder in tables::folders(view, FOLDERS_MAX)? {
        paths.extend(tables::folder_path(view, &folder.id)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    for resource in paths.iter().flat_map(ResourcePath::resources) {
        // A kms role bound on a secret has no effect (`contract §4.5`).
        if resource.kind == ResourceKind::Secret || !seen.insert(resource.clone()) {
            continue;
        }
        for binding in tables::bindings(view, resource)?.bindings() {
            let role = Role::parse(&binding.role_id).filter(|role| role.concerns_kms());
            if role.is_some() && lockbox_core::access::covers(&binding.subject, &caller.subject) {
                grants.push(Grant {
                    resource_type: resource.kind.audit_name().to_owned(),
                    resource_id: resource.id.clone(),
                    role_id: binding.role_id.clone(),
                });
            }
        }
    }
    Ok(Grants(grants))
}

/// The caller's roles, ready to be asserted.
#[derive(Debug, Clone, Default)]
pub struct Grants(Vec<Grant>);

/// What the repeats of one crypto call have in common: the KMS bills them once (`design §9`).
#[derive(Debug, Clone, Copy)]
pub struct KmsStep<'a> {
    /// What the call is for within the request: `seal`, or `open` of a base.
    pub step: &'static str,
    /// The version that it seals or opens.
    pub version_id: &'a VersionId,
    /// The attempt that it belongs to.
    pub scope: KmsScope<'a>,
}

/// Which requests count as one attempt.
#[derive(Debug, Clone, Copy)]
pub enum KmsScope<'a> {
    /// Every request under this `idempotency-key`: a mutation and its retries.
    Key(&'a str),
    /// One request: a read, or a mutation without a key. Its own merges repeat within it.
    Request(&'a [u8; 16]),
}

impl Grants {
    /// The assertion for one crypto call.
    #[must_use]
    pub fn assertion(
        &self,
        caller: &Caller,
        context: &RequestContext,
        step: KmsStep<'_>,
        wall_ms: u64,
    ) -> CallerAssertion {
        CallerAssertion {
            subject_type: caller.subject.kind.as_str().to_owned(),
            subject_id: caller.subject.id.clone(),
            subject_name: String::new(),
            token_id: caller.token.token_id.to_string(),
            grants: self.0.clone(),
            // The KMS keeps each key's path; it needs no other folder's.
            folders: Vec::new(),
            request_id: context.request_id.clone(),
            index: 0,
            issued_at_ms: wall_ms,
            expires_at_ms: wall_ms.saturating_add(ASSERTION_LIFE_MS),
            kms_request_id: kms_request_id(caller, &context.method, step),
            cluster_id: String::new(),
            remote_address: context.remote.map(|a| a.to_string()).unwrap_or_default(),
            user_agent: context.user_agent.clone(),
        }
    }
}

/// A hash of (subject, method, attempt, step, version id) (`design §9`).
fn kms_request_id(caller: &Caller, method: &str, step: KmsStep<'_>) -> Vec<u8> {
    let subject = caller.subject.to_string();
    let (kind, attempt): (&[u8], &[u8]) = match step.scope {
        KmsScope::Key(key) => (b"key", key.as_bytes()),
        KmsScope::Request(nonce) => (b"request", nonce),
    };
    let version_id = step.version_id.as_str().as_bytes();
    let mut hash = Sha256::new();
    for part in
        [subject.as_bytes(), method.as_bytes(), kind, attempt, step.step.as_bytes(), version_id]
    {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}
