use lockbox_platform::audit::HeadSigner;
use lockbox_raft::domain::audit_head::HeadMark;

use super::*;

fn head(sequence: u64, line: &[u8]) -> ChainHead {
    ChainHead { sequence, hash: LineHash::of(line) }
}

fn answer(signer: &HeadSigner, head: ChainHead, followed: bool) -> TellAuditHeadResponse {
    let (told_at, removed_through) = (LogTime::from_ms(5), Some(2));
    let (cluster_id, node_id) = ("cluster", KMS_AUDIT_ID);
    let said = HeadStatement { cluster_id, node_id, head, told_at, removed_through };
    let hash = head.hash.as_bytes().to_vec();
    TellAuditHeadResponse {
        head: Some(AuditRecordMark { sequence: head.sequence, hash }),
        followed,
        removed_before: 3,
        told_at_ms: 5,
        signer: signer.public_key().to_vec(),
        signature: signer.sign(&said),
    }
}

#[test]
fn only_what_the_kms_has_signed_is_read() {
    let signer = HeadSigner::derived_from(b"a secret").expect("a key");
    let answer = answer(&signer, head(7, b"a line"), true);
    let told = Told::read(&answer, "cluster").expect("signed").expect("a head");
    assert_eq!((told.head, told.removed_through), (head(7, b"a line"), Some(2)));
    assert!(matches!(Told::read(&answer, "another"), Err(TurnError::Unsigned)));
    let none = TellAuditHeadResponse::default();
    assert!(Told::read(&none, "cluster").expect("no head").is_none());
    let changes: [&dyn Fn(&mut TellAuditHeadResponse); 7] = [
        &|told| told.head.as_mut().expect("a head").sequence = 8,
        &|told| told.head.as_mut().expect("a head").hash[0] ^= 1,
        &|told| told.head.as_mut().expect("a head").hash.truncate(31),
        &|told| told.told_at_ms = 6,
        &|told| told.removed_before = 4,
        &|told| told.signer[0] ^= 1,
        &|told| told.signature.clear(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = answer.clone();
        change(&mut changed);
        let read = Told::read(&changed, "cluster");
        assert!(matches!(read, Err(TurnError::Unsigned)), "change {number}");
    }
}

#[test]
fn the_word_of_the_kms_counts_only_where_it_can_be_true() {
    let signer = HeadSigner::derived_from(b"a secret").expect("a key");
    let other = HeadSigner::derived_from(b"another one").expect("a key");
    let anchored = head(7, b"a line");
    let mark = HeadMark { sequence: 7, hash: *anchored.hash.as_bytes() };
    let last = |signer: &HeadSigner| Last {
        head: Some(anchored),
        signer: Some(signer.public_key()),
        removed_through: None,
    };
    let told = |head, followed| {
        Told::read(&answer(&signer, head, followed), "cluster").expect("signed").expect("a head")
    };
    let nothing = Last { head: None, signer: None, removed_through: None };
    assert_eq!(told(anchored, true).after(&nothing), After::Nothing);
    assert_eq!(told(anchored, true).after(&last(&signer)), After::Followed(mark));
    assert_eq!(told(head(8, b"next"), true).after(&last(&signer)), After::Followed(mark));
    for (head, followed, known) in [
        (head(8, b"next"), false, &signer),
        (head(6, b"before"), true, &signer),
        (head(7, b"another"), true, &signer),
        (head(8, b"next"), true, &other),
    ] {
        assert_eq!(told(head, followed).after(&last(known)), After::Abandoned(mark), "{head:?}");
    }
}
