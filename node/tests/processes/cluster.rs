//! A cluster of processes in a temporary directory: what `scripts/cluster.sh` does, for tests.
//!
//! Promises that every process ends with the value, and that the directory stays, and is named,
//! when a test fails.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use lockbox_platform::certificates::leaf_files;
use lockbox_platform::tls::{ClientTlsFiles, client_tls, endpoint};
use lockbox_proto::lockbox::cluster::v1::cluster_service_client::ClusterServiceClient;
use lockbox_proto::lockbox::cluster::v1::{StatusRequest, StatusResponse};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::http1::{self, Answer};
use crate::ports::{NODES_MAX, PortBase};
use crate::programs;
use crate::server::Server;
use crate::waiting::until;

/// The nodes' ids.
pub(crate) const NODES: [u16; 3] = [1, 2, 3];

/// A server of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Kms,
    Node(u16),
}

/// All of them.
pub(crate) const PARTS: [Part; 4] = [Part::Kms, Part::Node(1), Part::Node(2), Part::Node(3)];

impl fmt::Display for Part {
    /// The stem of its files.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kms => out.write_str("kms"),
            Self::Node(id) => write!(out, "node-{id}"),
        }
    }
}

/// The files, the ports, and the processes that run.
pub(crate) struct Cluster {
    directory: Option<TempDir>,
    ports: PortBase,
    /// What the servers find in their environment.
    environment: Vec<(&'static str, String)>,
    running: BTreeMap<Part, Server>,
    /// What the file `env` says, once there is one.
    connection: BTreeMap<String, String>,
}

impl Cluster {
    /// Formed, and every part ready.
    pub(crate) async fn start(environment: Vec<(&'static str, String)>) -> Self {
        Self::start_prepared(environment, NODES.len()).await
    }

    /// The same, with files for as many more nodes as there are ports for.
    pub(crate) async fn start_with_room() -> Self {
        Self::start_prepared(Vec::new(), usize::from(NODES_MAX)).await
    }

    /// The files alone: nothing runs.
    pub(crate) fn prepared(environment: Vec<(&'static str, String)>, nodes: usize) -> Self {
        let cluster = Self {
            directory: Some(tempfile::tempdir().unwrap()),
            ports: PortBase::take(),
            environment,
            running: BTreeMap::new(),
            connection: BTreeMap::new(),
        };
        success(&cluster.local(&["prepare", "--nodes", &nodes.to_string()]));
        cluster
    }

    async fn start_prepared(environment: Vec<(&'static str, String)>, nodes: usize) -> Self {
        let mut cluster = Self::prepared(environment, nodes);
        for part in PARTS {
            cluster.launch(part);
        }
        cluster.wait_ready(Part::Kms).await;
        success(&cluster.initialise());
        cluster.wait_all_ready().await;
        success(&cluster.write_env());
        cluster.read_env();
        cluster
    }

    /// Where everything is.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.as_ref().expect("it is taken by drop alone").path()
    }

    pub(crate) const fn ports(&self) -> &PortBase {
        &self.ports
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.certificates().join("ca.pem")
    }

    /// Where the certificates and their keys are.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.directory().join("certificates")
    }

    /// A part's data.
    pub(crate) fn data(&self, part: Part) -> PathBuf {
        self.directory().join(part.to_string())
    }

    /// A variable of the file `env`.
    pub(crate) fn variable(&self, name: &str) -> &str {
        &self.connection[name]
    }

    /// Runs `lockbox` against the first node, as the administrator.
    pub(crate) fn lockbox(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(programs::lockbox())
            .args(arguments)
            .env_clear()
            .envs(&self.connection)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments reads nothing.
        child.stdin.take().unwrap().write_all(input).ok();
        child.wait_with_output().unwrap()
    }

    /// Runs `kms-sim` on the KMS's configuration.
    pub(crate) fn kms_sim(&self, command: &[&str]) -> Output {
        let config = self.directory().join("kms.toml");
        let mut program = Command::new(programs::kms_sim());
        program.args(command).arg("--config").arg(config).env_clear().output().unwrap()
    }

    /// Runs `lockbox local` on the directory.
    pub(crate) fn local(&self, command: &[&str]) -> Output {
        let (base, directory) = (self.ports.base().to_string(), self.directory().to_str().unwrap());
        let options = ["local", "--dir", directory, "--port-base", &base];
        self.lockbox(&[&options, command].concat(), b"")
    }

    /// Runs `lockbox cluster init`, as the first start does.
    pub(crate) fn initialise(&self) -> Output {
        let ids = std::fs::read(self.directory().join("ids.json")).unwrap();
        let ids: serde_json::Value = serde_json::from_slice(&ids).unwrap();
        let file = |name: &str| self.certificates().join(name).to_str().unwrap().to_owned();
        let admin_key = self.directory().join("admin-key.json");
        let mut arguments: Vec<String> = vec!["cluster".into(), "init".into()];
        let mut option = |name: &str, value: &str| arguments.extend([name.into(), value.into()]);
        option("--endpoint", &format!("localhost:{}", self.ports.peer(1)));
        option("--server-name", "node-1.lockbox.internal");
        option("--ca", &file("ca.pem"));
        option("--certificate", &file("admin.pem"));
        option("--key", &file("admin-key.pem"));
        option("--admin-key", admin_key.to_str().unwrap());
        option("--cloud-id", ids["cloud_id"].as_str().unwrap());
        option("--folder-id", ids["folder_id"].as_str().unwrap());
        for id in NODES {
            let (peer, api) = (self.ports.peer(id), self.ports.api(id));
            option("--member", &format!("{id}=localhost:{peer},localhost:{api}"));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.lockbox(&arguments, b"")
    }

    /// Runs `lockbox`, as the operator, against a node's listener for peers.
    pub(crate) fn operator(&self, node: u16, arguments: &[&str]) -> Output {
        self.at_peer("operator", node, arguments)
    }

    /// The same with the certificate of this stem.
    pub(crate) fn at_peer(&self, stem: &str, node: u16, arguments: &[&str]) -> Output {
        let file = |name: &str| self.certificates().join(name).to_str().unwrap().to_owned();
        let (certificate, key) = (file(&format!("{stem}.pem")), file(&format!("{stem}-key.pem")));
        let (ca, endpoint) = (file("ca.pem"), format!("localhost:{}", self.ports.peer(node)));
        let name = format!("node-{node}.lockbox.internal");
        let connection = [
            ["--endpoint", &endpoint],
            ["--server-name", &name],
            ["--ca", &ca],
            ["--certificate", &certificate],
            ["--key", &key],
            ["--timeout", "60s"],
            ["--retry", "-1"],
        ];
        let connection: Vec<&str> = connection.into_iter().flatten().collect();
        self.lockbox(&[arguments, &connection].concat(), b"")
    }

    /// A node as `cluster add` and `cluster replace` name it.
    pub(crate) fn member(&self, node: u16) -> String {
        format!("{node}=localhost:{},localhost:{}", self.ports.peer(node), self.ports.api(node))
    }

    /// Waits until a part has ended by itself, and returns what it exited with.
    pub(crate) async fn ended(&mut self, part: Part) -> Option<i32> {
        self.crashed(part).await.code()
    }

    /// The same with the signal that it ended by.
    pub(crate) async fn crashed(&mut self, part: Part) -> ExitStatus {
        let mut server = self.running.remove(&part).unwrap();
        until(&format!("end of {part}"), async || server.has_ended()).await
    }

    /// What a part has said so far.
    pub(crate) fn log(&self, part: Part) -> String {
        std::fs::read_to_string(self.directory().join(format!("{part}.log"))).unwrap()
    }

    /// Runs `lockbox local env`, as each start does: it logs in.
    pub(crate) fn write_env(&self) -> Output {
        let pids: Vec<_> = NODES.map(|id| self.running[&Part::Node(id)].pid().to_string()).into();
        let kms = self.running[&Part::Kms].pid().to_string();
        let bin = programs::lockbox().parent().unwrap().to_str().unwrap();
        self.local(&["env", "--pids", &pids.join(" "), "--kms-pid", &kms, "--bin", bin])
    }

    fn read_env(&mut self) {
        let text = std::fs::read_to_string(self.directory().join("env")).unwrap();
        let variables = text.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('"').to_owned()))
        });
        self.connection = variables.collect();
    }

    /// What the servers that are started from now on find in their environment.
    pub(crate) fn set_environment(&mut self, environment: Vec<(&'static str, String)>) {
        self.environment = environment;
    }

    /// Starts a part that does not run, and does not wait.
    pub(crate) fn launch(&mut self, part: Part) {
        let program = match part {
            Part::Kms => programs::kms_sim(),
            Part::Node(_) => programs::lockbox(),
        };
        let config = self.directory().join(format!("{part}.toml"));
        let log = self.directory().join(format!("{part}.log"));
        let server = Server::start(program, &config, log, &self.environment);
        let replaced = self.running.insert(part, server);
        assert!(replaced.is_none(), "{part} runs already");
    }

    /// Ends a part with SIGKILL.
    pub(crate) fn kill(&mut self, part: Part) {
        self.running.remove(&part).unwrap().kill();
    }

    /// Ends all parts as an operator would: the nodes, then the KMS.
    pub(crate) async fn stop(&mut self) {
        for part in PARTS.into_iter().rev() {
            self.stop_part(part).await;
        }
    }

    /// Ends a part as an operator would.
    pub(crate) async fn stop_part(&mut self, part: Part) {
        let status = self.running.remove(&part).unwrap().stop().await;
        assert!(status.success(), "{part} ended with {status}");
    }

    pub(crate) fn pid(&self, part: Part) -> u32 {
        self.running[&part].pid()
    }

    /// Asks a part's port for health and metrics; none while nobody listens there.
    pub(crate) async fn health(&self, part: Part, path: &str) -> Option<Answer> {
        let of = match part {
            Part::Kms => self.ports.kms(),
            Part::Node(id) => self.ports.api(id),
        };
        http1::get(PortBase::metrics(of), path).await
    }

    /// Waits until a part answers on this path with 200.
    pub(crate) async fn wait_ok(&mut self, part: Part, path: &str) {
        until(&format!("200 from {part}{path}"), async || {
            self.running.get_mut(&part).unwrap().must_run();
            self.health(part, path).await.filter(|answer| answer.status == 200)
        })
        .await;
    }

    pub(crate) async fn wait_ready(&mut self, part: Part) {
        self.wait_ok(part, "/readyz").await;
    }

    pub(crate) async fn wait_all_ready(&mut self) {
        for part in PARTS {
            self.wait_ready(part).await;
        }
    }

    /// A node as it sees itself, asked with the operator's certificate.
    pub(crate) async fn status(&self, node: u16) -> Option<StatusResponse> {
        let identity = Some(leaf_files(&self.certificates(), "admin"));
        let name = format!("node-{node}.lockbox.internal");
        let channel = self.connect(self.ports.peer(node), &name, identity);
        let answer = ClusterServiceClient::new(channel).status(StatusRequest {}).await;
        answer.ok().map(tonic::Response::into_inner)
    }

    /// The node that leads.
    pub(crate) async fn leader(&self) -> u16 {
        until("leader", async || {
            for id in self.running.keys() {
                let Part::Node(id) = *id else { continue };
                if self.status(id).await.is_some_and(|status| status.role == "leader") {
                    return Some(id);
                }
            }
            None
        })
        .await
    }

    /// A channel for clients: to a node, or to the KMS.
    pub(crate) fn channel(&self, part: Part) -> Channel {
        let port = match part {
            Part::Kms => self.ports.kms(),
            Part::Node(id) => self.ports.api(id),
        };
        self.connect(port, "localhost", None)
    }

    fn connect(
        &self,
        port: u16,
        name: &str,
        identity: Option<lockbox_platform::tls::IdentityFiles>,
    ) -> Channel {
        let tls = client_tls(&ClientTlsFiles { ca: self.ca(), identity }, name).unwrap();
        endpoint(&format!("localhost:{port}"), Some(tls)).unwrap().connect_lazy()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // ORDER: the processes write into the directory.
        self.running.clear();
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            println!("logs and data are in {}", directory.keep().display());
        }
    }
}

/// Standard output of a run that must have succeeded.
pub(crate) fn success(output: &Output) -> &[u8] {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    &output.stdout
}
