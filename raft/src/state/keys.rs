//! Where each record lives: one function for each kind of storage key.
//!
//! A key is a table byte and its components. Text components are length-prefixed, so that no
//! content can reach into the next component; numbers are big-endian, so that they sort.

mod changes;
mod erasures;
mod payloads;
mod table_names;
mod usage;

use lockbox_core::{
    AuthorizedKeyId, CloudId, FolderId, KmsKeyId, KmsKeyVersionId, LogTime, NodeId, OperationId,
    OrganizationId, ResourceRef, SecretId, ServiceAccountId, Subject, TokenId, VersionId,
};

pub use changes::{change, change_index, changes_of};
pub use erasures::{SYSTEM_ERASURES, erasure};
pub use payloads::{deleted_secret_of, deleted_secrets, payload_of, payloads, secret_of_payloads};
pub use table_names::table_name;
pub use usage::{reports_counted, usage_meter, usage_meters, usage_of_hour, usage_of_hours};

/// [`super::Space::System`]: id of the last applied entry.
pub const SYSTEM_LAST_APPLIED: &[u8] = b"last_applied";
/// [`super::Space::System`]: the last applied membership.
pub const SYSTEM_MEMBERSHIP: &[u8] = b"membership";
/// [`super::Space::System`]: the largest log time applied so far.
pub const SYSTEM_LOG_TIME: &[u8] = b"log_time";
/// [`super::Space::System`]: where the expiry queue begins, see [`expiries`]; absent while nothing
/// has expired.
pub const SYSTEM_EXPIRY_BEGIN: &[u8] = b"expiry_begin";
/// [`super::Space::System`]: the log time before which the expiry queue is left alone; absent
/// while it is being worked off.
pub const SYSTEM_EXPIRY_NEXT: &[u8] = b"expiry_next";
/// [`super::Space::System`]: the index from which on every change is kept, see [`change`]; absent
/// before the first.
pub const SYSTEM_CHANGES_BEGIN: &[u8] = b"changes_begin";
/// [`super::Space::System`]: the feature level that all members understand; absent for 0.
pub const SYSTEM_FEATURE_LEVEL: &[u8] = b"feature_level";
/// [`super::Space::System`]: the cap on what is kept of what was done, and what it takes; absent
/// while there is no cap.
pub const SYSTEM_RETENTION: &[u8] = b"retention";
/// [`super::Space::System`]: the newest comparison of the members' states; absent before the first.
pub const SYSTEM_STATE_CHECK: &[u8] = b"state_check";

/// The cluster record: one key.
pub const CLUSTER: &[u8] = b"Z";
/// What `cluster init` made beside it: one key.
pub const FIRST_RESOURCES: &[u8] = b"Y";
/// What was seen of the KMS: one key.
pub const KMS_WITNESS: &[u8] = b"X";

// Table bytes. A byte is never given to another table once a release has written it.
const CLOUD: u8 = b'c';
const FOLDER: u8 = b'f';
const SECRET: u8 = b's';
const DELETED_SECRET: u8 = b'd';
const SECRET_IN_FOLDER: u8 = b'S';
const SECRET_BY_NAME: u8 = b'n';
const VERSION: u8 = b'v';
const VERSION_IN_SECRET: u8 = b'V';
const PAYLOAD: u8 = b'p';
const BINDINGS: u8 = b'b';
const HOLDING: u8 = b'B';
const SERVICE_ACCOUNT: u8 = b'a';
const SERVICE_ACCOUNT_IN_FOLDER: u8 = b'A';
const SERVICE_ACCOUNT_BY_NAME: u8 = b'N';
const AUTHORIZED_KEY: u8 = b'k';
const AUTHORIZED_KEY_OF_ACCOUNT: u8 = b'K';
const KEYRING: u8 = b'r';
const OPERATION: u8 = b'o';
const OPERATION_OF_RESOURCE: u8 = b'O';
const IDEMPOTENCY: u8 = b'i';
const IDEMPOTENCY_COUNT: u8 = b'I';
const REVOKED_TOKEN: u8 = b't';
const EXPIRY: u8 = b'x';
const MEMBER: u8 = b'm';
const DESTRUCTION: u8 = b'q';
const DELETED_SERVICE_ACCOUNT: u8 = b'D';
const CLOUD_BY_NAME: u8 = b'C';
const FOLDER_BY_NAME: u8 = b'F';
const CHANGE_IN_FOLDER: u8 = b'w';
const AUDIT_HEADS: u8 = b'h';
const USAGE_METER: u8 = b'u';
const USAGE_OF_HOUR: u8 = b'U';
const REPORTS_COUNTED: u8 = b'R';
const KMS_TOMBSTONE: u8 = b'T';

