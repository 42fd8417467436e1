//! Backups that the server makes by itself, into a directory: soon after keys have changed, for
//! nothing opens what a lost version has sealed, and else at intervals while there are commits.
//!
//! One that fails is logged, counted, and tried again; the service goes on.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::LogTime;
use tokio_util::sync::CancellationToken;

use super::directory::{add, list, retain};
use super::{BackupError, Written};
use crate::engine::Engine;
use crate::keys::apply::read_keys;
use crate::metrics::BackupMetrics;

/// Time between two looks whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where, how often, how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directory.
    pub directory: PathBuf,
    /// Longest time from one to the next while there are commits.
    pub interval: Duration,
    /// How many are kept.
    pub keep: usize,
}

/// What a backup has to be newer than.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    head: u64,
    created_at: LogTime,
}

/// Makes backups until told to stop.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub(crate) async fn run(
    engine: Arc<Engine>,
    settings: Settings,
    metrics: BackupMetrics,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let settings = Arc::new(settings);
    let mut last: Option<Last> = None;
    loop {
        let (engine, settings) = (Arc::clone(&engine), Arc::clone(&settings));
        // Waited for, also at the end: a file that is half written would only be written again.
        let looked = tokio::task::spawn_blocking(move || look(&engine, &settings, last)).await;
        match looked {
            Ok(Ok(None)) => {}
            Ok(Ok(Some((written, is_new)))) => {
                last = Some(Last { head: written.head, created_at: written.created_at });
                let to_gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
                if is_new {
                    metrics.written.with_label_values(&["written"]).inc();
                    metrics.time.set(to_gauge(written.created_at.as_ms() / 1_000));
                    metrics.commit.set(to_gauge(written.head));
                }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "a scheduled backup failed");
                metrics.written.with_label_values(&["failed"]).inc();
            }
            Err(_panic) => {
                tracing::error!("a scheduled backup ended unexpectedly");
                metrics.written.with_label_values(&["failed"]).inc();
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Makes a backup if one is due; gives the newest there is when that was not known, and whether it
/// is a new one.
fn look(
    engine: &Engine,
    settings: &Settings,
    last: Option<Last>,
) -> Result<Option<(Written, bool)>, BackupError> {
    if last.is_none()
        && settings.directory.is_dir()
        && let Some(newest) = list(&settings.directory)?.pop()
    {
        // Of this store, unless somebody uses one directory for two: then it is made anew below.
        let known = Last { head: newest.head, created_at: newest.created_at };
        if !is_due(engine, settings, known)? {
            let Last { head, created_at } = known;
            return Ok(Some((Written { head, created_at, rows: 0 }, false)));
        }
    }
    if let Some(last) = last
        && !is_due(engine, settings, last)?
    {
        return Ok(None);
    }
    let (path, written) = add(engine, &settings.directory)?;
    let removed = retain(&settings.directory, settings.keep)?;
    tracing::info!(path = %path.display(), head = written.head, removed, "a backup was written");
    Ok(Some((written, true)))
}

fn is_due(engine: &Engine, settings: &Settings, last: Last) -> Result<bool, BackupError> {
    let view = engine.view();
    let head = view.head()?.sequence;
    if head == last.head {
        return Ok(false);
    }
    if head < last.head {
        // The backups are of another store, or of a later time of it.
        return Ok(true);
    }
    let changed = read_keys(&view)?.iter().any(|key| key.revision > last.head);
    Ok(changed || engine.now()?.since(last.created_at) >= settings.interval)
}
