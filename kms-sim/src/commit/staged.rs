//! A group of crypto calls on its way to the disk: what they will have changed once it is written.
//!
//! Promises: within a group each call sees what the ones before it have staged, so that a group
//! decides exactly as if its calls had been committed one by one. Decides, at the call's own place
//! in the commit sequence, whether its view of the keys still holds, whether it is a repeat, and
//! whether the version may encrypt once more. Touches no disk but through its view.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::{KmsKeyId, LogTime, Mutant, RequestMac, mutant};

use crate::keys::apply::{IDEMPOTENCY_RETENTION, push_expiring};
use crate::ledger::counters::{CounterKey, Counters, Counts, Usage};
use crate::ledger::record::{
    self, Chain, KeyVersionRef, LedgerEntry, LedgerRecord, UNITS_PER_OPERATION,
};
use crate::store::identity::Restores;
use crate::store::records::{BilledRequest, Head, KeyScope, VersionRecord};
use crate::store::tables::{self, Expiring, HEAD, Table};
use crate::store::{StoreError, View, Write};
use lockbox_core::codec::encode;

/// How long a repeat of a node's request is recognised (`design §9`).
pub const BILLED_REQUEST_RETENTION: Duration =
    IDEMPOTENCY_RETENTION.saturating_add(Duration::from_hours(1));
/// Encryptions that one key version may do: the bound for random nonces (SP 800-38D §8.3).
pub const ENCRYPTIONS_MAX: u64 = 1 << 32;
/// Encryptions from which on a key gets another primary version by itself.
pub const ENCRYPTIONS_WARN: u64 = 1 << 31;

/// The latest revision of each key.
pub type Revisions = BTreeMap<KmsKeyId, u64>;

/// A claim that a call is the only one to be billed for its KMS request id.
#[derive(Debug, Clone)]
pub struct BillingClaim {
    /// MAC of the operation, the subject and the whole input.
    pub input_mac: RequestMac,
}

/// A crypto call that has been done and is not yet recorded.
#[derive(Debug, Clone)]
pub struct CryptoCommit {
    /// What was done. Its KMS request id is honoured only with a claim.
    pub entry: LedgerEntry,
    /// The keys that were used, with the revisions that were seen.
    pub seen: Vec<(KmsKeyId, u64)>,
    /// How a repeat is recognised; only nodes may claim.
    pub claim: Option<BillingClaim>,
}

/// A recorded crypto call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the commit sequence.
    pub sequence: u64,
    /// Whether it is billed.
    pub billable: bool,
    /// Its chain value, which names it and all records before it.
    pub chain: Chain,
}

/// Why a crypto call is not recorded, and so must not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CryptoRefusal {
    /// A key has changed since it was looked at: look again.
    Stale,
    /// The KMS request id was used for something else.
    RequestIdReused,
    /// The version has done as many encryptions as it may.
    VersionExhausted,
}

/// The group.
pub struct Staged<'a> {
    view: &'a View<'a>,
    revisions: &'a Revisions,
    /// What the store has missed, if anything.
    restores: Option<&'a Restores>,
    head: Head,
    writes: Vec<Write>,
    counters: Counters,
    usage: Usage,
    billed: BTreeMap<Vec<u8>, BilledRequest>,
}

impl<'a> Staged<'a> {
    /// An empty group behind the commits that `head` ends.
    #[must_use]
    pub const fn new(view: &'a View<'a>, revisions: &'a Revisions, head: Head) -> Self {
        Self {
            view,
            revisions,
            restores: None,
            head,
            writes: Vec::new(),
            counters: Counters::new(),
            usage: Usage::new(),
            billed: BTreeMap::new(),
        }
    }

    /// The same of a store that may have missed some encryptions.
    #[must_use]
    pub fn behind(self, restores: &'a Restores) -> Self {
        Self { restores: Some(restores).filter(|restores| !restores.is_empty()), ..self }
    }

