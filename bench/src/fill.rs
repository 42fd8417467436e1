//! Fills a folder: many secrets with several versions each, for figures of memory and cold start.

use anyhow::{Context, Result};
use clap::Args;
use futures::StreamExt;
use serde::Serialize;
use tokio::time::Instant;
use tonic::Status;

use crate::arguments::{Folder, Output, positive};
use crate::connect::Connector;
use crate::lockbox::{Api, Bearer, Secrets, Wanted, set_value};
use crate::record::tell;
use crate::sample;

/// Options of `fill`.
#[derive(Debug, Args)]
pub struct FillArguments {
    /// Where the secrets are.
    #[command(flatten)]
    pub folder: Folder,
    /// Secrets that there are in the end.
    #[arg(long, default_value_t = 10_000, value_parser = positive)]
    pub secrets: usize,
    /// Versions of each secret made by this run.
    #[arg(long, default_value_t = 10, value_parser = positive)]
    pub versions: usize,
    /// Length of a value in bytes.
    #[arg(long, default_value_t = 1024, value_parser = positive)]
    pub value_bytes: usize,
    /// Versions that are added at the same time.
    #[arg(long, default_value_t = 64, value_parser = positive)]
    pub clients: usize,
    /// How the result is told.
    #[command(flatten)]
    pub output: Output,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Filled {
    /// Its name in reports.
    pub label: String,
    /// Secrets of this kind that there are.
    pub secrets: usize,
    /// Secrets that were made by this run.
    pub secrets_created: usize,
    /// Versions added by this run, first versions not counted.
    pub versions_added: usize,
    /// How long it took in seconds.
    pub seconds: f64,
}

/// Makes the secrets and their versions.
///
/// # Errors
/// When a node cannot be reached or refuses.
pub async fn run(arguments: &FillArguments) -> Result<()> {
    let FillArguments { folder, secrets, versions, value_bytes, clients, output } = arguments;
    let connector = Connector::new(&folder.servers)?;
    let bearer = Bearer::from_environment()?;
    let endpoints = &folder.servers.endpoints;
    let apis: Vec<Api> = connector
        .connect_all(endpoints, endpoints.len())
        .await?
        .into_iter()
        .map(|channel| Api::new(channel, &bearer))
        .collect();
    let first = apis.first().context("there is no endpoint")?;

    let began = Instant::now();
    let (count, value_bytes) = (*secrets, *value_bytes);
    let wanted = Wanted { purpose: "fill", count, value_bytes, kms_key_id: None };
    let prepared = Secrets::prepare(first, &folder.folder_id, &wanted).await?;
    // Round after round over all secrets: the versions of one secret come one after another.
    let additions = (1..*versions).flat_map(|_| &prepared.ids);
    let mut written = futures::stream::iter(additions.zip(apis.iter().cycle()))
        .map(|(id, api)| add(api.clone(), id, value_bytes))
        .buffer_unordered(*clients);
    let mut versions_added = 0;
    while let Some(added) = written.next().await {
        added.context("cannot add a version")?;
        versions_added += 1;
    }
    drop(written);

    let filled = Filled {
        label: output.label.clone(),
        secrets: prepared.ids.len(),
        secrets_created: prepared.created,
        versions_added,
        seconds: began.elapsed().as_secs_f64(),
    };
    let table = format!(
        "{} secrets ({} new), {} versions added in {:.1} s\n",
        filled.secrets, filled.secrets_created, filled.versions_added, filled.seconds
    );
    tell(&filled, &table, output.json.as_deref())
}

async fn add(mut api: Api, secret_id: &str, value_bytes: usize) -> Result<(), Status> {
    api.add_version(secret_id, set_value(sample::value(value_bytes))).await
}
