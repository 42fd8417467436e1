//! The kill switch: how long after a right is taken, or a key or secret switched off, does anybody
//! still read?
//!
//! Readers read one secret with a key of its own through all nodes at a steady rate, whether or not
//! earlier reads have been answered. One node is stopped, the right is taken through another one,
//! and what began after the acknowledgement must not succeed: on the nodes that ran, and on the one
//! that was stopped meanwhile, once it goes on.

mod administrator;
mod judge;
mod kind;
mod making;
mod paused;
mod peers;
mod readers;
mod verdict;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::time::{Instant, sleep, timeout};

use self::administrator::Administrator;
pub use self::judge::LateReads;
use self::judge::Wanted;
pub use self::kind::Kind;
use self::kind::Subject;
pub use self::paused::Pid;
use self::paused::{Paused, Server};
use self::readers::{Readers, Target};
use self::verdict::{Switched, Toggle};
use crate::arguments::{Folder, Output, positive, seconds};
use crate::connect::Connector;
use crate::lockbox::Bearer;
use crate::record::{print, tell};

/// How long a toggle may take, with an election and whatever the stopped node holds up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether all nodes give the secret out.
const LOOK: Duration = Duration::from_millis(5);

/// Options of `kill-switch`.
#[derive(Debug, Args)]
pub struct KillSwitchArguments {
    /// The members, and where accounts, keys and secrets are made.
    #[command(flatten)]
    pub folder: Folder,
    /// `host:port` of the KMS.
    #[arg(long, env = "KMS_ENDPOINT")]
    pub kms_endpoint: String,
    /// Processes of the members, in the order of the endpoints: one of them is stopped (SIGSTOP)
    /// across each toggle.
    #[arg(long = "node-pid", required = true, num_args = 1..)]
    pub node_pids: Vec<Pid>,
    /// Toggles of each kind.
    #[arg(long, default_value_t = 20, value_parser = positive)]
    pub toggles: usize,
    /// Reads that begin in a second on each member.
    #[arg(long, default_value_t = 250, value_parser = positive)]
    pub rate: usize,
    /// Reads that have to begin in a second on each member, or too little was seen.
    #[arg(long, default_value_t = 200, value_parser = positive)]
    pub rate_min: usize,
    /// What of the time after an acknowledgement is looked at, in seconds.
    #[arg(long, default_value = "0.05", value_parser = seconds)]
    pub window: Duration,
    /// Reads that have to begin in the windows together and be told no, or too little was seen: 1,000
    /// of all kinds, and of some their share, if it is not said.
    #[arg(long)]
    pub reads: Option<u64>,
    /// Tries these kinds alone.
    #[arg(long, value_enum)]
    pub only: Vec<Kind>,
    /// The servers have a seeded bug, which shows after this: only then, and by nothing else, the
    /// trial fails by late reads.
    #[arg(long, value_enum)]
    pub late_after: Option<Kind>,
    /// How the result is told.
    #[command(flatten)]
    pub output: Output,
}

/// Takes and gives back each right, and judges what was read meanwhile.
///
/// # Errors
/// [`LateReads`] when a read that began after an acknowledgement succeeded; any other error when too
/// few began, or when a server did not do what it should.
pub async fn run(arguments: &KillSwitchArguments) -> Result<()> {
    let KillSwitchArguments { folder, node_pids, toggles, rate, window, .. } = arguments;
    let endpoints = &folder.servers.endpoints;
    let different: BTreeSet<_> = node_pids.iter().collect();
    let processes = [node_pids.len(), different.len()];
    ensure!(processes == [endpoints.len(); 2], "each endpoint needs its process");
    ensure!(endpoints.len() > 2, "a node can be stopped where two others go on");
    let kinds = if arguments.only.is_empty() { Kind::ALL.to_vec() } else { arguments.only.clone() };
    let shows = arguments.late_after.is_none_or(|kind| kinds.contains(&kind));
    ensure!(shows, "what the seeded bug shows after is not tried");
    let servers = node_pids.iter().copied().map(Server::find).collect::<Result<Vec<_>>>()?;
    let connector = Connector::new(&folder.servers)?;
    let administrator = Administrator::connect(
        &connector,
        endpoints,
        &arguments.kms_endpoint,
        Bearer::from_environment()?,
        &folder.folder_id,
    )
    .await?;
    // Connections of their own: what the administrator asks must not wait behind them.
    let mut channels = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        channels.push(connector.connect(endpoint).await?);
    }
    let readers = Readers::start(channels, Duration::from_secs(1) / u32::try_from(*rate)?);
    let mut switched = Switched::new(&arguments.output.label, *window, endpoints.len());
    for kind in kinds.iter().copied() {
        let mut subject = None;
        for round in 0..*toggles {
            let stopped = round % servers.len();
            let scene = Scene { administrator: &administrator, readers: &readers, stopped };
            let ready = match subject.take() {
                Some(ready) => ready,
                None => kind.prepare(&administrator, round).await?,
            };
            let (toggle, again) = scene.toggle(kind, ready, &servers[stopped], *window).await?;
            switched.add(kind, &toggle);
            subject = again;
        }
        print(&format!("{}\n", switched.row(kind)))?;
    }
    readers.stop().await?;
    tell(&switched, &switched.table(), arguments.output.json.as_deref())?;
    let wanted = Wanted {
        rate_min: arguments.rate_min,
        reads: arguments.reads.unwrap_or_else(|| judge::reads_of(kinds.len())),
        late_after: arguments.late_after,
    };
    judge::judge(&switched, &kinds, &wanted)
}

/// One toggle's surroundings.
struct Scene<'a> {
    administrator: &'a Administrator,
    readers: &'a Readers,
    /// The number of the node that is stopped across it.
    stopped: usize,
}

impl Scene<'_> {
    /// Takes the right and gives it back, unless that cannot be; then there is no subject any more.
    async fn toggle(
        &self,
        kind: Kind,
        subject: Subject,
        server: &Server,
        window: Duration,
    ) -> Result<(Toggle, Option<Subject>)> {
        let Self { administrator, readers, stopped } = *self;
        let target = Target::new(&subject.secret_id, &subject.bearer);
        readers.read(target);
        let began = self.all_nodes_read().await?;
        let paused = Paused::stop(server)?;
        let asked = Instant::now();
        let taken = timeout(PATIENCE, kind.take(administrator, &subject, stopped));
        taken.await.with_context(|| format!("{} takes too long", kind.name()))??;
        let acknowledged = Instant::now();
        sleep(window).await;
        // The gate closes before the node goes on: what it holds has begun by then.
        readers.close();
        let closed = Instant::now();
        drop(paused);
        let drained = timeout(PATIENCE, readers.drained()).await;
        let reads = drained.context("reads are never answered")?;
        let again = timeout(PATIENCE, kind.give_back(administrator, subject));
        let again = again.await.with_context(|| format!("{} does not end", kind.name()))??;
        let toggle = Toggle { began, asked, acknowledged, closed, reads };
        Ok((toggle, again))
    }

    /// Waits until every node has given the secret out since the gate was opened; gives that moment.
    async fn all_nodes_read(&self) -> Result<Instant> {
        let opened = Instant::now();
        while opened.elapsed() < PATIENCE {
            if self.readers.all_succeed() {
                return Ok(Instant::now());
            }
            sleep(LOOK).await;
        }
        bail!("not every node gives the secret out: {}", self.readers.complaint())
    }
}