    /// The sequence of the last record that is staged, or of the last commit before it.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.head.sequence
    }

    /// Decides one call and stages its record.
    ///
    /// # Errors
    /// [`StoreError`] when the state cannot be read.
    pub fn stage(
        &mut self,
        commit: CryptoCommit,
        now: LogTime,
    ) -> Result<Result<Recorded, CryptoRefusal>, StoreError> {
        let CryptoCommit { entry, seen, claim } = commit;
        if seen.iter().any(|(key_id, revision)| self.revisions.get(key_id) != Some(revision)) {
            return Ok(Err(CryptoRefusal::Stale));
        }
        let time = self.head.time.max(now);
        let found = match &claim {
            Some(_) => self.billed_request(&entry.kms_request_id)?,
            None => None,
        };
        // A row may outlast its time: then it says nothing, so that the ledger alone tells what is
        // a repeat (`billing verify`).
        let earlier = found.as_ref().filter(|request| request.lasts_at(time));
        if let (Some(claim), Some(earlier)) = (&claim, earlier)
            && !claim.input_mac.is(&earlier.input_mac)
        {
            return Ok(Err(CryptoRefusal::RequestIdReused));
        }
        if entry.operation.encrypts() && !self.count_encryption(&entry)? {
            return Ok(Err(CryptoRefusal::VersionExhausted));
        }
        let sequence = self.head.sequence + 1;
        let repeat = earlier.is_some() && !mutant(Mutant::RetryBilledTwice);
        let billable = entry.scope == KeyScope::Customer && !repeat;
        if let Some(claim) = claim
            && earlier.is_none()
        {
            if let Some(until) = found.and_then(|outlasted| outlasted.until) {
                // Else it would have the new row removed.
                let row = tables::expiry(until, Expiring::BilledRequests, &entry.kms_request_id);
                self.writes.push(Write::delete(Table::Expiries, row));
            }
            self.remember(&entry.kms_request_id, &claim, sequence, time);
        }
        let entry = match mutant(Mutant::WrongKeyBilled) {
            true => billed_to_another(entry, self.revisions),
            false => entry,
        };
        let record = LedgerRecord { sequence, time, entry, billable, units: UNITS_PER_OPERATION };
        self.count(&record)?;
        let (bytes, chain) = record::encode(&record, &self.head.chain);
        self.writes.push(Write::put(Table::Ledger, tables::ledger(sequence).to_vec(), bytes));
        let ledger_records = self.head.ledger_records + 1;
        self.head = Head { sequence, time, chain, ledger_records };
        Ok(Ok(Recorded { sequence, billable, chain }))
    }

    /// The rows to write and the head that they lead to.
    #[must_use]
    pub fn finish(mut self) -> (Vec<Write>, Head) {
        for (key, counts) in &self.counters {
            self.writes.push(Write::put(Table::Counters, key.row(), encode(counts)));
        }
        for (version_id, uses) in &self.usage {
            self.writes.push(Write::put(Table::Usage, tables::usage(version_id), encode(uses)));
        }
        self.writes.push(head_write(&self.head));
        (self.writes, self.head)
    }

    fn billed_request(&self, id: &[u8]) -> Result<Option<BilledRequest>, StoreError> {
        match self.billed.get(id) {
            Some(staged) => Ok(Some(staged.clone())),
            None => self.view.record(Table::BilledRequests, id),
        }
    }

    fn remember(&mut self, id: &[u8], claim: &BillingClaim, sequence: u64, time: LogTime) {
        let until = time.plus(BILLED_REQUEST_RETENTION);
        let request = BilledRequest { input_mac: claim.input_mac, sequence, until: Some(until) };
        let value = encode(&request);
        push_expiring(&mut self.writes, Expiring::BilledRequests, id.to_vec(), value, until);
        self.billed.insert(id.to_vec(), request);
    }

    /// Counts one encryption; false when the version may do no more.
    fn count_encryption(&mut self, entry: &LedgerEntry) -> Result<bool, StoreError> {
        let version_id = &entry.target.version_id;
        let uses = match self.usage.get(version_id) {
            Some(staged) => *staged,
            None => self.view.record(Table::Usage, &tables::usage(version_id))?.unwrap_or(0),
        };
        let carried = self.carried(&entry.target)?;
        if uses.saturating_add(carried) >= ENCRYPTIONS_MAX {
            return Ok(false);
        }
        if uses + carried + 1 == ENCRYPTIONS_WARN {
            let key_id = &entry.target.key_id;
            tracing::warn!(%key_id, %version_id, uses, "key version has encrypted enough");
        }
        self.usage.insert(version_id.clone(), uses + 1);
        Ok(true)
    }

    /// Encryptions that the version may have done and that no record of this store tells of.
    fn carried(&self, target: &KeyVersionRef) -> Result<u64, StoreError> {
        let Some(restores) = self.restores else { return Ok(0) };
        let row = tables::version(&target.key_id, &target.version_id);
        let version: Option<VersionRecord> = self.view.record(Table::Versions, &row)?;
        Ok(version.map_or(0, |version| restores.carried(version.created_at)))
    }

    fn count(&mut self, record: &LedgerRecord) -> Result<(), StoreError> {
        let key = CounterKey::of(record);
        if !self.counters.contains_key(&key) {
            let stored: Option<Counts> = self.view.record(Table::Counters, &key.row())?;
            self.counters.insert(key.clone(), stored.unwrap_or_default());
        }
        self.counters.entry(key).or_default().add(record);
        Ok(())
    }
}

