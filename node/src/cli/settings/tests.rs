//! The order of precedence, and which profile is taken.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

const FILE: &str = "active = \"one\"\n\
                    [profiles.one]\nendpoint = \"one:1\"\nfolder-id = \"b1gone\"\n\
                    format = \"yaml\"\nca = \"/one/ca.pem\"\n\
                    [profiles.two]\nendpoint = \"two:2\"\n";

fn config(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    fs::write(&path, text).unwrap();
    let path = path.into_os_string().into_string().unwrap();
    (directory, path)
}

#[test]
fn a_flag_goes_before_a_variable_before_the_profile_before_the_default() {
    let (_directory, path) = config(FILE);
    let without = Environment::of(&[("LOCKBOX_CONFIG", &path)]);
    let with = Environment::of(&[
        ("LOCKBOX_CONFIG", &path),
        ("LOCKBOX_ENDPOINT", "env:3"),
        ("LOCKBOX_CA", "/env/ca.pem"),
        ("LOCKBOX_FOLDER_ID", "b1genv"),
        ("LOCKBOX_CLOUD_ID", "b1gcloud"),
        ("LOCKBOX_FORMAT", "json"),
    ]);
    let of_profile = Settings::load(None, &without).unwrap();
    let of_variables = Settings::load(None, &with).unwrap();

    assert_eq!(of_profile.get(ENDPOINT, None), Some("one:1"));
    assert_eq!(of_variables.get(ENDPOINT, None), Some("env:3"));
    assert_eq!(of_variables.get(ENDPOINT, Some("flag:4")), Some("flag:4"));
    assert_eq!(of_variables.get(ENDPOINT, Some("")), Some("env:3"));

    let file = |settings: &Settings<'_>, flag: Option<&PathBuf>| settings.require_file(CA, flag);
    assert_eq!(file(&of_profile, None).unwrap(), Path::new("/one/ca.pem"));
    assert_eq!(file(&of_variables, None).unwrap(), Path::new("/env/ca.pem"));
    let flag = PathBuf::from("ca.pem");
    assert_eq!(file(&of_variables, Some(&flag)).unwrap(), Path::new("ca.pem"));

    assert_eq!(of_profile.require(FOLDER, None).unwrap(), "b1gone");
    assert_eq!(of_variables.require(FOLDER, None).unwrap(), "b1genv");
    assert_eq!(of_profile.get(CLOUD, None), None);
    assert_eq!(of_variables.get(CLOUD, None), Some("b1gcloud"));

    assert_eq!(of_profile.format(None).unwrap(), Format::Yaml);
    assert_eq!(of_variables.format(None).unwrap(), Format::Json);
    assert_eq!(of_variables.format(Some(Format::JsonRest)).unwrap(), Format::JsonRest);
    let none = Environment::of(&[]);
    assert_eq!(Settings::load(None, &none).unwrap().format(None).unwrap(), Format::Text);
}

#[test]
fn the_profile_is_the_one_of_the_flag_then_the_variable_then_the_active_one() {
    let (_directory, path) = config(FILE);
    let plain = Environment::of(&[("LOCKBOX_CONFIG", &path)]);
    let named = Environment::of(&[("LOCKBOX_CONFIG", &path), ("LOCKBOX_PROFILE", "two")]);
    let name = |flag, environment| chosen(flag, environment).unwrap().unwrap().0;
    assert_eq!(name(None, &plain), "one");
    assert_eq!(name(None, &named), "two");
    assert_eq!(name(Some("one"), &named), "one");

    let absent = chosen(Some("three"), &plain).map(|_| ()).unwrap_err().to_string();
    assert!(absent.contains("\"three\"") && absent.contains("profile list"), "{absent}");
    let (_directory, path) = config("active = \"gone\"\n");
    let gone = Environment::of(&[("LOCKBOX_CONFIG", &path)]);
    assert!(chosen(None, &gone).is_err());
}

#[test]
fn without_a_file_or_a_home_there_is_no_profile_and_that_is_no_failure() {
    let none = Environment::of(&[]);
    assert!(chosen(None, &none).unwrap().is_none());
    assert!(chosen(Some("one"), &none).is_err());
    let absent = Environment::of(&[("HOME", "/absent")]);
    assert!(chosen(None, &absent).unwrap().is_none());
}

#[test]
fn a_wrong_format_in_the_environment_is_named() {
    let environment = Environment::of(&[("LOCKBOX_FORMAT", "xml")]);
    let refused = Settings::without_profile(&environment).format(None).unwrap_err().to_string();
    assert_eq!(refused, "LOCKBOX_FORMAT is none of text, yaml, json, json-rest");
}
