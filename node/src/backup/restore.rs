//! Makes the first node of another cluster out of a backup.
//!
//! Nothing is written before the backup was read to its end ([`super::verify`]). What was destroyed
//! since is destroyed again, as far as the lists go, before any node can open it.

use std::path::Path;
use std::sync::Arc;

use lockbox_core::{ClusterId, LogTime, Randomness};
use lockbox_platform::sealed_file::FileKey;
use lockbox_raft::domain::erasure::Destroyed;
use lockbox_raft::store::{Founded, Founder, Restoring, RocksEngines};

use super::BackupError;
use super::content::{BackupHead, Item};
use super::destroyed_list::VerifiedList;
use super::verify::{Verified, open};
use crate::config::Config;

/// What is known to be destroyed since a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// What it is.
    pub destroyed: Vec<Destroyed>,
    /// The last erasure that is known.
    pub upto: u64,
    /// Log time of that one: what was destroyed later is not known. That of the backup when there
    /// is none.
    pub until: LogTime,
    /// The first erasure that no list names, when others do that come after it.
    pub missing: Option<u64>,
}

/// Joins the lists of a cluster behind its backup.
///
/// # Errors
/// [`BackupError::Signature`] when one is of another cluster, or signed by somebody else.
pub fn since(verified: &Verified, lists: &[VerifiedList]) -> Result<Since, BackupError> {
    let BackupHead { cluster_id, erasures, log_time, .. } = &verified.head;
    let mut lists: Vec<&VerifiedList> = lists.iter().collect();
    lists.sort_by_key(|verified| (verified.list.after, verified.list.upto));
    let (mut destroyed, mut missing) = (Vec::new(), None);
    let (mut upto, mut until) = (*erasures, *log_time);
    for VerifiedList { list, signer } in lists {
        if list.cluster_id != cluster_id.as_str() {
            return Err(BackupError::Signature("a list of destructions is of another cluster"));
        }
        if *signer != verified.end.signer {
            return Err(BackupError::Signature("another key has signed a list of destructions"));
        }
        if list.upto <= upto {
            continue;
        }
        if list.after > upto {
            missing = missing.or(Some(upto + 1));
        }
        destroyed.extend(list.destroyed()?);
        upto = list.upto;
        until = until.max(LogTime::from_ms(list.until_ms));
    }
    destroyed.sort_unstable();
    destroyed.dedup();
    Ok(Since { destroyed, upto, until, missing })
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The new cluster.
    pub cluster_id: ClusterId,
    /// Where its log begins.
    pub founded: Founded,
    /// Of what was destroyed since, so much was in the backup.
    pub destroyed_again: usize,
}

/// Restores a backup that was verified into the data directory of a configuration. Blocks.
///
/// # Errors
/// [`BackupError`]; no node opens the directory then.
pub fn restore(
    (path, key): (&Path, &FileKey),
    verified: &Verified,
    since: &Since,
    config: &Config,
    random: &dyn Randomness,
) -> Result<Restored, BackupError> {
    let restoring = Restoring::begin(&config.data_dir, Arc::new(RocksEngines::new()))?;
    let mut content = open(path, key)?;
    let mut end = None;
    while let Some(item) = content.next_item()? {
        match item {
            Item::Head(head) if *head == verified.head => {}
            Item::Head(_) => return Err(BackupError::Content("it was replaced meanwhile")),
            Item::Rows(space, rows) => restoring.put(space, rows)?,
            Item::End(found) => end = Some(found),
        }
    }
    if end.as_ref() != Some(&verified.end) {
        return Err(BackupError::Content("it was replaced meanwhile"));
    }
    let destroyed_again = restoring.destroy_again(&since.destroyed)?;
    let cluster_id = ClusterId::generate(random);
    let mut store_id = [0; 16];
    random.fill(&mut store_id);
    let founded = restoring.finish(Founder {
        cluster_id: cluster_id.clone(),
        node_id: config.node_id,
        store_id,
        peer_address: config.peer.advertise.clone(),
        api_address: config.api.advertise.clone(),
    })?;
    Ok(Restored { cluster_id, founded, destroyed_again })
}
