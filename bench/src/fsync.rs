//! What one sync of this disk costs: no write figure means anything without it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use crate::arguments::{Output, seconds};
use crate::latency::{Latencies, Percentiles};
use crate::record::tell;

/// Bytes appended before each sync.
const BLOCK_BYTES: usize = 4096;

/// Options of `fsync`.
#[derive(Debug, Args)]
pub struct FsyncArguments {
    /// File on the disk in question; it must not exist, and is removed at the end.
    #[arg(long)]
    pub file: PathBuf,
    /// Seconds that are measured.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub duration: Duration,
    /// How the result is told.
    #[command(flatten)]
    pub output: Output,
}

/// What syncs took.
#[derive(Debug, Clone, Serialize)]
pub struct Synced {
    /// Its name in reports.
    pub label: String,
    /// How many.
    pub syncs: u64,
    /// How long each took.
    pub latency_us: Percentiles,
}

/// Appends and syncs, one after the other.
///
/// # Errors
/// When the file cannot be made or written.
pub fn run(arguments: &FsyncArguments) -> Result<()> {
    let FsyncArguments { file, duration, output } = arguments;
    // Only a file that was made here may be removed.
    let made = OpenOptions::new().append(true).create_new(true).open(file);
    let made = made.with_context(|| format!("cannot create {}", file.display()))?;
    let latencies = measure(made, *duration);
    let removed = fs::remove_file(file);
    let latencies = latencies.with_context(|| format!("cannot write {}", file.display()))?;
    removed.with_context(|| format!("cannot remove {}", file.display()))?;
    let (syncs, latency_us) = (latencies.count(), latencies.percentiles());
    let synced = Synced { label: output.label.clone(), syncs, latency_us };
    let table = format!(
        "fdatasync after an append of {BLOCK_BYTES} bytes: p50 {} us, p99 {} us, max {} us\n",
        latency_us.p50, latency_us.p99, latency_us.max
    );
    tell(&synced, &table, output.json.as_deref())
}

fn measure(mut file: File, duration: Duration) -> std::io::Result<Latencies> {
    let block = [0xA5; BLOCK_BYTES];
    let mut latencies = Latencies::new();
    let began = Instant::now();
    while began.elapsed() < duration {
        let one = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        latencies.record(one.elapsed());
    }
    Ok(latencies)
}
