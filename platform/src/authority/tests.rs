//! An authority from its first certificate to the last one of its successor.

use std::net::IpAddr;
use std::time::Duration;

use lockbox_core::Clock;
use tempfile::TempDir;

use super::*;
use crate::own_certificate;
use crate::system::SystemClock;

const DAYS: u64 = 90;

fn now_ms() -> u64 {
    SystemClock::new().wall_ms()
}

fn leaf(stem: &str) -> LeafSpec {
    LeafSpec {
        file_stem: stem.to_owned(),
        dns_names: vec![format!("{stem}.test"), "localhost".to_owned()],
        ips: vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1])],
    }
}

/// An authority and the directory that it is in.
fn authority() -> (TempDir, CaFiles) {
    let directory = tempfile::tempdir().unwrap();
    let ca = create(&directory.path().join("ca"), AUTHORITY_DAYS, now_ms()).unwrap();
    (directory, ca)
}

fn is_accepted(files: &IdentityFiles, ca: &Path, name: &str) -> Result<(), String> {
    let now = Duration::from_millis(now_ms());
    own_certificate::check(&files.certificate, ca, name, now).map_err(|error| error.to_string())
}

#[test]
fn nothing_is_written_over_and_keys_are_private() {
    let (directory, ca) = authority();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&ca.key), mode(&ca.certificate)), (0o600, 0o644));
    assert_eq!(mode(&directory.path().join("ca")), 0o700);
    let again = create(&directory.path().join("ca"), AUTHORITY_DAYS, now_ms());
    assert!(matches!(again, Err(AuthorityError::Exists { .. })));

    let out = directory.path().join("node");
    let once = |over| issue(&ca, &out, &leaf("node-1"), (Usage::Both, DAYS), now_ms(), over);
    let files = once(false).unwrap();
    assert_eq!(mode(&files.key), 0o600);
    is_accepted(&files, &ca.certificate, "node-1.test").unwrap();
    let first = fs::read(&files.certificate).unwrap();
    assert!(matches!(once(false), Err(AuthorityError::Exists { .. })));
    assert_eq!(fs::read(&files.certificate).unwrap(), first);
    once(true).unwrap();
    assert_ne!(fs::read(&files.certificate).unwrap(), first);
}

#[test]
fn a_certificate_says_what_it_is_and_is_renewed_as_that() {
    let (directory, ca) = authority();
    for (stem, usage) in [("a", Usage::Both), ("b", Usage::Client), ("c", Usage::Server)] {
        let issued = issue(&ca, directory.path(), &leaf(stem), (usage, DAYS), now_ms(), false);
        let files = issued.unwrap();
        let described = describe_first(&files.certificate).unwrap();
        assert_eq!(described.usage, usage, "{stem}");
        assert_eq!(described.dns_names, leaf(stem).dns_names);
        assert_eq!(described.ips, leaf(stem).ips);
        assert!(!described.is_authority && !described.is_due(now_ms()));
        assert!(described.authority_key.is_some());
        assert!(described.is_due(now_ms() + 70 * DAY_MS));
        assert_eq!(described.left_ms(now_ms() + 100 * DAY_MS), 0);

        let key = fs::read(&files.key).unwrap();
        let renewed = renew(&ca, &files.certificate, DAYS, now_ms()).unwrap();
        assert_eq!((renewed.dns_names, renewed.ips), (described.dns_names, described.ips));
        assert_eq!(renewed.usage, usage);
        assert_ne!(fs::read(&files.key).unwrap(), key);
    }
    let found = leaves(directory.path()).unwrap();
    let names: Vec<_> = found.iter().map(|(path, _)| path.file_name().unwrap()).collect();
    assert_eq!(names, ["a.pem", "b.pem", "c.pem"]);
    let of_authority = renew(&ca, &ca.certificate, DAYS, now_ms()).unwrap_err();
    assert!(of_authority.to_string().ends_with("is that of an authority"), "{of_authority}");
}

#[test]
fn a_certificate_does_not_outlive_its_authority() {
    let directory = tempfile::tempdir().unwrap();
    let ca = create(directory.path(), 30, now_ms()).unwrap();
    let spec = leaf("a");
    let longer = issue(&ca, directory.path(), &spec, (Usage::Both, 60), now_ms(), false);
    assert!(longer.unwrap_err().to_string().contains("ends before 60 days are over"));
    issue(&ca, directory.path(), &spec, (Usage::Both, 20), now_ms(), false).unwrap();
}

#[test]
fn an_authority_is_replaced_while_all_go_on_trusting_each_other() {
    let (directory, ca) = authority();
    let spec = |stem| (leaf(stem), (Usage::Both, DAYS));
    let issue_one = |stem: &'static str| {
        let (spec, terms) = spec(stem);
        issue(&ca, directory.path(), &spec, terms, now_ms(), false).unwrap()
    };
    let (a, b) = (issue_one("a"), issue_one("b"));
    let old_ca = directory.path().join("what-others-still-trust.pem");
    fs::copy(&ca.certificate, &old_ca).unwrap();

    begin_replacement(&ca, AUTHORITY_DAYS, now_ms()).unwrap();
    let twice = begin_replacement(&ca, AUTHORITY_DAYS, now_ms());
    assert!(matches!(twice, Err(AuthorityError::Exists { .. })));
    assert_eq!(describe(&ca.certificate).unwrap().len(), 2);
    // What the old one has issued is good wherever both are trusted, and where the old one is.
    for trusted in [&ca.certificate, &old_ca] {
        is_accepted(&a, trusted, "a.test").unwrap();
    }
    renew(&ca, &a.certificate, DAYS, now_ms()).unwrap();
    is_accepted(&a, &ca.certificate, "a.test").unwrap();
    assert!(is_accepted(&a, &old_ca, "a.test").unwrap_err().contains("was not issued by"));

    let early = finish_replacement(&ca, directory.path()).unwrap_err();
    assert!(early.to_string().contains("b.pem is still of the authority"), "{early}");
    renew(&ca, &b.certificate, DAYS, now_ms()).unwrap();
    finish_replacement(&ca, directory.path()).unwrap();
    assert_eq!(describe(&ca.certificate).unwrap().len(), 1);
    assert!(!old_key(&ca).exists());
    for (files, name) in [(&a, "a.test"), (&b, "b.test")] {
        is_accepted(files, &ca.certificate, name).unwrap();
    }
    finish_replacement(&ca, directory.path()).unwrap();
}

#[test]
fn an_authority_without_its_key_issues_nothing() {
    let (directory, ca) = authority();
    let (_other_directory, other) = authority();
    fs::copy(&other.key, &ca.key).unwrap();
    let issued = issue(&ca, directory.path(), &leaf("a"), (Usage::Both, DAYS), now_ms(), false);
    let error = issued.unwrap_err().to_string();
    assert!(error.contains("ca.pem does not go with the key"), "{error}");
    assert!(!leaf_files(directory.path(), "a").certificate.exists());
}
