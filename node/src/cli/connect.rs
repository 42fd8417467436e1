//! How to reach a server: flags first, then what [`super::settings`] says.
//!
//! Promises: a token is never an argument (arguments are visible to every user of the machine).

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lockbox_core::SensitiveString;
use lockbox_platform::authorized_key::AuthorizedKeyFile;
use lockbox_platform::tls::{self, ClientTlsFiles};
use tonic::transport::Endpoint;

use crate::cli::duration;
use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::folder::Folder;
use crate::cli::output::Format;
use crate::cli::session::{self, Session};
use crate::cli::settings::{self, Setting, Settings};

/// What programs are told about this one.
const USER_AGENT: &str = concat!("lockbox-cli/", env!("CARGO_PKG_VERSION"));
/// How long a call that nobody gave flags for may take.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);

/// How long and how often a call is tried.
#[derive(Debug, Args)]
#[command(next_help_heading = "Call")]
pub(crate) struct TryFlags {
    /// How long the whole command may take: 30s, 500ms, 2m.
    #[arg(long, global = true, default_value = "30s", value_name = "DURATION",
        value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// How often a call that met no ready server is tried again within the timeout.
    ///
    /// 0 is never, a negative number as often as there is time for.
    #[arg(
        long,
        global = true,
        default_value_t = 5,
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub(crate) retry: i32,
}

impl TryFlags {
    /// What holds for calls that nobody gave flags for.
    pub(crate) const fn of_program() -> Self {
        Self { timeout: PROGRAM_TIMEOUT, retry: -1 }
    }
}

/// Flags of every command that shows what a server answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Call")]
pub(crate) struct CallFlags {
    #[command(flatten)]
    pub(crate) tries: TryFlags,
    /// How the answer is printed; text when nothing says it [env: LOCKBOX_FORMAT].
    #[arg(long, global = true, value_enum)]
    pub(crate) format: Option<Format>,
}

/// Flags that say which server is called.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ReachFlags {
    /// The profile for what neither flags nor variables say [env: LOCKBOX_PROFILE].
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// The server, as host:port [env: LOCKBOX_ENDPOINT].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// PEM file of the certificate authorities to trust [env: LOCKBOX_CA].
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl ReachFlags {
    /// The environment and the profile, for what the flags leave open.
    pub(crate) fn settings<'a>(
        &self,
        environment: &'a Environment,
    ) -> Result<Settings<'a>, Failure> {
        Settings::load(self.profile.as_deref(), environment)
    }

    /// The server, and the file of the authorities to trust.
    pub(crate) fn resolve(&self, settings: &Settings<'_>) -> Result<(String, PathBuf), Failure> {
        let address = settings.require(settings::ENDPOINT, self.endpoint.as_deref())?;
        Ok((address, settings.require_file(settings::CA, self.ca.as_ref())?))
    }
}

/// Flags of the commands that talk to the public API.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionFlags {
    #[command(flatten)]
    reach: ReachFlags,
    /// File with an IAM token; the token itself may be in the environment as LOCKBOX_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Authorized key of a service account, in JSON, to log in with [env: LOCKBOX_SA_KEY].
    ///
    /// From the environment it is used only without LOCKBOX_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    sa_key: Option<PathBuf>,
    /// Act as this service account, by a token that is made for it.
    ///
    /// Whoever calls needs the right to make those, and every right that the account holds.
    #[arg(long, global = true, value_name = "ID")]
    impersonate_service_account_id: Option<String>,
    /// The folder to create, list and look up names in [env: LOCKBOX_FOLDER_ID].
    #[arg(long, global = true, value_name = "ID")]
    folder_id: Option<String>,
    /// The folder by its name in the cloud, instead of --folder-id.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "folder_id")]
    folder_name: Option<String>,
    /// The cloud to look up --folder-name in [env: LOCKBOX_CLOUD_ID].
    #[arg(long, global = true, value_name = "ID")]
    cloud_id: Option<String>,
    #[command(flatten)]
    pub(crate) call: CallFlags,
}

/// Who the caller is.
#[derive(Debug)]
pub(crate) enum Credential {
    /// Whoever the token stands for.
    Token(SensitiveString),
    /// A service account, after a login.
    Key(Box<AuthorizedKeyFile>),
    /// Whoever the client certificate names, or nobody.
    None,
}

/// Everything that a session needs.
#[derive(Debug)]
pub(crate) struct Connection {
    /// `host:port`, for messages.
    pub(crate) address: String,
    /// The server, with TLS.
    pub(crate) endpoint: Endpoint,
    /// Who calls.
    pub(crate) credential: Credential,
    /// The service account that the caller acts as.
    pub(crate) acts_as: Option<String>,
    /// How long the command may take.
    pub(crate) timeout: Duration,
    /// How often a call is tried again.
    pub(crate) retries: session::Retries,
}

