//! Backups of a cluster, and another cluster out of one: `lockbox admin backup` and `restore`, as
//! programs.
//!
//! The other cluster is one node, under an id that no member ever has ([`Cluster::restored_node`]),
//! with a disk and an address of its own. It is meant for when the nodes of this one have stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::Cluster;
use super::part::Part;
use super::program::finish;

/// How long a node may take for a backup: a fault may be on.
const MAKING: &str = "60s";

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBackup {
    /// Its file. What was destroyed later is listed beside it, once somebody has asked.
    pub file: PathBuf,
    /// The last entry in it.
    pub index: u64,
    /// How many destructions there were before.
    destroyed: u64,
    /// The key that has signed it.
    signer: String,
}

/// The backups of a run, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Backups(Mutex<Vec<MadeBackup>>);

impl Backups {
    fn lock(&self) -> MutexGuard<'_, Vec<MadeBackup>> {
        // A list that grows at its end is whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `admin backup` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Made {
    #[serde(deserialize_with = "number")]
    index: u64,
    // Left out when there were none.
    #[serde(default, deserialize_with = "number")]
    destroyed: u64,
    signer: String,
}

/// What `admin restore` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Restored {
    backup_index: u64,
}

/// Protobuf's JSON writes large numbers as texts.
fn number<'de, D: serde::Deserializer<'de>>(source: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(source)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.ok_or_else(|| serde::de::Error::custom("is no number"))
}

/// Whether a `lockbox` makes backups.
#[must_use]
pub fn makes_backups(lockbox: &Path) -> bool {
    let mut command = Command::new(lockbox);
    command.args(["admin", "backup", "--help"]).env_clear();
    finish(command, "").is_ok()
}

impl Cluster {
    /// The node of clusters that are restored from backups of this one. Never a member.
    #[must_use]
    pub const fn restored_node(&self) -> u16 {
        self.spec.nodes + self.spec.spares + 1
    }

    /// The backups that were kept, in the order in which they were made.
    #[must_use]
    pub fn backups(&self) -> Vec<MadeBackup> {
        self.backups.lock().clone()
    }

    /// Keeps a backup for the end of the run.
    pub(crate) fn keep_backup(&self, made: MadeBackup) {
        self.backups.lock().push(made);
    }

    /// Has a node make a backup, and fetches it.
    ///
    /// # Errors
    /// What the command complains.
    pub fn back_up(&self, node: u16) -> Result<MadeBackup> {
        let recipient = self.recipient()?;
        let mut places = (1_u32..).map(|number| self.backup_place().join(number.to_string()));
        let place = places.find(|place| !place.exists()).context("there is no place for it")?;
        fs::create_dir(&place).with_context(|| place.display().to_string())?;
        let file = place.join("cluster.backup");
        let to = file.to_string_lossy();
        let arguments = ["backup", "--to", &to, "--recipient", &recipient, "--format", "json"];
        let text = self.admin.run(node, "admin", &arguments.map(str::to_owned), MAKING, "0")?;
        let made: Made = serde_json::from_str(&text).context("what a backup says of itself")?;
        let Made { index, destroyed, signer } = made;
        Ok(MadeBackup { file, index, destroyed, signer })
    }

    /// Reads a backup to its end, opens it, and looks at its signature; asks nobody.
    ///
    /// # Errors
    /// When it is not to be restored.
    pub fn verify_backup(&self, made: &MadeBackup) -> Result<()> {
        let mut command = self.offline(&["backup", "verify"]);
        command.arg(&made.file).arg("--recipient-key").arg(self.recipient_key());
        command.args(["--signer", &made.signer]);
        finish(command, "").map(drop)
    }

    /// Has a node list what was destroyed after a backup, beside it.
    ///
    /// # Errors
    /// What the command complains.
    pub fn list_destroyed(&self, node: u16, made: &MadeBackup) -> Result<()> {
        let place = made.file.parent().context("a backup is in a directory")?;
        let (place, after) = (place.to_string_lossy(), made.destroyed.to_string());
        let arguments = ["backup", "destroyed", "--after", &after, "--to", &place];
        let arguments = arguments.map(str::to_owned);
        self.admin.run(node, "admin", &arguments, MAKING, "3").map(drop)
    }

    /// Makes a cluster of one node out of a backup and of what was destroyed since, and starts it.
    /// The KMS is asked whether it was this cluster that has signed.
    ///
    /// # Errors
    /// What the command complains, or when the node does not start.
    pub fn restore(&self, made: &MadeBackup) -> Result<()> {
        let part = Part::Node(self.restored_node());
        let mut command = self.offline(&["restore", "--format", "json"]);
        command.arg(&made.file).arg("--config").arg(self.files.config(part));
        command.arg("--recipient-key").arg(self.recipient_key());
        let text = finish(command, "")?;
        let restored: Restored = serde_json::from_str(&text).context("what was restored")?;
        let (was, is) = (made.index, restored.backup_index);
        ensure!(was == is, "a backup of the state at index {was} is restored as of {is}");
        self.launch(part)
    }

    /// Stops the restored cluster, and empties its disk.
    ///
    /// # Errors
    /// When it does not stop, or a file cannot be removed.
    pub fn discard_restored(&self) -> Result<()> {
        let part = Part::Node(self.restored_node());
        self.server(part)?.stop()?;
        let data = self.files.data(part);
        fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
        fs::create_dir(&data).with_context(|| data.display().to_string())?;
        self.forget_durable(part)
    }

    fn backup_place(&self) -> PathBuf {
        self.files.directory().join("backups")
    }

    fn recipient_key(&self) -> PathBuf {
        self.backup_place().join("recipient.key")
    }

    /// Whom the backups are sealed for; made with its key when it is asked for first.
    fn recipient(&self) -> Result<String> {
        let known = self.backup_place().join("recipient");
        if !known.exists() {
            fs::create_dir_all(self.backup_place())?;
            let mut command = self.offline(&["backup", "keygen", "--to"]);
            command.arg(self.recipient_key());
            fs::write(&known, finish(command, "")?.trim())?;
        }
        fs::read_to_string(&known).with_context(|| known.display().to_string())
    }

    /// A command of `lockbox admin` that asks no node.
    fn offline(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.spec.programs.lockbox);
        command.arg("admin").args(arguments).env_clear();
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backup_says_is_read_as_protobuf_writes_it() {
        let text = r#"{"backup_id": "00", "index": "812", "destroyed": 3, "signer": "ab"}"#;
        let made: Made = serde_json::from_str(text).unwrap();
        assert_eq!((made.index, made.destroyed, made.signer.as_str()), (812, 3, "ab"));
        let made: Made = serde_json::from_str(r#"{"index": 9, "signer": "ab"}"#).unwrap();
        assert_eq!((made.index, made.destroyed), (9, 0));
        assert!(serde_json::from_str::<Made>(r#"{"index": "many", "signer": ""}"#).is_err());
    }
}
