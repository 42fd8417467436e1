//! Where the programs are.
//!
//! Ours is built by cargo for this target. `kms-sim` is another package's, and what lies beside
//! ours may be old or of another tree that shares the target directory: cargo is asked to build
//! it, which is nothing to do when it is current.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// `lockbox`.
pub(crate) fn lockbox() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lockbox"))
}

/// `kms-sim`, as the sources beside us have it.
pub(crate) fn kms_sim() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("lockbox-kms-sim", "kms-sim"))
}

/// Builds a program of the workspace into the target directory and with the profile of ours, and
/// returns where cargo says that it is. Cargo does not hold its lock while tests run.
fn build(package: &str, name: &str) -> PathBuf {
    let profile_directory = lockbox().parent().expect("a program is in a directory");
    let target = profile_directory.parent().expect("a profile has a directory in the target's");
    // `debug` is the one directory that is not named as its profile.
    let profile = match profile_directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("{} has no name", profile_directory.display()),
    };
    let output = Command::new(std::env::var_os("CARGO").unwrap_or(OsString::from("cargo")))
        .args(["build", "--locked", "--offline", "--message-format", "json"])
        .args(["--package", package, "--bin", name, "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo could not build {package}: {}", output.status);
    let messages = String::from_utf8(output.stdout).expect("cargo writes JSON");
    executable(&messages, name).unwrap_or_else(|| panic!("cargo built no {name} of {package}"))
}

/// The path of a program in what cargo says of a build, one JSON object for each line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(line)
            .expect("cargo writes an object for each line")
    });
    let mut artifacts = messages.filter(|message| message["target"]["name"] == name);
    artifacts.find_map(|artifact| artifact["executable"].as_str().map(PathBuf::from))
}

#[test]
fn the_program_is_of_this_tree() {
    let list = std::fs::read_to_string(kms_sim().with_extension("d")).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("kms-sim/src/main.rs");
    assert!(list.contains(source.to_str().unwrap()), "{} is of another tree", kms_sim().display());
}
