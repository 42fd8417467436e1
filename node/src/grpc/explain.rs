//! `lockbox.iam.v1.AccessService`: why somebody may or may not do something (`contract §4`).
//!
//! Everything is looked at in one view, so the answer is true at one index.

use std::sync::Arc;

use lockbox_core::{
    LogTime, Permission, ResourceKind, ResourcePath, ResourceRef, Role, SecretId, ServiceAccountId,
    Subject, SubjectKind,
};
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::iam::v1 as wire;
use lockbox_proto::yandex::cloud::access;
use lockbox_raft::apply::{bindings_along, find_resource, require};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::binding::AccessBinding;
use lockbox_raft::domain::identity::ServiceAccountStatus;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, tables};
use tonic::{Request, Response, Status};
use wire::access_service_server::AccessService;

use crate::app::App;
use crate::authn::Caller;
use crate::call::{Call, detached};
use crate::refused::{Refused, within};
use crate::{bindings, describe};

/// The service over the node's parts.
#[derive(Clone)]
pub struct ExplainGrpc {
    app: Arc<App>,
}

impl ExplainGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl AccessService for ExplainGrpc {
    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = &request.get_ref().resource_id;
            let source = EventSource::Iam;
            let details = describe::request_event(source, "ExplainAccess", "resource_id", id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = explain(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }
}

async fn explain(
    call: &mut Call<'_>,
    request: &wire::ExplainRequest,
) -> Result<wire::ExplainResponse, ApiError> {
    let caller = call.admit(request)?;
    let permission = Permission::parse(&request.permission).ok_or_else(|| {
        let known: Vec<_> = Permission::ALL.iter().map(|known| known.as_str()).collect();
        ApiError::invalid("permission", format!("is none of {}", known.join(", ")))
    })?;
    let subject = match &request.subject {
        None => caller.subject.clone(),
        Some(named) => {
            let kind = SubjectKind::parse(&named.r#type).ok_or_else(|| {
                ApiError::invalid("subject.type", "is not a known type of subject")
            })?;
            Subject { kind, id: named.id.clone() }
        }
    };
    let now = call.app.replica.log_time();
    let (found, path) =
        call.read(&caller, |view| look(view, &caller, &subject, &request.resource_id, now)).await?;
    let held: Vec<_> =
        found.held.iter().map(|(on, binding)| shown(on, binding, permission)).collect();
    let granted = held.iter().any(|held| held.grants);
    let response = wire::ExplainResponse {
        allowed: granted && found.subject_problem.is_empty(),
        index: call.observed().map_or(0, |at| at.index),
        subject: Some(access::Subject {
            id: subject.id.clone(),
            r#type: subject.kind.as_str().to_owned(),
        }),
        permission: permission.as_str().to_owned(),
        path: path.resources().iter().map(resource).collect(),
        held,
        subject_problem: found.subject_problem.to_owned(),
        kms_key_id: found.kms_key_id,
    };
    call.path = Some(path);
    Ok(response)
}

/// What one view says about a subject and a resource.
struct Found {
    held: Vec<(ResourceRef, AccessBinding)>,
    subject_problem: &'static str,
    kms_key_id: String,
}

fn look(
    view: &dyn StateRead,
    caller: &Caller,
    subject: &Subject,
    resource_id: &str,
    now: Option<LogTime>,
) -> Result<(Found, ResourcePath), Refused> {
    let path = find_resource(view, resource_id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, resource_id))?;
    within(path, |path| {
        if *subject != caller.subject {
            let cloud = ResourcePath::new(path.resources().iter().take(2).cloned().collect());
            require(view, &caller.subject, Permission::ResourceManagerGet, &cloud)?;
        }
        Ok(Found {
            held: bindings_along(view, subject, path)?,
            subject_problem: problem(view, subject, now)?,
            kms_key_id: own_key(view, path)?,
        })
    })
}

/// Why a service account cannot log in. Of other subjects nothing is known here.
fn problem(
    view: &dyn StateRead,
    subject: &Subject,
    now: Option<LogTime>,
) -> Result<&'static str, StorageError> {
    if subject.kind != SubjectKind::ServiceAccount {
        return Ok("");
    }
    let Ok(id) = ServiceAccountId::parse(&subject.id) else { return Ok("is not an id") };
    let Some(account) = tables::service_account(view, &id)? else { return Ok("does not exist") };
    let expired = account.expires_at.is_some_and(|end| now.is_some_and(|now| end <= now));
    Ok(match account.status {
        ServiceAccountStatus::Suspended => "is suspended",
        ServiceAccountStatus::Active if expired => "has expired",
        ServiceAccountStatus::Active => "",
    })
}

/// The own key of the secret that the path ends with.
fn own_key(view: &dyn StateRead, path: &ResourcePath) -> Result<String, StorageError> {
    let Some(id) = path.id_of(ResourceKind::Secret) else { return Ok(String::new()) };
    let Ok(id) = SecretId::parse(id) else { return Ok(String::new()) };
    let key = tables::secret(view, &id)?.and_then(|secret| secret.kms_key_id);
    Ok(key.map(|key| key.to_string()).unwrap_or_default())
}

fn resource(of: &ResourceRef) -> wire::Resource {
    wire::Resource { r#type: of.kind.audit_name().to_owned(), id: of.id.clone() }
}

fn shown(on: &ResourceRef, binding: &AccessBinding, permission: Permission) -> wire::HeldBinding {
    wire::HeldBinding {
        resource: Some(resource(on)),
        access_binding: Some(bindings::to_wire(binding)),
        grants: Role::parse(&binding.role_id).is_some_and(|role| role.grants(permission)),
    }
}
