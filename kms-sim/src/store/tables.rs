//! The tables of the store and the bytes of their keys.
//!
//! Promises: no storage key is a prefix of another one's row in a way that a scan could confuse
//! (ids never hold a zero byte), and numbers are big-endian, so that byte order is their order.

use lockbox_core::{FolderId, KmsKeyId, KmsKeyVersionId, LogTime, OperationId};

/// Ends an id inside a storage key; no id holds it.
const SEPARATOR: u8 = 0;

/// One table: a RocksDB column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// The head of the commit sequence and the store's own secrets.
    Meta,
    /// Key id → key.
    Keys,
    /// Folder, creation time, key id → nothing: the order of listings.
    KeysByFolder,
    /// Key id, version id → version.
    Versions,
    /// Key id, version id → wrapped material. Apart, so that destruction deletes a whole row.
    Materials,
    /// Key id → bindings set on the key itself.
    Bindings,
    /// Time, what to do, key id, version id → nothing: what the KMS does by itself, soonest first.
    Due,
    /// Operation id → operation.
    Operations,
    /// Key id, falling commit sequence → operation id: a key's operations, newest first.
    OperationsByKey,
    /// Commit sequence → ledger record.
    Ledger,
    /// Hour, key, version, operation, subject → counts. Derived from the ledger.
    Counters,
    /// Version id → number of encryptions. Derived from the ledger.
    Usage,
    /// KMS request id → what it was used for.
    BilledRequests,
    /// Subject, method, idempotency key → operation.
    Idempotency,
    /// Expiry time, table, storage key → nothing: what to forget, soonest first.
    Expiries,
    /// Commit sequence → operation that nobody asked for and that the audit does not have yet.
    AuditOwed,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 16] = [
        Self::Meta,
        Self::Keys,
        Self::KeysByFolder,
        Self::Versions,
        Self::Materials,
        Self::Bindings,
        Self::Due,
        Self::Operations,
        Self::OperationsByKey,
        Self::Ledger,
        Self::Counters,
        Self::Usage,
        Self::BilledRequests,
        Self::Idempotency,
        Self::Expiries,
        Self::AuditOwed,
    ];

    /// The table of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The column family's name on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Keys => "keys",
            Self::KeysByFolder => "keys_by_folder",
            Self::Versions => "versions",
            Self::Materials => "materials",
            Self::Bindings => "bindings",
            Self::Due => "due",
            Self::Operations => "operations",
            Self::OperationsByKey => "operations_by_key",
            Self::Ledger => "ledger",
            Self::Counters => "counters",
            Self::Usage => "usage",
            Self::BilledRequests => "billed_requests",
            Self::Idempotency => "idempotency",
            Self::Expiries => "expiries",
            Self::AuditOwed => "audit_owed",
        }
    }
}

/// A table whose rows are forgotten after a time; the number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiring {
    /// [`Table::BilledRequests`].
    BilledRequests = 1,
    /// [`Table::Idempotency`].
    Idempotency = 2,
    /// [`Table::Operations`].
    Operations = 3,
    /// [`Table::OperationsByKey`].
    OperationsByKey = 4,
}

impl Expiring {
    const ALL: [Self; 4] =
        [Self::BilledRequests, Self::Idempotency, Self::Operations, Self::OperationsByKey];

    /// The table.
    #[must_use]
    pub const fn table(self) -> Table {
        match self {
            Self::BilledRequests => Table::BilledRequests,
            Self::Idempotency => Table::Idempotency,
            Self::Operations => Table::Operations,
            Self::OperationsByKey => Table::OperationsByKey,
        }
    }
}

/// Row of [`Table::Meta`]: the head of the commit sequence.
pub const HEAD: &[u8] = b"head";
/// Row of [`Table::Meta`]: the wrapped MAC key; also proves that the root key is the right one.
pub const MAC_KEY: &[u8] = b"mac_key";
/// Row of [`Table::Meta`]: the format of the store; not there for the first one.
pub const FORMAT: &[u8] = b"format";
/// Row of [`Table::Meta`]: how the root key is derived from a passphrase; not there when it is not.
pub const ROOT_DERIVATION: &[u8] = b"root_derivation";
/// Row of [`Table::Meta`]: for whom the cluster bears witness.
pub const STORE_IDENTITY: &[u8] = b"store_identity";
/// Row of [`Table::Meta`]: the store was put together out of a backup, and has not caught up yet.
pub const RESTORED: &[u8] = b"restored";
/// Row of [`Table::Meta`]: the restores that the store has behind it.
pub const RESTORES: &[u8] = b"restores";

/// Row of a key.
#[must_use]
pub fn key(id: &KmsKeyId) -> Vec<u8> {
    id.as_str().as_bytes().to_vec()
}

