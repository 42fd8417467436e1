//! The file of profiles: what is read, what is refused, how it is written.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::cli::environment::Environment;

fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (directory, path)
}

fn refusal(text: &str) -> String {
    let (_directory, path) = file(text);
    load(&path).map(|_| ()).unwrap_err().to_string()
}

fn set(known: &mut Profiles, name: &str, key: SettingKey, value: &str) {
    known.profiles.entry(name.to_owned()).or_default().set(key, value.to_owned()).unwrap();
}

#[test]
fn the_file_is_where_the_environment_says() {
    let at = |variables: &[(&str, &str)]| path(&Environment::of(variables));
    let home = ("HOME", "/home/a");
    let expected = |text: &str| Some(PathBuf::from(text));
    assert_eq!(at(&[home]), expected("/home/a/.config/lockbox/config.toml"));
    let xdg = ("XDG_CONFIG_HOME", "/x");
    assert_eq!(at(&[home, xdg]), expected("/x/lockbox/config.toml"));
    let relative = ("XDG_CONFIG_HOME", "x");
    assert_eq!(at(&[home, relative]), expected("/home/a/.config/lockbox/config.toml"));
    assert_eq!(at(&[home, xdg, ("LOCKBOX_CONFIG", "c.toml")]), expected("c.toml"));
    // A node's keys are no name of it.
    assert_eq!(at(&[("LOCKBOX_CONFIG_NODE_ID", "1")]), None);
}

#[test]
fn what_was_written_is_read_again_and_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a").join("b").join("config.toml");
    assert_eq!(load(&path).unwrap(), Profiles::default());
    change(&path, |known| {
        known.active = Some("prod".to_owned());
        set(known, "prod", SettingKey::Endpoint, "lockbox.example:8443");
        set(known, "prod", SettingKey::Ca, "/odd \"name\"/ca.pem");
        set(known, "dev.2", SettingKey::Format, "json-rest");
        Ok(())
    })
    .unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let known = load(&path).unwrap();
    assert_eq!(known.active.as_deref(), Some("prod"));
    assert_eq!(known.named("prod").unwrap().get(SettingKey::Ca), Some("/odd \"name\"/ca.pem"));
    assert_eq!(known.named("dev.2").unwrap().get(SettingKey::Format), Some("json-rest"));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# Profiles") && text.contains("[profiles.prod]"), "{text}");
    // Nothing else is left in the directory.
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_refused_change_and_one_that_changes_nothing_write_nothing() {
    let (directory, path) = file("# mine\nactive = \"a\"\n[profiles.a]\n");
    let refused = change(&path, |known| -> Result<(), _> {
        known.active = None;
        Err(crate::cli::failure::Failure::usage("no"))
    });
    assert_eq!(refused.unwrap_err().to_string(), "no");
    change(&path, |_| Ok(())).unwrap();
    assert!(fs::read_to_string(&path).unwrap().starts_with("# mine"));
    // A link to the file stays one.
    let link = directory.path().join("link.toml");
    symlink(&path, &link).unwrap();
    change(&link, |known| {
        set(known, "a", SettingKey::CloudId, "b1g");
        Ok(())
    })
    .unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(load(&path).unwrap().named("a").unwrap().get(SettingKey::CloudId), Some("b1g"));
}

#[test]
fn changes_at_the_same_moment_all_count() {
    let (_directory, path) = file("");
    thread::scope(|scope| {
        for writer in 0..8 {
            let path = &path;
            scope.spawn(move || {
                change(path, |known| {
                    set(known, &format!("p{writer}"), SettingKey::CloudId, "b1g");
                    Ok(())
                })
                .unwrap();
            });
        }
    });
    assert_eq!(load(&path).unwrap().profiles.len(), 8);
}

