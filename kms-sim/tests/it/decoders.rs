//! Fuzz targets: what clients, disks and people hand over is read or refused, never a panic; and
//! what opens or fits is what was made here, bit by bit.

use lockbox_core::codec::CodecError;
use lockbox_core::{
    FolderId, KmsKeyId, KmsKeyVersionId, LogTime, Randomness, Subject, SubjectKind,
};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::backup::{self, BackupError, BackupHeader};
use lockbox_kms_sim::ciphertext::{Ciphertext, CiphertextError, seal};
use lockbox_kms_sim::ledger::counters::CounterKey;
use lockbox_kms_sim::ledger::record::{
    self, CHAIN_BYTES, CryptoOperation, KeyVersionRef, LedgerEntry, LedgerRecord,
};
use lockbox_kms_sim::material::KeyMaterial;
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::shares::{NEED_MIN, Share, ShareError, split};
use lockbox_kms_sim::store::records::KeyScope;

use crate::fuzz::fuzz;
use crate::support::open;

/// The same bytes every time, so that the corpus fits the keys.
struct Fixed(u8);

impl Randomness for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn key() -> (KmsKeyId, KmsKeyVersionId) {
    (KmsKeyId::parse("abjkey").unwrap(), KmsKeyVersionId::parse("abjversion").unwrap())
}

#[test]
fn fuzz_a_ciphertext_opens_only_if_it_was_made_here() {
    let (key_id, version_id) = key();
    let materials = Algorithm::ALL.map(|algorithm| KeyMaterial::generate(algorithm, &Fixed(7)));
    let texts: [&[u8]; 3] = [b"", b"value", &[0xff; 100]];
    let made: Vec<Vec<u8>> = materials
        .iter()
        .flat_map(|material| {
            texts.map(|text| seal(material, &key_id, &version_id, b"context", text, &Fixed(9)))
        })
        .collect();
    fuzz("ciphertext", &made, |bytes| {
        let parsed = Ciphertext::parse(bytes)?;
        let opened =
            materials.each_ref().map(|material| parsed.open(material, &key_id, b"context"));
        if opened.iter().any(Result::is_ok) {
            assert!(made.iter().any(|made| made == bytes), "a ciphertext that nobody has made");
        }
        opened.into_iter().find(Result::is_ok).unwrap_or(Err(CiphertextError)).map(drop)
    });
}

fn ledger_record(operation: CryptoOperation, number: u64) -> LedgerRecord {
    let (key_id, version_id) = key();
    let target = KeyVersionRef { key_id, version_id };
    let is_move = operation == CryptoOperation::ReEncrypt;
    let entry = LedgerEntry {
        operation,
        source: is_move.then(|| target.clone()),
        target,
        folder_id: FolderId::parse("b1gfolder").unwrap(),
        scope: if number.is_multiple_of(2) { KeyScope::Customer } else { KeyScope::System },
        subject: Subject { kind: SubjectKind::ServiceAccount, id: "ajeaccount".to_owned() },
        node: (number.is_multiple_of(2)).then(|| "node-1.lockbox.internal".to_owned()),
        request_id: "request".to_owned(),
        kms_request_id: vec![1; 16],
    };
    let time = LogTime::from_ms(1_790_000_000_000 + number);
    LedgerRecord { sequence: number, time, entry, billable: number.is_multiple_of(2), units: 1 }
}

/// An answer that says nothing of the input, or every format would be a new one.
const fn kind(error: &CodecError) -> &'static str {
    match error {
        CodecError::Empty => "empty",
        CodecError::Format { .. } => "another format",
        CodecError::Malformed { .. } => "malformed",
    }
}

#[test]
fn fuzz_a_ledger_record_follows_only_if_it_was_written_here() {
    let before = [3; CHAIN_BYTES];
    let records = CryptoOperation::ALL.into_iter().zip(0..);
    let written: Vec<Vec<u8>> = records
        .map(|(operation, number)| record::encode(&ledger_record(operation, number), &before).0)
        .collect();
    fuzz("ledger-record", &written, |bytes| {
        let read = record::decode(bytes, &before).map_err(|error| kind(&error));
        let (record, chain, follows) = read?;
        if follows {
            assert!(written.iter().any(|written| written == bytes), "a record nobody has written");
        }
        // What is read is what a newer build would store again, behind a chain value of its own.
        let (again, _) = record::encode(&record, &chain);
        assert_eq!(record::decode(&again, &chain).map(|(read, ..)| read), Ok(record));
        Ok::<_, &str>(follows)
    });
}

#[test]
fn fuzz_a_row_of_the_ledgers_counters_is_read_or_refused() {
    let records = CryptoOperation::ALL.into_iter().zip(0..);
    let rows: Vec<Vec<u8>> = records
        .map(|(operation, number)| CounterKey::of(&ledger_record(operation, number)).row())
        .collect();
    fuzz("ledger-row", &rows, |row| {
        let key = CounterKey::parse(row);
        if let Some(key) = &key {
            assert_eq!(CounterKey::parse(&key.row()).as_ref(), Some(key));
        }
        key.map(|key| key.operation)
    });
}

#[test]
fn fuzz_a_recovery_share_is_read_as_it_was_printed_or_refused() {
    let root = RootKey::generate(&Fixed(5));
    let shares = split(&root, 5, 3, &Fixed(6)).unwrap();
    let printed: Vec<Vec<u8>> =
        shares.iter().map(|share| share.to_text().as_bytes().to_vec()).collect();
    fuzz("share", &printed, |bytes| {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let share = Share::parse(text)?;
        assert!(share.need() >= NEED_MIN);
        Ok::<_, ShareError>(share.need())
    });
}

#[tokio::test]
async fn fuzz_the_beginning_of_a_backup_is_read_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let mut made = Vec::new();
    backup::write(&kms.engine, &mut made).unwrap();
    kms.stop().await;
    let (whole, _) = BackupHeader::read(&mut &made[..]).unwrap();
    fuzz("backup-header", &[made], |bytes| {
        let mut source = bytes;
        match BackupHeader::read(&mut source) {
            // What it says is believed only once a chunk has opened that is bound to it.
            Ok((header, _)) => {
                assert_eq!(header.format, whole.format);
                "read"
            }
            Err(BackupError::NotABackup) => "something else",
            Err(BackupError::Format { .. }) => "another format",
            Err(BackupError::Altered(why)) => why,
            Err(error) => panic!("{error}"),
        }
    });
}
