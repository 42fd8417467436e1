//! Authorized keys that change: their description, their end.

use lockbox_core::{AuthorizedKeyId, Permission};
use lockbox_platform::status::ApiError;
use lockbox_proto::validate::Validate;
use lockbox_proto::yandex::cloud::iam::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::domain::command::Command;
use prost::Message;

use super::{Wanted, key_for, parse_key_id};
use crate::call::Call;
use crate::{convert, idempotency};

pub(super) async fn update(
    call: &mut Call<'_>,
    request: wire::UpdateKeyRequest,
) -> Result<Operation, ApiError> {
    let paths = request.update_mask.as_ref().map_or(&[][..], |mask| mask.paths.as_slice());
    let mut listed = request.clone();
    if !paths.iter().any(|path| path == "description") {
        // What the mask does not list is ignored, however wrong it is.
        listed.description.clear();
    }
    let command = |key_id| {
        if paths.is_empty() {
            return Err(ApiError::invalid("update_mask", "must name at least one field"));
        }
        if paths.iter().any(|path| path != "description") {
            return Err(ApiError::invalid("update_mask", "names a field that cannot change"));
        }
        Ok(Command::UpdateAuthorizedKey { key_id, description: request.description.clone() })
    };
    change(call, &listed, &request, &request.key_id, command).await
}

pub(super) async fn delete(
    call: &mut Call<'_>,
    request: &wire::DeleteKeyRequest,
) -> Result<Operation, ApiError> {
    let command = |key_id| Ok(Command::DeleteAuthorizedKey { key_id });
    change(call, request, request, &request.key_id, command).await
}

/// One change, whose fields are judged as `judged`, and whose repeats are known by `sent`.
async fn change<M: Validate + Message>(
    call: &mut Call<'_>,
    judged: &M,
    sent: &M,
    id: &str,
    command: impl FnOnce(AuthorizedKeyId) -> Result<Command, ApiError>,
) -> Result<Operation, ApiError> {
    let caller = call.admit(judged)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, sent)?;
    let key_id = parse_key_id(id)?;
    let command = command(key_id.clone())?;
    // A repeat of a deletion finds no key: only its operation.
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    let wanted = Wanted::Change(Permission::ServiceAccountsAdminister);
    let found = call.prepare(&caller, |view| key_for(view, &caller, &key_id, wanted)).await?;
    call.path = Some(found.1);
    Ok(convert::operation(&call.propose(&caller, claim, command).await?))
}
