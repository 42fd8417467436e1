//! `lockbox health`: whether a node of this machine serves, for the health check of a container.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lockbox_platform::probe::{self, Answer, ProbeError, Question, Target};

use crate::cli::duration;
use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::config::Config;

/// `lockbox health`.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The node's configuration, which variables override as they do for `lockbox serve`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ask whether the process lives, not whether it serves. A node that waits for the others, for
    /// the KMS or for `cluster init` lives.
    #[arg(long)]
    live: bool,
    /// How long the answer may take: 2s, 500ms.
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = duration::parse)]
    timeout: Duration,
}

/// Runs `lockbox health`.
pub(crate) fn run(arguments: &HealthArgs, environment: &Environment) -> Result<(), Failure> {
    let config = Config::load(&arguments.config, environment.all()).map_err(Failure::usage)?;
    let target = Target {
        listen: config.metrics.listen,
        plaintext: config.metrics.plaintext,
        certificate: &config.api.certificate,
    };
    let question = if arguments.live { Question::Live } else { Question::Ready };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, error))?;
    let asked = runtime.block_on(probe::ask(&target, question, arguments.timeout));
    let Answer { is_yes, text } = asked.map_err(|error| unanswered(&error))?;
    if is_yes {
        output::write(format!("{text}\n").as_bytes())
    } else {
        Err(Failure::new(Exit::Refused, text))
    }
}

fn unanswered(error: &ProbeError) -> Failure {
    let exit = match error {
        ProbeError::Tls(_) => Exit::Usage,
        ProbeError::Unreachable { .. } | ProbeError::Late { .. } | ProbeError::NotHttp { .. } => {
            Exit::Unreachable
        }
    };
    Failure::new(exit, error)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A configuration whose metrics port nobody listens on any more.
    fn config() -> tempfile::NamedTempFile {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "node_id = 1\ndata_dir = \"/nowhere\"\n\
             [api]\nlisten = \"127.0.0.1:1\"\nadvertise = \"a:1\"\n\
             certificate = \"c\"\nkey = \"k\"\n\
             [peer]\nlisten = \"127.0.0.1:2\"\nadvertise = \"a:2\"\n\
             certificate = \"c\"\nkey = \"k\"\nca = \"ca\"\n\
             [metrics]\nlisten = \"127.0.0.1:{port}\"\n\
             [kms]\naddress = \"a:3\"\n"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn asked(config: PathBuf, environment: &[(&str, &str)]) -> Failure {
        let arguments = HealthArgs { config, live: true, timeout: Duration::from_secs(20) };
        run(&arguments, &Environment::of(environment)).unwrap_err()
    }

    #[test]
    fn a_node_that_is_not_there_is_out_of_reach_and_a_wrong_file_is_named() {
        let file = config();
        let failure = asked(file.path().to_owned(), &[]);
        assert_eq!(failure.exit(), Exit::Unreachable);
        assert!(failure.to_string().starts_with("cannot ask 127.0.0.1:"), "{failure}");

        let everywhere = [("LOCKBOX_CONFIG_METRICS__LISTEN", "0.0.0.0:1")];
        let failure = asked(file.path().to_owned(), &everywhere);
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.to_string().starts_with("cannot read the certificate c: "), "{failure}");

        let failure = asked(PathBuf::from("/nowhere.toml"), &[]);
        assert_eq!(failure.exit(), Exit::Usage);
    }
}
