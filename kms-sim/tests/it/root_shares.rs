//! The root key is lost, and people with recovery shares bring it back: by the program, as they
//! would.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::keys::command::Quotas;

use crate::canary::encodings;
use crate::process::{config_of, prepare, serve, stop};
use crate::server_support::client_tls;
use crate::support::{Running, TestClock, admin, decrypt, open_with};

fn kms_sim(arguments: &[&str], input: &str) -> Output {
    kms_sim_with(&[], arguments, input)
}

fn kms_sim_with(environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kms-sim"))
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments reads nothing.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

/// What a run that succeeded has printed.
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The sentence of a run that was refused.
fn refused(output: &Output) -> String {
    refused_with(2, output)
}

fn refused_with(code: i32, output: &Output) -> String {
    let sentence = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{sentence}");
    assert!(output.stdout.is_empty());
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    sentence
}

/// The lines of a run that made shares.
fn shares(output: &Output) -> Vec<String> {
    printed(output).lines().map(str::to_owned).collect()
}

fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Changes the part of a configuration that says where the root key is.
fn root_from(config: &str, line: &str) {
    let text = std::fs::read_to_string(config).unwrap();
    let (head, _) = text.split_once("[root_key]").unwrap();
    std::fs::write(config, format!("{head}[root_key]\n{line}\n")).unwrap();
}

async fn open(data: &Path, root_file: &Path) -> Running {
    let digits = std::fs::read_to_string(root_file).unwrap();
    let mut root = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut root).unwrap();
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    open_with(data, root, TestClock::new(), quotas).await.unwrap()
}

#[tokio::test]
async fn security_s16_shares_alone_bring_a_lost_root_key_back() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let path = |name: &str| directory.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let (root, data, config) = (path("root.key"), path("data"), config_of(directory.path()));
    let kms = open(&data, &root).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let made = kms.encrypt(&admin(), &key, b"value").await.ciphertext.unwrap();
    kms.stop().await;

    let made_shares =
        kms_sim(&["root", "shares", "--config", &config, "--of", "5", "--need", "3"], "");
    let shares = shares(&made_shares);
    assert_eq!(shares.len(), 5);
    let told = String::from_utf8(made_shares.stderr).unwrap();
    assert!(told.contains(&format!("of the root key of {}", data.display())), "{told}");
    let lost = std::fs::read_to_string(&root).unwrap();
    std::fs::remove_file(&root).unwrap();

    // Two people bring files, one of them with a remark, and the third one reads hers out.
    write_private(&path("one"), &format!("# of the first safe\n\n{}\n", shares[4]));
    write_private(&path("two"), &shares[1]);
    let recover = ["root", "recover", "--config", &config, "--file", &text("root.key")];
    let too_few = kms_sim(&[&recover[..], &[&text("one"), &text("two")]].concat(), "");
    let sentence = refused(&too_few);
    assert!(sentence.contains("3 recovery shares are needed, and 2 different ones"), "{sentence}");
    assert!(!root.exists());
    let three = format!("{}\n{}\n{}\n", shares[4], shares[1], shares[2]);
    let recovered = kms_sim(&recover, &three);
    let said = printed(&recovered);
    let mode = std::fs::metadata(&root).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let found = std::fs::read_to_string(&root).unwrap();
    assert_eq!(found, lost);
    let mut bytes = [0; 32];
    hex::decode_to_slice(found.trim(), &mut bytes).unwrap();
    for (name, encoded) in encodings(&bytes) {
        let output = [said.as_bytes(), &recovered.stderr, shares.join("\n").as_bytes()].concat();
        let shown = output.windows(encoded.len()).any(|window| window == encoded);
        assert!(!shown, "the root key is in an output, in {name}");
    }

    let kms = open(&data, &root).await;
    let opened = kms.call(&admin(), decrypt(&key, &made)).await.unwrap();
    assert_eq!(opened.plaintext.unwrap().expose(), b"value");
    kms.stop().await;
    let again = refused(&kms_sim(&recover, &three));
    assert!(again.contains("cannot create the root key file"), "{again}");
}