/// What stands in [`OPERATION_OF_RESOURCE`] for the kind of an authorized key: nothing is bound on
/// one, so it is no [`lockbox_core::ResourceKind`].
const AUTHORIZED_KEY_KIND: &str = "iam.key";

/// Builds one key.
struct Key(Vec<u8>);

impl Key {
    fn new(table: u8) -> Self {
        Self(vec![table])
    }

    fn text(mut self, text: &str) -> Self {
        // INVARIANT: texts in keys are bounded far below 64 KiB by validation; a longer one would
        // make two keys collide, so it is better to stop.
        let length = u16::try_from(text.len()).unwrap_or_else(|_| panic!("storage key too long"));
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn done(self) -> Vec<u8> {
        self.0
    }
}

/// The smallest key that is greater than every key with this prefix.
///
/// # Panics
/// When the prefix is all `0xff`, which no table byte is.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    panic!("prefix has no end")
}

/// The smallest key behind this one.
#[must_use]
pub fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Whether the same absence under this key is asked for again and again: that of the revocation
/// of a token that is in use.
#[must_use]
pub fn absence_is_usual(space: super::Space, key: &[u8]) -> bool {
    space == super::Space::Records && key.first() == Some(&REVOKED_TOKEN)
}

/// Whether what is stored under this key is read soon after: a secret, its versions and their
/// payloads are, by the next reader and by whoever adds the next version.
#[must_use]
pub fn read_after_write(space: super::Space, key: &[u8]) -> bool {
    match space {
        super::Space::Records => matches!(key.first(), Some(&(SECRET | VERSION))),
        super::Space::Payloads | super::Space::System => true,
    }
}

/// The big-endian number that a key ends with.
#[must_use]
pub fn trailing_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// A cloud.
#[must_use]
pub fn cloud(id: &CloudId) -> Vec<u8> {
    Key::new(CLOUD).text(id.as_str()).done()
}

/// A folder.
#[must_use]
pub fn folder(id: &FolderId) -> Vec<u8> {
    Key::new(FOLDER).text(id.as_str()).done()
}

/// Every folder.
#[must_use]
pub fn folders() -> Vec<u8> {
    vec![FOLDER]
}

/// Every cloud.
#[must_use]
pub fn clouds() -> Vec<u8> {
    vec![CLOUD]
}

/// The cloud of that name in an organization; the value is its id.
#[must_use]
pub fn cloud_by_name(organization: &OrganizationId, name: &str) -> Vec<u8> {
    Key::new(CLOUD_BY_NAME).text(organization.as_str()).text(name).done()
}

/// The folder of that name in a cloud; the value is its id.
#[must_use]
pub fn folder_by_name(cloud: &CloudId, name: &str) -> Vec<u8> {
    Key::new(FOLDER_BY_NAME).text(cloud.as_str()).text(name).done()
}

/// A secret.
#[must_use]
pub fn secret(id: &SecretId) -> Vec<u8> {
    Key::new(SECRET).text(id.as_str()).done()
}

/// Every secret.
#[must_use]
pub fn secrets() -> Vec<u8> {
    vec![SECRET]
}

/// The mark of a secret that was; the value is when it was deleted. Kept for good.
#[must_use]
pub fn deleted_secret(id: &SecretId) -> Vec<u8> {
    Key::new(DELETED_SECRET).text(id.as_str()).done()
}

/// The secrets of a folder, by creation; the value is the secret's id.
#[must_use]
pub fn secrets_in_folder(folder: &FolderId) -> Vec<u8> {
    Key::new(SECRET_IN_FOLDER).text(folder.as_str()).done()
}