/// What [`Mutant::WrongKeyBilled`] records. Every key but one has another one to take its place.
fn billed_to_another(mut entry: LedgerEntry, keys: &Revisions) -> LedgerEntry {
    let other = keys.keys().find(|key_id| **key_id != entry.target.key_id);
    if let Some(other) = other {
        entry.target.key_id = other.clone();
    }
    entry
}

/// The row that moves the head.
#[must_use]
pub fn head_write(head: &Head) -> Write {
    Write::put(Table::Meta, HEAD.to_vec(), encode(head))
}

#[cfg(test)]
mod tests {
    use lockbox_core::KmsKeyVersionId;

    use super::*;
    use crate::algorithm::Algorithm;
    use crate::ledger::record::CryptoOperation;
    use crate::ledger::record::tests::entry;
    use crate::store::Db;
    use crate::store::identity::Restore;
    use crate::store::records::VersionStatus;

    fn commit(operation: CryptoOperation, id: u8, mac: u8) -> CryptoCommit {
        let mut entry = entry(operation, "k", "v");
        entry.kms_request_id = vec![id; 16];
        let seen = vec![(entry.target.key_id.clone(), 5)];
        CryptoCommit { entry, seen, claim: Some(BillingClaim { input_mac: [mac; 32].into() }) }
    }

    /// Place and charge of a call that was recorded.
    fn place(
        staged: Result<Result<Recorded, CryptoRefusal>, StoreError>,
    ) -> Result<(u64, bool), CryptoRefusal> {
        staged.unwrap().map(|recorded| (recorded.sequence, recorded.billable))
    }

    fn revisions() -> Revisions {
        Revisions::from([(KmsKeyId::parse("k").unwrap(), 5)])
    }

    #[test]
    fn a_repeat_is_recognised_within_a_group_and_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        let revisions = revisions();
        let now = LogTime::from_ms(1_000);
        let encrypt = || commit(CryptoOperation::Encrypt, 1, 1);

        let view = db.view();
        let mut staged = Staged::new(&view, &revisions, Head::default());
        assert_eq!(place(staged.stage(encrypt(), now)), Ok((1, true)));
        assert_eq!(place(staged.stage(encrypt(), now)), Ok((2, false)));
        let other = commit(CryptoOperation::Encrypt, 1, 2);
        assert_eq!(staged.stage(other, now).unwrap(), Err(CryptoRefusal::RequestIdReused));
        let (writes, head) = staged.finish();
        db.commit(&writes).unwrap();
        assert_eq!(head, db.view().head().unwrap());