/// Row of a key in its folder's listing.
#[must_use]
pub fn key_by_folder(folder: &FolderId, created_at: LogTime, id: &KmsKeyId) -> Vec<u8> {
    let mut bytes = folder_prefix(folder);
    bytes.extend_from_slice(&created_at.as_ms().to_be_bytes());
    bytes.extend_from_slice(id.as_str().as_bytes());
    bytes
}

/// What the rows of a folder's listing begin with.
#[must_use]
pub fn folder_prefix(folder: &FolderId) -> Vec<u8> {
    terminated(folder.as_str())
}

/// The key id in a row of [`Table::KeysByFolder`].
#[must_use]
pub fn id_in_listing(row: &[u8], folder: &FolderId) -> Option<KmsKeyId> {
    let rest = row.strip_prefix(folder_prefix(folder).as_slice())?;
    let (_created_at, id) = rest.split_at_checked(size_of::<u64>())?;
    KmsKeyId::parse(std::str::from_utf8(id).ok()?).ok()
}

/// Row of a version, and of its material.
#[must_use]
pub fn version(key_id: &KmsKeyId, version_id: &KmsKeyVersionId) -> Vec<u8> {
    let mut bytes = versions_prefix(key_id);
    bytes.extend_from_slice(version_id.as_str().as_bytes());
    bytes
}

/// What the rows of a key's versions begin with.
#[must_use]
pub fn versions_prefix(key_id: &KmsKeyId) -> Vec<u8> {
    terminated(key_id.as_str())
}

/// Row of an operation.
#[must_use]
pub fn operation(id: &OperationId) -> Vec<u8> {
    id.as_str().as_bytes().to_vec()
}

/// Row of an operation in its key's listing; later ones sort first.
#[must_use]
pub fn operation_by_key(key_id: &KmsKeyId, sequence: u64) -> Vec<u8> {
    let mut bytes = operations_prefix(key_id);
    bytes.extend_from_slice(&(u64::MAX - sequence).to_be_bytes());
    bytes
}

/// What the rows of a key's operations begin with.
#[must_use]
pub fn operations_prefix(key_id: &KmsKeyId) -> Vec<u8> {
    terminated(key_id.as_str())
}

/// Row of a ledger record.
#[must_use]
pub const fn ledger(sequence: u64) -> [u8; 8] {
    sequence.to_be_bytes()
}

/// Row of an operation that the audit does not have yet.
#[must_use]
pub fn audit_owed(sequence: u64) -> Vec<u8> {
    sequence.to_be_bytes().to_vec()
}

/// Row of a version's usage counter.
#[must_use]
pub fn usage(version_id: &KmsKeyVersionId) -> Vec<u8> {
    version_id.as_str().as_bytes().to_vec()
}

/// Row that says when another row is to be forgotten.
#[must_use]
pub fn expiry(at: LogTime, table: Expiring, row: &[u8]) -> Vec<u8> {
    let mut bytes = at.as_ms().to_be_bytes().to_vec();
    bytes.push(table as u8);
    bytes.extend_from_slice(row);
    bytes
}

/// Takes a row of [`Table::Expiries`] apart.
#[must_use]
pub fn parse_expiry(bytes: &[u8]) -> Option<(LogTime, Expiring, &[u8])> {
    let (at, rest) = bytes.split_first_chunk()?;
    let (tag, row) = rest.split_first()?;
    let table = Expiring::ALL.into_iter().find(|table| *table as u8 == *tag)?;
    Some((LogTime::from_ms(u64::from_be_bytes(*at)), table, row))
}

fn terminated(id: &str) -> Vec<u8> {
    let mut bytes = id.as_bytes().to_vec();
    bytes.push(SEPARATOR);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_rows_sort_by_creation_and_give_their_id_back() {
        let folder = FolderId::parse("f").unwrap();
        let id = |text| KmsKeyId::parse(text).unwrap();
        let early = key_by_folder(&folder, LogTime::from_ms(9), &id("z"));
        let late = key_by_folder(&folder, LogTime::from_ms(10), &id("a"));
        assert!(early < late);
        assert_eq!(id_in_listing(&late, &folder), Some(id("a")));
        let longer = FolderId::parse("ff").unwrap();
        assert!(!early.starts_with(&folder_prefix(&longer)));
        assert_eq!(id_in_listing(&early, &longer), None);
    }

    #[test]
    fn expiry_rows_sort_by_time_and_name_their_row() {
        let early = expiry(LogTime::from_ms(255), Expiring::Operations, b"z");
        let late = expiry(LogTime::from_ms(256), Expiring::BilledRequests, b"a");
        assert!(early < late);
        let parsed = parse_expiry(&late);
        assert_eq!(parsed, Some((LogTime::from_ms(256), Expiring::BilledRequests, &b"a"[..])));
        assert_eq!(parse_expiry(&late[..8]), None);
    }
}
