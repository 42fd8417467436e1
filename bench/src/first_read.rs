//! How long a starting node takes until it answers a read of a value.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::future::try_join_all;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use serde::Serialize;
use tokio::time::Instant;

use crate::arguments::{Folder, Output, seconds};
use crate::connect::Connector;
use crate::lockbox::{Api, Bearer};
use crate::record::tell;

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Options of `first-read`.
#[derive(Debug, Args)]
pub struct FirstReadArguments {
    /// The members that are waited for, all of them, and a folder with a secret.
    #[command(flatten)]
    pub folder: Folder,
    /// Seconds after which it is given up.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub give_up: Duration,
    /// How the result is told.
    #[command(flatten)]
    pub output: Output,
}

/// How long each member took.
#[derive(Debug, Clone, Serialize)]
pub struct FirstReads {
    /// Its name in reports.
    pub label: String,
    /// Milliseconds from the start of this program, by endpoint in the order given.
    pub milliseconds: Vec<(String, u64)>,
}

/// Waits until every endpoint has answered a payload read.
///
/// # Errors
/// When one has not in time.
pub async fn run(arguments: &FirstReadArguments) -> Result<()> {
    let began = Instant::now();
    let FirstReadArguments { folder, give_up, output } = arguments;
    let connector = Connector::new(&folder.servers)?;
    let bearer = Bearer::from_environment()?;
    let waits = folder.servers.endpoints.iter().map(|endpoint| {
        let attempts = until_read(&connector, &bearer, endpoint, &folder.folder_id);
        async move {
            let Ok(()) = tokio::time::timeout(*give_up, attempts).await else {
                bail!("{endpoint} has answered no read in {give_up:?}");
            };
            Ok((endpoint.clone(), u64::try_from(began.elapsed().as_millis())?))
        }
    });
    let milliseconds = try_join_all(waits).await?;
    let lines = milliseconds.iter().map(|(endpoint, ms)| format!("{endpoint}: {ms} ms\n"));
    let table: String = lines.collect();
    let reads = FirstReads { label: output.label.clone(), milliseconds };
    tell(&reads, &table, output.json.as_deref())
}

async fn until_read(connector: &Connector, bearer: &Bearer, endpoint: &str, folder_id: &str) {
    // Every failure means "not yet"; the caller's deadline ends it.
    while read_any(connector, bearer, endpoint, folder_id).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads the payload of the first secret of the folder.
async fn read_any(
    connector: &Connector,
    bearer: &Bearer,
    endpoint: &str,
    folder_id: &str,
) -> Result<()> {
    let mut api = Api::new(connector.connect(endpoint).await?, bearer);
    let folder_id = folder_id.to_owned();
    let request = wire::ListSecretsRequest { folder_id, page_size: 1, ..Default::default() };
    let page = api.secrets.list(request).await?.into_inner();
    let secret = page.secrets.first().context("the folder has no secrets")?;
    api.payload(&secret.id).await?;
    Ok(())
}
