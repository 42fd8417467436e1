//! What is collected after the load: the search for canaries and the KMS's bill.
//!
//! Everything is taken while the servers still run, for what they hold in memory only must not be
//! on their disks either, and their environment is gone when they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::books::Planted;
use super::canary_scan::{Canaries, Found};
use super::directory::RunDirectory;
use crate::history::ledger::ScanPlace;
use crate::history::recorder::Recorder;

/// One server's places.
#[derive(Debug, Clone)]
pub struct ServerPlaces {
    /// Its name, for the report.
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
    /// The file that it writes its audit to.
    pub audit: PathBuf,
    /// Where it says what it does.
    pub log: PathBuf,
    /// Its process, if it runs.
    pub pid: Option<u32>,
}

/// Looks for the canaries in all places of these servers, and records what was found.
///
/// # Errors
/// When a place cannot be read or a scan cannot be recorded.
pub fn scan(recorder: &Recorder, planted: &[Planted], servers: &[ServerPlaces]) -> Result<()> {
    let canaries = Canaries::new(planted)?;
    for server in servers {
        let mut in_data = Found::default();
        canaries.search(&server.data, &mut in_data)?;
        let mut in_log = Found::default();
        canaries.search(&server.log, &mut in_log)?;
        // In the data directory, too, but to have looked at one is not to have looked at the other.
        let mut in_audit = Found::default();
        canaries.search_audit(&server.audit, &mut in_audit)?;
        let mut places = vec![
            (ScanPlace::DataDirectory, in_data),
            (ScanPlace::ProcessLog, in_log),
            (ScanPlace::Audit, in_audit),
        ];
        if let Some(pid) = server.pid {
            places.push((ScanPlace::Environment, in_environment(&canaries, pid)?));
        }
        for (place, found) in places {
            recorder.scan(|at| canaries.scan(at, place, server.name.clone(), found))?;
        }
    }
    Ok(())
}

fn in_environment(canaries: &Canaries, pid: u32) -> Result<Found> {
    let (mut found, path) = (Found::default(), format!("/proc/{pid}/environ"));
    match File::open(&path) {
        Ok(file) => canaries.search_stream(file, &path, &mut found)?,
        // It ended this moment.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context(path),
    }
    Ok(found)
}

/// Stores what the KMS has billed, as its own program tells, and whether its ledger is whole. The
/// program opens the store for reading only, beside the KMS.
///
/// # Errors
/// When the program cannot be run, or its ledger is not whole.
pub fn bill(kms_sim: &Path, config: &Path, directory: &RunDirectory) -> Result<()> {
    let run = |arguments: &[&str]| -> Result<Vec<u8>> {
        let mut command = Command::new(kms_sim);
        let output = command.arg("billing").args(arguments).arg("--config").arg(config).output();
        let output = output.with_context(|| format!("cannot run {}", kms_sim.display()))?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "kms-sim billing: {}", complaint.trim());
        Ok(output.stdout)
    };
    run(&["verify"])?;
    let bill = run(&["report", "--format", "json"])?;
    fs::write(directory.bill(), bill).context("cannot write the bill")
}
