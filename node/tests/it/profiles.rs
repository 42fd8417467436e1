//! Profiles of the program `lockbox`, with a file of its own and nothing of the user's.

use std::path::Path;
use std::process::Command;

use crate::served::Served;

/// The program with no other variable than the file of profiles.
fn with(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockbox"));
    command.env_clear().env("LOCKBOX_CONFIG", config).args(arguments);
    command
}

async fn said(served: &Served, command: Command, code: i32) -> String {
    let output = served.run_as(command, "").await;
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    String::from_utf8(output.stdout).unwrap() + &complaint
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_stands_for_everything_that_a_call_needs() {
    let served = Served::start().await;
    let config = served.directory.path().join("home").join("config.toml");
    let run = async |arguments: &[&str], code| said(&served, with(&config, arguments), code).await;
    let nowhere = run(&["secret", "list"], 2).await;
    assert!(nowhere.contains("lockbox config set endpoint"), "{nowhere}");

    run(&["config", "profile", "create", "here"], 0).await;
    let key = served.key_file();
    for (name, value) in [
        ("endpoint", served.address.as_str()),
        ("ca", served.ca.to_str().unwrap()),
        ("sa-key", key.to_str().unwrap()),
        ("folder-id", served.node.made.folder_id.as_str()),
        ("format", "json"),
    ] {
        run(&["config", "set", name, value], 0).await;
    }
    let created = run(&["secret", "create", "--name", "x"], 0).await;
    assert!(created.starts_with('{') && created.contains("\"name\": \"x\""), "{created}");

    run(&["config", "profile", "create", "elsewhere"], 0).await;
    assert!(run(&["secret", "list"], 2).await.contains("the server is not known"));
    for line in [["--profile", "here", "secret", "list"], ["secret", "list", "--profile", "here"]] {
        assert!(run(&line, 0).await.contains("\"name\": \"x\""));
    }
    let mut variable = with(&config, &["secret", "list", "--format", "text"]);
    variable.env("LOCKBOX_PROFILE", "here");
    assert!(said(&served, variable, 0).await.contains("| NAME |"));
    let mut overridden = with(&config, &["--profile", "here", "secret", "list", "--retry", "0"]);
    overridden.env("LOCKBOX_ENDPOINT", "localhost:1");
    assert!(said(&served, overridden, 3).await.contains("cannot reach localhost:1"));

    let refused = run(&["--profile", "here", "local", "prepare"], 2).await;
    assert!(refused.contains("--profile is for"), "{refused}");
    assert!(run(&["--profile", "gone", "secret", "list"], 2).await.contains("no profile \"gone\""));
    let mut listed = with(&config, &["config", "list", "--profile", "here"]);
    listed.env("LOCKBOX_TOKEN", "canary");
    let listed = said(&served, listed, 0).await;
    assert!(listed.contains("LOCKBOX_TOKEN is set and goes before"), "{listed}");
    assert!(!listed.contains("canary"), "{listed}");
    served.stop().await;
}

/// What a manual or a completion script is made from must not hold what the environment does.
#[tokio::test(flavor = "multi_thread")]
async fn manual_and_completion_hold_nothing_of_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockbox"));
        command.env_clear().args(arguments);
        for name in ["LOCKBOX_TOKEN", "LOCKBOX_SA_KEY", "LOCKBOX_ENDPOINT", "LOCKBOX_CA"] {
            command.env(name, "canary");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut texts: Vec<String> =
        ["bash", "zsh", "fish", "powershell"].map(|shell| run(&["completion", shell])).into();
    texts.push(run(&["man", "secret", "create"]));
    run(&["man", "--dir", directory.path().to_str().unwrap()]);
    for file in std::fs::read_dir(directory.path()).unwrap() {
        texts.push(std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    assert!(texts.len() > 30, "{}", texts.len());
    for text in texts {
        assert!(text.len() > 200 && !text.contains("canary"), "{text}");
    }
}
