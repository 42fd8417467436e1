//! What the leader does by itself: backups, lists of destructions, and the end of old ones.
//!
//! Remembers nothing that counts: what is due follows from the names at the place of the backups, so
//! a new leader goes on from there. A failure is told, counted, and tried again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::LogTime;
use lockbox_platform::sealed_file::Recipient;
use lockbox_platform::status::ApiError;
use lockbox_raft::state::tables;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::BackupError;
use super::destination::Destination;
use super::destroyed_list::make_list;
use super::make::{Order, make};
use super::metrics::{BackupMetrics, OF_BACKUP, OF_LIST};
use super::names::{BackupName, DestroyedName, Keeping, outdated};
use super::spool::{Description, Spool};
use crate::app::App;
use crate::config::BackupConfig;

/// Between two looks at what is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After a failure, and between two looks at the place, where others may write, too.
const RETRY_PAUSE: Duration = Duration::from_secs(60);
/// How long a backup waits for a leader, and for the KMS.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum Unstored {
    /// It could not be made.
    #[error("{0}")]
    Unmade(ApiError),
    /// The place does not take it.
    #[error(transparent)]
    Place(#[from] BackupError),
}

/// What there is at the place, of our own cluster.
#[derive(Debug, Clone, Default)]
struct There {
    names: Vec<String>,
    last_backup: Option<LogTime>,
    listed: u64,
}

impl There {
    fn of(names: Vec<String>, cluster: &str) -> Self {
        let backups = names.iter().filter_map(|name| BackupName::parse(name));
        let last_backup = backups.filter(|name| name.cluster == cluster).map(|name| name.at).max();
        let lists = names.iter().filter_map(|name| DestroyedName::parse(name));
        let listed = lists.filter(|name| name.cluster == cluster).map(|name| name.last).max();
        Self { last_backup, listed: listed.unwrap_or_default(), names }
    }
}

/// Does it while this node leads, until cancelled.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub async fn keep_backed_up(
    app: Arc<App>,
    metrics: BackupMetrics,
    cancelled: CancellationToken,
) -> Result<(), Infallible> {
    let interval = i64::try_from(app.config.backup.every_seconds).unwrap_or(i64::MAX);
    metrics.interval.set(interval);
    if let Err(error) = Spool::of(&app.config.data_dir).clear() {
        tracing::warn!(%error, "backups of before are still in the data directory");
    }
    tokio::select! {
        () = cancelled.cancelled() => {}
        () = again_and_again(&app, &metrics) => {}
    }
    Ok(())
}

async fn again_and_again(app: &App, metrics: &BackupMetrics) {
    let config = &app.config.backup;
    if !config.has_place() {
        return std::future::pending().await;
    }
    let mut there: Option<(There, Instant)> = None;
    loop {
        let leads = app.replica.watch_leadership().current().is_leader;
        let pause = if leads && !app.keyring.is_sealed() {
            match turn(app, config, metrics, &mut there).await {
                Ok(()) => LOOK_INTERVAL,
                Err(error) => {
                    tracing::error!(%error, "the place of the backups has none of now");
                    there = None;
                    RETRY_PAUSE
                }
            }
        } else {
            there = None;
            metrics.last_success.set(0);
            LOOK_INTERVAL
        };
        tokio::time::sleep(pause).await;
    }
}

/// Looks at what is due, and does it.
async fn turn(
    app: &App,
    config: &BackupConfig,
    metrics: &BackupMetrics,
    known: &mut Option<(There, Instant)>,
) -> Result<(), Unstored> {
    let cluster = app.replica.status().cluster_id;
    if cluster.is_empty() {
        return Ok(());
    }
    // It may be full, unmounted, or have another key: only a try tells.
    let Some(place) = Destination::of(config)? else { return Ok(()) };
    let there = match known.take() {
        Some((there, looked)) if looked.elapsed() < RETRY_PAUSE => known.insert((there, looked)),
        Some(_) | None => {
            let names = place.list().await?.into_iter().map(|stored| stored.name).collect();
            known.insert((There::of(names, &cluster), Instant::now()))
        }
    };
    metrics.listed.set(i64::try_from(there.0.listed).unwrap_or(i64::MAX));
    let now = LogTime::from_ms(app.clock.wall_ms());
    let destroyed = destroyed_count(app)?;
    if destroyed.0 > there.0.listed && now.since(destroyed.1) >= config.destroyed_within() / 2 {
        let listed = list_destroyed(app, &place, there.0.listed).await;
        *known = None;
        return counted(listed, metrics, OF_LIST);
    }
    let is_due = |every| there.0.last_backup.is_none_or(|last| now.since(last) >= every);
    if config.every().is_some_and(is_due) {
        let stored = back_up(app, config, &place).await;
        *known = None;
        let description = counted(stored, metrics, OF_BACKUP)?;
        metrics.last_success.set(i64::try_from(now.as_ms() / 1_000).unwrap_or(i64::MAX));
        metrics.last_bytes.set(i64::try_from(description.bytes).unwrap_or(i64::MAX));
        return Ok(());
    }
    if let Some(last) = there.0.last_backup {
        // Another leader may have made it, or this node in an earlier life.
        metrics.last_success.set(i64::try_from(last.as_ms() / 1_000).unwrap_or(i64::MAX));
    }
    let keeping = Keeping {
        newest: usize::try_from(config.keep_newest).unwrap_or(usize::MAX),
        others: DAY * config.keep_days,
    };
    let old = outdated(&there.0.names, &cluster, now, keeping);
    if old.is_empty() {
        return Ok(());
    }
    for name in old {
        place.remove(&name).await?;
        tracing::info!(backup = %name, "an old backup is removed");
    }
    *known = None;
    Ok(())
}

