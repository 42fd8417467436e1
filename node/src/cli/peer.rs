//! How to reach the listener for peers: of the node that is named, and of the one that leads.
//!
//! All calls go over mutual TLS: who the caller is, is what its certificate says. A change is
//! made by the leader: the node that is named says who that is, and it is asked with the same
//! certificate. Owns that loop, which ends when the change is made, refused, or out of time.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lockbox_platform::tls::{ClientTlsFiles, IdentityFiles};
use lockbox_proto::lockbox::cluster::v1::cluster_service_client::ClusterServiceClient;
use lockbox_proto::lockbox::cluster::v1::{MemberStatus, StatusRequest, StatusResponse};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::cli::connect::{Connection, Credential, TryFlags};
use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Format;
use crate::cli::session::{self, Kind, Retries};
use crate::cli::settings::Settings;
use crate::config::Config;
use crate::mutual_tls::node_dns_name;

/// Between two looks at who leads.
const LEADER_PAUSE: Duration = Duration::from_millis(200);

/// How to reach a node's peer listener, and how its answer is printed.
#[derive(Debug, Args)]
pub(crate) struct PeerFlags {
    #[command(flatten)]
    reach: PeerReach,
    /// How the answer is printed; text when nothing says it [env: LOCKBOX_FORMAT].
    #[arg(long, global = true, value_enum, help_heading = "Call")]
    format: Option<Format>,
}

/// How to reach a node's peer listener.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct PeerReach {
    /// The node's peer listener, as host:port.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// PEM file of the private authority of the nodes' certificates.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of the certificate to show.
    ///
    /// `cluster init` and `cluster recover-admin` need the name admin.lockbox.internal in it,
    /// everything else that changes a cluster that name or operator.lockbox.internal.
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
    tries: TryFlags,
}

impl PeerFlags {
    /// The configuration, when one is named.
    pub(crate) fn load_config(&self, environment: &Environment) -> Result<Option<Config>, Failure> {
        self.reach.load_config(environment)
    }

    /// How a command that asks nobody prints.
    pub(crate) fn offline_format(&self, environment: &Environment) -> Result<Format, Failure> {
        Settings::without_profile(environment).format(self.format)
    }

    /// Fills what the flags leave open from a configuration.
    pub(crate) fn resolve(&self, environment: &Environment) -> Result<PeerTarget<'_>, Failure> {
        let format = self.offline_format(environment)?;
        self.reach.resolve(environment, format)
    }
}

impl PeerReach {
    /// The configuration, when one is named.
    fn load_config(&self, environment: &Environment) -> Result<Option<Config>, Failure> {
        let config = self.config.as_deref().map(|path| Config::load(path, environment.all()));
        config.transpose().map_err(Failure::usage)
    }

    /// Fills what the flags leave open from a configuration.
    pub(crate) fn resolve(
        &self,
        environment: &Environment,
        format: Format,
    ) -> Result<PeerTarget<'_>, Failure> {
        let config = self.load_config(environment)?;
        let peer = config.as_ref().map(|config| &config.peer);

        let address = self.endpoint.as_ref().or(peer.map(|peer| &peer.advertise));
        let address = address.ok_or_else(|| missing("node", "--endpoint"))?.clone();
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
        let server_name = self.server_name.clone().or(own_name);

        let identity = IdentityFiles { certificate: certificate.clone(), key: key.clone() };
        let files = ClientTlsFiles { ca, identity: Some(identity) };
        Ok(PeerTarget { address, files, server_name, tries: &self.tries, format })
    }
}

fn missing(what: &str, flags: &str) -> Failure {
    Failure::usage(format_args!("the {what} is not known: give {flags}, or --config"))
}

/// A node to call, and with what.
pub(crate) struct PeerTarget<'a> {
    pub(crate) address: String,
    pub(crate) files: ClientTlsFiles,
    pub(crate) server_name: Option<String>,
    pub(crate) tries: &'a TryFlags,
    pub(crate) format: Format,
}

