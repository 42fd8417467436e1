//! `lockbox admin restore`: the first node of another cluster, out of a backup.

use std::path::{Path, PathBuf};

use clap::Args;
use lockbox_core::{Clock, LogTime};
use lockbox_platform::system::{SystemClock, SystemRandom};
use serde::Serialize;
use tempfile::TempDir;

use super::unlock::{Opened, Unlock, refused};
use crate::backup::BackupError;
use crate::backup::destination::Destination;
use crate::backup::destroyed_list::VerifiedList;
use crate::backup::names::{BackupName, DestroyedName, readable};
use crate::backup::restore::{Restored, Since, restore, since};
use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::cli::peer::PeerFlags;
use crate::cli::supervise;
use crate::config::Config;

/// Makes the first node of a new cluster out of a backup.
///
/// Reads all of the backup, and then writes the data directory of the node of --config: the only
/// member of a new cluster, with a new cluster id, under a node id that the cluster before has
/// never used. Start that node, and add the others with `lockbox cluster add` and `promote`. What
/// was destroyed after the backup is destroyed again, by the signed lists that lie beside it.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup: a file, or with --stored its name.
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    /// The backup is at the place that the configuration names.
    #[arg(long)]
    stored: bool,
    #[command(flatten)]
    unlock: Unlock,
    /// A signed list of destructions, or a directory of them; may be given several times. Without it,
    /// those that lie beside the backup.
    #[arg(long, value_name = "PATH")]
    destroyed: Vec<PathBuf>,
    /// Go on although lists of destructions are missing: what was destroyed since the backup may
    /// open again.
    #[arg(long)]
    destroyed_may_return: bool,
    /// Look at everything, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What was done, or would be.
#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    /// The cluster that the backup is of.
    from_cluster: String,
    /// The new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    node_id: u64,
    data_dir: String,
    /// The last entry of the backup.
    backup_index: u64,
    /// Log time of it: whatever was acknowledged later is not restored.
    rolls_back_to: String,
    rolls_back_seconds: u64,
    /// Destructions that the lists name.
    destroyed_listed: usize,
    /// Those of them that the backup still had.
    #[serde(skip_serializing_if = "Option::is_none")]
    destroyed_again: Option<usize>,
    /// What was destroyed later is not known.
    destroyed_until: String,
    /// Where the log of the new cluster begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
}

/// Where the backup and the lists are, on this machine.
struct Files {
    backup: PathBuf,
    /// Names beside it.
    beside: Vec<String>,
    lists: Vec<PathBuf>,
    /// What was fetched, until the end.
    _fetched: Option<TempDir>,
}

impl Restore {
    /// Runs it.
    pub(crate) fn run(&self, peer: &PeerFlags, environment: &Environment) -> Result<(), Failure> {
        supervise::confine()?;
        let format = peer.offline_format(environment)?;
        let config = peer.load_config(environment)?.ok_or_else(|| {
            Failure::usage("give --config: the configuration of the node that is restored")
        })?;
        let files = self.files(&config)?;
        let opened = self.unlock.open(&files.backup, Some(&config))?;
        let head = &opened.verified.head;
        let lists = read_lists(&files.lists, head.cluster_id.as_str())?;
        let since = since(&opened.verified, &lists);
        let since = since.map_err(|error| refused(&files.backup, &error))?;
        self.demand_lists(&lists, &since)?;
        let now = LogTime::from_ms(SystemClock::new().wall_ms());
        let newest = newest_of(&files.beside, head.cluster_id.as_str());
        if let Some(newer) = newest.filter(|newest| newest.index > head.index) {
            output::note(format_args!("a newer backup is beside it: {}", newer.file_name()));
        }
        output::note(format_args!(
            "this rolls back to {}, {} seconds ago: whatever was acknowledged later is gone, and \
             rights that were taken away since are there again",
            readable(head.log_time),
            now.since(head.log_time).as_secs()
        ));
        let restored =
            if self.dry_run { None } else { Some(self.write(&files, &opened, &since, &config)?) };
        let report = Report {
            dry_run: self.dry_run,
            from_cluster: head.cluster_id.to_string(),
            cluster_id: restored.as_ref().map(|restored| restored.cluster_id.to_string()),
            node_id: config.node_id,
            data_dir: config.data_dir.display().to_string(),
            backup_index: head.index,
            rolls_back_to: readable(head.log_time),
            rolls_back_seconds: now.since(head.log_time).as_secs(),
            destroyed_listed: since.destroyed.len(),
            destroyed_again: restored.as_ref().map(|restored| restored.destroyed_again),
            destroyed_until: readable(since.until),
            index: restored.as_ref().map(|restored| restored.founded.index),
        };
        output::write(output::value(format, &report)?.as_bytes())
    }

