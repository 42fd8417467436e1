//! A backup from its first byte to its last, and what is refused.

use std::fs;
use std::path::PathBuf;

use lockbox_core::{ClusterId, LogTime, OrganizationId};
use lockbox_platform::sealed_file::{FileKey, Recipient, RecipientKey, SealedBy, SealingWriter};
use lockbox_platform::statement::StatementSigner;
use lockbox_platform::system::SystemRandom;
use lockbox_platform::token::generate_seed;
use lockbox_raft::domain::codec;
use lockbox_raft::domain::erasure::{Destroyed, ErasurePoint};
use lockbox_raft::domain::identity::ClusterRecord;
use lockbox_raft::state::tables::DestroyedSince;
use lockbox_raft::state::{Row, Space, keys};
use lockbox_raft::store::{AppliedIndex, ExportPoint, ExportSink};
use tempfile::TempDir;

use super::content::{ContentWriter, KIND, Maker};
use super::destroyed_list::{DestroyedList, VerifiedList};
use super::restore::since;
use super::verify::{Verified, check, key_for, verify};

fn cluster() -> ClusterRecord {
    ClusterRecord {
        id: ClusterId::parse("lbc1").unwrap(),
        created_at: LogTime::from_ms(1),
        organization_id: OrganizationId::parse("bpf1").unwrap(),
        system_key_id: "abjsystem".to_owned(),
        keyring_cluster: None,
    }
}

fn point() -> ExportPoint {
    ExportPoint {
        cluster: Some(cluster()),
        applied: AppliedIndex { index: 70, term: 3 },
        log_time: LogTime::from_ms(5_000),
        erasures: 7,
        members: vec![1, 2, 3],
    }
}

/// More than one chunk, and more than one item of a space.
fn rows() -> Vec<(Space, Vec<Row>)> {
    let payload = |number: u8| (vec![b'p', number], vec![number; 300_000]);
    vec![
        (Space::Records, vec![(keys::CLUSTER.to_vec(), codec::encode(&cluster()))]),
        (Space::Payloads, (0..5).map(payload).collect()),
        (Space::System, vec![(b"log_time".to_vec(), vec![1])]),
    ]
}

struct Made {
    place: TempDir,
    key: RecipientKey,
    recipient: Recipient,
    signer: StatementSigner,
}

impl Made {
    fn new() -> Self {
        let (key, recipient) = RecipientKey::generate().unwrap();
        let signer = StatementSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
        Self { place: tempfile::tempdir().unwrap(), key, recipient, signer }
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("backup")
    }

    fn sealed_by(&self) -> SealedBy {
        let key = FileKey::generate(&SystemRandom);
        SealedBy { file_id: [7; 16], wraps: vec![self.recipient.wrap(&key).unwrap()], key }
    }

    fn write(&self, rows: Vec<(Space, Vec<Row>)>) -> Vec<u8> {
        let maker = Maker { node_id: 2, made_at: LogTime::from_ms(6_000) };
        let mut writer = ContentWriter::new(Vec::new(), self.sealed_by(), maker);
        writer.begin(&point()).unwrap();
        for (space, rows) in rows {
            writer.rows(space, rows).unwrap();
        }
        let (file, written) = writer.finish(&self.signer).unwrap();
        assert_eq!(written.bytes, file.len() as u64);
        file
    }

    fn read(&self, file: &[u8]) -> Result<Verified, String> {
        fs::write(self.path(), file).unwrap();
        let key = key_for(&self.path(), &self.key).map_err(|error| error.to_string())?;
        verify(&self.path(), &key).map_err(|error| error.to_string())
    }
}

#[test]
fn a_backup_says_of_what_it_is_and_who_has_signed_it() {
    let made = Made::new();
    let file = made.write(rows());
    let verified = made.read(&file).unwrap();
    let head = &verified.head;
    assert_eq!((head.cluster_id.as_str(), head.index, head.term), ("lbc1", 70, 3));
    assert_eq!((head.node_id, head.erasures, head.members.len()), (2, 7, 3));
    assert_eq!((verified.end.rows, &verified.cluster), (7, &cluster()));
    verified.check_signer(&made.signer.public_key()).unwrap();
    let other = verified.check_signer(&[7; 32]).unwrap_err().to_string();
    assert!(other.contains("another key has signed it"), "{other}");
    // Anybody sees what it is, and none of what is in it.
    let heading = check(&made.path()).unwrap();
    assert_eq!(heading.about["cluster_id"], "lbc1");
    assert_eq!(heading.about["log_time"], "1970-01-01T00:00:05Z");
    assert!(!file.windows(64).any(|window| window == [3; 64]));
}