/// One place in [`secrets_in_folder`].
#[must_use]
pub fn secret_in_folder(folder: &FolderId, sequence: u64) -> Vec<u8> {
    Key::new(SECRET_IN_FOLDER).text(folder.as_str()).number(sequence).done()
}

/// The secrets of a folder under one name, by creation; the value is the secret's id.
#[must_use]
pub fn secrets_by_name(folder: &FolderId, name: &str) -> Vec<u8> {
    Key::new(SECRET_BY_NAME).text(folder.as_str()).text(name).done()
}

/// One place in [`secrets_by_name`].
#[must_use]
pub fn secret_by_name(folder: &FolderId, name: &str, sequence: u64) -> Vec<u8> {
    Key::new(SECRET_BY_NAME).text(folder.as_str()).text(name).number(sequence).done()
}

/// Every version.
#[must_use]
pub fn versions() -> Vec<u8> {
    vec![VERSION]
}

/// A version: by its id alone, for that stands for it in bindings, and is unique across kinds.
#[must_use]
pub fn version(version: &VersionId) -> Vec<u8> {
    Key::new(VERSION).text(version.as_str()).done()
}

/// The versions of a secret, by creation; the value is the version's id.
#[must_use]
pub fn versions_in_secret(secret: &SecretId) -> Vec<u8> {
    Key::new(VERSION_IN_SECRET).text(secret.as_str()).done()
}

/// One place in [`versions_in_secret`].
#[must_use]
pub fn version_in_secret(secret: &SecretId, sequence: u64) -> Vec<u8> {
    Key::new(VERSION_IN_SECRET).text(secret.as_str()).number(sequence).done()
}

/// A sealed payload, in [`super::Space::Payloads`].
#[must_use]
pub fn payload(secret: &SecretId, version: &VersionId) -> Vec<u8> {
    Key::new(PAYLOAD).text(secret.as_str()).text(version.as_str()).done()
}

/// The sealed payloads of a secret, in [`super::Space::Payloads`].
#[must_use]
pub fn payloads_of(secret: &SecretId) -> Vec<u8> {
    Key::new(PAYLOAD).text(secret.as_str()).done()
}

/// The bindings set directly on a resource.
#[must_use]
pub fn bindings(resource: &ResourceRef) -> Vec<u8> {
    Key::new(BINDINGS).text(resource.kind.audit_name()).text(&resource.id).done()
}

/// What a subject holds on containers, by container; see [`super::holdings`].
#[must_use]
pub fn holdings_of(subject: &Subject) -> Vec<u8> {
    Key::new(HOLDING).text(subject.kind.as_str()).text(&subject.id).done()
}

/// What a subject holds on one container.
#[must_use]
pub fn holding(subject: &Subject, on: &ResourceRef) -> Vec<u8> {
    let key = Key::new(HOLDING).text(subject.kind.as_str()).text(&subject.id);
    key.text(on.kind.audit_name()).text(&on.id).done()
}

/// A service account.
#[must_use]
pub fn service_account(id: &ServiceAccountId) -> Vec<u8> {
    Key::new(SERVICE_ACCOUNT).text(id.as_str()).done()
}

/// The mark of an account that was; the value is when it was deleted. Kept for good.
#[must_use]
pub fn deleted_service_account(id: &ServiceAccountId) -> Vec<u8> {
    Key::new(DELETED_SERVICE_ACCOUNT).text(id.as_str()).done()
}

/// The service accounts of a folder, by creation; the value is the account's id.
#[must_use]
pub fn service_accounts_in_folder(folder: &FolderId) -> Vec<u8> {
    Key::new(SERVICE_ACCOUNT_IN_FOLDER).text(folder.as_str()).done()
}

/// One place in [`service_accounts_in_folder`].
#[must_use]
pub fn service_account_in_folder(folder: &FolderId, sequence: u64) -> Vec<u8> {
    Key::new(SERVICE_ACCOUNT_IN_FOLDER).text(folder.as_str()).number(sequence).done()
}

/// The service account of that name in a cloud; the value is its id.
#[must_use]
pub fn service_account_by_name(cloud: &CloudId, name: &str) -> Vec<u8> {
    Key::new(SERVICE_ACCOUNT_BY_NAME).text(cloud.as_str()).text(name).done()
}

