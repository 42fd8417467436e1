//! Judges the record of a run again, from its sources alone, in a place of its own.
//!
//! What follows from a record is made again as well: the report and the projections for outside
//! checkers. So a bundle holds nothing that somebody could have written into it afterwards.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::about::About;
use super::sources::{self, PACKED};
use super::{difference, redrawn, timeline};
use crate::check::directory::VERDICT_FILE;
use crate::check::verdict::Verdict;
use crate::run::directory::RunDirectory;
use crate::run::facts::Facts;
use crate::run::whole;

/// A run that was judged again.
pub(super) struct Rejudged {
    /// The run in words.
    pub(super) summary: String,
    /// Where it was laid out.
    place: PathBuf,
    /// Names of the files that follow from the record.
    derived: Vec<String>,
}

/// Judges the record that a bundle keeps of a run. It is laid out at `place`, which must have the
/// run's name, for the report shows it. `files` are the bundle's paths below the directory of the
/// run.
///
/// # Errors
/// The first thing that does not follow from the record.
pub(super) fn rejudge(
    kept: &Path,
    files: &[String],
    place: &Path,
    about: &About,
) -> Result<Rejudged> {
    sources::lay_out(kept, files, place)?;
    let directory = RunDirectory::at(place);
    about.covers(&Facts::read(&directory.facts())?)?;
    let plan = redrawn::check(place)?;
    let history = directory.read_history()?;
    redrawn::check_header(&plan, &history.header)?;
    let installed = timeline::check(&plan, &history.faults, &directory.nemesis())?;
    drop(history);
    let stored_text = fs::read(directory.verdict()).context(VERDICT_FILE)?;
    let stored: Verdict = serde_json::from_slice(&stored_text).context(VERDICT_FILE)?;
    // Time stands still: the report of a bundle does not say how long judging took.
    let (verdict, _) = whole::judge_record(&directory, &|| 0, &mut io::sink())?;
    if let Some(difference) = difference::first(&stored, &verdict) {
        anyhow::bail!("{VERDICT_FILE} does not follow from the history: {difference}");
    }
    let text = fs::read(directory.verdict()).context(VERDICT_FILE)?;
    ensure!(stored_text == text, "{VERDICT_FILE} is not written as the checker writes it");
    let summary = format!(
        "seed {}, {:?}: plan redrawn; {installed} faults in force, as planned and told; {} \
         operations judged anew by {} laws and {} secrets searched: {}",
        plan.seed,
        plan.profile,
        verdict.ops,
        verdict.laws.len(),
        verdict.search.secrets,
        verdict.judgement
    );
    let derived = derived_files(place)?;
    Ok(Rejudged { summary, place: place.to_owned(), derived })
}

fn derived_files(place: &Path) -> Result<Vec<String>> {
    let mut derived = Vec::new();
    for entry in fs::read_dir(place).with_context(|| place.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && !sources::is_source(&name) {
            derived.push(name);
        }
    }
    derived.sort_unstable();
    Ok(derived)
}

impl Rejudged {
    /// Takes what follows from the record into a bundle.
    pub(super) fn keep_derived(&self, kept: &Path) -> Result<()> {
        for name in &self.derived {
            let (from, to) = (self.place.join(name), kept.join(kept_as(name)));
            if to.extension().is_some_and(|extension| extension == "zst") {
                sources::pack(&from, &to)?;
            } else {
                sources::copy(&from, &to)?;
            }
        }
        Ok(())
    }

    /// Checks that a bundle has what follows from the record, and nothing else.
    pub(super) fn check_derived(&self, kept: &Path, files: &[String]) -> Result<()> {
        for name in &self.derived {
            let there = kept_as(name);
            ensure!(files.contains(&there), "{there} is missing");
            let made = fs::read(self.place.join(name)).with_context(|| name.clone())?;
            let stored = read_kept(&kept.join(&there)).with_context(|| there.clone())?;
            ensure!(stored == made, "{there} does not follow from the history");
        }
        let known = |file: &str| {
            let name = file.strip_suffix(PACKED).unwrap_or(file);
            let is_derived = self.derived.iter().any(|name| kept_as(name) == file);
            is_derived || sources::is_source(name)
        };
        match files.iter().find(|file| !known(file)) {
            Some(extra) => anyhow::bail!("{extra} is no part of a run's record"),
            None => Ok(()),
        }
    }
}

/// The tables for other checkers are large, and compressed; the report is opened as it is.
fn kept_as(derived: &str) -> String {
    let is_table = derived.ends_with(".edn") || derived.ends_with(".tsv");
    if is_table { format!("{derived}{PACKED}") } else { derived.to_owned() }
}

fn read_kept(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    if path.extension().is_some_and(|extension| extension == "zst") {
        zstd::Decoder::new(file)?.read_to_end(&mut bytes)?;
    } else {
        (&file).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
