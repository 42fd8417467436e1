//! The options that several subcommands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// What one client does over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Reads a value: the payload of a secret's current version, or a linearizable range.
    Get,
    /// Writes a value: a new version of a secret, or a put.
    Put,
    /// Nine reads to one write.
    Mix,
}

/// Which secrets or keys a client touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Spread {
    /// Each client has its own share, so that no two writers meet in one secret.
    Clients,
    /// Every client picks among all.
    All,
}

/// Which members of a cluster are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Members {
    /// The leader alone, whichever endpoint that is.
    Leader,
    /// All endpoints, connections spread over them in turn.
    All,
}

/// The load.
#[derive(Debug, Clone, Args)]
pub struct Shape {
    /// What each client does.
    #[arg(long, value_enum, default_value_t = Operation::Get)]
    pub operation: Operation,
    /// Clients; each waits for an answer before it asks again.
    #[arg(long, default_value_t = 64, value_parser = positive)]
    pub clients: usize,
    /// Connections that the clients share; never more than clients.
    #[arg(long, default_value_t = 8, value_parser = positive)]
    pub connections: usize,
    /// Length of a value in bytes.
    #[arg(long, default_value_t = 1024, value_parser = positive)]
    pub value_bytes: usize,
    /// Secrets (or keys) that the load is spread over.
    #[arg(long, default_value_t = 1000, value_parser = positive)]
    pub secrets: usize,
    /// Which of them a client touches.
    #[arg(long, value_enum, default_value_t = Spread::Clients)]
    pub spread: Spread,
    /// Seconds that are measured.
    #[arg(long, default_value = "8", value_parser = seconds)]
    pub duration: Duration,
    /// Seconds of load before that.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub warm_up: Duration,
}

/// Where the servers are.
#[derive(Debug, Clone, Args)]
pub struct Servers {
    /// `host:port` or URL of a member; may be repeated.
    #[arg(long = "endpoint", required = true, num_args = 1..)]
    pub endpoints: Vec<String>,
    /// PEM file of the CA that signed the servers' certificates; without it, plain HTTP/2.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// Seconds after which an operation counts as failed.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub deadline: Duration,
}

/// Where the secrets are and how to reach them.
#[derive(Debug, Clone, Args)]
pub struct Folder {
    /// The members of the cluster.
    #[command(flatten)]
    pub servers: Servers,
    /// Folder of the secrets.
    #[arg(long, env = "LOCKBOX_FOLDER_ID")]
    pub folder_id: String,
}

/// What is watched from outside while the load runs.
#[derive(Debug, Clone, Default, Args)]
pub struct Watched {
    /// Process of the system under load; its CPU time is charged to the operations.
    #[arg(long = "server-pid", num_args = 1..)]
    pub server_pids: Vec<u32>,
    /// `host:port` of a metrics listener (plain HTTP, `/metrics`).
    #[arg(long = "metrics", num_args = 1..)]
    pub metrics: Vec<String>,
    /// Counter that grows by one with each sync to disk; summed over the metrics listeners.
    #[arg(long = "sync-counter", num_args = 1.., requires = "metrics")]
    pub sync_counters: Vec<String>,
}

/// How the result is told.
#[derive(Debug, Clone, Default, Args)]
pub struct Output {
    /// Name of this measurement in reports.
    #[arg(long, default_value = "")]
    pub label: String,
    /// Number of the round that it belongs to.
    #[arg(long, default_value_t = 0)]
    pub round: u32,
    /// File that the result is appended to, as one line of JSON; `-` prints it instead of a table.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Parses a number of seconds.
///
/// # Errors
/// What is wrong with the text.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

/// Parses a count that must not be zero.
///
/// # Errors
/// What is wrong with the text.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("must be a positive number".to_owned()),
        Ok(count) => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_fractions_but_no_sign() {
        assert_eq!(seconds("1.5").unwrap(), Duration::from_millis(1500));
        assert!(seconds("-1").is_err());
        assert!(seconds("soon").is_err());
    }

    #[test]
    fn nothing_can_be_measured_with_zero_clients() {
        assert_eq!(positive("3").unwrap(), 3);
        assert!(positive("0").is_err());
    }
}
