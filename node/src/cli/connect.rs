//! How to reach a server: flags first, then the environment.
//!
//! Promises: a token is never an argument (arguments are visible to every user of the machine);
//! what is missing is named together with both ways to give it.

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
use crate::cli::output::Format;
use crate::cli::session::{self, Session};

/// What programs are told about this one.
const USER_AGENT: &str = concat!("lockbox-cli/", env!("CARGO_PKG_VERSION"));
/// How long a call that nobody gave flags for may take.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);
/// Name of the environment's token.
const TOKEN_VARIABLE: &str = "LOCKBOX_TOKEN";
/// Name of the environment's key file.
const KEY_VARIABLE: &str = "LOCKBOX_SA_KEY";

/// Flags of every command that calls a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Call")]
pub(crate) struct CallFlags {
    /// How long the whole command may take: 30s, 500ms, 2m.
    #[arg(long, global = true, default_value = "30s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// How often a call that met no ready server is tried again within the timeout.
    ///
    /// 0 is never, a negative number as often as there is time for.
    #[arg(long, global = true, default_value_t = 5, allow_negative_numbers = true)]
    pub(crate) retry: i32,
    /// How the answer is printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

impl CallFlags {
    /// What holds for calls that nobody gave flags for.
    pub(crate) const fn of_program() -> Self {
        Self { timeout: PROGRAM_TIMEOUT, retry: -1, format: Format::Text }
    }
}

/// Flags of the commands that talk to the public API.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionFlags {
    /// The server, as host:port [env: LOCKBOX_ENDPOINT].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// PEM file of the certificate authorities to trust [env: LOCKBOX_CA].
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with an IAM token; the token itself may be in the environment as LOCKBOX_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Authorized key of a service account, in JSON, to log in with [env: LOCKBOX_SA_KEY].
    ///
    /// From the environment it is used only without LOCKBOX_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    sa_key: Option<PathBuf>,
    /// The folder to create, list and look up names in [env: LOCKBOX_FOLDER_ID].
    #[arg(long, global = true, value_name = "ID")]
    folder_id: Option<String>,
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
    /// Whoever the client certificate names.
    Certificate,
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
        flags: &CallFlags,
    ) -> Result<Self, Failure> {
        let server_name = server_name.unwrap_or_else(|| host(address));
        let tls = tls::client_tls(files, server_name).map_err(Failure::usage)?;
        let endpoint = tls::endpoint(address, Some(tls)).map_err(Failure::usage)?;
        let endpoint = endpoint.user_agent(USER_AGENT).map_err(Failure::usage)?;
        Ok(Self {
            address: address.to_owned(),
            endpoint,
            credential,
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
    /// Fills what the flags leave open from the environment, and reads the files.
    pub(crate) fn resolve(&self, environment: &Environment) -> Result<Connection, Failure> {
        let address = self.endpoint.as_deref().or_else(|| environment.get("LOCKBOX_ENDPOINT"));
        let address = address.ok_or_else(|| missing("server", "--endpoint", "LOCKBOX_ENDPOINT"))?;
        let ca = self.ca.clone().or_else(|| environment.get("LOCKBOX_CA").map(PathBuf::from));
        let ca = ca.ok_or_else(|| missing("certificate authority", "--ca", "LOCKBOX_CA"))?;
        let credential = self.credential(environment)?;
        let files = ClientTlsFiles { ca, identity: None };
        Connection::new(address, &files, None, credential, &self.call)
    }

    /// The folder that names are looked up in, and that secrets are created in.
    pub(crate) fn folder_id(&self, environment: &Environment) -> Result<String, Failure> {
        let folder = self.folder_id.as_deref().or_else(|| environment.get("LOCKBOX_FOLDER_ID"));
        let folder = folder.filter(|folder| !folder.is_empty());
        folder
            .map(ToOwned::to_owned)
            .ok_or_else(|| missing("folder", "--folder-id", "LOCKBOX_FOLDER_ID"))
    }

    /// A flag beats the environment; in the environment, the token beats the key.
    fn credential(&self, environment: &Environment) -> Result<Credential, Failure> {
        match (&self.token_file, &self.sa_key) {
            (Some(_), Some(_)) => {
                Err(Failure::usage("--token-file and --sa-key exclude each other"))
            }
            (Some(path), None) => read_token(path),
            (None, Some(path)) => read_key(path),
            (None, None) => {
                match (environment.get(TOKEN_VARIABLE), environment.get(KEY_VARIABLE)) {
                    (Some(token), _) => Ok(Credential::Token(token.trim().to_owned().into())),
                    (None, Some(path)) => read_key(Path::new(path)),
                    (None, None) => Err(Failure::usage(format_args!(
                        "who calls is not known: set {TOKEN_VARIABLE} or {KEY_VARIABLE}, or give \
                     --token-file or --sa-key"
                    ))),
                }
            }
        }
    }
}

/// What a command of the public API works with.
pub(crate) struct Context<'a> {
    flags: &'a ConnectionFlags,
    environment: &'a Environment,
    connection: Connection,
}

impl<'a> Context<'a> {
    /// Finds out everything about the connection but the folder, which not every command needs.
    pub(crate) fn new(
        flags: &'a ConnectionFlags,
        environment: &'a Environment,
    ) -> Result<Self, Failure> {
        Ok(Self { flags, environment, connection: flags.resolve(environment)? })
    }

    /// The folder.
    pub(crate) fn folder_id(&self) -> Result<String, Failure> {
        self.flags.folder_id(self.environment)
    }

    /// How the answer is printed.
    pub(crate) fn format(&self) -> Format {
        self.flags.call.format
    }

    /// Connects, logs in and does this.
    pub(crate) fn run<R>(
        &self,
        action: impl AsyncFnOnce(&Session) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        session::run(&self.connection, action)
    }
}

fn missing(what: &str, flag: &str, variable: &str) -> Failure {
    Failure::usage(format_args!("the {what} is not known: give {flag} or set {variable}"))
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

fn read_key(path: &Path) -> Result<Credential, Failure> {
    let key = AuthorizedKeyFile::read(path).map_err(|error| {
        Failure::usage(format_args!("cannot log in with {}: {error}", path.display()))
    })?;
    Ok(Credential::Key(Box::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> ConnectionFlags {
        ConnectionFlags {
            endpoint: None,
            ca: None,
            token_file: None,
            sa_key: None,
            folder_id: None,
            call: CallFlags { timeout: Duration::from_secs(1), retry: 0, format: Format::Text },
        }
    }

    fn refusal<T>(result: Result<T, Failure>) -> String {
        result.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_missing_is_named_with_both_ways_to_give_it() {
        let mut flags = flags();
        let none = Environment::of(&[]);
        let text = refusal(flags.resolve(&none));
        assert_eq!(text, "the server is not known: give --endpoint or set LOCKBOX_ENDPOINT");
        flags.endpoint = Some("localhost:8443".to_owned());
        assert!(refusal(flags.resolve(&none)).contains("--ca or set LOCKBOX_CA"));
        flags.ca = Some(PathBuf::from("/absent"));
        assert!(refusal(flags.resolve(&none)).contains("LOCKBOX_TOKEN"));
        let text = refusal(flags.resolve(&Environment::of(&[("LOCKBOX_TOKEN", "t")])));
        assert!(text.starts_with("cannot read the certificate authority /absent"), "{text}");
        assert!(refusal(flags.folder_id(&none)).contains("LOCKBOX_FOLDER_ID"));
    }

    #[test]
    fn flags_beat_the_environment_and_empty_variables_are_absent() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, " from-file\n").unwrap();
        let environment = Environment::of(&[("LOCKBOX_TOKEN", "from-env"), ("LOCKBOX_CA", "")]);

        let mut flags = flags();
        let token = |flags: &ConnectionFlags| match flags.credential(&environment).unwrap() {
            Credential::Token(token) => token.expose().clone(),
            Credential::Key(_) | Credential::Certificate => panic!("not a token"),
        };
        assert_eq!(token(&flags), "from-env");
        flags.token_file = Some(file);
        assert_eq!(token(&flags), "from-file");
        flags.sa_key = Some(PathBuf::from("/absent"));
        assert!(refusal(flags.credential(&environment)).contains("exclude each other"));
        flags.token_file = None;
        assert!(refusal(flags.credential(&environment)).contains("/absent"));

        flags.endpoint = Some("localhost:1".to_owned());
        assert!(refusal(flags.resolve(&environment)).contains("--ca"));
    }

    #[test]
    fn a_token_shows_in_no_debug_output() {
        let environment = Environment::of(&[("LOCKBOX_TOKEN", "canary")]);
        let credential = flags().credential(&environment).unwrap();
        assert!(!format!("{credential:?}").contains("canary"));
    }

    #[test]
    fn the_host_is_what_the_certificate_must_name() {
        assert_eq!(host("localhost:8443"), "localhost");
        assert_eq!(host("[::1]:8443"), "::1");
    }
}
