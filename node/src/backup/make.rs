//! Makes a backup: a file of this node, sealed and signed, of one point of the log.

use std::fs::File;

use lockbox_core::LogTime;
use lockbox_platform::sealed_file::{Recipient, Wrap};
use lockbox_platform::statement::StatementSigner;
use lockbox_platform::status::{ApiError, ErrorKind, Outcome};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::content::{ContentWriter, Maker, Written};
use super::names::BackupName;
use super::seal_for::seal_for;
use super::spool::{Description, Spool};
use super::{BackupError, signer};
use crate::app::App;
use crate::errors::unread;

/// When to try again what meets another backup.
const BUSY_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// Sixteen random bytes of the caller's: the same ones find the same backup.
    pub backup_id: [u8; 16],
    /// Who may open it.
    pub recipients: Vec<Recipient>,
    /// Whether the KMS may, too.
    pub under_kms: bool,
    /// Whether this node's own view is enough, for when nobody leads.
    pub stale: bool,
}

/// The turn of whoever makes a backup on this node: there is one at a time.
#[derive(Debug, Default)]
pub struct Turn(tokio::sync::Mutex<()>);

impl Turn {
    /// Takes the turn.
    ///
    /// # Errors
    /// UNAVAILABLE while somebody else has it.
    pub fn take(&self) -> Result<MutexGuard<'_, ()>, ApiError> {
        self.0.try_lock().map_err(|_held| {
            let kind = ErrorKind::Unavailable { retry_after: Some(BUSY_RETRY) };
            ApiError::new(kind, "the node is making a backup", Outcome::NotProposed)
        })
    }
}

/// The cluster's signer, as this node has it.
///
/// # Errors
/// UNAVAILABLE on a sealed node.
pub fn signer_of(app: &App) -> Result<StatementSigner, ApiError> {
    let ring = app.keyring.ring().map_err(|sealed| ApiError::unavailable(sealed.to_string()))?;
    signer::of(&ring).ok_or_else(|| ApiError::unavailable("the keyring has no key to sign with"))
}

/// Makes the backup, or finds the one that an earlier call with the same id has made. It is in the
/// spool then.
///
/// # Errors
/// [`ApiError`]; there is no such file then.
pub async fn make(app: &App, order: &Order, deadline: Instant) -> Result<Description, ApiError> {
    let _turn = app.backups.take()?;
    let spool = Spool::of(&app.config.data_dir);
    let backup_id = hex::encode(order.backup_id);
    if let Some(found) = spool.find(&backup_id).map_err(|error| spool_failed(&error))? {
        return Ok(found);
    }
    let made_at = LogTime::from_ms(app.clock.wall_ms());
    spool.clean(made_at).map_err(|error| spool_failed(&error))?;
    let signer = signer_of(app)?;
    let recipients = &order.recipients;
    let sealed_by = seal_for(app, order.backup_id, recipients, order.under_kms, deadline).await?;
    let sealed_for = sealed_by.wraps.iter().map(Wrap::holder).collect();
    let file = spool.begin(&backup_id).map_err(|error| spool_failed(&error))?;
    let maker = Maker { node_id: app.config.node_id, made_at };
    let writer = ContentWriter::new(file, sealed_by, maker);
    let written = match app.replica.export(writer, order.stale, deadline).await {
        Ok(Ok(writer)) => ended(writer, signer).await,
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(unread(error)),
    };
    let described = written.and_then(|written| {
        let description = describe(backup_id.clone(), written, sealed_for);
        spool.complete(&description).map_err(|error| spool_failed(&error))?;
        Ok(description)
    });
    if described.is_err()
        && let Err(error) = spool.drop_backup(&backup_id)
    {
        tracing::warn!(%error, "a half of a backup stays until the next one is made");
    }
    described
}

/// Ends the file, which is durable then.
async fn ended(writer: ContentWriter<File>, signer: StatementSigner) -> Result<Written, ApiError> {
    let ending = tokio::task::spawn_blocking(move || {
        let (file, written) = writer.finish(&signer)?;
        file.sync_all().map_err(|error| BackupError::File(error.into()))?;
        Ok::<_, BackupError>(written)
    });
    match ending.await {
        Ok(written) => written.map_err(|error| failed(&error)),
        Err(panic) => Err(ApiError::internal(format!("a backup has ended early: {panic}"))),
    }
}

fn describe(backup_id: String, written: Written, sealed_for: Vec<String>) -> Description {
    let Written { head, end, bytes } = written;
    Description {
        name: BackupName::new(&head.cluster_id, head.log_time, head.index).file_name(),
        backup_id,
        bytes,
        cluster_id: head.cluster_id.into(),
        node_id: head.node_id,
        index: head.index,
        term: head.term,
        log_time_ms: head.log_time.as_ms(),
        made_at_ms: head.made_at.as_ms(),
        erasures: head.erasures,
        rows: end.rows,
        signer: hex::encode(end.signer),
        sealed_for,
    }
}

fn failed(error: &BackupError) -> ApiError {
    match error {
        BackupError::NotInitialised => ApiError::unavailable(error.to_string()),
        _ => ApiError::internal(format!("no backup was made: {error}")),
    }
}

fn spool_failed(error: &std::io::Error) -> ApiError {
    ApiError::internal(format!("the node keeps no backup: {error}"))
}
