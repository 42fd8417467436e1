//! Running the machine's own programs (`ip`, `nft`, `mount`, …) and ours, to their end.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started, or fails; then its complaint is in the error.
pub fn run<I, S>(program: &str, arguments: I) -> Result<String>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments);
    finish(command, "")
}

/// Runs a program that reads a text, to its end, and returns what it printed.
///
/// # Errors
/// As [`run`].
pub fn finish(mut command: Command, input: &str) -> Result<String> {
    let shown = shown(&command);
    let output = attempt(&mut command, input).with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed ({}): {}", output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same, and a failure of the program is an answer.
fn attempt(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that refuses its arguments reads nothing, and says so by its status.
        stdin.write_all(input.as_bytes()).ok();
    }
    child.wait_with_output()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// Whether a program of this name is on the path.
#[must_use]
pub fn exists(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Of ordinary users the administrator's programs are not on the path.
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|place| place.join(name)).any(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_ran_and_what_it_complained() {
        let error = run("sh", ["-c", "echo no such bridge >&2; exit 3"]).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("sh -c ") && text.ends_with("no such bridge"), "{text}");
        let error = run("lockbox-no-such-program", [""; 0]).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot run lockbox-no-such-program"));
    }

    #[test]
    fn what_a_program_reads_and_prints_goes_through() {
        assert_eq!(finish(Command::new("cat"), "one\ntwo").unwrap(), "one\ntwo");
        assert!(exists("cat") && !exists("lockbox-no-such-program"));
    }
}
