//! `kms-sim root`: recovery shares of the root key, made and put together again, and another root
//! key for the data; without a server.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::system::SystemRandom;
use zeroize::Zeroizing;

use super::{Failure, confine, environment};
use crate::config::KmsConfig;
use crate::root_key::RootKey;
use crate::root_rotation::{RotateError, rotate};
use crate::root_secret::{Passphrase, RootSecret};
use crate::server::StartError;
use crate::shares::{Share, TEXT_CHARS_MAX, combine, split};

/// Longest input, in bytes: more than a whole set with a remark for each share.
const INPUT_BYTES_MAX: usize = 2 * 256 * TEXT_CHARS_MAX;
/// Begins a line of a file of shares that people have written for each other.
const REMARK: char = '#';

/// `kms-sim root`.
#[derive(Debug, Args)]
pub(super) struct RootArgs {
    #[command(subcommand)]
    command: RootCommand,
}

#[derive(Debug, Subcommand)]
enum RootCommand {
    /// Prints recovery shares of a root key, one a line: some of them give it back when it is lost.
    ///
    /// Each share belongs to another person or place. Whoever has enough of them has the root key.
    Shares {
        /// The root key's file.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// How many shares there will be, at most 255.
        #[arg(long, value_name = "N")]
        of: u8,
        /// How many of them will be needed, at least 2.
        #[arg(long, value_name = "K")]
        need: u8,
    },
    /// Writes the root key that recovery shares give into a new file that only its owner can read.
    Recover {
        /// The file to write; it must not exist.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Files with one share or several, one a line. Default: standard input.
        #[arg(value_name = "SHARES")]
        shares: Vec<PathBuf>,
    },
    /// Puts all keys under another root key; the present one opens nothing of the data any more.
    ///
    /// The server must be stopped. Until this has succeeded the present root key is the one to
    /// start it with, afterwards the new one: change the configuration then, make new recovery
    /// shares, and destroy the old ones. Backups of the data keep their own root key.
    Rotate {
        /// The server's configuration, which says where the data and the present root key are.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        next: Next,
    },
}

/// The root key that is to be.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Next {
    /// The new root key's file, as `init-root` makes it.
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
    /// The file of a passphrase to derive the new root key from.
    #[arg(long, value_name = "FILE")]
    to_passphrase_file: Option<PathBuf>,
}

impl Next {
    fn load(&self) -> Result<RootSecret, Failure> {
        let loaded = match (&self.to_file, &self.to_passphrase_file) {
            (Some(file), _) => RootKey::read_file(file).map(RootSecret::Key),
            (None, Some(file)) => Passphrase::read_file(file).map(RootSecret::Passphrase),
            (None, None) => {
                return Err(Failure::usage("--to-file or --to-passphrase-file is needed"));
            }
        };
        loaded.map_err(Failure::usage)
    }
}

/// Runs `kms-sim root`.
pub(super) fn run(arguments: RootArgs) -> Result<(), Failure> {
    confine()?;
    match arguments.command {
        RootCommand::Shares { file, of, need } => print_shares(&file, of, need),
        RootCommand::Recover { file, shares } => recover(&file, &shares),
        RootCommand::Rotate { config, next } => rotate_root(&config, &next),
    }
}

fn print_shares(file: &Path, of: u8, need: u8) -> Result<(), Failure> {
    let root = RootKey::read_file(file).map_err(Failure::usage)?;
    let shares = split(&root, of, need, &SystemRandom).map_err(Failure::usage)?;
    let mut output = io::stdout().lock();
    for share in &shares {
        writeln!(output, "{}", share.to_text().as_str())
            .map_err(|error| Failure::output(&error))?;
    }
    output.flush().map_err(|error| Failure::output(&error))
}

fn rotate_root(config: &Path, next: &Next) -> Result<(), Failure> {
    let environment = environment();
    let config = KmsConfig::load(config, &environment).map_err(Failure::usage)?;
    let present = config.load_root_secret(&environment).map_err(Failure::usage)?;
    let rotated = rotate(&config.data_dir, present, next.load()?, &SystemRandom);
    let versions = rotated.map_err(|error| match error {
        RotateError::Open(error) => {
            let error = StartError::from(error);
            Failure::new(error.exit_code(), error)
        }
        RotateError::Same => Failure::usage(error),
        RotateError::Damaged(_) => Failure::new(ExitCode::CorruptLog, error),
        RotateError::Purge(_) => Failure::new(ExitCode::Storage, error),
    })?;
    writeln!(io::stdout().lock(), "{versions} key versions are under the new root key")
        .map_err(|error| Failure::output(&error))
}

fn recover(file: &Path, sources: &[PathBuf]) -> Result<(), Failure> {
    let mut shares = Vec::new();
    if sources.is_empty() {
        read_shares("standard input", io::stdin().lock(), &mut shares)?;
    }
    for path in sources {
        let name = path.display().to_string();
        let source = File::open(path).map_err(|error| unreadable(&name, &error))?;
        read_shares(&name, source, &mut shares)?;
    }
    let root = combine(&shares).map_err(Failure::usage)?;
    root.write_file(file).map_err(Failure::usage)?;
    writeln!(io::stdout().lock(), "recovered the root key into {}", file.display())
        .map_err(|error| Failure::output(&error))
}

/// Adds the shares of a file; what it holds is never quoted.
fn read_shares(name: &str, source: impl Read, shares: &mut Vec<Share>) -> Result<(), Failure> {
    // As large as it may get: a growing buffer would leave copies of shares behind.
    let mut content = Zeroizing::new(Vec::with_capacity(INPUT_BYTES_MAX + 1));
    source
        .take(INPUT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| unreadable(name, &error))?;
    if content.len() > INPUT_BYTES_MAX {
        return Err(Failure::usage(format_args!("{name} is longer than any set of shares")));
    }
    let text = std::str::from_utf8(&content)
        .map_err(|_| Failure::usage(format_args!("{name} is no text")))?;
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with(REMARK) {
            continue;
        }
        let share = Share::parse(line).map_err(|error| {
            Failure::usage(format_args!("line {} of {name}: {error}", number + 1))
        })?;
        shares.push(share);
    }
    Ok(())
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::usage(format_args!("cannot read {name}: {error}"))
}
