//! Checks a bundle offline: that it is as it was written, and that what it says follows from
//! what it holds. Changes nothing of it.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::about::About;
use super::manifest::{self, Manifest};
use super::rejudge::rejudge;
use super::{MATRIX_FILE, RUNS_DIRECTORY, matrix};

/// Checks a bundle and prints what was checked.
///
/// # Errors
/// The first thing that is wrong, with the file or the run.
pub fn verify(bundle: &Path, print: &mut impl Write) -> Result<()> {
    let (manifest, hash) = manifest::check(bundle)?;
    let bytes: u64 = manifest.files.iter().map(|entry| entry.bytes).sum();
    let files = manifest.files.len();
    writeln!(print, "manifest: {files} files with {bytes} bytes are there and unchanged")?;
    let about = About::read(bundle)?;
    // Said before anything can fail: a suite of another commit may draw other plans.
    writeln!(print, "commit: {}; that commit's suite is the one to check with", about.commit)?;
    verify_content(bundle, &about, &manifest, print)?;
    writeln!(print, "SHA-256 of the manifest: {hash}")?;
    Ok(())
}

fn verify_content(
    bundle: &Path,
    about: &About,
    manifest: &Manifest,
    print: &mut impl Write,
) -> Result<()> {
    let scratch = tempfile::tempdir().context("no place for the runs")?;
    for run in &about.runs {
        let below = format!("{RUNS_DIRECTORY}/{run}/");
        let paths = manifest.files.iter().map(|entry| entry.path.as_str());
        let files: Vec<String> =
            paths.filter_map(|path| path.strip_prefix(&below)).map(str::to_owned).collect();
        let (kept, place) = (bundle.join(RUNS_DIRECTORY).join(run), scratch.path().join(run));
        let verified = rejudge(&kept, &files, &place, about).and_then(|rejudged| {
            rejudged.check_derived(&kept, &files)?;
            Ok(rejudged.summary)
        });
        let summary = verified.with_context(|| format!("run {run}"))?;
        writeln!(print, "run {run}: {summary}; report and exports made again and equal")?;
        // One at a time: the histories are large.
        std::fs::remove_dir_all(&place).context("cannot make room")?;
    }
    let known = |path: &str| {
        path.starts_with(&format!("{RUNS_DIRECTORY}/"))
            || [super::ABOUT_FILE, MATRIX_FILE].contains(&path)
    };
    if let Some(extra) = manifest.files.iter().find(|entry| !known(&entry.path)) {
        anyhow::bail!("{} is no part of a bundle", extra.path);
    }
    if about.matrix {
        let summary =
            matrix::check(&bundle.join(MATRIX_FILE), &about.commit).context(MATRIX_FILE)?;
        writeln!(print, "kill matrix: {summary}")?;
    }
    Ok(())
}
