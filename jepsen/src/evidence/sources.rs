//! Which files of a run's directory are its record, and how a bundle keeps them.
//!
//! What can be made again from others, such as the report, is no source. Neither is what helps
//! only where the run was, such as the servers' data.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::check::directory::{
    HISTORY_FILE, LOG_DIRECTORY, REQUIRED_FILE, SEARCH_FILE, VERDICT_FILE,
};

/// What a compressed file's name ends with.
pub(super) const PACKED: &str = ".zst";
/// Harder than a run compresses: a bundle is written once.
const ZSTD_LEVEL: i32 = 9;

/// What every run leaves, and is kept as it is.
const NEEDED: [&str; 7] = [
    "plan.json",
    "mix.json",
    "facts.json",
    REQUIRED_FILE,
    SEARCH_FILE,
    VERDICT_FILE,
    SEALED_HISTORY,
];
/// The history as a run leaves it.
const SEALED_HISTORY: &str = "history.jsonl.zst";
/// What the nemesis told.
const NEMESIS: &str = "nemesis.jsonl";
/// What the KMS billed; a run that failed early has none.
const BILL: &str = "bill.json";
/// Directories of dumps and of what the servers said.
const DIRECTORIES: [&str; 2] = [LOG_DIRECTORY, "logs"];

/// Whether a run's file of this path is part of its record.
pub(super) fn is_source(path: &str) -> bool {
    let below = |directory: &str| path.strip_prefix(directory).is_some_and(|p| p.starts_with('/'));
    NEEDED.contains(&path)
        || [NEMESIS, BILL, HISTORY_FILE].contains(&path)
        || DIRECTORIES.into_iter().any(below)
}

/// How a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// As it is: it is small and read by people, or compressed by the run.
    Plain,
    /// Compressed, as `<name>.zst`.
    Packed,
}

/// A file of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Its path below the run's directory.
    pub(super) path: String,
    kept: Kept,
}

impl Source {
    fn plain(path: impl Into<String>) -> Self {
        Self { path: path.into(), kept: Kept::Plain }
    }

    fn packed(path: impl Into<String>) -> Self {
        Self { path: path.into(), kept: Kept::Packed }
    }

    /// Its path below the bundle's directory of the run.
    pub(super) fn kept_as(&self) -> String {
        match self.kept {
            Kept::Plain => self.path.clone(),
            Kept::Packed => format!("{}{PACKED}", self.path),
        }
    }

    /// Takes it from a run's directory into a bundle's.
    pub(super) fn keep(&self, run: &Path, bundle: &Path) -> Result<()> {
        let (from, to) = (run.join(&self.path), bundle.join(self.kept_as()));
        match self.kept {
            Kept::Plain => copy(&from, &to),
            Kept::Packed => pack(&from, &to),
        }
    }
}

/// The sources in a run's directory.
///
/// # Errors
/// When one that every run has is not there.
pub(super) fn of_run(run: &Path) -> Result<Vec<Source>> {
    let growing = run.join(HISTORY_FILE);
    ensure!(!growing.exists(), "{} is not finished: judge it first", run.display());
    let mut sources: Vec<Source> = NEEDED.into_iter().map(Source::plain).collect();
    sources.push(Source::packed(NEMESIS));
    for source in &sources {
        let path = run.join(&source.path);
        ensure!(path.is_file(), "there is no {}", path.display());
    }
    if run.join(BILL).exists() {
        sources.push(Source::plain(BILL));
    }
    for name in DIRECTORIES {
        sources.extend(files_of(run, name)?.into_iter().map(Source::packed));
    }
    Ok(sources)
}

/// The files right below a directory of a run; none if there is no such directory.
fn files_of(run: &Path, name: &str) -> Result<Vec<String>> {
    let directory = run.join(name);
    let mut files = Vec::new();
    if !directory.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        ensure!(entry.file_type()?.is_file(), "{} is no file", entry.path().display());
        let file = entry.file_name();
        let file = file.to_str().with_context(|| format!("a file of {name} has no name"))?;
        files.push(format!("{name}/{file}"));
    }
    files.sort_unstable();
    Ok(files)
}

/// Lays the record that a bundle keeps of a run out as it was when the run was judged. `files` are
/// the bundle's paths below the directory of the run.
pub(super) fn lay_out(kept: &Path, files: &[String], run: &Path) -> Result<()> {
    for file in files {
        let plain = file.strip_suffix(PACKED);
        if !is_source(plain.unwrap_or(file)) {
            continue;
        }
        match plain {
            Some(plain) => unpack(&kept.join(file), &run.join(plain))?,
            None => copy(&kept.join(file), &run.join(file))?,
        }
    }
    Ok(())
}

/// Compresses a file.
pub(super) fn pack(from: &Path, to: &Path) -> Result<()> {
    let packed = || -> io::Result<()> {
        let mut source = File::open(from)?;
        let target = BufWriter::new(File::create(made(to)?)?);
        let mut encoder = zstd::Encoder::new(target, ZSTD_LEVEL)?;
        io::copy(&mut source, &mut encoder)?;
        encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    };
    packed().with_context(|| format!("cannot compress {}", from.display()))
}

fn unpack(from: &Path, to: &Path) -> Result<()> {
    let unpacked = || -> io::Result<()> {
        let mut source = zstd::Decoder::new(File::open(from)?)?;
        let mut target = BufWriter::new(File::create(made(to)?)?);
        io::copy(&mut source, &mut target)?;
        target.into_inner().map_err(io::IntoInnerError::into_error).map(drop)
    };
    unpacked().with_context(|| format!("cannot decompress {}", from.display()))
}

/// Copies a file.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = || -> io::Result<()> {
        let mut target = File::create(made(to)?)?;
        io::copy(&mut File::open(from)?, &mut target)?;
        target.sync_all()
    };
    copied().with_context(|| format!("cannot copy {}", from.display()))
}

/// The path of a file whose directory is there.
fn made(path: &Path) -> io::Result<PathBuf> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(path.to_owned())
}