impl PeerTarget<'_> {
    /// The node that is named.
    pub(crate) fn connection(&self) -> Result<Connection, Failure> {
        let name = self.server_name.as_deref();
        Connection::new(&self.address, &self.files, name, Credential::None, self.tries)
    }

    /// Another node, which has this much time and one try.
    fn other(&self, id: u64, address: &str, timeout: Duration) -> Result<Connection, Failure> {
        let name = node_dns_name(id);
        let credential = Credential::None;
        let other = Connection::new(address, &self.files, Some(&name), credential, self.tries)?;
        Ok(Connection { timeout, retries: Retries::AtMost(0), ..other })
    }

    /// Asks the node that is named.
    pub(crate) fn ask<M: Clone, R>(
        &self,
        message: &M,
        send: impl AsyncFn(Channel, Request<M>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let connection = self.connection()?;
        session::run(&connection, async |session| {
            session.call(Kind::Repeatable, message, send).await
        })
    }

    /// Asks a member that the node of this id, which is named, has told of.
    pub(crate) fn ask_member<M: Clone, R>(
        &self,
        told_by: u64,
        member: &MemberStatus,
        message: &M,
        send: impl AsyncFn(Channel, Request<M>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let connection = if member.node_id == told_by {
            self.connection()?
        } else {
            self.other(member.node_id, &member.peer_address, self.tries.timeout)?
        };
        session::run(&connection, async |session| {
            session.call(Kind::Repeatable, message, send).await
        })
    }

    /// How the node that is named sees the cluster.
    pub(crate) fn status(&self) -> Result<StatusResponse, Failure> {
        self.ask(&StatusRequest {}, async |channel, request| {
            ClusterServiceClient::new(channel).status(request).await
        })
    }

    /// Asks the leader, whoever that is by then, until it is done, refused or out of time. What
    /// is asked must come to the same when it is asked again.
    pub(crate) fn ask_leader<M: Clone, R>(
        &self,
        message: &M,
        send: impl AsyncFn(Channel, Request<M>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let deadline = Instant::now() + self.tries.timeout;
        let mut tries = self.tries.retry;
        loop {
            let failure = match self.try_leader(message, &send, deadline) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let time_left = Instant::now() + LEADER_PAUSE < deadline;
            if failure.exit() != Exit::Unreachable || !time_left || tries == 0 {
                return Err(failure);
            }
            tries = tries.saturating_sub(1);
            std::thread::sleep(LEADER_PAUSE);
        }
    }

    /// Asks one member by its id; the node that is named says where it is.
    pub(crate) fn ask_by_id<M: Clone, R>(
        &self,
        id: u64,
        message: &M,
        send: impl AsyncFn(Channel, Request<M>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let status = self.status()?;
        let member = status.members.iter().find(|member| member.node_id == id);
        let Some(member) = member else {
            let sentence = format_args!("node {id} is not a member");
            return Err(Failure::new(Exit::Refused, sentence));
        };
        self.ask_member(status.node_id, member, message, send)
    }

    fn try_leader<M: Clone, R>(
        &self,
        message: &M,
        send: &impl AsyncFn(Channel, Request<M>) -> Result<Response<R>, Status>,
        deadline: Instant,
    ) -> Result<R, Failure> {
        let status = self.status()?;
        let leader = status.members.iter().find(|member| member.node_id == status.leader_id);
        let Some(leader) = leader else {
            let sentence = format_args!("node {} knows no leader", status.node_id);
            return Err(Failure::new(Exit::Unreachable, sentence));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let connection = if leader.node_id == status.node_id {
            Connection { timeout: left, retries: Retries::AtMost(0), ..self.connection()? }
        } else {
            self.other(leader.node_id, &leader.peer_address, left)?
        };
        session::run(&connection, async |session| {
            session.call(Kind::Repeatable, message, send).await
        })
    }
}
