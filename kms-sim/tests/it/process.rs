//! The process: its commands, its exit codes, its sentences, and an orderly end.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lockbox_core::Clock;
use lockbox_platform::system::SystemClock;
use tempfile::TempDir;

use crate::server_support::client_tls;

fn kms_sim(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms-sim"));
    command.args(arguments);
    command
}

pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = kms_sim(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A directory with certificates, a root key and a configuration.
pub(crate) fn prepare(certificates: &TempDir) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root.key");
    let (code, _, error) = run(&["init-root", "--file", root.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    let config = format!(
        r#"
        data_dir = "{data}"
        [api]
        listen = "127.0.0.1:0"
        certificate = "{tls}/kms.pem"
        key = "{tls}/kms-key.pem"
        client_ca = "{tls}/ca.pem"
        [root_key]
        file = "{root}"
        "#,
        data = directory.path().join("data").display(),
        tls = certificates.path().display(),
        root = root.display(),
    );
    std::fs::write(directory.path().join("kms.toml"), config).unwrap();
    directory
}

pub(crate) fn config_of(directory: &Path) -> String {
    directory.join("kms.toml").to_str().unwrap().to_owned()
}

/// Starts the server and returns once it says that it is ready.
pub(crate) fn serve(directory: &Path) -> Child {
    let mut child = kms_sim(&["serve", "--config", &config_of(directory)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("kms-sim is ready"));
    assert!(ready, "the server ended: {:?}", child.wait());
    // The rest is read, so that the server never waits for room in the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

pub(crate) fn stop(mut child: Child) -> i32 {
    let told = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(told.success());
    let clock = SystemClock::new();
    let code = child.wait().unwrap().code().unwrap();
    let took = clock.monotonic();
    assert!(took < Duration::from_secs(5), "the end took {took:?}");
    code
}

#[test]
fn it_serves_reports_beside_it_and_ends_when_told() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let child = serve(directory.path());
    let config = config_of(directory.path());
    let (code, report, error) =
        run(&["billing", "report", "--config", &config, "--format", "json"]);
    assert_eq!(code, 0, "{error}");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["meters"][0]["sku"], "kms.api.v1.encryptdecrypt");
    let (code, verified, error) = run(&["billing", "verify", "--config", &config]);
    assert_eq!(
        (code, verified.as_str()),
        (0, "0 records, 0 counters, 0 audited calls, 0 problems\n"),
        "{error}"
    );

    // A second server in the same directory is refused and disturbs nothing.
    let (code, _, error) = run(&["serve", "--config", &config]);
    assert_eq!(code, 10, "{error}");
    assert!(error.contains("in use by another process"), "{error}");
    assert_eq!(stop(child), 0);
    assert_eq!(stop(serve(directory.path())), 0);
}

#[test]
fn what_is_wrong_is_said_in_one_sentence() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let config = config_of(directory.path());
    let root = directory.path().join("root.key");
    assert_eq!(stop(serve(directory.path())), 0);
    let refused = |code: i32, sentence: &str| {
        let (found, _, error) = run(&["serve", "--config", &config]);
        assert_eq!(found, code, "{error}");
        let last = error.lines().last().unwrap_or_default();
        assert!(last.starts_with("kms-sim: ") && last.contains(sentence), "{error}");
    };

    std::fs::set_permissions(&root, PermissionsExt::from_mode(0o644)).unwrap();
    refused(2, "others can read it; run chmod 600");
    std::fs::set_permissions(&root, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&root, "7".repeat(64)).unwrap();
    refused(13, "the root key does not open the keys in");
    std::fs::remove_file(&root).unwrap();
    refused(2, "cannot read the root key file");

    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[root_key]", "[root_kee]")).unwrap();
    refused(2, "root_kee");
    let nowhere = directory.path().join("nowhere");
    let (code, _, error) = run(&["billing", "verify", "--data", nowhere.to_str().unwrap()]);
    assert_eq!(code, 10, "{error}");
    assert!(error.contains("there is no store in"), "{error}");
    assert!(!nowhere.exists(), "who looks makes nothing");
    let file = config.as_str();
    let (code, _, error) = run(&["init-root", "--file", file]);
    assert_eq!(code, 2);
    assert!(error.contains("cannot create the root key file"), "{error}");
    assert_eq!(run(&["frobnicate"]).0, 2);
    assert_eq!(run(&["--help"]).0, 0);
}

#[test]
fn every_mistake_of_a_configuration_is_told_and_its_files_are_looked_at() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let config = config_of(directory.path());
    let (code, output, error) = run(&["config", "check", &config]);
    assert_eq!((code, output), (0, format!("{config} is right\n")), "{error}");

    let root = directory.path().join("root.key");
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, output, error) = run(&["config", "check", &config]);
    assert_eq!(code, 2, "{error}");
    assert!(output.contains("others can read it"), "{output}");
    assert!(error.contains("1 mistake in "), "{error}");
    assert_eq!(run(&["config", "check", &config, "--no-files"]).0, 0);

    let right = std::fs::read_to_string(&config).unwrap();
    let wrong = right.replace("data_dir", "data_dri").replace("127.0.0.1:0", "nowhere");
    std::fs::write(&config, wrong).unwrap();
    let (code, output, error) = run(&["config", "check", &config]);
    assert_eq!(code, 2, "{error}");
    for mistake in
        ["line 2: unknown field `data_dri`", "line 4: api.listen: ", "data_dir is missing"]
    {
        assert!(output.contains(mistake), "{mistake}: {output}");
    }
    assert_eq!(output.lines().count(), 3, "{output}");
    assert!(error.contains("3 mistakes in "), "{error}");
}

#[test]
fn a_build_tells_its_formats() {
    let (code, output, error) = run(&["version", "--formats", "--json"]);
    assert_eq!(code, 0, "{error}");
    let told: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(told["program"], "kms-sim");
    assert!(told["formats"].as_array().unwrap().iter().any(|format| format["name"] == "store"));
    let (_, text, _) = run(&["version"]);
    assert_eq!(text.lines().count(), 1, "{text}");
}
