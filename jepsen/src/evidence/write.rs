//! Writes a bundle. It appears whole or not at all, and only if it passes what is checked later.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::about::About;
use super::rejudge::rejudge;
use super::sources::Source;
use super::{MATRIX_FILE, RUNS_DIRECTORY, manifest, matrix, sources};

/// What goes into a bundle.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Wanted {
    /// The directory of a run; may be given several times.
    #[arg(long = "run", value_name = "DIR", required = true, num_args = 1..)]
    pub runs: Vec<PathBuf>,
    /// The kill matrix, as `lockbox-jepsen mutants` wrote it.
    #[arg(long, value_name = "FILE")]
    pub matrix: Option<PathBuf>,
    /// Directory of the programs that ran.
    #[arg(long, value_name = "DIR", env = "LOCKBOX_BIN")]
    pub bin: PathBuf,
    /// The commit that they were built from, in full.
    #[arg(long, value_name = "ID")]
    pub commit: String,
    /// Where the bundle is written; it must not exist.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Writes it and prints what is in it.
///
/// # Errors
/// When a record is not whole, is not of this commit or does not give its verdict again, or when a
/// file cannot be written.
pub fn write(wanted: &Wanted, print: &mut impl Write) -> Result<()> {
    let out = &wanted.out;
    ensure!(!out.exists(), "{} is there already", out.display());
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let building = tempfile::Builder::new().prefix(".evidence-").tempdir_in(parent);
    let building = building.with_context(|| parent.display().to_string())?;
    let hash = fill(wanted, building.path(), print)?;
    sync(building.path())?;
    fs::set_permissions(building.path(), Permissions::from_mode(0o755))?;
    fs::rename(building.path(), out).with_context(|| out.display().to_string())?;
    // What it would remove is no longer there under that name.
    let _moved = building.keep();
    File::open(parent).and_then(|parent| parent.sync_all()).context("cannot sync")?;
    writeln!(print, "SHA-256 of the manifest: {hash}")?;
    writeln!(print, "the bundle is {}", out.display())?;
    Ok(())
}

fn fill(wanted: &Wanted, bundle: &Path, print: &mut impl Write) -> Result<String> {
    let mut runs = Vec::new();
    for run in &wanted.runs {
        runs.push((name_of(run)?, run));
    }
    runs.sort_unstable();
    let names: Vec<String> = runs.iter().map(|(name, _)| name.clone()).collect();
    let is_unique = names.windows(2).all(|pair| pair.first() != pair.last());
    ensure!(is_unique, "two runs have one name");
    let mut kept_files = Vec::new();
    for (name, run) in &runs {
        let kept = bundle.join(RUNS_DIRECTORY).join(name);
        let sources = sources::of_run(run)?;
        for source in &sources {
            source.keep(run, &kept)?;
        }
        kept_files.push(sources.iter().map(Source::kept_as).collect::<Vec<String>>());
    }
    if let Some(file) = &wanted.matrix {
        let kept = bundle.join(MATRIX_FILE);
        sources::copy(file, &kept)?;
        let summary = matrix::check(&kept, &wanted.commit);
        let summary = summary.with_context(|| file.display().to_string())?;
        writeln!(print, "kill matrix: {summary}")?;
    }
    let about = About::gather(&wanted.commit, &wanted.bin, names, wanted.matrix.is_some())?;
    about.write(bundle)?;
    let about = About::read(bundle)?;
    let scratch = tempfile::tempdir().context("no place for the runs")?;
    for (name, files) in about.runs.iter().zip(&kept_files) {
        let (kept, place) = (bundle.join(RUNS_DIRECTORY).join(name), scratch.path().join(name));
        let rejudged = rejudge(&kept, files, &place, &about);
        let rejudged = rejudged.with_context(|| format!("run {name}"))?;
        rejudged.keep_derived(&kept)?;
        writeln!(print, "run {name}: {}", rejudged.summary)?;
        fs::remove_dir_all(&place).context("cannot make room")?;
    }
    manifest::write(bundle)
}

/// The name of a run is that of its directory, and plain enough for a path on any machine.
fn name_of(run: &Path) -> Result<String> {
    let run = run.canonicalize().with_context(|| run.display().to_string())?;
    let name = run.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_plain = !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
    ensure!(is_plain, "{name:?} is no plain name for a run");
    Ok(name.to_owned())
}

/// Makes sure that the files outlast a power cut before the bundle has its name.
fn sync(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            sync(&path)?;
        } else {
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.with_context(|| path.display().to_string())?;
        }
    }
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.with_context(|| directory.display().to_string())
}
