//! The end of the ledger: what is cut off there shows by the audit.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::ledger::verify::verify;
use lockbox_kms_sim::store::Db;
use lockbox_proto::yandex::cloud::kms::v1::SymmetricEncryptRequest;

use crate::process::run;
use crate::requests::{by, create};
use crate::server_support::ServerFixture;

const CALLS: usize = 20;
/// Looks at a directory that have to agree before it counts as left alone, and time between them.
const SAME_LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Names and lengths of the files of a directory.
fn listing(directory: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter_map(|entry| {
        // One that is removed meanwhile is no longer there.
        let metadata = entry.metadata().ok()?;
        metadata.is_file().then(|| (entry.path(), metadata.len()))
    });
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

fn with_extension(directory: &Path, extension: &str) -> Vec<(PathBuf, u64)> {
    let mut files = listing(directory);
    files.retain(|(path, _)| path.extension().is_some_and(|found| found == extension));
    files
}

/// Waits until the server has done what it does behind its start: it rewrites files.
async fn settled(store: &Path) {
    let (mut before, mut same) = (Vec::new(), 0);
    while same < SAME_LOOKS {
        tokio::time::sleep(PAUSE).await;
        let now = listing(store);
        let unchanged = now == before && !with_extension(store, "sst").is_empty();
        same = if unchanged { same + 1 } else { 0 };
        before = now;
    }
}

/// What a killed process leaves: the kernel has all that it has written.
fn as_killed(data_dir: &Path, copy: &Path) {
    for directory in ["", "db"] {
        fs::create_dir_all(copy.join(directory)).unwrap();
        for (path, _) in listing(&data_dir.join(directory)) {
            fs::copy(&path, copy.join(directory).join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// Cuts the last log of a store in half.
fn cut(store: &Path) {
    let logs = with_extension(store, "log");
    let (log, length) = logs.into_iter().rfind(|(_, length)| *length > 0).unwrap();
    File::options().write(true).open(log).unwrap().set_len(length / 2).unwrap();
}

async fn encrypt(server: &ServerFixture, key_id: &str, calls: usize) {
    let mut crypto = server.crypto(None).await;
    for _ in 0..calls {
        let request = SymmetricEncryptRequest {
            key_id: key_id.to_owned(),
            plaintext: b"value".to_vec(),
            ..SymmetricEncryptRequest::default()
        };
        crypto.encrypt(by(request)).await.unwrap();
    }
}

fn billing_verify(data_dir: &Path) -> (i32, String) {
    let (code, output, _) = run(&["billing", "verify", "--data", data_dir.to_str().unwrap()]);
    (code, output)
}

fn lost_calls(server: &ServerFixture) -> u64 {
    let text = server.metrics_text();
    let value = text.lines().find_map(|line| line.strip_prefix("kms_ledger_lost_calls "));
    value.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn security_s19_a_ledger_that_was_cut_at_its_end_does_not_agree_with_the_audit() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, shorter) = (directory.path().join("whole"), directory.path().join("shorter"));
    let server = ServerFixture::start(|_| {}).await;
    assert_eq!(lost_calls(&server), 0);
    let key_id = create(&mut server.keys(None).await).await.id;
    settled(&db_directory(&server.data_dir())).await;
    encrypt(&server, &key_id, CALLS).await;
    let (code, output) = billing_verify(&server.data_dir());
    assert_eq!(code, 0, "beside the server: {output}");
    for copy in [&whole, &shorter] {
        as_killed(&server.data_dir(), copy);
    }
    server.stop().await;
    let (code, output) = billing_verify(&whole);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("20 records, ") && output.contains(" 20 audited calls, "), "{output}");

    cut(&db_directory(&shorter));
    let left = {
        let db = Db::open_read_only(&db_directory(&shorter)).unwrap();
        let result = verify(&db.view()).unwrap();
        assert_eq!(result.problems, [], "what is left agrees with itself");
        result.records
    };
    let lost = CALLS as u64 - left;
    assert!(left > 0 && lost > 0, "{left} of {CALLS} records are left");
    let (code, output) = billing_verify(&shorter);
    assert_eq!(code, 11, "{output}");
    assert!(output.contains(&format!(" {lost} problems")), "{output}");

    // The KMS says so at its start. Others that take the place of the lost ones hide nothing.
    let data_dir = shorter.clone();
    let server = ServerFixture::start(|config| config.data_dir = data_dir).await;
    assert_eq!(lost_calls(&server), lost);
    encrypt(&server, &key_id, CALLS).await;
    server.stop().await;
    let (code, output) = billing_verify(&shorter);
    assert_eq!(code, 11, "{output}");
    assert!(output.contains(&format!(" {lost} problems")), "{output}");
}

/// What is compared does not end where somebody has changed a number, and an audit that names nothing
/// proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn security_s19_an_altered_audit_does_not_hide_a_cut_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    let server = ServerFixture::start(|_| {}).await;
    let key_id = create(&mut server.keys(None).await).await.id;
    settled(&db_directory(&server.data_dir())).await;
    encrypt(&server, &key_id, CALLS).await;
    as_killed(&server.data_dir(), &copy);
    server.stop().await;
    let audit = copy.join("audit.jsonl");
    let whole = fs::read_to_string(&audit).unwrap();
    let altered = |text: &str| {
        fs::write(&audit, text).unwrap();
        billing_verify(&copy)
    };
    let last = format!("the newest {CALLS} records are named by no call of the audit");
    let (code, output) = altered("");
    assert!(code == 0 && output.contains(&last), "{output}");

    let second = whole.lines().nth(1).unwrap();
    let changed = {
        let (begin, rest) = second.split_once("\"sequence\":").unwrap();
        let (_, end) = rest.split_once([',', '}']).unwrap();
        let separator = &rest[rest.len() - end.len() - 1..rest.len() - end.len()];
        format!("{begin}\"sequence\":99999999{separator}{end}")
    };
    for other in [changed.as_str(), "no record", ""] {
        let (code, output) =
            altered(&whole.replacen(&format!("{second}\n"), &format!("{other}\n"), 1));
        assert_eq!(code, 11, "{output}");
        assert!(output.contains(" 1 problems"), "{output}");
    }
    // Nor at either end: neither number says where the audit begins or ends.
    let numbered = |line: &str, number: u64| {
        let (begin, rest) = line.split_once("\"sequence\":").unwrap();
        let end = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        format!("{begin}\"sequence\":{number}{end}")
    };
    let (first, last) = (whole.lines().next().unwrap(), whole.lines().last().unwrap());
    for (line, number) in [(first, 99_999_999), (last, 0), (last, 99_999_999)] {
        let (code, output) = altered(&whole.replacen(line, &numbered(line, number), 1));
        assert_eq!(code, 11, "{number}: {output}");
        assert!(output.contains(" 1 problems"), "{number}: {output}");
    }
    // One change is one problem.
    for (name, other) in
        [("taken away", String::new()), ("there twice", format!("{second}\n{second}\n"))]
    {
        let (code, output) = altered(&whole.replacen(&format!("{second}\n"), &other, 1));
        assert_eq!(code, 11, "{name}: {output}");
        assert!(output.contains(" 1 problems"), "{name}: {output}");
    }

    // Of a cut ledger every lost call is named, whatever is done to the audit, unless it is taken out
    // of that: then the line is.
    cut(&db_directory(&copy));
    let (code, output) = altered(&whole);
    assert_eq!(code, 11, "{output}");
    let lost = output.matches("of the ledger, which is not there").count();
    assert!(lost > 0, "{output}");
    let lines: Vec<&str> = whole.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let (begin, end) = lines.split_at(lines.len() / 2);
    let numbers_of_two = [numbered(lines[0], 900_000_000), numbered(lines[1], 900_000_001)];
    let of_two: Vec<&str> = numbers_of_two.iter().map(String::as_str).collect();
    let altered_audits = [
        ("a number", whole.replacen(second, &changed, 1)),
        ("garbage behind it", format!("{whole}{}", "x\n".repeat(200))),
        ("blank lines behind it", format!("{whole}{}", "\n".repeat(200))),
        ("its begin once more behind it", format!("{whole}{}", joined(begin))),
        ("the first two numbers", joined(&of_two) + &joined(&lines[2..])),
        ("halves swapped", joined(end) + &joined(begin)),
    ];
    for (name, text) in altered_audits {
        let (code, output) = altered(&text);
        assert_eq!(code, 11, "{name}: {output}");
        let named = output.matches("of the ledger, which is not there").count();
        assert!(named >= lost, "{name}: {named} of {lost}: {output}");
        assert!(
            output.contains("of the audit is followed by") || output.contains("cannot be read")
        );
    }
    // A file that is none hides nothing, and is named.
    fs::write(&audit, &whole).unwrap();
    fs::write(copy.join("audit.jsonl.000000000000.zst"), "none").unwrap();
    let (code, output) = billing_verify(&copy);
    assert_eq!(code, 11, "{output}");
    assert!(
        output.contains("audit.jsonl.000000000000.zst of the audit cannot be read"),
        "{output}"
    );
    assert!(output.contains(&format!(" {} problems", lost + 1)), "{output}");
}

#[test]
fn a_ledger_without_its_audit_is_said_to_have_none() {
    let directory = tempfile::tempdir().unwrap();
    let store = db_directory(directory.path());
    fs::create_dir_all(&store).unwrap();
    drop(Db::open(&store).unwrap());
    let (code, output) = billing_verify(directory.path());
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("there is no audit in"), "{output}");
}
