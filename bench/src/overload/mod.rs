//! Many times the load that a cluster can carry: what is accepted has to be answered in a bounded
//! time, the rest has to be refused at once with the time to come back, and nothing may grow or
//! change hands.
//!
//! First a closed loop finds what the cluster carries. Then calls come at a multiple of that, and
//! do not wait for each other (`open_loop`), twice; then the closed loop again. The outcome is a
//! table, and a verdict on what must hold on every machine: figures are not judged.

mod memory;
mod open_loop;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::memory::Watcher;
use self::open_loop::OpenLoad;
use self::table::{Phase, Run};
use crate::arguments::{Folder, Operation, Shape, Spread, Watched, positive, seconds};
use crate::closed_loop;
use crate::connect::Connector;
use crate::counters;
use crate::lockbox::{Api, Bearer, Secrets, Session, Wanted};
use crate::sample;
use crate::target::Target;

/// The gauge of a node that grows with each election.
const TERM: &str = "lockbox_raft_term";

/// Options of `overload`.
#[derive(Debug, Args)]
pub struct OverloadArguments {
    /// Where the secrets are.
    #[command(flatten)]
    pub folder: Folder,
    /// What is done too often, one after the other.
    #[arg(long = "operation", value_enum, default_values_t = [Operation::Get, Operation::Put])]
    pub operations: Vec<Operation>,
    /// How many times the load that can be carried.
    #[arg(long, default_value_t = 10, value_parser = positive)]
    pub times: usize,
    /// Clients of the closed loop, which finds what can be carried.
    #[arg(long, default_value_t = 64, value_parser = positive)]
    pub clients: usize,
    /// Connections, spread over the endpoints.
    #[arg(long, default_value_t = 24, value_parser = positive)]
    pub connections: usize,
    /// Calls that may be unanswered at one time; what is due beyond them is not sent, and counted.
    #[arg(long, default_value_t = 16_384, value_parser = positive)]
    pub outstanding: usize,
    /// Length of a value in bytes.
    #[arg(long, default_value_t = 256, value_parser = positive)]
    pub value_bytes: usize,
    /// Secrets that the load is spread over.
    #[arg(long, default_value_t = 4000, value_parser = positive)]
    pub secrets: usize,
    /// Seconds of each phase.
    #[arg(long, default_value = "20", value_parser = seconds)]
    pub duration: Duration,
    /// Process of a node, whose memory is watched.
    #[arg(long = "server-pid", num_args = 1..)]
    pub server_pids: Vec<u32>,
    /// `host:port` of a node's metrics listener (plain HTTP, `/metrics`), for its term.
    #[arg(long = "metrics", num_args = 1..)]
    pub metrics: Vec<String>,
    /// File that the tables are appended to as Markdown; standard output without it.
    #[arg(long)]
    pub markdown: Option<PathBuf>,
}

/// Overloads the cluster and tells what came of it.
///
/// # Errors
/// When the cluster cannot be reached or carries nothing, and when something does not hold: a
/// refusal without the time to come back, an election, or a call that is neither answered nor
/// refused.
pub async fn run(arguments: &OverloadArguments) -> Result<()> {
    let mut broken = Vec::new();
    for operation in &arguments.operations {
        let run = overload(arguments, *operation).await?;
        table::tell(&run, arguments.markdown.as_deref())?;
        broken.extend(run.broken());
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("it does not hold: {}", broken.join("; "))
}

async fn overload(arguments: &OverloadArguments, operation: Operation) -> Result<Run> {
    let targets = connect(arguments).await?;
    let carried = carry(arguments, operation, &targets, "carried").await?;
    let wanted = carried.accepted_per_second * arguments.times as f64;
    let mut phases = vec![carried];
    for name in ["overload", "overload again"] {
        let load = OpenLoad {
            operation,
            per_second: wanted,
            secrets: arguments.secrets,
            outstanding: arguments.outstanding,
            duration: arguments.duration,
        };
        let watcher = Watcher::new(&arguments.server_pids);
        let (counts, peak) = watcher.during(open_loop::run(&targets, &load)).await?;
        let term = term(arguments).await?;
        phases.push(Phase::overloaded(name, wanted, &counts?, arguments.duration, peak, term));
    }
    phases.push(carry(arguments, operation, &targets, "afterwards").await?);
    Ok(Run { operation, times: arguments.times, phases })
}

/// The closed loop: what the cluster carries.
async fn carry(
    arguments: &OverloadArguments,
    operation: Operation,
    targets: &[Target],
    name: &'static str,
) -> Result<Phase> {
    let shape = Shape {
        operation,
        clients: arguments.clients,
        connections: arguments.connections,
        value_bytes: arguments.value_bytes,
        secrets: arguments.secrets,
        spread: Spread::Clients,
        duration: arguments.duration,
        warm_up: Duration::from_secs(2),
    };
    let nothing = Watched::default();
    let watcher = Watcher::new(&arguments.server_pids);
    let load = closed_loop::run(targets, &shape, &nothing);
    let (measured, peak) = watcher.during(load).await?;
    let measured = measured?;
    Ok(Phase::carried(name, &measured, peak, term(arguments).await?))
}

/// The sum of the nodes' terms; nothing when no metrics are named.
async fn term(arguments: &OverloadArguments) -> Result<Option<f64>> {
    if arguments.metrics.is_empty() {
        return Ok(None);
    }
    counters::sum(&arguments.metrics, &[TERM.to_owned()]).await.map(Some)
}

async fn connect(arguments: &OverloadArguments) -> Result<Vec<Target>> {
    let OverloadArguments { folder, secrets: count, value_bytes, connections, .. } = arguments;
    let connector = Connector::new(&folder.servers)?;
    let bearer = Bearer::from_environment()?;
    let endpoints = &folder.servers.endpoints;
    let first = endpoints.first().context("there is no endpoint")?;
    let api = Api::new(connector.connect(first).await?, &bearer);
    let (count, value_bytes) = (*count, *value_bytes);
    let wanted = Wanted { purpose: "overload", count, value_bytes, kms_key_id: None };
    let secrets = Secrets::prepare(&api, &folder.folder_id, &wanted).await?;
    let ids: Arc<[String]> = secrets.ids.into();
    let value = Arc::new(sample::value(value_bytes));
    let channels = connector.connect_all(endpoints, *connections).await?;
    let session = |channel| Session::new(channel, &bearer, Arc::clone(&ids), Arc::clone(&value));
    Ok(channels.into_iter().map(session).map(|s| Target::Lockbox(Box::new(s))).collect())
}
