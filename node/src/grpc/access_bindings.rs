//! Who may do what with one resource: its own bindings, not those that it inherits
//! (`contract §2.12`).
//!
//! The three methods are the same for each kind of resource, and so are here once: [`Bound`] says
//! what differs. Whether a caller may grant is judged as `apply` judges it.

use std::sync::Arc;

use lockbox_core::id::ID_CHARS_MAX;
use lockbox_core::{
    CloudId, FolderId, IdError, Permission, ResourceKind, ResourceRef, SecretId, ServiceAccountId,
};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::AccessBindingsDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::access as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::apply::{bound_path, require, require_grantor};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, IdempotencyClaim};
use lockbox_raft::state::tables;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::authn::Caller;
use crate::call::{Attempt, Call, detached};
use crate::errors::rejected;
use crate::page::{self, List};
use crate::refused::within;
use crate::{bindings, convert, describe, idempotency};

/// What differs from kind to kind of resource that has bindings of its own.
pub(super) struct Bound {
    kind: ResourceKind,
    check_id: fn(&str) -> Result<(), IdError>,
    /// The name of the list, for its page tokens.
    list: &'static str,
    source: EventSource,
    list_event: &'static str,
    details: fn(String) -> AccessBindingsDetails,
    set_event: Event,
    update_event: Event,
}

/// The event that has these details.
type Event = fn(AccessBindingsDetails) -> AuditDetails;

/// Secrets.
pub(super) const SECRET: Bound = Bound {
    kind: ResourceKind::Secret,
    check_id: |id| SecretId::parse(id).map(drop),
    list: "bindings of a secret",
    source: EventSource::Lockbox,
    list_event: "ListSecretAccessBindings",
    details: |secret_id| AccessBindingsDetails { secret_id, ..Default::default() },
    set_event: AuditDetails::SetSecretAccessBindings,
    update_event: AuditDetails::UpdateSecretAccessBindings,
};

/// Clouds.
pub(super) const CLOUD: Bound = Bound {
    kind: ResourceKind::Cloud,
    check_id: |id| CloudId::parse(id).map(drop),
    list: "bindings of a cloud",
    source: EventSource::ResourceManager,
    list_event: "ListCloudAccessBindings",
    details: on_resource,
    set_event: AuditDetails::SetCloudAccessBindings,
    update_event: AuditDetails::UpdateCloudAccessBindings,
};

/// Folders.
pub(super) const FOLDER: Bound = Bound {
    kind: ResourceKind::Folder,
    check_id: |id| FolderId::parse(id).map(drop),
    list: "bindings of a folder",
    source: EventSource::ResourceManager,
    list_event: "ListFolderAccessBindings",
    details: on_resource,
    set_event: AuditDetails::SetFolderAccessBindings,
    update_event: AuditDetails::UpdateFolderAccessBindings,
};

/// Service accounts: who may speak for one.
pub(super) const SERVICE_ACCOUNT: Bound = Bound {
    kind: ResourceKind::ServiceAccount,
    check_id: |id| ServiceAccountId::parse(id).map(drop),
    list: "bindings of a service account",
    source: EventSource::Iam,
    list_event: "ListServiceAccountAccessBindings",
    details: on_resource,
    set_event: AuditDetails::SetServiceAccountAccessBindings,
    update_event: AuditDetails::UpdateServiceAccountAccessBindings,
};

/// Who sees the bindings of a resource of this kind; nobody where they are not here.
pub(super) const fn seen_by(kind: ResourceKind) -> Option<Permission> {
    match kind {
        ResourceKind::Secret | ResourceKind::SecretVersion => {
            Some(Permission::SecretsListAccessBindings)
        }
        ResourceKind::Organization | ResourceKind::Cloud | ResourceKind::Folder => {
            Some(Permission::ResourceManagerGet)
        }
        ResourceKind::ServiceAccount => Some(Permission::ServiceAccountsGet),
        ResourceKind::KmsKey => None,
    }
}

pub(super) fn on_resource(resource_id: String) -> AccessBindingsDetails {
    AccessBindingsDetails { resource_id, ..Default::default() }
}

