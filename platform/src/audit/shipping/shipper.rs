//! Ships to one receiver: reads a batch, sends it until it is confirmed, remembers that, goes on.
//!
//! Runs on a thread of its own, for it reads files. An outage of the receiver costs a try now and
//! then, and no memory.

use std::io;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cursor::CursorFile;
use super::otlp::OtlpSink;
use super::reader::{Batch, Reader, Shipped};
use super::syslog::SyslogSink;
use crate::audit::chain::ChainHead;
use crate::audit::files::AuditFiles;
use crate::metrics::ShippingMetrics;

/// Where to.
#[derive(Debug)]
pub(super) enum Sink {
    /// Syslog.
    Syslog(SyslogSink),
    /// OTLP.
    Otlp(OtlpSink),
}

impl Sink {
    /// The receiver's name in metrics, logs and files.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Syslog(_) => "syslog",
            Self::Otlp(_) => "otlp",
        }
    }

    /// Sends records; the receiver has them when this returns, but for so many that it refuses for
    /// good.
    async fn send(&self, records: &[Shipped]) -> Result<u64, String> {
        match self {
            Self::Syslog(sink) => sink.send(records).await.map_err(|error| error.to_string()),
            Self::Otlp(sink) => {
                let sent = sink.send(records).await;
                sent.map_err(|status| format!("{:?}: {}", status.code(), status.message()))
            }
        }
    }
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Between two batches that are not full, so that each carries more.
    pub(super) gather: Duration,
    /// After the first failure; twice as long after each further one.
    pub(super) retry_min: Duration,
    /// After many.
    pub(super) retry_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            gather: Duration::from_secs(1),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
        }
    }
}

/// Ships to one receiver.
pub(super) struct Shipper {
    pub(super) files: AuditFiles,
    pub(super) cursor: CursorFile,
    pub(super) sink: Sink,
    /// Follows the last record that is on disk.
    pub(super) synced: watch::Receiver<Option<ChainHead>>,
    pub(super) metrics: ShippingMetrics,
    pub(super) pace: Pace,
}

impl Shipper {
    /// Ships until told to stop, or until nobody writes any more.
    pub(super) fn run(mut self, runtime: &Handle, stop: &CancellationToken) {
        let mut pause = self.pace.retry_min;
        while !stop.is_cancelled() {
            match self.ship(runtime, stop) {
                Ok(()) => return,
                Err(error) => {
                    self.failed(&format_args!("the files are not read or remembered: {error}"));
                }
            }
            wait(runtime, stop, pause);
            pause = (pause * 2).min(self.pace.retry_max);
        }
    }

    /// Ships until told to stop; fails when the files of this server do.
    fn ship(&mut self, runtime: &Handle, stop: &CancellationToken) -> io::Result<()> {
        let files = self.files.clone();
        let mut confirmed = self.cursor.read()?;
        let mut reader = Reader::behind(&files, confirmed)?;
        loop {
            let head = *self.synced.borrow_and_update();
            self.show_lag(head, confirmed);
            let batch = match head {
                Some(head) => reader.batch(head.sequence)?,
                None => Batch::default(),
            };
            let Some(last) = batch.records.last().map(|record| record.at) else {
                if !self.more_comes(runtime, stop) {
                    return Ok(());
                }
                continue;
            };
            if batch.missed > 0 {
                let (receiver, missed) = (self.sink.name(), batch.missed);
                tracing::error!(receiver, missed, "audit records went before they were shipped");
                self.metrics.missed.with_label_values(&[receiver]).inc_by(missed);
            }
            let Some(refused) = self.send(&batch, runtime, stop) else { return Ok(()) };
            // ORDER: confirmed first. A crash in between sends the batch once more.
            self.cursor.write(last)?;
            confirmed = Some(last);
            let receiver = self.sink.name();
            let sent = batch.records.len() as u64;
            let kept = sent.saturating_sub(refused);
            self.metrics.shipped.with_label_values(&[receiver]).inc_by(kept);
            self.metrics.missed.with_label_values(&[receiver]).inc_by(refused);
            if !batch.is_full {
                self.show_lag(head, confirmed);
                wait(runtime, stop, self.pace.gather);
            }
        }
    }

    /// Sends a batch until it is confirmed; nothing when told to stop before that.
    fn send(&self, batch: &Batch, runtime: &Handle, stop: &CancellationToken) -> Option<u64> {
        let mut pause = self.pace.retry_min;
        loop {
            let sending = async {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => None,
                    sent = self.sink.send(&batch.records) => Some(sent),
                }
            };
            match runtime.block_on(sending)? {
                Ok(refused) => return Some(refused),
                Err(error) => self.failed(&error),
            }
            wait(runtime, stop, pause);
            pause = (pause * 2).min(self.pace.retry_max);
            // What there is goes on to grow meanwhile.
            let (head, first) = (*self.synced.borrow(), batch.records.first());
            let before = first.map_or(0, |record| record.at.sequence);
            let lag = head.map_or(0, |head| (head.sequence + 1).saturating_sub(before));
            self.set_lag(lag);
        }
    }

    /// Waits until there may be more; false when told to stop, or when nobody writes any more.
    fn more_comes(&mut self, runtime: &Handle, stop: &CancellationToken) -> bool {
        let synced = &mut self.synced;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => false,
                changed = synced.changed() => changed.is_ok(),
            }
        })
    }

    fn failed(&self, error: &dyn std::fmt::Display) {
        let receiver = self.sink.name();
        tracing::warn!(receiver, %error, "audit records are not shipped; this is tried again");
        self.metrics.failures.with_label_values(&[receiver]).inc();
    }

    fn show_lag(&self, head: Option<ChainHead>, confirmed: Option<ChainHead>) {
        let head = head.map_or(0, |head| head.sequence.saturating_add(1));
        let confirmed = confirmed.map_or(0, |confirmed| confirmed.sequence.saturating_add(1));
        self.set_lag(head.saturating_sub(confirmed));
    }

    fn set_lag(&self, lag: u64) {
        let gauge = self.metrics.lag.with_label_values(&[self.sink.name()]);
        gauge.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }
}

/// Waits so long, or until told to stop.
fn wait(runtime: &Handle, stop: &CancellationToken, time: Duration) {
    runtime.block_on(async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    });
}
