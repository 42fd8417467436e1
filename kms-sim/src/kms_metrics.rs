//! What is read of the KMS at each scrape: the store, the queue before the ledger, and how many
//! keys there are.

use std::sync::Arc;

use lockbox_platform::detach::Calls;
use lockbox_platform::metrics::{Metrics, MetricsError};
use lockbox_platform::sampled::{Reading, Series};

use crate::engine::Engine;
use crate::keys::apply::{read_keys, read_versions};
use crate::store::records::{KeyScope, VersionStatus};
use crate::store::{StoreError, View};

const TABLES: Series = Series::gauge("rocksdb_table_bytes", "Bytes of the store's tables on disk.");
const LIVE: Series = Series::gauge(
    "rocksdb_live_bytes",
    "Bytes of them that are neither overwritten nor deleted, as RocksDB estimates.",
);
const MEMTABLES: Series =
    Series::gauge("rocksdb_memtable_bytes", "Bytes of the store that are not in tables yet.");
const PENDING: Series = Series::gauge(
    "rocksdb_pending_compaction_bytes",
    "Bytes that compaction has yet to rewrite, as RocksDB estimates.",
);
const ERRORS: Series = Series::gauge(
    "rocksdb_background_errors",
    "Errors of compactions and flushes since the store was opened.",
);
const STOPPED: Series =
    Series::gauge("rocksdb_writes_stopped", "1 while writes wait for compaction.");
const CACHE: Series =
    Series::gauge("rocksdb_block_cache_bytes", "Bytes of blocks that the store keeps.");
const DEPTH: Series = Series::gauge("queue_depth", "What waits, or is under way.").by(&["queue"]);
const DEPTH_MAX: Series =
    Series::gauge("queue_depth_max", "What a queue holds at most; beyond it calls are refused.")
        .by(&["queue"]);
const CALLS: Series = Series::gauge(
    "calls_under_way",
    "Calls that are being worked on, those included whose clients have gone.",
);
const SEQUENCE: Series =
    Series::gauge("commit_sequence", "Number of the last commit: the kms-index of answers.");
const LEDGER: Series = Series::gauge("ledger_records", "Records in the billing ledger.");
const KEYS: Series = Series::gauge("keys", "Customers' keys that are not deleted.");
const VERSIONS: Series =
    Series::gauge("key_versions", "Versions of customers' keys, deleted ones included, by status.")
        .by(&["status"]);

const SERIES: [Series; 14] = [
    TABLES, LIVE, MEMTABLES, PENDING, ERRORS, STOPPED, CACHE, DEPTH, DEPTH_MAX, CALLS, SEQUENCE,
    LEDGER, KEYS, VERSIONS,
];

const STATUSES: [(VersionStatus, &str); 3] = [
    (VersionStatus::Active, "active"),
    (VersionStatus::ScheduledForDestruction, "scheduled_for_destruction"),
    (VersionStatus::Destroyed, "destroyed"),
];

/// Registers the series of this server.
///
/// # Errors
/// [`MetricsError`] when they are registered already.
pub(crate) fn register(
    metrics: &Metrics,
    engine: &Arc<Engine>,
    calls: &Calls,
) -> Result<(), MetricsError> {
    // Whoever keeps the registry must not keep the store open.
    let (engine, calls) = (Arc::downgrade(engine), calls.clone());
    metrics.sampled(&SERIES, move |reading| {
        let Some(engine) = engine.upgrade() else { return };
        store(&engine, reading);
        let (waiting, waiting_max) = engine.committer().waiting();
        reading.count(&DEPTH, &["ledger"], waiting as u64);
        reading.count(&DEPTH_MAX, &["ledger"], waiting_max as u64);
        reading.count(&CALLS, &[], calls.len() as u64);
        // A store that cannot be read ends the process by itself.
        if let Err(error) = keys(&engine.view(), reading) {
            tracing::warn!(%error, "the keys are not counted");
        }
    })
}

fn store(engine: &Engine, reading: &mut Reading) {
    let stats = engine.store_stats();
    for (series, value) in [
        (&TABLES, stats.tables_bytes),
        (&LIVE, stats.live_bytes),
        (&MEMTABLES, stats.memtable_bytes),
        (&PENDING, stats.pending_compaction_bytes),
        (&ERRORS, stats.background_errors),
        (&STOPPED, u64::from(stats.writes_stopped)),
        (&CACHE, stats.cache_bytes),
    ] {
        reading.count(series, &[], value);
    }
}

/// At most some thousands: the quota of each cloud bounds them.
fn keys(view: &View<'_>, reading: &mut Reading) -> Result<(), StoreError> {
    let head = view.head()?;
    reading.count(&SEQUENCE, &[], head.sequence);
    reading.count(&LEDGER, &[], head.ledger_records);
    let (mut keys, mut versions) = (0, [0; STATUSES.len()]);
    for key in read_keys(view)?.iter().filter(|key| key.scope == KeyScope::Customer) {
        keys += u64::from(key.deletion.is_none());
        for version in read_versions(view, key)? {
            let place = STATUSES.iter().position(|(status, _)| *status == version.status);
            if let Some(place) = place {
                versions[place] += 1;
            }
        }
    }
    reading.count(&KEYS, &[], keys);
    for ((_, status), count) in STATUSES.iter().zip(versions) {
        reading.count(&VERSIONS, &[*status], count);
    }
    Ok(())
}
