//! `lockbox.cluster.v1.ClusterService`, on the listener for peers: `cluster init`, `recover-admin`
//! and `status`.
//!
//! The operator is known by a certificate, for there is nobody yet who could log in. Status
//! answers in every state that the process can be in: sealed, without a leader, uninitialised.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockbox_core::{CloudId, FolderId, IdError, NodeId, OrganizationId};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::{ApiError, FieldViolation};
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::StorageError;
use lockbox_raft::domain::feature_level::FEATURE_LEVEL_MAX;
use lockbox_raft::network::PROTOCOL_MAX;
use lockbox_raft::state::tables;
use lockbox_raft::store::FORMAT_VERSION;
use lockbox_raft::types::Member;
use tonic::{Request, Response, Status};
use wire::cluster_service_server::ClusterService;

use crate::app::App;
use crate::bootstrap::{FirstNames, Initialised, initialise};
use crate::call::{Call, detached, validate};
use crate::convert;
use crate::errors::DecidedAt;
use crate::peer_name::Peer;
use crate::recovery::recover_admin;
use crate::unseal;

/// The service over the node's parts.
#[derive(Clone)]
pub struct ClusterGrpc {
    app: Arc<App>,
}

impl ClusterGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

fn event(event_name: &'static str) -> AuditDetails {
    let ids = BTreeMap::new();
    AuditDetails::Request(RequestDetails { source: EventSource::Cluster, event_name, ids })
}

