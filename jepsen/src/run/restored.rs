//! Clusters out of the backups of a run, once it is over: each is asked for everything that it has,
//! and what it answers goes into the history, for law L18.
//!
//! The nodes of the run have stopped by then, as an operator would have it: no client could reach
//! both. The KMS goes on, and knows the restored cluster by its keyring.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::books::Planted;
use super::canary_scan::{Canaries, Found};
use super::cluster_site;
use super::directory::RunDirectory;
use super::evidence::{self, ServerPlaces};
use super::site::Site;
use super::wall_clock::since_epoch;
use crate::check::directory::read_log;
use crate::client::account_key::{AccountKey, Token};
use crate::client::callers::Callers;
use crate::client::lockbox::LockboxClient;
use crate::client::request::Request;
use crate::cluster::Cluster;
use crate::cluster::backups::MadeBackup;
use crate::cluster::part::Part;
use crate::history::answer::{Answer, VersionStatus};
use crate::history::call::{Call, GetPayload, ListSecrets, ReadSecret};
use crate::history::ids::{FolderId, SecretId};
use crate::history::ledger::ScanPlace;
use crate::history::log_dump::CommittedLog;
use crate::history::op::Outcome;
use crate::history::recorder::Recorder;
use crate::history::restored::RestoredAnswer;

/// How long a restored node may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long one call may take, and all tries of it.
const DEADLINE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
/// Secrets of a page, as many as one can hold (`contract §2.11`).
const PAGE_SIZE: u32 = 1000;
/// Secrets whose versions and payloads are read; of more, every so many-th. Lists show all.
const SECRETS_MAX: usize = 300;
/// Destroyed versions of a secret whose payloads are asked for.
const DESTROYED_MAX: usize = 2;
/// The name of the walks through lists.
const WALK: &str = "restored";

/// Restores the first backup of a run and the last one: behind the first most was destroyed, and
/// before the last most happened. Records what the restored clusters answer, and looks for the
/// canaries in the backups and in their files. Without a backup it does nothing. That the nodes are
/// stopped has to be in the history before: nobody is owed a leader any more.
///
/// # Errors
/// When a backup is not restored, a restored cluster does not answer, or an answer is not recorded.
pub fn look(
    runtime: &Runtime,
    cluster: &Arc<Cluster>,
    directory: &RunDirectory,
    recorder: &Recorder,
    planted: &[Planted],
) -> Result<()> {
    let chosen = first_and_last(cluster.backups());
    if chosen.is_empty() {
        return Ok(());
    }
    for made in &chosen {
        list_destroyed(cluster, made)?;
    }
    for node in cluster.members() {
        cluster.server(Part::Node(node))?.stop()?;
    }
    let site = cluster_site::of_restored(cluster)?;
    let folders = folders(&site, directory)?;
    for (number, made) in (1..).zip(&chosen) {
        cluster.restore(made)?;
        cluster.wait_ready(Part::Node(cluster.restored_node()), READY)?;
        let asked = Asked { recorder, cluster: number, index: made.index };
        runtime.block_on(asked.everything(&site, &folders))?;
        if !planted.is_empty() {
            evidence::scan(recorder, planted, &[places(cluster, number)?])?;
            scan_backup(recorder, planted, made, number)?;
        }
        cluster.discard_restored()?;
    }
    Ok(())
}

/// By whichever member does it: of two builds beside each other only one may know how.
fn list_destroyed(cluster: &Cluster, made: &MadeBackup) -> Result<()> {
    let mut last = anyhow!("the cluster has no member");
    for node in cluster.members() {
        match cluster.list_destroyed(node, made) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last.context("no member lists what was destroyed"))
}

fn first_and_last(mut backups: Vec<MadeBackup>) -> Vec<MadeBackup> {
    let last = backups.split_off(backups.len().saturating_sub(1));
    backups.truncate(1);
    backups.extend(last);
    backups
}

/// All folders in which secrets were made: the run's, and those that the log names.
fn folders(site: &Site, directory: &RunDirectory) -> Result<BTreeSet<FolderId>> {
    let log = read_log(directory.path())?.ok().flatten();
    let entries = log.iter().flat_map(CommittedLog::entries);
    let named = entries.filter_map(|entry| entry.folder.clone());
    Ok(named.chain([FolderId::from(site.folder.as_str())]).collect())
}

