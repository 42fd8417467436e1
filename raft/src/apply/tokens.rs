//! Revocation of IAM tokens (`contract §1.11`): dead in one commit, remembered until they would
//! have died anyway.

use lockbox_core::{ResourceKind, ResourceRef};

use super::{Application, Effect, retention};
use crate::domain::command::RevokeToken;
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::error::StorageError;
use crate::state::{Space, keys, tables};

/// Whoever has a token may revoke it: it was found, or it is the caller's own.
pub(super) fn revoke(
    application: &mut Application<'_, '_>,
    revoke: &RevokeToken,
) -> Result<Effect, StorageError> {
    let is_new = !tables::token_revoked(application.state, &revoke.token_id)?;
    if is_new && application.now < revoke.expires_at {
        let key = keys::revoked_token(&revoke.token_id);
        let now = application.now;
        application.put(Space::Records, key.clone(), &now);
        retention::forget_at(application, revoke.expires_at, key);
    }
    Ok(Effect {
        description: "Revoke IAM token".to_owned(),
        resource: ResourceRef::new(ResourceKind::ServiceAccount, &revoke.subject.id),
        metadata: OperationMetadata::RevokeToken { token_id: revoke.token_id.clone() },
        result: OperationResult::Empty,
    })
}
