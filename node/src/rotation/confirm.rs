//! What every member confirms: that it has unwrapped a new key, and that nothing on its disk needs
//! an old one any more.

use std::collections::BTreeSet;
use std::time::Duration;

use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::keyring::{KeyStage, KeyringKeyRecord};
use lockbox_raft::domain::outcome::Outcome;
use tokio::time::Instant;

use super::{STEP_TIMEOUT, Seen};
use crate::app::App;
use crate::bootstrap::propose_for_cluster;

/// A snapshot of a large state may take this long.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);

/// What was asked of this node's own replica already.
#[derive(Debug, Default)]
pub(super) struct Confirming {
    /// Keys for whose sake the log was cut; once for each.
    cut_for: BTreeSet<u32>,
}

/// Confirms what this node can confirm, by a proposal to whoever leads. What fails is tried again
/// with the next look.
pub(super) async fn confirm(app: &App, seen: &Seen, confirming: &mut Confirming) {
    let node_id = app.config.node_id;
    if !seen.members.contains(&node_id) {
        return;
    }
    let waits = |key: &&KeyringKeyRecord| {
        key.stage.awaits_members() && !key.confirmed_by.contains(&node_id)
    };
    for key in seen.keys.iter().filter(waits) {
        let done = match key.stage {
            KeyStage::Added => {
                app.keyring.ring().is_ok_and(|ring| ring.get(key.id, key.purpose).is_some())
            }
            KeyStage::Emptied => needs_it_no_more(app, key, confirming).await,
            KeyStage::Activated | KeyStage::Superseded | KeyStage::Closed | KeyStage::Retired => {
                false
            }
        };
        if !done {
            continue;
        }
        let command = Command::ConfirmKeyringKey { key_id: key.id, stage: key.stage, node_id };
        let proposed = propose_for_cluster(app, command, Instant::now() + STEP_TIMEOUT).await;
        match proposed.map(|applied| applied.outcome) {
            Ok(Outcome::Done(_) | Outcome::Nothing) => {
                tracing::info!(
                    key_id = key.id,
                    stage = key.stage.name(),
                    "confirmed a keyring key"
                );
            }
            // It came to its next stage meanwhile, or this node is no member any more.
            Ok(Outcome::Rejected(rejection)) => {
                tracing::debug!(key_id = key.id, %rejection, "a confirmation was refused");
            }
            Err(error) => {
                tracing::debug!(key_id = key.id, %error, "a confirmation was not proposed");
            }
        }
    }
}

/// Whether neither the log nor the snapshot of this node reaches back to where something was
/// wrapped by the key. Makes it so, by a snapshot and a cut of the log behind it, when the key is
/// seen for the first time.
async fn needs_it_no_more(app: &App, key: &KeyringKeyRecord, confirming: &mut Confirming) -> bool {
    let status = app.replica.status();
    // The older snapshot goes with the newer one; what was purged is no entry of the log.
    if status.snapshot >= key.staged_at && status.purged >= key.staged_at {
        return true;
    }
    if confirming.cut_for.insert(key.id) {
        let cut = app.replica.cut_log(key.staged_at, Instant::now() + SNAPSHOT_TIMEOUT).await;
        if let Err(error) = cut {
            tracing::warn!(key_id = key.id, %error, "no snapshot without the old keyring key yet");
            confirming.cut_for.remove(&key.id);
        }
    }
    false
}
