//! Many writers, one secret: is an acknowledged entry ever lost?
//!
//! Every writer adds entries of its own, one at a time and without naming a base, through all
//! members at once. In the end each member is asked for the payload, and every entry that was
//! acknowledged must be in it with its value.

mod verdict;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::arguments::{Folder, Output, positive, seconds};
use crate::connect::Connector;
use crate::lockbox::{Api, Bearer, create_fresh};
use crate::record::tell;
use verdict::{Contended, Missing};
pub(crate) use writer::may_pass;
use writer::{Tally, Writer};

/// Options of `contend`.
#[derive(Debug, Args)]
pub struct ContendArguments {
    /// The members that are written through, and where the secret is made.
    #[command(flatten)]
    pub folder: Folder,
    /// Writers.
    #[arg(long, default_value_t = 64, value_parser = positive)]
    pub writers: usize,
    /// Seconds of writing.
    #[arg(long, default_value = "30", value_parser = seconds)]
    pub duration: Duration,
    /// How the result is told.
    #[command(flatten)]
    pub output: Output,
}

/// Writes, then checks.
///
/// # Errors
/// When an acknowledged entry is missing, when a writer met an error that trying again does not
/// help, or when a member cannot be reached.
pub async fn run(arguments: &ContendArguments) -> Result<()> {
    let ContendArguments { folder, writers, duration, output } = arguments;
    let connector = Connector::new(&folder.servers)?;
    let bearer = Bearer::from_environment()?;
    let endpoints = &folder.servers.endpoints;
    let mut apis = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        apis.push(Api::new(connector.connect(endpoint).await?, &bearer));
    }
    let first = apis.first().context("there is no endpoint")?;
    // A secret of its own for each run: what is in it must come from this run alone.
    let secret_id = create_fresh(first, &folder.folder_id, "contend").await?;

    let (tallies, took) = write(&apis, &secret_id, *writers, *duration).await?;
    let mut missing = Missing::default();
    for (api, endpoint) in apis.iter_mut().zip(endpoints) {
        let payload = api.payload(&secret_id).await;
        let payload = payload.with_context(|| format!("cannot read through {endpoint}"))?;
        missing.check(endpoint, &payload, &tallies);
    }
    let result = Contended::new(&output.label, &tallies, took, missing);
    tell(&result, &result.table(), output.json.as_deref())?;
    ensure!(result.lost.is_empty(), "{} acknowledged entries are lost", result.lost.len());
    ensure!(result.refused.is_empty(), "a writer gave up: {}", result.refused.join("; "));
    ensure!(result.commits > 0, "nothing was committed");
    Ok(())
}

/// Lets all writers write for some time; what each of them saw.
async fn write(
    apis: &[Api],
    secret_id: &str,
    writers: usize,
    duration: Duration,
) -> Result<(Vec<Tally>, Duration)> {
    let over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    let began = Instant::now();
    for (number, api) in (0..writers).zip(apis.iter().cycle()) {
        let writer = Writer::new(number, api.clone(), secret_id);
        running.spawn(writer.run(Arc::clone(&over)));
    }
    tokio::time::sleep(duration).await;
    over.store(true, Relaxed);
    let took = began.elapsed();
    let mut tallies = Vec::with_capacity(writers);
    while let Some(tally) = running.join_next().await {
        tallies.push(tally?);
    }
    Ok((tallies, took))
}