impl Connection {
    /// Reads the files and checks the address.
    pub(crate) fn new(
        address: &str,
        files: &ClientTlsFiles,
        server_name: Option<&str>,
        credential: Credential,
        flags: &TryFlags,
    ) -> Result<Self, Failure> {
        let server_name = server_name.unwrap_or_else(|| host(address));
        let tls = tls::client_tls(files, server_name).map_err(Failure::usage)?;
        let endpoint = tls::endpoint(address, Some(tls)).map_err(Failure::usage)?;
        let endpoint = endpoint.user_agent(USER_AGENT).map_err(Failure::usage)?;
        Ok(Self {
            address: address.to_owned(),
            endpoint,
            credential,
            acts_as: None,
            timeout: flags.timeout,
            retries: session::Retries::from_flag(flags.retry),
        })
    }
}

/// The host of `host:port`, an IPv6 address without its brackets.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

impl ConnectionFlags {
    /// Reads the files that flags and settings name.
    fn resolve(&self, settings: &Settings<'_>) -> Result<Connection, Failure> {
        let (address, ca) = self.reach.resolve(settings)?;
        let credential = self.credential(settings)?;
        let files = ClientTlsFiles { ca, identity: None };
        let caller = Connection::new(&address, &files, None, credential, &self.call.tries)?;
        Ok(Connection { acts_as: self.impersonate_service_account_id.clone(), ..caller })
    }

    /// The first of flags, variables and profile that says anything of who calls; within the
    /// variables, the token goes before the key.
    fn credential(&self, settings: &Settings<'_>) -> Result<Credential, Failure> {
        match (&self.token_file, &self.sa_key) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage("--token-file and --sa-key exclude each other"));
            }
            (Some(path), None) => return read_token(path),
            (None, Some(path)) => return login_with(path),
            (None, None) => {}
        }
        if let Some(token) = settings.variable(settings::TOKEN) {
            return Ok(Credential::Token(token.trim().to_owned().into()));
        }
        if let Some(path) = settings.variable(settings::SA_KEY) {
            return login_with(Path::new(path));
        }
        let of_profile = (settings.profile(settings::TOKEN), settings.profile(settings::SA_KEY));
        match of_profile {
            (Some(path), _) => read_token(Path::new(path)),
            (None, Some(path)) => login_with(Path::new(path)),
            (None, None) => Err(Failure::usage(format_args!(
                "who calls is not known: give --sa-key or --token-file, set {} or {}, or keep one \
                 in a profile with lockbox config set sa-key",
                settings::SA_KEY.variable,
                settings::TOKEN.variable
            ))),
        }
    }
}

/// What a command of the public API works with.
pub(crate) struct Context<'a> {
    flags: &'a ConnectionFlags,
    settings: Settings<'a>,
    connection: Connection,
    format: Format,
}

impl<'a> Context<'a> {
    /// Finds out everything about the connection but the folder, which not every command needs.
    pub(crate) fn new(
        flags: &'a ConnectionFlags,
        environment: &'a Environment,
    ) -> Result<Self, Failure> {
        let settings = flags.reach.settings(environment)?;
        let connection = flags.resolve(&settings)?;
        let format = settings.format(flags.call.format)?;
        Ok(Self { flags, settings, connection, format })
    }

    /// The folder that names are looked up in, and that secrets are created in.
    pub(crate) fn folder(&self) -> Result<Folder, Failure> {
        let Some(name) = self.flags.folder_name.clone() else {
            let id = self.settings.require(settings::FOLDER, self.flags.folder_id.as_deref());
            return id.map(Folder::Id);
        };
        let cloud_id = self.settings.require(settings::CLOUD, self.flags.cloud_id.as_deref())?;
        Ok(Folder::Named { cloud_id, name })
    }

    /// How the answer is printed.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// A setting that not every command needs; nothing when nobody says it.
    pub(crate) fn setting(&self, setting: Setting, flag: Option<&str>) -> Option<String> {
        self.settings.get(setting, flag).map(ToOwned::to_owned)
    }

    /// Another server of the same installation: the same authorities, the same tries.
    pub(crate) fn other(
        &self,
        address: &str,
        server_name: Option<&str>,
    ) -> Result<Connection, Failure> {
        let (_, ca) = self.flags.reach.resolve(&self.settings)?;
        let files = ClientTlsFiles { ca, identity: None };
        let tries = &self.flags.call.tries;
        Connection::new(address, &files, server_name, Credential::None, tries)
    }

    /// How often a call is tried again.
    pub(crate) fn retries(&self) -> session::Retries {
        self.connection.retries
    }

    /// Connects, logs in and does this.
    pub(crate) fn run<R>(
        &self,
        action: impl AsyncFnOnce(&Session) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        session::run(&self.connection, action)
    }
}

fn read_token(path: &Path) -> Result<Credential, Failure> {
    let failed = |problem: &dyn std::fmt::Display| {
        Failure::usage(format_args!("cannot read the token in {}: {problem}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let text = SensitiveString::new(text);
    let token = text.expose().trim();
    if token.is_empty() {
        return Err(failed(&"the file is empty"));
    }
    Ok(Credential::Token(token.to_owned().into()))
}

fn login_with(path: &Path) -> Result<Credential, Failure> {
    Ok(Credential::Key(Box::new(read_key(path)?)))
}

/// The authorized key in the file.
pub(crate) fn read_key(path: &Path) -> Result<AuthorizedKeyFile, Failure> {
    AuthorizedKeyFile::read(path).map_err(|error| {
        Failure::usage(format_args!("cannot log in with {}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests;
