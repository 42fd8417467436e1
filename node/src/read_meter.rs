//! Reports the payload reads that this node answers to the replicated meters, where they are billed
//! (`contract §7`): every few seconds while there are any, and at an orderly end.
//!
//! Promises: a read is counted once at most, however often its report is tried and whoever leads.
//! One that was answered is counted unless its node is killed within [`INTERVAL`] and one try: a
//! read needs a quorum as a report does, so few are answered while none can be told. Nobody pays
//! for what was not read.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockbox_core::{CloudId, NodeId, Randomness};
use lockbox_platform::status::ApiError;
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::outcome::Outcome;
use lockbox_raft::domain::read_report::{CloudReads, Incarnation, ReadReport};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::bootstrap::propose_for_cluster;

/// Between two reports: what a kill may take.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// One try may take this long: without a quorum it would wait for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node that ends tries: the others may be ending, too.
const LAST_TIMEOUT: Duration = Duration::from_secs(1);
/// Clouds in one report; the next one has the rest.
const CLOUDS_MAX: usize = 256;

/// What was read and is not yet known to be in the log.
#[derive(Debug)]
pub struct ReadMeter {
    node_id: NodeId,
    incarnation: Incarnation,
    unreported: Mutex<Unreported>,
}

#[derive(Debug, Default)]
struct Unreported {
    /// No more than there are clouds.
    reads: BTreeMap<CloudId, u64>,
    /// Reports that were made so far.
    reports: u64,
    /// The last one, until it is known to be applied: nothing can be taken out of it, for it may be.
    under_way: Option<ReadReport>,
}

impl ReadMeter {
    /// That of a node that has just started.
    #[must_use]
    pub fn new(node_id: NodeId, random: &dyn Randomness) -> Self {
        let mut incarnation = Incarnation::default();
        random.fill(&mut incarnation);
        Self { node_id, incarnation, unreported: Mutex::default() }
    }

    /// Counts a read that has succeeded.
    pub fn count(&self, cloud: CloudId) {
        *self.lock().reads.entry(cloud).or_default() += 1;
    }

    /// What is to be told: the last report once more, or the next one; nothing when all is told.
    fn report(&self) -> Option<ReadReport> {
        let mut unreported = self.lock();
        if unreported.under_way.is_none() && !unreported.reads.is_empty() {
            let rest = match unreported.reads.keys().nth(CLOUDS_MAX).cloned() {
                Some(first_left) => unreported.reads.split_off(&first_left),
                None => BTreeMap::new(),
            };
            let told = std::mem::replace(&mut unreported.reads, rest);
            unreported.reports += 1;
            unreported.under_way = Some(ReadReport {
                node_id: self.node_id,
                incarnation: self.incarnation,
                sequence: unreported.reports,
                reads: told
                    .into_iter()
                    .map(|(cloud_id, reads)| CloudReads { cloud_id, reads })
                    .collect(),
            });
        }
        unreported.under_way.clone()
    }

    /// How many reports it takes to tell all that was read until now.
    fn reports_due(&self) -> usize {
        let unreported = self.lock();
        unreported.reads.len().div_ceil(CLOUDS_MAX) + usize::from(unreported.under_way.is_some())
    }

    /// A report is known to be applied. Two tasks may tell the same one, and both know then.
    fn settle(&self, sequence: u64) {
        let mut unreported = self.lock();
        unreported.under_way.take_if(|report| report.sequence == sequence);
    }

    /// Reads that are not known to be counted.
    fn open(&self) -> u64 {
        let unreported = self.lock();
        let under_way = unreported.under_way.iter().flat_map(|report| &report.reads);
        unreported.reads.values().sum::<u64>() + under_way.map(|of| of.reads).sum::<u64>()
    }

    fn lock(&self) -> MutexGuard<'_, Unreported> {
        self.unreported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps reporting, until cancelled.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub async fn keep_reporting(app: Arc<App>, cancelled: CancellationToken) -> Result<(), Infallible> {
    let reporting = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = report_all(&app).await {
                let reads = app.read_meter.open();
                tracing::warn!(%error, reads, "payload reads are not metered yet");
            }
        }
    };
    tokio::select! {
        () = cancelled.cancelled() => {}
        () = reporting => {}
    }
    Ok(())
}

/// Reports the last reads of a node that ends, which has no calls under way any more.
pub async fn report_last(app: &App) {
    let told = tokio::time::timeout(LAST_TIMEOUT, report_all(app)).await;
    if let Ok(Err(error)) = &told {
        tracing::warn!(%error, "the last payload reads cannot be reported");
    }
    let reads = app.read_meter.open();
    if reads > 0 {
        tracing::warn!(reads, "the last payload reads are not metered");
    }
}

/// Reports what was read until now. What is read meanwhile waits for the next time, or a busy node
/// would fill the log with reports.
async fn report_all(app: &App) -> Result<(), ApiError> {
    // Whoever has no leader would only wait in vain, and says so elsewhere.
    if app.replica.watch_leadership().current().leader.is_none() {
        return Ok(());
    }
    for _ in 0..app.read_meter.reports_due() {
        let Some(report) = app.read_meter.report() else { return Ok(()) };
        let sequence = report.sequence;
        let command = Command::ReportReads(Box::new(report));
        let applied = propose_for_cluster(app, command, Instant::now() + TRY_TIMEOUT).await?;
        match applied.outcome {
            Outcome::Nothing => app.read_meter.settle(sequence),
            Outcome::Done(_) | Outcome::Rejected(_) => {
                return Err(ApiError::internal("the state refuses a report of payload reads"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;

    use super::*;

    fn cloud(number: usize) -> CloudId {
        CloudId::parse(&format!("b1g{number:05}")).unwrap()
    }

    fn counted(report: &ReadReport) -> u64 {
        report.reads.iter().map(|of| of.reads).sum()
    }

    #[test]
    fn a_report_stays_as_it_is_until_it_is_known_to_be_applied() {
        let meter = ReadMeter::new(1, &SystemRandom);
        assert_eq!(meter.report(), None);
        meter.count(cloud(1));
        meter.count(cloud(1));
        let first = meter.report().unwrap();
        meter.count(cloud(2));
        assert_eq!(meter.report().as_ref(), Some(&first), "it may have been applied");
        assert_eq!((counted(&first), first.sequence, meter.open()), (2, 1, 3));
        assert_eq!(meter.reports_due(), 2);
        meter.settle(first.sequence);
        let second = meter.report().unwrap();
        assert_eq!((counted(&second), second.sequence), (1, 2));
        meter.settle(first.sequence);
        assert_eq!(meter.report(), Some(second), "the first one was told twice");
    }

    #[test]
    fn no_report_is_longer_than_they_may_be_and_none_leaves_a_read_out() {
        let meter = ReadMeter::new(1, &SystemRandom);
        (0..2 * CLOUDS_MAX + 1).for_each(|number| meter.count(cloud(number)));
        let mut sizes = Vec::new();
        assert_eq!(meter.reports_due(), 3);
        while let Some(report) = meter.report() {
            sizes.push(report.reads.len());
            meter.settle(report.sequence);
        }
        assert_eq!(sizes, [CLOUDS_MAX, CLOUDS_MAX, 1]);
        assert_eq!(meter.open(), 0);
    }

    #[test]
    fn no_two_starts_are_the_same() {
        let incarnation = || ReadMeter::new(1, &SystemRandom).incarnation;
        assert_ne!(incarnation(), incarnation());
    }
}
