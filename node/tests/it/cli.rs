//! The program `lockbox` as a process, against a node behind TLS.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use lockbox_platform::authorized_key::AuthorizedKeyFile;
use lockbox_platform::certificates::{LeafSpec, issue_all, leaf_files};
use lockbox_platform::system::SystemClock;

use crate::served::{Served, certificates, program};

/// The value of a field of the outermost object in YAML.
fn field<'a>(yaml: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    yaml.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secrets_life_on_the_command_line() {
    let served = Served::start().await;
    let created = served
        .text(
            &["secret", "create", "--name", "db", "--labels", "env=prod", "--payload", "-"],
            "[{'key': 'user', 'text_value': 'root'}, {key: salt, binary_value: AP8=}]",
        )
        .await;
    let secret_id = field(&created, "id");
    assert!(created.contains("\nname: db\nlabels:\n  env: prod\n"), "{created}");
    let got = served.text(&["secret", "get", "db"], "").await;
    let first = got.split("current_version:\n  id: ").nth(1).unwrap().lines().next().unwrap();
    let listed = served.text(&["secret", "list"], "").await;
    assert!(listed.contains(&format!("| {secret_id} | db ")), "{listed}");

    let file = served.directory.path().join("payload.json");
    std::fs::write(&file, r#"[{"key":"user","textValue":"app\n"},{"key":"salt"}]"#).unwrap();
    let payload = format!("@{}", file.display());
    let added = served.text(&["secret", "add-version", "db", "--payload", &payload], "").await;
    let second = field(&added, "id");
    assert_ne!(first, second);
    let versions = served.text(&["secret", "list-versions", secret_id], "").await;
    assert!(versions.find(second).unwrap() < versions.find(first).unwrap(), "{versions}");
    let one = served.text(&["secret", "list-versions", "db", "--limit", "1"], "").await;
    assert!(one.contains(second) && !one.contains(first), "{one}");

    let value = ["payload", "get", "db", "--key", "user"];
    assert_eq!(served.output(&value, "").await, b"app\n");
    let old = ["payload", "get", "--id", secret_id, "--version-id", first, "--key", "salt"];
    assert_eq!(served.output(&old, "").await, [0, 255]);
    let set = ["secret", "set-current-version", "--name", "db", "--version-id", first];
    assert_eq!(field(&served.text(&set, "").await, "id"), first);
    let all = served.text(&["payload", "get", "db"], "").await;
    let expected = format!(
        "version_id: {first}\nentries:\n- key: user\n  text_value: root\n- key: salt\n  \
         binary_value: AP8=\n"
    );
    assert_eq!(all, expected);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_changed_switched_off_and_taken_apart_on_the_command_line() {
    let served = Served::start().await;
    let items = "[{key: k, text_value: v}]";
    let created = ["secret", "create", "--name", "db", "--payload", items];
    let secret_id = field(&served.text(&created, "").await, "id").to_owned();
    let change = ["secret", "update", "db", "--new-name", "cache", "--labels", "env=test"];
    let changed = served.text(&change, "").await;
    assert!(changed.contains("\nname: cache\nlabels:\n  env: test\n"), "{changed}");

    let off = served.text(&["secret", "deactivate", "cache"], "").await;
    assert_eq!(field(&off, "status"), "INACTIVE");
    let closed = served.failure(&["payload", "get", "cache"], 1).await;
    assert!(closed.contains("FAILED_PRECONDITION"), "{closed}");
    let on = served.text(&["secret", "activate", "--name", "cache"], "").await;
    assert_eq!(field(&on, "status"), "ACTIVE");

    let version = on.split("current_version:\n  id: ").nth(1).unwrap().lines().next().unwrap();
    let of_version = |command, more: &[&'static str]| {
        let line = ["secret", command, "cache", "--version-id", version];
        line.into_iter().map(str::to_owned).chain(more.iter().map(|m| (*m).to_owned())).collect()
    };
    let run = async |line: Vec<String>| {
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        served.text(&line, "").await
    };
    let later = ["--pending-period", "168h"];
    let scheduled = run(of_version("schedule-version-destruction", &later)).await;
    assert_eq!(field(&scheduled, "status"), "SCHEDULED_FOR_DESTRUCTION");
    assert!(!field(&scheduled, "destroy_at").is_empty());
    let kept = run(of_version("cancel-version-destruction", &[])).await;
    assert_eq!(field(&kept, "status"), "ACTIVE");
    let wrong = ["secret", "schedule-version-destruction", "cache", "--version-id", version];
    let wrong = [&wrong[..], &["--pending-period", "0s"]].concat();
    assert!(served.failure(&wrong, 1).await.contains("pending_period"));

    let protect = ["secret", "update", "cache", "--deletion-protection"];
    assert_eq!(field(&served.text(&protect, "").await, "deletion_protection"), "true");
    let refused = served.failure(&["secret", "delete", "cache"], 1).await;
    assert!(refused.contains("FAILED_PRECONDITION"), "{refused}");
    let open = ["secret", "update", "cache", "--no-deletion-protection"];
    served.text(&open, "").await;
    let deleted = served.text(&["secret", "delete", "--id", &secret_id], "").await;
    assert_eq!(field(&deleted, "id"), secret_id);
    let gone = served.failure(&["secret", "get", &secret_id], 1).await;
    assert!(gone.contains("NOT_FOUND"), "{gone}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_on_a_secret_are_given_taken_and_explained_on_the_command_line() {
    let served = Served::start().await;
    let created = served.text(&["secret", "create", "--name", "db"], "").await;
    let secret_id = field(&created, "id").to_owned();
    let robot = served.node.create_account("robot").await;
    let explain = ["iam", "explain", robot.id.as_str(), "payload.get", secret_id.as_str()];
    let closed = served.text(&explain, "").await;
    assert!(closed.contains(" may not payload.get on lockbox.secret "), "{closed}");

    let role = ["--role", "lockbox.payloadViewer", "--service-account-name", "robot"];
    let add = [&["secret", "add-access-binding", "db"][..], &role].concat();
    served.text(&add, "").await;
    let open = served.text(&explain, "").await;
    assert!(open.contains(" may payload.get on "), "{open}");
    assert!(open.contains("lockbox.payloadViewer gives it"), "{open}");
    let as_json = [&explain[..], &["--format", "json"]].concat();
    let as_json: serde_json::Value =
        serde_json::from_str(&served.text(&as_json, "").await).unwrap();
    assert_eq!(as_json["allowed"], true);
    let listed = served.text(&["secret", "list-access-bindings", "db"], "").await;
    assert!(listed.contains("ROLE ID") && listed.contains(&robot.id), "{listed}");

    let whom = format!("serviceAccount:{}", robot.id);
    let remove = ["secret", "remove-access-binding", "db", "--role", "lockbox.payloadViewer"];
    served.text(&[&remove[..], &["--subject", &whom]].concat(), "").await;
    let closed = served.text(&explain, "").await;
    assert!(closed.contains(" may not payload.get"), "{closed}");
    let set = ["secret", "set-access-bindings", "db", "-y", "--access-binding"];
    let binding = "role=lockbox.viewer,subject=system:allAuthenticatedUsers";
    served.text(&[&set[..], &[binding]].concat(), "").await;
    let listed = served.text(&["secret", "list-access-bindings", "db"], "").await;
    assert!(listed.contains("allAuthenticatedUsers") && !listed.contains(&robot.id), "{listed}");
    let operations = served.text(&["secret", "list-operations", "db"], "").await;
    assert_eq!(operations.matches("DONE").count(), 4, "{operations}");

    let nobody = ["--role", "lockbox.viewer", "--service-account-name", "nobody"];
    let nobody = [&["secret", "add-access-binding", "db"][..], &nobody].concat();
    assert!(served.failure(&nobody, 1).await.contains("NOT_FOUND"));
    let unknown = ["--role", "lockbox.god", "--all-authenticated-users"];
    let unknown = [&["secret", "add-access-binding", "db"][..], &unknown].concat();
    assert!(served.failure(&unknown, 1).await.contains("role_id"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_on_a_version_and_with_conditions_are_given_on_the_command_line() {
    let served = Served::start().await;
    let items = "[{key: k, text_value: v}]";
    let created = ["secret", "create", "--name", "db", "--payload", items];
    let created = served.text(&created, "").await;
    let secret_id = field(&created, "id").to_owned();
    let version = created.split("current_version:\n  id: ").nth(1).unwrap();
    let version = version.lines().next().unwrap();
    let robot = served.node.create_account("robot").await;
    let role = ["--role", "lockbox.payloadViewer", "--service-account-id", robot.id.as_str()];
    let run = async |command: &str, more: &[&str]| {
        served.text(&[&["secret", command, "db"][..], &role, more].concat(), "").await
    };
    let list = async |more: &[&str]| {
        let list = ["secret", "list-access-bindings", "db"];
        served.text(&[&list[..], more].concat(), "").await
    };
    let of_version = ["--version-id", version];
    run("add-access-binding", &of_version).await;
    let listed = list(&of_version).await;
    assert!(listed.contains("lockbox.payloadViewer ") && listed.contains(&robot.id), "{listed}");
    assert!(!list(&[]).await.contains(&robot.id));
    let explain = ["iam", "explain", robot.id.as_str(), "payload.get", version];
    let told = served.text(&explain, "").await;
    assert!(told.contains(" may payload.get on lockbox.secretVersion "), "{told}");
    run("remove-access-binding", &of_version).await;
    assert!(!list(&of_version).await.contains(&robot.id));

    let end = ["--not-after", "2100-01-01T03:00:00+03:00"];
    run("add-access-binding", &end).await;
    run("add-access-binding", &["--only-current-version"]).await;
    let listed = list(&[]).await;
    let ending = "lockbox.payloadViewer;until=2100-01-01T00:00:00Z";
    assert!(listed.contains(ending) && listed.contains("payloadViewer;current "), "{listed}");
    let told = served.text(&["iam", "explain", &robot.id, "payload.get", &secret_id], "").await;
    assert!(told.contains(&format!("{ending} gives it")), "{told}");
    run("remove-access-binding", &end).await;
    let listed = list(&[]).await;
    assert!(!listed.contains(ending) && listed.contains("payloadViewer;current "), "{listed}");
    // Without conditions it takes all that is left.
    run("remove-access-binding", &[]).await;
    assert!(!list(&[]).await.contains(&robot.id));
    let binding = format!("role={ending},subject=serviceAccount:{}", robot.id);
    let set = ["secret", "set-access-bindings", "db", "-y", "--access-binding", &binding];
    served.text(&set, "").await;
    assert!(list(&[]).await.contains(ending));

    let add = [&["secret", "add-access-binding", "db"][..], &role].concat();
    let absent = [&add[..], &["--version-id", "e6qnowhere"]].concat();
    let absent = served.failure(&absent, 1).await;
    assert!(absent.contains("NOT_FOUND") && absent.contains("has no version"), "{absent}");
    let past = served.failure(&[&add[..], &["--not-after", "1999-12-31"]].concat(), 1).await;
    assert!(past.contains("not_after"), "{past}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_a_name_and_a_caller_may_act_as_an_account() {
    let served = Served::start().await;
    let cloud = served.node.made.cloud_id.to_string();
    let named = ["--cloud-id", cloud.as_str(), "--folder-name"];
    let created = [&["secret", "create", "--name", "x"][..], &named, &["default"]].concat();
    let created = served.text(&created, "").await;
    assert_eq!(field(&created, "folder_id"), served.node.made.folder_id.as_str());
    let found = [&["secret", "get", "x"][..], &named, &["default"]].concat();
    assert_eq!(served.text(&found, "").await, created);
    for name in ["nobody", "a\" or \"b"] {
        let absent = [&["secret", "list"][..], &named, &[name]].concat();
        assert!(served.failure(&absent, 1).await.contains("NOT_FOUND: no folder of cloud"));
    }
    let without = served.failure(&["secret", "list", "--folder-name", "default"], 2).await;
    assert!(without.contains("--cloud-id"), "{without}");

    let robot = served.node.create_account("robot").await;
    let secret_id = field(&created, "id");
    let as_robot = ["--impersonate-service-account-id", robot.id.as_str()];
    let get = [&["secret", "get", secret_id][..], &as_robot].concat();
    let refused = served.failure(&get, 1).await;
    assert!(refused.contains("PERMISSION_DENIED"), "{refused}");
    assert!(refused.contains("lockbox iam explain says why"), "{refused}");
    let role = ["--role", "lockbox.viewer", "--service-account-id", robot.id.as_str()];
    let add = [&["secret", "add-access-binding", secret_id][..], &role].concat();
    served.text(&add, "").await;
    assert_eq!(served.text(&get, "").await, created);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_command_is_done_once() {
    let served = Served::start().await;
    let create = ["secret", "create", "--name", "x", "--idempotency-key", "once"];
    let first = served.text(&create, "").await;
    assert_eq!(served.text(&create, "").await, first);
    let listed = served.text(&["secret", "list", "--format", "json"], "").await;
    assert_eq!(listed.matches("\"folder_id\"").count(), 1, "{listed}");

    let create = ["secret", "create", "--name", "y", "--async", "--format", "json-rest"];
    let operation = served.text(&create, "").await;
    assert!(operation.contains("\"done\": true") && operation.contains("\"secretId\""));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_one_sentence_and_tell_by_their_code() {
    let served = Served::start().await;
    let absent = served.failure(&["secret", "get", "e6q0123456789abcdefg"], 1).await;
    assert!(absent.starts_with("lockbox: ") && absent.contains(" (request "), "{absent}");
    let unnamed = served.failure(&["payload", "get", "nobody"], 1).await;
    assert!(unnamed.starts_with("lockbox: NOT_FOUND: no secret"), "{unnamed}");
    let long = "x".repeat(101);
    let wrong = served.failure(&["secret", "create", "--name", &long], 1).await;
    assert!(wrong.contains("INVALID_ARGUMENT") && wrong.contains("name"), "{wrong}");
    let items = "[{key: a, text_value: [canary]}]";
    let form = served.failure(&["secret", "create", "--payload", items], 2).await;
    assert!(form.contains("line 1") && !form.contains("canary"), "{form}");

    let nobody = ["secret", "list", "--endpoint", "localhost:1", "--retry", "0"];
    let unreachable = served.failure(&nobody, 3).await;
    assert!(unreachable.starts_with("lockbox: cannot reach localhost:1: "), "{unreachable}");
    served.stop().await;
}

#[test]
fn an_interrupt_ends_a_command_that_waits() {
    let directory = tempfile::tempdir().unwrap();
    let ca = certificates(directory.path());
    // This server takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}", silent.local_addr().unwrap().port());
    let program = program(&address, &ca, "token");
    // What a shell starts in the background ignores the signal, and so do all of its children.
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal=INT").arg(program.get_program()).args(program.get_args());
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.args(["secret", "list", "--folder-id", "b1g1"]).spawn().unwrap();
    let connected = silent.accept().unwrap();
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    // A shell says 130 of a program that SIGINT has ended.
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    drop(connected);
}

/// A node with the certificate of another, or of another authority, says so at once.
#[test]
fn a_node_does_not_start_with_a_certificate_that_is_not_its_own() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let leaf = LeafSpec {
        file_stem: "node-1".to_owned(),
        dns_names: vec!["node-1.lockbox.internal".to_owned()],
        ips: Vec::new(),
    };
    for directory in [&own, &other] {
        issue_all(directory.path(), std::slice::from_ref(&leaf), &SystemClock::new()).unwrap();
    }
    let files = leaf_files(own.path(), "node-1");
    for (node_id, ca, sentence) in [
        (2, own.path(), "does not carry the name node-2.lockbox.internal"),
        (1, other.path(), "was not issued by the authority in"),
    ] {
        let config = format!(
            "node_id = {node_id}\ndata_dir = {data:?}\n\
             [api]\nlisten = \"127.0.0.1:0\"\nadvertise = \"localhost:1\"\n\
             certificate = {certificate:?}\nkey = {key:?}\n\
             [peer]\nlisten = \"127.0.0.1:0\"\nadvertise = \"localhost:1\"\n\
             certificate = {certificate:?}\nkey = {key:?}\nca = {ca:?}\n\
             [metrics]\nlisten = \"127.0.0.1:0\"\n[kms]\naddress = \"localhost:2\"\n",
            data = own.path().join("data"),
            certificate = files.certificate,
            key = files.key,
            ca = ca.join("ca.pem"),
        );
        let path = own.path().join("node.toml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockbox"));
        let output = command.args(["serve", "--config"]).arg(&path).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(sentence), "{stderr}");
        assert!(!own.path().join("data").exists());
    }
}

/// How a key is rotated: another one, log in with it, and the old one goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_listed_and_deleted_on_the_command_line() {
    let served = Served::start().await;
    let file = served.directory.path().join("second.json");
    let path = file.to_str().unwrap();
    let made = served.text(&["iam", "key", "create", "-o", path, "--description", "2nd"], "").await;
    let second = field(&made, "id").to_owned();
    assert!(!made.contains("PRIVATE"), "{made}");
    let key = std::fs::read_to_string(&file).unwrap();
    assert!(key.contains(&second) && key.contains("BEGIN PRIVATE KEY"));
    // A file that is there is not written over, and no key is made for nothing.
    let refused = served.failure(&["iam", "key", "create", "-o", path], 2).await;
    assert!(refused.contains("second.json exists"), "{refused}");
    let nowhere = served.directory.path().join("absent").join("key.json");
    let nowhere = nowhere.to_str().unwrap();
    let refused = served.failure(&["iam", "key", "create", "-o", nowhere], 2).await;
    assert!(refused.starts_with("lockbox: cannot write "), "{refused}");
    assert!(!refused.contains("is made"), "{refused}");
    // Nor does a file stay for which there is no key.
    let unmade = served.directory.path().join("unmade.json");
    let create = ["iam", "key", "create", "-o", unmade.to_str().unwrap()];
    let nobody = [&create[..], &["--endpoint", "localhost:1", "--retry", "0"]].concat();
    served.failure(&nobody, 3).await;
    assert!(!unmade.exists());
    let listed = served.text(&["iam", "key", "list"], "").await;
    assert_eq!(listed.matches("RSA_2048").count(), 2, "{listed}");
    assert!(listed.contains(&second) && listed.contains("2nd"), "{listed}");

    let as_second = |line: &[&'static str]| [line, &["--sa-key", path]].concat();
    served.text(&as_second(&["secret", "list"]), "").await;
    let shown = served.text(&["iam", "key", "create", "-o", "-"], "").await;
    let third = AuthorizedKeyFile::parse(&shown).unwrap();
    let listed = served.text(&["iam", "key", "list"], "").await;
    assert!(listed.contains(&third.id), "{listed}");
    served.text(&["iam", "key", "delete", &second], "").await;
    let refused = served.failure(&as_second(&["secret", "list"]), 1).await;
    assert!(refused.contains("UNAUTHENTICATED"), "{refused}");
    served.stop().await;
}
