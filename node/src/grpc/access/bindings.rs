//! The bindings of any resource, named by its id alone: of a single version, too.

use lockbox_core::{ResourceKind, ResourcePath, ResourceRef};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::iam::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::apply::{bound_path, find_resource, require, require_grantor};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::Command;
use lockbox_raft::state::{StateRead, tables};

use super::on_resource;
use crate::call::{Attempt, Call};
use crate::errors::rejected;
use crate::grpc::access_bindings::seen_by;
use crate::page::{self, List};
use crate::refused::{Refused, within};
use crate::{bindings, convert, idempotency};

pub(super) async fn list(
    call: &mut Call<'_>,
    request: &wire::ListBindingsRequest,
) -> Result<wire::ListBindingsResponse, ApiError> {
    // Who asks who may must not be told of yesterday (`design §5`).
    let caller = call.admit(request)?;
    let list = List { kind: "bindings with conditions", of: &request.resource_id };
    let after = list.place(&request.page_token)?;
    let size = page::size(request.page_size);
    let (set, path) = call
        .read(&caller, |view| {
            let (resource, path) = find(view, &request.resource_id)?;
            within(path, |path| {
                let seen_by = seen_by(resource.kind).ok_or(Rejection::PermissionDenied)?;
                require(view, &caller.subject, seen_by, path)?;
                Ok(tables::bindings(view, &resource)?.living(view.now()))
            })
        })
        .await?;
    call.path = Some(path);
    let (page, next) = bindings::page(&set, after, size);
    Ok(wire::ListBindingsResponse {
        bindings: page.into_iter().map(bindings::to_own).collect(),
        next_page_token: next.map(|place| list.token(place)).unwrap_or_default(),
    })
}

pub(super) async fn update(
    call: &mut Call<'_>,
    request: wire::UpdateBindingsRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let id = request.resource_id.clone();
    let deltas = bindings::deltas_from_own(request.deltas)?;
    let mut details = on_resource(id.clone());
    details.access_binding_deltas = deltas.iter().map(bindings::delta_to_audit).collect();
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        call.details = AuditDetails::UpdateBindings(details);
        return Ok(convert::operation(&operation));
    }
    let ((resource, named), path) = call
        .prepare(&caller, |view| {
            let (resource, path) = find(view, &id)?;
            within(path, |path| {
                require_grantor(view, &caller.subject, Some(&caller.token), path)?;
                let mut named = details.clone();
                bindings::add_names(view, &mut named)?;
                Ok((resource, named))
            })
        })
        .await?;
    call.path = Some(path);
    // As in the cloud's methods: the audit hears of bindings from who may grant alone.
    call.details = AuditDetails::UpdateBindings(named);
    let command = Command::UpdateAccessBindings { resource, deltas };
    match call.propose(&caller, claim, command).await {
        Ok(operation) => Ok(convert::operation(&operation)),
        Err(Attempt::Rejected(rejection, at)) => Err(rejected(&in_own_words(rejection), at)),
        Err(Attempt::Failed(error)) => Err(error),
    }
}

/// A refusal with the field as this request has it: the command's is that of the cloud's request.
fn in_own_words(rejection: Rejection) -> Rejection {
    let Rejection::InvalidArgument { field, description } = rejection else { return rejection };
    let field = field.replacen("access_binding_deltas[", "deltas[", 1);
    let field = field.replacen("].access_binding.", "].binding.", 1);
    Rejection::InvalidArgument { field, description }
}

/// What has this id, and where it is, if it is something that can be bound on.
fn find(view: &dyn StateRead, id: &str) -> Result<(ResourceRef, ResourcePath), Refused> {
    let found = find_resource(view, id)?;
    let leaf = found.as_ref().and_then(|path| path.resources().last().cloned());
    // Of an id of nothing nobody knows what it should be of.
    let resource = leaf.ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id))?;
    let path = bound_path(view, &resource)?;
    Ok((resource, path))
}