/// An authorized key.
#[must_use]
pub fn authorized_key(id: &AuthorizedKeyId) -> Vec<u8> {
    Key::new(AUTHORIZED_KEY).text(id.as_str()).done()
}

/// The authorized keys of an account, by creation; the value is the key's id.
#[must_use]
pub fn authorized_keys_of(account: &ServiceAccountId) -> Vec<u8> {
    Key::new(AUTHORIZED_KEY_OF_ACCOUNT).text(account.as_str()).done()
}

/// One place in [`authorized_keys_of`].
#[must_use]
pub fn authorized_key_of(account: &ServiceAccountId, sequence: u64) -> Vec<u8> {
    Key::new(AUTHORIZED_KEY_OF_ACCOUNT).text(account.as_str()).number(sequence).done()
}

/// A keyring key.
#[must_use]
pub fn keyring_key(id: u32) -> Vec<u8> {
    Key::new(KEYRING).number(u64::from(id)).done()
}

/// Every keyring key, by number.
#[must_use]
pub fn keyring() -> Vec<u8> {
    vec![KEYRING]
}

/// A node that is, or was, a member of the cluster.
#[must_use]
pub fn member(id: NodeId) -> Vec<u8> {
    Key::new(MEMBER).number(id).done()
}

/// Every node that ever was a member, by id.
#[must_use]
pub fn members() -> Vec<u8> {
    vec![MEMBER]
}

/// What the KMS has destroyed: a version, or a whole key, which sorts before its versions.
#[must_use]
pub fn kms_tombstone(key: &KmsKeyId, version: Option<&KmsKeyVersionId>) -> Vec<u8> {
    let version = version.map_or("", KmsKeyVersionId::as_str);
    Key::new(KMS_TOMBSTONE).text(key.as_str()).text(version).done()
}

/// All that the KMS has destroyed.
#[must_use]
pub fn kms_tombstones() -> Vec<u8> {
    vec![KMS_TOMBSTONE]
}
/// What is anchored of a node's audit.
#[must_use]
pub fn audit_heads(id: NodeId) -> Vec<u8> {
    Key::new(AUDIT_HEADS).number(id).done()
}

/// What is anchored of all audits, by node.
#[must_use]
pub fn all_audit_heads() -> Vec<u8> {
    vec![AUDIT_HEADS]
}

/// An operation.
#[must_use]
pub fn operation(id: &OperationId) -> Vec<u8> {
    Key::new(OPERATION).text(id.as_str()).done()
}

/// The operations of a resource, by index; the value is the operation's id.
#[must_use]
pub fn operations_of(resource: &ResourceRef) -> Vec<u8> {
    Key::new(OPERATION_OF_RESOURCE).text(resource.kind.audit_name()).text(&resource.id).done()
}

/// The operations on an authorized key, by index, as [`operations_of`]; they are also among those on
/// its account.
#[must_use]
pub fn operations_of_key(id: &AuthorizedKeyId) -> Vec<u8> {
    Key::new(OPERATION_OF_RESOURCE).text(AUTHORIZED_KEY_KIND).text(id.as_str()).done()
}

/// One place in [`operations_of_key`].
#[must_use]
pub fn operation_of_key(id: &AuthorizedKeyId, index: u64) -> Vec<u8> {
    let key = Key::new(OPERATION_OF_RESOURCE).text(AUTHORIZED_KEY_KIND);
    key.text(id.as_str()).number(index).done()
}

/// Whether what stands under a key of [`super::Space::Records`] is an operation.
#[must_use]
pub fn is_operation(key: &[u8]) -> bool {
    key.first() == Some(&OPERATION)
}

/// One place in [`operations_of`].
#[must_use]
pub fn operation_of(resource: &ResourceRef, index: u64) -> Vec<u8> {
    let key = Key::new(OPERATION_OF_RESOURCE).text(resource.kind.audit_name());
    key.text(&resource.id).number(index).done()
}

/// An idempotency record.
#[must_use]
pub fn idempotency(subject: &Subject, method: &str, key: &str) -> Vec<u8> {
    let scope = Key::new(IDEMPOTENCY).text(subject.kind.as_str()).text(&subject.id);
    scope.text(method).text(key).done()
}

