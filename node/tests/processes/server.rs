//! One server as a child process, which ends with its owner, also when a test panics.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::waiting::until;

/// A running server.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `program serve --config`, with exactly this environment; what it says is appended
    /// to the log. It is in the log's directory, where a core file of it would be.
    pub(crate) fn start(
        program: &Path,
        config: &Path,
        log: PathBuf,
        environment: &[(&str, String)],
    ) -> Self {
        let output = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(program);
        command
            .args(["serve", "--config"])
            .arg(config)
            .current_dir(log.parent().unwrap())
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        Self { child: command.spawn().unwrap(), log }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            panic!("{} has ended with {status}: {last:#?}", self.log.display());
        }
    }

    /// How it has ended; nothing while it runs.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it with SIGTERM, as an operator would.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        until("end of a server that was told to stop", async || self.child.try_wait().unwrap())
            .await
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
