//! The commands: a backup of a running server, a look at it, the loss of the disk and of the root
//! key, and both back. Each mistake is one sentence with its exit code, and breaks nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use lockbox_platform::certificates;
use lockbox_proto::yandex::cloud::kms::v1::{
    CreateSymmetricKeyRequest, SymmetricAlgorithm, SymmetricKey,
};
use lockbox_proto::yandex::cloud::operation::operation;

use crate::process::{config_of, prepare, run, serve, stop};
use crate::server_support::{ServerFixture, TOKEN, client_tls, with_token};

/// The connection of an operator, behind a command.
fn connection(server: &ServerFixture, stem: &str) -> Vec<String> {
    let files = certificates::leaf_files(server.certificates(), stem);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (ca, endpoint) = (server.certificates().join("ca.pem"), server.addr().to_string());
    let flags = [
        ["--endpoint".to_owned(), endpoint],
        ["--ca".to_owned(), path(&ca)],
        ["--certificate".to_owned(), path(&files.certificate)],
        ["--key".to_owned(), path(&files.key)],
    ];
    flags.concat()
}

fn run_with(command: &[&str], connection: &[String]) -> (i32, String, String) {
    let connection: Vec<&str> = connection.iter().map(String::as_str).collect();
    run(&[command, &connection].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_sent_a_backup_and_nobody_else_is() {
    let place = tempfile::tempdir().unwrap();
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    let create = CreateSymmetricKeyRequest {
        folder_id: "folder".to_owned(),
        name: "kept".to_owned(),
        default_algorithm: SymmetricAlgorithm::Aes256.into(),
        ..CreateSymmetricKeyRequest::default()
    };
    let created = keys.create(with_token(create, TOKEN)).await.unwrap().into_inner();
    let Some(operation::Result::Response(any)) = created.result else { panic!() };
    let key: SymmetricKey = any.to_msg().unwrap();

    let file = place.path().join("kms.backup");
    let to = file.to_str().unwrap();
    let command = ["admin", "backup", "--to", to];
    let (code, _, error) = run_with(&command, &connection(&server, "node-1"));
    assert_eq!(code, 1, "{error}");
    assert!(error.starts_with("kms-sim: PERMISSION_DENIED: "), "{error}");
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let (code, said, error) = run_with(&command, &connection(&server, "operator"));
    assert_eq!(code, 0, "{error}");
    let bytes = fs::metadata(&file).unwrap().len();
    assert_eq!(said, format!("backed up into {to}, {bytes} bytes\n"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, error) = run_with(&command, &connection(&server, "operator"));
    assert!(code == 2 && error.contains("cannot write"), "{error}");
    assert_eq!(fs::metadata(&file).unwrap().len(), bytes, "what is there is kept");
    let content = fs::read(&file).unwrap();
    assert!(!content.windows(key.id.len()).any(|window| window == key.id.as_bytes()));

    let audit = fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = audit
        .lines()
        .filter(|line| line.contains("kms.BackUpKms\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 2, "{events:#?}");
    let done = events.iter().find(|event| event["event_status"] == "DONE").unwrap();
    assert_eq!(done["authentication"]["subject_id"], "operator.lockbox.internal");
    let text = server.metrics_text();
    assert!(text.contains("kms_commits_reserved 0"), "{text}");
    server.stop().await;

    // The same root key as the server's, in a file: what was sent can be restored.
    let tls = client_tls();
    let directory = prepare(&tls);
    fs::write(directory.path().join("root.key"), "09".repeat(32)).unwrap();
    let config = config_of(directory.path());
    let (code, said, error) = run(&["backup", "verify", "--config", &config, to]);
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("keys:            2\n"), "{said}");
    assert!(said.ends_with("the backup can be restored\n"), "{said}");
}

/// The disk and the root key are gone; what is left is a backup, and two people with shares.
#[test]
fn a_destroyed_disk_and_a_lost_root_key_come_back() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let config = config_of(directory.path());
    let text = fs::read_to_string(&config).unwrap();
    let backups = directory.path().join("backups");
    fs::write(&config, format!("{text}\n[backup]\ndirectory = {backups:?}\n")).unwrap();
    let child = serve(directory.path());
    let file = written(&backups);
    assert_eq!(stop(child), 0);
    let shares = ["root", "shares", "--config", &config, "--of", "3", "--need", "2"];
    let (code, shares, error) = run(&shares);
    assert_eq!(code, 0, "{error}");
    fs::write(at("shares"), shares.lines().take(2).collect::<Vec<_>>().join("\n")).unwrap();
    fs::set_permissions(at("shares"), PermissionsExt::from_mode(0o600)).unwrap();

    fs::remove_dir_all(at("data")).unwrap();
    fs::remove_file(at("root.key")).unwrap();
    let restore = ["restore", "--config", &config, &file];
    let (code, _, error) = run(&restore);
    assert!(code == 2 && error.contains("cannot read the root key file"), "{error}");
    let (key, shares) = (at("root.key"), at("shares"));
    let of_data = ["root", "recover", "--config", &config, "--file", &key, &shares];
    let (code, _, error) = run(&of_data);
    assert!(code == 10 && error.contains("there is no store in"), "{error}");
    assert!(!Path::new(&key).exists());
    let (code, _, error) = run(&["root", "recover", "--backup", &file, "--file", &key, &shares]);
    assert_eq!(code, 0, "{error}");
    let (code, _, error) = run(&restore);
    assert!(code == 2 && error.contains("give --standalone"), "{error}");
    assert!(!Path::new(&at("data")).join("db").exists());
    let (code, said, error) = run(&[&restore[..], &["--dry-run"]].concat());
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("time rolls back to it"), "{said}");
    assert!(!Path::new(&at("data")).join("db").exists(), "a dry run restores nothing");
    let (code, said, error) = run(&[&restore[..], &["--standalone"]].concat());
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("destroy them again"), "{said}");
    let (code, _, error) = run(&[&restore[..], &["--standalone"]].concat());
    assert!(code == 2 && error.contains("there is a store in"), "{error}");

    let child = serve(directory.path());
    assert_eq!(stop(child), 0);
    let (code, said, error) = run(&["billing", "verify", "--config", &config]);
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("0 problems\nrestored from a backup of "), "{said}");
}

#[test]
fn what_is_no_backup_is_said_in_one_sentence() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let config = config_of(directory.path());
    let backups = directory.path().join("backups");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[backup]\ndirectory = {backups:?}\n")).unwrap();
    let child = serve(directory.path());
    let file = written(&backups);
    assert_eq!(stop(child), 0);
    let refused = |file: &str, code: i32, sentence: &str| {
        let (found, said, error) = run(&["backup", "verify", "--config", &config, file]);
        assert_eq!(found, code, "{error}");
        assert!(error.contains(sentence) && error.lines().count() == 1, "{error}");
        assert!(said.is_empty(), "{said}");
    };
    refused(&at("nowhere"), 2, "cannot read the backup");
    refused(&config, 2, "it is no backup of a kms-sim");
    let mut content = fs::read(&file).unwrap();
    fs::write(at("cut"), &content[..content.len() - 9]).unwrap();
    refused(&at("cut"), 11, "was altered, or it is not whole");
    let last = content.len() - 1;
    content[last] ^= 1;
    fs::write(at("changed"), &content).unwrap();
    refused(&at("changed"), 11, "was altered, or it is not whole");
    fs::write(at("root.key"), "7".repeat(64)).unwrap();
    refused(&file, 13, "the root key does not open the backup");
    assert_eq!(run(&["backup", "verify", "--config", &config]).0, 2);
    let both = ["restore", "--config", &config, "--dry-run", "--standalone", &file];
    assert_eq!(run(&both).0, 2);
    fs::write(&config, format!("{text}\n[backup]\nkeep = 0\n")).unwrap();
    let (code, _, error) = run(&["serve", "--config", &config]);
    assert!(code == 2 && error.contains("backup.keep must be positive"), "{error}");
}

/// The backup that the server has written by itself.
fn written(directory: &Path) -> String {
    let deadline = 60 * 1000 / 20;
    for _ in 0..deadline {
        let found = fs::read_dir(directory).into_iter().flatten();
        let found = found.map(|entry| entry.unwrap().path());
        let mut found = found.filter(|path| path.extension().is_some_and(|end| end == "backup"));
        if let Some(path) = found.next() {
            return path.to_str().unwrap().to_owned();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the server writes no backup");
}