    fn write(
        &self,
        files: &Files,
        opened: &Opened,
        since: &Since,
        config: &Config,
    ) -> Result<Restored, Failure> {
        let (path, key) = (files.backup.as_path(), &opened.key);
        let restored = restore((path, key), &opened.verified, since, config, &SystemRandom);
        let restored = restored.map_err(|error| Failure::new(Exit::Refused, error))?;
        supervise::confine_data(&config.data_dir)?;
        Ok(restored)
    }

    fn files(&self, config: &Config) -> Result<Files, Failure> {
        let mut lists = Vec::new();
        for path in &self.destroyed {
            lists.extend(if path.is_dir() { lists_in(path)? } else { vec![path.clone()] });
        }
        if self.stored {
            return self.fetched(config, lists);
        }
        let directory = match self.backup.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        if self.destroyed.is_empty() {
            lists = lists_in(&directory)?;
        }
        let beside = names_in(&directory)?;
        Ok(Files { backup: self.backup.clone(), beside, lists, _fetched: None })
    }

    /// Brings the backup, and the lists unless others were named, from their place.
    fn fetched(&self, config: &Config, mut lists: Vec<PathBuf>) -> Result<Files, Failure> {
        let name = self.backup.to_string_lossy().into_owned();
        let Some(wanted) = BackupName::parse(&name) else {
            return Err(Failure::usage(format_args!(
                "{name} is no name of a backup: see its list"
            )));
        };
        let failed = |error: BackupError| Failure::new(Exit::Unreachable, error);
        let place = Destination::of(&config.backup).map_err(failed)?.ok_or_else(|| {
            Failure::usage("the configuration names no place for backups: see [backup]")
        })?;
        let directory = tempfile::tempdir().map_err(|error| Failure::new(Exit::Internal, error))?;
        let backup = directory.path().join(&name);
        let beside = supervise::runtime()?.block_on(async {
            let stored = place.list().await?;
            place.fetch(&name, &backup).await?;
            for file in &stored {
                let list = DestroyedName::parse(&file.name);
                let is_ours = list.is_some_and(|list| list.cluster == wanted.cluster);
                if self.destroyed.is_empty() && is_ours {
                    let to = directory.path().join(&file.name);
                    place.fetch(&file.name, &to).await?;
                    lists.push(to);
                }
            }
            Ok::<Vec<String>, BackupError>(stored.into_iter().map(|file| file.name).collect())
        });
        let beside = beside.map_err(failed)?;
        Ok(Files { backup, beside, lists, _fetched: Some(directory) })
    }

    /// Refuses to go on when what was destroyed since is not known, unless that was asked for.
    fn demand_lists(&self, lists: &[VerifiedList], since: &Since) -> Result<(), Failure> {
        let problem = match since.missing {
            Some(first) => format!("destructions from the {first}th on are in none of the lists"),
            None if lists.is_empty() => "there is no list of destructions beside the backup".into(),
            None => return Ok(()),
        };
        if self.destroyed_may_return {
            output::note(format_args!("{problem}: what was destroyed may open again"));
            return Ok(());
        }
        let sentence = format_args!(
            "{problem}: give them with --destroyed, or --destroyed-may-return to go on without"
        );
        Err(Failure::usage(sentence))
    }
}

fn newest_of(names: &[String], cluster: &str) -> Option<BackupName> {
    let backups = names.iter().filter_map(|name| BackupName::parse(name));
    backups.filter(|name| name.cluster == cluster).max_by_key(|name| name.index)
}

fn names_in(directory: &Path) -> Result<Vec<String>, Failure> {
    let read = || -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    };
    read().map_err(|error| {
        Failure::usage(format_args!("cannot look into {}: {error}", directory.display()))
    })
}

fn lists_in(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let names = names_in(directory)?.into_iter();
    let lists = names.filter(|name| DestroyedName::parse(name).is_some());
    Ok(lists.map(|name| directory.join(name)).collect())
}

/// The lists of this cluster: those of another one may lie beside them.
fn read_lists(paths: &[PathBuf], cluster: &str) -> Result<Vec<VerifiedList>, Failure> {
    let mut lists = Vec::new();
    for path in paths {
        let content = std::fs::read(path).map_err(|error| {
            Failure::usage(format_args!("cannot read {}: {error}", path.display()))
        })?;
        let read = VerifiedList::read(&content).map_err(|error| refused(path, &error))?;
        if read.list.cluster_id == cluster {
            lists.push(read);
        }
    }
    Ok(lists)
}