#[test]
fn security_s24_backups_that_were_altered_cut_or_forged_are_refused() {
    let made = Made::new();
    let file = made.write(rows());
    for at in [0, 30, file.len() / 2, file.len() - 40, file.len() - 1] {
        let mut altered = file.clone();
        altered[at] ^= 1;
        made.read(&altered).unwrap_err();
    }
    for length in [0, 19, 100, file.len() / 2, file.len() - 33, file.len() - 1] {
        let error = made.read(&file[..length]).unwrap_err();
        assert!(error.contains("ends early") || error.contains("no sealed file"), "{error}");
    }
    assert!(made.read(b"#!/bin/sh\n").unwrap_err().contains("no sealed file"));
    // Sealed for the right recipient, by somebody who is not the cluster.
    let other = StatementSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
    let forged = Made { signer: other, ..Made::new() };
    let forged = Made { recipient: made.recipient.clone(), ..forged }.write(rows());
    let verified = made.read(&forged).unwrap();
    verified.check_signer(&made.signer.public_key()).unwrap_err();
    // Without the state of a cluster.
    let empty = made.write(Vec::new());
    assert!(made.read(&empty).unwrap_err().contains("not the state of a cluster"));
}

#[test]
fn what_is_inside_has_to_fit() {
    let made = Made::new();
    let item = |kind: u8, encoded: &[u8]| {
        [&[kind][..], &(encoded.len() as u32).to_be_bytes(), encoded].concat()
    };
    let sealed = |kind: &str, content: &[u8]| {
        let about = std::collections::BTreeMap::new();
        let mut writer = SealingWriter::begin(Vec::new(), kind, about, made.sealed_by()).unwrap();
        writer.write(content).unwrap();
        writer.finish().unwrap().0
    };
    let other = made.read(&sealed("backup of a KMS", b"")).unwrap_err();
    assert_eq!(other, "it is a backup of a KMS, and no backup of a cluster");
    for (content, problem) in [
        (Vec::new(), "it has no end"),
        (item(2, &codec::encode(&1_u32)), "does not begin with a head"),
        (item(1, &codec::encode(&1_u32)), "does not decode"),
        (item(1, &[9; 20]), "does not decode"),
        (vec![1, 255, 255, 255, 255], "too long"),
        (vec![1, 0, 0, 0, 9, 0], "ends early"),
    ] {
        let error = made.read(&sealed(KIND, &content)).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

fn list(made: &Made, cluster: &str, after: u64, upto: u64) -> VerifiedList {
    let secret_id = lockbox_core::SecretId::parse(&format!("e6q{upto}")).unwrap();
    let at = LogTime::from_ms(5_000 + upto);
    let destroyed = vec![Destroyed { secret_id, version_id: None, at }];
    let point = ErasurePoint { count: upto, index: 90, at };
    let cluster = ClusterId::parse(cluster).unwrap();
    let list = DestroyedList::new(&cluster, after, DestroyedSince { point, destroyed });
    VerifiedList::read(&list.sign(&made.signer).unwrap()).unwrap()
}

#[test]
fn lists_join_behind_a_backup_and_a_hole_is_told() {
    let made = Made::new();
    let verified = made.read(&made.write(rows())).unwrap();
    let none = since(&verified, &[]).unwrap();
    assert_eq!((none.destroyed.len(), none.upto, none.until), (0, 7, LogTime::from_ms(5_000)));
    let of = |pairs: &[(u64, u64)]| {
        let lists: Vec<_> = pairs.iter().map(|(a, b)| list(&made, "lbc1", *a, *b)).collect();
        let since = since(&verified, &lists).unwrap();
        (since.destroyed.len(), since.upto, since.missing)
    };
    assert_eq!(of(&[(0, 5), (0, 7)]), (0, 7, None), "all of that is in the backup");
    assert_eq!(of(&[(10, 12), (5, 10), (0, 5)]), (2, 12, None), "in any order");
    assert_eq!(of(&[(5, 9), (11, 12)]), (2, 12, Some(10)));
    let foreign = since(&verified, &[list(&made, "lbc2", 0, 9)]).unwrap_err().to_string();
    assert!(foreign.contains("of another cluster"), "{foreign}");
    let forged = since(&verified, &[list(&Made::new(), "lbc1", 0, 9)]).unwrap_err().to_string();
    assert!(forged.contains("another key has signed a list"), "{forged}");
}
