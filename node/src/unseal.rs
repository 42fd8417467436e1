//! Unsealing: the keyring's keys are unwrapped by the KMS, at start and whenever the log changes
//! them (`design §6`).
//!
//! Asks as the node itself, so it works before anybody can log in, in every order of starts. A
//! KMS that does not answer leaves the node as it is: sealed, or serving with the keys it has. Only
//! keys that the node does not have are asked for: a change of stages needs no KMS. A node that an
//! operator has sealed stays so, also when it is started again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lockbox_platform::health::ReadinessComponent;
use lockbox_raft::domain::identity::ClusterRecord;
use lockbox_raft::domain::keyring::{KeyStage, KeyringKeyRecord};
use lockbox_raft::error::StorageError;
use lockbox_raft::state::tables;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::app::App;
use crate::keyring::{KeyRing, associated_data};
use crate::seal::SymmetricKey;
use crate::seal_mark::SealMark;

/// The name under which the assembly registers this part's readiness.
pub const COMPONENT: &str = "keyring";
/// How long one look at the KMS may take.
const KMS_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between looks at the state, and between attempts while the KMS is away.
const PAUSE: Duration = Duration::from_millis(200);

/// Why the keyring is not unwrapped.
#[derive(Debug, thiserror::Error)]
enum UnsealError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the cluster is not initialised")]
    NotInitialised,
    #[error("an operator has sealed the node")]
    Held,
    #[error("the KMS does not answer")]
    Silent,
    #[error("the KMS does not unwrap keyring key {id}: {code:?}")]
    Kms { id: u32, code: Code },
    #[error("keyring key {id} is not 32 bytes long")]
    Length { id: u32 },
}

/// Keeps the node's ring as the state has it, until cancelled.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub async fn keep_unsealed(
    app: Arc<App>,
    ready: ReadinessComponent,
    cancelled: CancellationToken,
) -> Result<(), Infallible> {
    let mut last_reason = String::new();
    ready.not_ready("sealed: the KMS has not been heard yet");
    hold_as_before(&app);
    let mut changes = app.keyring.changes();
    loop {
        // A KMS that hangs must not hold up the end of the process; and when an operator seals the
        // node, what is unwrapped so far goes.
        let refreshed = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Ok(()),
            () = app.keyring.held() => Err(UnsealError::Held),
            refreshed = refresh(&app) => refreshed,
        };
        match refreshed {
            Ok(changed) => {
                ready.ready();
                if changed {
                    tracing::info!("keyring unwrapped");
                }
                last_reason.clear();
            }
            Err(error) => {
                let reason = error.to_string();
                if app.keyring.is_sealed() {
                    ready.not_ready(format!("sealed: {reason}"));
                }
                if reason != last_reason {
                    tracing::warn!(%reason, sealed = app.keyring.is_sealed(), "keyring not read");
                    last_reason = reason;
                }
            }
        }
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
            Ok(()) = changes.changed() => {}
        }
    }
}

/// Who sealed the node did not mean "until it is started again". A mark that cannot be looked for
/// counts as there: an operator can unseal, and nobody else can seal.
fn hold_as_before(app: &App) {
    match SealMark::of(&app.config.data_dir).is_set() {
        Ok(false) => {}
        Ok(true) => app.keyring.hold(),
        Err(error) => {
            tracing::error!(%error, "cannot tell whether the node was sealed: it stays sealed");
            app.keyring.hold();
        }
    }
}

/// Unwraps what the state has and the node has not. Says whether that was anything.
async fn refresh(app: &App) -> Result<bool, UnsealError> {
    let reading = app.replica.read_stale(|view, _now| {
        Ok::<_, StorageError>((tables::cluster(view)?, tables::keyring(view)?))
    })?;
    let (cluster, records) = reading.value?;
    let cluster = cluster.ok_or(UnsealError::NotInitialised)?;
    let held = app.keyring.ring().ok();
    if held.as_ref().is_some_and(|ring| ring.covers(&records)) {
        return Ok(false);
    }
    let held = held.unwrap_or_default();
    let (ring, failure) = unwrap_missing(app, &cluster, &records, &held).await;
    if let Some(failure) = failure {
        // A node that serves takes what there is: the stages of the keys that it has. One that is
        // sealed opens when it can open everything.
        if !app.keyring.is_sealed() && !ring.is_like(&held) {
            app.authenticator.trust(&cluster.id, &records);
            app.keyring.unseal(ring);
        }
        return Err(failure);
    }
    app.authenticator.trust(&cluster.id, &records);
    if app.keyring.unseal(ring) { Ok(true) } else { Err(UnsealError::Held) }
}

/// The ring of the records, as far as its keys are held or the KMS unwraps them; and the first
/// failure, after which the KMS is not asked any more.
async fn unwrap_missing(
    app: &App,
    cluster: &ClusterRecord,
    records: &[KeyringKeyRecord],
    held: &KeyRing,
) -> (KeyRing, Option<UnsealError>) {
    let deadline = Instant::now() + KMS_DEADLINE;
    let (mut ring, mut failure) = (KeyRing::default(), None);
    for record in records.iter().filter(|record| record.stage != KeyStage::Retired) {
        if let Some(key) = held.get(record.id, record.purpose) {
            ring.insert(record, key.clone());
        } else if failure.is_none() {
            match unwrap(app, cluster, record, deadline).await {
                Ok(key) => ring.insert(record, key),
                Err(error) => failure = Some(error),
            }
        }
    }
    (ring, failure)
}

async fn unwrap(
    app: &App,
    cluster: &ClusterRecord,
    record: &KeyringKeyRecord,
    deadline: Instant,
) -> Result<SymmetricKey, UnsealError> {
    let id = record.id;
    let data = associated_data(cluster.keyring_scope().as_str(), id, record.purpose);
    let system_key = cluster.system_key_id.as_str();
    let wrapped = record.wrapped.clone();
    let unwrapped = app.kms.system_decrypt(system_key, data, wrapped, deadline).await;
    let bytes = unwrapped.map_err(|status| refused(id, status.code()))?;
    SymmetricKey::from_slice(bytes.expose()).ok_or(UnsealError::Length { id })
}

fn refused(id: u32, code: Code) -> UnsealError {
    match code {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => UnsealError::Silent,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => UnsealError::Kms { id, code },
    }
}