impl Bound {
    fn resource(&self, id: &str) -> Result<ResourceRef, ApiError> {
        let checked = match (self.check_id)(id) {
            // These methods take 64 characters, more than an id has (`contract §9`): such a text is
            // the id of nothing, and no mistake in the request.
            Err(IdError::TooLong) => match id.split_at_checked(ID_CHARS_MAX) {
                Some((begin, rest)) => (self.check_id)(begin).and_then(|()| (self.check_id)(rest)),
                None => Err(IdError::BadCharacter),
            },
            checked => checked,
        };
        checked.map_err(|error| ApiError::invalid("resource_id", error.to_string()))?;
        Ok(ResourceRef::new(self.kind, id))
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// `ListAccessBindings`.
pub(super) async fn list(
    app: &Arc<App>,
    request: Request<wire::ListAccessBindingsRequest>,
    bound: &'static Bound,
) -> Answer<wire::ListAccessBindingsResponse> {
    let app = Arc::clone(app);
    let calls = app.calls.clone();
    detached(&calls, async move {
        let id = &request.get_ref().resource_id;
        let details = describe::request_event(bound.source, bound.list_event, "resource_id", id);
        let mut call = Call::begin(&app, &request, details)?;
        let result = page_of(&mut call, request.get_ref(), bound).await;
        call.finish(result).await
    })
    .await
}

/// `SetAccessBindings`.
pub(super) async fn set(
    app: &Arc<App>,
    request: Request<wire::SetAccessBindingsRequest>,
    bound: &'static Bound,
) -> Answer<Operation> {
    let app = Arc::clone(app);
    let calls = app.calls.clone();
    detached(&calls, async move {
        let details = (bound.details)(describe::named_id(&request.get_ref().resource_id));
        let mut call = Call::begin(&app, &request, (bound.set_event)(details))?;
        let result = replace(&mut call, request.into_inner(), bound).await;
        call.finish(result).await
    })
    .await
}

/// `UpdateAccessBindings`.
pub(super) async fn update(
    app: &Arc<App>,
    request: Request<wire::UpdateAccessBindingsRequest>,
    bound: &'static Bound,
) -> Answer<Operation> {
    let app = Arc::clone(app);
    let calls = app.calls.clone();
    detached(&calls, async move {
        let details = (bound.details)(describe::named_id(&request.get_ref().resource_id));
        let mut call = Call::begin(&app, &request, (bound.update_event)(details))?;
        let result = change(&mut call, request.into_inner(), bound).await;
        call.finish(result).await
    })
    .await
}

async fn page_of(
    call: &mut Call<'_>,
    request: &wire::ListAccessBindingsRequest,
    bound: &Bound,
) -> Result<wire::ListAccessBindingsResponse, ApiError> {
    let caller = call.admit(request)?;
    let resource = bound.resource(&request.resource_id)?;
    let list = List { kind: bound.list, of: &resource.id };
    let after = list.place(&request.page_token)?;
    let size = page::size(request.page_size);
    let (set, path) = call
        .read(&caller, |view| {
            within(bound_path(view, &resource)?, |path| {
                let seen_by = seen_by(resource.kind).ok_or(Rejection::PermissionDenied)?;
                require(view, &caller.subject, seen_by, path)?;
                Ok(tables::bindings(view, &resource)?.living(view.now()))
            })
        })
        .await?;
    call.path = Some(path);
    let (page, next) = bindings::page(&set, after, size);
    Ok(wire::ListAccessBindingsResponse {
        access_bindings: page.into_iter().map(bindings::to_wire).collect(),
        next_page_token: next.map(|place| list.token(place)).unwrap_or_default(),
    })
}

async fn replace(
    call: &mut Call<'_>,
    request: wire::SetAccessBindingsRequest,
    bound: &Bound,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let resource = bound.resource(&request.resource_id)?;
    let new = bindings::set_from_wire(request.access_bindings)?;
    let details = AccessBindingsDetails {
        access_bindings: new.iter().map(bindings::to_audit).collect(),
        ..(bound.details)(resource.id.clone())
    };
    let command = Command::SetAccessBindings { resource: resource.clone(), bindings: new };
    propose(call, &caller, claim, &resource, command, (bound.set_event, details)).await
}

async fn change(
    call: &mut Call<'_>,
    request: wire::UpdateAccessBindingsRequest,
    bound: &Bound,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let resource = bound.resource(&request.resource_id)?;
    let deltas = bindings::deltas_from_wire(request.access_binding_deltas)?;
    let details = AccessBindingsDetails {
        access_binding_deltas: deltas.iter().map(bindings::delta_to_audit).collect(),
        ..(bound.details)(resource.id.clone())
    };
    let command = Command::UpdateAccessBindings { resource: resource.clone(), deltas };
    propose(call, &caller, claim, &resource, command, (bound.update_event, details)).await
}

/// A repeat's operation, or a new one after an early answer on rights.
///
/// The audit hears of the bindings only from who may grant: roles and subjects are any text so far,
/// a thousand of them in one call, and nobody else may fill the audit with theirs. A repeat changes
/// nothing, and so its record has no names.
async fn propose(
    call: &mut Call<'_>,
    caller: &Caller,
    claim: Option<IdempotencyClaim>,
    resource: &ResourceRef,
    command: Command,
    (event, details): (Event, AccessBindingsDetails),
) -> Result<Operation, ApiError> {
    if let Some(operation) = call.recall(caller, claim.as_ref()).await? {
        call.details = event(details);
        return Ok(convert::operation(&operation));
    }
    let (named, path) = call
        .prepare(caller, |view| {
            within(bound_path(view, resource)?, |path| {
                require_grantor(view, &caller.subject, Some(&caller.token), path)?;
                let mut named = details.clone();
                bindings::add_names(view, &mut named)?;
                Ok(named)
            })
        })
        .await?;
    call.path = Some(path);
    call.details = event(named);
    match call.propose(caller, claim, command).await {
        Ok(operation) => Ok(convert::operation(&operation)),
        Err(Attempt::Rejected(rejection, at)) => Err(rejected(&in_the_role(rejection), at)),
        Err(Attempt::Failed(error)) => Err(error),
    }
}

/// A refusal with the field as the cloud's messages have it: there conditions are in the role id.
fn in_the_role(rejection: Rejection) -> Rejection {
    let Rejection::InvalidArgument { mut field, description } = rejection else { return rejection };
    if let Some(at) = field.find(".conditions") {
        field.replace_range(at.., ".role_id");
    }
    Rejection::InvalidArgument { field, description }
}
