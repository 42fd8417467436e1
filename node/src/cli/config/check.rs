//! `lockbox config check`: everything that is wrong with a node's configuration, at once.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use lockbox_core::Clock;
use lockbox_platform::system::SystemClock;

use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::config::Config;

/// A configuration to check.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The node's configuration, as `lockbox serve --config` takes it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Look at the configuration alone, and not at the files that it names: for another machine.
    #[arg(long)]
    no_files: bool,
}

impl Check {
    /// Checks it; what is wrong is printed, a line for each mistake.
    pub(super) fn run(&self, environment: &Environment) -> Result<String, Failure> {
        let name = self.file.display();
        let text = std::fs::read_to_string(&self.file).map_err(|error| {
            Failure::usage(format_args!("cannot read the configuration {name}: {error}"))
        })?;
        // With the environment, as the server reads it: that may have what the file lacks.
        let wrong = match Config::load(&self.file, environment.all()) {
            Err(error) => {
                let mistakes = Config::mistakes(&text).into_iter();
                let mistakes = mistakes.map(|mistake| format!("{name}: {mistake}"));
                // Without any, it is the environment that is wrong.
                some_or(mistakes.collect(), || error.to_string())
            }
            Ok(_) if self.no_files => Vec::new(),
            Ok(config) => {
                let now_ms = SystemClock::new().wall_ms();
                for warning in config.file_warnings(now_ms) {
                    output::note(format_args!("warning: {warning}"));
                }
                config.file_mistakes(now_ms)
            }
        };
        if wrong.is_empty() {
            return Ok(format!("{name} is right\n"));
        }
        let mut list = String::new();
        for mistake in &wrong {
            // INVARIANT: writing into a String cannot fail.
            writeln!(list, "{mistake}").ok();
        }
        output::write(list.as_bytes())?;
        let (count, noun) = (wrong.len(), if wrong.len() == 1 { "mistake" } else { "mistakes" });
        Err(Failure::usage(format_args!("{count} {noun} in {name}")))
    }
}

/// The list, or one item in place of an empty one.
fn some_or(list: Vec<String>, item: impl FnOnce() -> String) -> Vec<String> {
    if list.is_empty() { vec![item()] } else { list }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::cli::failure::Exit;
    use crate::cli::local::{Layout, Ports, prepare};

    fn check(file: PathBuf, no_files: bool, variables: &[(&str, &str)]) -> Result<String, Failure> {
        Check { file, no_files }.run(&Environment::of(variables))
    }

    #[test]
    fn what_a_server_would_start_with_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path(), Ports::of_cluster(8450, 1)).unwrap();
        prepare(&layout).unwrap();
        let file = layout.node_config(1);
        let right = check(file.clone(), false, &[]).unwrap();
        assert!(right.ends_with("node-1.toml is right\n"), "{right}");

        let name = ("LOCKBOX_CONFIG_NODE_ID", "2");
        let wrong = check(file.clone(), false, &[name]).unwrap_err();
        assert!(wrong.to_string().starts_with("1 mistake in "), "{wrong}");
        assert_eq!(wrong.exit().code(), Exit::Usage.code());
        check(file.clone(), true, &[name]).unwrap();

        let text = std::fs::read_to_string(&file).unwrap().replace("node_id = 1\n", "");
        let lacking = directory.path().join("lacking.toml");
        std::fs::write(&lacking, text).unwrap();
        assert!(check(lacking.clone(), true, &[]).is_err());
        check(lacking, true, &[name]).unwrap();

        let variable = ("LOCKBOX_CONFIG_NODE_ID", "none");
        assert!(check(file.clone(), true, &[variable]).is_err());
        std::fs::remove_file(layout.ca()).unwrap();
        assert!(check(file, false, &[]).is_err());
    }

    /// The mistakes in the files of a node's configuration with more in it.
    fn mistakes(directory: &Path, more: &str) -> Vec<String> {
        let layout = Layout::new(directory, Ports::of_cluster(8450, 1)).unwrap();
        prepare(&layout).unwrap();
        let text = fs::read_to_string(layout.node_config(1)).unwrap();
        let path = directory.join("more.toml");
        fs::write(&path, format!("{text}\n{more}\n")).unwrap();
        Config::load(&path, &[]).unwrap().file_mistakes(SystemClock::new().wall_ms())
    }

    #[test]
    fn files_of_receivers_and_of_places_are_looked_at_too() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path(), Ports::of_cluster(8450, 1)).unwrap();
        let (ca, credentials) = (layout.ca(), directory.path().join("s3"));
        fs::write(&credentials, "id\nsecret\n").unwrap();
        let allow = |mode| fs::set_permissions(&credentials, Permissions::from_mode(mode)).unwrap();
        allow(0o600);
        let right = format!(
            "[audit.syslog]\nto = \"tls://logs.example:6514\"\nca = {ca:?}\n\
             [traces.otlp]\nendpoint = \"traces.example:4317\"\nca = {ca:?}\n\
             [backup.bucket]\nendpoint = \"https://s3.example\"\nname = \"backups\"\n\
             credentials_file = {credentials:?}\nca = {ca:?}\n"
        );
        assert_eq!(mistakes(directory.path(), &right), Vec::<String>::new());

        allow(0o644);
        let absent = format!("{:?}", directory.path().join("absent.pem"));
        let wrong = right.replace(&format!("{ca:?}"), &absent);
        let told = mistakes(directory.path(), &wrong);
        let begins = ["audit.syslog: ", "traces.otlp: ", "backup.bucket: "];
        assert_eq!(told.len(), begins.len(), "{told:#?}");
        for (sentence, begin) in told.iter().zip(begins) {
            assert!(sentence.starts_with(begin), "{sentence}");
        }

        let told = mistakes(directory.path(), &format!("[backup]\ndirectory = {absent}\n"));
        assert!(told.len() == 1 && told[0].ends_with("absent.pem is no directory"), "{told:#?}");
    }

    #[test]
    fn marks_that_a_disk_is_always_below_are_a_mistake() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path(), Ports::of_cluster(8450, 1)).unwrap();
        prepare(&layout).unwrap();
        let (name, bytes) = ("LOCKBOX_CONFIG_DISK__BALLAST_BYTES", (1_u64 << 62).to_string());
        let wrong = check(layout.node_config(1), false, &[(name, bytes.as_str())]).unwrap_err();
        assert!(wrong.to_string().starts_with("1 mistake in "), "{wrong}");
    }

    #[test]
    fn a_file_that_is_not_there_is_one_sentence() {
        let absent = check(PathBuf::from("/nowhere/node.toml"), false, &[]).unwrap_err();
        assert!(absent.to_string().contains("cannot read the configuration /nowhere/"), "{absent}");
    }
}
