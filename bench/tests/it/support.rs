//! The program as a child process.

use std::process::{Command, Output};

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockbox-bench"));
    command.args(arguments).env_remove("LOCKBOX_TOKEN").output().unwrap()
}

/// Runs the program, which must succeed; what it printed.
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
