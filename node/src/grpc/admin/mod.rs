//! `lockbox.cluster.v1.AdminService`, on the listener for peers: what an operator does with a
//! cluster that runs, and what checkers compare.
//!
//! Who may call is what a certificate's name says; `operator` and `admin` may, nodes and the KMS
//! may not. Changes are made where the leader is; elsewhere the answer is UNAVAILABLE.

mod audit_heads;
mod backup;
mod destroyed;
mod failure;
mod feature_level;
mod inspect;
mod keyring;
mod membership;
mod sealing;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_proto::validate::Validate;
use tonic::{Request, Response, Status};
use wire::admin_service_server::AdminService;

use crate::app::App;
use crate::call::{Call, detached, validate};
use crate::peer_name::Peer;

/// The service over the node's parts.
#[derive(Clone)]
pub struct AdminGrpc {
    app: Arc<App>,
}

/// What a method does, by its request.
trait Work: Validate + Send + 'static {
    /// What it answers.
    type Answer: Send + 'static;
    /// Its name in the audit.
    const EVENT: &'static str;

    /// The ids that it names, for the audit.
    fn ids(&self) -> BTreeMap<&'static str, String>;

    /// Does it; the caller may, and the message is valid.
    fn run(
        self,
        call: &mut Call<'_>,
    ) -> impl Future<Output = Result<Self::Answer, ApiError>> + Send;
}

impl AdminGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// Runs one call from its beginning to its audit record and reply.
    async fn serve<W: Work>(&self, request: Request<W>) -> Result<Response<W::Answer>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.always_admitted();
        detached(&calls, async move {
            let details = RequestDetails {
                source: EventSource::Cluster,
                event_name: W::EVENT,
                ids: request.get_ref().ids(),
            };
            let mut call = Call::begin(&app, &request, AuditDetails::Request(details))?;
            let result = admitted(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }
}

async fn admitted<W: Work>(call: &mut Call<'_>, work: W) -> Result<W::Answer, ApiError> {
    call.admit_certificate(&[Peer::Operator, Peer::Admin])?;
    validate(&work)?;
    work.run(call).await
}

#[tonic::async_trait]
impl AdminService for AdminGrpc {
    async fn add_member(
        &self,
        request: Request<wire::AddMemberRequest>,
    ) -> Result<Response<wire::MembershipChange>, Status> {
        self.serve(request).await
    }

    async fn promote_member(
        &self,
        request: Request<wire::PromoteMemberRequest>,
    ) -> Result<Response<wire::MembershipChange>, Status> {
        self.serve(request).await
    }

    async fn remove_member(
        &self,
        request: Request<wire::RemoveMemberRequest>,
    ) -> Result<Response<wire::MembershipChange>, Status> {
        self.serve(request).await
    }

    async fn replace_member(
        &self,
        request: Request<wire::ReplaceMemberRequest>,
    ) -> Result<Response<wire::MembershipChange>, Status> {
        self.serve(request).await
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderResponse>, Status> {
        self.serve(request).await
    }

    async fn take_snapshot(
        &self,
        request: Request<wire::TakeSnapshotRequest>,
    ) -> Result<Response<wire::TakeSnapshotResponse>, Status> {
        self.serve(request).await
    }

    async fn state_hash(
        &self,
        request: Request<wire::StateHashRequest>,
    ) -> Result<Response<wire::StateHashResponse>, Status> {
        self.serve(request).await
    }

    async fn read_log(
        &self,
        request: Request<wire::ReadLogRequest>,
    ) -> Result<Response<wire::ReadLogResponse>, Status> {
        self.serve(request).await
    }

    async fn list_audit_heads(
        &self,
        request: Request<wire::ListAuditHeadsRequest>,
    ) -> Result<Response<wire::ListAuditHeadsResponse>, Status> {
        self.serve(request).await
    }

    async fn read_usage(
        &self,
        request: Request<wire::ReadUsageRequest>,
    ) -> Result<Response<wire::ReadUsageResponse>, Status> {
        self.serve(request).await
    }

    async fn verify_destroyed(
        &self,
        request: Request<wire::VerifyDestroyedRequest>,
    ) -> Result<Response<wire::VerifyDestroyedResponse>, Status> {
        self.serve(request).await
    }

    async fn rotate_keyring(
        &self,
        request: Request<wire::RotateKeyringRequest>,
    ) -> Result<Response<wire::RotateKeyringResponse>, Status> {
        self.serve(request).await
    }

    async fn keyring_status(
        &self,
        request: Request<wire::KeyringStatusRequest>,
    ) -> Result<Response<wire::KeyringStatusResponse>, Status> {
        self.serve(request).await
    }

    async fn seal(
        &self,
        request: Request<wire::SealRequest>,
    ) -> Result<Response<wire::SealResponse>, Status> {
        self.serve(request).await
    }

    async fn unseal(
        &self,
        request: Request<wire::UnsealRequest>,
    ) -> Result<Response<wire::SealResponse>, Status> {
        self.serve(request).await
    }

    async fn make_backup(
        &self,
        request: Request<wire::MakeBackupRequest>,
    ) -> Result<Response<wire::Backup>, Status> {
        self.serve(request).await
    }

    async fn read_backup(
        &self,
        request: Request<wire::ReadBackupRequest>,
    ) -> Result<Response<wire::ReadBackupResponse>, Status> {
        self.serve(request).await
    }

    async fn store_backup(
        &self,
        request: Request<wire::StoreBackupRequest>,
    ) -> Result<Response<wire::StoreBackupResponse>, Status> {
        self.serve(request).await
    }

    async fn drop_backup(
        &self,
        request: Request<wire::DropBackupRequest>,
    ) -> Result<Response<wire::DropBackupResponse>, Status> {
        self.serve(request).await
    }

    async fn list_backups(
        &self,
        request: Request<wire::ListBackupsRequest>,
    ) -> Result<Response<wire::ListBackupsResponse>, Status> {
        self.serve(request).await
    }

    async fn list_destroyed(
        &self,
        request: Request<wire::ListDestroyedRequest>,
    ) -> Result<Response<wire::ListDestroyedResponse>, Status> {
        self.serve(request).await
    }

    async fn raise_feature_level(
        &self,
        request: Request<wire::RaiseFeatureLevelRequest>,
    ) -> Result<Response<wire::RaiseFeatureLevelResponse>, Status> {
        self.serve(request).await
    }
}