fn places(cluster: &Cluster, number: u64) -> Result<ServerPlaces> {
    let part = Part::Node(cluster.restored_node());
    let (server, data) = (cluster.server(part)?, cluster.files().data(part));
    let (audit, log) = (data.join("audit.jsonl"), server.log().to_owned());
    let name = format!("restored cluster {number}");
    Ok(ServerPlaces { name, data, audit, log, pid: server.pid() })
}

fn scan_backup(
    recorder: &Recorder,
    planted: &[Planted],
    made: &MadeBackup,
    number: u64,
) -> Result<()> {
    let (canaries, mut found) = (Canaries::new(planted)?, Found::default());
    canaries.search(&made.file, &mut found)?;
    let (place, of) = (ScanPlace::DataDirectory, format!("backup {number}"));
    Ok(recorder.scan(|at| canaries.scan(at, place, of, found))?)
}

/// A restored cluster that is asked.
struct Asked<'a> {
    recorder: &'a Recorder,
    cluster: u64,
    index: u64,
}

impl Asked<'_> {
    /// Lists all folders, and reads secrets with their versions and payloads.
    async fn everything(&self, site: &Site, folders: &BTreeSet<FolderId>) -> Result<()> {
        let node = site.nodes.first().context("a restored cluster has a node")?.node;
        // A token of the cluster before means nothing to it; the account's key is in the backup.
        let administrator = AccountKey::from_file(&site.admin_key)?;
        let token = administrator.log_in(&site.login_dialers()?, since_epoch().as_secs()).await?;
        let callers = Callers::new(Token::new(&token)?);
        let mut client = site.client(0, node, &callers, DEADLINE)?;
        let mut secrets = Vec::new();
        for folder in folders {
            secrets.extend(self.list(&mut client, folder).await?);
        }
        let step = secrets.len().div_ceil(SECRETS_MAX).max(1);
        for secret in secrets.into_iter().step_by(step) {
            self.read(&mut client, &secret).await?;
        }
        Ok(())
    }

    async fn list(&self, client: &mut LockboxClient, folder: &FolderId) -> Result<Vec<SecretId>> {
        let (mut secrets, mut token) = (Vec::new(), None);
        loop {
            let (folder, walk, page_size) = (folder.clone(), WALK.into(), PAGE_SIZE);
            let call = Call::ListSecrets(ListSecrets { folder, walk, page_size, token });
            let answer = self.ask(client, call).await?;
            let Answer::Secrets(page) = answer else { bail!("a restored folder is not listed") };
            secrets.extend(page.secrets.into_iter().map(|view| view.id));
            if page.next.is_none() {
                return Ok(secrets);
            }
            token = page.next;
        }
    }

    async fn read(&self, client: &mut LockboxClient, secret: &SecretId) -> Result<()> {
        let read = ReadSecret { secret: secret.clone() };
        let listed = self.ask(client, Call::ListVersions(read)).await?;
        let destroyed = listed.versions().filter(|view| view.status == VersionStatus::Destroyed);
        let destroyed = destroyed.take(DESTROYED_MAX).map(|view| Some(view.id.clone()));
        for version in [None].into_iter().chain(destroyed) {
            let secret = secret.clone();
            self.ask(client, Call::GetPayload(GetPayload { secret, version })).await?;
        }
        Ok(())
    }

    /// Asks until there is an answer of the state, and records it.
    async fn ask(&self, client: &mut LockboxClient, call: Call) -> Result<Answer> {
        let request = Request::new(call);
        let deadline = Instant::now() + PATIENCE;
        let answered = loop {
            match client.call(&request).await {
                Outcome::Ok(reply) => break reply.answer,
                Outcome::Fail(failure) | Outcome::Info(failure) | Outcome::Unexpected(failure) => {
                    if Instant::now() >= deadline {
                        let name = request.call().name();
                        bail!("a restored cluster gives no answer to {name}: {failure:?}");
                    }
                }
            }
            sleep(PAUSE).await;
        };
        let (cluster, index) = (self.cluster, self.index);
        let (call, answer) = (request.call().clone(), answered.clone());
        self.recorder.restored(|at| RestoredAnswer { at, cluster, index, call, answer })?;
        Ok(answered)
    }
}
