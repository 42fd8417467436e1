//! Lists of what was destroyed, signed by the cluster: for restores of backups that are older.
//!
//! A list goes from one erasure of the state to another, by their numbers. Those of a cluster join,
//! so all that were written since a backup name all that was destroyed since. JSON, so that an
//! operator can read it; what is signed is the text of the list as it stands in the file.

use lockbox_core::{ClusterId, LogTime, Mutant, SecretId, VersionId, mutant};
use lockbox_platform::statement::{SIGNER_BYTES, StatementSigner, is_signed};
use lockbox_platform::status::ApiError;
use lockbox_raft::domain::erasure::Destroyed;
use lockbox_raft::state::tables::DestroyedSince;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::BackupError;
use super::make::signer_of;
use super::names::DestroyedName;
use super::signer::OF_DESTROYED;
use crate::app::App;
use crate::errors::unread;

/// The format that this build writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// One thing that was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    secret_id: String,
    /// Absent when the whole secret was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
    at_ms: u64,
}

/// What a cluster has destroyed between two points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyedList {
    format: u32,
    /// The cluster.
    pub cluster_id: String,
    /// The number of the last erasure before it.
    pub after: u64,
    /// The number of its last one.
    pub upto: u64,
    /// Log time of that one, in milliseconds since the Unix epoch.
    pub until_ms: u64,
    destroyed: Vec<Entry>,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    list: String,
    signer: String,
    signature: String,
}

/// A list, and the half of the key that verifies its signature, which it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedList {
    /// The list.
    pub list: DestroyedList,
    /// Who has signed it.
    pub signer: [u8; SIGNER_BYTES],
}

impl DestroyedList {
    /// What came after so many erasures.
    #[must_use]
    pub fn new(cluster: &ClusterId, after: u64, since: DestroyedSince) -> Self {
        let entry = |destroyed: Destroyed| Entry {
            secret_id: destroyed.secret_id.into(),
            version_id: destroyed.version_id.map(Into::into),
            at_ms: destroyed.at.as_ms(),
        };
        Self {
            format: FORMAT,
            cluster_id: cluster.to_string(),
            after,
            upto: since.point.count,
            until_ms: since.point.at.as_ms(),
            destroyed: since.destroyed.into_iter().map(entry).collect(),
        }
    }

    /// Its name among the backups.
    #[must_use]
    pub fn name(&self) -> DestroyedName {
        DestroyedName {
            cluster: self.cluster_id.clone(),
            at: LogTime::from_ms(self.until_ms),
            first: self.after.saturating_add(1),
            last: self.upto,
        }
    }

    /// What it names.
    ///
    /// # Errors
    /// [`BackupError::Content`] when an id is none.
    pub fn destroyed(&self) -> Result<Vec<Destroyed>, BackupError> {
        let not_an_id = |_error| BackupError::Content("a list names what is no id");
        let entries = self.destroyed.iter().map(|entry| {
            let version_id = entry.version_id.as_deref().map(VersionId::parse).transpose();
            Ok(Destroyed {
                secret_id: SecretId::parse(&entry.secret_id).map_err(not_an_id)?,
                version_id: version_id.map_err(not_an_id)?,
                at: LogTime::from_ms(entry.at_ms),
            })
        });
        entries.collect()
    }

    /// The content of its file.
    ///
    /// # Errors
    /// [`BackupError::Content`] when it cannot be written down.
    pub fn sign(&self, signer: &StatementSigner) -> Result<Vec<u8>, BackupError> {
        let unwritten = |_error| BackupError::Content("a list cannot be written down");
        let list = serde_json::to_string(self).map_err(unwritten)?;
        let signature = hex::encode(signer.sign(OF_DESTROYED, list.as_bytes()));
        let signed = Signed { signer: hex::encode(signer.public_key()), signature, list };
        serde_json::to_vec_pretty(&signed).map_err(unwritten)
    }
}

