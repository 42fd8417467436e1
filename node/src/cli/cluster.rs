//! `lockbox cluster`: forming a cluster and looking at a node, on its peer listener.
//!
//! Both calls go over mutual TLS: who the caller is, is what its certificate says.

mod admin_key;
mod init;
mod member;
mod status;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lockbox_platform::certificates::leaf_files;
use lockbox_platform::tls::{ClientTlsFiles, IdentityFiles};

use crate::cli::connect::{CallFlags, Connection, Credential};
use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::local::{ADMIN_STEM, Ids, Layout, local_address};
use crate::cli::output;
use crate::config::Config;
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
    /// Shows the state of the node that is asked.
    Status,
}

/// How to reach a node's peer listener.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
struct PeerFlags {
    /// The node's peer listener, as host:port.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// PEM file of the private authority of the nodes' certificates.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of the certificate to show; `init` needs the name admin.lockbox.internal in it.
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(long, global = true, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The name in the node's certificate, node-1.lockbox.internal; the endpoint's host when not
    /// given.
    #[arg(long, global = true, value_name = "NAME")]
    server_name: Option<String>,
    /// A node's configuration: stands for the flags above that are not given.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    call: CallFlags,
}

impl PeerFlags {
    fn resolve(&self, environment: &Environment) -> Result<Connection, Failure> {
        let config = self.config.as_deref().map(|path| Config::load(path, environment.all()));
        let config = config.transpose().map_err(Failure::usage)?;
        let peer = config.as_ref().map(|config| &config.peer);

        let address = self.endpoint.as_ref().or(peer.map(|peer| &peer.advertise));
        let address = address.ok_or_else(|| missing("node", "--endpoint"))?;
        let ca = self.ca.as_ref().or(peer.map(|peer| &peer.ca));
        let ca = ca.ok_or_else(|| missing("certificate authority", "--ca"))?.clone();
        let certificate = self.certificate.as_ref().or(peer.map(|peer| &peer.certificate));
        let key = self.key.as_ref().or(peer.map(|peer| &peer.key));
        let (Some(certificate), Some(key)) = (certificate, key) else {
            return Err(missing("certificate to show", "--certificate and --key"));
        };
        // The configuration's node is the one at the configuration's address, and no other.
        let own = config.as_ref().filter(|_| self.endpoint.is_none());
        let own_name = own.map(|config| node_dns_name(config.node_id));
        let server_name = self.server_name.as_deref().or(own_name.as_deref());

        let identity = IdentityFiles { certificate: certificate.clone(), key: key.clone() };
        let files = ClientTlsFiles { ca, identity: Some(identity) };
        Connection::new(address, &files, server_name, Credential::Certificate, &self.call)
    }
}

fn missing(what: &str, flags: &str) -> Failure {
    Failure::usage(format_args!("the {what} is not known: give {flags}, or --config"))
}

/// Forms a local cluster, as `lockbox cluster init` does.
pub(crate) fn init_local(layout: &Layout, ids: &Ids) -> Result<(), Failure> {
    let Some((first, ports)) = layout.nodes().next() else {
        return Err(Failure::usage("the cluster has no node"));
    };
    let identity = Some(leaf_files(&layout.certificates(), ADMIN_STEM));
    let files = ClientTlsFiles { ca: layout.ca(), identity };
    let (address, name) = (local_address(ports.peer), node_dns_name(first));
    let flags = CallFlags::of_program();
    let credential = Credential::Certificate;
    let connection = Connection::new(&address, &files, Some(&name), credential, &flags)?;
    init::Init::local(layout, ids).run(&connection, flags.format)?;
    Ok(())
}

/// Runs `lockbox cluster`.
pub(crate) fn run(arguments: ClusterArgs, environment: &Environment) -> Result<(), Failure> {
    let connection = arguments.peer.resolve(environment)?;
    let format = arguments.peer.call.format;
    let text = match arguments.command {
        ClusterCommand::Init(init) => init.run(&connection, format),
        ClusterCommand::Status => status::run(&connection, format),
    };
    output::write(text?.as_bytes())
}
