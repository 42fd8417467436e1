//! `lockbox.cluster.v1.KmsWitnessService`: remembers for the KMS what a restored one must not
//! forget (docs/kms-backup.md).
//!
//! Works on a sealed node: without its KMS every node may be sealed. What the KMS says goes through
//! the log, and is answered with the state behind a barrier, so one node's answer is a majority's.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_proto::validate::Validate;
use lockbox_raft::apply::Refusal;
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::kms_witness::{KmsAttestation, KmsStamp, KmsTombstone, KmsWitness};
use lockbox_raft::domain::outcome::Outcome;
use lockbox_raft::state::tables;
use tonic::{Code, Request, Response, Status};
use wire::kms_witness_service_server::KmsWitnessService;

use crate::app::App;
use crate::bootstrap::propose_for_cluster;
use crate::call::{Call, detached, validate};
use crate::peer_name::Peer;

/// Tombstones of one page.
const PAGE_MAX: usize = 500;

/// The service over the node's parts.
#[derive(Clone)]
pub struct KmsWitnessGrpc {
    app: Arc<App>,
}

impl KmsWitnessGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

fn event(event_name: &'static str, ids: BTreeMap<&'static str, String>) -> AuditDetails {
    AuditDetails::Request(RequestDetails { source: EventSource::Cluster, event_name, ids })
}

#[tonic::async_trait]
impl KmsWitnessService for KmsWitnessGrpc {
    async fn recall(
        &self,
        request: Request<wire::RecallKmsRequest>,
    ) -> Result<Response<wire::KmsWitness>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.always_admitted();
        detached(&calls, async move {
            let details = event("RecallKms", BTreeMap::new());
            let mut call = Call::begin(&app, &request, details)?;
            let result = match admitted(&mut call, request.get_ref()) {
                Ok(()) => recall(&mut call).await,
                Err(refused) => Err(refused),
            };
            call.finish(result).await
        })
        .await
    }

    async fn attest(
        &self,
        request: Request<wire::AttestKmsRequest>,
    ) -> Result<Response<wire::KmsWitness>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.always_admitted();
        detached(&calls, async move {
            let message = request.get_ref();
            let ids = BTreeMap::from([
                ("epoch", message.epoch.to_string()),
                ("head", message.head.to_string()),
                ("tombstones", message.tombstones.len().to_string()),
            ]);
            let mut call = Call::begin(&app, &request, event("AttestKms", ids))?;
            let result = match admitted(&mut call, request.get_ref()) {
                Ok(()) => attest(&mut call, request.get_ref()).await,
                Err(refused) => Err(refused),
            };
            call.finish(result).await
        })
        .await
    }

    async fn list_tombstones(
        &self,
        request: Request<wire::ListKmsTombstonesRequest>,
    ) -> Result<Response<wire::ListKmsTombstonesResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.always_admitted();
        detached(&calls, async move {
            let details = event("ListKmsTombstones", BTreeMap::new());
            let mut call = Call::begin(&app, &request, details)?;
            let result = match admitted(&mut call, request.get_ref()) {
                Ok(()) => list(&mut call, request.get_ref()).await,
                Err(refused) => Err(refused),
            };
            call.finish(result).await
        })
        .await
    }
}

/// Admits the KMS alone, with a message that can be one.
fn admitted(call: &mut Call<'_>, message: &impl Validate) -> Result<(), ApiError> {
    call.admit_certificate(&[Peer::Kms])?;
    validate(message)
}

async fn recall(call: &mut Call<'_>) -> Result<wire::KmsWitness, ApiError> {
    let known = call.look(|view, _now| tables::kms_witness(view).map_err(Refusal::from)).await?;
    let (index, term) = call.observed().map(|at| (at.index, at.term)).unwrap_or_default();
    Ok(known.map_or_else(
        || wire::KmsWitness { index, term, ..Default::default() },
        |known| to_wire(&known, index, term),
    ))
}

async fn attest(
    call: &mut Call<'_>,
    message: &wire::AttestKmsRequest,
) -> Result<wire::KmsWitness, ApiError> {
    let command = Command::AttestKms(Box::new(attestation(message)?));
    let proposed = propose_for_cluster(call.app, command, call.context.deadline).await;
    // The KMS tries again by itself, and needs nothing else once the feature level has risen.
    let applied = proposed.map_err(|error| match error.code() {
        Code::FailedPrecondition => ApiError::unavailable(error.message()),
        _ => error,
    })?;
    match applied.outcome {
        // Whether it counted is told by what is known now.
        Outcome::Nothing => recall(call).await,
        Outcome::Done(_) | Outcome::Rejected(_) => {
            Err(ApiError::internal("the state refuses what the KMS attests"))
        }
    }
}

async fn list(
    call: &mut Call<'_>,
    message: &wire::ListKmsTombstonesRequest,
) -> Result<wire::ListKmsTombstonesResponse, ApiError> {
    let after = message.after.as_ref().map(tombstone).transpose()?;
    // One more than a page, to know whether there is another.
    let read = call.look(|view, _now| {
        tables::kms_tombstones_page(view, after.as_ref(), PAGE_MAX + 1).map_err(Refusal::from)
    });
    let mut found = read.await?;
    let more = found.len() > PAGE_MAX;
    found.truncate(PAGE_MAX);
    let tombstones = found.iter().map(|tombstone| wire::KmsTombstone {
        key_id: tombstone.key_id.to_string(),
        version_id: tombstone.version_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        destroyed_at_ms: tombstone.destroyed_at.as_ms(),
    });
    Ok(wire::ListKmsTombstonesResponse { tombstones: tombstones.collect(), more })
}

fn attestation(message: &wire::AttestKmsRequest) -> Result<KmsAttestation, ApiError> {
    Ok(KmsAttestation {
        store_id: stamp("store_id", &message.store_id)?,
        incarnation: stamp("incarnation", &message.incarnation)?,
        epoch: message.epoch,
        head: message.head,
        ahead: message.ahead,
        time: LogTime::from_ms(message.time_ms),
        tombstones: message.tombstones.iter().map(tombstone).collect::<Result<_, _>>()?,
    })
}

fn stamp(field: &'static str, text: &str) -> Result<KmsStamp, ApiError> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| ApiError::invalid(field, "is not 32 hexadecimal digits"))?;
    Ok(KmsStamp::new(bytes))
}

fn tombstone(message: &wire::KmsTombstone) -> Result<KmsTombstone, ApiError> {
    let key_id = KmsKeyId::parse(&message.key_id)
        .map_err(|error| ApiError::invalid("tombstones.key_id", error.to_string()))?;
    let version_id = match message.version_id.as_str() {
        "" => None,
        id => Some(
            KmsKeyVersionId::parse(id)
                .map_err(|error| ApiError::invalid("tombstones.version_id", error.to_string()))?,
        ),
    };
    Ok(KmsTombstone { key_id, version_id, destroyed_at: LogTime::from_ms(message.destroyed_at_ms) })
}

fn to_wire(known: &KmsWitness, index: u64, term: u64) -> wire::KmsWitness {
    wire::KmsWitness {
        known: true,
        store_id: hex::encode(known.store_id.as_bytes()),
        incarnation: hex::encode(known.incarnation.as_bytes()),
        epoch: known.epoch,
        reserved: known.reserved,
        floor: known.floor,
        head: known.head,
        time_ms: known.time.as_ms(),
        tombstones: known.tombstones,
        index,
        term,
    }
}
