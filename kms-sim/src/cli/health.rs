//! `kms-sim health`: whether a server of this machine serves, for the health check of a container.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lockbox_platform::exit::ExitCode;
use lockbox_platform::probe::{self, Answer, ProbeError, Question, Target};

use super::{Failure, environment};
use crate::config::KmsConfig;

/// Longest wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// `kms-sim health`.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// The server's configuration, which variables override as they do for `kms-sim serve`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ask whether the process lives, not whether it serves.
    #[arg(long)]
    live: bool,
}

/// Runs `kms-sim health`.
pub(super) fn run(arguments: &HealthArgs) -> Result<(), Failure> {
    let config = KmsConfig::load(&arguments.config, &environment().0).map_err(Failure::usage)?;
    let Some(metrics) = &config.metrics else {
        return Err(Failure::usage("the configuration names no metrics.listen to ask"));
    };
    let target = Target {
        listen: metrics.listen,
        plaintext: metrics.plaintext,
        certificate: &config.api.certificate,
    };
    let question = if arguments.live { Question::Live } else { Question::Ready };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(ExitCode::Internal, error))?;
    let asked = runtime.block_on(probe::ask(&target, question, TIMEOUT));
    let Answer { is_yes, text } = asked.map_err(|error| unanswered(&error))?;
    if !is_yes {
        return Err(Failure::new(ExitCode::Refused, text));
    }
    writeln!(io::stdout().lock(), "{text}").map_err(|error| Failure::output(&error))
}

fn unanswered(error: &ProbeError) -> Failure {
    let code = match error {
        ProbeError::Tls(_) => ExitCode::Usage,
        ProbeError::Unreachable { .. } | ProbeError::Late { .. } | ProbeError::NotHttp { .. } => {
            ExitCode::Unreachable
        }
    };
    Failure::new(code, error)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const FILE: &str = "data_dir = \"/nowhere\"\n[api]\nlisten = \"127.0.0.1:1\"\n\
                        certificate = \"c\"\nkey = \"k\"\nclient_ca = \"ca\"\n";

    fn asked(text: &str) -> Failure {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        match run(&HealthArgs { config: file.path().to_owned(), live: false }) {
            Ok(()) => panic!("nobody could have answered"),
            Err(failure) => failure,
        }
    }

    #[test]
    fn a_server_without_a_port_to_ask_and_one_that_is_not_there_are_told_apart() {
        let without = asked(FILE);
        assert_eq!(without.code, ExitCode::Usage);
        assert!(without.sentence.contains("metrics.listen"), "{}", without.sentence);

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let absent = asked(&format!("{FILE}[metrics]\nlisten = \"127.0.0.1:{port}\"\n"));
        assert_eq!(absent.code, ExitCode::Unreachable);
        assert!(absent.sentence.starts_with("cannot ask 127.0.0.1:"), "{}", absent.sentence);
    }
}
