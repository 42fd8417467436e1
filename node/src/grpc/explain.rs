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
use lockbox_raft::apply::{account_path, authorize, bindings_along, find_resource, may_all_of};
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
    let asked = Asked { caller: &caller, subject: &subject, permission };
    let now = call.app.replica.log_time();
    let (mut response, path) =
        call.read(&caller, |view| asked.answer(view, &request.resource_id, now)).await?;
    response.index = call.observed().map_or(0, |at| at.index);
    call.path = Some(path);
    Ok(response)
}

/// One question.
struct Asked<'a> {
    caller: &'a Caller,
    subject: &'a Subject,
    permission: Permission,
}

impl Asked<'_> {
    /// The answer of one view, without its index.
    fn answer(
        &self,
        view: &dyn StateRead,
        resource_id: &str,
        now: Option<LogTime>,
    ) -> Result<(wire::ExplainResponse, ResourcePath), Refused> {
        let path = find_resource(view, resource_id)?
            .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, resource_id))?;
        within(path, |path| {
            let (oneself, sees) = (*self.subject == self.caller.subject, self.sees(view, path)?);
            if !oneself && !sees {
                return Err(Rejection::PermissionDenied.into());
            }
            let held = bindings_along(view, self.subject, path)?;
            let (may, remarks) = self.judge(view, path, &held)?;
            let problem = problem(view, self.subject, now)?;
            let (mut shown_held, mut some_hidden) = (Vec::new(), false);
            for (on, binding) in &held {
                // What one holds oneself is no secret from oneself.
                if oneself || self.sees(view, &path_to(path, on))? {
                    shown_held.push(shown(on, binding, self.permission));
                } else {
                    some_hidden = true;
                }
            }
            let knows_subject = oneself || self.sees_subject(view)?;
            let shown_path = if sees { path.resources() } else { &[] };
            Ok(wire::ExplainResponse {
                allowed: may && problem.is_empty(),
                index: 0,
                subject: Some(access::Subject {
                    id: self.subject.id.clone(),
                    r#type: self.subject.kind.as_str().to_owned(),
                }),
                permission: self.permission.as_str().to_owned(),
                path: shown_path.iter().map(resource).collect(),
                held: shown_held,
                subject_problem: if knows_subject { problem.to_owned() } else { String::new() },
                kms_key_id: if sees { own_key(view, path)? } else { String::new() },
                some_hidden,
                remarks: remarks.into_iter().map(str::to_owned).collect(),
            })
        })
    }

    /// Whether the subject may, by its roles and by the rules beside them, which `apply` and the
    /// services demand with `require_over_keys`, `require_key_maker`, `require_grantor` and
    /// `require_own_token`.
    fn judge(
        &self,
        view: &dyn StateRead,
        path: &ResourcePath,
        held: &[(ResourceRef, AccessBinding)],
    ) -> Result<(bool, Vec<&'static str>), StorageError> {
        let mut may = held.iter().any(|(_, binding)| grants(binding, self.permission));
        let mut remarks = Vec::new();
        let leaf = path.resources().last();
        let account = leaf.filter(|leaf| leaf.kind == ResourceKind::ServiceAccount);
        if let Some(account) = account.and_then(|leaf| ServiceAccountId::parse(&leaf.id).ok()) {
            let account = Subject::service_account(&account);
            if account != *self.subject {
                if may && gives_power(self.permission) && !may_all_of(view, self.subject, &account)?
                {
                    may = false;
                    remarks.push(NOT_OVER);
                }
            } else if self.permission == Permission::ServiceAccountsCreateToken {
                may = true;
                remarks.push(ITSELF);
            } else if self.permission != Permission::ResourceManagerAdminister {
                remarks.push(ITS_KEYS);
            }
        }
        let owner = |(_, binding): &(ResourceRef, AccessBinding)| {
            Role::parse(&binding.role_id) == Some(Role::CloudsOwner)
        };
        let on_cloud = leaf.is_some_and(|on| on.kind == ResourceKind::Cloud);
        let administers = self.permission == Permission::ResourceManagerAdminister;
        if may && administers && on_cloud && !held.iter().any(owner) {
            remarks.push(NO_OWNER);
        }
        let oneself = *self.subject == self.caller.subject;
        if may && oneself && self.caller.token.maker.is_some() && outlives(self.permission) {
            remarks.push(BORROWED);
        }
        Ok((may, remarks))
    }

    /// Whether the caller may see the resource that a path ends with, and its bindings.
    fn sees(&self, view: &dyn StateRead, path: &ResourcePath) -> Result<bool, StorageError> {
        let permission = match path.resources().last().map(|last| last.kind) {
            Some(ResourceKind::Secret) => Permission::SecretsListAccessBindings,
            Some(ResourceKind::ServiceAccount) => Permission::ServiceAccountsGet,
            Some(ResourceKind::Organization | ResourceKind::Cloud | ResourceKind::Folder) => {
                Permission::ResourceManagerGet
            }
            Some(ResourceKind::KmsKey | ResourceKind::SecretVersion) | None => return Ok(false),
        };
        Ok(authorize(view, &self.caller.subject, permission, path)?.allowed())
    }

    /// Whether the caller may see the account that the question is about; of one that is not there
    /// there is nothing to see.
    fn sees_subject(&self, view: &dyn StateRead) -> Result<bool, StorageError> {
        let Ok(id) = ServiceAccountId::parse(&self.subject.id) else { return Ok(true) };
        let Some(account) = tables::service_account(view, &id)? else { return Ok(true) };
        self.sees(view, &account_path(view, &account)?)
    }
}

const ITSELF: &str = "an account makes its own tokens without a role";
const ITS_KEYS: &str = "an account reads, makes and changes its own keys without a role";
const NOT_OVER: &str =
    "the account may do more than the subject does: only who may do all of it has power over it";
const NO_OWNER: &str = "ownership of the cloud is given and ended by its owners alone";
const BORROWED: &str = "the token was made by another account: it grants nothing, changes no \
                        account, and makes no keys, tokens or clouds";

/// Whether the permission, on an account, gives the power to be it or to lock it out.
const fn gives_power(permission: Permission) -> bool {
    matches!(
        permission,
        Permission::ServiceAccountsAdminister
            | Permission::ServiceAccountsCreateToken
            | Permission::ResourceManagerAdminister
    )
}

/// Whether something done with the permission may outlive a token.
const fn outlives(permission: Permission) -> bool {
    gives_power(permission)
        || matches!(
            permission,
            Permission::SecretsSetAccessBindings | Permission::KmsKeysSetAccessBindings
        )
}

/// The beginning of a path, up to one of its resources.
fn path_to(path: &ResourcePath, on: &ResourceRef) -> ResourcePath {
    let end = path.resources().iter().position(|resource| resource == on);
    let end = end.map_or(path.resources().len(), |position| position + 1);
    ResourcePath::new(path.resources().iter().take(end).cloned().collect())
}

fn grants(binding: &AccessBinding, permission: Permission) -> bool {
    Role::parse(&binding.role_id).is_some_and(|role| role.grants(permission))
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
        grants: grants(binding, permission),
    }
}
