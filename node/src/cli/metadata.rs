//! `lockbox metadata`: the endpoint where programs on a virtual machine find their token.
//!
//! What `contract §0.2` says of a machine's metadata, on loopback: an authorized key is exchanged
//! for IAM tokens, and whoever can connect gets the one of the moment. Promises that it listens
//! nowhere else, and that the key and the tokens are in no log and no file.

mod keeper;
mod routes;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::FutureExt;
use lockbox_platform::authorized_key::AuthorizedKeyFile;
use lockbox_platform::listener::{ListenerLimits, Security, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::SystemClock;
use lockbox_platform::tasks::TaskKind;
use lockbox_platform::telemetry::{self, LogFormat};
use lockbox_platform::tls::ClientTlsFiles;
use tokio::task::spawn_blocking;

use crate::cli::connect::{Connection, Credential, ReachFlags, TryFlags, read_key};
use crate::cli::duration;
use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::session;
use crate::cli::settings;
use crate::cli::supervise::{self, Process};
use keeper::{LogIn, TokenKeeper};

/// What is logged unless asked for more: the terminal is for people.
const FILTER: &str = "warn";
/// Open connections; a machine has few programs that ask.
const CONNECTIONS_MAX: usize = 64;
/// How long requests may take when the process ends.
const GRACE: Duration = Duration::from_millis(500);

/// `lockbox metadata`.
#[derive(Debug, Args)]
pub(crate) struct MetadataArgs {
    /// Where to listen: a loopback address, for whoever can connect gets tokens. Port 0 takes a
    /// free one.
    #[arg(long, default_value = "127.0.0.1:8469", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// How long a login may take: 30s, 500ms, 2m.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration::parse)]
    timeout: Duration,
    /// How often a login that met no ready server is tried again within the timeout.
    ///
    /// 0 is never, a negative number as often as there is time for.
    #[arg(long, default_value_t = 5, value_name = "N", allow_negative_numbers = true)]
    retry: i32,
    /// What is logged, as in LOCKBOX_LOG: `info`, `lockbox=debug`, ...
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    #[command(flatten)]
    reach: ReachFlags,
    /// Authorized key of the service account, in JSON [env: LOCKBOX_SA_KEY].
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    sa_key: Option<PathBuf>,
}

/// With what a token is got.
struct Login {
    connection: Connection,
    key: AuthorizedKeyFile,
}

/// Runs `lockbox metadata`.
pub(crate) fn run(arguments: &MetadataArgs, environment: &Environment) -> Result<(), Failure> {
    if !arguments.listen.ip().is_loopback() {
        return Err(Failure::usage(format_args!(
            "{} is not a loopback address: whoever can connect gets tokens, without TLS and \
             without a password, so --listen takes 127.0.0.1 or [::1] only",
            arguments.listen
        )));
    }
    supervise::confine()?;
    let filter = arguments.log.as_deref().or_else(|| environment.get("LOCKBOX_LOG"));
    telemetry::init(LogFormat::Human, filter.or(Some(FILTER))).map_err(Failure::usage)?;
    let login = arguments.resolve(environment)?;
    let runtime = supervise::runtime()?;
    let ended = runtime.block_on(serve(arguments.listen, login));
    // A login that is under way would be waited for, up to its own timeout.
    runtime.shutdown_background();
    ended
}

impl MetadataArgs {
    /// The server, and the key. A token would not do: it cannot be renewed.
    fn resolve(&self, environment: &Environment) -> Result<Login, Failure> {
        let settings = self.reach.settings(environment)?;
        let (address, ca) = self.reach.resolve(&settings)?;
        let key = read_key(&settings.require_file(settings::SA_KEY, self.sa_key.as_ref())?)?;
        let files = ClientTlsFiles { ca, identity: None };
        let tries = TryFlags { timeout: self.timeout, retry: self.retry };
        let connection = Connection::new(&address, &files, None, Credential::None, &tries)?;
        Ok(Login { connection, key })
    }
}

async fn serve(listen: SocketAddr, login: Login) -> Result<(), Failure> {
    let account = login.key.service_account_id.clone();
    let mut process = Process::new()?;
    let bound = bind("metadata", listen, Security::PlaintextLoopback).await;
    let bound = bound.map_err(|error| Failure::server(error.exit_code(), error))?;
    let log_in = log_in(login);
    // A key that is refused or a server that is not there are said at once, and not to the first
    // program that asks.
    let first = tokio::select! {
        issued = log_in() => issued?,
        () = process.until_told() => return process.end().await,
    };
    let (tokens, keeper) = TokenKeeper::new(log_in, Arc::new(SystemClock::new()), first);
    process.tasks.spawn(TaskKind::Critical, "tokens", keeper.run(process.tasks.token()));
    let limits = ListenerLimits { connections_max: CONNECTIONS_MAX, ..ListenerLimits::default() };
    let metrics = Metrics::new(Prefix::Lockbox);
    let metrics = metrics.map_err(|error| Failure::new(Exit::Internal, error))?;
    let serving = bound.start(routes::service(tokens), &process.tasks, limits, metrics.tls);
    say_ready(serving.local_addr(), &account)?;
    process.until_told().await;
    serving.stop(GRACE).await;
    process.end().await
}

/// Logs in anew each time; the client side has a runtime of its own.
fn log_in(login: Login) -> LogIn {
    let login = Arc::new(login);
    Box::new(move || {
        let login = Arc::clone(&login);
        async move {
            let ended = spawn_blocking(move || session::token(&login.connection, &login.key)).await;
            ended.map_err(|error| Failure::new(Exit::Internal, error))?
        }
        .boxed()
    })
}

fn say_ready(address: SocketAddr, account: &str) -> Result<(), Failure> {
    let text = format!(
        "Tokens of service account {account} are on http://{address}. For SDKs, and for scripts:\n\n  \
         export YC_METADATA_ADDR={address}\n  \
         curl -H Metadata-Flavor:Google http://{address}{}\n\n\
         Every user of this machine can take one. Ctrl-C ends it.\n",
        routes::TOKEN_PATH
    );
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        // Whoever started this has stopped listening; the service goes on.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format_args!("cannot write the output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
