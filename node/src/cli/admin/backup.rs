//! `lockbox admin backup`: makes backups of a cluster that runs, and looks into files of them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use lockbox_core::Randomness;
use lockbox_platform::sealed_file::{Recipient, RecipientKey};
use lockbox_platform::system::SystemRandom;
use lockbox_proto::lockbox::cluster::v1 as wire;
use serde::Serialize;
use tokio::time::Instant;
use wire::admin_service_client::AdminServiceClient;

use super::unlock::{Unlock, refused};
use crate::backup::names::readable;
use crate::backup::verify::{Verified, check};
use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Record, Table};
use crate::cli::peer::{PeerFlags, PeerTarget};
use crate::cli::session::{self, Kind, Session};

/// Between two looks at whether a backup is made.
const MAKING_PAUSE: Duration = Duration::from_secs(1);

/// Makes a backup of the cluster, from the node that is named, while writes go on.
///
/// It is of one point of the log, and everything that was acknowledged before the command is in it.
/// It is sealed for the recipients, or for those of the node's configuration. A large one takes more
/// time than the usual: --timeout 30m.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Write it to this file, which is not there yet.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Store it at the place that the node's configuration names.
    #[arg(long)]
    store: bool,
    /// Somebody who may open it; may be given several times.
    #[arg(long = "recipient", value_name = "RECIPIENT", value_parser = recipient)]
    recipients: Vec<String>,
    /// The KMS may open it, for a node.
    #[arg(long)]
    under_kms: bool,
    /// Take what the node has, though nobody leads: what was acknowledged last may be missing.
    #[arg(long)]
    stale: bool,
    #[command(subcommand)]
    command: Option<BackupCommand>,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Lists what is at the place that the node's configuration names.
    List,
    /// Reads a backup to its end, and says what it is. Needs no cluster.
    ///
    /// With --recipient-key, or the KMS by --config, all of it is opened and its signature looked at.
    /// Without both, only damage is found, by its checksum. Exits with 1 when it is not to be
    /// restored.
    Verify(Verify),
    /// Makes a key that opens backups, and prints the recipient that they are sealed for.
    Keygen {
        /// Write the key to this file, which is not there yet. Keep it where the backups are not.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Writes the signed list of what was destroyed, for restores of backups that are older.
    Destroyed {
        /// After so many destructions: `destroyed` of the backup.
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u64,
        /// The directory that it is written to, under a name of its own.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Verify {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    unlock: Unlock,
}

fn recipient(text: &str) -> Result<String, String> {
    Recipient::parse(text).map(|found| found.to_string()).map_err(|error| error.to_string())
}

impl BackupArgs {
    /// Runs it.
    pub(crate) fn run(&self, peer: &PeerFlags, environment: &Environment) -> Result<(), Failure> {
        let makes = self.to.is_some() || self.store;
        let Some(command) = &self.command else {
            if !makes {
                let sentence = "give --to FILE, --store, or one of list, verify, keygen, destroyed";
                return Err(Failure::usage(sentence));
            }
            return self.make(&peer.resolve(environment)?);
        };
        if makes || !self.recipients.is_empty() || self.under_kms || self.stale {
            let sentence = "--to, --store, --recipient, --under-kms and --stale make a backup, and \
                            go with none of list, verify, keygen, destroyed";
            return Err(Failure::usage(sentence));
        }
        match command {
            BackupCommand::List => list(&peer.resolve(environment)?),
            BackupCommand::Verify(verify) => verify.run(peer, environment),
            BackupCommand::Keygen { to } => keygen(to),
            BackupCommand::Destroyed { after, to } => {
                destroyed(&peer.resolve(environment)?, *after, to)
            }
        }
    }

    fn make(&self, target: &PeerTarget<'_>) -> Result<(), Failure> {
        if let Some(to) = &self.to {
            must_not_exist(to)?;
        }
        let mut backup_id = [0; 16];
        SystemRandom.fill(&mut backup_id);
        let backup_id = hex::encode(backup_id);
        let request = wire::MakeBackupRequest {
            backup_id: backup_id.clone(),
            recipients: self.recipients.clone(),
            under_kms: self.under_kms,
            stale: self.stale,
        };
        let made = made(target, &request)?;
        if let Some(to) = &self.to {
            fetch(target, &made, to)?;
        }
        if self.store {
            let request = wire::StoreBackupRequest { backup_id: backup_id.clone() };
            target.ask(&request, async |channel, request| {
                AdminServiceClient::new(channel).store_backup(request).await
            })?;
        }
        let dropped = target
            .ask(&wire::DropBackupRequest { backup_id }, async |channel, request| {
                AdminServiceClient::new(channel).drop_backup(request).await
            });
        if let Err(failure) = dropped {
            output::note(format_args!("the backup is on the node for another hour: {failure}"));
        }
        output::write(output::one(target.format, &Record::of(&made)?)?.as_bytes())
    }
}

/// Asks until it is made: one that takes longer than a call may is found by the next call.
fn made(
    target: &PeerTarget<'_>,
    request: &wire::MakeBackupRequest,
) -> Result<wire::Backup, Failure> {
    let deadline = Instant::now() + target.tries.timeout;
    loop {
        let failure = match target.ask(request, async |channel, request| {
            AdminServiceClient::new(channel).make_backup(request).await
        }) {
            Ok(made) => return Ok(made),
            Err(failure) => failure,
        };
        if failure.exit() != Exit::Unreachable || Instant::now() + MAKING_PAUSE >= deadline {
            return Err(failure);
        }
        std::thread::sleep(MAKING_PAUSE);
    }
}

/// Brings a backup here, and looks whether it came whole.
fn fetch(target: &PeerTarget<'_>, made: &wire::Backup, to: &Path) -> Result<(), Failure> {
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = PathBuf::from(unfinished);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(|error| unwritten(&unfinished, &error))?;
    session::run(&target.connection()?, async |session| {
        pieces(session, &made.backup_id, &mut file, &unfinished).await
    })?;
    file.sync_all().map_err(|error| unwritten(&unfinished, &error))?;
    check(&unfinished).map_err(|error| refused(&unfinished, &error))?;
    fs::rename(&unfinished, to).map_err(|error| unwritten(to, &error))
}

async fn pieces(
    session: &Session,
    backup_id: &str,
    file: &mut File,
    path: &Path,
) -> Result<(), Failure> {
    let mut offset = 0;
    loop {
        let request = wire::ReadBackupRequest { backup_id: backup_id.to_owned(), offset };
        let piece = session
            .call(Kind::Repeatable, &request, async |channel, request| {
                AdminServiceClient::new(channel).read_backup(request).await
            })
            .await?;
        file.write_all(&piece.data).map_err(|error| unwritten(path, &error))?;
        offset += piece.data.len() as u64;
        if offset >= piece.total_bytes {
            return Ok(());
        }
        if piece.data.is_empty() {
            return Err(Failure::new(Exit::Refused, "the node has no more of the backup"));
        }
    }
}

fn list(target: &PeerTarget<'_>) -> Result<(), Failure> {
    let listed = target.ask(&wire::ListBackupsRequest {}, async |channel, request| {
        AdminServiceClient::new(channel).list_backups(request).await
    })?;
    let records = listed.files.iter().map(Record::of).collect::<Result<Vec<_>, _>>()?;
    let row = |file: &wire::StoredFile| vec![file.name.clone(), file.bytes.to_string()];
    let table =
        || Table { columns: vec!["NAME", "BYTES"], rows: listed.files.iter().map(row).collect() };
    output::write(output::many(target.format, &records, table)?.as_bytes())
}

fn keygen(to: &Path) -> Result<(), Failure> {
    let made = RecipientKey::generate();
    let (key, recipient) = made.map_err(|error| Failure::new(Exit::Internal, error))?;
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        file.write_all(key.to_file(&recipient).expose().as_bytes())?;
        file.sync_all()
    };
    written().map_err(|error| unwritten(to, &error))?;
    output::write(format!("{recipient}\n").as_bytes())
}