fn counted<T>(
    done: Result<T, Unstored>,
    metrics: &BackupMetrics,
    kind: &str,
) -> Result<T, Unstored> {
    if done.is_err() {
        metrics.failures.with_label_values(&[kind]).inc();
    }
    done
}

/// How many erasures there were, and when the last was, in this node's own view.
fn destroyed_count(app: &App) -> Result<(u64, LogTime), BackupError> {
    let reading = app.replica.read_stale(|view, _now| tables::erasures(view))?;
    let point = reading.value?;
    Ok((point.count, point.at))
}

async fn list_destroyed(app: &App, place: &Destination, after: u64) -> Result<(), Unstored> {
    let deadline = Instant::now() + TRY_TIMEOUT;
    let (list, file) = make_list(app, after, deadline).await.map_err(Unstored::Unmade)?;
    let name = list.name().file_name();
    place.put(&name, file).await?;
    tracing::info!(list = %name, "a list of destructions is stored");
    Ok(())
}

/// Makes a backup and stores it at the place.
///
/// # Errors
/// [`Unstored`].
pub async fn back_up(
    app: &App,
    config: &BackupConfig,
    place: &Destination,
) -> Result<Description, Unstored> {
    let mut backup_id = [0; 16];
    app.random.fill(&mut backup_id);
    let recipients = config.recipients.iter().map(|text| Recipient::parse(text));
    let recipients = recipients.collect::<Result<Vec<_>, _>>().map_err(BackupError::File)?;
    let order = Order { backup_id, recipients, under_kms: config.under_kms, stale: false };
    let made = make(app, &order, Instant::now() + TRY_TIMEOUT).await;
    let description = made.map_err(Unstored::Unmade)?;
    let stored = stored(app, place, &description).await;
    if let Err(error) = Spool::of(&app.config.data_dir).drop_backup(&description.backup_id) {
        tracing::warn!(%error, "a backup stays in the data directory for an hour");
    }
    stored?;
    Ok(description)
}

/// Stores a backup of the spool at the place.
///
/// # Errors
/// [`BackupError::Place`].
pub async fn stored(
    app: &App,
    place: &Destination,
    description: &Description,
) -> Result<(), BackupError> {
    let file = Spool::of(&app.config.data_dir).file(&description.backup_id);
    place.store(&description.name, &file).await?;
    let Description { name, bytes, index, .. } = description;
    tracing::info!(backup = %name, bytes, index, "a backup is stored");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_of_our_own_cluster() {
        let at = LogTime::from_ms;
        let backup = |cluster: &str, seconds: u64| {
            BackupName { cluster: cluster.into(), at: at(seconds * 1_000), index: 1 }.file_name()
        };
        let list = |cluster: &str, last| {
            let (cluster, at) = (cluster.to_owned(), at(9_000));
            DestroyedName { cluster, at, first: 1, last }.file_name()
        };
        let names = vec![
            backup("lbc1", 5),
            backup("lbc1", 3),
            backup("lbc2", 8),
            list("lbc1", 7),
            list("lbc2", 70),
            "README".to_owned(),
        ];
        let there = There::of(names, "lbc1");
        assert_eq!((there.last_backup, there.listed), (Some(at(5_000)), 7));
        let nothing = There::of(Vec::new(), "lbc1");
        assert_eq!((nothing.last_backup, nothing.listed), (None, 0));
    }
}
