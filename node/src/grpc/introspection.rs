//! `lockbox.cluster.v1.IntrospectionService`: tells the KMS who stands behind a token
//! (`design §7`).
//!
//! Every answer about a signed token is read behind a barrier, so that a revocation that was
//! acknowledged anywhere counts at once; without a barrier there is no answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockbox_core::{ServiceAccountId, SubjectKind};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::apply::{Refusal, authenticate};
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, TimedView, tables};
use tonic::{Request, Response, Status};
use wire::introspection_service_server::IntrospectionService;

use crate::app::App;
use crate::authn::Caller;
use crate::call::{Call, detached};
use crate::convert;
use crate::held_rights::{HeldRights, held_rights};
use crate::peer_name::Peer;

/// The service over the node's parts.
#[derive(Clone)]
pub struct IntrospectionGrpc {
    app: Arc<App>,
}

impl IntrospectionGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

fn event(token_id: &str) -> AuditDetails {
    let source = EventSource::Cluster;
    let ids = BTreeMap::from([("iam_token_id", token_id.to_owned())]);
    AuditDetails::Request(RequestDetails { source, event_name: "IntrospectToken", ids })
}

#[tonic::async_trait]
impl IntrospectionService for IntrospectionGrpc {
    async fn introspect(
        &self,
        request: Request<wire::IntrospectRequest>,
    ) -> Result<Response<wire::IntrospectResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.always_admitted();
        detached(&calls, async move {
            let mut call = Call::begin(&app, &request, event(""))?;
            let result = introspect(&mut call, &request.get_ref().token).await;
            call.finish(result).await
        })
        .await
    }
}

/// What the view says of a living token.
struct Known {
    subject_name: String,
    rights: HeldRights,
}

async fn introspect(
    call: &mut Call<'_>,
    token: &str,
) -> Result<wire::IntrospectResponse, ApiError> {
    call.admit_certificate(&[Peer::Kms])?;
    let Some(caller) = signed(call, token).await? else {
        return Ok(wire::IntrospectResponse::default());
    };
    call.details = event(caller.token.token_id.as_str());
    let known = call.look(|view, now| {
        match authenticate(view, &caller.subject, Some(&caller.token), now) {
            Ok(()) => Ok(Some(known(&TimedView::new(view, now), &caller)?)),
            Err(Refusal::Rejected(_)) => Ok(None),
            Err(storage @ Refusal::Storage(_)) => Err(storage),
        }
    });
    let known = known.await?;
    let (index, term) = call.observed().map(|at| (at.index, at.term)).unwrap_or_default();
    let Some(known) = known else {
        return Ok(wire::IntrospectResponse { index, term, ..Default::default() });
    };
    let credential_id = caller.token.credential_id.map(String::from).unwrap_or_default();
    Ok(wire::IntrospectResponse {
        active: true,
        subject_type: caller.subject.kind.as_str().to_owned(),
        subject_id: caller.subject.id,
        subject_name: known.subject_name,
        token_id: caller.token.token_id.into(),
        credential_id,
        expires_at: Some(convert::timestamp(caller.token.expires_at)),
        grants: known.rights.grants,
        folders: known.rights.folders,
        index,
        term,
        borrowed: caller.token.maker.is_some(),
    })
}

/// Whom a token of this cluster names; nothing when no signing key of the state signed it.
///
/// A node that has just started, or that has not heard of a new key yet, must not call a good
/// token bad: what it does not recognise is compared with the keys of the state once more.
async fn signed(call: &mut Call<'_>, token: &str) -> Result<Option<Caller>, ApiError> {
    if let Ok(caller) = call.app.authenticator.verify(token) {
        return Ok(Some(caller));
    }
    let look = |view: &dyn StateRead, _| Ok((tables::cluster(view)?, tables::keyring(view)?));
    let (cluster, keyring) = call.look(look).await?;
    let cluster = cluster.ok_or_else(|| ApiError::unavailable("the cluster is not initialised"))?;
    call.app.authenticator.trust(&cluster.id, &keyring);
    Ok(call.app.authenticator.verify(token).ok())
}

fn known(view: &TimedView<'_>, caller: &Caller) -> Result<Known, StorageError> {
    let account = match caller.subject.kind {
        SubjectKind::ServiceAccount => ServiceAccountId::parse(&caller.subject.id).ok(),
        SubjectKind::UserAccount
        | SubjectKind::FederatedUser
        | SubjectKind::Group
        | SubjectKind::System => None,
    };
    let account = match &account {
        Some(id) => tables::service_account(view, id)?,
        None => None,
    };
    let subject_name = account.map(|account| account.name).unwrap_or_default();
    Ok(Known { subject_name, rights: held_rights(view, &caller.subject)? })
}
