//! Rotation of the keyring: the node's part in the protocol that the log keeps (`design §6`).
//!
//! Every node confirms what a key's stage waits for. The leader takes keys from stage to stage and
//! puts data keys under the newest one, a few at a time. It remembers nothing that the state does
//! not say but how far it has gone through the payloads: a new leader begins that anew. `apply`
//! decides each step, so a leader that is late, replaced or wrong about the state does no harm.

mod begin;
mod confirm;
mod next;
mod progress;
mod rewrap;
mod rewrap_key;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{LogTime, NodeId};
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::identity::ClusterRecord;
use lockbox_raft::domain::keyring::KeyringKeyRecord;
use lockbox_raft::domain::outcome::{Outcome, Rejection};
use lockbox_raft::error::StorageError;
use lockbox_raft::replica::ProposeError;
use lockbox_raft::state::{StateRead, tables};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::begin::{Begun, begin, wrapped_key};
use self::confirm::Confirming;
use self::next::{Next, Policy};
pub use self::progress::{Progress, Rotation};
use self::rewrap::Passes;
use crate::app::App;
use crate::keyring::Sealed;

/// Between two looks at the state while there is nothing to do.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// One proposal, or one call of the KMS, may take this long.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a step was not taken; it is tried again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Sealed(#[from] Sealed),
    #[error("the keyring has no active key yet")]
    NoActiveKey,
    #[error(transparent)]
    Proposal(#[from] ProposeError),
    #[error("the state refuses: {0}")]
    Refused(Rejection),
    #[error("{0}")]
    Kms(String),
}

/// What a look at the state has seen.
struct Seen {
    cluster: ClusterRecord,
    keys: Vec<KeyringKeyRecord>,
    members: Vec<NodeId>,
    now: Option<LogTime>,
}

/// What the task remembers from turn to turn.
#[derive(Default)]
struct Work {
    confirming: Confirming,
    passes: Passes,
    last_failure: String,
}

/// Does this node's part until cancelled.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub async fn keep_rotating(app: Arc<App>, cancelled: CancellationToken) -> Result<(), Infallible> {
    let mut work = Work::default();
    loop {
        let goes_on = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Ok(()),
            // The keys that it works with go with it, and nothing is lost: the state decides.
            () = is_being_sealed(&app) => false,
            goes_on = turn(&app, &mut work) => goes_on,
        };
        if !goes_on {
            tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }
}

/// Waits until the node is sealed; for ever when it is sealed already, for a sealed node has a part
/// in the protocol as well.
async fn is_being_sealed(app: &App) {
    if app.keyring.is_sealed() {
        std::future::pending::<()>().await;
    }
    app.keyring.sealed().await;
}

/// One step; whether there may be another one at once.
async fn turn(app: &App, work: &mut Work) -> bool {
    let done = match look(app) {
        Ok(None) => Ok(false),
        Ok(Some(seen)) => {
            confirm::confirm(app, &seen, &mut work.confirming).await;
            if app.replica.watch_leadership().current().is_leader {
                lead(app, &seen, &mut work.passes).await
            } else {
                work.passes.forget();
                app.rotation.stand_by();
                Ok(false)
            }
        }
        Err(error) => Err(error),
    };
    let failure = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
    if failure != work.last_failure {
        if !failure.is_empty() {
            tracing::warn!(%failure, "the rotation of the keyring waits");
        }
        work.last_failure = failure;
    }
    done.unwrap_or(false)
}

/// The keyring as this node's state has it; nothing before the cluster is initialised. A view that
/// lags delays a step, and never makes it wrong.
fn look(app: &App) -> Result<Option<Seen>, StepError> {
    Ok(app.replica.read_stale(|view, now| seen(view, now))?.value?)
}

fn seen(view: &dyn StateRead, now: Option<LogTime>) -> Result<Option<Seen>, StorageError> {
    let Some(cluster) = tables::cluster(view)? else { return Ok(None) };
    let (keys, members) = (tables::keyring(view)?, tables::member_ids(view)?);
    Ok(Some(Seen { cluster, keys, members, now }))
}

/// The leader's part: whatever the state is ready for.
async fn lead(app: &App, seen: &Seen, passes: &mut Passes) -> Result<bool, StepError> {
    let policy = Policy::of(&app.config.keyring);
    match next::next(seen, &policy, passes.finished()) {
        Next::Nothing => {
            app.rotation.stand_by();
            Ok(false)
        }
        Next::Step { key_id, to } => {
            propose(app, Command::StepKeyringKey { key_id, to }).await?;
            tracing::info!(key_id, stage = to.name(), "a keyring key has come to its next stage");
            Ok(true)
        }
        Next::RewrapKey(key_id) => {
            let key = seen.keys.iter().find(|key| key.id == key_id);
            let Some(key) = key else { return Ok(false) };
            rewrap_key::rewrap_key(app, &seen.cluster, key).await?;
            tracing::info!(key_id, "a keyring key was wrapped anew");
            Ok(true)
        }
        // What does not open keeps its own key, and no other one from coming.
        Next::Pass if passes.are_resting() && next::is_due(seen, &policy) => rotate(app).await,
        Next::Pass => passes.go_on(app, &seen.keys).await,
        Next::Rotate => rotate(app).await,
    }
}

/// Begins a rotation, because the key is old.
async fn rotate(app: &App) -> Result<bool, StepError> {
    let begun = begin(app, 0, Instant::now() + STEP_TIMEOUT).await;
    let begun = begun.map_err(|error| StepError::Kms(error.message().to_owned()))?;
    tracing::info!(key_id = begun.key_id, "the keyring's key is old: a rotation begins");
    Ok(true)
}

/// Proposes a command of the protocol, as leader or not at all.
async fn propose(app: &App, command: Command) -> Result<(), StepError> {
    let deadline = Instant::now() + STEP_TIMEOUT;
    let applied = app.replica.propose_as_leader(command, deadline).await?;
    match applied.outcome {
        Outcome::Done(_) | Outcome::Nothing => Ok(()),
        Outcome::Rejected(rejection) => Err(StepError::Refused(rejection)),
    }
}
