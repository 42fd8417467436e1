//! The directory of a run (`verification §3.7`).

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::check::directory::{HISTORY_FILE, LOG_DIRECTORY, VERDICT_FILE};
use crate::history::History;
use crate::history::jsonl;

/// How hard the history is compressed: it is large, and compressed on a machine that is in use.
const ZSTD_LEVEL: i32 = 6;

/// Where a run keeps what it leaves behind.
#[derive(Debug, Clone)]
pub struct RunDirectory(PathBuf);

impl RunDirectory {
    /// Makes it.
    ///
    /// # Errors
    /// When it is there already, or cannot be made.
    pub fn make(path: &Path) -> Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// One that is there.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The seed and everything that was drawn from it.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    /// What was asked, and how much of it.
    #[must_use]
    pub fn mix(&self) -> PathBuf {
        self.0.join("mix.json")
    }

    /// What else is to be known of the run.
    #[must_use]
    pub fn facts(&self) -> PathBuf {
        self.0.join("facts.json")
    }

    /// The newest data of all servers, of a run that is not valid.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// The history while it grows.
    #[must_use]
    pub fn growing_history(&self) -> PathBuf {
        self.0.join(HISTORY_FILE)
    }

    /// The history once it is whole.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.0.join("history.jsonl.zst")
    }

    /// What the nemesis did.
    #[must_use]
    pub fn nemesis(&self) -> PathBuf {
        self.0.join("nemesis.jsonl")
    }

    /// The logs of the servers.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// What nodes had in their logs.
    #[must_use]
    pub fn log_dumps(&self) -> PathBuf {
        self.0.join(LOG_DIRECTORY)
    }

    /// What the KMS has billed.
    #[must_use]
    pub fn bill(&self) -> PathBuf {
        self.0.join("bill.json")
    }

    /// What `lockbox audit verify` says of each server's audit.
    #[must_use]
    pub fn audits(&self) -> PathBuf {
        self.0.join("audits.txt")
    }

    /// A copy of the KMS's data, its ledger among them, of a run for the bill.
    #[must_use]
    pub fn kms(&self) -> PathBuf {
        self.0.join("kms")
    }

    /// Copies of the nodes' audits and the heads of them, of a run for the bill.
    #[must_use]
    pub fn kept_audits(&self) -> PathBuf {
        self.0.join("audit")
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> PathBuf {
        self.0.join(VERDICT_FILE)
    }

    /// The report.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.0.join("index.html")
    }

    /// Compresses the history, which is whole now.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn seal_history(&self) -> Result<()> {
        let (from, to) = (self.growing_history(), self.history());
        let mut source = File::open(&from).with_context(|| format!("{}", from.display()))?;
        let target = File::create(&to).with_context(|| format!("{}", to.display()))?;
        let mut encoder = zstd::Encoder::new(BufWriter::new(target), ZSTD_LEVEL)?;
        io::copy(&mut source, &mut encoder)?;
        encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(fs::remove_file(from)?)
    }

    /// Decompresses the history, for those who judge it.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn unseal_history(&self) -> Result<()> {
        let (from, to) = (self.history(), self.growing_history());
        if to.exists() {
            return Ok(());
        }
        let source = File::open(&from).with_context(|| format!("{}", from.display()))?;
        let mut target = File::create(&to).with_context(|| format!("{}", to.display()))?;
        io::copy(&mut zstd::Decoder::new(source)?, &mut target)?;
        Ok(())
    }

    /// Reads the history: the whole one, or what there is of one that was cut off.
    ///
    /// # Errors
    /// When there is none, or it is none.
    pub fn read_history(&self) -> Result<History> {
        let (whole, growing) = (self.history(), self.growing_history());
        let path = if whole.exists() { &whole } else { &growing };
        let file = File::open(path).with_context(|| format!("{}", path.display()))?;
        let source: Box<dyn Read> = match path == &whole {
            true => Box::new(zstd::Decoder::new(file)?),
            false => Box::new(file),
        };
        let history = jsonl::read(BufReader::new(source));
        history.with_context(|| format!("{} is no history", path.display()))
    }

    /// Writes a file of JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_json(path: &Path, what: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec_pretty(what)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
