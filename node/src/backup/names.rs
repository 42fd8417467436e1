//! What backups and lists of destructions are called, and which of them are kept.
//!
//! ```text
//! <cluster>-<log time>-<last entry>.backup
//! <cluster>-<log time>-<first erasure>-<last erasure>.destroyed
//! ```
//!
//! Names of one cluster sort as time does, so the place of the backups needs no index: whoever
//! leads reads there what there is.

use std::time::Duration;

use lockbox_core::{ClusterId, LogTime};

/// The ending of a backup.
pub const BACKUP: &str = "backup";
/// The ending of a list of destructions.
pub const DESTROYED: &str = "destroyed";
/// How a log time stands in a name: in UTC, to the second.
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The name of a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupName {
    /// The cluster.
    pub cluster: String,
    /// Its log time, to the second.
    pub at: LogTime,
    /// The last entry in it.
    pub index: u64,
}

/// The name of a list of destructions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DestroyedName {
    /// The cluster.
    pub cluster: String,
    /// The log time up to which it goes, to the second.
    pub at: LogTime,
    /// The number of its first erasure.
    pub first: u64,
    /// The number of its last one.
    pub last: u64,
}

impl BackupName {
    /// The name of a backup of this point.
    #[must_use]
    pub fn new(cluster: &ClusterId, at: LogTime, index: u64) -> Self {
        Self { cluster: cluster.to_string(), at, index }
    }

    /// The name as a file has it.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}-{:016}.{BACKUP}", self.cluster, stamp(self.at), self.index)
    }

    /// Reads a name; nothing when it is another file's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(BACKUP)?.strip_suffix('.')?;
        let (rest, index) = stem.rsplit_once('-')?;
        let (cluster, at) = rest.rsplit_once('-')?;
        Some(Self { cluster: named(cluster)?, at: unstamp(at)?, index: index.parse().ok()? })
    }
}

impl DestroyedName {
    /// The name as a file has it.
    #[must_use]
    pub fn file_name(&self) -> String {
        let Self { cluster, at, first, last } = self;
        format!("{cluster}-{}-{first:012}-{last:012}.{DESTROYED}", stamp(*at))
    }

    /// Reads a name; nothing when it is another file's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(DESTROYED)?.strip_suffix('.')?;
        let (rest, last) = stem.rsplit_once('-')?;
        let (rest, first) = rest.rsplit_once('-')?;
        let (cluster, at) = rest.rsplit_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        Some(Self { cluster: named(cluster)?, at: unstamp(at)?, first, last })
    }
}

fn named(cluster: &str) -> Option<String> {
    (!cluster.is_empty()).then(|| cluster.to_owned())
}

fn timestamp(at: LogTime) -> jiff::Timestamp {
    let ms = i64::try_from(at.as_ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
}

fn stamp(at: LogTime) -> String {
    timestamp(at).strftime(TIME_FORMAT).to_string()
}

fn unstamp(text: &str) -> Option<LogTime> {
    let time = jiff::civil::DateTime::strptime(TIME_FORMAT, text).ok()?;
    let ms = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    u64::try_from(ms).ok().map(LogTime::from_ms)
}

/// A point in time as people read it, to the millisecond, in UTC.
#[must_use]
pub fn readable(at: LogTime) -> String {
    timestamp(at).to_string()
}

/// How long backups are kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// The newest, whatever their age.
    pub newest: usize,
    /// The others so long.
    pub others: Duration,
}

/// Which files of a cluster are kept no longer: backups that are neither among the newest nor young,
/// and lists that are older than every backup that stays, for what they name is in none of these; but
/// for the last list.
#[must_use]
pub fn outdated(files: &[String], cluster: &str, now: LogTime, keeping: Keeping) -> Vec<String> {
    let mut backups: Vec<BackupName> =
        files.iter().filter_map(|name| BackupName::parse(name)).collect();
    backups.retain(|backup| backup.cluster == cluster);
    backups.sort_unstable();
    backups.reverse();
    let (mut names, mut oldest) = (Vec::new(), None);
    for (place, backup) in backups.iter().enumerate() {
        if place >= keeping.newest && now.since(backup.at) > keeping.others {
            names.push(backup.file_name());
        } else {
            // They come by age: the last one that stays is the oldest.
            oldest = Some(backup.at);
        }
    }
    let mut lists: Vec<DestroyedName> =
        files.iter().filter_map(|name| DestroyedName::parse(name)).collect();
    lists.retain(|list| list.cluster == cluster);
    // The last one says how far the lists are, and so where the next one begins.
    let last = lists.iter().map(|list| list.last).max();
    let is_old = |list: &DestroyedName| oldest.is_some_and(|oldest| list.at < oldest);
    lists.retain(|list| Some(list.last) != last && is_old(list));
    names.extend(lists.iter().map(DestroyedName::file_name));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    /// 2026-11-30T18:00:00Z.
    const NOW: LogTime = LogTime::from_ms(1_796_061_600_000);

    fn days_ago(days: u64) -> LogTime {
        LogTime::from_ms(NOW.as_ms() - days * 24 * 3_600_000)
    }

    fn backup(days: u64) -> String {
        BackupName { cluster: "lbc-1".into(), at: days_ago(days), index: 100 - days }.file_name()
    }

    fn list(days: u64) -> String {
        let (cluster, at) = ("lbc-1".to_owned(), days_ago(days));
        DestroyedName { cluster, at, first: 1, last: 109 - days }.file_name()
    }

    #[test]
    fn names_come_back_and_sort_as_time_does() {
        let name = backup(0);
        assert_eq!(name, "lbc-1-20261130T180000Z-0000000000000100.backup");
        let read = BackupName::parse(&name).unwrap();
        assert_eq!((read.at, read.index, read.file_name()), (NOW, 100, name));
        let name = list(0);
        assert_eq!(name, "lbc-1-20261130T180000Z-000000000001-000000000109.destroyed");
        assert_eq!(DestroyedName::parse(&name).unwrap().file_name(), name);
        assert!(backup(2) < backup(1));
        for other in ["", "backup", ".backup", "a-b-c.backup", "a-20261130T180000Z-x.backup", "x"] {
            assert_eq!(BackupName::parse(other), None, "{other}");
            assert_eq!(DestroyedName::parse(other), None, "{other}");
        }
        assert_eq!(readable(NOW), "2026-11-30T18:00:00Z");
    }

    #[test]
    fn the_newest_and_the_young_are_kept_with_the_lists_that_they_need() {
        let other = BackupName { cluster: "lbc-2".into(), at: days_ago(90), index: 1 }.file_name();
        let files = [40, 35, 20, 10, 1].map(backup).into_iter().chain([37, 34, 5].map(list));
        let files: Vec<String> = files.chain([other, "notes.txt".to_owned()]).collect();
        let keeping = |newest, days| Keeping { newest, others: DAY * days };
        let mut gone = outdated(&files, "lbc-1", NOW, keeping(2, 30));
        gone.sort();
        let mut expected = [backup(40), backup(35), list(37), list(34)];
        expected.sort();
        assert_eq!(gone, expected);
        assert!(outdated(&files, "lbc-1", NOW, keeping(5, 0)).is_empty());
        assert_eq!(outdated(&files, "lbc-1", NOW, keeping(4, 0)), [backup(40), list(37)]);
        assert!(outdated(&[list(40)], "lbc-1", NOW, keeping(1, 0)).is_empty(), "no backup at all");
        let last = [backup(1), list(40)];
        assert!(outdated(&last, "lbc-1", NOW, keeping(1, 0)).is_empty(), "the last list stays");
    }
}
