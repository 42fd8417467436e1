//! What the fake tells of its audit, which it has none of.

use lockbox_core::{KMS_AUDIT_ID, LogTime};
use lockbox_platform::audit::{ChainHead, HeadSigner, HeadStatement};
use lockbox_proto::lockbox::kms::v1::audit_head_service_server::AuditHeadService;
use lockbox_proto::lockbox::kms::v1::{
    AuditRecordMark, TellAuditHeadRequest, TellAuditHeadResponse,
};
use tonic::{Request, Response, Status};

use super::{FakeKms, indexed};

/// A head that the fake tells.
#[derive(Debug, Clone)]
pub(crate) struct FakeHead {
    pub(crate) head: ChainHead,
    pub(crate) followed: bool,
    /// What its key is derived from.
    pub(crate) secret: &'static [u8],
    /// Signed for this cluster, and not for the one that asks.
    pub(crate) signed_for: Option<&'static str>,
}

/// What it says when it is asked.
#[derive(Debug, Clone, Default)]
pub(crate) enum Telling {
    /// Nothing, as a KMS of another maker.
    #[default]
    Unimplemented,
    /// That there is no record.
    Nothing,
    Head(FakeHead),
}

#[derive(Default)]
pub(super) struct Heads {
    telling: Telling,
    asked: Vec<TellAuditHeadRequest>,
}

impl FakeKms {
    /// Tells this from now on.
    pub(crate) fn tell(&self, telling: Telling) {
        self.0.lock().unwrap().heads.telling = telling;
    }

    /// What it was asked, in order.
    pub(crate) fn asked_for_heads(&self) -> Vec<TellAuditHeadRequest> {
        self.0.lock().unwrap().heads.asked.clone()
    }
}

#[tonic::async_trait]
impl AuditHeadService for FakeKms {
    async fn tell_audit_head(
        &self,
        request: Request<TellAuditHeadRequest>,
    ) -> Result<Response<TellAuditHeadResponse>, Status> {
        assert!(request.metadata().get_bin("lockbox-assertion-bin").is_none());
        let message = request.into_inner();
        let telling = {
            let mut state = self.0.lock().unwrap();
            if state.down {
                return Err(Status::unavailable("the fake is down"));
            }
            state.heads.asked.push(message.clone());
            state.heads.telling.clone()
        };
        match telling {
            Telling::Unimplemented => Err(Status::unimplemented("the fake has no audit")),
            Telling::Nothing => Ok(indexed(TellAuditHeadResponse::default())),
            Telling::Head(told) => Ok(indexed(answer(&told, &message))),
        }
    }
}

fn answer(told: &FakeHead, asked: &TellAuditHeadRequest) -> TellAuditHeadResponse {
    let signer = HeadSigner::derived_from(told.secret).unwrap();
    let cluster_id = told.signed_for.unwrap_or(&asked.cluster_id);
    let (head, told_at) = (told.head, LogTime::from_ms(5));
    let (node_id, removed_through) = (KMS_AUDIT_ID, asked.removed_before.checked_sub(1));
    let said = HeadStatement { cluster_id, node_id, head, told_at, removed_through };
    let hash = head.hash.as_bytes().to_vec();
    TellAuditHeadResponse {
        head: Some(AuditRecordMark { sequence: head.sequence, hash }),
        followed: told.followed,
        removed_before: asked.removed_before,
        told_at_ms: told_at.as_ms(),
        signer: signer.public_key().to_vec(),
        signature: signer.sign(&said),
    }
}