        let view = db.view();
        let mut staged = Staged::new(&view, &revisions, head);
        assert_eq!(place(staged.stage(encrypt(), now)), Ok((3, false)));
        let other = commit(CryptoOperation::Encrypt, 1, 2);
        assert_eq!(staged.stage(other, now).unwrap(), Err(CryptoRefusal::RequestIdReused));
        let direct = CryptoCommit { claim: None, ..encrypt() };
        assert_eq!(place(staged.stage(direct, now)), Ok((4, true)));
    }

    #[test]
    fn a_request_is_forgotten_in_time_though_its_row_is_still_there() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        let revisions = revisions();
        let start = LogTime::from_ms(1_000);
        let times = [
            (start, true),
            (start.plus(BILLED_REQUEST_RETENTION - Duration::from_millis(1)), false),
            (start.plus(BILLED_REQUEST_RETENTION), true),
            (start.plus(BILLED_REQUEST_RETENTION), false),
        ];
        for (n, (now, billable)) in (1..).zip(times) {
            let view = db.view();
            let mut staged = Staged::new(&view, &revisions, view.head().unwrap());
            let call = commit(CryptoOperation::Encrypt, 1, 1);
            assert_eq!(place(staged.stage(call, now)), Ok((n, billable)));
            db.commit(&staged.finish().0).unwrap();
        }
        let expiries = db.view().scan(Table::Expiries, b"", b"").count();
        assert_eq!(expiries, 1, "of the row that is there now");
        assert_eq!(crate::ledger::verify::verify(&db.view()).unwrap().problems, []);
    }

    #[test]
    fn an_older_view_of_a_key_is_sent_back() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        let (view, revisions) = (db.view(), revisions());
        let mut staged = Staged::new(&view, &revisions, Head::default());
        let mut stale = commit(CryptoOperation::Decrypt, 1, 1);
        stale.seen[0].1 = 4;
        let refused = staged.stage(stale, LogTime::default()).unwrap();
        assert_eq!(refused, Err(CryptoRefusal::Stale));
    }

    #[test]
    fn security_s11_a_version_stops_encrypting_at_its_limit_and_still_decrypts() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        let used = encode(&(ENCRYPTIONS_MAX - 1));
        db.commit(&[Write::put(Table::Usage, b"v".to_vec(), used)]).unwrap();
        let (view, revisions) = (db.view(), revisions());
        let mut staged = Staged::new(&view, &revisions, Head::default());
        let mut stage =
            |operation, id| staged.stage(commit(operation, id, id), LogTime::default()).unwrap();
        assert!(stage(CryptoOperation::Encrypt, 1).is_ok());
        let refused = Err(CryptoRefusal::VersionExhausted);
        assert_eq!(stage(CryptoOperation::GenerateDataKey, 2), refused);
        assert!(stage(CryptoOperation::Decrypt, 3).is_ok());
    }

    #[test]
    fn a_restored_version_counts_what_it_may_have_done_in_between() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        let version = |id: &str, created_at| VersionRecord {
            id: KmsKeyVersionId::parse(id).unwrap(),
            key_id: KmsKeyId::parse("k").unwrap(),
            status: VersionStatus::Active,
            algorithm: Algorithm::Aes256,
            created_at: LogTime::from_ms(created_at),
            destroy_at: None,
            destroyed_at: None,
        };
        let put = |version: &VersionRecord| {
            let row = tables::version(&version.key_id, &version.id);
            Write::put(Table::Versions, row, encode(version))
        };
        db.commit(&[put(&version("v", 100)), put(&version("w", 101))]).unwrap();
        let encryptions = ENCRYPTIONS_MAX - 1;
        let at = LogTime::from_ms(100);
        let restore = Restore { from: 1, to: 9, backed_up_at: at, at, encryptions, epoch: 2 };
        let restores = Restores { restores: vec![restore] };
        let (view, revisions) = (db.view(), revisions());
        let mut staged = Staged::new(&view, &revisions, Head::default()).behind(&restores);
        let mut stage = |version: &str, id| {
            let mut encrypt = commit(CryptoOperation::Encrypt, id, id);
            encrypt.entry.target.version_id = KmsKeyVersionId::parse(version).unwrap();
            staged.stage(encrypt, LogTime::default()).unwrap()
        };
        assert!(stage("v", 1).is_ok(), "one is left");
        assert_eq!(stage("v", 2), Err(CryptoRefusal::VersionExhausted));
        assert!(stage("w", 3).is_ok() && stage("w", 4).is_ok(), "it was made later");
    }
}
