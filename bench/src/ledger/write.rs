//! `ledger write`: writers that go on whatever becomes of the members.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::book::Book;
use super::writer::Writer;
use crate::arguments::{Folder, positive};
use crate::connect::Connector;
use crate::lockbox::{Api, Bearer};
use crate::record::print;

/// Options of `ledger write`.
#[derive(Debug, Args)]
pub(super) struct WriteArguments {
    /// The members that are written through, and where secrets are made.
    #[command(flatten)]
    folder: Folder,
    /// The file of acknowledged writes; what is in it stays.
    #[arg(long)]
    ledger: PathBuf,
    /// Writers.
    #[arg(long, default_value_t = 8, value_parser = positive)]
    writers: usize,
    /// Entries in a second that all writers add together, while they are answered.
    #[arg(long, default_value_t = 80, value_parser = positive)]
    rate: usize,
    /// An own key of the KMS: every second writer's secrets are under it.
    #[arg(long)]
    kms_key_id: Option<String>,
}

/// Writes until a signal comes.
///
/// # Errors
/// When a call is refused for a reason that does not pass, or the ledger cannot be written.
pub(super) async fn run(arguments: &WriteArguments) -> Result<()> {
    let WriteArguments { folder, ledger, writers, rate, kms_key_id } = arguments;
    // First of all: whoever has started this may end it at once.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let connector = Connector::new(&folder.servers)?;
    let bearer = Bearer::from_environment()?;
    let mut apis = Vec::with_capacity(folder.servers.endpoints.len());
    for endpoint in &folder.servers.endpoints {
        // Not connected by now: a member may be away.
        apis.push(Api::new(connector.endpoint(endpoint)?.connect_lazy(), &bearer));
    }
    let book = Arc::new(Book::open(ledger)?);
    let every = Duration::from_secs(1) * u32::try_from(*writers)? / u32::try_from(*rate)?;
    // No time at all is no interval.
    let every = every.max(Duration::from_micros(1));
    let mut running = JoinSet::new();
    for number in 0..*writers {
        let key = kms_key_id.clone().filter(|_| number % 2 == 1).unwrap_or_default();
        let place = (folder.folder_id.clone(), key);
        let writer = Writer::new(number, apis.clone(), place, every, Arc::clone(&book));
        running.spawn(writer.run());
    }
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = running.join_next() => ended,
    };
    // What is under way was not acknowledged: it may be there or not, and both are right.
    running.shutdown().await;
    print(&book.summary())?;
    match ended {
        // They go on until they are told to end.
        Some(Ok(refusal)) => Err(refusal.context("a writer gave up")),
        Some(Err(panicked)) => Err(panicked).context("a writer has panicked"),
        None => Ok(()),
    }
}
