//! `lockbox admin`: the keyring, sealed nodes, what checkers compare, and whether what was destroyed
//! is gone; on the peer listener. And backups, which are restored without one.

mod backup;
mod destroyed;
mod keyring;
mod restore;
mod sealing;
mod unlock;

use clap::{Args, Subcommand};
use lockbox_core::NodeId;
use lockbox_proto::lockbox::cluster::v1 as wire;
use wire::admin_service_client::AdminServiceClient;

use crate::cli::cluster::node_id;
use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format, Record};
use crate::cli::peer::{PeerFlags, PeerTarget};

/// `lockbox admin`.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    peer: PeerFlags,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Makes a backup of the cluster, and looks into files of them.
    Backup(Box<backup::BackupArgs>),
    /// Makes the first node of a new cluster out of a backup.
    Restore(Box<restore::Restore>),
    /// Prints the committed log as one JSON object for each entry: who did what to what, and never
    /// the content of a secret.
    ///
    /// The first line says of which node the log is, at which index it begins (everything before is
    /// purged) and at which it ends.
    LogDump {
        /// Leave out the entries before this one.
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        from: u64,
    },
    /// The keys that wrap the data keys of secrets: where they are, and their rotation.
    #[command(subcommand)]
    Keyring(keyring::KeyringCommand),
    /// Makes a node forget the unwrapped keyring: it serves nobody until it is unsealed again, a
    /// restart included. It goes on replicating and voting.
    Seal {
        /// The node, by its id.
        #[arg(value_name = "NODE", value_parser = node_id)]
        node: NodeId,
    },
    /// Lets a node unwrap the keyring again, and waits for it a while.
    Unseal {
        /// The node, by its id.
        #[arg(value_name = "NODE", value_parser = node_id)]
        node: NodeId,
    },
    /// Prints the hash of the replicated state: equal on all nodes at the same index.
    StateHash {
        /// Wait until this entry is applied.
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        at: u64,
        /// Fail when the state has gone past that entry.
        #[arg(long, requires = "at")]
        exact: bool,
    },
    /// Searches every file of every node for the payload of a destroyed version.
    VerifyDestroyed(destroyed::VerifyDestroyed),
}

/// Runs `lockbox admin`.
pub(crate) fn run(arguments: &AdminArgs, environment: &Environment) -> Result<(), Failure> {
    let peer = &arguments.peer;
    // These may have no cluster to ask.
    match &arguments.command {
        AdminCommand::Backup(backup) => return backup.run(peer, environment),
        AdminCommand::Restore(restore) => return restore.run(peer, environment),
        _ => {}
    }
    let target = peer.resolve(environment)?;
    match &arguments.command {
        AdminCommand::Backup(_) | AdminCommand::Restore(_) => Ok(()),
        AdminCommand::LogDump { from } => log_dump(&target, *from),
        AdminCommand::StateHash { at, exact } => state_hash(&target, *at, *exact),
        AdminCommand::Keyring(command) => command.run(&target),
        AdminCommand::Seal { node } => sealing::seal(&target, *node),
        AdminCommand::Unseal { node } => sealing::unseal(&target, *node),
        AdminCommand::VerifyDestroyed(verify) => verify.run(&target),
    }
}

fn state_hash(target: &PeerTarget<'_>, at_index: u64, exact: bool) -> Result<(), Failure> {
    let request = wire::StateHashRequest { at_index, exact };
    let answer = target.ask(&request, async |channel, request| {
        AdminServiceClient::new(channel).state_hash(request).await
    })?;
    output::write(output::one(target.format, &Record::of(&answer)?)?.as_bytes())
}

fn log_dump(target: &PeerTarget<'_>, from: u64) -> Result<(), Failure> {
    let first = piece(target, from)?;
    // What is committed from now on is for the next dump: this one ends.
    let end = first.committed_index;
    let mut expected = from.max(first.begins_at);
    let heading = wire::ReadLogResponse {
        entries: Vec::new(),
        next_index: 0,
        begins_at: first.begins_at,
        ..first.clone()
    };
    output::write(output::line(Format::Json, &Record::of(&heading)?)?.as_bytes())?;
    let mut piece_now = first;
    loop {
        let mut text = String::new();
        for entry in piece_now.entries.iter().filter(|entry| entry.index <= end) {
            if entry.index != expected {
                let sentence = format_args!(
                    "the entries from {expected} to {} were purged meanwhile: dump the log again",
                    entry.index - 1
                );
                return Err(Failure::new(Exit::Refused, sentence));
            }
            expected += 1;
            text += &output::line(Format::Json, &Record::of(entry)?)?;
        }
        output::write(text.as_bytes())?;
        if piece_now.next_index == 0 || piece_now.next_index > end {
            return Ok(());
        }
        piece_now = piece(target, piece_now.next_index)?;
    }
}

fn piece(target: &PeerTarget<'_>, from_index: u64) -> Result<wire::ReadLogResponse, Failure> {
    let request = wire::ReadLogRequest { from_index, limit: 0 };
    target.ask(&request, async |channel, request| {
        AdminServiceClient::new(channel).read_log(request).await
    })
}
