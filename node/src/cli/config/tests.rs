//! `lockbox config` from the command line to the file.

use clap::Parser;
use tempfile::TempDir;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    config: ConfigArgs,
}

/// A user with a file of profiles, and perhaps with variables.
struct User {
    directory: TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl User {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    fn types(&self, line: &str) -> Result<String, String> {
        let file = self.directory.path().join("config.toml");
        let mut variables = self.variables.clone();
        variables.push(("LOCKBOX_CONFIG", file.to_str().unwrap()));
        let words = std::iter::once("config").chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        text(line.config, &Environment::of(&variables)).map_err(|failure| failure.to_string())
    }
}

#[test]
fn a_profile_is_made_filled_shown_and_deleted() {
    let user = User::new();
    assert!(user.types("list").unwrap_err().contains("no profile is active"));
    assert_eq!(user.types("profile list").unwrap(), "");
    assert!(user.types("profile create prod").unwrap().contains("active"));
    assert!(user.types("profile create prod").unwrap_err().contains("already"));
    user.types("set endpoint lockbox.example:8443").unwrap();
    user.types("set format json").unwrap();
    let listed = user.types("list").unwrap();
    assert_eq!(listed, "endpoint: lockbox.example:8443\nformat: json\n");
    assert_eq!(user.types("profile get prod").unwrap(), listed);
    assert_eq!(user.types("get endpoint").unwrap(), "lockbox.example:8443\n");
    assert!(user.types("get folder-id").unwrap_err().contains("not set"));
    assert!(user.types("unset format").unwrap().contains("is removed"));
    assert!(user.types("unset format").unwrap().contains("was not set"));
    assert!(user.types("profile delete prod").unwrap().contains("none is active"));
    assert!(user.types("profile delete prod").unwrap_err().contains("no profile"));
}

#[test]
fn the_first_value_makes_a_profile_and_others_are_named() {
    let mut user = User::new();
    assert!(user.types("set folder-id b1g1").unwrap().contains("profile default"));
    assert_eq!(user.types("profile list").unwrap(), "default ACTIVE\n");
    user.types("profile create other").unwrap();
    assert_eq!(user.types("profile list").unwrap(), "default\nother ACTIVE\n");
    user.types("set folder-id b1g2 --profile default").unwrap();
    assert_eq!(user.types("--profile default get folder-id").unwrap(), "b1g2\n");
    user.types("profile activate default").unwrap();
    assert_eq!(user.types("get folder-id").unwrap(), "b1g2\n");
    assert!(user.types("set folder-id b1g3 --profile absent").unwrap_err().contains("create"));
    user.variables.push(("LOCKBOX_PROFILE", "other"));
    user.types("set folder-id b1g4").unwrap();
    assert_eq!(user.types("profile get other").unwrap(), "folder-id: b1g4\n");
}

#[test]
fn no_secret_gets_into_the_file() {
    let user = User::new();
    for line in ["set token t1.canary", "set token-file t1.canary", "set sa-key canary"] {
        let refused = user.types(line).unwrap_err();
        assert!(!refused.contains("canary"), "{refused}");
    }
    let key = user.directory.path().join("key.json");
    std::fs::write(&key, "canary").unwrap();
    user.types(&format!("set service-account-key {}", key.display())).unwrap();
    let file = std::fs::read_to_string(user.directory.path().join("config.toml")).unwrap();
    assert!(file.contains("key.json") && !file.contains("canary"), "{file}");
    assert!(user.types("set managed-by me").is_err());
}