/// Every idempotency record.
#[must_use]
pub fn idempotency_records() -> Vec<u8> {
    vec![IDEMPOTENCY]
}

/// How many live idempotency records a subject has.
#[must_use]
pub fn idempotency_count(subject: &Subject) -> Vec<u8> {
    Key::new(IDEMPOTENCY_COUNT).text(subject.kind.as_str()).text(&subject.id).done()
}

/// All tables of operations and of what a repeat is found by.
#[must_use]
pub fn operation_tables() -> [Vec<u8>; 4] {
    [OPERATION, OPERATION_OF_RESOURCE, IDEMPOTENCY, IDEMPOTENCY_COUNT].map(|table| vec![table])
}

/// All tables of bindings.
#[must_use]
pub fn binding_tables() -> [Vec<u8>; 2] {
    [BINDINGS, HOLDING].map(|table| vec![table])
}

/// A revoked token.
#[must_use]
pub fn revoked_token(id: &TokenId) -> Vec<u8> {
    Key::new(REVOKED_TOKEN).text(id.as_str()).done()
}

/// One place in the expiry queue: at `at`, the `ordinal`-th expiry of the entry at `index`.
#[must_use]
pub fn expiry(at: LogTime, index: u64, ordinal: u64) -> Vec<u8> {
    Key::new(EXPIRY).number(at.as_ms()).number(index).number(ordinal).done()
}

/// The place in the expiry queue of what stands at `place`, at another time.
#[must_use]
pub fn expiry_again(place: &[u8], at: LogTime) -> Vec<u8> {
    let entry_and_ordinal = place.last_chunk::<16>().map_or(&[][..], <[u8; 16]>::as_slice);
    [Key::new(EXPIRY).number(at.as_ms()).done().as_slice(), entry_and_ordinal].concat()
}

/// The end of the part of the expiry queue that is due at `now`.
#[must_use]
pub fn expiry_due(now: LogTime) -> Vec<u8> {
    Key::new(EXPIRY).number(now.as_ms()).done()
}

/// One place in the destruction queue.
#[must_use]
pub fn destruction(at: LogTime, secret: &SecretId, version: &VersionId) -> Vec<u8> {
    let key = Key::new(DESTRUCTION).number(at.as_ms());
    key.text(secret.as_str()).text(version.as_str()).done()
}

/// The end of the part of the destruction queue that is due at `now`.
#[must_use]
pub fn destruction_due(now: LogTime) -> Vec<u8> {
    Key::new(DESTRUCTION).number(now.as_ms().saturating_add(1)).done()
}

/// The whole destruction queue.
#[must_use]
pub fn destructions() -> Vec<u8> {
    vec![DESTRUCTION]
}

/// The whole expiry queue. What stands before [`SYSTEM_EXPIRY_BEGIN`] is deleted.
#[must_use]
pub fn expiries() -> Vec<u8> {
    vec![EXPIRY]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_cannot_run_into_each_other() {
        let folder = |id: &str| FolderId::parse(id).unwrap();
        let one = secrets_by_name(&folder("a"), "bc");
        let other = secrets_by_name(&folder("ab"), "c");
        assert_ne!(one, other);
        assert!(!secret_by_name(&folder("a"), "bcd", 1).starts_with(&one));
    }

    #[test]
    fn numbers_sort_and_come_back() {
        let folder = FolderId::parse("f").unwrap();
        let keys: Vec<_> = [1, 255, 256, u64::MAX].map(|n| secret_in_folder(&folder, n)).into();
        assert!(keys.is_sorted());
        assert_eq!(trailing_number(&keys[2]), Some(256));
    }

    #[test]
    fn a_place_in_the_queue_moves_in_time_alone() {
        let at = LogTime::from_ms;
        assert_eq!(expiry_again(&expiry(at(1), 2, 3), at(9)), expiry(at(9), 2, 3));
    }

    #[test]
    fn prefix_ends_right_behind_its_keys() {
        assert_eq!(prefix_end(b"ab"), b"ac");
        assert_eq!(prefix_end(&[b'a', 0xff]), b"b");
    }
}
