//! `kms-sim admin`: what only operators do, at a running server, by their certificate.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::request_layer::code_name;
use lockbox_platform::tls::{self, ClientTlsFiles, IdentityFiles};
use lockbox_proto::lockbox::kms::v1::key_admin_service_client::KeyAdminServiceClient;
use lockbox_proto::lockbox::kms::v1::{BackupRequest, UndeleteKeyRequest};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::Failure;

/// Longest wait for the server.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the next part of a backup.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);

/// `kms-sim admin`.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: AdminCommand,
}

/// How to reach the server. All but the name is needed; clap has no global flags that must be there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
struct Server {
    /// The server, as host:port.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// PEM file of the authority of its certificate.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of the certificate to show; its name is one of `operators.names`.
    #[arg(long, global = true, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The name in the server's certificate.
    #[arg(long, global = true, value_name = "NAME", default_value = "kms.lockbox.internal")]
    server_name: String,
}

/// The server, with all that is needed to call it.
struct Target {
    endpoint: String,
    files: ClientTlsFiles,
    server_name: String,
}

impl Server {
    fn resolve(self) -> Result<Target, Failure> {
        let missing = |flag: &str| Failure::usage(format_args!("{flag} is needed"));
        let identity = IdentityFiles {
            certificate: self.certificate.ok_or_else(|| missing("--certificate"))?,
            key: self.key.ok_or_else(|| missing("--key"))?,
        };
        Ok(Target {
            endpoint: self.endpoint.ok_or_else(|| missing("--endpoint"))?,
            files: ClientTlsFiles {
                ca: self.ca.ok_or_else(|| missing("--ca"))?,
                identity: Some(identity),
            },
            server_name: self.server_name,
        })
    }
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
    /// Writes a backup of the running server into a file: keys, ledger and commit sequence.
    ///
    /// It is sealed under the root key, which is not in it: keep that, or its recovery shares,
    /// elsewhere. `kms-sim backup verify` says whether it can be restored.
    Backup {
        /// The file to write; it must not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

/// Runs `kms-sim admin`.
pub(super) fn run(arguments: AdminArgs) -> Result<(), Failure> {
    let AdminArgs { server, command } = arguments;
    let target = server.resolve()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(ExitCode::Internal, error))?;
    let said = match command {
        AdminCommand::UndeleteKey { key_id } => {
            let name = runtime.block_on(undelete(&target, &key_id))?;
            format!("restored symmetric key {key_id} ({name})")
        }
        AdminCommand::Backup { to } => {
            let bytes = runtime.block_on(back_up(&target, &to))?;
            format!("backed up into {}, {bytes} bytes", to.display())
        }
    };
    writeln!(io::stdout().lock(), "{said}").map_err(|error| Failure::output(&error))
}

/// Asks for a backup and writes it; the file has its name only once it is whole. Gives its length.
async fn back_up(target: &Target, to: &Path) -> Result<u64, Failure> {
    let cannot =
        |error: &io::Error| Failure::usage(format_args!("cannot write {}: {error}", to.display()));
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if to.exists() {
        return Err(cannot(&io::ErrorKind::AlreadyExists.into()));
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
    let mut file = file.map_err(|error| {
        Failure::usage(format_args!("cannot write {}: {error}", partial.display()))
    })?;
    let received = receive(target, &mut file).await;
    let written = received.and_then(|bytes| {
        let kept = file.sync_all().and_then(|()| fs::rename(&partial, to));
        kept.map(|()| bytes).map_err(|error| cannot(&error))
    });
    if written.is_err() {
        // What is half a backup is none.
        fs::remove_file(&partial).ok();
    }
    written
}

async fn receive(target: &Target, sink: &mut dyn Write) -> Result<u64, Failure> {
    let channel = connect(target).await?;
    let answer = KeyAdminServiceClient::new(channel).backup(Request::new(BackupRequest {})).await;
    let mut chunks = answer.map_err(|status| failed(target, &status))?.into_inner();
    let mut bytes = 0_u64;
    loop {
        let next = tokio::time::timeout(CHUNK_TIMEOUT, chunks.message()).await;
        let next = next.map_err(|_elapsed| unreachable(target, "the backup does not go on"))?;
        let Some(chunk) = next.map_err(|status| failed(target, &status))? else { break };
        sink.write_all(&chunk.sealed).map_err(|error| Failure::output(&error))?;
        bytes += chunk.sealed.len() as u64;
    }
    Ok(bytes)
}

/// Asks for the key back; gives its name.
async fn undelete(target: &Target, key_id: &str) -> Result<String, Failure> {
    let channel = connect(target).await?;
    let mut request = Request::new(UndeleteKeyRequest { key_id: key_id.to_owned() });
    request.set_timeout(TIMEOUT);
    let answer = KeyAdminServiceClient::new(channel).undelete_key(request).await;
    let key = answer.map_err(|status| failed(target, &status))?;
    Ok(key.into_inner().key.unwrap_or_default().name)
}

async fn connect(target: &Target) -> Result<Channel, Failure> {
    let tls = tls::client_tls(&target.files, &target.server_name).map_err(Failure::usage)?;
    let endpoint = tls::endpoint(&target.endpoint, Some(tls)).map_err(Failure::usage)?;
    let connected = tokio::time::timeout(TIMEOUT, endpoint.connect()).await;
    connected
        .map_err(|_elapsed| unreachable(target, "no answer in time"))?
        .map_err(|error| unreachable(target, &innermost(&error)))
}

fn unreachable(target: &Target, why: &str) -> Failure {
    let sentence = format_args!("cannot reach {}: {why}", target.endpoint);
    Failure::new(ExitCode::Unreachable, sentence)
}

/// What an error came from in the end: the others say no more than that there was one.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// As `lockbox` tells a refusal from a server that does not come to an answer.
fn failed(target: &Target, status: &Status) -> Failure {
    if let Some(source) = status.source() {
        // No server has said anything.
        return unreachable(target, &innermost(source));
    }
    let code = match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => ExitCode::Unreachable,
        _ => ExitCode::Refused,
    };
    Failure::new(code, format_args!("{}: {}", code_name(status.code()), status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        let file = || PathBuf::from("file.pem");
        let identity = Some(IdentityFiles { certificate: file(), key: file() });
        Target {
            endpoint: "localhost:1".to_owned(),
            files: ClientTlsFiles { ca: file(), identity },
            server_name: "kms".to_owned(),
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_server_without_an_answer() {
        for (status, code) in [
            (Status::permission_denied("no"), ExitCode::Refused),
            (Status::failed_precondition("no"), ExitCode::Refused),
            (Status::unavailable("no"), ExitCode::Unreachable),
            (Status::deadline_exceeded("no"), ExitCode::Unreachable),
            (Status::from_error(Box::new(io::Error::other("gone"))), ExitCode::Unreachable),
        ] {
            let failure = failed(&target(), &status);
            assert_eq!(failure.code, code, "{}", failure.sentence);
        }
        let refused = failed(&target(), &Status::permission_denied("no"));
        assert_eq!(refused.sentence, "PERMISSION_DENIED: no");
    }
}