fn destroyed(target: &PeerTarget<'_>, after: u64, to: &Path) -> Result<(), Failure> {
    let request = wire::ListDestroyedRequest { after };
    let listed = target.ask(&request, async |channel, request| {
        AdminServiceClient::new(channel).list_destroyed(request).await
    })?;
    // A name of the server's must not lead anywhere else.
    if listed.name.contains('/') {
        return Err(Failure::new(Exit::Internal, "the node names a file that is none"));
    }
    let path = to.join(&listed.name);
    fs::write(&path, &listed.content).map_err(|error| unwritten(&path, &error))?;
    output::write(format!("{}\n", path.display()).as_bytes())
}

impl Verify {
    fn run(&self, peer: &PeerFlags, environment: &Environment) -> Result<(), Failure> {
        let config = peer.load_config(environment)?;
        let format = peer.offline_format(environment)?;
        let heading = check(&self.file).map_err(|error| refused(&self.file, &error))?;
        let report = if self.unlock.recipient_key.is_none() && config.is_none() {
            output::note("only damage was looked for: give --recipient-key or --config to open it");
            Report { opened: false, about: heading.about, ..Report::default() }
        } else {
            let opened = self.unlock.open(&self.file, config.as_ref())?;
            Report::of(&opened.verified, heading.holders())
        };
        output::write(output::value(format, &report)?.as_bytes())
    }
}

/// What a backup says of itself; with the key, what it is.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    opened: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    about: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<Inside>,
}

#[derive(Debug, Serialize)]
struct Inside {
    cluster_id: String,
    node_id: u64,
    index: u64,
    term: u64,
    log_time: String,
    made_at: String,
    members: Vec<u64>,
    destroyed: u64,
    rows: u64,
    state_format: u32,
    build: String,
    signer: String,
    sealed_for: String,
}

impl Report {
    fn of(verified: &Verified, sealed_for: String) -> Self {
        let (head, end) = (&verified.head, &verified.end);
        let backup = Inside {
            cluster_id: head.cluster_id.to_string(),
            node_id: head.node_id,
            index: head.index,
            term: head.term,
            log_time: readable(head.log_time),
            made_at: readable(head.made_at),
            members: head.members.clone(),
            destroyed: head.erasures,
            rows: end.rows,
            state_format: head.state_format,
            build: head.build.clone(),
            signer: hex::encode(end.signer),
            sealed_for,
        };
        Self { opened: true, backup: Some(backup), ..Self::default() }
    }
}

fn must_not_exist(path: &Path) -> Result<(), Failure> {
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::usage(format_args!("{} exists already", path.display()))),
        Err(error) => Err(unwritten(path, &error)),
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format_args!("cannot write {}: {error}", path.display()))
}