#[tonic::async_trait]
impl ClusterService for ClusterGrpc {
    async fn init(
        &self,
        request: Request<wire::InitRequest>,
    ) -> Result<Response<wire::InitResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.always_admitted();
        detached(&calls, async move {
            let mut call = Call::begin(&app, &request, event("InitCluster"))?;
            let result = init(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }

    async fn recover_admin(
        &self,
        request: Request<wire::RecoverAdminRequest>,
    ) -> Result<Response<wire::RecoverAdminResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.always_admitted();
        detached(&calls, async move {
            let mut call = Call::begin(&app, &request, event("RecoverAdministrator"))?;
            let result = recover(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.always_admitted();
        detached(&calls, async move {
            let mut call = Call::begin(&app, &request, event("GetClusterStatus"))?;
            let admitted = call.admit_certificate(&[Peer::Admin, Peer::Operator, Peer::Node]);
            let result = admitted.and_then(|()| status(&mut call));
            call.finish(result).await
        })
        .await
    }
}

async fn init(
    call: &mut Call<'_>,
    request: wire::InitRequest,
) -> Result<wire::InitResponse, ApiError> {
    call.admit_certificate(&[Peer::Admin])?;
    validate(&request)?;
    let members = members(&request.members)?;
    let names = names(&request)?;
    let system_key = &call.app.config.kms.system_key_id;
    let made = initialise(call.app, system_key, members, names, &request.admin_public_key).await?;
    Ok(answer(made))
}

async fn recover(
    call: &mut Call<'_>,
    request: &wire::RecoverAdminRequest,
) -> Result<wire::RecoverAdminResponse, ApiError> {
    call.admit_certificate(&[Peer::Admin])?;
    validate(request)?;
    let (key, deadline) = (&request.admin_public_key, call.context.deadline);
    let recovered = recover_admin(call.app, key, request.keep_other_keys, deadline).await?;
    call.observe(recovered.at);
    let deleted_key_ids: Vec<String> =
        recovered.deleted_key_ids.into_iter().map(String::from).collect();
    let (first, key) = (recovered.first, recovered.key);
    let ids = BTreeMap::from([
        ("service_account_id", key.service_account_id.to_string()),
        ("key_id", key.id.to_string()),
        ("deleted_key_ids", deleted_key_ids.join(",")),
    ]);
    let (source, event_name) = (EventSource::Cluster, "RecoverAdministrator");
    call.details = AuditDetails::Request(RequestDetails { source, event_name, ids });
    Ok(wire::RecoverAdminResponse {
        cloud_id: first.cloud_id.into(),
        folder_id: first.folder_id.into(),
        admin_service_account_id: key.service_account_id.into(),
        admin_key_id: key.id.into(),
        admin_public_key: key.public_key_pem,
        created_at: Some(convert::timestamp(key.created_at)),
        deleted_key_ids,
    })
}

fn answer(made: Initialised) -> wire::InitResponse {
    wire::InitResponse {
        cluster_id: made.cluster_id.into(),
        organization_id: made.organization_id.into(),
        cloud_id: made.cloud_id.into(),
        folder_id: made.folder_id.into(),
        admin_service_account_id: made.admin_id.into(),
        admin_key_id: made.admin_key_id.into(),
        admin_public_key: made.public_key_pem,
        created_at: Some(convert::timestamp(made.created_at)),
    }
}

/// The members by id; every field for itself was validated before.
fn members(list: &[wire::Member]) -> Result<BTreeMap<NodeId, Member>, ApiError> {
    let mut members = BTreeMap::new();
    let mut repeated = Vec::new();
    for (position, member) in list.iter().enumerate() {
        let record = Member::at(member.peer_address.clone(), member.api_address.clone());
        if members.insert(member.node_id, record).is_some() {
            repeated.push(FieldViolation {
                field: format!("members[{position}].node_id"),
                description: "occurs twice".to_owned(),
            });
        }
    }
    if repeated.is_empty() { Ok(members) } else { Err(ApiError::violations(repeated)) }
}

fn names(request: &wire::InitRequest) -> Result<FirstNames, ApiError> {
    Ok(FirstNames {
        organization_id: id("organization_id", &request.organization_id, OrganizationId::parse)?,
        cloud_id: id("cloud_id", &request.cloud_id, CloudId::parse)?,
        folder_id: id("folder_id", &request.folder_id, FolderId::parse)?,
        folder_name: Some(request.folder_name.clone()).filter(|name| !name.is_empty()),
    })
}

fn id<I>(
    field: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<I, IdError>,
) -> Result<Option<I>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).map_err(|error| ApiError::invalid(field, error.to_string()))
}

/// The node as it sees itself.
fn status(call: &mut Call<'_>) -> Result<wire::StatusResponse, ApiError> {
    let app = call.app;
    let status = app.replica.status();
    let internal = |error: StorageError| ApiError::internal(error.to_string());
    let at = app.replica.read_stale(|view, _| tables::feature_level(view)).map_err(internal)?;
    call.observe(DecidedAt { index: at.index, term: at.term });
    let feature_level = at.value.map_err(internal)?;
    let member = |member: lockbox_raft::replica::MemberStatus| wire::MemberStatus {
        node_id: member.node_id,
        peer_address: member.member.peer_address,
        api_address: member.member.api_address,
        voter: member.voter,
        matched_index: member.matched.unwrap_or_default(),
        matched_known: member.matched.is_some(),
        store_id: member.member.store_id.to_string(),
    };
    Ok(wire::StatusResponse {
        cluster_id: status.cluster_id,
        node_id: status.node_id,
        role: status.role.name().to_owned(),
        leader_id: status.leader.map(|(id, _)| id).unwrap_or_default(),
        term: status.term,
        last_log_index: status.last_log,
        committed_index: status.committed,
        applied_index: status.applied,
        snapshot_index: status.snapshot,
        purged_index: status.purged,
        sealed: app.keyring.is_sealed(),
        sealed_reason: sealed_reason(app),
        members: status.members.into_iter().map(member).collect(),
        wall_clock_ms: app.clock.wall_ms(),
        log_time_ms: app.replica.log_time().unwrap_or_default().as_ms(),
        version: lockbox_core::mutants::marked(env!("CARGO_PKG_VERSION")),
        format_version: FORMAT_VERSION,
        protocol_version: PROTOCOL_MAX,
        membership_token: status.membership.to_string(),
        joint: status.joint,
        store_id: status.store_id.to_string(),
        state_generation: status.state_generation,
        feature_level,
        feature_level_max: FEATURE_LEVEL_MAX,
        cluster_epoch: status.cluster_epoch,
        growth_refused: app.replica.refuses_growth(),
    })
}

/// Why the node is sealed; empty when it is not.
pub(super) fn sealed_reason(app: &App) -> String {
    let Err(sealed) = app.keyring.ring() else { return String::new() };
    let reasons = app.readiness.reasons().into_iter();
    let told = reasons.filter(|(component, _)| *component == unseal::COMPONENT);
    told.map(|(_, reason)| reason).next().unwrap_or_else(|| sealed.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_occurs_once() {
        let member = |node_id| wire::Member {
            node_id,
            peer_address: "localhost:1".into(),
            api_address: "localhost:2".into(),
        };
        assert_eq!(members(&[member(1), member(2)]).unwrap().len(), 2);
        let repeated = members(&[member(1), member(2), member(1)]).unwrap_err();
        assert_eq!(repeated.code(), tonic::Code::InvalidArgument);
    }
}
