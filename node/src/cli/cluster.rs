//! `lockbox cluster`: forming a cluster, recovering its administrator, looking at a node, and
//! changing who is a member and who leads, on the peer listener; and recovering a lost quorum, on
//! the data of a node that does not run.

mod admin_key;
mod change;
mod feature_level;
mod init;
mod member;
mod recover;
mod recover_quorum;
mod status;

pub(crate) use change::node_id;
use clap::{Args, Subcommand};
use lockbox_platform::certificates::leaf_files;
use lockbox_platform::tls::ClientTlsFiles;

use crate::cli::connect::TryFlags;
use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::local::{ADMIN_STEM, Ids, Layout, local_address};
use crate::cli::output::{self, Format};
use crate::cli::peer::{PeerFlags, PeerTarget};
use crate::mutual_tls::node_dns_name;

/// `lockbox cluster`.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    peer: PeerFlags,
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Forms a cluster out of fresh nodes and makes its first administrator.
    Init(init::Init),
    /// Gives the cluster's first administrator a new key, in place of one that is lost.
    RecoverAdmin(recover::RecoverAdmin),
    /// Goes on from one node when most voters are lost for good; says first what that gives up.
    RecoverQuorum(recover_quorum::RecoverQuorum),
    /// Shows the state of the node that is asked.
    Status,
    /// Adds a fresh node as a learner, and waits until it has caught up.
    Add(change::Add),
    /// Makes a learner that has caught up a voter.
    Promote(change::Promote),
    /// Removes a member; its id is never used again.
    Remove(change::Remove),
    /// Puts a fresh node into a voter's place: adds it, lets it catch up, and swaps the two.
    Replace(change::Replace),
    /// Makes another voter the leader.
    TransferLeader(change::TransferLeader),
    /// Takes a snapshot of the state of the node that is asked.
    Snapshot(change::Snapshot),
    /// Ends an upgrade: lets the cluster use what the builds of all members understand.
    ///
    /// Until then the older build may come back on every node; afterwards the way back is a backup.
    /// A member that does not answer keeps the level where it is: bring it back, or remove it.
    RaiseFeatureLevel(feature_level::RaiseFeatureLevel),
}

/// Forms a local cluster, as `lockbox cluster init` does.
pub(crate) fn init_local(layout: &Layout, ids: &Ids) -> Result<(), Failure> {
    let Some((first, ports)) = layout.nodes().next() else {
        return Err(Failure::usage("the cluster has no node"));
    };
    let identity = Some(leaf_files(&layout.certificates(), ADMIN_STEM));
    let files = ClientTlsFiles { ca: layout.ca(), identity };
    let (address, name) = (local_address(ports.peer), node_dns_name(first));
    let (tries, format) = (&TryFlags::of_program(), Format::Text);
    let target = PeerTarget { address, files, server_name: Some(name), tries, format };
    init::Init::local(layout, ids).run(&target)?;
    Ok(())
}

/// Runs `lockbox cluster`.
pub(crate) fn run(arguments: ClusterArgs, environment: &Environment) -> Result<(), Failure> {
    let target = arguments.peer.resolve(environment)?;
    let text = match arguments.command {
        ClusterCommand::Init(init) => init.run(&target),
        ClusterCommand::RecoverAdmin(recover) => recover.run(&target),
        ClusterCommand::RecoverQuorum(recover) => {
            let config = arguments.peer.load_config(environment)?;
            let config = config.ok_or_else(|| {
                Failure::usage("--config must name the configuration of the node that survived")
            })?;
            recover.run(target, &config)
        }
        ClusterCommand::Status => status::run(&target),
        ClusterCommand::Add(add) => add.run(&target),
        ClusterCommand::Promote(promote) => promote.run(&target),
        ClusterCommand::Remove(remove) => remove.run(&target),
        ClusterCommand::Replace(replace) => replace.run(&target),
        ClusterCommand::TransferLeader(transfer) => transfer.run(&target),
        ClusterCommand::Snapshot(snapshot) => snapshot.run(&target),
        ClusterCommand::RaiseFeatureLevel(raise) => raise.run(&target),
    };
    output::write(text?.as_bytes())
}
