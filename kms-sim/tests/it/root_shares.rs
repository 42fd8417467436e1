//! The root key is lost, and people with recovery shares bring it back: by the program, as they
//! would.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::keys::command::Quotas;

use crate::canary::encodings;
use crate::support::{Running, TestClock, admin, decrypt, open_with};

fn kms_sim(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kms-sim"))
        .args(arguments)
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
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
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
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let (root, data) = (path("root.key"), path("data"));
    printed(&kms_sim(&["init-root", "--file", &text("root.key")], ""));
    let kms = open(&data, &root).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let made = kms.encrypt(&admin(), &key, b"value").await.ciphertext.unwrap();
    kms.stop().await;

    let make = ["root", "shares", "--file", &text("root.key"), "--of", "5", "--need", "3"];
    let shares = printed(&kms_sim(&make, ""));
    let shares: Vec<&str> = shares.lines().collect();
    assert_eq!(shares.len(), 5);
    let lost = std::fs::read_to_string(&root).unwrap();
    std::fs::remove_file(&root).unwrap();

    // Two people bring files, one of them with a remark, and the third one reads hers out.
    std::fs::write(path("one"), format!("# of the first safe\n\n{}\n", shares[4])).unwrap();
    std::fs::write(path("two"), shares[1]).unwrap();
    let recover = ["root", "recover", "--file", &text("root.key")];
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

#[test]
fn security_s15_wrong_shares_recover_nothing_and_are_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let text = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let file = text("root.key");
    printed(&kms_sim(&["init-root", "--file", &file], ""));
    let split = |of: &str, need: &str| {
        kms_sim(&["root", "shares", "--file", &file, "--of", of, "--need", need], "")
    };
    let shares =
        |output: &Output| -> Vec<String> { printed(output).lines().map(str::to_owned).collect() };
    let (first, second) = (shares(&split("3", "2")), shares(&split("3", "2")));
    let target = text("recovered.key");
    let recover = |input: &str| kms_sim(&["root", "recover", "--file", &target], input);
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
        let sentence = refused(&recover(&input));
        assert!(sentence.contains(expected), "{sentence}");
        let value = first[0].split('.').nth(6).unwrap();
        assert!(!sentence.contains(value) && !sentence.contains(&first[1]), "{sentence}");
        assert!(!Path::new(&target).exists());
    }
    assert!(refused(&split("3", "1")).contains("of 3 shares 1 cannot be needed"));
    assert!(refused(&split("2", "3")).contains("of 2 shares 3 cannot be needed"));
}
