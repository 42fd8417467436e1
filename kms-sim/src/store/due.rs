//! What the KMS has to do by itself, in the order of time: rows of [`Table::Due`].
//!
//! A row stands for exactly one promise that another row makes (a version's `destroy_at`, a key's
//! deletion, its rotation period) and is written and removed with it.
//!
//! [`Table::Due`]: super::tables::Table::Due

use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime};

/// Ends the key's id inside a row; no id holds it.
const SEPARATOR: u8 = 0;

/// What is to be done at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// A version that is scheduled for destruction loses its material.
    DestroyVersion(KmsKeyId, KmsKeyVersionId),
    /// A deleted key loses whatever material it still has.
    DestroyKey(KmsKeyId),
    /// A key gets a new version, for its rotation period has passed.
    Rotate(KmsKeyId),
}

impl Due {
    /// The key that it is about.
    #[must_use]
    pub const fn key_id(&self) -> &KmsKeyId {
        match self {
            Self::DestroyVersion(key_id, _) | Self::DestroyKey(key_id) | Self::Rotate(key_id) => {
                key_id
            }
        }
    }

    /// The number that is stored.
    const fn tag(&self) -> u8 {
        match self {
            Self::DestroyVersion(..) => 1,
            Self::DestroyKey(_) => 2,
            Self::Rotate(_) => 3,
        }
    }

    /// Its row: the time, so that the earliest comes first, and what to do.
    #[must_use]
    pub fn row(&self, at: LogTime) -> Vec<u8> {
        let mut bytes = at.as_ms().to_be_bytes().to_vec();
        bytes.push(self.tag());
        bytes.extend_from_slice(self.key_id().as_str().as_bytes());
        if let Self::DestroyVersion(_, version_id) = self {
            bytes.push(SEPARATOR);
            bytes.extend_from_slice(version_id.as_str().as_bytes());
        }
        bytes
    }

    /// Takes a row apart; none when it is not one of these.
    #[must_use]
    pub fn parse(row: &[u8]) -> Option<(LogTime, Self)> {
        let (at, rest) = row.split_first_chunk()?;
        let (tag, ids) = rest.split_first()?;
        let ids = std::str::from_utf8(ids).ok()?;
        let due = match (*tag, ids.split_once(char::from(SEPARATOR))) {
            (1, Some((key_id, version_id))) => Self::DestroyVersion(
                KmsKeyId::parse(key_id).ok()?,
                KmsKeyVersionId::parse(version_id).ok()?,
            ),
            (2, None) => Self::DestroyKey(KmsKeyId::parse(ids).ok()?),
            (3, None) => Self::Rotate(KmsKeyId::parse(ids).ok()?),
            _ => return None,
        };
        Some((LogTime::from_ms(u64::from_be_bytes(*at)), due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sort_by_time_and_are_read_back() {
        let key = || KmsKeyId::parse("k").unwrap();
        let version = KmsKeyVersionId::parse("v").unwrap();
        let all = [Due::DestroyVersion(key(), version), Due::DestroyKey(key()), Due::Rotate(key())];
        for due in &all {
            let row = due.row(LogTime::from_ms(300));
            assert_eq!(Due::parse(&row), Some((LogTime::from_ms(300), due.clone())));
            assert!(all.iter().all(|later| row < later.row(LogTime::from_ms(301))));
        }
        let row = Due::Rotate(key()).row(LogTime::from_ms(300));
        let mut unknown = row.clone();
        unknown[8] = 9;
        for damaged in [&row[..8], &row[..9], &unknown[..]] {
            assert_eq!(Due::parse(damaged), None);
        }
    }
}
