//! Where a backup is written before it goes anywhere: files of this node, sealed already.
//!
//! A file is complete once its description is beside it. Nobody fetches most of them: what is an
//! hour old goes when the next one is made, and all of them with the start of the node.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockbox_core::LogTime;
use serde::{Deserialize, Serialize};

/// The directory's name, in the data directory.
const NAME: &str = "backups";
/// How long a finished file waits for who fetches it.
const KEPT: Duration = Duration::from_secs(3600);

/// What is told of a backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Thirty-two hexadecimal digits.
    pub backup_id: String,
    /// The name that it has among others.
    pub name: String,
    /// The length of the file.
    pub bytes: u64,
    /// The cluster.
    pub cluster_id: String,
    /// The node that made it.
    pub node_id: u64,
    /// The last entry in it.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Its log time, in milliseconds since the Unix epoch.
    pub log_time_ms: u64,
    /// When it was made, by the node's clock, in milliseconds since the Unix epoch.
    pub made_at_ms: u64,
    /// How many erasures there were.
    pub erasures: u64,
    /// Rows in it.
    pub rows: u64,
    /// The half of the cluster's key that verifies its signature, in hexadecimal digits.
    pub signer: String,
    /// Who can open it.
    pub sealed_for: Vec<String>,
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Spool {
    directory: PathBuf,
}

impl Spool {
    /// That of the node with its data in this directory.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self { directory: data_dir.join(NAME) }
    }

    /// The file of a backup. Ids are hexadecimal digits, and so no paths.
    #[must_use]
    pub fn file(&self, backup_id: &str) -> PathBuf {
        self.directory.join(format!("{backup_id}.backup"))
    }

    fn description(&self, backup_id: &str) -> PathBuf {
        self.directory.join(format!("{backup_id}.json"))
    }

    /// Begins a file, which nobody has begun before.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn begin(&self, backup_id: &str) -> io::Result<File> {
        fs::create_dir_all(&self.directory)?;
        let path = self.file(backup_id);
        remove(&path)?;
        File::create_new(path)
    }

    /// Says that a file is complete.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn complete(&self, description: &Description) -> io::Result<()> {
        let json = serde_json::to_vec(description).map_err(io::Error::other)?;
        fs::write(self.description(&description.backup_id), json)
    }

    /// What there is of a backup; nothing while it is not complete.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub fn find(&self, backup_id: &str) -> io::Result<Option<Description>> {
        match fs::read(self.description(backup_id)) {
            Ok(json) => Ok(serde_json::from_slice(&json).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a backup away, complete or not.
    ///
    /// # Errors
    /// When the disk does not let it go.
    pub fn drop_backup(&self, backup_id: &str) -> io::Result<()> {
        remove(&self.description(backup_id))?;
        remove(&self.file(backup_id))
    }

    /// Takes all of them away: whoever made them is gone.
    ///
    /// # Errors
    /// When the disk does not let them go.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes away what nobody has fetched in time, and what was not completed: there is one maker
    /// at a time, and it is the caller.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub fn clean(&self, now: LogTime) -> io::Result<()> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let Some(id) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let made_at = self.find(id)?.map(|found| LogTime::from_ms(found.made_at_ms));
            if made_at.is_none_or(|made_at| now.since(made_at) > KEPT) {
                self.drop_backup(id)?;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(backup_id: &str, made_at_ms: u64) -> Description {
        Description {
            backup_id: backup_id.to_owned(),
            name: "name".to_owned(),
            bytes: 4,
            cluster_id: "lbc1".to_owned(),
            node_id: 1,
            index: 2,
            term: 3,
            log_time_ms: 4,
            made_at_ms,
            erasures: 5,
            rows: 6,
            signer: "ab".to_owned(),
            sealed_for: vec!["somebody".to_owned()],
        }
    }

    #[test]
    fn what_is_not_complete_is_not_there_and_what_is_old_goes() {
        let place = tempfile::tempdir().unwrap();
        let spool = Spool::of(place.path());
        spool.clean(LogTime::from_ms(0)).unwrap();
        for id in ["old", "new", "half"] {
            drop(spool.begin(id).unwrap());
        }
        spool.complete(&description("old", 1_000)).unwrap();
        let new = description("new", 1_000 + 2 * 3_600_000);
        spool.complete(&new).unwrap();
        assert_eq!(spool.find("half").unwrap(), None);
        assert_eq!(spool.find("new").unwrap(), Some(new));
        spool.clean(LogTime::from_ms(1_001 + 3_600_000)).unwrap();
        let there = ["old", "new", "half"].map(|id| spool.file(id).exists());
        assert_eq!(there, [false, true, false]);
        assert_eq!(spool.find("old").unwrap(), None);
        spool.drop_backup("new").unwrap();
        spool.drop_backup("new").unwrap();
        assert!(!spool.file("new").exists());
        spool.clear().unwrap();
        spool.clear().unwrap();
    }
}
