//! `kms-sim admin`: what only operators do, at a running server, by their certificate.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::tls::{self, ClientTlsFiles, IdentityFiles};
use lockbox_proto::lockbox::kms::v1::UndeleteKeyRequest;
use lockbox_proto::lockbox::kms::v1::key_admin_service_client::KeyAdminServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::Failure;

/// Longest wait for the server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// `kms-sim admin`.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: AdminCommand,
}

/// How to reach the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
struct Server {
    /// The server, as host:port.
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: String,
    /// PEM file of the authority of its certificate.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// PEM file of the certificate to show; its name is one of `operators.names`.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// PEM file of the certificate's private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The name in the server's certificate.
    #[arg(long, value_name = "NAME", default_value = "kms.lockbox.internal")]
    server_name: String,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Takes the deletion of a key back, as long as what it holds is not destroyed.
    ///
    /// The key, its versions and its bindings are as they were; secrets under it can be read again.
    UndeleteKey {
        /// The key.
        #[arg(value_name = "ID")]
        key_id: String,
    },
}

/// Runs `kms-sim admin`.
pub(super) fn run(arguments: AdminArgs) -> Result<(), Failure> {
    let AdminArgs { server, command: AdminCommand::UndeleteKey { key_id } } = arguments;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(ExitCode::Internal, error))?;
    let name = runtime.block_on(undelete(&server, &key_id))?;
    writeln!(io::stdout().lock(), "restored symmetric key {key_id} ({name})")
        .map_err(|error| Failure::output(&error))
}

/// Asks for the key back; gives its name.
async fn undelete(server: &Server, key_id: &str) -> Result<String, Failure> {
    let channel = connect(server).await?;
    let mut request = Request::new(UndeleteKeyRequest { key_id: key_id.to_owned() });
    request.set_timeout(TIMEOUT);
    let answer = KeyAdminServiceClient::new(channel).undelete_key(request).await;
    let key = answer.map_err(|status| refused(&status))?.into_inner().key.unwrap_or_default();
    Ok(key.name)
}

async fn connect(server: &Server) -> Result<Channel, Failure> {
    let Server { endpoint, ca, certificate, key, server_name } = server;
    let identity = IdentityFiles { certificate: certificate.clone(), key: key.clone() };
    let files = ClientTlsFiles { ca: ca.clone(), identity: Some(identity) };
    let tls = tls::client_tls(&files, server_name).map_err(Failure::usage)?;
    let endpoint = tls::endpoint(endpoint, Some(tls)).map_err(Failure::usage)?;
    let connected = tokio::time::timeout(TIMEOUT, endpoint.connect()).await;
    let unreachable =
        |why: String| Failure::usage(format_args!("cannot reach {}: {why}", server.endpoint));
    connected
        .map_err(|_elapsed| unreachable("no answer in time".to_owned()))?
        .map_err(|error| unreachable(error.to_string()))
}

fn refused(status: &Status) -> Failure {
    let code = status.code();
    Failure::usage(format_args!("the server refuses: {} ({code:?})", status.message()))
}