#[test]
fn what_is_not_known_is_refused_with_its_line_and_without_its_value() {
    for (text, place) in [
        ("[profiles.a]\nendpoint = \"a:1\"\nendpiont = \"canary\"\n", "line 3"),
        ("activ = \"canary\"\n", "line 1"),
        ("active = \"a\"\n[profiles.a]\ntoken = \"canary\"\n", "line 3"),
        ("[profiles.a]\nformat = 5\n", "line 2"),
        ("[profiles.a]\nformat = \"canary\"\n", "profile \"a\": format is none of text, yaml"),
        ("[profiles.a]\nca = \"canary\"\n", "profile \"a\": ca is not an absolute path"),
        ("[profiles.a]\nendpoint = \"canary\"\n", "profile \"a\": endpoint is not host:port"),
        ("[profiles.a]\nfolder-id = \"\"\n", "profile \"a\": folder-id is empty"),
        ("[profiles.a]\nsa-key = \"/a\"\ntoken-file = \"/b\"\n", "exclude each other"),
        ("[profiles.a]\nendpoint = \"canary\n", "line 2"),
    ] {
        let refused = refusal(text);
        assert!(refused.contains("config.toml is wrong: "), "{refused}");
        assert!(refused.contains(place), "{place}: {refused}");
        assert!(!refused.contains("canary") && !refused.contains('\n'), "{refused}");
    }
    assert!(refusal("[profiles.a]\ntoken = \"t1\"\n").contains("put it into a file"));
}

#[test]
fn a_file_that_others_may_write_is_not_believed() {
    let (_directory, path) = file("");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
    let refused = load(&path).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("others may write to it"), "{refused}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    load(&path).unwrap();
}

/// Its owner may write to it whatever its mode says.
#[test]
fn a_file_of_another_user_is_not_believed() {
    let (mine, another, root) = (1000, 1001, 0);
    assert_eq!(file::believed(mine, 0o600, mine), Ok(()));
    assert_eq!(file::believed(root, 0o644, mine), Ok(()));
    for (owner, caller) in [(another, mine), (mine, root)] {
        for mode in [0o600, 0o444] {
            let refused = file::believed(owner, mode, caller);
            assert_eq!(refused, Err("it belongs to another user"), "{owner} {mode:o}");
        }
    }
    // Only root can give a file away; whoever else runs this has seen the rule at least.
    let (_directory, path) = file("");
    if std::os::unix::fs::chown(&path, Some(another), None).is_ok() {
        let refused = load(&path).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("it belongs to another user"), "{refused}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there_and_no_value_is_quoted() {
    let (_directory, path) = file("");
    let there = path.to_str().unwrap();
    assert_eq!(SettingKey::TokenFile.accept(there), Ok(there.to_owned()));
    let token = SettingKey::TokenFile.accept("t1.canary").unwrap_err();
    assert!(token.starts_with("token-file names no file") && !token.contains("canary"), "{token}");
    assert!(SettingKey::Endpoint.accept("localhost").is_err());
    assert!(SettingKey::Format.accept("xml").is_err());
    assert_eq!(SettingKey::FolderId.accept("b1g"), Ok("b1g".to_owned()));
}

#[test]
fn a_profile_has_one_caller_and_loses_its_mark_when_it_is_changed() {
    let mark = (SettingKey::ManagedBy, "lockbox dev".to_owned());
    let mut profile = Profile::of([(SettingKey::SaKey, "/a".to_owned()), mark]);
    let refused = profile.set(SettingKey::TokenFile, "/b".to_owned()).unwrap_err();
    assert!(refused.contains("lockbox config unset sa-key"), "{refused}");
    assert!(profile.get(SettingKey::ManagedBy).is_some());
    assert!(profile.unset(SettingKey::SaKey) && !profile.unset(SettingKey::SaKey));
    assert!(profile.get(SettingKey::ManagedBy).is_none());
    profile.set(SettingKey::TokenFile, "/b".to_owned()).unwrap();
}

#[test]
fn names_are_short_and_plain() {
    for name in ["a", "prod-1", "dev.2", "A_b"] {
        assert_eq!(check_name(name).as_deref(), Ok(name));
    }
    for name in ["", "a b", "é", "a/b", "a=b", &"x".repeat(64)] {
        assert!(check_name(name).is_err(), "{name}");
    }
}
