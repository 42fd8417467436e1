//! What the KMS is told about a caller (`design §7`): an assertion made in the read's own view.

use lockbox_core::{Randomness, ResourceKind, ResourcePath, Role};
use lockbox_platform::request::RequestContext;
use lockbox_proto::lockbox::kms::v1::{CallerAssertion, FolderPath, Grant};
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, tables};
use sha2::{Digest, Sha256};

use crate::authn::Caller;

/// How long the KMS accepts an assertion, in milliseconds (`design §7`).
const ASSERTION_LIFE_MS: u64 = 5_000;
/// Folders whose paths are sent at most; a key's folder beyond them inherits nothing.
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
    let folders = tables::folders(view, FOLDERS_MAX)?;
    let mut paths = vec![path.clone()];
    let mut wire_paths = Vec::new();
    for folder in &folders {
        if let Some(folder_path) = tables::folder_path(view, &folder.id)? {
            wire_paths.push(wire_path(&folder_path));
            paths.push(folder_path);
        }
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
    Ok(Grants { grants, folders: wire_paths })
}

/// Roles and folder paths, ready to be asserted.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    grants: Vec<Grant>,
    folders: Vec<FolderPath>,
}

fn wire_path(path: &ResourcePath) -> FolderPath {
    let id = |kind| path.id_of(kind).unwrap_or_default().to_owned();
    FolderPath {
        folder_id: id(ResourceKind::Folder),
        cloud_id: id(ResourceKind::Cloud),
        organization_id: id(ResourceKind::Organization),
    }
}

/// What names one crypto call, so that its repeat is billed once (`design §9`).
#[derive(Debug, Clone, Copy)]
pub struct KmsStep<'a> {
    /// What the call is for within the request: `seal`, or `open` of a base.
    pub step: &'a str,
    /// The version that it seals or opens.
    pub version_id: &'a str,
    /// Whether the request's idempotency key counts: on mutations, never on reads.
    pub mutation: bool,
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
        random: &dyn Randomness,
    ) -> CallerAssertion {
        CallerAssertion {
            subject_type: caller.subject.kind.as_str().to_owned(),
            subject_id: caller.subject.id.clone(),
            subject_name: String::new(),
            token_id: caller.token.token_id.to_string(),
            grants: self.grants.clone(),
            folders: self.folders.clone(),
            request_id: context.request_id.clone(),
            index: 0,
            issued_at_ms: wall_ms,
            expires_at_ms: wall_ms.saturating_add(ASSERTION_LIFE_MS),
            kms_request_id: kms_request_id(caller, context, step, random),
            cluster_id: String::new(),
            remote_address: context.remote.map(|a| a.to_string()).unwrap_or_default(),
            user_agent: context.user_agent.clone(),
        }
    }
}

/// A hash of (subject, method, idempotency key, step, version id); random without a key.
fn kms_request_id(
    caller: &Caller,
    context: &RequestContext,
    step: KmsStep<'_>,
    random: &dyn Randomness,
) -> Vec<u8> {
    let key = context.idempotency_key.as_deref().filter(|key| step.mutation && !key.is_empty());
    let Some(key) = key else {
        let mut id = vec![0; 32];
        random.fill(&mut id);
        return id;
    };
    let mut hash = Sha256::new();
    let subject = caller.subject.to_string();
    for part in [subject.as_str(), &context.method, key, step.step, step.version_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().to_vec()
}
