//! Reads the committed log of every node while the run lasts, before the nodes purge it.
//!
//! Snapshots are taken and logs purged every hundred entries or so: a dump after the run would
//! hold the end of the log alone. What is read goes into one file for each unbroken stretch, as
//! the checker reads them ([`crate::history::log_dump`]).

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use lockbox_proto::lockbox::cluster::v1 as wire;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::site::Site;
use crate::client::operator::OperatorClient;
use crate::history::jsonl::write_line;
use crate::history::log_dump::{EntryKind, EntryOutcome, LogEntry, LogRange};

/// Between two looks at a node's log.
const EVERY: Duration = Duration::from_millis(200);
/// How long a node may take for a piece of its log; a thousand entries are more than a look.
const PIECE_PATIENCE: Duration = Duration::from_secs(5);
/// Entries of one file at most: they are in memory until it is written.
const STRETCH_ENTRIES_MAX: usize = 20_000;

/// Follows for as long as it lives.
pub struct LogFollower {
    tasks: JoinSet<Result<()>>,
    stop: CancellationToken,
}

impl LogFollower {
    /// Begins to follow all nodes of the site, and writes into this directory.
    ///
    /// # Errors
    /// When the directory or a client cannot be made.
    pub fn start(site: &Site, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for node in &site.nodes {
            let client = site.operator_client(node)?.patient(PIECE_PATIENCE);
            let reader = Reader {
                client,
                directory: directory.to_owned(),
                folder: site.folder.clone(),
                next: 1,
                stretch: Vec::new(),
            };
            tasks.spawn(reader.follow(stop.clone()));
        }
        Ok(Self { tasks, stop })
    }

    /// Reads what there is and stops.
    ///
    /// # Errors
    /// When something could not be written.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a reader of a log has panicked")??;
        }
        Ok(())
    }
}

struct Reader {
    client: OperatorClient,
    directory: PathBuf,
    /// The run's own, which no line names.
    folder: String,
    next: u64,
    /// Entries that follow each other without a gap.
    stretch: Vec<LogEntry>,
}

impl Reader {
    async fn follow(mut self, stop: CancellationToken) -> Result<()> {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.read_all().await?,
            }
        }
        self.read_all().await?;
        self.write()
    }

    /// Reads until there is nothing new, or the node does not answer.
    async fn read_all(&mut self) -> Result<()> {
        while let Some(piece) = self.client.read_log(self.next).await {
            let more = piece.next_index > 0;
            for entry in piece.entries {
                if entry.index != self.next || self.stretch.len() >= STRETCH_ENTRIES_MAX {
                    self.write()?;
                }
                self.next = entry.index + 1;
                self.stretch.push(line(&entry, &self.folder));
            }
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Writes the stretch and begins another one.
    fn write(&mut self) -> Result<()> {
        let (Some(first), Some(last)) = (self.stretch.first(), self.stretch.last()) else {
            return Ok(());
        };
        let range = LogRange { node: self.client.node(), first: first.index, last: last.index };
        let name = format!("node-{}-from-{}.jsonl", range.node, range.first);
        let path = self.directory.join(name);
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        let mut file = BufWriter::new(file);
        write_line(&mut file, &range)?;
        for entry in &self.stretch {
            write_line(&mut file, entry)?;
        }
        file.flush().with_context(|| path.display().to_string())?;
        self.stretch.clear();
        Ok(())
    }
}

/// The checker's line of an entry, in a run of this folder.
fn line(entry: &wire::LoggedEntry, folder: &str) -> LogEntry {
    let kind = kind(&entry.kind, &entry.detail);
    let named = |id: &str| (!id.is_empty()).then(|| id.to_owned());
    let elsewhere = kind == EntryKind::CreateSecret && entry.detail != folder;
    LogEntry {
        index: entry.index,
        term: entry.term,
        kind,
        secret: named(&entry.secret_id).map(|id| id.as_str().into()),
        folder: named(&entry.detail).filter(|_| elsewhere).map(|id| id.as_str().into()),
        version: named(&entry.version_id).map(|id| id.as_str().into()),
        description: None,
        key: named(&entry.idempotency_key).map(|key| key.as_str().into()),
        outcome: match entry.effect.as_str() {
            "applied" => EntryOutcome::Done,
            "repeated" => EntryOutcome::Repeated,
            "refused" => EntryOutcome::Refused,
            // What makes no operation cannot be refused.
            "" => EntryOutcome::Done,
            _ => EntryOutcome::Unknown,
        },
        log_time_ns: i64::try_from(entry.log_time_ms)
            .ok()
            .filter(|ms| *ms > 0)
            .and_then(|ms| ms.checked_mul(1_000_000)),
    }
}

fn kind(name: &str, detail: &str) -> EntryKind {
    match (name, detail) {
        ("create_secret", _) => EntryKind::CreateSecret,
        ("add_version", _) => EntryKind::AddVersion,
        ("set_current_version", _) => EntryKind::SetCurrentVersion,
        ("schedule_version_destruction", _) => EntryKind::ScheduleDestruction,
        ("cancel_version_destruction", _) => EntryKind::CancelDestruction,
        ("destroy_version", _) => EntryKind::DestroyVersion,
        ("set_secret_status", "active") => EntryKind::Activate,
        ("set_secret_status", "inactive") => EntryKind::Deactivate,
        ("update_secret", _) => EntryKind::UpdateSecret,
        ("delete_secret", _) => EntryKind::DeleteSecret,
        ("set_access_bindings" | "update_access_bindings", _) => EntryKind::ChangeBinding,
        ("revoke_token", _) => EntryKind::RevokeToken,
        ("membership", _) => EntryKind::Membership,
        ("blank", _) => EntryKind::Blank,
        _ => EntryKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_becomes_the_checkers_line() {
        let entry = wire::LoggedEntry {
            index: 7,
            term: 2,
            kind: "set_secret_status".to_owned(),
            detail: "inactive".to_owned(),
            secret_id: "secret-1".to_owned(),
            effect: "refused".to_owned(),
            idempotency_key: "key-1".to_owned(),
            log_time_ms: 3,
            ..Default::default()
        };
        let line = line(&entry, "folder-1");
        assert_eq!((line.index, line.term, line.kind), (7, 2, EntryKind::Deactivate));
        assert_eq!((line.secret, line.version), (Some("secret-1".into()), None));
        assert_eq!(line.key, Some("key-1".into()));
        assert_eq!((line.outcome, line.log_time_ns), (EntryOutcome::Refused, Some(3_000_000)));
    }

    #[test]
    fn the_folder_of_a_new_secret_is_told_where_it_is_not_the_runs() {
        let folder = |detail: &str| {
            let (kind, detail) = ("create_secret".to_owned(), detail.to_owned());
            let entry = wire::LoggedEntry { kind, detail, ..Default::default() };
            line(&entry, "folder-1").folder
        };
        assert_eq!(folder("folder-1"), None);
        assert_eq!(folder("folder-2"), Some("folder-2".into()));
    }
}
