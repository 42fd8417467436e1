//! The head of the KMS's audit, as nodes are told it, and what it is good for.

use std::path::Path;
use std::time::Duration;

use lockbox_core::{KMS_AUDIT_ID, LogTime};
use lockbox_kms_sim::KmsConfig;
use lockbox_platform::audit::verify::{verify, verify_removed};
use lockbox_platform::audit::{
    AuditFiles, ChainHead, HeadStatement, LineHash, LineRead, SIGNER_BYTES, Walk,
};
use lockbox_proto::lockbox::kms::v1::{
    AuditRecordMark, CheckAttachRequest, TellAuditHeadRequest, TellAuditHeadResponse,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::server_support::{Asserted, ServerFixture, TOKEN, client_tls, from_node, with_token};
use crate::unread::records;

const CLUSTER: &str = "lbccluster";
/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Some six records.
const FILE_BYTES: u64 = 4096;

fn request(last: Option<ChainHead>) -> TellAuditHeadRequest {
    let mark = |head: ChainHead| {
        let hash = head.hash.as_bytes().to_vec();
        AuditRecordMark { sequence: head.sequence, hash }
    };
    let (cluster_id, last) = (CLUSTER.to_owned(), last.map(mark));
    TellAuditHeadRequest { cluster_id, last, removed_before: 0 }
}

/// Makes the KMS record some calls.
async fn call(server: &ServerFixture, times: u32) {
    let mut node = server.access(Some("node-1")).await;
    let admin = Asserted::new("admin", "kms.admin");
    for _ in 0..times {
        let check = CheckAttachRequest { key_id: "abjnowhere".to_owned() };
        let refused = node.check_attach(from_node(check, &admin)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
}

async fn ask(server: &ServerFixture, request: TellAuditHeadRequest) -> TellAuditHeadResponse {
    let mut node = server.heads(Some("node-1")).await;
    let answer = node.tell_audit_head(Request::new(request)).await.unwrap();
    assert!(answer.metadata().get("kms-index").is_some());
    answer.into_inner()
}

/// What is told once all that was recorded is on the disk. Its signature fits.
async fn told(
    server: &ServerFixture,
    files: &AuditFiles,
    last: Option<ChainHead>,
) -> (ChainHead, bool) {
    let newest = last_record(files);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask(server, request(last)).await;
        let head = answer.head.is_some().then(|| checked(&answer));
        if head == Some(newest) {
            return (newest, answer.followed);
        }
        assert!(Instant::now() < deadline, "{head:?} is told, and {newest:?} is the last");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The head in an answer, which has signed it.
fn checked(answer: &TellAuditHeadResponse) -> ChainHead {
    let mark = answer.head.as_ref().unwrap();
    let hash = LineHash::from_bytes(mark.hash.as_slice().try_into().unwrap());
    let head = ChainHead { sequence: mark.sequence, hash };
    let said = HeadStatement {
        cluster_id: CLUSTER,
        node_id: KMS_AUDIT_ID,
        head,
        told_at: LogTime::from_ms(answer.told_at_ms),
        removed_through: answer.removed_before.checked_sub(1),
    };
    assert!(said.is_signed(&signer(answer), &answer.signature), "{answer:?}");
    head
}

fn signer(answer: &TellAuditHeadResponse) -> [u8; SIGNER_BYTES] {
    answer.signer.as_slice().try_into().unwrap()
}

/// The lines of an audit, file by file.
fn lines(files: &AuditFiles) -> Vec<Vec<Vec<u8>>> {
    let (mut walk, mut all) = (Walk::new(files), Vec::new());
    while let Some(mut file) = walk.next_file().unwrap() {
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        while file.read_line(&mut line).unwrap() == LineRead::Whole {
            lines.push(std::mem::take(&mut line));
        }
        all.push(lines);
    }
    all
}

fn last_record(files: &AuditFiles) -> ChainHead {
    let all: Vec<Vec<u8>> = lines(files).concat();
    let last = all.last().unwrap();
    let record: Value = serde_json::from_slice(last).unwrap();
    ChainHead { sequence: record["sequence"].as_u64().unwrap(), hash: LineHash::of(last) }
}

/// A server on the data of another one, which has ended.
async fn started_on(directory: &Path) -> ServerFixture {
    let data_dir = directory.join("data");
    ServerFixture::start_with(client_tls(), |config| config.data_dir = data_dir).await
}

fn small_files(config: &mut KmsConfig) {
    config.audit.file_bytes_max = FILE_BYTES;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_node_in_its_own_name_is_told_and_only_refusals_are_on_record() {
    let server = ServerFixture::start(|_| {}).await;
    let files = AuditFiles::at(&server.data_dir());
    call(&server, 2).await;
    let (head, followed) = told(&server, &files, None).await;
    assert!(followed);
    let before = records(&server).len();
    assert_eq!(head.sequence + 1, before as u64);
    for _ in 0..3 {
        assert_eq!(told(&server, &files, Some(head)).await, (head, true));
    }
    assert_eq!(records(&server).len(), before, "being told is no event");

    let mut stranger = server.heads(None).await;
    let mut operator = server.heads(Some("operator")).await;
    let mut node = server.heads(Some("node-1")).await;
    let admin = Asserted::new("admin", "kms.admin");
    let nobodys = TellAuditHeadRequest { cluster_id: String::new(), ..request(None) };
    let mut short = request(Some(head));
    short.last.as_mut().unwrap().hash.truncate(31);
    let refusals = [
        (stranger.tell_audit_head(request(None)).await, Code::Unauthenticated),
        (stranger.tell_audit_head(with_token(request(None), TOKEN)).await, Code::PermissionDenied),
        (operator.tell_audit_head(request(None)).await, Code::Unauthenticated),
        (node.tell_audit_head(from_node(request(None), &admin)).await, Code::PermissionDenied),
        (node.tell_audit_head(nobodys).await, Code::InvalidArgument),
        (node.tell_audit_head(short).await, Code::InvalidArgument),
    ];
    let written = records(&server).split_off(before);
    assert_eq!(written.len(), refusals.len());
    for ((refused, expected), record) in refusals.into_iter().zip(written) {
        assert_eq!(refused.unwrap_err().code(), expected, "{record}");
        assert_eq!(record["event_type"], "yandex.cloud.audit.kms.TellAuditHead");
        assert_eq!(record["error"]["code"], i32::from(expected), "{record}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_followed_from_what_the_cluster_knows() {
    let server = ServerFixture::start(small_files).await;
    let files = AuditFiles::at(&server.data_dir());
    call(&server, 20).await;
    let (known, _) = told(&server, &files, None).await;
    let signed_by = signer(&ask(&server, request(None)).await);
    call(&server, 20).await;
    assert!(told(&server, &files, Some(known)).await.1);
    let forged = ChainHead { hash: LineHash::of(b"another line"), ..known };
    assert!(!told(&server, &files, Some(forged)).await.1);
    let beyond = ChainHead { sequence: 1 << 40, ..known };
    assert!(!told(&server, &files, Some(beyond)).await.1);

    // Another run, which has told nothing yet, reads its files; its key is the same.
    let directory = server.stop().await;
    let server = started_on(directory.path()).await;
    assert!(told(&server, &files, Some(known)).await.1);
    assert_eq!(signer(&ask(&server, request(None)).await), signed_by);
    let (last, _) = told(&server, &files, None).await;
    server.stop().await;

    // Its last record is cut off, and it goes on.
    let text = std::fs::read_to_string(files.active()).unwrap();
    let kept: Vec<&str> = text.lines().collect();
    std::fs::write(files.active(), kept[..kept.len() - 1].join("\n") + "\n").unwrap();
    let server = started_on(directory.path()).await;
    call(&server, 3).await;
    assert!(!told(&server, &files, Some(last)).await.1);
    server.stop().await;
}

fn few_files(config: &mut KmsConfig) {
    config.audit.file_bytes_max = FILE_BYTES;
    config.audit.finished_files_max = Some(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removes_is_in_the_log_first() {
    let server = ServerFixture::start(few_files).await;
    let files = AuditFiles::at(&server.data_dir());
    call(&server, 40).await;
    told(&server, &files, None).await;
    let answer = ask(&server, request(None)).await;
    assert!(answer.removed_before > 0, "{answer:?}");
    assert_eq!(verify(&files, &[]).unwrap().first, Some(0));
    let known = TellAuditHeadRequest { removed_before: answer.removed_before, ..request(None) };
    ask(&server, known.clone()).await;
    // The next record takes them with it.
    call(&server, 1).await;
    let (head, _) = told(&server, &files, None).await;
    let removed = answer.removed_before.checked_sub(1);
    let findings = verify_removed(&files, &[head], removed).unwrap();
    assert_eq!(findings.problems_total, 0, "{:#?}", findings.problems);
    assert_eq!(findings.first, Some(answer.removed_before));
    assert_eq!(verify_removed(&files, &[head], None).unwrap().problems_total, 1);
    // Whoever says that all is removed has nothing removed that is not too many.
    ask(&server, TellAuditHeadRequest { removed_before: u64::MAX, ..known }).await;
    call(&server, 1).await;
    assert!(verify(&files, &[]).unwrap().files > 1);
    server.stop().await;
}

/// Who stands alone has nobody to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_files_go_at_once_and_a_node_that_asks_hears_of_it() {
    let server = ServerFixture::start_with(client_tls(), few_files).await;
    let files = AuditFiles::at(&server.data_dir());
    call(&server, 40).await;
    let first = verify(&files, &[]).unwrap().first.unwrap();
    assert!(first > 0);
    told(&server, &files, None).await;
    assert!(ask(&server, request(None)).await.removed_before >= first);
    server.stop().await;
}

/// Numbers that look like chance and are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(end).unwrap()).unwrap()
    }
}

type Audit = Vec<Vec<Vec<u8>>>;

/// Changes the record at this place of the whole and chains it and all that follow anew.
fn forge_from(audit: &mut Audit, first: usize) {
    let mut before: Option<LineHash> = None;
    for (place, line) in audit.iter_mut().flatten().enumerate() {
        if place >= first {
            let mut record: Value = serde_json::from_slice(line).unwrap();
            record["event_id"] = "forged".into();
            if let Some(hash) = before {
                record["previous_hash"] = hash.to_string().into();
            }
            *line = record.to_string().into_bytes();
        }
        before = Some(LineHash::of(line));
    }
}

/// Adds a record that follows the last one.
fn append(audit: &mut Audit) {
    let last = audit.iter().flatten().last().unwrap();
    let mut record: Value = serde_json::from_slice(last).unwrap();
    record["previous_hash"] = LineHash::of(last).to_string().into();
    record["sequence"] = (record["sequence"].as_u64().unwrap() + 1).into();
    let line = record.to_string().into_bytes();
    audit.last_mut().unwrap().push(line);
}

/// Does one thing to the audit that nobody may do, and says what.
fn tamper(audit: &mut Audit, numbers: &mut Numbers) -> String {
    let file = numbers.below(audit.len());
    let line = numbers.below(audit[file].len());
    let all: usize = audit.iter().map(Vec::len).sum();
    let place = audit[..file].iter().map(Vec::len).sum::<usize>() + line;
    let what = match numbers.below(8) {
        0 => {
            // The tail, through as many files as it takes.
            audit.truncate(file + 1);
            audit[file].truncate(line);
            "cut everything from"
        }
        1 => {
            audit[file].truncate(line);
            "cut the file before"
        }
        2 => {
            audit[file].clear();
            "removed the file of"
        }
        3 => {
            forge_from(audit, place);
            "made the chain anew from"
        }
        4 => {
            forge_from(audit, place);
            (0..=numbers.below(5)).for_each(|_| append(audit));
            "made the chain anew, and longer, from"
        }
        5 => {
            audit[file].remove(line);
            "removed"
        }
        6 => {
            let at = numbers.below(audit[file][line].len());
            audit[file][line][at] ^= 1 << numbers.below(8);
            "changed a bit of"
        }
        _ => {
            // As if nothing had been there: a new audit with other records.
            forge_from(audit, 0);
            let other = numbers.below(audit.len());
            audit.swap(file, other);
            "made all anew, and moved the file of"
        }
    };
    format!("{what} line {line} of file {file}, record {place} of {all}")
}

/// Writes it as the server has it, but for what is gone as a whole.
fn store(audit: &Audit, finished: &[u64]) -> (TempDir, AuditFiles) {
    let directory = tempfile::tempdir().unwrap();
    let files = AuditFiles::at(directory.path());
    for (number, lines) in audit.iter().enumerate() {
        let path =
            finished.get(number).map_or(files.active().to_owned(), |last| files.plain(*last));
        let whole = |line: &Vec<u8>| [line.as_slice(), b"\n"].concat();
        let bytes: Vec<u8> = lines.iter().flat_map(whole).collect();
        if !bytes.is_empty() {
            std::fs::write(path, bytes).unwrap();
        }
    }
    (directory, files)
}

/// The files of a real server, against the head that it has told: truncation, whole files that are
/// gone, and chains that were made anew are found each time.
#[tokio::test(flavor = "multi_thread")]
async fn security_s19_whatever_is_done_to_the_audit_of_the_kms_is_found() {
    let server = ServerFixture::start(small_files).await;
    let files = AuditFiles::at(&server.data_dir());
    call(&server, 40).await;
    let (head, _) = told(&server, &files, None).await;
    let _directory = server.stop().await;
    let (finished, whole) = (files.finished().unwrap(), lines(&files));
    assert!(finished.len() > 3 && whole.len() == finished.len() + 1, "{finished:?}");
    let (_kept, same) = store(&whole, &finished);
    let findings = verify(&same, &[head]).unwrap();
    assert_eq!((findings.problems_total, findings.heads_found), (0, 1), "{findings:#?}");
    for seed in 0..500 {
        let mut audit = whole.clone();
        let done = tamper(&mut audit, &mut Numbers(seed));
        if audit == whole {
            continue;
        }
        let (_directory, files) = store(&audit, &finished);
        let findings = verify(&files, &[head]).unwrap();
        assert!(findings.problems_total > 0, "seed {seed}: {done}");
    }
    // Every set of files that is missing.
    for removed in 1..1_usize << whole.len().min(6) {
        let mut audit = whole.clone();
        for file in (0..audit.len()).filter(|file| removed & (1 << file) != 0) {
            audit[file].clear();
        }
        let (_directory, files) = store(&audit, &finished);
        let findings = verify(&files, &[head]).unwrap();
        assert!(findings.problems_total > 0, "{removed:b}");
    }
}
