//! The files lead from one record to another as they were written, and in no other way.

use super::tampering::{Audit, FILES, RECORDS, append, forge_from, written};
use super::*;

/// A record of the audit as it is.
fn record_at(audit: &Audit, at: usize) -> ChainHead {
    let line = audit.files.iter().flatten().nth(at).expect("a line");
    ChainHead { sequence: at as u64, hash: LineHash::of(line) }
}

/// Whether the files lead there.
fn leads_in(audit: &Audit, from: ChainHead, to: ChainHead) -> bool {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = audit.store(dir.path());
    leads(&files, from, to).expect("an audit")
}

#[test]
fn every_record_leads_to_every_later_one() {
    let known = written();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = known.audit.store(dir.path());
    for from in 0..RECORDS {
        for to in (0..RECORDS).step_by(7).chain([RECORDS - 1]) {
            let (first, last) = (record_at(&known.audit, from), record_at(&known.audit, to));
            let led = leads(&files, first, last).expect("an audit");
            assert_eq!(led, from <= to, "from {from} to {to}");
        }
    }
}

/// Whatever is changed and chained anew before the record that was anchored last, and however much
/// is added behind it: that record does not lead to what is there now.
#[test]
fn a_chain_that_was_made_anew_does_not_follow() {
    let known = written();
    let padding = encrypt("padding").to_json().expect("JSON");
    for at in 0..RECORDS {
        let mut audit = known.audit.clone();
        forge_from(&mut audit, (at / (RECORDS / FILES), at % (RECORDS / FILES)));
        for padded in 1..4 {
            append(&mut audit, &padding);
            let last = record_at(&audit, RECORDS - 1 + padded);
            assert!(!leads_in(&audit, known.head, last), "from {at}, {padded} more");
            if let Some(before) = at.checked_sub(1) {
                // What comes before is what it was, and leads there.
                assert!(leads_in(&audit, record_at(&known.audit, before), last));
            }
            // The anchored record itself, put back where it was.
            let mut back = audit.clone();
            let place = RECORDS / FILES - 1;
            back.files[FILES - 1][place] = known.audit.files[FILES - 1][place].clone();
            assert!(!leads_in(&back, known.head, last), "from {at}, {padded} more");
        }
    }
}

/// A record that was anchored and is not there leads nowhere, nor does one to where nothing is.
#[test]
fn a_cut_does_not_follow() {
    let known = written();
    let mut audit = known.audit.clone();
    audit.files[FILES - 1].truncate(3);
    let last = record_at(&audit, RECORDS - RECORDS / FILES + 2);
    assert!(leads_in(&audit, record_at(&audit, 0), last));
    assert!(!leads_in(&audit, known.head, last));
    assert!(!leads_in(&audit, last, known.head));
    audit.files.iter_mut().for_each(Vec::clear);
    assert!(!leads_in(&audit, last, known.head));
    let longer = ChainHead { sequence: RECORDS as u64, hash: LineHash::of(b"another line") };
    assert!(!leads_in(&audit, known.head, longer));
}
