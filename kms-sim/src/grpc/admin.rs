//! KeyAdminService: what operators do, who are known by the names in their certificates alone.

use std::sync::Arc;

use lockbox_platform::detach::detached;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::kms::v1::key_admin_service_server::KeyAdminService;
use lockbox_proto::lockbox::kms::v1::{BackupRequest, UndeleteKeyRequest, UndeleteKeyResponse};
use tonic::{Request, Response, Status};

use super::attended::attended;
use super::backup_stream::{self, Chunks};
use super::call::Call;
use super::events::{self, Effect, Mutation};
use super::{Edge, convert};
use crate::keys::Done;
use crate::keys::service::{self, Answer};

/// The service.
pub(crate) struct AdminService {
    edge: Arc<Edge>,
}

impl AdminService {
    pub(crate) const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }
}

async fn undelete(
    edge: &Edge,
    call: &mut Call,
    message: &UndeleteKeyRequest,
) -> Result<Done, ApiError> {
    let operator = call.admit_operator(edge, message)?;
    let key_id = convert::key_id("key_id", &message.key_id)?;
    call.commit(service::undelete(&edge.engine, &operator, &key_id)).await
}

/// Begins a backup; the commit that it holds at least is its index.
fn back_up(
    edge: &Arc<Edge>,
    call: &mut Call,
    message: &BackupRequest,
) -> Result<Answer<Chunks>, ApiError> {
    call.admit_operator(edge, message)?;
    let index = edge.engine.reading()?.index;
    Ok(Answer { value: backup_stream::begin(edge), index })
}

#[tonic::async_trait]
impl KeyAdminService for AdminService {
    type BackupStream = Chunks;

    async fn backup(
        &self,
        request: Request<BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move {
            let mut call = Call::begin(&edge, &request)?;
            let result = back_up(&edge, &mut call, &request.into_inner());
            // The one record of the backup is written before its first byte leaves.
            call.finish(&edge, events::backup(), result).await
        })
        .await
    }

    async fn undelete_key(
        &self,
        request: Request<UndeleteKeyRequest>,
    ) -> Result<Response<UndeleteKeyResponse>, Status> {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let result = undelete(&edge, &mut call, &message).await;
            let operation = result.as_ref().ok().map(|done| done.value.as_ref());
            let effect = Effect { operation, observed: None };
            let event = events::mutation(Mutation::Undelete, &message.key_id, effect);
            let result = result.map(|Answer { value, index }| {
                let key = Some(convert::key(&value.key, &value.primary_version));
                Answer { value: UndeleteKeyResponse { key }, index }
            });
            call.finish(&edge, event, result).await
        })
        .await
    }
}
