//! `kms-sim root`: recovery shares of the root key, made and put together again, and another root
//! key for the data; without a server.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::system::SystemRandom;
use zeroize::Zeroizing;

use super::{Failure, confine, environment};
use crate::backup;
use crate::config::KmsConfig;
use crate::engine::OpenError;
use crate::root_key::{RootKey, read_private};
use crate::root_proof::{present_root, prove};
use crate::root_rotation::{RotateError, rotate};
use crate::root_secret::{Passphrase, RootSecret};
use crate::server::StartError;
use crate::shares::{Share, TEXT_CHARS_MAX, combine, split};

/// Longest input, in bytes: more than a whole set with a remark for each share.
const INPUT_BYTES_MAX: usize = 2 * 256 * TEXT_CHARS_MAX;
/// Where shares come from when no file is named.
const INPUT: &str = "standard input";
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
    /// Prints recovery shares of the root key, one a line: some of them give it back when it is lost.
    ///
    /// The root key, or the passphrase for it, comes from where the server takes it, and has to open
    /// the server's data, which may run meanwhile. Each share belongs to another person or place:
    /// whoever has enough of them has the root key. Every run makes another set; shares of different
    /// sets do not go together, and those of earlier ones stay good.
    Shares {
        /// The server's configuration, which says where the data and the root key are.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// How many shares there will be, at most 255.
        #[arg(long, value_name = "N")]
        of: u8,
        /// How many of them will be needed, at least 2.
        #[arg(long, value_name = "K")]
        need: u8,
    },
    /// Writes the root key that recovery shares give into a new file that only its owner can read.
    ///
    /// The key has to open the server's data, or where they are lost a backup of them: else nothing
    /// is written.
    Recover {
        #[command(flatten)]
        opens: Opens,
        /// The file to write; it must not exist.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Files with one share or several, one a line, that only their owner can read. Default:
        /// standard input.
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

/// What the root key has to open.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Opens {
    /// The server's configuration, which says where the data is.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A backup, where the data is lost: `kms-sim restore` takes the root key then.
    #[arg(long, value_name = "BACKUP")]
    backup: Option<PathBuf>,
}

impl Opens {
    /// Proves that this root key does, and says what it opens.
    fn prove(&self, root: &RootKey) -> Result<String, Failure> {
        match (&self.config, &self.backup) {
            (Some(config), _) => {
                let config = KmsConfig::load(config, &environment().0).map_err(Failure::usage)?;
                prove(&config.data_dir, root).map_err(not_opened)?;
                Ok(config.data_dir.display().to_string())
            }
            (None, Some(file)) => {
                backup::prove(file, root).map_err(|error| super::backup::failed(file, &error))?;
                Ok(file.display().to_string())
            }
            (None, None) => Err(Failure::usage("--config or --backup is needed")),
        }
    }
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
        RootCommand::Shares { config, of, need } => print_shares(&config, of, need),
        RootCommand::Recover { opens, file, shares } => recover(&opens, &file, &shares),
        RootCommand::Rotate { config, next } => rotate_root(&config, &next),
    }
}

fn print_shares(config: &Path, of: u8, need: u8) -> Result<(), Failure> {
    let (environment, variables) = environment();
    let config = KmsConfig::load(config, &environment).map_err(Failure::usage)?;
    let secret = config.load_root_secret(variables).map_err(Failure::usage)?;
    let root = present_root(&config.data_dir, secret).map_err(not_opened)?;
    let shares = split(&root, of, need, &SystemRandom).map_err(Failure::usage)?;
    let mut output = io::stdout().lock();
    for share in &shares {
        writeln!(output, "{}", share.to_text().as_str())
            .map_err(|error| Failure::output(&error))?;
    }
    output.flush().map_err(|error| Failure::output(&error))?;
    // Beside the shares, so that a pipe has them alone.
    let data = config.data_dir.display();
    writeln!(
        io::stderr().lock(),
        "{of} recovery shares of the root key of {data}, of which {need} are needed"
    )
    .map_err(|error| Failure::output(&error))
}

/// The root key is not the store's, or there is no store to tell.
fn not_opened(error: OpenError) -> Failure {
    let error = StartError::from(error);
    Failure::new(error.exit_code(), error)
}

fn rotate_root(config: &Path, next: &Next) -> Result<(), Failure> {
    let (environment, variables) = environment();
    let config = KmsConfig::load(config, &environment).map_err(Failure::usage)?;
    let present = config.load_root_secret(variables).map_err(Failure::usage)?;
    let rotated = rotate(&config.data_dir, present, next.load()?, &SystemRandom);
    let versions = rotated.map_err(|error| match error {
        RotateError::Open(error) => not_opened(error),
        RotateError::Same => Failure::usage(error),
        RotateError::Damaged(_) => Failure::new(ExitCode::CorruptLog, error),
        RotateError::Purge(_) => Failure::new(ExitCode::Storage, error),
    })?;
    writeln!(io::stdout().lock(), "{versions} key versions are under the new root key")
        .map_err(|error| Failure::output(&error))
}

fn recover(opens: &Opens, file: &Path, sources: &[PathBuf]) -> Result<(), Failure> {
    let mut shares = Vec::new();
    if sources.is_empty() {
        add_shares(INPUT, &read_input(io::stdin().lock())?, &mut shares)?;
    }
    for path in sources {
        let name = path.display().to_string();
        let content = read_private("recovery share", path, INPUT_BYTES_MAX + 1);
        add_shares(&name, &content.map_err(Failure::usage)?, &mut shares)?;
    }
    let root = combine(&shares).map_err(Failure::usage)?;
    // ORDER: before there is a file that somebody would trust.
    let opened = opens.prove(&root).map_err(|Failure { code, sentence }| {
        let shares = "the recovery shares give a root key, and nothing was written";
        Failure::new(code, format_args!("{shares}: {sentence}"))
    })?;
    root.write_file(file).map_err(Failure::usage)?;
    writeln!(io::stdout().lock(), "recovered the root key of {opened} into {}", file.display())
        .map_err(|error| Failure::output(&error))
}

/// The shares that somebody types or pipes in.
fn read_input(input: impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // As large as it may get: a growing buffer would leave copies of shares behind.
    let mut content = Zeroizing::new(Vec::with_capacity(INPUT_BYTES_MAX + 1));
    let read = input.take(INPUT_BYTES_MAX as u64 + 1).read_to_end(&mut content);
    read.map_err(|error| Failure::usage(format_args!("cannot read {INPUT}: {error}")))?;
    Ok(content)
}

/// Adds the shares of a file; what it holds is never quoted.
fn add_shares(name: &str, content: &[u8], shares: &mut Vec<Share>) -> Result<(), Failure> {
    if content.len() > INPUT_BYTES_MAX {
        return Err(Failure::usage(format_args!("{name} is longer than any set of shares")));
    }
    let text = std::str::from_utf8(content)
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
