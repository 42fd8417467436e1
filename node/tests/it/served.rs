//! A node behind TLS, and the program `lockbox` as a process that calls it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lockbox::router;
use lockbox_platform::authorized_key::{AuthorizedKeyFile, KeyAlgorithm};
use lockbox_platform::certificates::{LeafSpec, issue_all, leaf_files};
use lockbox_platform::exit::FatalExit;
use lockbox_platform::listener::{ListenerLimits, Security, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::SystemClock;
use lockbox_platform::tasks::Tasks;
use lockbox_platform::tls::{ClientCertificates, ServerTls, TlsFiles};
use tempfile::TempDir;

use crate::fixture::Node;

/// A node with a second listener, one that the program can reach.
pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) address: String,
    pub(crate) ca: PathBuf,
    pub(crate) directory: TempDir,
    tasks: Tasks,
}

impl Served {
    pub(crate) async fn start() -> Self {
        let node = Node::start().await;
        let directory = tempfile::tempdir().unwrap();
        let ca = certificates(directory.path());
        let leaf = leaf_files(directory.path(), "server");
        let files = TlsFiles {
            certificate: leaf.certificate,
            key: leaf.key,
            clients: ClientCertificates::None,
        };
        let security = Security::Tls(ServerTls::load(&files).unwrap());
        let bound = bind("cli", ([127, 0, 0, 1], 0).into(), security).await.unwrap();
        let address = format!("localhost:{}", bound.local_addr().port());
        let metrics = Metrics::new(Prefix::Lockbox).unwrap();
        let router = router::public(&node.app, metrics.rpc.clone()).unwrap();
        let tasks = Tasks::new(FatalExit::new());
        bound.start(router, &tasks, ListenerLimits::default(), metrics.tls);
        Self { node, address, ca, directory, tasks }
    }

    /// Runs the program with these arguments and this standard input.
    pub(crate) async fn run(&self, arguments: &[&str], stdin: &'static str) -> Output {
        let mut command = program(&self.address, &self.ca, self.node.token());
        command.env("LOCKBOX_FOLDER_ID", self.node.made.folder_id.as_str()).args(arguments);
        self.run_as(command, stdin).await
    }

    /// Runs a program with this standard input.
    pub(crate) async fn run_as(&self, mut command: Command, stdin: &'static str) -> Output {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// The same; the run must succeed.
    pub(crate) async fn output(&self, arguments: &[&str], stdin: &'static str) -> Vec<u8> {
        let output = self.run(arguments, stdin).await;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {complaint}");
        assert_eq!(complaint, "");
        output.stdout
    }

    pub(crate) async fn text(&self, arguments: &[&str], stdin: &'static str) -> String {
        String::from_utf8(self.output(arguments, stdin).await).unwrap()
    }

    /// The same; the run must fail with this code. Returns the sentence.
    pub(crate) async fn failure(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments, "").await;
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complaint}");
        assert!(output.stdout.is_empty());
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        complaint
    }

    /// Writes the administrator's authorized key into a file.
    pub(crate) fn key_file(&self) -> PathBuf {
        let path = self.directory.path().join("admin-key.json");
        let (made, pair) = (&self.node.made, &self.node.pair);
        let key = AuthorizedKeyFile {
            id: made.admin_key_id.to_string(),
            service_account_id: made.admin_id.to_string(),
            created_at: String::new(),
            key_algorithm: KeyAlgorithm::Rsa2048,
            public_key: pair.public_key_pem.clone(),
            private_key: pair.private_key_pem.clone(),
        };
        key.write(&path).unwrap();
        path
    }

    pub(crate) async fn stop(self) {
        self.tasks.shutdown(std::time::Duration::from_secs(10)).await.unwrap();
        drop(self.node.stop().await);
    }
}

pub(crate) fn certificates(directory: &Path) -> PathBuf {
    let leaf = LeafSpec {
        file_stem: "server".to_owned(),
        dns_names: vec!["localhost".to_owned()],
        ips: Vec::new(),
    };
    issue_all(directory, &[leaf], &SystemClock::new()).unwrap().certificate
}

pub(crate) fn program(address: &str, ca: &Path, token: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockbox"));
    command
        .env_clear()
        .env("LOCKBOX_ENDPOINT", address)
        .env("LOCKBOX_CA", ca)
        .env("LOCKBOX_TOKEN", token);
    command
}
