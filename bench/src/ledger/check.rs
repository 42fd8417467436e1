//! `ledger check`: reads all that was noted, through each member.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use futures::StreamExt;
use lockbox_proto::yandex::cloud::lockbox::v1::Payload;
use tokio::time::{Instant, sleep};
use tonic::Code;

use super::book::{self, Entry};
use super::verdict::Verdict;
use crate::arguments::{Servers, seconds};
use crate::connect::Connector;
use crate::contend::may_pass;
use crate::lockbox::{Api, Bearer};
use crate::record::print;

/// Secrets that are read at the same time.
const READING: usize = 16;
/// Pause before another try.
const PAUSE: Duration = Duration::from_millis(50);

/// Options of `ledger check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The members that are read through.
    #[command(flatten)]
    servers: Servers,
    /// The file of acknowledged writes.
    #[arg(long)]
    ledger: PathBuf,
    /// The cluster goes on from this entry of the log: writes behind it have to be gone, all of
    /// them, and those up to it have to be there.
    #[arg(long, value_name = "INDEX")]
    lost_after: Option<u64>,
    /// Seconds in which a member that does not answer is asked again.
    #[arg(long, default_value = "30", value_parser = seconds)]
    patience: Duration,
}

/// Reads and judges.
///
/// # Errors
/// When a write is not there that has to be, or is there that has to be gone; when a member does
/// not answer, or there is nothing to look for.
pub(super) async fn run(arguments: &CheckArguments) -> Result<()> {
    let CheckArguments { servers, ledger, lost_after, patience } = arguments;
    let mut secrets: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in book::read(ledger)? {
        secrets.entry(entry.secret_id.clone()).or_default().push(entry);
    }
    ensure!(!secrets.is_empty(), "there is no acknowledged write to look for");
    let connector = Connector::new(servers)?;
    let bearer = Bearer::from_environment()?;
    let mut verdict = Verdict::new(*lost_after);
    for endpoint in &servers.endpoints {
        let api = Api::new(connector.connect(endpoint).await?, &bearer);
        let mut reads = futures::stream::iter(secrets.keys().cloned())
            .map(|secret_id| read(api.clone(), secret_id, *patience))
            .buffer_unordered(READING);
        while let Some(answer) = reads.next().await {
            let (secret_id, payload) =
                answer.with_context(|| format!("cannot read through {endpoint}"))?;
            if let Some(entries) = secrets.get(&secret_id) {
                verdict.check(endpoint, entries, payload.as_ref());
            }
        }
    }
    print(&verdict.sentence(servers.endpoints.len()))?;
    verdict.judge()
}

/// A secret's id and its current payload; none when there is no such secret.
async fn read(
    mut api: Api,
    secret_id: String,
    patience: Duration,
) -> Result<(String, Option<Payload>)> {
    let end = Instant::now() + patience;
    loop {
        match api.payload(&secret_id).await {
            Ok(payload) => return Ok((secret_id, Some(payload))),
            Err(status) if status.code() == Code::NotFound => return Ok((secret_id, None)),
            Err(status) if may_pass(status.code()) && Instant::now() < end => sleep(PAUSE).await,
            Err(status) => bail!("{secret_id}: {:?}: {}", status.code(), status.message()),
        }
    }
}