impl VerifiedList {
    /// Reads the content of a file; its signature fits the key that it names.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn read(content: &[u8]) -> Result<Self, BackupError> {
        let unreadable = |_error| BackupError::Content("it is no signed list of destructions");
        let Signed { list, signer, signature } =
            serde_json::from_slice(content).map_err(unreadable)?;
        let mut key = [0; SIGNER_BYTES];
        let no_key = |_error| BackupError::Signature("it names no key");
        hex::decode_to_slice(&signer, &mut key).map_err(no_key)?;
        let signature = hex::decode(&signature).map_err(no_key)?;
        if !is_signed(&key, OF_DESTROYED, list.as_bytes(), &signature) {
            return Err(BackupError::Signature("it does not fit the list"));
        }
        let AnyFormat { format } = serde_json::from_str(&list).map_err(unreadable)?;
        if format != FORMAT {
            let (what, found, newest) = ("list of destructions", format, FORMAT);
            return Err(BackupError::Format { what, found, newest });
        }
        let list = serde_json::from_str(&list).map_err(unreadable)?;
        Ok(Self { list, signer: key })
    }
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

/// The list of what was destroyed after so many erasures, and its file.
///
/// # Errors
/// [`ApiError`].
pub async fn make_list(
    app: &App,
    after: u64,
    deadline: Instant,
) -> Result<(DestroyedList, Vec<u8>), ApiError> {
    let signer = signer_of(app)?;
    let since = app.replica.destroyed_since(after, deadline).await.map_err(unread)?;
    let cluster = ClusterId::parse(&app.replica.status().cluster_id)
        .map_err(|_none| ApiError::unavailable("the cluster is not initialised"))?;
    let mut list = DestroyedList::new(&cluster, after, since);
    if mutant(Mutant::DestroyedUnlisted) {
        list.destroyed.clear();
    }
    let file = list.sign(&signer).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok((list, file))
}

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;
    use lockbox_platform::token::generate_seed;
    use lockbox_raft::domain::erasure::ErasurePoint;

    use super::*;

    fn list() -> DestroyedList {
        let point = ErasurePoint { count: 9, index: 70, at: LogTime::from_ms(5_000) };
        let secret_id = SecretId::parse("e6qsecret").unwrap();
        let version_id = VersionId::parse("e6qversion").ok();
        let at = LogTime::from_ms(4_000);
        let destroyed = vec![
            Destroyed { secret_id: secret_id.clone(), version_id: None, at },
            Destroyed { secret_id, version_id, at },
        ];
        let cluster = ClusterId::parse("lbc1").unwrap();
        DestroyedList::new(&cluster, 7, DestroyedSince { point, destroyed })
    }

    #[test]
    fn a_list_comes_back_with_who_has_signed_it() {
        let signer = StatementSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
        let file = list().sign(&signer).unwrap();
        let read = VerifiedList::read(&file).unwrap();
        assert_eq!((&read.list, read.signer), (&list(), signer.public_key()));
        assert_eq!(read.list.destroyed().unwrap().len(), 2);
        let name = list().name();
        assert_eq!((name.first, name.last, name.at), (8, 9, LogTime::from_ms(5_000)));
    }

    #[test]
    fn security_s24_an_altered_list_is_refused() {
        let signer = StatementSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
        let file = String::from_utf8(list().sign(&signer).unwrap()).unwrap();
        for (from, to) in [("e6qversion", "e6qanother"), ("5000", "5001"), ("lbc1", "lbc2")] {
            let altered = file.replacen(from, to, 1);
            assert_ne!(altered, file);
            let error = VerifiedList::read(altered.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("signature"), "{error}");
        }
        let cut = VerifiedList::read(&file.as_bytes()[..file.len() - 3]).unwrap_err().to_string();
        assert!(cut.contains("no signed list"), "{cut}");
        let newer = DestroyedList { format: 2, ..list() }.sign(&signer).unwrap();
        let error = VerifiedList::read(&newer).unwrap_err().to_string();
        assert!(error.contains("has format 2"), "{error}");
    }
}
