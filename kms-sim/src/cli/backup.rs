//! `kms-sim backup` and `kms-sim restore`: without a server.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lockbox_platform::confinement::confine_directory;
use lockbox_platform::exit::ExitCode;

use super::{Failure, confine, environment};
use crate::backup::{self, BackupError, Contents, shown};
use crate::config::KmsConfig;
use crate::root_secret::RootSecret;
use crate::store::StoreError;

/// `kms-sim backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Restores a backup beside the data, checks it, and removes what it has unpacked.
    ///
    /// Every wrap is opened and the ledger is computed anew, as for a restore. It takes as much
    /// room in the data directory as the store itself, and may run beside the server.
    Verify {
        #[command(flatten)]
        of: Of,
    },
}

/// `kms-sim restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    of: Of,
    /// Only say what would come back: as `backup verify`.
    #[arg(long)]
    dry_run: bool,
    /// The KMS has no cluster that could say what it has destroyed since: go on without.
    ///
    /// Keys that were destroyed after the backup come back, and have to be destroyed again. No
    /// version of the backup encrypts any more, for nobody knows how often it has; every key gets
    /// a new one.
    #[arg(long, conflicts_with = "dry_run")]
    standalone: bool,
}

/// A backup, and the configuration that names the data directory and the root key.
#[derive(Debug, Args)]
struct Of {
    /// The server's configuration, which says where the data and the root key are.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The backup.
    #[arg(value_name = "BACKUP")]
    file: PathBuf,
}

impl Of {
    fn load(&self) -> Result<(KmsConfig, RootSecret), Failure> {
        let (environment, variables) = environment();
        let config = KmsConfig::load(&self.config, &environment).map_err(Failure::usage)?;
        let secret = config.load_root_secret(variables).map_err(Failure::usage)?;
        confine_directory(&config.data_dir).map_err(|error| {
            let data = config.data_dir.display();
            Failure::new(ExitCode::Storage, format!("cannot close {data} to other users: {error}"))
        })?;
        Ok((config, secret))
    }
}

/// Runs `kms-sim backup`.
pub(super) fn run(arguments: BackupArgs) -> Result<(), Failure> {
    let BackupArgs { command: BackupCommand::Verify { of } } = arguments;
    verify(&of)
}

fn verify(of: &Of) -> Result<(), Failure> {
    confine()?;
    let (config, secret) = of.load()?;
    let contents = backup::verify(&of.file, &config.data_dir, secret);
    let contents = contents.map_err(|error| failed(&of.file, &error))?;
    tell(&contents, "the backup can be restored").map_err(|error| Failure::output(&error))
}

/// Runs `kms-sim restore`.
pub(super) fn restore(arguments: &RestoreArgs) -> Result<(), Failure> {
    let RestoreArgs { of, dry_run, standalone } = arguments;
    if *dry_run {
        return verify(of);
    }
    confine()?;
    let (config, secret) = of.load()?;
    if config.cluster.is_none() && !standalone {
        return Err(Failure::usage(
            "the configuration names no [cluster] that could say what was destroyed since the \
             backup: name its nodes, or give --standalone",
        ));
    }
    let contents = backup::restore(&of.file, &config.data_dir, secret, *standalone);
    let contents = contents.map_err(|error| failed(&of.file, &error))?;
    let next = if *standalone {
        "restored; keys that were destroyed since the backup are back: destroy them again"
    } else {
        "restored; the server asks the cluster what was destroyed since, and serves then"
    };
    tell(&contents, next).map_err(|error| Failure::output(&error))
}

/// Says what is in it, and from which time on something is missing.
fn tell(contents: &Contents, conclusion: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let root = if contents.by_passphrase { "a passphrase" } else { "a root key" };
    writeln!(output, "made:            {}", shown(contents.created_at))?;
    writeln!(output, "store:           {} (epoch {})", contents.store_id, contents.epoch)?;
    writeln!(output, "opened by:       {root}, {}", contents.root_key_id)?;
    writeln!(output, "last commit:     {} of {}", contents.head, shown(contents.head_time))?;
    writeln!(output, "restored before: {} times", contents.restores)?;
    writeln!(output, "keys:            {}", contents.keys)?;
    let (versions, destroyed) = (contents.versions, contents.destroyed);
    writeln!(output, "versions:        {versions} and {destroyed} destroyed")?;
    writeln!(output, "newest version:  of {}", shown(contents.newest_version_at))?;
    writeln!(output, "ledger records:  {}", contents.ledger_records)?;
    writeln!(
        output,
        "This is the state of {}: time rolls back to it. What was done later is not in it: keys \
         and versions made since are lost, with all that is encrypted under them, and what was \
         billed since is in the audits of the nodes alone.",
        shown(contents.created_at)
    )?;
    writeln!(output, "{conclusion}")?;
    output.flush()
}

/// A backup that cannot be used, or not written.
pub(super) fn failed(file: &Path, error: &BackupError) -> Failure {
    let code = match error {
        BackupError::Read(_)
        | BackupError::NotABackup
        | BackupError::Format { .. }
        | BackupError::NoPassphrase
        | BackupError::Exists { .. } => ExitCode::Usage,
        BackupError::WrongRootKey { .. } | BackupError::Store(StoreError::Newer { .. }) => {
            ExitCode::IdentityMismatch
        }
        BackupError::Altered(_)
        | BackupError::Wrong(_)
        | BackupError::Derivation(_)
        | BackupError::Store(StoreError::Damaged { .. }) => ExitCode::CorruptLog,
        BackupError::Store(StoreError::DiskFull(_)) => ExitCode::DiskFull,
        BackupError::Write(_) | BackupError::Directory { .. } | BackupError::Store(_) => {
            ExitCode::Storage
        }
    };
    Failure::new(code, format_args!("{}: {error}", file.display()))
}
