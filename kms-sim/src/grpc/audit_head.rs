//! AuditHeadService: the head of this server's own audit, for the cluster that anchors it.

use std::sync::Arc;

use lockbox_platform::audit::record::EventSource;
use lockbox_platform::audit::{ChainHead, LineHash};
use lockbox_platform::detach::detached;
use lockbox_platform::status::{ApiError, ErrorKind, Outcome};
use lockbox_proto::lockbox::kms::v1::audit_head_service_server::AuditHeadService;
use lockbox_proto::lockbox::kms::v1::{
    AuditRecordMark, TellAuditHeadRequest, TellAuditHeadResponse,
};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::{Edge, events};
use crate::audit_head::{Known, Told};
use crate::caller::Via;
use crate::keys::service::Answer;

/// The event of a call that was refused.
pub(super) const EVENT: &str = "TellAuditHead";

/// The service.
pub(crate) struct HeadService {
    edge: Arc<Edge>,
}

impl HeadService {
    pub(crate) const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }
}

async fn tell(
    edge: &Edge,
    call: &mut Call,
    message: &TellAuditHeadRequest,
) -> Result<Answer<TellAuditHeadResponse>, ApiError> {
    let caller = call.admit(edge, message).await?;
    match caller.via {
        Via::Node { .. } => {}
        Via::Assertion { .. } | Via::Token | Via::Operator => {
            let message = "only a node in its own name is told of the audit";
            return Err(ApiError::new(ErrorKind::PermissionDenied, message, Outcome::NotProposed));
        }
    }
    let known = Known {
        cluster_id: &message.cluster_id,
        last: message.last.as_ref().map(chain_head).transpose()?,
        removed_through: message.removed_before.checked_sub(1),
    };
    let told = edge.audit_heads.tell(known, call.deadline()).await?;
    let index = edge.engine.reading()?.index;
    let answer = |told| answer(told, edge.audit_heads.public_key());
    Ok(Answer { value: told.map(answer).unwrap_or_default(), index })
}

fn chain_head(mark: &AuditRecordMark) -> Result<ChainHead, ApiError> {
    let hash = mark.hash.as_slice().try_into();
    let hash = hash.map_err(|_length| ApiError::invalid("last.hash", "must have 32 bytes"))?;
    Ok(ChainHead { sequence: mark.sequence, hash: LineHash::from_bytes(hash) })
}

fn answer(told: Told, signer: [u8; 32]) -> TellAuditHeadResponse {
    let Told { head, followed, removed_through, told_at, signature } = told;
    let hash = head.hash.as_bytes().to_vec();
    TellAuditHeadResponse {
        head: Some(AuditRecordMark { sequence: head.sequence, hash }),
        followed,
        removed_before: removed_through.map_or(0, |through| through.saturating_add(1)),
        told_at_ms: told_at.as_ms(),
        signer: signer.to_vec(),
        signature,
    }
}

#[tonic::async_trait]
impl AuditHeadService for HeadService {
    async fn tell_audit_head(
        &self,
        request: Request<TellAuditHeadRequest>,
    ) -> Result<Response<TellAuditHeadResponse>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move {
            let mut call = Call::begin(&edge, &request)?;
            match tell(&edge, &mut call, request.get_ref()).await {
                Ok(answer) => Ok(call.answer_unrecorded(answer)),
                Err(error) => {
                    let id = ("cluster_id", request.get_ref().cluster_id.as_str());
                    let event = events::request(EventSource::Kms, EVENT, id, None);
                    call.finish(&edge, event, Err::<Answer<_>, _>(error)).await
                }
            }
        })
        .await
    }
}