#[tokio::test]
async fn security_s15_wrong_shares_recover_nothing_and_are_not_quoted() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let config = config_of(directory.path());
    let text = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    open(&directory.path().join("data"), &directory.path().join("root.key")).await.stop().await;
    let split = |of: &str, need: &str| {
        kms_sim(&["root", "shares", "--config", &config, "--of", of, "--need", need], "")
    };
    let (first, second) = (shares(&split("3", "2")), shares(&split("3", "2")));
    let target = text("recovered.key");
    let recover = ["root", "recover", "--config", &config, "--file", &target];
    let miscopied = first[0].replace('1', "7");
    let cases = [
        (format!("{}\n{}", first[0], second[1]), "belong to different sets"),
        (format!("{miscopied}\n{}", first[1]), "line 1 of standard input: "),
        (format!("{}\n{}", first[1], first[1]), "2 recovery shares are needed, and 1 different"),
        (format!("{}\nnone\n", first[1]), "line 2 of standard input: it is no recovery share"),
        (String::new(), "0 different ones are there"),
        ("x".repeat(200_000), "is longer than any set of shares"),
    ];
    for (input, expected) in cases {
        let sentence = refused(&kms_sim(&recover, &input));
        assert!(sentence.contains(expected), "{sentence}");
        let value = first[0].split('.').nth(6).unwrap();
        assert!(!sentence.contains(value) && !sentence.contains(&first[1]), "{sentence}");
        assert!(!Path::new(&target).exists());
    }
    let file = directory.path().join("two");
    let from_file = || refused(&kms_sim(&[&recover[..], &[&text("two")]].concat(), ""));
    assert!(from_file().contains("cannot read the recovery share file"));
    std::fs::write(&file, first[..2].join("\n")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(from_file().contains("others can read it; run chmod 600"));
    assert!(!Path::new(&target).exists());
    assert!(refused(&split("3", "1")).contains("of 3 shares 1 cannot be needed"));
    assert!(refused(&split("2", "3")).contains("of 2 shares 3 cannot be needed"));
    for (of, need) in [("256", "2"), ("0", "0"), ("3", "-1")] {
        assert_eq!(split(of, need).status.code(), Some(2), "{need} of {of}");
    }
}

/// Of a root key that opens nothing no shares are made, and none is recovered: the sentence says
/// which data it was tried at.
#[tokio::test]
async fn shares_are_of_the_root_key_that_opens_the_data_and_of_no_other() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let path = |name: &str| directory.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let (config, data) = (config_of(directory.path()), path("data"));
    let make = ["root", "shares", "--config", &config, "--of", "3", "--need", "2"];
    let missing = refused_with(10, &kms_sim(&make, ""));
    assert!(missing.contains("there is no store in"), "{missing}");
    assert!(!data.exists(), "who looks makes nothing");
    let kms = open(&data, &path("root.key")).await;
    // Beside a running server, too.
    let good = shares(&kms_sim(&make, ""));
    kms.stop().await;

    let other = prepare(&certificates);
    open(&other.path().join("data"), &other.path().join("root.key")).await.stop().await;
    let of_other = config_of(other.path());
    let target = text("recovered.key");
    let recover = |config: &str| {
        kms_sim(&["root", "recover", "--config", config, "--file", &target], &good.join("\n"))
    };
    let foreign = refused_with(13, &recover(&of_other));
    let its_data = other.path().join("data").display().to_string();
    assert!(foreign.contains("nothing was written") && foreign.contains(&its_data), "{foreign}");
    assert!(!Path::new(&target).exists());

    // The wrong key from each of the places that a server takes it from.
    std::fs::copy(other.path().join("root.key"), path("wrong.key")).unwrap();
    root_from(&config, &format!("file = {:?}", text("wrong.key")));
    let wrong = refused_with(13, &kms_sim(&make, ""));
    assert!(wrong.contains("the root key does not open the keys in"), "{wrong}");
    assert!(wrong.contains(data.to_str().unwrap()), "{wrong}");
    write_private(&path("words"), "correct horse battery\n");
    root_from(&config, &format!("passphrase_file = {:?}", text("words")));
    let words = refused_with(13, &kms_sim(&make, ""));
    assert!(words.contains("were made with a root key, and not with a passphrase"), "{words}");
    root_from(&config, "");
    let none = refused(&kms_sim(&make, ""));
    assert!(none.contains("there is no root key"), "{none}");
    let digits = std::fs::read_to_string(path("wrong.key")).unwrap();
    let variable = |key: &str| kms_sim_with(&[("KMS_ROOT_KEY", key.trim())], &make, "");
    refused_with(13, &variable(&digits));
    let right = std::fs::read_to_string(path("root.key")).unwrap();
    assert_eq!(shares(&variable(&right)).len(), 3);
    std::fs::set_permissions(path("wrong.key"), PermissionsExt::from_mode(0o640)).unwrap();
    root_from(&config, &format!("file = {:?}", text("wrong.key")));
    assert!(refused(&kms_sim(&make, "")).contains("others can read it; run chmod 600"));
    printed(&recover(&config));
    assert_eq!(std::fs::read_to_string(&target).unwrap(), right);
}

/// Shares of a passphrase's root key bring the data back when the passphrase is forgotten.
#[tokio::test]
async fn a_forgotten_passphrase_is_replaced_by_the_key_that_its_shares_give() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let path = |name: &str| directory.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let config = config_of(directory.path());
    write_private(&path("words"), "correct horse battery\n");
    root_from(&config, &format!("passphrase_file = {:?}", text("words")));
    assert_eq!(stop(serve(directory.path())), 0);
    let made =
        shares(&kms_sim(&["root", "shares", "--config", &config, "--of", "2", "--need", "2"], ""));
    std::fs::remove_file(path("words")).unwrap();
    let recover = ["root", "recover", "--config", &config, "--file", &text("recovered.key")];
    printed(&kms_sim(&recover, &made.join("\n")));
    root_from(&config, &format!("file = {:?}", text("recovered.key")));
    assert_eq!(stop(serve(directory.path())), 0);
}
