//! The first administrator's key, at the beginning and when it was lost: made here, kept here, on
//! disk before the cluster knows of it.
//!
//! Promises: the private half is in `FILE.pending` (mode 0600) and synced before anyone is told
//! the public half, so no crash and no lost answer leaves a cluster that nobody can log in to.
//! A pending key of an earlier try is used again, and the server answers it as the first time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lockbox_platform::authorized_key::{
    AuthorizedKeyError, AuthorizedKeyFile, KeyAlgorithm, generate_key_pair,
};

use crate::cli::failure::{Exit, Failure};

/// A key whose account is not known yet, and its file.
pub(crate) struct PendingKey {
    key: AuthorizedKeyFile,
    pending: PathBuf,
    path: PathBuf,
}

impl PendingKey {
    /// Takes the pending key that will become `path`, or makes it.
    pub(crate) fn prepare(path: &Path) -> Result<Self, Failure> {
        let exists = path.try_exists().map_err(|error| cannot("look for", path, &error))?;
        if exists {
            return Err(Failure::usage(format_args!(
                "{} exists: the administrator's key is not written over it",
                path.display()
            )));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".pending");
        let pending = PathBuf::from(name);
        let left = pending.try_exists().map_err(|error| cannot("look for", &pending, &error))?;
        let key = if left {
            AuthorizedKeyFile::read(&pending).map_err(Failure::usage)?
        } else {
            let key = generate()?;
            key.write(&pending).map_err(Failure::usage)?;
            sync_directory(&pending)?;
            key
        };
        Ok(Self { key, pending, path: path.to_owned() })
    }

    /// The public half, in PEM.
    pub(crate) fn public_key(&self) -> &str {
        &self.key.public_key
    }

    /// Writes the key with what the cluster has made of it, and removes the pending one.
    pub(crate) fn complete(
        mut self,
        id: &str,
        service_account_id: &str,
        created_at: String,
    ) -> Result<(), Failure> {
        id.clone_into(&mut self.key.id);
        service_account_id.clone_into(&mut self.key.service_account_id);
        self.key.created_at = created_at;
        self.key.write(&self.path).map_err(Failure::usage)?;
        // ORDER: the new name is on disk before the old one is given up.
        sync_directory(&self.path)?;
        std::fs::remove_file(&self.pending).map_err(|error| cannot("remove", &self.pending, &error))
    }
}

fn generate() -> Result<AuthorizedKeyFile, Failure> {
    let pair = generate_key_pair(KeyAlgorithm::Rsa2048)
        .map_err(|error: AuthorizedKeyError| Failure::new(Exit::Internal, error))?;
    Ok(AuthorizedKeyFile {
        id: String::new(),
        service_account_id: String::new(),
        created_at: String::new(),
        key_algorithm: KeyAlgorithm::Rsa2048,
        public_key: pair.public_key_pem,
        private_key: pair.private_key_pem,
    })
}

/// A rename is durable once its directory is.
fn sync_directory(path: &Path) -> Result<(), Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| cannot("sync", directory, &error))
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format_args!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_key_is_on_disk_before_it_is_used_and_survives_a_lost_answer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.json");
        let pending = directory.path().join("admin.json.pending");

        let first = PendingKey::prepare(&path).unwrap().public_key().to_owned();
        assert_eq!(mode(&pending), 0o600);
        assert!(!path.exists());

        let again = PendingKey::prepare(&path).unwrap();
        assert_eq!(again.public_key(), first, "the first try's key is used again");
        again.complete("ajk1", "aje1", "2026-11-24T08:00:00Z".to_owned()).unwrap();
        assert!(!pending.exists());
        assert_eq!(mode(&path), 0o600);
        let key = AuthorizedKeyFile::read(&path).unwrap();
        assert_eq!((key.id.as_str(), key.service_account_id.as_str()), ("ajk1", "aje1"));
        assert_eq!(key.public_key, first);
    }

    #[test]
    fn a_key_is_not_written_over_and_a_damaged_one_is_said_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.json");
        std::fs::write(&path, "kept").unwrap();
        let refusal = PendingKey::prepare(&path).map(|_| ()).unwrap_err();
        assert!(refusal.to_string().contains("admin.json exists"), "{refusal}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");

        let other = directory.path().join("other.json");
        std::fs::write(directory.path().join("other.json.pending"), "{}").unwrap();
        assert_eq!(PendingKey::prepare(&other).map(|_| ()).unwrap_err().exit(), Exit::Usage);
        let nowhere = directory.path().join("absent").join("key.json");
        assert_eq!(PendingKey::prepare(&nowhere).map(|_| ()).unwrap_err().exit(), Exit::Usage);
    }
}
