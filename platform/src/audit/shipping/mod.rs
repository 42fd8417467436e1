//! Copies of the audit for others: syslog and OTLP, each from a place of its own in the files.
//!
//! Promises: a record that is on disk reaches every receiver that is configured, in its order and
//! at least once, through outages of the receiver and of this process: who ships remembers in a
//! file (`cursor`) the last record that the receiver has confirmed, and reads on behind it, in
//! finished and compressed files too. What is removed before that is counted, and told. Never in
//! the way of the audit itself: it reads the files, as anybody may, and the writer does not know
//! of it. Memory is bounded by one batch.

mod config;
mod cursor;
mod otlp;
mod reader;
mod shipper;
mod syslog;
mod syslog_line;

use std::convert::Infallible;
use std::path::PathBuf;

use tokio::sync::watch;

pub use self::config::{SyslogConfig, SyslogReceiver};
use self::cursor::CursorFile;
use self::otlp::OtlpSink;
use self::shipper::{Pace, Shipper, Sink};
use self::syslog::SyslogSink;
use crate::audit::chain::ChainHead;
use crate::audit::files::AuditFiles;
use crate::metrics::ShippingMetrics;
use crate::otlp::OtlpConfig;
use crate::tasks::{TaskKind, Tasks};
use crate::tls::TlsError;

/// Who sends, as the receivers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The program: `lockbox` or `kms-sim`.
    pub program: &'static str,
    /// Which one of them it is: `node-1`.
    pub host: String,
}

/// What is shipped, and where.
pub struct Shipping {
    /// The file that is written to.
    pub path: PathBuf,
    /// Follows the last record that is on disk.
    pub synced: watch::Receiver<Option<ChainHead>>,
    /// Who sends.
    pub origin: Origin,
    /// Where to by syslog, if anywhere.
    pub syslog: Option<SyslogConfig>,
    /// Where to by OTLP, if anywhere.
    pub otlp: Option<OtlpConfig>,
}

/// Starts what ships, in the background. To be called within a runtime.
///
/// # Errors
/// [`TlsError`] when a receiver's certificates or address cannot be used.
pub fn start(shipping: Shipping, tasks: &Tasks, metrics: &ShippingMetrics) -> Result<(), TlsError> {
    let Shipping { path, synced, origin, syslog, otlp } = shipping;
    let files = AuditFiles::of(&path);
    let syslog = syslog.map(|config| SyslogSink::new(&config, origin.clone())).transpose()?;
    let otlp = otlp.map(|config| Ok::<_, TlsError>(OtlpSink::new(config.collector()?, &origin)));
    let otlp = otlp.transpose()?;
    let sinks = [syslog.map(Sink::Syslog), otlp.map(Sink::Otlp)];
    for sink in sinks.into_iter().flatten() {
        let shipper = Shipper {
            files: files.clone(),
            cursor: CursorFile::beside(files.active(), sink.name()),
            sink,
            synced: synced.clone(),
            metrics: metrics.clone(),
            pace: Pace::default(),
        };
        let (stop, runtime) = (tasks.token(), tokio::runtime::Handle::current());
        tasks.spawn_blocking(TaskKind::Background, "audit shipper", move || {
            shipper.run(&runtime, &stop);
            Ok::<(), Infallible>(())
        });
    }
    Ok(())
}
